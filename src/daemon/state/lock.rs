//! The lock of the state directory. Two servers in one directory would overwrite each other's files, so the second one
//! does not start. The lock is the kernel's (`flock` on the file `lock`): it ends with the process, so a server that
//! crashed leaves nothing to clean up. Commands that only read do not take it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The file that is locked. Its content is the process id of the server, for the message of the next one.
pub(super) const NAME: &str = "lock";
/// Rights of the file.
const MODE: u32 = 0o640;
/// Longest content that is read, in octets: a process id has ten digits.
const MAX_CONTENT: u64 = 32;

/// The lock, until it is dropped.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another server has it: its process id, if it has written that.
    Held { by: Option<u32> },
    /// The directory or its file system doesn't allow it.
    System(io::Error),
}

impl DirLock {
    pub(super) fn take(dir: &Path) -> Result<DirLock, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(dir.join(NAME)).map_err(LockError::System)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held { by: holder(&file) }),
            Err(error) => return Err(LockError::System(error.into())),
        }
        // The lock holds without it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(DirLock { _file: file })
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_CONTENT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The message for a directory that another server has open.
pub(super) fn held(dir: &Path, by: Option<u32>) -> String {
    let process = by.map_or(String::new(), |id| format!(" (process {id})"));
    let dir = dir.display();
    format!(
        "{dir}: another server{process} uses this state directory: stop it, or set another `state.dir` for this one"
    )
}
