//! When to load the files again without being asked: they changed, or SIGHUP came. The system gives notice of changes at
//! once; the directories are watched rather than the files, so that editors that replace a file are seen too. Beside that
//! the files are looked at every few seconds, which is all there is where the system gives no notice. A change that was
//! read already, on request and before the files had settled, is no reason to read it again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::Loaded;
use crate::daemon::sight::{self, Looked, Sight};

/// Files are left alone for this long before they are read: an editor or `git` writes several in one go.
const SETTLE: Duration = Duration::from_millis(100);

/// But no longer than this after the first change, however busy the directory is.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// How often the files are looked at: soon enough for a person who waits, and a few hundred `stat`s cost nothing.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looking takes at most one part in this many of one processor, however many files there are (judgment).
const LOOK_SHARE: u32 = 50;

/// Why the files are loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    Files,
    Request,
    /// The time is over for which something that disappeared was served on.
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
pub(crate) struct Watched {
    /// The directory whose every file counts.
    zones: PathBuf,
    /// Files elsewhere that count.
    files: Vec<PathBuf>,
    /// Where we write ourselves: what is there never counts.
    own: Option<PathBuf>,
    /// The same as it is looked at.
    looked: Looked,
}

impl Watched {
    /// What was loaded, and the settings file itself.
    pub(crate) fn of(loaded: &Loaded, settings_file: Option<&Path>) -> Watched {
        let operators = &loaded.settings.operators;
        let read = loaded.files.iter().map(PathBuf::as_path);
        let files: Vec<&Path> = settings_file.into_iter().chain(operators.token_file.as_deref()).chain(read).collect();
        let unresolved = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let zones = &loaded.settings.zones_dir;
        let looked = Looked { zones: unresolved(zones), files: files.iter().map(|file| unresolved(file)).collect() };
        Watched {
            zones: absolute(zones),
            files: files.into_iter().map(absolute).collect(),
            own: operators.state_dir.as_deref().map(absolute),
            looked,
        }
    }

    /// Whether a change of this path is a reason to load again. Another file in the zones directory is none: a log that
    /// is written there would cause a load, and the load a line in the log.
    fn is_reason(&self, path: &Path) -> bool {
        let is_own = self.own.as_deref().is_some_and(|own| path.starts_with(own) && !self.zones.starts_with(own));
        let is_read = self.files.iter().any(|file| file == path);
        is_link(path) || ((self.is_of_zones(path) || is_read) && !is_own && is_lasting(path))
    }

    /// Whether it is the zones directory, a directory in it, or a file of a zone.
    fn is_of_zones(&self, path: &Path) -> bool {
        let makes_zones = || path.file_name().and_then(|name| name.to_str()).is_some_and(sight::makes_zones);
        path.starts_with(&self.zones) && (path == self.zones || makes_zones() || path.is_dir())
    }

    /// Every directory that something of interest is in, once.
    fn dirs(&self) -> BTreeSet<&Path> {
        self.files.iter().filter_map(|file| file.parent()).chain([&*self.zones]).collect()
    }
}

/// Gives reasons to load again.
pub(crate) struct Changes {
    causes: mpsc::Receiver<Cause>,
    on_change: mpsc::Sender<()>,
    sight: Arc<Sight>,
    watched: Watched,
    watcher: Option<notify::RecommendedWatcher>,
    /// Why the system gives no notice of changes; `None` where it does.
    unnoticed: Option<String>,
}

impl Changes {
    /// Watches files and SIGHUP. Where the system gives no notice of changes the files are only looked at.
    pub(crate) fn watch(watched: Watched) -> std::io::Result<Changes> {
        let hangup = signal(SignalKind::hangup())?;
        // One slot each: what counts is that something changed, not how much.
        let (on_change, changed) = mpsc::channel(1);
        let (sender, causes) = mpsc::channel(1);
        let sight = Arc::new(Sight::default());
        sight.turn_to(watched.looked.clone());
        tokio::spawn(wait(hangup, changed, sight.clone(), sender));
        tokio::spawn(look(sight.clone(), on_change.clone()));
        let mut changes = Changes { causes, on_change, sight, watched, watcher: None, unnoticed: None };
        changes.rearm();
        Ok(changes)
    }

