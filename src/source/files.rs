//! Reads files whose paths a user has written. Reading never waits and is bounded. What is not a file, such as a pipe,
//! is refused: reading it could wait for ever.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::source::At;

/// The directory of the standard input and of the shell's `<(...)`: a user who names these wants to wait.
const STREAMS: &str = "/dev/";

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

/// Opens a file for reading, and returns its metadata.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata)> {
    // Opening a pipe would wait for its writer.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found)),
        false if found.is_dir() => Err(Error::from_raw_os_error(libc::EISDIR)),
        false => Err(Error::other("it is not a file")),
    }
}

/// Reads a file of at most `limit` octets.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, found) = open(path)?;
    bounded(file, found.len(), limit)
}

/// Like [`read`], but waits for a stream that the command line names.
pub(crate) fn read_or_wait(path: &Path, limit: u64) -> Result<Vec<u8>> {
    match path.starts_with(STREAMS) {
        true => bounded(File::open(path)?, 0, limit),
        false => read(path, limit),
    }
}

fn bounded(file: File, expected: u64, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(expected.min(limit) as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::new(ErrorKind::FileTooLarge, format!("it is over {limit} octets"))),
        false => Ok(bytes),
    }
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
        assert_eq!(read(&file, 8).unwrap_err().to_string(), "it is over 8 octets");
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&*pipe, Path::new("/dev/zero"), Path::new("/dev/null")] {
            assert_eq!(read(path, 9).unwrap_err().to_string(), "it is not a file", "{path:?}");
        }
        assert_eq!(read(dir.path(), 9).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(read(&dir.path().join("none"), 9).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read_or_wait(Path::new("/dev/zero"), 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_or_wait(Path::new("/dev/null"), 9).unwrap(), b"");
    }
}
