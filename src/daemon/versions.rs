//! The last good version of each zone in the state directory, so that a restart has it: `zones/ZONE.json` names the
//! version, and the folder beside it holds its files as they were, to be read and compared by people. Written by a task of
//! its own, whole and in one step for each zone; a zone that is no longer served is removed.

mod disk;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Version, VersionStatus, ZoneState};
use crate::daemon::store::Writes;
use crate::wire::Name;
use disk::{MAX_VERSION, Written};

/// The directory of the versions, in the state directory.
const DIR: &str = "zones";
/// What could not be written is tried again after this (judgment: a disk that was full).
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Writes versions while the server runs.
pub(crate) struct Versions {
    served: watch::Sender<Arc<[ZoneState]>>,
    writer: Option<JoinHandle<()>>,
}

impl Versions {
    /// Keeps the versions of `first`, and of what follows, below the state directory; `None` keeps nothing. `writes` counts
    /// what is written and what cannot be.
    pub(crate) fn keep(state: Option<PathBuf>, first: Arc<[ZoneState]>, writes: Arc<Writes>) -> Versions {
        let (served, mut changes) = watch::channel(first);
        changes.mark_changed();
        let writer = state.map(|state| tokio::spawn(write_all(state.join(DIR), changes, writes)));
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
            // An error is a panic, which has been printed.
            let _ = writer.await;
        }
    }
}

/// The versions that were kept. What can't be read is left out, with a warning in the log.
pub(crate) fn recall(state: Option<&Path>) -> Vec<ZoneState> {
    let Some(dir) = state.map(|state| state.join(DIR)) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(&dir) else { return Vec::new() };
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

async fn write_all(dir: PathBuf, mut changes: watch::Receiver<Arc<[ZoneState]>>, writes: Arc<Writes>) {
    let mut kept = Kept { dir, by_apex: None, writes };
    let mut is_behind = false;
    loop {
        let changed = async {
            match is_behind {
                // What failed is tried again, whether or not anything changed.
                true => tokio::time::timeout(AGAIN_AFTER, changes.changed()).await.unwrap_or(Ok(())),
                false => changes.changed().await,
            }
        };
        if changed.await.is_err() {
            return;
        }
        let zones = changes.borrow_and_update().clone();
        let written = tokio::task::spawn_blocking(move || {
            let is_whole = kept.follow(&zones);
            (kept, is_whole)
        });
        match written.await {
            Ok((then, is_whole)) => (kept, is_behind) = (then, !is_whole),
            // A panic, which has been printed.
            Err(_) => return,
        }
    }
}

/// What is in the directory.
struct Kept {
    dir: PathBuf,
    /// `None` before the first look.
    by_apex: Option<HashMap<Name, Arc<Version>>>,
    writes: Arc<Writes>,
}

impl Kept {
    /// Makes the directory hold the versions of these zones; false where something failed, which is logged.
    fn follow(&mut self, zones: &[ZoneState]) -> bool {
        let wanted: Vec<&Arc<Version>> = zones.iter().filter_map(|zone| zone.version.as_ref()).collect();
        let known = self.by_apex.take().unwrap_or_default();
        let (mut now, mut unsettled) = (HashMap::new(), HashSet::new());
        let mut down = Vec::new();
        // All of them before the disk is waited for: the process may be killed meanwhile.
        for &version in &wanted {
            match self.put_down(version, known.get(&version.apex)) {
                Ok(Written::Down) => down.push(version),
                Ok(Written::Settled | Written::Not) => {
                    now.insert(version.apex.clone(), version.clone());
                }
                Err(error) => self.not_kept(version, &error, &mut unsettled),
            }
        }
        for version in down {
            match disk::settle(&self.dir, version) {
                Ok(()) => {
                    self.writes.ended(true);
                    now.insert(version.apex.clone(), version.clone());
                }
                Err(error) => self.not_kept(version, &error, &mut unsettled),
            }
        }
        disk::tidy(&self.dir, wanted.into_iter().map(|version| &**version), &unsettled);
        self.by_apex = Some(now);
        unsettled.is_empty()
    }

    /// Puts a version down where that is to be done; gives how far it is then.
    fn put_down(&self, version: &Arc<Version>, known: Option<&Arc<Version>>) -> std::io::Result<Written> {
        if version.octets() > MAX_VERSION {
            if known.is_none() {
                let (zone, most) = (version.apex.to_string(), MAX_VERSION >> 20);
                tracing::warn!(
                    zone,
                    "the files of this zone have more than {most} MiB: no last good version is kept for a restart"
                );
            }
            return Ok(Written::Not);
        }
        let written = match known {
            Some(known) if Arc::ptr_eq(known, version) && disk::is_named(&self.dir, version) => Written::Settled,
            Some(_) => Written::Not,
            // As it was recalled, if it was.
            None => disk::state(&self.dir, version),
        };
        match written {
            Written::Not => disk::put_down(&self.dir, version).map(|()| Written::Down),
            Written::Down | Written::Settled => Ok(written),
        }
    }

    fn not_kept(&self, version: &Version, error: &std::io::Error, unsettled: &mut HashSet<Name>) {
        tracing::error!(
            zone = %version.apex,
            %error,
            "the last good version of this zone can't be written: a restart would not have it"
        );
        self.writes.ended(false);
        unsettled.insert(version.apex.clone());
    }
}
