//! `events.json`: the number of the last event, for a start at which the log of events (`src/daemon/event_log.rs`)
//! can't be read: numbers go on rising, and a client that comes back doesn't get a number twice. It is written a second
//! after a change at the latest, and at an orderly stop.

use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tokio_util::sync::CancellationToken;

use crate::control::Journal;
use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile, WriteOutcome};
use crate::fleet::events::MAX_NUMBER;
use crate::source::Problem;

pub(crate) const FILE: StateFile<EventsFile> = StateFile::new(FileInfo {
    name: "events.json",
    version: 1,
    content: "the number of the last event",
    durability: Durability::Process,
    is_counted: true,
});

/// From one look to the next: an outage of thousands costs one small file a second (judgment).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsFile {
    version: u32,
    #[serde(deserialize_with = "start")]
    pub(crate) last: u64,
}

/// The highest number after which numbers may go on. Judgment: half of what can be counted; those above are from a
/// wrong file or message.
pub(crate) const HIGHEST_START: u64 = MAX_NUMBER / 2;

fn start<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let last = u64::deserialize(from)?;
    let is_usable = last <= HIGHEST_START;
    is_usable.then_some(last).ok_or_else(|| D::Error::custom(format!("{last} is higher than {HIGHEST_START}")))
}

/// The number of the last event before the start; 0 without one. `logged` is the last number that the log of events
/// has. A file that can't be read is reported in `warnings`.
pub(crate) fn load(state: &StateDir, logged: u64, warnings: &mut Vec<Problem>) -> u64 {
    let effect = match logged {
        0 => "the numbers of events begin at 1".to_owned(),
        last => format!("the numbers of events go on after {last}, the last one in the log of events"),
    };
    state.load_or_set_aside(&FILE, &effect, warnings).map_or(0, |file| file.last).max(logged)
}

/// Has the number written.
pub(crate) fn put(last: u64, state: &StateDir) -> WriteOutcome {
    state.put(&FILE, &EventsFile { version: FILE.info.version, last })
}

/// Writes the number whenever it is another than the one that was `written`, until `stop`, and then once more.
pub(crate) async fn write_changes(journal: Arc<Journal>, state: StateDir, mut written: u64, stop: CancellationToken) {
    loop {
        let is_over = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            () = stop.cancelled() => true,
        };
        let last = journal.last();
        if last != written {
            // A failure is in the log, and tried again.
            drop(put(last, &state));
            written = last;
        }
        if is_over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::JournalEvent;
    use crate::control::test_world::transition;

    #[tokio::test]
    async fn numbers_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::begun(Some(dir.path().into())).unwrap();
        let mut warnings = Vec::new();
        assert_eq!(load(&state, 0, &mut warnings), 0);
        let journal = Arc::new(Journal::new("ns1", 4, 41));
        let stop = CancellationToken::new();
        let writing = tokio::spawn(write_changes(journal.clone(), state.clone(), 41, stop.clone()));
        journal.append(JournalEvent::from(&transition()));
        stop.cancel();
        writing.await.unwrap();
        state.close().await.unwrap();
        let state = StateDir::begun(Some(dir.path().into())).unwrap();
        assert_eq!((load(&state, 40, &mut warnings), warnings.len()), (42, 0));
        assert_eq!((load(&state, 50, &mut warnings), warnings.len()), (50, 0));
        let too_high = format!("{{\"version\":1,\"last\":{}}}", u64::MAX);
        std::fs::write(dir.path().join(FILE.info.name), too_high).unwrap();
        assert_eq!(load(&state, 7, &mut warnings), 7);
        assert!(warnings.pop().is_some_and(|warning| warning.message.contains("is higher than")));
        for (logged, effect) in [(0, "the numbers of events begin at 1"), (7, "the numbers of events go on after 7")] {
            std::fs::write(dir.path().join(FILE.info.name), "{").unwrap();
            assert_eq!(load(&state, logged, &mut warnings), logged);
            assert!(warnings.pop().is_some_and(|warning| warning.message.contains(effect)), "{logged}");
        }
    }
}
