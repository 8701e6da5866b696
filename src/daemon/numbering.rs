//! Keeps the number of the last event over a restart, so that ids go on rising and a client that comes back isn't given an
//! id twice. Written a moment after it changed and at an orderly stop: only a crash lets the numbers of the last moment be
//! given again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::config::{Problem, Severity};
use crate::control::Journal;
use crate::daemon::store::{KeptFile, Store, Unreadable, put};

/// The file in the state directory.
const FILE: KeptFile = KeptFile { name: "events.json", version: 1, holds: "the number of the last event" };

/// From one look to the next: an outage of thousands costs one small file a second (judgment).
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    last: u64,
}

/// The number of the last event before the start; 0 without one. What is wrong with the file is added to `warnings`.
pub(crate) fn last(store: &Store, warnings: &mut Vec<Problem>) -> u64 {
    let kept = store.load::<Kept>(&FILE).unwrap_or_else(|Unreadable { path, why, holds }| {
        let message = format!("{why}; {holds} is lost with it, and the numbers of events begin at 1");
        warnings.push(Problem::of_file(path, Severity::Warning, message));
        None
    });
    kept.map_or(0, |kept| kept.last)
}

/// Writes the number of the last event to `dir` whenever it is another than what was `kept`, until `stop`, and then once more.
pub(crate) async fn keep(journal: Arc<Journal>, dir: PathBuf, mut kept: u64, stop: CancellationToken) {
    loop {
        let is_over = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            () = stop.cancelled() => true,
        };
        let last = journal.last();
        if last != kept && write(dir.clone(), last).await {
            kept = last;
        }
        if is_over {
            return;
        }
    }
}

/// Whether it could be written; that it could not is tried again, and seen where more is at stake.
async fn write(dir: PathBuf, last: u64) -> bool {
    let text = format!("{{\"version\":{},\"last\":{last}}}\n", FILE.version);
    matches!(tokio::task::spawn_blocking(move || put(&dir, &FILE, &text)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::JournalEvent;
    use crate::control::test_world::transition;

    #[tokio::test]
    async fn numbers_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(dir.path().into()));
        let mut warnings = Vec::new();
        assert_eq!(last(&store, &mut warnings), 0);
        let journal = Arc::new(Journal::new("ns1", 4, 41));
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(keep(journal.clone(), dir.path().into(), 41, stop.clone()));
        journal.tell(JournalEvent::from(&transition()));
        stop.cancel();
        keeping.await.unwrap();
        assert_eq!((last(&store, &mut warnings), warnings.len()), (42, 0));
        std::fs::write(dir.path().join(FILE.name), "{").unwrap();
        assert_eq!((last(&store, &mut warnings), warnings.len()), (0, 1));
    }
}
