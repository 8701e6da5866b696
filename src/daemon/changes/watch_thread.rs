//! The thread that looks at the files: it watches directories and polls files, which blocks while a mount is dead. So
//! nobody waits for it without a limit. Those who need it leave their request in [`WatchThread`].

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::control::Unnoticed;
use crate::daemon::changes::notices::Notices;
use crate::daemon::changes::watched::WatchedFiles;
use crate::daemon::poll::{FilePoll, LOOK_EVERY};

/// Most requests that wait: one of each who sends them, and a wish.
const MAX_WAITING: usize = 8;

/// The longest wait for the thread at the start: the files were read a moment ago.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The end of the thread that others have.
#[derive(Clone)]
pub(super) struct WatchThread {
    requests: SyncSender<Request>,
    wish: Arc<Mutex<Wish>>,
    unnoticed: Unnoticed,
}

/// What to watch from now on. The newest wish replaces one that waits.
#[derive(Default)]
struct Wish {
    watched: Option<WatchedFiles>,
    /// Watch the same paths again.
    is_again: bool,
}

enum Request {
    /// There is a wish.
    Wish,
    /// Poll the files once; the reply is whether something differs.
    Look(oneshot::Sender<bool>),
    /// Whether one of the files was emptied at most `secs` before `now`, Unix seconds.
    IsBeingWritten { now: f64, secs: f64, reply: oneshot::Sender<bool> },
}

/// What the thread has.
struct FileWatcher {
    watched: WatchedFiles,
    poll: Arc<FilePoll>,
    on_change: mpsc::Sender<()>,
    /// `None` while the system gives no instance of inotify.
    notices: Option<Notices>,
    /// Where notices are read.
    runtime: Handle,
    unnoticed: Unnoticed,
}

impl WatchThread {
    /// Starts the thread, and waits until it watches `watched`. It ends when all clones of the result are dropped.
    /// Notices of the system are read on the runtime of the caller.
    pub(super) fn start(
        watched: WatchedFiles,
        poll: Arc<FilePoll>,
        on_change: mpsc::Sender<()>,
    ) -> io::Result<WatchThread> {
        let (requests, received) = sync_channel(MAX_WAITING);
        let (ready, is_ready) = sync_channel(1);
        let (wish, unnoticed) = (Arc::<Mutex<Wish>>::default(), Unnoticed::default());
        let (runtime, shown) = (Handle::current(), unnoticed.clone());
        let mut files = FileWatcher { watched, poll, on_change, notices: None, runtime, unnoticed: shown };
        let wishes = wish.clone();
        thread::Builder::new().name("file-watch".to_owned()).spawn(move || {
            files.poll.turn_to(files.watched.polled.clone());
            files.rearm();
            // The start has been given up if nobody receives this.
            let _ = ready.send(());
            files.serve(&received, &wishes);
        })?;
        let why = "the files don't answer: a directory can't be watched (is the server of its mount reachable?)";
        is_ready.recv_timeout(START_LIMIT).map_err(|_| io::Error::other(why))?;
        Ok(WatchThread { requests, wish, unnoticed })
    }

    /// Watches these files from now on.
    pub(super) fn turn_to(&self, watched: WatchedFiles) {
        self.wish(|wish| wish.watched = Some(watched));
    }

    /// Watches the same paths again: a directory may have replaced another one.
    pub(super) fn rearm(&self) {
        self.wish(|wish| wish.is_again = true);
    }

    fn wish(&self, change: impl FnOnce(&mut Wish)) {
        change(&mut self.wish.lock().unwrap_or_else(PoisonError::into_inner));
        // If the channel is full, the thread will see the wish before the next request.
        let _ = self.requests.try_send(Request::Wish);
    }

    /// Polls once; whether something differs. `None` while the thread has too many requests.
    pub(super) fn look(&self) -> Option<oneshot::Receiver<bool>> {
        let (reply, looked) = oneshot::channel();
        self.requests.try_send(Request::Look(reply)).is_ok().then_some(looked)
    }

    /// As [`FilePoll::is_being_written`]. `None` while the thread has too many requests.
    pub(super) fn is_being_written(&self, now: f64, secs: f64) -> Option<oneshot::Receiver<bool>> {
        let (reply, looked) = oneshot::channel();
        self.requests.try_send(Request::IsBeingWritten { now, secs, reply }).is_ok().then_some(looked)
    }

    /// Why changes are only found by polling, as it changes.
    pub(super) fn unnoticed(&self) -> Unnoticed {
        self.unnoticed.clone()
    }
}

impl FileWatcher {
    fn serve(&mut self, requests: &Receiver<Request>, wish: &Mutex<Wish>) {
        while let Ok(request) = requests.recv() {
            let Wish { watched, is_again } = std::mem::take(&mut *wish.lock().unwrap_or_else(PoisonError::into_inner));
            let is_new = watched.is_some();
            if let Some(watched) = watched {
                self.poll.turn_to(watched.polled.clone());
                self.watched = watched;
            }
            if is_new || is_again {
                self.rearm();
            }
            match request {
                Request::Wish => {}
                // Whoever has sent the request may have gone.
                Request::Look(reply) => {
                    let _ = reply.send(self.poll.look(clock::now));
                }
                Request::IsBeingWritten { now, secs, reply } => {
                    let _ = reply.send(self.poll.is_being_written(now, secs));
                }
            }
        }
    }

    fn rearm(&mut self) {
        let before = self.unnoticed.load_full();
        let now = match self.notices() {
            Ok(notices) => {
                let unseen = notices.watch(&self.watched);
                // What changed meanwhile may have had no notice.
                if self.poll.look(clock::now) {
                    // Full means that a reason is waiting already.
                    let _ = self.on_change.try_send(());
                }
                unseen
            }
            Err(error) => Some(format!("inotify: {error}")),
        };
        match (&before, &now) {
            (before, Some(why)) if before.as_deref() != Some(why) => {
                let every = LOOK_EVERY.as_secs();
                tracing::warn!(
                    why,
                    "the system gives no notice of changed files: the server looks at all files every {every} s instead"
                );
            }
            (Some(_), None) => tracing::info!("the system gives notice of changed files again"),
            (None | Some(_), _) => {}
        }
        self.unnoticed.store(now.map(Arc::new));
    }

    /// The notices; begins to read them if the system has not let it before.
    fn notices(&mut self) -> io::Result<Notices> {
        if let Some(notices) = &self.notices {
            return Ok(notices.clone());
        }
        let _entered = self.runtime.enter();
        let begun = Notices::begin(self.poll.clone(), self.on_change.clone())?;
        Ok(self.notices.insert(begun).clone())
    }
}
