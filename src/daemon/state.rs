//! The state directory: files that outlive a restart. Every file in it is a [`StateFile`]: JSON with a version,
//! replaced in one step, so that a crash leaves the old file or the new one.
//!
//! One task writes the files, so that answers never wait for a disk. A file that can't be written stays due: it is
//! tried again after a while, with its next content, and when the server stops. Until then [`DiskState`] says so to the
//! API, the status and the metrics. One server at a time uses a directory ([`lock`]).

mod file;
#[cfg(test)]
mod format_tests;
mod lock;
#[cfg(test)]
mod tests;
mod write_rules;
mod writer;

use std::fs::{create_dir_all, rename};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::clock;
use crate::control::overrides::utc;
use crate::control::unsaved::{DiskState, UnsavedFile};
use crate::daemon::StartError;
use crate::source::{Problem, Severity};
use writer::{OnWritten, Queue};

pub(crate) use file::{Durability, FileInfo, OWN_FILES, StateFile, Unreadable, make_dir, replace, text_of};
pub(crate) use lock::{DirGuard, NAME as LOCK};
pub(crate) use write_rules::{are_in_force as file_rules_are_in_force, why_unwritten};
pub(crate) use writer::{StateWrites, WriteOutcome};

/// A file that could not be written is tried again after this. Judgment: a try costs little, and an override that is
/// not on the disk can be lost.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest time that a stop waits for the disk. Judgment: much longer than a disk takes that works, and shorter
/// than the 90 seconds after which systemd kills a service that does not stop.
pub(crate) const STOP_WAIT: Duration = Duration::from_secs(10);
/// The longest time that a process which takes this server's place waits for its last writes. Judgment: as above, and
/// that process must not wait longer for it.
const FLUSH_WAIT: Duration = Duration::from_secs(5);
/// From one try to lock the directory of a server that is ending to the next.
const LOCK_AGAIN: Duration = Duration::from_millis(20);
/// From one look whether all is written to the next: a write takes about a millisecond.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The state directory of a running server. Without a settings file there is none, and nothing is saved.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    open: Option<Arc<Open>>,
    writes: Arc<StateWrites>,
    disk: Arc<DiskState>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    queue: Arc<Queue>,
    retry_after: Duration,
    /// `Some` from the begin of writing to the end.
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Ends with the process, however that ends.
    guard: Arc<DirGuard>,
}

/// What the end of the server leaves unsaved.
#[derive(Debug)]
pub struct Unsaved {
    dir: PathBuf,
    files: Vec<UnsavedFile>,
}

