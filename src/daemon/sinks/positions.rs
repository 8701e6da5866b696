//! `sinks.json`: where each sink is in the log of events, and what it refused. It is written soon after an event was
//! confirmed, so after a crash the sinks get the events of the last second again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile};
use crate::sinks::{DeadLetter, SinkPosition};
use crate::source::Problem;

pub(crate) const FILE: StateFile<SinksFile> = StateFile::new(FileInfo {
    name: "sinks.json",
    version: 1,
    content: "where the sinks of events are",
    durability: Durability::Process,
    is_counted: true,
});

/// The content of the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinksFile {
    version: u32,
    /// By the name of the sink.
    sinks: BTreeMap<String, SavedSink>,
}

/// One sink.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedSink {
    /// The events up to this number are done, except for `open`.
    pub(super) last: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) open: Vec<u64>,
    /// The last events that it refused for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dead_letters: Vec<DeadLetter>,
}

impl SavedSink {
    /// The position, if it can be one.
    pub(super) fn position(&self) -> SinkPosition {
        let mut open: Vec<u64> = self.open.iter().copied().filter(|number| (1..=self.last).contains(number)).collect();
        open.sort_unstable();
        open.dedup();
        SinkPosition { last: self.last, open }
    }
}

/// What the file had before the start. A file that can't be read is reported in `warnings`.
pub(crate) fn load(state: &StateDir, warnings: &mut Vec<Problem>) -> SinksFile {
    state.load_or_set_aside(&FILE, "the sinks get no event from before this start", warnings).unwrap_or_default()
}

/// The positions of the sinks that there are. Their tasks share it.
#[derive(Debug)]
pub(super) struct SinkPositions {
    state: StateDir,
    file: Mutex<SinksFile>,
}

impl SinkPositions {
    /// Those of `loaded` for the sinks that there still are.
    pub(super) fn of(state: StateDir, mut loaded: SinksFile, names: &[&str]) -> Arc<SinkPositions> {
        loaded.version = FILE.info.version;
        loaded.sinks.retain(|name, _| names.contains(&name.as_str()));
        Arc::new(SinkPositions { state, file: Mutex::new(loaded) })
    }

    /// What was saved of a sink.
    pub(super) fn of_sink(&self, name: &str) -> Option<SavedSink> {
        self.file().sinks.get(name).cloned()
    }

    /// Has the state of a sink written.
    pub(super) fn put(&self, name: &str, saved: SavedSink) {
        let mut file = self.file();
        file.sinks.insert(name.to_owned(), saved);
        // A failure is in the log, and tried again.
        drop(self.state.put(&FILE, &*file));
    }

    fn file(&self) -> MutexGuard<'_, SinksFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
