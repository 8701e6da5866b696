//! When to load the files again without a request: when they changed, or on SIGHUP. The system reports changes at
//! once. It watches directories, not files, because some editors replace a file. In addition the files are polled
//! every few seconds, for changes that the system doesn't report. A change that a requested reload has read already
//! is no reason to load.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::Loaded;
use crate::daemon::poll::{self, FilePoll, PolledPaths};

/// Files are read when they have not changed for this long: an editor or `git` writes several at once.
const SETTLE: Duration = Duration::from_millis(100);

/// But no longer than this after the first change, however busy the directory is.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// How often the files are polled: soon enough for a person who waits, and a few hundred `stat`s cost nothing.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Polling takes at most one part in this many of one processor, however many files there are (judgment).
const LOOK_SHARE: u32 = 50;

/// Why the files are loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    Files,
    Request,
    /// The delay before the removal of a zone that disappeared is over.
    Removal,
}

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Cause::Signal => "SIGHUP",
            Cause::Files => "files changed",
            Cause::Request => "asked for",
            Cause::Removal => "the removal delay is over",
        }
    }
}

/// What is watched, as absolute paths.
#[derive(Debug, Clone)]
pub(crate) struct WatchedFiles {
    /// The directory whose every file counts.
    zones: PathBuf,
    /// Files elsewhere that count.
    files: Vec<PathBuf>,
    /// The state directory, which the server itself writes: nothing in it counts.
    own: Option<PathBuf>,
    /// The same for polling.
    polled: PolledPaths,
}

impl WatchedFiles {
    /// The files that were loaded, and the settings file.
    pub(crate) fn of(loaded: &Loaded, settings_file: Option<&Path>) -> WatchedFiles {
        let operators = &loaded.settings.operators;
        let read = loaded.files.iter().map(PathBuf::as_path);
        let files: Vec<&Path> = settings_file.into_iter().chain(operators.token_file.as_deref()).chain(read).collect();
        let unresolved = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let zones = &loaded.settings.zones_dir;
        let polled =
            PolledPaths { zones: unresolved(zones), files: files.iter().map(|file| unresolved(file)).collect() };
        WatchedFiles {
            zones: absolute(zones),
            files: files.into_iter().map(absolute).collect(),
            own: operators.state_dir.as_deref().map(absolute),
            polled,
        }
    }

    /// All files and directories that a reload reads.
    pub(crate) fn all_read(&self) -> Vec<PathBuf> {
        self.polled.all()
    }

    /// Whether a change of this path is a reason to load again. A file in the zones directory that is no zone's is
    /// none: a log there would cause a load, and the load would write to the log.
    fn is_reason(&self, path: &Path) -> bool {
        let is_own = self.own.as_deref().is_some_and(|own| path.starts_with(own) && !self.zones.starts_with(own));
        let is_read = self.files.iter().any(|file| file == path);
        is_link(path) || ((self.is_of_zones(path) || is_read) && !is_own && is_lasting(path))
    }

    /// Whether it is the zones directory, a directory in it, or a file of a zone.
    fn is_of_zones(&self, path: &Path) -> bool {
        let makes_zones = || path.file_name().and_then(|name| name.to_str()).is_some_and(poll::makes_zones);
        path.starts_with(&self.zones) && (path == self.zones || makes_zones() || path.is_dir())
    }

    /// Every directory that has a watched file, once.
    fn dirs(&self) -> BTreeSet<&Path> {
        self.files.iter().filter_map(|file| file.parent()).chain([&*self.zones]).collect()
    }
}

/// Gives reasons to load again.
pub(crate) struct Changes {
    causes: mpsc::Receiver<Cause>,
    on_change: mpsc::Sender<()>,
    poll: Arc<FilePoll>,
    watched: WatchedFiles,
    watcher: Option<notify::RecommendedWatcher>,
    /// Why the system does not report changes; `None` where it does.
    unnoticed: Option<String>,
}

impl Changes {
    /// Watches files and SIGHUP. Where the system does not report changes, the files are only polled.
    pub(crate) fn watch(watched: WatchedFiles) -> std::io::Result<Changes> {
        let hangup = signal(SignalKind::hangup())?;
        // One slot each: it counts that something changed, not how often.
        let (on_change, changed) = mpsc::channel(1);
        let (sender, causes) = mpsc::channel(1);
        let poll = Arc::new(FilePoll::default());
        poll.turn_to(watched.polled.clone());
        tokio::spawn(wait(hangup, changed, poll.clone(), sender));
        tokio::spawn(look(poll.clone(), on_change.clone()));
        let mut changes = Changes { causes, on_change, poll, watched, watcher: None, unnoticed: None };
        changes.rearm();
        Ok(changes)
    }

    /// Watches these files from now on.
    pub(crate) fn turn_to(&mut self, watched: WatchedFiles) {
        self.poll.turn_to(watched.polled.clone());
        self.watched = watched;
        self.rearm();
    }

