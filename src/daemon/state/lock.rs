//! The lock of the state directory. Two servers in one directory would overwrite each other's files, so the second one
//! does not start. The lock is the kernel's (`flock` on the file `lock`): it ends with the process, so a server that
//! crashed leaves nothing to clean up. Commands that only read do not take it.
//!
//! The directory can be replaced while the server runs (`mv state old; mkdir state`). So each write first checks that
//! the file `lock` at the path is still the locked one, and otherwise locks the new one. A directory that another
//! server has locked is never written to.
//!
//! A process that takes a running server's place gets the lock from it, as a second descriptor of the locked file.
//! While both have it, only one of them writes: the other one's guard is held.

use std::fs::{File, OpenOptions, metadata};
use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::daemon::state::file::make_dir;

/// The file that is locked. Its content is the process id of the server, for the message of the next one.
pub(crate) const NAME: &str = "lock";
/// Rights of the file: a server that ran as another user can still lock it. The directory is not open to everyone.
const MODE: u32 = 0o644;
/// Longest content that is read, in octets: a process id has ten digits.
const MAX_CONTENT: u64 = 32;
/// Times that a lock is tried whose file was replaced meanwhile. Judgment: that takes a person.
const TRIES: usize = 3;

/// The right to write to the directory at a path.
#[derive(Debug)]
pub(crate) struct DirGuard {
    dir: PathBuf,
    /// `None` while the directory could not be locked.
    lock: Mutex<Option<DirLock>>,
    /// Whether another process has the directory while it takes this server's place, or this one while it does so.
    is_held: AtomicBool,
}

/// The lock of one directory, until it is dropped.
#[derive(Debug)]
struct DirLock {
    file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another server has it: its process id, if it has written that.
    Held { by: Option<u32> },
    /// The file system has no locks.
    Unsupported(io::Error),
    /// The directory does not allow it now: it is full, read-only, or not there.
    System(io::Error),
}

impl DirGuard {
    /// Locks the directory, which is created where its parent is there. An error says that another server has it. If
    /// it can't be locked for another reason, that is in the log, and each write tries again.
    pub(crate) fn new(dir: &Path) -> Result<DirGuard, Option<u32>> {
        let shown = dir.display();
        let lock = match DirLock::take(dir) {
            Ok(lock) => Some(lock),
            Err(LockError::Held { by }) => return Err(by),
            Err(LockError::Unsupported(error)) => {
                tracing::warn!(
                    dir = %shown,
                    %error,
                    "the file system of the state directory has no locks: make sure that no other server uses it, \
                     because two would overwrite each other's files"
                );
                None
            }
            Err(LockError::System(error)) => {
                tracing::warn!(dir = %shown, %error, "the state directory can't be locked: nothing is written to it");
                None
            }
        };
        Ok(DirGuard { dir: dir.to_path_buf(), lock: Mutex::new(lock), is_held: AtomicBool::new(false) })
    }

    /// Shares the lock of the process whose place this one takes; `None` where that had none. Nothing is written before
    /// [`DirGuard::release`]. An error says that the directory was replaced.
    pub(crate) fn shared(dir: &Path, lock: Option<OwnedFd>) -> io::Result<DirGuard> {
        let lock = lock.map(|file| DirLock { file: File::from(file) });
        if lock.as_ref().is_some_and(|lock| !lock.is_of(dir)) {
            return Err(io::Error::other("it is another directory than that of the running server"));
        }
        Ok(DirGuard { dir: dir.to_path_buf(), lock: Mutex::new(lock), is_held: AtomicBool::new(true) })
    }

    /// The lock by another descriptor: whoever has it holds the lock too. `None` where there is none.
    pub(crate) fn lock_again(&self) -> io::Result<Option<OwnedFd>> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().map(|lock| lock.file.as_fd().try_clone_to_owned()).transpose()
    }

    /// From now on nothing is written.
    pub(crate) fn hold(&self) {
        self.is_held.store(true, Ordering::Release);
    }

    /// From now on this process writes.
    pub(crate) fn release(&self) {
        self.is_held.store(false, Ordering::Release);
        if let Some(lock) = &*self.lock.lock().unwrap_or_else(PoisonError::into_inner) {
            lock.write_process();
        }
    }

    /// Whether nothing is written now.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// Makes sure that this server may write to the directory: creates it where its parent is there, and locks it if
    /// it is another one than before. It blocks.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_held() {
            return Err(io::Error::other("another process is taking this server's place, and has the directory"));
        }
        make_dir(&self.dir)?;
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.as_ref().is_some_and(|lock| lock.is_of(&self.dir)) {
            return Ok(());
        }
        match DirLock::take(&self.dir) {
            Ok(taken) => {
                let dir = self.dir.display();
                tracing::info!(%dir, "the state directory is locked; it is another one than before, or was not locked");
                *lock = Some(taken);
                Ok(())
            }
            Err(LockError::Held { by }) => Err(io::Error::other(held(&self.dir, by))),
            // The start has reported it.
            Err(LockError::Unsupported(_)) => Ok(()),
            Err(LockError::System(error)) => Err(error),
        }
    }
}

