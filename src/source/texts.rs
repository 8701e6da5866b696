//! The source of the texts of one zone's files: the zones directory, or an earlier version of the zone in memory. All
//! readers of a zone's files use it, so the same code checks both. Every text that is read is collected. Does not
//! parse the texts.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::source::files;
use crate::source::wall::Wall;

/// The texts of one zone, each under its path relative to the zones directory.
pub type TextsByPath = BTreeMap<PathBuf, Arc<[u8]>>;

/// Largest master file, or file that it includes, in octets (judgment: three million records).
pub(crate) const MAX_MASTER: u64 = 256 << 20;

/// Largest policy file, in octets (judgment: three hundred thousand names).
pub(crate) const MAX_POLICY: u64 = 32 << 20;

/// Most octets of all files of one zone, each counted as often as it is read: they stay in memory, as its last good
/// version (judgment: as much as its largest file).
const MAX_ZONE: u64 = MAX_MASTER;

/// Most files of one zone, each counted as often as it is read (judgment: a file for each customer). Without a bound,
/// files that include each other many times are read without end.
const MAX_ZONE_FILES: usize = 1000;

/// Most octets of the files of all zones together (judgment: four of the largest zones). The reader of the zones
/// decides which of them are left out.
pub(crate) const MAX_LOAD: u64 = 1 << 30;

/// The files of one zone.
#[derive(Debug)]
pub(crate) struct Texts<'a> {
    /// The directory of the files as the user would type it.
    shown: &'a Path,
    origin: Origin<'a>,
    read: RefCell<Collected>,
    /// How many files were read, and their octets.
    size: Cell<(usize, u64)>,
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
    /// It is outside the directory, and the wall does not admit that.
    Outside,
    /// It can't be opened, is no regular file, or is too large.
    Refused(Error),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Unread {
        Unread::Refused(error)
    }
}

