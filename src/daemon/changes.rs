//! When to load the files again: they changed, or SIGHUP came. The directories are watched rather than the files, so
//! that editors that replace a file and mounts that swap a link are seen too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Files are left alone for this long before they are read: an editor or `git` writes several in one go.
const SETTLE: Duration = Duration::from_millis(100);

/// But no longer than this after the first change, however busy the directory is.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// Why the files are loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    Files,
}

impl Cause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Cause::Signal => "SIGHUP",
            Cause::Files => "files changed",
        }
    }
}

/// Gives reasons to load again.
pub(crate) struct Changes {
    causes: mpsc::Receiver<Cause>,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Changes {
    /// Watches the zone directory, the settings file and SIGHUP. Where the system refuses to watch, that is logged and
    /// SIGHUP alone is left.
    pub(crate) fn watch(zones: &Path, settings: Option<&Path>) -> std::io::Result<Changes> {
        let hangup = signal(SignalKind::hangup())?;
        // One slot each: what counts is that something changed, not how much.
        let (on_change, changed) = mpsc::channel(1);
        let (sender, causes) = mpsc::channel(1);
        let watcher = watcher(zones, settings, on_change);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files can't be watched; send SIGHUP after a change");
        }
        tokio::spawn(wait(hangup, changed, sender));
        Ok(Changes { causes, _watcher: watcher.ok() })
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
async fn wait(mut hangup: Signal, mut changed: mpsc::Receiver<()>, causes: mpsc::Sender<Cause>) {
    loop {
        let cause = tokio::select! {
            Some(()) = hangup.recv() => Cause::Signal,
            Some(()) = changed.recv() => {
                settle(&mut changed).await;
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
    zones: &Path,
    settings: Option<&Path>,
    sender: mpsc::Sender<()>,
) -> notify::Result<notify::RecommendedWatcher> {
    let zones = absolute(zones);
    let settings = settings.map(absolute);
    let beside = settings.as_deref().and_then(Path::parent).filter(|dir| *dir != zones).map(Path::to_path_buf);
    let in_zones = zones.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let of_interest = |path: &PathBuf| path.starts_with(&in_zones) || Some(path) == settings.as_ref();
        if event.is_ok_and(|event| {
            is_change(&event) && event.paths.iter().any(|p| is_lasting(p) && (of_interest(p) || is_link(p)))
        }) {
            // Full means that a reason is waiting already.
            let _ = sender.try_send(());
        }
    })?;
    watcher.watch(&zones, RecursiveMode::NonRecursive)?;
    if let Some(dir) = beside {
        watcher.watch(&dir, RecursiveMode::NonRecursive)?;
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
    is_link(path) || !(name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp"))
}

/// The link that Kubernetes swaps to change all files of a mount at once.
fn is_link(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "..data")
}
