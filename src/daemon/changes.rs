//! When to load the files again by ourselves: they changed, or SIGHUP came. The directories are watched rather than the
//! files, so that editors that replace a file and mounts that swap a link are seen too. A change that somebody had read
//! already, because he asked for it sooner than the files had settled, is no reason to read it again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::Loaded;
use crate::model::Moment;

/// Files are left alone for this long before they are read: an editor or `git` writes several in one go.
const SETTLE: Duration = Duration::from_millis(100);

/// But no longer than this after the first change, however busy the directory is.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// Why the files are loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    Files,
    Request,
}

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Cause::Signal => "SIGHUP",
            Cause::Files => "files changed",
            Cause::Request => "asked for",
        }
    }
}

/// What is watched, as absolute paths.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// The directory whose every file counts.
    zones: PathBuf,
    /// Files elsewhere that count.
    files: Vec<PathBuf>,
    /// Where we write ourselves: what is there never counts.
    own: Option<PathBuf>,
}

impl Watched {
    /// What was loaded, and the settings file itself.
    pub(crate) fn of(loaded: &Loaded, settings_file: Option<&Path>) -> Watched {
        let operators = &loaded.settings.operators;
        let read = loaded.files.iter().map(PathBuf::as_path);
        let files = settings_file.into_iter().chain(operators.token_file.as_deref()).chain(read);
        Watched {
            zones: absolute(&loaded.settings.zones_dir),
            files: files.map(absolute).collect(),
            own: operators.state_dir.as_deref().map(absolute),
        }
    }

    /// Whether a change of this path is a reason to load again.
    fn is_reason(&self, path: &Path) -> bool {
        let is_own = self.own.as_deref().is_some_and(|own| path.starts_with(own) && !self.zones.starts_with(own));
        let is_ours = path.starts_with(&self.zones) || self.files.iter().any(|file| file == path);
        is_link(path) || (is_ours && !is_own && is_lasting(path))
    }

    /// Every directory that something of interest is in, once.
    fn dirs(&self) -> BTreeSet<&Path> {
        self.files.iter().filter_map(|file| file.parent()).chain([&*self.zones]).collect()
    }
}

/// When the files last changed, and when they were last begun to be read: nanoseconds of [`Moment`], 0 for never.
#[derive(Debug, Default)]
struct Times {
    changed: AtomicU64,
    read: AtomicU64,
}

impl Times {
    fn note(time: &AtomicU64, now: Moment) {
        time.fetch_max(now.from_first().as_nanos() as u64, Ordering::AcqRel);
    }

    /// Whether something changed after the files were last begun to be read.
    fn is_news(&self) -> bool {
        self.changed.load(Ordering::Acquire) > self.read.load(Ordering::Acquire)
    }
}

/// Gives reasons to load again.
pub(crate) struct Changes {
    causes: mpsc::Receiver<Cause>,
    on_change: mpsc::Sender<()>,
    times: Arc<Times>,
    watched: Watched,
    watcher: Option<notify::RecommendedWatcher>,
}

impl Changes {
    /// Watches files and SIGHUP. Where the system refuses to watch, that is logged and SIGHUP is left.
    pub(crate) fn watch(watched: Watched) -> std::io::Result<Changes> {
        let hangup = signal(SignalKind::hangup())?;
        // One slot each: what counts is that something changed, not how much.
        let (on_change, changed) = mpsc::channel(1);
        let (sender, causes) = mpsc::channel(1);
        let times = Arc::new(Times::default());
        tokio::spawn(wait(hangup, changed, times.clone(), sender));
        let mut changes = Changes { causes, on_change, times, watched, watcher: None };
        changes.rearm();
        Ok(changes)
    }

    /// Watches these from now on.
    pub(crate) fn turn_to(&mut self, watched: Watched) {
        self.watched = watched;
        self.rearm();
    }

    /// Watches the same paths, whatever is there now: a directory may have been put in the place of another.
    pub(crate) fn rearm(&mut self) {
        // The old one goes when the new one stands, so that nothing is missed between them.
        match watcher(&self.watched, self.times.clone(), self.on_change.clone()) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => tracing::warn!(%error, "files can't be watched; send SIGHUP after a change"),
        }
    }

    /// The files are about to be read: what changed until now is no reason any more.
    pub(crate) fn will_be_read(&self, now: Moment) {
        Times::note(&self.times.read, now);
    }

    /// The next reason, once the files have settled. Nothing is lost when this is dropped and called again.
    pub(crate) async fn next(&mut self) -> Cause {
        match self.causes.recv().await {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }
}

/// Waits for reasons until nobody wants them any more.
async fn wait(mut hangup: Signal, mut changed: mpsc::Receiver<()>, times: Arc<Times>, causes: mpsc::Sender<Cause>) {
    loop {
        let cause = tokio::select! {
            Some(()) = hangup.recv() => Cause::Signal,
            Some(()) = changed.recv() => {
                settle(&mut changed).await;
                if !times.is_news() {
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

async fn settle(changed: &mut mpsc::Receiver<()>) {
    let quiet = async { while let Ok(Some(())) = tokio::time::timeout(SETTLE, changed.recv()).await {} };
    // Past the limit the files are read as they are; what still changes is the next reason.
    let _ = tokio::time::timeout(SETTLE_LIMIT, quiet).await;
}

fn watcher(
    watched: &Watched,
    times: Arc<Times>,
    sender: mpsc::Sender<()>,
) -> notify::Result<notify::RecommendedWatcher> {
    let of_interest = watched.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(&event) && event.paths.iter().any(|path| of_interest.is_reason(path))) {
            Times::note(&times.changed, clock::now());
            // Full means that a reason is waiting already.
            let _ = sender.try_send(());
        }
    })?;
    for dir in watched.dirs() {
        if let Err(error) = watcher.watch(dir, RecursiveMode::NonRecursive) {
            let dir = dir.display();
            tracing::warn!(%dir, %error, "a directory can't be watched; send SIGHUP after a change there");
        }
    }
    Ok(watcher)
}

/// Absolute with links resolved, as the watcher tells paths; as given where it doesn't exist.
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

/// Not an editor's scratch file.
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
    fn what_was_read_since_it_changed_is_no_news() {
        let at = |secs| Moment::from_start(Duration::from_secs(secs));
        let times = Times::default();
        assert!(!times.is_news(), "nothing changed");
        Times::note(&times.changed, at(1));
        assert!(times.is_news());
        Times::note(&times.read, at(2));
        assert!(!times.is_news(), "read since");
        Times::note(&times.changed, at(3));
        assert!(times.is_news(), "changed while it was read");
    }

    #[test]
    fn a_change_counts_where_files_are_read_and_not_where_we_write() {
        let watched = Watched {
            zones: "/etc/portolan".into(),
            files: vec!["/etc/portolan/portolan.toml".into(), "/run/secrets/tokens".into()],
            own: Some("/etc/portolan/state".into()),
        };
        for (path, expected) in [
            ("/etc/portolan/svc.example.zone", true),
            ("/etc/portolan/.svc.example.zone.swp", false),
            ("/etc/portolan/svc.example.zone~", false),
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
