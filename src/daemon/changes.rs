//! When to load the files again without a request: when they changed, or on SIGHUP. The system reports changes at
//! once. It watches directories, not files, because some editors replace a file. In addition the files are polled
//! every few seconds, for changes that the system doesn't report. A change that a requested reload has read already
//! is no reason to load.

mod notices;
mod watch_thread;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::clock;
use crate::control::Unnoticed;
use crate::daemon::poll::{FilePoll, LOOK_EVERY};
use watch_thread::WatchThread;

pub(crate) use watched::WatchedFiles;

/// Files are read when they have not changed for this long: an editor or `git` writes several at once.
const SETTLE: Duration = Duration::from_millis(100);

/// But no longer than this after the first change, however busy the directory is.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// Polling takes at most one part in this many of one processor, however many files there are (judgment).
const LOOK_SHARE: u32 = 50;

/// The longest pause, after a look that waited for a file on a dead mount.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A look that lasts longer than this waits for a file that does not answer (judgment, as for a load).
const STALL_LIMIT: Duration = Duration::from_secs(20);

/// Why the files are loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    Files,
    Request,
    /// The delay before the removal of a zone that disappeared is over.
    Removal,
    /// A look at the files does not end.
    Stall,
    /// Sources list other endpoints.
    Discovery,
}

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Cause::Signal => "SIGHUP",
            Cause::Files => "files changed",
            Cause::Request => "asked for",
            Cause::Removal => "the removal delay is over",
            Cause::Stall => "a file does not answer",
            Cause::Discovery => "sources list other endpoints",
        }
    }
}

/// Gives reasons to load again.
pub(crate) struct Changes {
    causes: mpsc::Receiver<Cause>,
    poll: Arc<FilePoll>,
    thread: WatchThread,
}

impl Changes {
    /// Watches files and SIGHUP. Where the system does not report changes, the files are only polled.
    pub(crate) fn watch(watched: WatchedFiles) -> std::io::Result<Changes> {
        let hangup = signal(SignalKind::hangup())?;
        // One slot each: it counts that something changed, not how often.
        let (on_change, changed) = mpsc::channel(1);
        let (sender, causes) = mpsc::channel(1);
        let poll = Arc::new(FilePoll::default());
        let thread = WatchThread::start(watched, poll.clone(), on_change.clone())?;
        tokio::spawn(wait(hangup, changed, (poll.clone(), thread.clone()), sender.clone()));
        tokio::spawn(look(thread.clone(), on_change, sender));
        Ok(Changes { causes, poll, thread })
    }

    /// Watches these files from now on.
    pub(crate) fn turn_to(&self, watched: WatchedFiles) {
        self.thread.turn_to(watched);
    }

    /// Watches the same paths again: a directory may have replaced another one.
    pub(crate) fn rearm(&self) {
        self.thread.rearm();
    }

    /// Why changes are only found by polling, as it changes.
    pub(crate) fn unnoticed(&self) -> Unnoticed {
        self.thread.unnoticed()
    }

    /// The poll, which has to know when the files are read.
    pub(crate) fn poll(&self) -> Arc<FilePoll> {
        self.poll.clone()
    }

    /// The next reason, once the files no longer change. Nothing is lost when this is dropped and called again.
    pub(crate) async fn next(&mut self) -> Cause {
        match self.causes.recv().await {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }
}

/// Polls the files every few seconds, until the receiver is dropped.
async fn look(thread: WatchThread, on_change: mpsc::Sender<()>, causes: mpsc::Sender<Cause>) {
    let mut pause = LOOK_EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = on_change.closed() => return,
        }
        let begun = clock::now();
        let Some(mut looked) = thread.look() else { continue };
        let differs = tokio::select! {
            differs = &mut looked => differs,
            () = on_change.closed() => return,
            () = tokio::time::sleep(STALL_LIMIT) => {
                // A file on a dead mount. The load will wait for it too, and reports which one it is.
                if causes.send(Cause::Stall).await.is_err() {
                    return;
                }
                tokio::select! {
                    differs = looked => differs,
                    () = on_change.closed() => return,
                }
            }
        };
        // An error means that the thread panicked, which has been printed.
        let Ok(differs) = differs else { return };
        if differs {
            // Full means that a reason is waiting already.
            let _ = on_change.try_send(());
        }
        pause = LOOK_EVERY.max(clock::now().since(begun) * LOOK_SHARE).min(LONGEST_PAUSE);
    }
}

/// Waits for reasons until the receiver is dropped.
async fn wait(
    mut hangup: Signal,
    mut changed: mpsc::Receiver<()>,
    (poll, thread): (Arc<FilePoll>, WatchThread),
    causes: mpsc::Sender<Cause>,
) {
    loop {
        let cause = tokio::select! {
            Some(()) = hangup.recv() => Cause::Signal,
            Some(()) = changed.recv() => {
                settle(&mut changed, &thread).await;
                if !poll.is_news() {
                    continue;
                }
                Cause::Files
            }
            () = causes.closed() => return,
        };
        if causes.send(cause).await.is_err() {
            return;
        }
    }
}

async fn settle(changed: &mut mpsc::Receiver<()>, thread: &WatchThread) {
    let quiet = async {
        loop {
            while let Ok(Some(())) = tokio::time::timeout(SETTLE, changed.recv()).await {}
            // An empty file may be valid but is rarely meant: some editors and scripts empty a file before they write
            // it.
            let is_busy = match thread.is_being_written(clock::unix_seconds(), SETTLE_LIMIT.as_secs_f64()) {
                Some(looked) => looked.await.unwrap_or(false),
                None => false,
            };
            if !is_busy || changed.is_closed() {
                return;
            }
        }
    };
    // After the limit the files are read as they are; a later change is the next reason.
    let _ = tokio::time::timeout(SETTLE_LIMIT, quiet).await;
}
