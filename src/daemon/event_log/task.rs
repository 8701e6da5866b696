//! The task that writes the events of the journal.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::unsaved::DiskState;
use crate::control::{Journal, JournalEvent, MAX_EVENTS};
use crate::daemon::event_log::{CONTENT, LOG, LoadedEvents, LogFiles, Missing, log_path};
use crate::daemon::state::{RETRY_AFTER, StateDir, why_unwritten};
use crate::model::Moment;
use crate::timer;

/// Events are visible after this time, whether they are written or not (judgment: a disk that works takes milliseconds,
/// and people wait for events in an outage).
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
/// How long the stop waits for the last write.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// Writes each event to the file, and then makes it visible, until `stop`; and then once more. Without a directory it
/// does nothing.
pub(crate) async fn write_events(
    journal: Arc<Journal>,
    state: StateDir,
    loaded: LoadedEvents,
    stop: CancellationToken,
) {
    let Some((dir, guard)) = state.guarded() else { return };
    let files = LogFiles { dir, guard, writing: loaded.writing };
    let task = LogTask { journal, disk: state.disk(), missing: VecDeque::new(), taken: 0, retry_at: None };
    task.run(files, stop).await;
}

struct LogTask {
    journal: Arc<Journal>,
    disk: Arc<DiskState>,
    /// Events that are not in the file, oldest first.
    missing: Missing,
    /// The number of the last event that was taken from the journal.
    taken: u64,
    /// When to try again after a failure.
    retry_at: Option<Moment>,
}

type Write = JoinHandle<(LogFiles, std::io::Result<()>)>;

impl LogTask {
    async fn run(mut self, mut files: LogFiles, stop: CancellationToken) {
        let mut changes = self.journal.changes();
        changes.mark_changed();
        loop {
            tokio::select! {
                // The journal lives as long as this task.
                _ = changes.changed() => {}
                () = timer::until(self.retry_at) => {}
                () = stop.cancelled() => break,
            }
            self.take();
            if self.retry_at.is_some_and(|at| clock::now() < at) {
                self.journal.written(self.taken);
                continue;
            }
            match self.write(files, Some(&stop)).await {
                Some(back) => files = back,
                None => return,
            }
        }
        self.take();
        // A disk that does not answer must not hold up the stop.
        let _ = tokio::time::timeout(STOP_WAIT, self.write(files, None)).await;
    }

    /// Takes the new events from the journal.
    fn take(&mut self) {
        let new = self.journal.unwritten(self.taken);
        let Some((last, _)) = new.last() else { return };
        self.taken = *last;
        self.missing.extend(new);
        let extra = self.missing.len().saturating_sub(MAX_EVENTS);
        self.missing.drain(..extra);
    }

    /// Writes what is missing. While that takes long, or fails, events become visible all the same. `None`: the server
    /// stops while the disk does not answer, or the write panicked.
    async fn write(&mut self, mut files: LogFiles, stop: Option<&CancellationToken>) -> Option<LogFiles> {
        let Some((last, _)) = self.missing.back().cloned() else { return Some(files) };
        let events: Vec<Arc<JournalEvent>> = self.missing.iter().map(|(_, event)| event.clone()).collect();
        self.disk.due(LOG, CONTENT, (clock::now(), clock::unix_seconds()));
        let shown = log_path(&files.dir);
        let mut write: Write = tokio::task::spawn_blocking(move || {
            let written = files.append(&events);
            (files, written)
        });
        let mut changes = self.journal.changes();
        let mut is_slow = false;
        let done = loop {
            tokio::select! {
                done = &mut write => break done,
                () = tokio::time::sleep(SHOWN_WITHIN), if !is_slow => {
                    is_slow = true;
                    let file = shown.display();
                    tracing::warn!(%file, "the disk does not answer: the log of events is not written");
                }
                _ = changes.changed(), if is_slow => {}
                () = cancelled(stop), if is_slow => return None,
            }
            if is_slow {
                self.take();
                self.journal.written(self.taken);
            }
        };
        // An error is a panic, which has been printed.
        let (files, written) = done.ok()?;
        match written {
            Ok(()) => {
                self.missing.retain(|(number, _)| *number > last);
                let newer = (!self.missing.is_empty()).then(|| (clock::now(), clock::unix_seconds()));
                self.disk.written(LOG, newer);
                if self.retry_at.take().is_some() {
                    tracing::info!(file = %shown.display(), "the log of events can be written again");
                }
            }
            Err(error) => {
                let error = why_unwritten(&error);
                self.disk.failed(LOG, &error);
                if self.retry_at.replace(clock::now() + RETRY_AFTER).is_none() {
                    tracing::error!(
                        file = %shown.display(),
                        error,
                        "the log of events can't be written: a restart would lose the last ones; the server tries again"
                    );
                }
            }
        }
        self.journal.written(last);
        Some(files)
    }
}

async fn cancelled(stop: Option<&CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled().await,
        None => std::future::pending().await,
    }
}
