//! `[dnstap]` of `portolan.toml`: where the query log goes.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::keys::{keys, text};
use crate::source::{
    At, Problems,
    files::{absolute, path_of},
};

/// Where the query log is written; absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dnstap {
    /// The unix socket of a reader (SOCK_STREAM).
    Socket(PathBuf),
    /// A file. One of a former run is renamed.
    File(PathBuf),
}

/// Longest path of a unix socket in octets (unix(7): 108 with the final zero).
const MAX_SOCKET_PATH: usize = 107;

keys! {
    /// `[dnstap]`.
    DnstapKeys in Settings {
        /// the unix socket of a dnstap reader: each query and each reply is sent to it, see
        /// [watching](../docs/watching.md#the-query-log)
        socket: String = text("\"/run/dnstap.sock\"");
        /// the same into a file. One that exists at the start is renamed to `FILE.UNIXTIME`
        file: String = text("\"queries.dnstap\"");
    }
}

/// Reads the section. Paths are relative to `base`.
pub(super) fn read(at: At<DnstapKeys>, base: &Path, problems: &mut Problems) -> Option<Dnstap> {
    let At { value: DnstapKeys { socket, file, .. }, place } = at;
    match (socket, file) {
        (Some(socket), None) => {
            let path = absolute(&path_of(&socket, base));
            let len = path.as_os_str().len();
            if len > MAX_SOCKET_PATH {
                let message = format!("the path of `socket` has {len} octets: at most {MAX_SOCKET_PATH} are possible");
                problems.error(&socket.place, message).hint("choose a shorter path");
                return None;
            }
            Some(Dnstap::Socket(path))
        }
        (None, Some(file)) => Some(Dnstap::File(absolute(&path_of(&file, base)))),
        (Some(_), Some(file)) => {
            let problem = problems.error(&file.place, "`[dnstap]` has both `socket` and `file`");
            problem.hint("remove one of them");
            None
        }
        (None, None) => {
            let problem = problems.error(&place, "`[dnstap]` needs `socket` or `file`");
            problem.hint("write socket = \"/run/dnstap.sock\", or remove the section");
            None
        }
    }
}

impl Dnstap {
    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Dnstap::Socket(path) | Dnstap::File(path) => path,
        }
    }
}

impl fmt::Display for Dnstap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Settings, settings};
    use std::collections::HashMap;

    fn read(section: &str) -> (Option<Settings>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("portolan.toml");
        std::fs::write(&file, format!("region = \"here\"\n{section}")).unwrap();
        let mut problems = Problems::default();
        let settings = settings::read(Some(&file), HashMap::new(), &Flags::default(), &mut problems);
        let found = problems.into_sorted().iter().map(|problem| problem.message.clone()).collect();
        (settings, found)
    }

    #[test]
    fn a_socket_or_a_file_is_needed_and_not_both() {
        assert_eq!(read("").0.unwrap().dnstap, None);
        let (settings, found) = read("[dnstap]\nsocket = \"/run/dnstap.sock\"\n");
        assert_eq!(settings.unwrap().dnstap, Some(Dnstap::Socket("/run/dnstap.sock".into())));
        assert_eq!(found, Vec::<String>::new());
        let file = read("[dnstap]\nfile = \"queries.dnstap\"\n").0.unwrap().dnstap.unwrap();
        assert!(file.path().is_absolute() && file.path().ends_with("queries.dnstap"), "relative to the settings");
        assert_eq!(read("[dnstap]\n").1, ["`[dnstap]` needs `socket` or `file`"]);
        let both = read("[dnstap]\nsocket = \"a\"\nfile = \"b\"\n").1;
        assert_eq!(both, ["`[dnstap]` has both `socket` and `file`"]);
        let long = format!("[dnstap]\nsocket = \"/{}\"\n", "x".repeat(107));
        assert_eq!(read(&long).1, ["the path of `socket` has 108 octets: at most 107 are possible"]);
    }
}
