//! What a detector has come to, as a plain value that outlives it: kept over a restart, and where a vantage that was blind
//! begins again.

use crate::health::Rtt;
use crate::health::detector::{Detector, State};
use crate::model::{Health, Monitor};

/// What a detector has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// The verdict.
    pub health: Health,
    /// Failures that count against an Up check, or those that a Down one has had in a row.
    pub failures: u32,
    /// Successes in a row, where they count.
    pub run: u32,
    /// Round-trip times of the successes.
    pub rtt: Rtt,
}

impl Detector {
    /// A detector that goes on from `past`. One probe against it is never enough to make it Down unless it would be
    /// for any: failures count up to one short of `fall`.
    pub fn resume(monitor: &Monitor, past: &Past) -> Detector {
        let fresh = Detector::new(monitor);
        let failures = past.failures.min(fresh.fall - 1);
        let state = match (past.health, failures) {
            (Health::Unknown, _) => fresh.state,
            (Health::Up, 0) => State::Up,
            (Health::Up, _) => State::Suspect { failures, run: past.run.min(fresh.rise - 1), verify_at: None },
            (Health::Down, _) => State::Down { run: past.run.min(fresh.rise - 1), failures: past.failures },
        };
        Detector { state, rtt: past.rtt, ..fresh }
    }

    /// What it has come to.
    pub fn past(&self) -> Past {
        let (failures, run) = match self.state {
            State::Unknown { failures, .. } => (failures, 0),
            State::Up => (0, 0),
            State::Suspect { failures, run, .. } => (failures, run),
            State::Down { run, failures } => (failures, run),
        };
        Past { health: self.health(), failures, run, rtt: self.rtt }
    }
}
