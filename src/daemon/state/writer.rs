//! The task that writes the files of the state directory, one after the other. Of each file only the newest content
//! waits, so that a slow disk needs no more memory than a fast one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::control::unsaved::DiskState;
use crate::daemon::state::file::{FileInfo, replace};
use crate::daemon::state::lock::DirGuard;
use crate::daemon::state::write_rules::why_unwritten;
use crate::model::Moment;

/// The most requests that wait until one file is written. Further requests get an error at once, but their change is
/// written too (judgment).
const MAX_WAITING: usize = 64;

/// Receives one result: whether a content was written, or an error for the operator. If a newer content of the file
/// replaces it before it is written, the result is that of the newer one. A failed write is tried again; the result
/// does not wait for that.
pub(crate) type WriteOutcome = oneshot::Receiver<Result<(), String>>;

/// An outcome that is known at once.
pub(super) fn failed(why: &str) -> WriteOutcome {
    let (done, outcome) = oneshot::channel();
    report(done, Err(why.to_owned()));
    outcome
}

/// Why a change is not on the disk, for the operator.
pub(super) fn not_saved(why: &str) -> String {
    format!("not yet on disk: {why}; it is in force, and a restart would lose it until the server can write it")
}

fn report(done: oneshot::Sender<Result<(), String>>, outcome: Result<(), String>) {
    // The receiver may be dropped: not every caller waits.
    let _ = done.send(outcome);
}

/// Is called when a content is on the disk.
#[derive(Default)]
pub(super) struct OnWritten(Option<Box<dyn FnOnce() + Send>>);

impl OnWritten {
    pub(super) fn new(call: impl FnOnce() + Send + 'static) -> OnWritten {
        OnWritten(Some(Box::new(call)))
    }

    fn call(self) {
        if let Some(call) = self.0 {
            call();
        }
    }
}

impl std::fmt::Debug for OnWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnWritten")
    }
}

/// How many writes to the directory succeeded and failed.
#[derive(Debug, Default)]
pub(crate) struct StateWrites {
    counts: [AtomicU64; 2],
}

impl StateWrites {
    pub(crate) fn count(&self, is_ok: bool) {
        self.counts[usize::from(!is_ok)].fetch_add(1, Relaxed);
    }

    /// Those that succeeded and those that failed.
    pub(crate) fn counts(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.load(Relaxed))
    }
}

/// The contents that wait.
#[derive(Debug)]
pub(super) struct Queue {
    due: Mutex<Due>,
    changed: Notify,
    writes: Arc<StateWrites>,
    disk: Arc<DiskState>,
}

#[derive(Debug, Default)]
struct Due {
    files: BTreeMap<&'static str, Content>,
    is_closed: bool,
    turn: Turn,
}

/// Whether this process writes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    #[default]
    Own,
    /// Not now: contents wait.
    Held,
    /// Never again: another process has taken this server's place.
    Left,
}

/// The newest content of one file.
#[derive(Debug)]
struct Content {
    info: FileInfo,
    text: Arc<str>,
    /// When it was put, on both clocks.
    since: (Moment, f64),
    on_written: OnWritten,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// Whether it was tried and failed: it waits for the next round of retries.
    has_failed: bool,
}

impl Queue {
    pub(super) fn new(writes: Arc<StateWrites>, disk: Arc<DiskState>) -> Queue {
        Queue { due: Mutex::default(), changed: Notify::new(), writes, disk }
    }

    pub(super) fn put(&self, info: FileInfo, text: String, on_written: OnWritten) -> WriteOutcome {
        let (done, outcome) = oneshot::channel();
        let since = (clock::now(), clock::unix_seconds());
        let mut due = self.due();
        if due.turn == Turn::Left {
            return failed("not on disk: another process has taken this server's place");
        }
        self.disk.due(info.name, info.content, since);
        let empty = || Content {
            info,
            text: "".into(),
            since,
            on_written: OnWritten::default(),
            waiting: Vec::new(),
            has_failed: false,
        };
        let content = due.files.entry(info.name).or_insert_with(empty);
        (content.text, content.on_written, content.has_failed) = (text.into(), on_written, false);
        match content.waiting.len() < MAX_WAITING {
            true => content.waiting.push(done),
            false => report(done, Err(not_saved("the disk does not keep up"))),
        }
        drop(due);
        self.changed.notify_one();
        outcome
    }

