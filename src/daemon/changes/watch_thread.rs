//! The thread that looks at the files: it watches directories and polls files, which blocks while a mount is dead. So
//! nobody waits for it without a limit. Those who need it leave their request in [`WatchThread`].

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::control::Unnoticed;
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
    watcher: Option<notify::RecommendedWatcher>,
    unnoticed: Unnoticed,
}

impl WatchThread {
    /// Starts the thread, and waits until it watches `watched`. It ends when all clones of the result are dropped.
    pub(super) fn start(
        watched: WatchedFiles,
        poll: Arc<FilePoll>,
        on_change: mpsc::Sender<()>,
    ) -> io::Result<WatchThread> {
        let (requests, received) = sync_channel(MAX_WAITING);
        let (ready, is_ready) = sync_channel(1);
        let (wish, unnoticed) = (Arc::<Mutex<Wish>>::default(), Unnoticed::default());
        let mut files = FileWatcher { watched, poll, on_change, watcher: None, unnoticed: unnoticed.clone() };
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
        // The old watcher ends when the new one runs, so that nothing is missed between them; or sooner, where the
        // system allows only one.
        let made = watcher(&self.watched, self.poll.clone(), self.on_change.clone()).or_else(|_| {
            self.watcher = None;
            watcher(&self.watched, self.poll.clone(), self.on_change.clone())
        });
        let before = self.unnoticed.load_full();
        let now = match made {
            Ok((watcher, unnoticed)) => {
                self.watcher = Some(watcher);
                unnoticed
            }
            Err(error) => Some(error.to_string()),
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
}

/// A watcher of all directories, and why it can't watch some of them, if so.
fn watcher(
    watched: &WatchedFiles,
    poll: Arc<FilePoll>,
    sender: mpsc::Sender<()>,
) -> notify::Result<(notify::RecommendedWatcher, Option<String>)> {
    let of_interest = watched.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(&event) && event.paths.iter().any(|path| of_interest.is_reason(path))) {
            poll.note_change(clock::now());
            // Full means that a reason is waiting already.
            let _ = sender.try_send(());
        }
    })?;
    let mut unseen = None;
    // A directory that does not exist yet is polled.
    for dir in watched.dirs().into_iter().filter(|dir| dir.is_dir()) {
        if let Err(error) = watcher.watch(dir, RecursiveMode::NonRecursive) {
            unseen.get_or_insert_with(|| format!("{}: {error}", dir.display()));
        }
    }
    Ok((watcher, unseen))
}

fn is_change(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}
