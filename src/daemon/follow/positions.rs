//! `follows.json`: up to where each stream had its effect, and the last change of each target. It is written only while
//! all overrides are on the disk, so a crash in between repeats events, which then change nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::control::follow::FollowLedger;
use crate::daemon::overrides;
use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile};
use crate::source::Problem;

pub(crate) const FILE: StateFile<FollowsFile> = StateFile::new(FileInfo {
    name: "follows.json",
    version: 1,
    content: "up to where streams were followed",
    durability: Durability::Machine,
    is_counted: true,
});

/// The content of the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FollowsFile {
    version: u32,
    /// By the name in the settings.
    follows: BTreeMap<String, SavedFollow>,
}

/// One stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedFollow {
    /// The name of the stream, or of the topic.
    pub(super) stream: String,
    /// When it was made: another text means another stream of that name.
    pub(super) created: String,
    /// The sequence of the next message.
    pub(super) next: u64,
    /// Of a topic of Kafka: the offset of the next record of each partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) offsets: BTreeMap<i32, i64>,
    /// The last change of each target.
    pub(super) ledger: FollowLedger,
}

/// What the file had before the start. A file that can't be read is reported in `warnings`.
pub(crate) fn load(state: &StateDir, warnings: &mut Vec<Problem>) -> FollowsFile {
    let loss = "streams that are followed are read from their beginning";
    state.load_or_set_aside(&FILE, loss, warnings).unwrap_or_default()
}

/// The positions in the streams that there are. Their tasks share it.
#[derive(Debug)]
pub(super) struct FollowPositions {
    state: StateDir,
    file: Mutex<FollowsFile>,
    /// Positions wait until the overrides are on the disk.
    is_due: AtomicBool,
}

impl FollowPositions {
    /// Those of `loaded` for the streams that are still followed.
    pub(super) fn of(state: StateDir, mut loaded: FollowsFile, names: &[&str]) -> Arc<FollowPositions> {
        loaded.version = FILE.info.version;
        loaded.follows.retain(|name, _| names.contains(&name.as_str()));
        Arc::new(FollowPositions { state, file: Mutex::new(loaded), is_due: AtomicBool::new(false) })
    }

    /// What was saved of a stream.
    pub(super) fn of_follow(&self, name: &str) -> Option<SavedFollow> {
        self.file().follows.get(name).cloned()
    }

    /// Has the position in a stream written, once the overrides are on the disk.
    pub(super) fn put(&self, name: &str, saved: SavedFollow) {
        self.file().follows.insert(name.to_owned(), saved);
        self.is_due.store(true, Ordering::Relaxed);
        self.write_due();
    }

    /// Has the positions written that waited for the overrides, if those are on the disk by now.
    pub(super) fn write_due(&self) {
        let file = self.file();
        if self.state.disk().is_due(overrides::FILE.info.name) || !self.is_due.swap(false, Ordering::Relaxed) {
            return;
        }
        // A failure is in the log, and tried again.
        drop(self.state.put(&FILE, &*file));
    }

    fn file(&self) -> MutexGuard<'_, FollowsFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
