//! Reads files whose paths a user has written. What is opened is a regular file: a pipe, a socket or a device could
//! block or have no end. Reading is bounded, and every call is listed in [`calls`].

use std::collections::BinaryHeap;
use std::fmt;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::source::At;
use crate::source::calls::{self, FileCall};

/// The directory of the standard input and of the shell's `<(...)`: a user who names these wants to wait.
const STREAMS: &str = "/dev/";

/// Most files of the zones directory that may be zones: they are listed every few seconds (judgment). Entries with
/// other names don't count, and are not remembered.
pub(crate) const MAX_ENTRIES: usize = 200_000;

/// Octets of one call to read: so that a long file makes progress on a slow disk.
const PART: u64 = 1 << 20;

/// The path that the settings name: relative to `base`, or from a flag to the current directory.
pub(crate) fn path_of(written: &At<String>, base: &Path) -> PathBuf {
    match written.place.is_flag() {
        true => PathBuf::from(&written.value),
        false => base.join(&written.value),
    }
}

/// The absolute path of `path`.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Opens a regular file for reading, and returns its metadata. Never waits for a peer.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata)> {
    let _call = FileCall::begin(path);
    // Opening a device may do something. What counts is the test of the open file: the path may change.
    is_regular(std::fs::metadata(path)?.file_type())?;
    // Opening a pipe would wait for its writer.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    is_regular(found.file_type())?;
    Ok((file, found))
}

fn is_regular(found: FileType) -> Result<()> {
    let what = if found.is_file() {
        return Ok(());
    } else if found.is_dir() {
        "a directory"
    } else if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Error::new(ErrorKind::InvalidInput, NoFile(what)))
}

/// What is in the place of a file.
#[derive(Debug)]
struct NoFile(&'static str);

impl std::error::Error for NoFile {}

impl fmt::Display for NoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}, not a file", self.0)
    }
}

/// Reads a file of at most `limit` octets.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, found) = open(path)?;
    read_open(path, &file, &found, limit)
}

/// Reads a file that [`open`] has opened.
pub(crate) fn read_open(path: &Path, file: &File, found: &Metadata, limit: u64) -> Result<Vec<u8>> {
    match found.len() > limit {
        true => Err(too_large(Some(found.len()), limit)),
        false => bounded(path, file, found.len(), limit),
    }
}

/// Like [`read`], but waits for a stream that the command line names.
pub(crate) fn read_or_wait(path: &Path, limit: u64) -> Result<Vec<u8>> {
    match path.starts_with(STREAMS) {
        true => bounded(path, &File::open(path)?, 0, limit),
        false => read(path, limit),
    }
}

fn bounded(path: &Path, mut file: &File, expected: u64, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(expected.min(limit) as usize + 1);
    let call = FileCall::begin(path);
    loop {
        // One octet more than is allowed shows that the file is too large.
        let left = limit + 1 - bytes.len() as u64;
        match file.by_ref().take(PART.min(left)).read_to_end(&mut bytes)? {
            0 => return Ok(bytes),
            _ if bytes.len() as u64 > limit => return Err(too_large(None, limit)),
            _ => call.next(),
        }
    }
}

fn too_large(size: Option<u64>, limit: u64) -> Error {
    let most = octets(limit);
    let message = match size {
        Some(size) => format!("it has {}, and at most {most} are read", octets(size)),
        None => format!("it has over {most}, and no more are read"),
    };
    Error::new(ErrorKind::FileTooLarge, message)
}

/// `7 octets`, `32 MiB`: the unit without a fraction.
pub(crate) fn octets(count: u64) -> String {
    match count {
        0 => "0 octets".to_owned(),
        _ if count.is_multiple_of(1 << 20) => format!("{} MiB", count >> 20),
        _ if count.is_multiple_of(1 << 10) => format!("{} KiB", count >> 10),
        1 => "1 octet".to_owned(),
        _ => format!("{count} octets"),
    }
}

/// The absolute path without links.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf> {
    calls::listed(path, || path.canonicalize())
}

/// Some names of entries of a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The first names in their order.
    pub(crate) names: Vec<String>,
    /// How many come after them.
    pub(crate) left_out: usize,
}

/// The names of the entries of a directory for which `is_wanted` is true, sorted: at most the first `most` of them,
/// whatever the order in which the system lists them.
pub(crate) fn list(dir: &Path, most: usize, is_wanted: impl Fn(&str) -> bool) -> Result<Listing> {
    let call = FileCall::begin(dir);
    // The greatest name is on top.
    let (mut first, mut left_out) = (BinaryHeap::new(), 0);
    for entry in std::fs::read_dir(dir)? {
        call.next();
        first.extend(entry?.file_name().into_string().ok().filter(|name| is_wanted(name)));
        if first.len() > most {
            first.pop();
            left_out += 1;
        }
    }
    Ok(Listing { names: first.into_sorted_vec(), left_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_waited_for_and_nothing_is_read_without_bound() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "123456789").unwrap();
        assert_eq!(read(&file, 9).unwrap(), b"123456789");
        assert_eq!(read(&file, 8).unwrap_err().to_string(), "it has 9 octets, and at most 8 octets are read");
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for (path, what) in [
            (&*pipe, "a pipe"),
            (&socket, "a socket"),
            (&link, "a device"),
            (Path::new("/dev/null"), "a device"),
            (dir.path(), "a directory"),
        ] {
            assert_eq!(read(path, 9).unwrap_err().to_string(), format!("it is {what}, not a file"), "{path:?}");
        }
        assert_eq!(read(&dir.path().join("none"), 9).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read_or_wait(Path::new("/dev/zero"), 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_or_wait(Path::new("/dev/null"), 9).unwrap(), b"");
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "1").unwrap();
        let (file, found) = open(&path).unwrap();
        std::fs::write(&path, "123456789").unwrap();
        let error = read_open(&path, &file, &found, 8).unwrap_err();
        assert_eq!(error.to_string(), "it has over 8 octets, and no more are read");
    }

    #[test]
    fn long_files_are_read_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let octets = vec![7; 2 * PART as usize + 3];
        std::fs::write(&path, &octets).unwrap();
        assert_eq!(read(&path, octets.len() as u64).unwrap(), octets);
        assert!(read(&path, 2 * PART).is_err());
    }

    #[test]
    fn a_directory_is_listed_up_to_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.zone", "b.zone", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let zones = |most| list(dir.path(), most, |name| name.ends_with(".zone")).unwrap();
        let listing = |names: &[&str], left_out| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Listing { names, left_out }
        };
        assert_eq!(zones(2), listing(&["a.zone", "b.zone"], 0), "other entries don't count");
        assert_eq!(zones(1), listing(&["a.zone"], 1));
        assert_eq!(zones(0), listing(&[], 2));
        assert_eq!(list(dir.path(), 2, |_| true).unwrap(), listing(&["a.zone", "b.zone"], 1));
    }

    #[test]
    fn sizes_have_a_unit_without_a_fraction() {
        for (count, expected) in [(1, "1 octet"), (1023, "1023 octets"), (64 << 10, "64 KiB"), (32 << 20, "32 MiB")] {
            assert_eq!(octets(count), expected);
        }
    }
}
