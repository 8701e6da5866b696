//! The last good version of each zone in the state directory: `zones/ZONE.json` names the version, and a folder next
//! to it has copies of its files, which people can read and compare. A task of its own writes each version whole and
//! in one step, and removes those of zones that are no longer served.

mod disk;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::config::{LAST_GOOD_DIR, Version, VersionStatus, ZoneState};
use crate::control::unsaved::DiskState;
use crate::daemon::state::{DirGuard, RETRY_AFTER, STOP_WAIT, StateDir, StateWrites, why_unwritten};
use crate::source::calls;
use crate::wire::Name;
use disk::{MAX_VERSION, WriteProgress};

/// Writes versions while the server runs.
pub(crate) struct Versions {
    served: watch::Sender<Arc<[ZoneState]>>,
    writer: Option<JoinHandle<()>>,
}

impl Versions {
    /// Writes the versions of `first`, and of what follows, below the state directory; without one nothing is written.
    pub(crate) fn write(state: &StateDir, first: Arc<[ZoneState]>) -> Versions {
        let (served, mut changes) = watch::channel(first);
        changes.mark_changed();
        let writer = VersionFolder::of(state).map(|folder| tokio::spawn(write_all(folder, changes)));
        Versions { served, writer }
    }

    /// These are served now.
    pub(crate) fn turn_to(&self, zones: Arc<[ZoneState]>) {
        self.served.send_replace(zones);
    }

    /// Writes what waits, and ends.
    pub(crate) async fn close(self) {
        drop(self.served);
        if let Some(writer) = self.writer {
            // An error is a panic, which has been printed. A disk that does not answer must not hold up the stop.
            let _ = tokio::time::timeout(STOP_WAIT, writer).await;
        }
    }
}

/// The versions from before the start. One that can't be read is left out, with a warning in the log.
pub(crate) fn load(state: Option<&Path>) -> Vec<ZoneState> {
    let Some(dir) = state.map(|state| state.join(LAST_GOOD_DIR)) else { return Vec::new() };
    let Ok(entries) = calls::listed(&dir, || fs::read_dir(&dir)) else { return Vec::new() };
    let mut manifests: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    // The last one of a zone counts.
    manifests.sort_by_key(|path| (disk::is_next(path), path.clone()));
    let mut zones: Vec<ZoneState> = Vec::new();
    for path in manifests {
        match disk::read(&dir, &path) {
            Ok(version) => {
                let apex = version.apex.clone();
                zones.retain(|zone| zone.apex != apex);
                zones.push(ZoneState { apex, status: VersionStatus::Current, version: Some(Arc::new(version)) });
            }
            Err(error) => {
                let file = path.display();
                tracing::warn!(%file, %error, "the last good version of a zone can't be read; it is left out");
            }
        }
    }
    zones
}

async fn write_all(mut folder: VersionFolder, mut changes: watch::Receiver<Arc<[ZoneState]>>) {
    let mut is_behind = false;
    loop {
        let changed = async {
            match is_behind {
                // What failed is tried again, whether or not anything changed.
                true => tokio::time::timeout(RETRY_AFTER, changes.changed()).await.unwrap_or(Ok(())),
                false => changes.changed().await,
            }
        };
        // What failed is tried once more at the end.
        let is_last = changed.await.is_err();
        if is_last && !is_behind {
            return;
        }
        let zones = changes.borrow_and_update().clone();
        let written = tokio::task::spawn_blocking(move || {
            let is_whole = folder.follow(&zones);
            (folder, is_whole)
        });
        match written.await {
            Ok((then, is_whole)) => (folder, is_behind) = (then, !is_whole),
            // A panic, which has been printed.
            Err(_) => return,
        }
        if is_last {
            return;
        }
    }
}

