//! One file of the state directory: how it is read, and how it is replaced in one step.

use std::fs::{DirBuilder, File, OpenOptions, remove_file, rename};
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::source::files;

/// Largest file that is read, in octets: 10,000 overrides of the longest kind take about 15 MB.
const MAX_FILE: u64 = 64 << 20;

/// The names of all state files. Who adds one adds it here too: a state directory with an unknown file is not given to
/// the user of the server.
pub(crate) const OWN_FILES: [&str; 14] = [
    "overrides.json",
    "health.json",
    "standings.json",
    "ramps.json",
    "last_good.json",
    "events.json",
    "leases.json",
    "sinks.json",
    "follows.json",
    "discovery.json",
    "drill.json",
    "events.log",
    "events.old.log",
    "takeover.sock",
];

/// Rights of the files: what operators wrote and how the endpoints are is not for everyone on the machine.
const FILE_MODE: u32 = 0o640;
/// Rights of the directories, for the same reason.
const DIR_MODE: u32 = 0o750;

/// What a file has to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// This process: the kernel writes the file to the disk when it likes.
    Process,
    /// A power cut: file and directory are forced to the disk.
    Machine,
}

/// A file of the state directory, apart from the type of its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileInfo {
    /// Its name in the directory.
    pub(crate) name: &'static str,
    /// The version of its format that this program reads and writes.
    pub(crate) version: u32,
    /// What it has, for messages: `the operators' overrides`.
    pub(crate) content: &'static str,
    pub(crate) durability: Durability,
    /// Whether its writes count in [`StateWrites`](super::StateWrites); otherwise they are counted where it is made.
    pub(crate) is_counted: bool,
}

/// A file of the state directory with content `T`: JSON with the version of its format under `"version"`.
#[derive(Debug)]
pub(crate) struct StateFile<T> {
    pub(crate) info: FileInfo,
    content: PhantomData<fn() -> T>,
}

/// Why a file can't be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) why: String,
    /// What it has.
    content: &'static str,
}

impl std::fmt::Display for Unreadable {
    /// With what to do about it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unreadable { path, why, content } = self;
        let path = path.display();
        write!(f, "{path}: {why}. This file has {content}: correct it, or move it away to start without")
    }
}

/// What every version of every file has.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

impl<T> StateFile<T> {
    pub(crate) const fn new(info: FileInfo) -> StateFile<T> {
        StateFile { info, content: PhantomData }
    }

    /// The error of a file in `dir` that can't be read.
    pub(super) fn unreadable(&self, dir: &Path, why: String) -> Unreadable {
        Unreadable { path: dir.join(self.info.name), why, content: self.info.content }
    }
}

impl<T: DeserializeOwned> StateFile<T> {
    /// The content of a text; an error says what is wrong with it.
    pub(crate) fn parse(&self, text: &[u8]) -> Result<T, String> {
        let Header { version } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if version != self.info.version {
            return Err(format!("this is version {version} of the file, and this program knows {}", self.info.version));
        }
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// Reads it from `dir`; `None` where there is no such file.
    pub(super) fn load(&self, dir: &Path) -> Result<Option<T>, Unreadable> {
        let path = dir.join(self.info.name);
        let content = match files::read(&path, MAX_FILE) {
            Ok(text) => self.parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error.to_string()),
        };
        content.map(Some).map_err(|why| self.unreadable(dir, why))
    }
}

/// The text of a content.
pub(crate) fn text_of(content: &impl Serialize) -> String {
    // Plain data can't fail to serialise.
    serde_json::to_string_pretty(content).unwrap_or_default() + "\n"
}

/// Makes a directory where its parent is there. Otherwise the configuration was moved away for a moment, and must find
/// its place empty when it is moved back.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Replaces a file in one step. It blocks, and nobody else may write that file.
pub(crate) fn replace(dir: &Path, name: &str, text: &[u8], durability: Durability) -> io::Result<()> {
    make_dir(dir)?;
    let temporary = dir.join(format!(".{name}.new"));
    // A process that was killed may have left one.
    match remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let written = create(&temporary, text, durability).and_then(|()| rename(&temporary, dir.join(name)));
    if written.is_err() {
        // Others may need the room.
        let _ = remove_file(&temporary);
    }
    written?;
    match durability {
        Durability::Process => Ok(()),
        // The new name is on the disk when the directory is.
        Durability::Machine => File::open(dir)?.sync_all(),
    }
}

/// Creates a file that must not exist, not even as a link.
fn create(path: &Path, text: &[u8], durability: Durability) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(FILE_MODE).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Machine => file.sync_all(),
    }
}
