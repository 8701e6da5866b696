//! `drill.json`: the drill that runs. If the process ends in the middle of it, the next start reports that once.

use serde::{Deserialize, Serialize};

use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile};
use crate::drill::DrillStatus;
use crate::source::Problem;

pub(crate) const FILE: StateFile<DrillFile> = StateFile::new(FileInfo {
    name: "drill.json",
    version: 1,
    content: "the drill that runs",
    durability: Durability::Machine,
    is_counted: true,
});

/// Why a drill was aborted, where the process ended in the middle of it.
pub(super) const INTERRUPTED: &str = "interrupted: the server ended in the middle of it, so it was not measured";

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DrillFile {
    version: u32,
    /// As it began; `None`: none runs.
    drill: Option<DrillStatus>,
}

/// The drill in the middle of which the last process ended, as it is reported.
pub(crate) fn load(state: &StateDir, warnings: &mut Vec<Problem>) -> Option<DrillStatus> {
    let loss = "a drill that a crash has ended is not reported";
    let status = state.load_or_set_aside(&FILE, loss, warnings)?.drill?;
    let (phase, aborted) = (DrillStatus::ABORTED.to_owned(), Some(INTERRUPTED.to_owned()));
    Some(DrillStatus { phase, aborted, detect_ms: None, decide_ms: None, publish_ms: None, ..status })
}

/// Has the file written: this drill runs, or none.
pub(super) fn put(state: &StateDir, drill: Option<&DrillStatus>) {
    let file = DrillFile { version: FILE.info.version, drill: drill.cloned() };
    // A failure is in the log.
    drop(state.put(&FILE, &file));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::DrillKind;

    #[tokio::test]
    async fn a_drill_that_did_not_end_is_interrupted_and_one_that_ended_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let state = || StateDir::begun(Some(dir.path().into())).unwrap();
        let begun = DrillStatus::begun(3, (DrillKind::LoseRegion, "us-east"), "alice", 1.5, 60.0);
        let running = state();
        assert!(load(&running, &mut Vec::new()).is_none());
        put(&running, Some(&DrillStatus { detect_ms: Some(1.0), ..begun.clone() }));
        running.close().await.unwrap();
        let running = state();
        let (phase, aborted) = (DrillStatus::ABORTED.to_owned(), Some(INTERRUPTED.to_owned()));
        assert_eq!(load(&running, &mut Vec::new()), Some(DrillStatus { phase, aborted, ..begun }));
        put(&running, None);
        running.close().await.unwrap();
        assert!(load(&state(), &mut Vec::new()).is_none());
        std::fs::write(dir.path().join("drill.json"), "{").unwrap();
        let mut warnings = Vec::new();
        assert!(load(&state(), &mut warnings).is_none() && warnings.len() == 1, "{warnings:?}");
    }
}