impl<'a> Texts<'a> {
    /// Files in the directory `real`, which messages call `shown`.
    pub(crate) fn of_directory(shown: &'a Path, real: &'a Path) -> Texts<'a> {
        Texts::of(shown, Origin::Directory(real))
    }

    /// The texts of an earlier version. Messages show them as files of the directory `shown`.
    pub(crate) fn of_version(shown: &'a Path, texts: &'a TextsByPath) -> Texts<'a> {
        Texts::of(shown, Origin::Version(texts))
    }

    fn of(shown: &'a Path, origin: Origin<'a>) -> Texts<'a> {
        Texts { shown, origin, read: RefCell::default(), size: Cell::default() }
    }

    /// Reads a file of at most `limit` octets that is within the wall.
    pub(crate) fn file(&self, shown: &Path, real: &Path, wall: Wall, limit: u64) -> Result<Text, Unread> {
        self.read.borrow_mut().requested.insert(self.key(shown));
        let limit = self.limit(limit)?;
        let text = match self.origin {
            Origin::Directory(root) => read_file(root, real, wall, limit)?,
            Origin::Version(texts) => {
                let identity = self.key(shown);
                let missing = || Error::from(ErrorKind::NotFound);
                let bytes = texts.get(&identity).cloned().ok_or_else(missing)?;
                Text { identity, bytes }
            }
        };
        self.count(text.bytes.len() as u64);
        self.note(shown, &text.bytes);
        Ok(text)
    }

    /// How many octets the next file may have; an error if no file may be read any more.
    fn limit(&self, limit: u64) -> Result<u64, Error> {
        let (files, octets) = self.size.get();
        if files >= MAX_ZONE_FILES {
            return Err(Error::other(format!(
                "the zone has over {MAX_ZONE_FILES} files, counted as often as they are read"
            )));
        }
        let left = MAX_ZONE.saturating_sub(octets);
        if left == 0 {
            let most = files::octets(MAX_ZONE);
            return Err(Error::other(format!("the files of the zone have {most}, and no more are read")));
        }
        Ok(limit.min(left))
    }

    fn count(&self, octets: u64) {
        let (files, before) = self.size.get();
        self.size.set((files + 1, before + octets));
    }

    /// The octets of all files that were read, each counted as often as it was read.
    pub(crate) fn octets(&self) -> u64 {
        self.size.get().1
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
            Origin::Directory(_) => files::canonical(real).unwrap_or_else(|_| real.to_path_buf()),
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

fn read_file(root: &Path, real: &Path, wall: Wall, limit: u64) -> Result<Text, Unread> {
    /// A file may be replaced between two steps, but not each time.
    const ATTEMPTS: usize = 3;
    for _ in 0..ATTEMPTS {
        let (file, found) = files::open(real)?;
        let identity = files::canonical(real)?;
        if !wall.admits(root, real, &identity)? {
            return Err(Unread::Outside);
        }
        // A link on the path may lead elsewhere now: what is read is the file that was opened.
        let there = files::open(&identity)?.1;
        if (there.dev(), there.ino()) == (found.dev(), found.ino()) {
            let bytes = files::read_open(real, &file, &found, limit)?;
            return Ok(Text { identity, bytes: bytes.into() });
        }
    }
    Err(Error::other("it was replaced while it was opened").into())
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
        let read = texts.file(&shown.join("./inc/../inc/a"), &root.join("inc/a"), Wall::Closed, 9).unwrap();
        assert_eq!(read.identity, root.canonicalize().unwrap().join("shared/inc/a"));
        let collected = texts.into_collected().texts;
        assert_eq!(collected.keys().collect::<Vec<_>>(), [Path::new("inc/a")]);
        let again = Texts::of_version(shown, &collected);
        assert_eq!(&*again.file(&shown.join("inc/a"), Path::new("/nowhere"), Wall::Closed, 9).unwrap().bytes, b"first");
        assert!(matches!(
            again.file(&shown.join("b"), Path::new("/nowhere"), Wall::Closed, 9),
            Err(Unread::Refused(_))
        ));
    }

    #[test]
    fn what_is_outside_no_file_or_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("zones")).unwrap();
        std::fs::write(dir.path().join("outside"), "0123456789").unwrap();
        std::fs::write(dir.path().join("zones/long"), "0123456789").unwrap();
        let root = dir.path().join("zones");
        let texts = Texts::of_directory(Path::new("zones"), &root);
        let read = |real: &Path, wall| texts.file(Path::new("zones/x"), real, wall, 9).map(|text| text.identity);
        assert!(matches!(read(&dir.path().join("outside"), Wall::Closed), Err(Unread::Outside)));
        assert!(matches!(read(&dir.path().join("outside"), Wall::Open), Err(Unread::Refused(_))));
        assert!(matches!(read(&root.join("long"), Wall::Closed), Err(Unread::Refused(_))));
        assert!(matches!(read(Path::new("/dev/null"), Wall::Open), Err(Unread::Refused(_))));
        assert!(matches!(read(&root, Wall::Closed), Err(Unread::Refused(_))));
        assert!(texts.into_collected().texts.is_empty());
    }

    #[test]
    fn a_zone_has_a_bounded_number_of_files_and_octets() {
        let dir = tempfile::tempdir().unwrap();
        let (root, file) = (dir.path(), dir.path().join("a"));
        std::fs::write(&file, "0123456789").unwrap();
        let texts = Texts::of_directory(Path::new("zones"), root);
        let read = |texts: &Texts<'_>| match texts.file(Path::new("zones/a"), &file, Wall::Closed, 20) {
            Ok(text) => Ok(text.bytes.len()),
            Err(Unread::Refused(error)) => Err(error.to_string()),
            Err(Unread::Outside) => Err("outside".to_owned()),
        };
        for _ in 0..MAX_ZONE_FILES {
            assert_eq!(read(&texts), Ok(10));
        }
        assert_eq!(read(&texts), Err("the zone has over 1000 files, counted as often as they are read".to_owned()));
        texts.size.set((1, MAX_ZONE - 9));
        assert_eq!(read(&texts), Err("it has 10 octets, and at most 9 octets are read".to_owned()));
        texts.size.set((1, MAX_ZONE));
        assert_eq!(read(&texts), Err("the files of the zone have 256 MiB, and no more are read".to_owned()));
    }
}