/// The directory of the versions.
struct VersionFolder {
    dir: PathBuf,
    guard: Arc<DirGuard>,
    /// What is in it; `None` before the first writing.
    by_apex: Option<HashMap<Name, Arc<Version>>>,
    /// Counts successes and failures.
    writes: Arc<StateWrites>,
    /// Where a failure is reported until all is written.
    disk: Arc<DiskState>,
}

impl VersionFolder {
    /// That of a state directory; `None` without one.
    fn of(state: &StateDir) -> Option<VersionFolder> {
        let (path, guard) = state.guarded()?;
        let (writes, disk) = (state.writes(), state.disk());
        Some(VersionFolder { dir: path.join(LAST_GOOD_DIR), guard, by_apex: None, writes, disk })
    }

    /// Writes the versions of these zones and removes all others; false where something failed, which is logged.
    fn follow(&mut self, zones: &[ZoneState]) -> bool {
        if let Err(error) = self.guard.check() {
            self.writes.count(false);
            let error = why_unwritten(&error);
            tracing::error!(dir = %self.dir.display(), error, "the last good versions of the zones can't be written");
            return false;
        }
        let wanted: Vec<&Arc<Version>> = zones.iter().filter_map(|zone| zone.version.as_ref()).collect();
        let known = self.by_apex.take().unwrap_or_default();
        let (mut now, mut unsettled) = (HashMap::new(), HashSet::new());
        let mut written = Vec::new();
        // All of them are written before the first is forced to the disk, in case the process is killed meanwhile.
        for &version in &wanted {
            match self.write(version, known.get(&version.apex)) {
                Ok(WriteProgress::Written) => written.push(version),
                Ok(WriteProgress::Settled | WriteProgress::Nothing) => {
                    now.insert(version.apex.clone(), version.clone());
                }
                Err(error) => self.failed(version, &error, &mut unsettled),
            }
        }
        for version in written {
            match disk::settle(&self.dir, version) {
                Ok(()) => {
                    self.writes.count(true);
                    now.insert(version.apex.clone(), version.clone());
                }
                Err(error) => self.failed(version, &error, &mut unsettled),
            }
        }
        disk::tidy(&self.dir, wanted.into_iter().map(|version| &**version), &unsettled);
        self.by_apex = Some(now);
        let is_whole = unsettled.is_empty();
        if is_whole {
            self.disk.written(LAST_GOOD_DIR, None);
        }
        is_whole
    }

    /// Writes a version if it isn't written yet; gives how far it is then.
    fn write(&self, version: &Arc<Version>, known: Option<&Arc<Version>>) -> std::io::Result<WriteProgress> {
        if version.octets() > MAX_VERSION {
            if known.is_none() {
                let (zone, most) = (version.apex.to_string(), MAX_VERSION >> 20);
                tracing::warn!(
                    zone,
                    "the files of this zone have more than {most} MiB: its last good version does not outlive a restart"
                );
            }
            return Ok(WriteProgress::Nothing);
        }
        let progress = match known {
            Some(known) if Arc::ptr_eq(known, version) && disk::is_named(&self.dir, version) => WriteProgress::Settled,
            Some(_) => WriteProgress::Nothing,
            // As it was at the start.
            None => disk::progress(&self.dir, version),
        };
        match progress {
            WriteProgress::Nothing => disk::write(&self.dir, version).map(|()| WriteProgress::Written),
            WriteProgress::Written | WriteProgress::Settled => Ok(progress),
        }
    }

    fn failed(&self, version: &Version, error: &std::io::Error, unsettled: &mut HashSet<Name>) {
        let error = why_unwritten(error);
        self.disk.due(LAST_GOOD_DIR, "the last good versions of the zones", (clock::now(), clock::unix_seconds()));
        self.disk.failed(LAST_GOOD_DIR, &format!("{}: {error}", version.apex));
        tracing::error!(
            zone = %version.apex,
            dir = %self.dir.display(),
            error,
            "the last good version of this zone can't be written: a restart would not have it"
        );
        self.writes.count(false);
        unsettled.insert(version.apex.clone());
    }
}