    /// Watches these from now on.
    pub(crate) fn turn_to(&mut self, watched: Watched) {
        self.sight.turn_to(watched.looked.clone());
        self.watched = watched;
        self.rearm();
    }

    /// Watches the same paths, whatever is there now: a directory may have been put in the place of another.
    pub(crate) fn rearm(&mut self) {
        // The old one goes when the new one stands, so that nothing is missed between them; or sooner, where there can
        // only be one.
        let made = watcher(&self.watched, self.sight.clone(), self.on_change.clone()).or_else(|_| {
            self.watcher = None;
            watcher(&self.watched, self.sight.clone(), self.on_change.clone())
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

    /// Why changes are only seen every few seconds; `None` where the system gives notice of them.
    pub(crate) fn unnoticed(&self) -> Option<&str> {
        self.unnoticed.as_deref()
    }

    /// What is to be told when the files are read.
    pub(crate) fn sight(&self) -> Arc<Sight> {
        self.sight.clone()
    }

    /// The next reason, once the files have settled. Nothing is lost when this is dropped and called again.
    pub(crate) async fn next(&mut self) -> Cause {
        match self.causes.recv().await {
            Some(cause) => cause,
            None => std::future::pending().await,
        }
    }
}

/// Looks at the files every few seconds, until nobody wants to know.
async fn look(sight: Arc<Sight>, on_change: mpsc::Sender<()>) {
    let mut pause = LOOK_EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = on_change.closed() => return,
        }
        let sight = sight.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let begun = clock::now();
            (sight.look(clock::now), clock::now().since(begun))
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

/// Waits for reasons until nobody wants them any more.
async fn wait(mut hangup: Signal, mut changed: mpsc::Receiver<()>, sight: Arc<Sight>, causes: mpsc::Sender<Cause>) {
    loop {
        let cause = tokio::select! {
            Some(()) = hangup.recv() => Cause::Signal,
            Some(()) = changed.recv() => {
                settle(&mut changed, &sight).await;
                if !sight.is_news() {
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

async fn settle(changed: &mut mpsc::Receiver<()>, sight: &Arc<Sight>) {
    let quiet = async {
        loop {
            while let Ok(Some(())) = tokio::time::timeout(SETTLE, changed.recv()).await {}
            // An empty file may be valid, and is hardly meant: some editors and scripts empty a file before they write it.
            let sight = sight.clone();
            let now = clock::unix_seconds();
            let look = move || sight.is_being_written(now, SETTLE_LIMIT.as_secs_f64());
            let is_busy = tokio::task::spawn_blocking(look).await.unwrap_or(false);
            if !is_busy || changed.is_closed() {
                return;
            }
        }
    };
    // Past the limit the files are read as they are; what still changes is the next reason.
    let _ = tokio::time::timeout(SETTLE_LIMIT, quiet).await;
}

/// A watcher of all directories; and why it does not see some of them, if so.
fn watcher(
    watched: &Watched,
    sight: Arc<Sight>,
    sender: mpsc::Sender<()>,
) -> notify::Result<(notify::RecommendedWatcher, Option<String>)> {
    let of_interest = watched.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(&event) && event.paths.iter().any(|path| of_interest.is_reason(path))) {
            sight.note_change(clock::now());
            // Full means that a reason is waiting already.
            let _ = sender.try_send(());
        }
    })?;
    let mut unseen = None;
    // What is not there yet is looked at.
    for dir in watched.dirs().into_iter().filter(|dir| dir.is_dir()) {
        if let Err(error) = watcher.watch(dir, RecursiveMode::NonRecursive) {
            unseen.get_or_insert_with(|| format!("{}: {error}", dir.display()));
        }
    }
    Ok((watcher, unseen))
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
    fn a_change_counts_where_files_are_read_and_not_where_we_write() {
        let watched = Watched {
            zones: "/etc/portolan".into(),
            files: vec!["/etc/portolan/portolan.toml".into(), "/run/secrets/tokens".into()],
            own: Some("/etc/portolan/state".into()),
            looked: Looked::default(),
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