    /// Ends the queue: no more contents will be put into it.
    pub(super) fn close(&self) {
        self.due().is_closed = true;
        self.changed.notify_one();
    }

    /// Contents wait from now on.
    pub(super) fn hold(&self) {
        self.due().turn = Turn::Held;
    }

    /// Contents are written from now on.
    pub(super) fn release(&self) {
        self.due().turn = Turn::Own;
        self.changed.notify_one();
    }

    /// Nothing is written any more. Who waits learns that.
    pub(super) fn leave(&self) {
        let mut due = self.due();
        due.turn = Turn::Left;
        due.files.clear();
        drop(due);
        self.changed.notify_one();
    }

    /// Writes until it is closed, and then what is left once more.
    pub(super) async fn write_all(self: Arc<Queue>, dir: PathBuf, guard: Weak<DirGuard>, retry_after: Duration) {
        let mut failing: BTreeMap<&'static str, FileInfo> = BTreeMap::new();
        let mut retry_at: Option<Moment> = None;
        loop {
            let is_retry = retry_at.is_some_and(|at| at <= clock::now());
            let (contents, is_last) = self.take(is_retry);
            for content in contents {
                self.write(&dir, &guard, content, &mut failing).await;
            }
            if is_last {
                return;
            }
            retry_at = match failing.is_empty() {
                true => None,
                false if is_retry => Some(clock::now() + retry_after),
                false => retry_at.or_else(|| Some(clock::now() + retry_after)),
            };
            match retry_at {
                None => self.changed.notified().await,
                Some(at) => {
                    // Whichever is first, the next round finds what to do.
                    let _ = tokio::time::timeout(at.since(clock::now()), self.changed.notified()).await;
                }
            }
        }
    }

    /// What is to be written now, and whether that is the last of it.
    fn take(&self, is_retry: bool) -> (Vec<Content>, bool) {
        let mut due = self.due();
        let is_last = due.is_closed;
        match due.turn {
            Turn::Own => {}
            Turn::Held | Turn::Left => return (Vec::new(), is_last),
        }
        let (now, later) = std::mem::take(&mut due.files)
            .into_iter()
            .partition(|(_, content)| is_retry || is_last || !content.has_failed);
        due.files = later;
        let now: BTreeMap<_, _> = now;
        (now.into_values().collect(), is_last)
    }

    async fn write(
        &self,
        dir: &Path,
        guard: &Weak<DirGuard>,
        content: Content,
        failing: &mut BTreeMap<&'static str, FileInfo>,
    ) {
        let Content { info, text, since, on_written, waiting, has_failed: _ } = content;
        let (to, written, guard) = (dir.to_path_buf(), text.clone(), guard.clone());
        let replacing = tokio::task::spawn_blocking(move || {
            // Where another server has the lock nothing is written.
            let guard = guard.upgrade().ok_or_else(|| std::io::Error::other("the state directory is closed"))?;
            guard.check()?;
            replace(&to, info.name, written.as_bytes(), info.durability)
        });
        let outcome = match replacing.await {
            Ok(outcome) => outcome.map_err(|error| why_unwritten(&error)),
            Err(error) => Err(error.to_string()),
        };
        if info.is_counted {
            self.writes.count(outcome.is_ok());
        }
        let file = dir.join(info.name);
        match &outcome {
            Ok(()) => {
                if failing.remove(info.name).is_some() {
                    let content = info.content;
                    tracing::info!(file = %file.display(), "{content} can be written again: the file is up to date");
                }
                on_written.call();
                let due = self.due();
                self.disk.written(info.name, due.files.get(info.name).map(|newer| newer.since));
            }
            Err(error) => {
                if failing.insert(info.name, info).is_none() {
                    let content = info.content;
                    tracing::error!(
                        file = %file.display(),
                        error,
                        "{content} can't be written: a restart would lose the last changes; the server tries again"
                    );
                }
                self.disk.failed(info.name, error);
                self.put_back(Content { info, text, since, on_written, waiting: Vec::new(), has_failed: true });
            }
        }
        let outcome = outcome.map_err(|error| not_saved(&format!("{}: {error}", file.display())));
        waiting.into_iter().for_each(|done| report(done, outcome.clone()));
    }

    /// Keeps a content due that could not be written, unless there is a newer one.
    fn put_back(&self, content: Content) {
        self.due().files.entry(content.info.name).or_insert(content);
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        // A panic leaves the map whole.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
