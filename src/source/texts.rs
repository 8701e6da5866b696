//! The source of the texts of one zone's files: the zones directory, or an earlier version of the zone in memory. All
//! readers of a zone's files use it, so the same code checks both. Every text that is read is collected. Does not
//! parse the texts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::source::files;

/// The texts of one zone, each under its path relative to the zones directory.
pub type TextsByPath = BTreeMap<PathBuf, Arc<[u8]>>;

/// Largest master file, or file that it includes, in octets (judgment: ten million records).
pub(crate) const MAX_MASTER: u64 = 1 << 30;

/// Largest policy file, in octets (judgment: three hundred thousand names).
pub(crate) const MAX_POLICY: u64 = 32 << 20;

/// The files of one zone.
#[derive(Debug)]
pub(crate) struct Texts<'a> {
    /// The directory of the files as the user would type it.
    shown: &'a Path,
    origin: Origin<'a>,
    read: RefCell<Collected>,
}

/// What was requested.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// All texts that were read.
    pub(crate) texts: TextsByPath,
    /// Every requested path, also those that couldn't be read.
    pub(crate) requested: BTreeSet<PathBuf>,
}

#[derive(Debug)]
enum Origin<'a> {
    /// Files on the disk, below this directory.
    Directory(&'a Path),
    /// Texts that were read before.
    Version(&'a TextsByPath),
}

/// One file that was read.
#[derive(Debug)]
pub(crate) struct Text {
    /// The path of the file with links resolved.
    pub(crate) identity: PathBuf,
    /// Its content.
    pub(crate) bytes: Arc<[u8]>,
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is outside the directory.
    Outside,
    /// It is a pipe, a socket or a device: reading it could wait forever.
    NotAFile,
    /// It is longer than allowed.
    TooLarge,
    /// The system refused.
    System(std::io::Error),
}

impl<'a> Texts<'a> {
    /// Files in the directory `real`, which messages call `shown`.
    pub(crate) fn of_directory(shown: &'a Path, real: &'a Path) -> Texts<'a> {
        Texts { shown, origin: Origin::Directory(real), read: RefCell::default() }
    }

    /// The texts of an earlier version. Messages show them as files of the directory `shown`.
    pub(crate) fn of_version(shown: &'a Path, texts: &'a TextsByPath) -> Texts<'a> {
        Texts { shown, origin: Origin::Version(texts), read: RefCell::default() }
    }

    /// Reads a file of at most `limit` octets. If `is_walled`, it must be in the directory, so that somebody who may
    /// write a zone can't read other files through it.
    pub(crate) fn file(&self, shown: &Path, real: &Path, is_walled: bool, limit: u64) -> Result<Text, Unread> {
        self.read.borrow_mut().requested.insert(self.key(shown));
        let text = match self.origin {
            Origin::Directory(root) => read_file(root, real, is_walled, limit)?,
            Origin::Version(texts) => {
                let identity = self.key(shown);
                let missing = || Unread::System(std::io::ErrorKind::NotFound.into());
                let bytes = texts.get(&identity).cloned().ok_or_else(missing)?;
                Text { identity, bytes }
            }
        };
        self.note(shown, &text.bytes);
        Ok(text)
    }

    /// Collects a text that was read on behalf of another zone.
    pub(crate) fn note(&self, shown: &Path, bytes: &Arc<[u8]>) {
        let mut read = self.read.borrow_mut();
        read.requested.insert(self.key(shown));
        read.texts.insert(self.key(shown), bytes.clone());
    }

    /// The same for two names of the same file.
    pub(crate) fn identity(&self, shown: &Path, real: &Path) -> PathBuf {
        match self.origin {
            Origin::Directory(_) => real.canonicalize().unwrap_or_else(|_| real.to_path_buf()),
            Origin::Version(_) => self.key(shown),
        }
    }

    /// All that was requested.
    pub(crate) fn into_collected(self) -> Collected {
        self.read.into_inner()
    }

    /// The path of a file relative to the directory, without `.` and `..`. Two texts can have the same key only
    /// through links that lead upwards; then the last one counts.
    fn key(&self, shown: &Path) -> PathBuf {
        let relative = shown.strip_prefix(self.shown).unwrap_or(shown);
        let mut key = PathBuf::new();
        for part in relative.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir if key.file_name().is_some() => {
                    key.pop();
                }
                Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                    key.push(part);
                }
            }
        }
        key
    }
}

fn read_file(root: &Path, real: &Path, is_walled: bool, limit: u64) -> Result<Text, Unread> {
    let identity = real.canonicalize().map_err(Unread::System)?;
    if is_walled && !identity.starts_with(root.canonicalize().map_err(Unread::System)?) {
        return Err(Unread::Outside);
    }
    let bytes = files::read(&identity, limit).map_err(|error| {
        let kind = error.kind();
        if kind == ErrorKind::FileTooLarge {
            Unread::TooLarge
        } else if kind == ErrorKind::Other {
            Unread::NotAFile
        } else {
            Unread::System(error)
        }
    })?;
    Ok(Text { identity, bytes: bytes.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_the_texts_that_were_read_through_any_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("shared/inc")).unwrap();
        std::fs::write(root.join("shared/inc/a"), "first").unwrap();
        std::os::unix::fs::symlink("shared/inc", root.join("inc")).unwrap();
        let shown = Path::new("zones");
        let texts = Texts::of_directory(shown, root);
        let read = texts.file(&shown.join("./inc/../inc/a"), &root.join("inc/a"), true, 9).unwrap();
        assert_eq!(read.identity, root.canonicalize().unwrap().join("shared/inc/a"));
        let collected = texts.into_collected().texts;
        assert_eq!(collected.keys().collect::<Vec<_>>(), [Path::new("inc/a")]);
        let again = Texts::of_version(shown, &collected);
        assert_eq!(&*again.file(&shown.join("inc/a"), Path::new("/nowhere"), true, 9).unwrap().bytes, b"first");
        assert!(matches!(again.file(&shown.join("b"), Path::new("/nowhere"), true, 9), Err(Unread::System(_))));
    }

    #[test]
    fn what_is_outside_no_file_or_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("zones")).unwrap();
        std::fs::write(dir.path().join("outside"), "0123456789").unwrap();
        std::fs::write(dir.path().join("zones/long"), "0123456789").unwrap();
        let root = dir.path().join("zones");
        let texts = Texts::of_directory(Path::new("zones"), &root);
        let read = |real: &Path, walled| texts.file(Path::new("zones/x"), real, walled, 9).map(|text| text.identity);
        assert!(matches!(read(&dir.path().join("outside"), true), Err(Unread::Outside)));
        assert!(matches!(read(&dir.path().join("outside"), false), Err(Unread::TooLarge)));
        assert!(matches!(read(&root.join("long"), true), Err(Unread::TooLarge)));
        assert!(matches!(read(Path::new("/dev/null"), false), Err(Unread::NotAFile)));
        assert!(matches!(read(&root, true), Err(Unread::System(_))));
        assert!(texts.into_collected().texts.is_empty());
    }
}