impl std::fmt::Display for Unsaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not on disk, and lost by this stop: changes of the last moments of")?;
        for (at, unsaved) in self.files.iter().enumerate() {
            let between = if at == 0 { "" } else { ";" };
            let UnsavedFile { file, content, since, .. } = unsaved;
            let (file, why) = (self.dir.join(file), unsaved.why());
            write!(f, "{between} {content}, since {} ({}: {why})", utc(*since), file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Unsaved {}

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
        let (writes, disk) = (Arc::<StateWrites>::default(), Arc::<DiskState>::default());
        let Some(path) = path else { return Ok(StateDir { open: None, writes, disk }) };
        let made = path.parent().map_or(Ok(()), create_dir_all).and_then(|()| make_dir(&path));
        if let Err(error) = made {
            tracing::warn!(dir = %path.display(), %error, "the state directory can't be made");
        }
        let guard = DirGuard::new(&path).map_err(|by| StartError::State(lock::held(&path, by)))?;
        let queue = Arc::new(Queue::new(writes.clone(), disk.clone()));
        let open = Open { path, queue, retry_after, writer: Mutex::default(), guard: Arc::new(guard) };
        Ok(StateDir { open: Some(Arc::new(open)), writes, disk })
    }

    /// Opens the directory after a server that is ending: waits some seconds for its lock. It blocks.
    pub(crate) fn open_after(path: Option<PathBuf>) -> Result<StateDir, StartError> {
        let began = clock::now();
        loop {
            match StateDir::open(path.clone()) {
                Err(StartError::State(_)) if clock::now().since(began) < STOP_WAIT => sleep(LOCK_AGAIN),
                other => return other,
            }
        }
    }

    /// Opens the directory of a running server, whose lock this process shares. Nothing is written before
    /// [`StateDir::release`].
    pub(crate) fn shared(path: PathBuf, lock: Option<OwnedFd>) -> Result<StateDir, StartError> {
        let (writes, disk) = (Arc::<StateWrites>::default(), Arc::<DiskState>::default());
        let refused = |error| StartError::State(format!("{}: {error}", path.display()));
        let guard = DirGuard::shared(&path, lock).map_err(refused)?;
        let queue = Arc::new(Queue::new(writes.clone(), disk.clone()));
        queue.hold();
        let open = Open { path, queue, retry_after: RETRY_AFTER, writer: Mutex::default(), guard: Arc::new(guard) };
        Ok(StateDir { open: Some(Arc::new(open)), writes, disk })
    }

    /// Waits until all that is due is on the disk; from then on nothing is written. An error names what is not, and
    /// writing goes on.
    pub(crate) async fn hold(&self) -> Result<(), String> {
        let Some(open) = &self.open else { return Ok(()) };
        let flushed = async {
            loop {
                if self.disk.all_due().is_empty() {
                    open.queue.hold();
                    open.guard.hold();
                    // Something may have become due meanwhile.
                    if self.disk.all_due().is_empty() {
                        return;
                    }
                    self.release();
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(FLUSH_WAIT, flushed).await.is_ok() {
            return Ok(());
        }
        let due = self.disk.all_due();
        let why = due.iter().map(|unsaved| format!("{} ({})", unsaved.file, unsaved.why())).collect::<Vec<_>>();
        Err(format!("not on disk: {}", why.join(", ")))
    }

    /// This process writes from now on.
    pub(crate) fn release(&self) {
        if let Some(open) = &self.open {
            open.guard.release();
            open.queue.release();
        }
    }

    /// Another process has the directory for good.
    pub(crate) fn leave(&self) {
        if let Some(open) = &self.open {
            open.guard.hold();
            open.queue.leave();
        }
    }

    /// The lock, for another process that will share it; `None` where there is none.
    pub(crate) fn lock(&self) -> std::io::Result<Option<OwnedFd>> {
        self.open.as_ref().map_or(Ok(None), |open| open.guard.lock_again())
    }

    /// Begins to write, on the runtime of the caller.
    pub(crate) fn begin(&self) {
        let Some(open) = &self.open else { return };
        let writing = open.queue.clone().write_all(open.path.clone(), Arc::downgrade(&open.guard), open.retry_after);
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

    /// What is not on the disk, for the API and metrics.
    pub(crate) fn disk(&self) -> Arc<DiskState> {
        self.disk.clone()
    }

    /// Its path and the right to write to it, for who writes to it in another way; `None` without a directory.
    pub(crate) fn guarded(&self) -> Option<(PathBuf, Arc<DirGuard>)> {
        self.open.as_ref().map(|open| (open.path.clone(), open.guard.clone()))
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

    /// The same, with a conversion of the content; an error of it says what is wrong with the file.
    pub(crate) fn load_or_refuse_as<T: DeserializeOwned, U>(
        &self,
        file: &StateFile<T>,
        convert: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<Option<U>, StartError> {
        let (Some(open), Some(content)) = (&self.open, self.load_or_refuse(file)?) else { return Ok(None) };
        let refused = |why| StartError::State(file.unreadable(&open.path, why).to_string());
        convert(content).map(Some).map_err(refused)
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
        self.put_to_queue(file, text_of(content), OnWritten::default())
    }

    /// The same; `on_written` is called when this content is on the disk. It is not called if a newer one replaces it.
    pub(crate) fn put_with<T: Serialize>(
        &self,
        file: &StateFile<T>,
        content: &T,
        on_written: impl FnOnce() + Send + 'static,
    ) -> WriteOutcome {
        self.put_to_queue(file, text_of(content), OnWritten::new(on_written))
    }

    /// The same with the text of the content.
    pub(crate) fn put_text<T>(&self, file: &StateFile<T>, text: String) -> WriteOutcome {
        self.put_to_queue(file, text, OnWritten::default())
    }

    fn put_to_queue<T>(&self, file: &StateFile<T>, text: String, on_written: OnWritten) -> WriteOutcome {
        match &self.open {
            None => writer::failed("not on disk: without a settings file there is no state directory"),
            Some(open) => open.queue.put(file.info, text, on_written),
        }
    }

    /// The outcome for a change that needs no write: an error while an earlier write of the file has failed.
    pub(crate) fn outcome_before<T>(&self, file: &StateFile<T>) -> Option<WriteOutcome> {
        let unsaved = self.disk.unsaved(clock::now()).into_iter().find(|unsaved| unsaved.file == file.info.name)?;
        Some(writer::failed(&writer::not_saved(unsaved.why())))
    }

    /// Writes what is due, tries what failed once more, and ends. An error names what is not on the disk.
    pub(crate) async fn close(self) -> Result<(), Unsaved> {
        let Some(open) = self.open else { return Ok(()) };
        open.queue.close();
        let writer = open.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // An error is a panic, which has been printed. A disk that does not answer must not hold up the stop.
            let _ = tokio::time::timeout(STOP_WAIT, writer).await;
        }
        let files = self.disk.all_due();
        // What is held is another process's.
        match files.is_empty() || open.guard.is_held() {
            true => Ok(()),
            false => Err(Unsaved { dir: open.path.clone(), files }),
        }
    }
}