impl DirLock {
    fn take(dir: &Path) -> Result<DirLock, LockError> {
        for _ in 0..TRIES {
            let lock = DirLock::of_file(open(&dir.join(NAME)).map_err(LockError::System)?)?;
            // Another process may have removed the file after it was opened.
            if lock.is_of(dir) {
                lock.write_process();
                return Ok(lock);
            }
        }
        Err(LockError::System(io::Error::other("its file `lock` changes all the time")))
    }

    fn of_file(file: File) -> Result<DirLock, LockError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DirLock { file }),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held { by: holder(&file) }),
            Err(error) => Err(no_lock(error)),
        }
    }

    /// Whether the locked file is the one in `dir`.
    fn is_of(&self, dir: &Path) -> bool {
        let id = |of: io::Result<std::fs::Metadata>| of.map(|of| (of.dev(), of.ino())).ok();
        let own = id(self.file.metadata());
        own.is_some() && own == id(metadata(dir.join(NAME)))
    }

    /// Writes the process id for the message of another server. A failure changes nothing: the lock holds without it.
    fn write_process(&self) {
        let text = format!("{}\n", std::process::id());
        // From the beginning: the position is that of the process before this one, too.
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all_at(text.as_bytes(), 0));
    }
}

/// Opens the file; only for reading where it can't be written, which is enough for a lock.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).mode(MODE).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.clone().write(true).create(true).truncate(false).open(path) {
        Err(error) if matches!(error.kind(), ReadOnlyFilesystem | PermissionDenied) => {
            options.open(path).map_err(|_| error)?
        }
        other => other?,
    };
    let found = file.metadata()?;
    match (found.is_file(), found.nlink()) {
        (true, 0 | 1) => Ok(file),
        // What is written to it would be written to a file elsewhere.
        (true, _) => Err(io::Error::other("its entry `lock` is also the name of another file: remove it")),
        (false, _) => Err(io::Error::other("its entry `lock` is no regular file")),
    }
}

/// The meaning of an error of `flock`. NFS without its lock service gives ENOLCK, other file systems one of the rest.
fn no_lock(error: Errno) -> LockError {
    match error {
        Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => LockError::Unsupported(error.into()),
        other => LockError::System(other.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_differs_from_a_directory_that_cannot_be_written() {
        for errno in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(matches!(no_lock(errno), LockError::Unsupported(_)), "{errno}");
        }
        assert!(matches!(no_lock(Errno::IO), LockError::System(_)));
    }

    #[test]
    fn who_shares_a_lock_writes_only_in_its_turn_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirGuard::new(dir.path()).unwrap();
        let second = DirGuard::shared(dir.path(), first.lock_again().unwrap()).unwrap();
        assert!(second.check().is_err() && first.check().is_ok());
        first.hold();
        second.release();
        assert!(second.check().is_ok() && first.check().is_err());
        drop(first);
        assert_eq!(DirGuard::new(dir.path()).unwrap_err(), Some(std::process::id()), "the second still has it");
        let other = tempfile::tempdir().unwrap();
        assert!(DirGuard::shared(other.path(), second.lock_again().unwrap()).is_err(), "another directory");
    }

    #[test]
    fn a_lock_that_is_no_regular_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join(NAME),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let guard = DirGuard::new(dir.path()).unwrap();
        let refused = guard.check().unwrap_err().to_string();
        assert!(refused.contains("no regular file"), "{refused}");
    }

    #[test]
    fn a_lock_that_is_another_file_too_is_refused_and_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (state, other) = (dir.path().join("state"), dir.path().join("other"));
        std::fs::create_dir(&state).unwrap();
        std::fs::write(&other, "content").unwrap();
        std::fs::hard_link(&other, state.join(NAME)).unwrap();
        let refused = DirGuard::new(&state).unwrap().check().unwrap_err().to_string();
        assert!(refused.contains("another file"), "{refused}");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "content");
    }
}
