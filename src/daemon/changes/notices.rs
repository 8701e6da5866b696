//! Notices of the kernel that files changed: inotify(7). There is one instance, and no thread of its own: a task reads
//! it. What is watched changes by adding and removing directories, so a reload needs no new thread, which the system
//! may refuse at that moment.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::clock;
use crate::daemon::changes::watched::WatchedFiles;
use crate::daemon::poll::FilePoll;

/// The pause after events were read: a busy directory, such as one with a log, takes little of the processor
/// (judgment; files have to settle for longer before they are read).
const PAUSE: Duration = Duration::from_millis(10);

/// Most parts, of 4 KiB each, that are read without a pause.
const MOST_PARTS: usize = 16;

/// All that changes what a file or a directory has. Opening, reading and closing are no changes.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// The watched directories. Clones share them; the instance ends with the last one.
#[derive(Debug, Clone)]
pub(super) struct Notices {
    instance: Arc<Instance>,
    watching: Arc<Mutex<Watching>>,
}

#[derive(Debug)]
struct Instance(Inotify);

impl AsRawFd for Instance {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[derive(Debug, Default)]
struct Watching {
    /// The paths of each watch: bind mounts give one directory several.
    dirs: HashMap<WatchDescriptor, Vec<PathBuf>>,
    /// Which changes count.
    of_interest: Option<Arc<WatchedFiles>>,
}

impl Notices {
    /// Begins to read notices on the runtime of the caller; each change that counts is noted in `poll`, and then sent,
    /// until the receiver is dropped. An error is the system's: too many instances of inotify.
    pub(super) fn begin(poll: Arc<FilePoll>, on_change: mpsc::Sender<()>) -> io::Result<Notices> {
        let instance = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let notices = Notices { instance: Arc::new(Instance(instance)), watching: Arc::default() };
        #[expect(deprecated, reason = "its replacement is unsafe code; an instance has one descriptor all its life")]
        let ready = AsyncFd::with_interest(notices.instance.clone(), Interest::READABLE)?;
        let watching = Arc::downgrade(&notices.watching);
        tokio::spawn(async move {
            loop {
                let mut readable = tokio::select! {
                    readable = ready.readable() => match readable {
                        Ok(readable) => readable,
                        // The runtime ends.
                        Err(_) => return,
                    },
                    () = on_change.closed() => return,
                };
                let Some(watching) = watching.upgrade() else { return };
                let (is_change, is_more) = lock(&watching).read(&ready.get_ref().0);
                if !is_more {
                    readable.clear_ready();
                }
                drop(readable);
                if is_change {
                    poll.note_change(clock::now());
                    // Full means that a reason is waiting already.
                    let _ = on_change.try_send(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(notices)
    }

    /// Watches these directories and no others. It blocks while a mount is dead. Returns why some can't be watched, if
    /// so. What changes meanwhile may be missed; the caller polls once.
    pub(super) fn watch(&self, watched: &WatchedFiles) -> Option<String> {
        let (mut dirs, mut unseen): (HashMap<_, Vec<PathBuf>>, _) = (HashMap::new(), None);
        // A directory that does not exist yet is polled.
        for dir in watched.dirs().into_iter().filter(|dir| dir.is_dir()) {
            match self.instance.0.add_watch(dir, CHANGES | AddWatchFlags::IN_ONLYDIR) {
                Ok(watch) => dirs.entry(watch).or_default().push(dir.to_path_buf()),
                Err(error) => _ = unseen.get_or_insert_with(|| format!("{}: {}", dir.display(), why(error))),
            }
        }
        let before = {
            let mut watching = lock(&self.watching);
            watching.of_interest = Some(Arc::new(watched.clone()));
            std::mem::replace(&mut watching.dirs, dirs.clone())
        };
        for watch in before.into_keys().filter(|watch| !dirs.contains_key(watch)) {
            // It fails if the directory was removed, which ended the watch.
            let _ = self.instance.0.rm_watch(watch);
        }
        unseen
    }
}

/// The error in words. The kernel gives ENOSPC when a user has too many watches.
fn why(error: Errno) -> String {
    match error {
        Errno::ENOSPC => "too many watches of inotify (fs.inotify.max_user_watches)".to_owned(),
        other => io::Error::from(other).to_string(),
    }
}

fn lock(watching: &Mutex<Watching>) -> MutexGuard<'_, Watching> {
    // A panic leaves the map whole.
    watching.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watching {
    /// Reads events: whether one of them is a change that counts, and whether there may be more.
    fn read(&self, instance: &Inotify) -> (bool, bool) {
        let mut is_change = false;
        for _ in 0..MOST_PARTS {
            match instance.read_events() {
                Ok(events) => is_change |= events.iter().any(|event| self.is_change(event)),
                Err(Errno::EINTR) => {}
                // There are no more, or the kernel gives none; polling goes on.
                Err(_) => return (is_change, false),
            }
        }
        (is_change, true)
    }

    fn is_change(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // The kernel dropped events: any file may have changed.
            return true;
        }
        let (Some(dirs), Some(of_interest)) = (self.dirs.get(&event.wd), &self.of_interest) else { return false };
        let is_dir = event.mask.contains(AddWatchFlags::IN_ISDIR);
        dirs.iter().any(|dir| match event.name.as_deref() {
            // The kernel ends a watch for itself after the directory was removed.
            None => event.mask.intersects(CHANGES) && of_interest.is_reason(dir, true),
            Some(name) => of_interest.is_reason(&dir.join::<&OsStr>(name), is_dir),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::daemon::poll::PolledPaths;

    fn watched(zones: PathBuf) -> WatchedFiles {
        WatchedFiles { zones, files: Vec::new(), own: None, polled: PolledPaths::default() }
    }

    async fn next(changes: &mut mpsc::Receiver<()>) {
        tokio::time::timeout(Duration::from_secs(60), changes.recv()).await.expect("a notice").expect("it is watched");
    }

    #[tokio::test]
    async fn one_instance_follows_directories_that_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let zones = fs::canonicalize(dir.path()).unwrap().join("zones");
        fs::create_dir(&zones).unwrap();
        let (sender, mut changes) = mpsc::channel(1);
        let poll = Arc::new(FilePoll::default());
        let notices = Notices::begin(poll.clone(), sender).unwrap();
        assert_eq!(notices.watch(&watched(zones.clone())), None);
        assert_eq!(notices.watch(&watched(zones.clone())), None, "the same again");
        fs::write(zones.join("a.zone"), "").unwrap();
        next(&mut changes).await;
        assert!(poll.is_news());
        fs::rename(&zones, dir.path().join("old")).unwrap();
        next(&mut changes).await;
        fs::create_dir(&zones).unwrap();
        assert_eq!(notices.watch(&watched(zones.clone())), None);
        assert_eq!(lock(&notices.watching).dirs.len(), 1, "the old one is watched no more");
        fs::write(zones.join("b.zone"), "").unwrap();
        next(&mut changes).await;
    }

    #[tokio::test]
    async fn a_file_that_makes_no_zone_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let zones = fs::canonicalize(dir.path()).unwrap();
        let (sender, mut changes) = mpsc::channel(1);
        let notices = Notices::begin(Arc::default(), sender).unwrap();
        assert_eq!(notices.watch(&watched(zones.clone())), None);
        fs::write(zones.join("portolan.log"), "").unwrap();
        fs::create_dir(zones.join("folder")).unwrap();
        next(&mut changes).await;
        assert!(changes.try_recv().is_err(), "only the directory counts");
    }
}
