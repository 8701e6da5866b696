//! The state directory: files that outlive a restart. Every file in it is a [`StateFile`]: JSON with a version,
//! replaced in one step, so that a crash leaves the old file or the new one.
//!
//! One task writes the files, so that answers never wait for a disk. A file that can't be written stays due: it is
//! tried again after a while, with its next content, and when the server stops. One server at a time uses a directory
//! ([`lock`]).

mod file;
#[cfg(test)]
mod format_tests;
mod lock;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{create_dir_all, rename};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::daemon::StartError;
use crate::source::{Problem, Severity};
use lock::{DirLock, LockError};
use writer::Queue;

pub(crate) use file::{Durability, FileInfo, StateFile, Unreadable, make_dir, replace, text_of};
pub(crate) use writer::{StateWrites, WriteOutcome};

/// A file that could not be written is tried again after this (judgment: a disk that was full).
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The state directory of a running server. Without a settings file there is none, and nothing is saved.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    open: Option<Arc<Open>>,
    writes: Arc<StateWrites>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    queue: Arc<Queue>,
    retry_after: Duration,
    /// `Some` from the begin of writing to the end.
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Ends with the process, however that ends; `None` where the file system has no locks.
    _lock: Option<DirLock>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl StateDir {
    /// Opens the directory and locks it. It is created, with the directories above it: after the start only the
    /// directory itself is created again. The error names the server that has it open. Nothing is written before
    /// [`StateDir::begin`]: a start opens the directory before there is any thread.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<StateDir, StartError> {
        StateDir::open_with(path, RETRY_AFTER)
    }

    fn open_with(path: Option<PathBuf>, retry_after: Duration) -> Result<StateDir, StartError> {
        let writes = Arc::<StateWrites>::default();
        let Some(path) = path else { return Ok(StateDir { open: None, writes }) };
        let made = path.parent().map_or(Ok(()), create_dir_all).and_then(|()| make_dir(&path));
        if let Err(error) = made {
            tracing::warn!(dir = %path.display(), %error, "the state directory can't be made");
        }
        let lock = match DirLock::take(&path) {
            Ok(lock) => Some(lock),
            Err(LockError::Held { by }) => return Err(StartError::State(lock::held(&path, by))),
            Err(LockError::System(error)) => {
                tracing::warn!(dir = %path.display(), %error, "the state directory can't be locked");
                None
            }
        };
        let queue = Arc::new(Queue::new(writes.clone()));
        let open = Open { path, queue, retry_after, writer: Mutex::default(), _lock: lock };
        Ok(StateDir { open: Some(Arc::new(open)), writes })
    }

    /// Begins to write, on the runtime of the caller.
    pub(crate) fn begin(&self) {
        let Some(open) = &self.open else { return };
        let writing = open.queue.clone().write_all(open.path.clone(), open.retry_after);
        *open.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(writing));
    }

    /// An open directory that is written, for tests.
    #[cfg(test)]
    pub(crate) fn begun(path: Option<PathBuf>) -> Result<StateDir, StartError> {
        let state = StateDir::open(path)?;
        state.begin();
        Ok(state)
    }

    /// Whether there is a directory.
    pub(crate) fn is_there(&self) -> bool {
        self.open.is_some()
    }

    /// The counts of what was written, for metrics.
    pub(crate) fn writes(&self) -> Arc<StateWrites> {
        self.writes.clone()
    }

    /// The path of a file; `None` without a directory.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.open.as_ref()?.path.join(name))
    }

    /// The content of a file; `None` where there is no such file.
    pub(crate) fn load<T: DeserializeOwned>(&self, file: &StateFile<T>) -> Result<Option<T>, Unreadable> {
        match &self.open {
            None => Ok(None),
            Some(open) => file.load(&open.path),
        }
    }

    /// The same for a file without which the server must not start.
    pub(crate) fn load_or_refuse<T: DeserializeOwned>(&self, file: &StateFile<T>) -> Result<Option<T>, StartError> {
        self.load(file).map_err(|unreadable| StartError::State(unreadable.to_string()))
    }

    /// The same for a file without which the server starts. One that can't be read is renamed, so that people can
    /// look at it, and reported in `warnings`; `loss` says what the server does without it.
    pub(crate) fn load_or_set_aside<T: DeserializeOwned>(
        &self,
        file: &StateFile<T>,
        loss: &str,
        warnings: &mut Vec<Problem>,
    ) -> Option<T> {
        self.load(file).unwrap_or_else(|Unreadable { path, why, .. }| {
            let aside = path.with_extension("json.unreadable");
            let message = match rename(&path, &aside) {
                Ok(()) => format!("{why}; the file was renamed to {}, and {loss}", aside.display()),
                Err(error) => format!("{why}; the file can't be renamed ({error}), and {loss}"),
            };
            warnings.push(Problem::of_file(path, Severity::Warning, message));
            None
        })
    }

    /// Has a file written with this content. It replaces a content that still waits.
    pub(crate) fn put<T: Serialize>(&self, file: &StateFile<T>, content: &T) -> WriteOutcome {
        self.put_text(file, text_of(content))
    }

    /// The same with the text of the content.
    pub(crate) fn put_text<T>(&self, file: &StateFile<T>, text: String) -> WriteOutcome {
        match &self.open {
            None => writer::failed("without a settings file there is no state directory"),
            Some(open) => open.queue.put(file.info, text),
        }
    }

    /// Writes what is due, tries what failed once more, and ends.
    pub(crate) async fn close(self) {
        let Some(open) = self.open else { return };
        open.queue.close();
        let writer = open.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // An error is a panic, which has been printed.
            let _ = writer.await;
        }
    }
}
