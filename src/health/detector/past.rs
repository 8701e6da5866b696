//! What a detector has come to, as a plain value that outlives it: kept over a restart, and where a vantage that was blind
//! begins again.

use std::time::Duration;

use crate::health::detector::{BACKOFF_AFTER, Detector, MAX_BACKOFF, State};
use crate::health::{Damping, Flaps, Rtt};
use crate::model::{Health, Moment, Monitor};

/// What a detector has come to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Past {
    /// The verdict.
    pub health: Health,
    /// Failures that count against an Up check, or those that a Down one has had in a row.
    pub failures: u32,
    /// Successes in a row, where they count.
    pub run: u32,
    /// Round-trip times of the successes.
    pub rtt: Rtt,
    /// How much longer the verdict stays, whatever speaks against it (`hold_down`).
    pub held_for: Duration,
    /// How it has flapped.
    pub flaps: Flaps,
}

impl Detector {
    /// A detector that goes on from `past`, as it was at `at`. One probe against it is never enough to make it Down unless
    /// it would be for any: failures count up to one short of `fall`. What the monitor doesn't allow is cut down to what
    /// it does.
    pub fn resume(monitor: &Monitor, past: &Past, at: Moment) -> Detector {
        let fresh = Detector::new(monitor);
        let failures = past.failures.min(fresh.fall - 1);
        let run = past.run.min(fresh.rise - 1);
        let state = match (past.health, failures) {
            (Health::Unknown, _) => fresh.state,
            (Health::Up, 0) => State::Up,
            (Health::Up, _) => State::Suspect { failures, run, verify_at: None },
            (Health::Down, _) => State::Down { run, failures: past.failures.min(BACKOFF_AFTER + MAX_BACKOFF.ilog2()) },
        };
        Detector {
            state,
            rtt: past.rtt,
            held_until: at + past.held_for.min(fresh.hold_down),
            damping: Damping::resume(monitor, &past.flaps, at),
            ..fresh
        }
    }

    /// What it has come to at `now`.
    pub fn past(&self, now: Moment) -> Past {
        let (failures, run) = match self.state {
            State::Unknown { failures, .. } => (failures, 0),
            State::Up => (0, 0),
            State::Suspect { failures, run, .. } => (failures, run),
            State::Down { run, failures } => (failures, run),
        };
        Past {
            health: self.health(),
            failures,
            run,
            rtt: self.rtt,
            held_for: self.held_until.since(now),
            flaps: self.damping.flaps(now),
        }
    }
}