    /// Watches the same paths again: a directory may have replaced another one.
    pub(crate) fn rearm(&mut self) {
        // The old watcher ends when the new one runs, so that nothing is missed between them; or sooner, where the
        // system allows only one.
        let made = watcher(&self.watched, self.poll.clone(), self.on_change.clone()).or_else(|_| {
            self.watcher = None;
            watcher(&self.watched, self.poll.clone(), self.on_change.clone())
        });
        let before = self.unnoticed.take();
        match made {
            Ok((watcher, unnoticed)) => (self.watcher, self.unnoticed) = (Some(watcher), unnoticed),
            Err(error) => self.unnoticed = Some(error.to_string()),
        }
        match (&before, &self.unnoticed) {
            (before, Some(why)) if before.as_ref() != Some(why) => {
                let every = LOOK_EVERY.as_secs();
                tracing::warn!(
                    why,
                    "the system gives no notice of changed files: the server looks at all files every {every} s instead"
                );
            }
            (Some(_), None) => tracing::info!("the system gives notice of changed files again"),
            (None | Some(_), _) => {}
        }
    }

    /// Why changes are only found by polling; `None` where the system reports them.
    pub(crate) fn unnoticed(&self) -> Option<&str> {
        self.unnoticed.as_deref()
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
async fn look(poll: Arc<FilePoll>, on_change: mpsc::Sender<()>) {
    let mut pause = LOOK_EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = on_change.closed() => return,
        }
        let poll = poll.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let begun = clock::now();
            (poll.look(clock::now), clock::now().since(begun))
        });
        // The process is ending, or it panicked, which has been printed.
        let Ok((differs, took)) = looked.await else { return };
        if differs {
            // Full means that a reason is waiting already.
            let _ = on_change.try_send(());
        }
        pause = LOOK_EVERY.max(took * LOOK_SHARE);
    }
}

/// Waits for reasons until the receiver is dropped.
async fn wait(mut hangup: Signal, mut changed: mpsc::Receiver<()>, poll: Arc<FilePoll>, causes: mpsc::Sender<Cause>) {
    loop {
        let cause = tokio::select! {
            Some(()) = hangup.recv() => Cause::Signal,
            Some(()) = changed.recv() => {
                settle(&mut changed, &poll).await;
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

async fn settle(changed: &mut mpsc::Receiver<()>, poll: &Arc<FilePoll>) {
    let quiet = async {
        loop {
            while let Ok(Some(())) = tokio::time::timeout(SETTLE, changed.recv()).await {}
            // An empty file may be valid but is rarely meant: some editors and scripts empty a file before they write
            // it.
            let poll = poll.clone();
            let now = clock::unix_seconds();
            let look = move || poll.is_being_written(now, SETTLE_LIMIT.as_secs_f64());
            let is_busy = tokio::task::spawn_blocking(look).await.unwrap_or(false);
            if !is_busy || changed.is_closed() {
                return;
            }
        }
    };
    // After the limit the files are read as they are; a later change is the next reason.
    let _ = tokio::time::timeout(SETTLE_LIMIT, quiet).await;
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

/// Absolute with links resolved, in the form that the watcher reports; unchanged where it doesn't exist.
fn absolute(path: &Path) -> PathBuf {
    let of_dir = path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    match (of_dir.and_then(|dir| dir.canonicalize().ok()), path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => path.canonicalize().unwrap_or_else(|_| path.to_path_buf()),
    }
}

fn is_change(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// Whether it is no temporary file of an editor.
fn is_lasting(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !(name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp"))
}

/// The link that Kubernetes swaps to change all files of a mount at once.
fn is_link(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "..data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_where_files_are_read_and_not_where_we_write() {
        let watched = WatchedFiles {
            zones: "/etc/portolan".into(),
            files: vec!["/etc/portolan/portolan.toml".into(), "/run/secrets/tokens".into()],
            own: Some("/etc/portolan/state".into()),
            polled: PolledPaths::default(),
        };
        for (path, expected) in [
            ("/etc/portolan/svc.example.zone", true),
            ("/etc/portolan/.svc.example.zone.swp", false),
            ("/etc/portolan/svc.example.zone~", false),
            ("/etc/portolan/portolan.log", false),
            ("/etc/portolan/svc.example.policy.toml", true),
            ("/etc/portolan", true),
            ("/etc/portolan/state", false),
            ("/etc/portolan/state/overrides.json", false),
            ("/run/secrets/tokens", true),
            ("/run/secrets/other", false),
            ("/run/secrets/..data", true),
        ] {
            assert_eq!(watched.is_reason(Path::new(path)), expected, "{path}");
        }
        let dirs: Vec<_> = watched.dirs().into_iter().map(|dir| dir.display().to_string()).collect();
        assert_eq!(dirs, ["/etc/portolan", "/run/secrets"]);
    }
}
