//! The demo's files: those in `zones/demo` if the demo runs in a checkout, so that they can be edited while it runs;
//! otherwise copies from the binary. The copies, the token and the state are in a folder that is removed with the demo.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::config::Flags;
use crate::daemon::StartError;

const SETTINGS: &str = "portolan.toml";

/// The name of the demo's operator in logs.
const OPERATOR: &str = "demo";

/// The files in the binary, by name.
const FILES: [(&str, &str); 3] = [
    (SETTINGS, include_str!("../../zones/demo/portolan.toml")),
    ("demo.example.zone", include_str!("../../zones/demo/demo.example.zone")),
    ("demo.example.policy.toml", include_str!("../../zones/demo/demo.example.policy.toml")),
];

/// Most folders of killed demos with the same process id that are skipped (judgment: they are removed before).
const MAX_LEFT: u32 = 100;

/// Where the demo's files are. Its own folder is removed when this is dropped.
pub(crate) struct DemoFiles {
    /// The folder of settings and zones.
    dir: PathBuf,
    /// The demo's own folder.
    own: PathBuf,
    /// The token of the demo's operator.
    token: String,
}

impl DemoFiles {
    /// Makes the folder with a new token, and finds the files of the checkout or makes copies.
    pub(crate) fn prepare() -> Result<DemoFiles, StartError> {
        let checkout = Path::new("zones/demo");
        if !checkout.join(SETTINGS).is_file() {
            return DemoFiles::of(&FILES);
        }
        let mut files = DemoFiles::of::<&str>(&[])?;
        files.dir = checkout.to_path_buf();
        Ok(files)
    }

    /// Makes the folder with a new token and these files, by name.
    pub(crate) fn of<T: AsRef<str>>(texts: &[(&str, T)]) -> Result<DemoFiles, StartError> {
        let temporary = std::env::temp_dir();
        let failed = |error: std::io::Error| StartError::Demo(format!("{}: {error}; set TMPDIR", temporary.display()));
        let own = new_folder(&temporary, std::process::id()).map_err(failed)?;
        let secret = clock::secret::<16>().map_err(StartError::System)?;
        let token = data_encoding::HEXLOWER.encode(&secret);
        let files = DemoFiles { dir: own.clone(), own: own.clone(), token };
        let tokens = OpenOptions::new().write(true).create_new(true).mode(0o600).open(files.token_file());
        tokens.and_then(|mut file| writeln!(file, "{OPERATOR} operate {}", files.token)).map_err(failed)?;
        for (name, text) in texts {
            std::fs::write(own.join(name), text.as_ref()).map_err(failed)?;
        }
        Ok(files)
    }

    /// Changes to copies in which the endpoints have port `to` instead of those of `from`. Returns where the copies
    /// are.
    pub(crate) fn move_port(&mut self, from: &BTreeSet<u16>, to: u16) -> std::io::Result<&Path> {
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with('.') || !path.is_file() || path == self.token_file() {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let text = if name.ends_with(".policy.toml") { with_port(&text, from, to) } else { text };
            std::fs::write(self.own.join(name), text)?;
        }
        self.dir.clone_from(&self.own);
        Ok(&self.own)
    }

    /// The folder that is removed with the demo.
    pub(crate) fn own_folder(&self) -> &Path {
        &self.own
    }

    /// The settings file.
    pub(crate) fn settings(&self) -> PathBuf {
        self.dir.join(SETTINGS)
    }

    /// `flags` with this demo's own token file and state directory.
    pub(crate) fn with_own_files(&self, flags: Flags) -> Flags {
        let state = self.own.join("state");
        flags.with("api.token_file", &self.token_file().to_string_lossy()).with("state.dir", &state.to_string_lossy())
    }

    /// The value for PORTOLAN_TOKEN.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    fn token_file(&self) -> PathBuf {
        self.own.join("tokens")
    }
}

/// Makes a folder of this process below `parent`. A demo that was killed may have left one of the same process id; then
/// the name gets a suffix.
fn new_folder(parent: &Path, process: u32) -> std::io::Result<PathBuf> {
    let mut made = Err(std::io::ErrorKind::AlreadyExists.into());
    for suffix in 0..MAX_LEFT {
        let folder = parent.join(match suffix {
            0 => format!("portolan-demo-{process}"),
            n => format!("portolan-demo-{process}-{n}"),
        });
        made = std::fs::create_dir(&folder).map(|()| folder);
        if !made.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    made
}

/// The policy with every `port` that is in `from` replaced by `to`.
fn with_port(policy: &str, from: &BTreeSet<u16>, to: u16) -> String {
    let moved = |line: &str| {
        let (key, rest) = line.split_once('=')?;
        let written = rest.split('#').next().unwrap_or_default().trim();
        let is_taken = written.parse().is_ok_and(|port: u16| from.contains(&port));
        (key.trim() == "port" && is_taken).then(|| format!("{key}= {to}"))
    };
    policy.lines().map(|line| moved(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

impl Drop for DemoFiles {
    fn drop(&mut self) {
        // If it fails, the folder stays in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_killed_demo_is_skipped() {
        let parent = tempfile::tempdir().unwrap();
        let names = [(); 2].map(|()| new_folder(parent.path(), 7).unwrap().file_name().unwrap().to_owned());
        assert_eq!(names, ["portolan-demo-7", "portolan-demo-7-1"]);
        assert!(new_folder(&parent.path().join("missing"), 7).is_err());
    }

    #[test]
    fn only_ports_that_are_taken_are_moved() {
        let policy = "port     = 18080  # of all\nports = 18080\nport = 81\npath = \"/18080\"\n";
        let moved = "port     = 4000\nports = 18080\nport = 81\npath = \"/18080\"\n";
        assert_eq!(with_port(policy, &BTreeSet::from([18080]), 4000), moved);
    }
}
