//! `last_good.json`: the last good answer of each name that may need it. A task writes it every two seconds when an
//! answer changed, and at an orderly stop; neither answers nor steering wait for it. A start restores it, so that a
//! restart in the middle of an outage doesn't change the answers.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::control::drill::DrillBoard;
use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile, WriteOutcome};
use crate::snapshot::{NamedAnswer, Snapshot};
use crate::source::Problem;

pub(crate) const FILE: StateFile<LastGoodFile> = StateFile::new(FileInfo {
    name: "last_good.json",
    version: 1,
    content: "the last good answers",
    // It has to outlive the process. Without it, after a power cut, only names with nothing up have other answers.
    durability: Durability::Process,
    is_counted: true,
});

/// How often the answers are compared with the written ones. Judgment: as often as the last known health is written.
const EVERY: Duration = Duration::from_secs(2);

/// The content of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LastGoodFile {
    #[expect(dead_code, reason = "`StateFile` has compared it")]
    version: u32,
    answers: Vec<NamedAnswer>,
}

/// Reads the file. One that can't be read is reported in `warnings`.
pub(crate) fn load(state: &StateDir, warnings: &mut Vec<Problem>) -> Vec<NamedAnswer> {
    let loss = "a name with nothing up has no last good answer";
    state.load_or_set_aside(&FILE, loss, warnings).map_or(Vec::new(), |file| file.answers)
}

/// Has the last good answers of a snapshot written.
pub(crate) fn put(served: &Snapshot, state: &StateDir) -> WriteOutcome {
    state.put_text(&FILE, text(served))
}

fn text(served: &Snapshot) -> String {
    let answers = served.last_good_by_name();
    // Plain data can't fail to serialise.
    let lines: Vec<String> = answers.iter().map(|of| serde_json::to_string(of).unwrap_or_default()).collect();
    format!("{{\"version\":{},\"answers\":[\n{}\n]}}\n", FILE.info.version, lines.join(",\n"))
}

/// Writes until `stop`, and then once more. What a drill changes is not written: the file has what was before it.
pub(crate) async fn write_last_good(
    snapshots: Arc<ArcSwap<Snapshot>>,
    drills: Arc<DrillBoard>,
    state: StateDir,
    stop: CancellationToken,
) {
    let mut written: Option<(Arc<Snapshot>, String)> = None;
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let served = snapshots.load_full();
        let is_same = written.as_ref().is_some_and(|(before, _)| served.has_last_good_of(before));
        if !is_same && drills.busy().is_none() {
            let of = Arc::clone(&served);
            // An error is a panic, which has been printed, or the threads have ended.
            if let Ok(text) = tokio::task::spawn_blocking(move || text(&of)).await {
                if written.as_ref().is_none_or(|(_, before)| *before != text) {
                    // A failure is in the log.
                    drop(state.put_text(&FILE, text.clone()));
                }
                written = Some((served, text));
            }
        }
        if is_last {
            break;
        }
    }
}
