//! The judge of one check. It is told how each probe ended and says when its verdict changes; it never sends, sleeps
//! or reads a clock. The prober owns one a check and asks it when the next probe is wanted.
//!
//! ```text
//!   ┌─────────┐   a success, at once    ┌────┐  ◀──────────────────────────────┐
//!   │ Unknown │ ──────────────────────▶ │ Up │  ◀── `rise` successes ─┐        │
//!   └─────────┘                         └────┘        in a row        │        │
//!        │                                 │ a failure                │        │ `rise`
//!        │                                 ▼                          │        │ successes
//!        │ `fall` failures            ┌─────────┐ ────────────────────┘        │ in a row
//!        │                            │ Suspect │  still served as Up;         │
//!        │                            └─────────┘  failures add up             │
//!        │                                 │ `fall` failures                   │
//!        ▼                                 ▼                                   │
//!   ┌──────────────────────────────────────────┐ ──────────────────────────────┘
//!   │                   Down                   │   a failure begins the row anew
//!   └──────────────────────────────────────────┘
//! ```
//!
//! Failures *leak*: a success between them doesn't take them back, only a run of `rise` successes does. Every failure
//! in Unknown and Suspect is verified: the detector wants the next probe at once ([`Detector::deadline`]) instead of an
//! interval later, so a dead process is out after one interval and a little. After a success it is content with the
//! regular probes again, but remembers the failures.

use std::time::Duration;

use crate::health::Rtt;
use crate::model::{Health, Moment, Monitor};

/// All verifying probes of refused connections together take about this long. Judgment: well under what people
/// notice, long enough for a process that is replaced in place to listen again.
const VERIFY_WINDOW: Duration = Duration::from_millis(100);
/// Verifying probes begin at least this far apart, so that one burst of loss is not seen by all of them. Judgment:
/// the drop-tail queue of a router drains in this time.
const MIN_SPACING: Duration = Duration::from_millis(20);

/// How one probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// As expected.
    Success {
        /// The round-trip time it measured.
        rtt: Duration,
    },
    /// Otherwise.
    Failure {
        /// When that probe began.
        began: Moment,
    },
}

/// A verdict that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: Health,
    /// What it is.
    pub to: Health,
}

/// Judges one check.
#[derive(Debug, Clone)]
pub struct Detector {
    fall: u32,
    rise: u32,
    interval: Duration,
    state: State,
    rtt: Rtt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No probe has succeeded, and fewer than `fall` failed.
    Unknown { failures: u32, verify_at: Option<Moment> },
    /// Nothing speaks against it.
    Up,
    /// Up, with failures (1 to `fall` - 1) that no run of `rise` successes has cleared yet.
    Suspect { failures: u32, run: u32, verify_at: Option<Moment> },
    /// Down, with successes (0 to `rise` - 1) in a row.
    Down { run: u32 },
}

impl Detector {
    /// A detector that knows nothing yet.
    pub fn new(monitor: &Monitor) -> Detector {
        Detector {
            fall: monitor.fall.max(1),
            rise: monitor.rise.max(1),
            interval: monitor.interval,
            state: State::Unknown { failures: 0, verify_at: None },
            rtt: Rtt::default(),
        }
    }

    /// Takes in how a probe ended at `now`; says when that changed the verdict.
    pub fn step(&mut self, event: Event, now: Moment) -> Option<Transition> {
        let from = self.health();
        self.state = match event {
            Event::Success { rtt } => {
                self.rtt.learn(rtt);
                self.succeeded()
            }
            Event::Failure { began } => self.failed(now.max(began + self.spacing())),
        };
        let to = self.health();
        (from != to).then_some(Transition { from, to })
    }

    /// When the next verifying probe should begin; `None` when the regular ones do.
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Unknown { verify_at, .. } | State::Suspect { verify_at, .. } => verify_at,
            State::Up | State::Down { .. } => None,
        }
    }

    /// The verdict.
    pub fn health(&self) -> Health {
        match self.state {
            State::Unknown { .. } => Health::Unknown,
            State::Up | State::Suspect { .. } => Health::Up,
            State::Down { .. } => Health::Down,
        }
    }

    /// Whether a probe has had its chance: the first one, with its verification, has ended.
    pub fn is_tried(&self) -> bool {
        self.health() != Health::Unknown
    }

    /// Round-trip times of the successes so far.
    pub fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The least time until the verdict could change if from now on every probe spoke against it. The regular probe's
    /// share in it is a whole interval: the detector doesn't know when in the interval that probe comes. Zero while
    /// Unknown, where one success suffices.
    pub fn may_change_in(&self) -> Duration {
        match self.state {
            State::Unknown { .. } => Duration::ZERO,
            State::Up => self.interval + self.spacing() * (self.fall - 1),
            State::Suspect { failures, verify_at: Some(_), .. } => self.spacing() * (self.fall - failures),
            State::Suspect { failures, verify_at: None, .. } => {
                self.interval + self.spacing() * (self.fall - failures - 1)
            }
            State::Down { run } => self.interval * (self.rise - run),
        }
    }

    fn succeeded(&self) -> State {
        match self.state {
            State::Up | State::Unknown { failures: 0, .. } => State::Up,
            State::Unknown { failures, .. } => self.cleared_or_suspect(failures, 1),
            State::Suspect { failures, run, .. } => self.cleared_or_suspect(failures, run + 1),
            State::Down { run } if run + 1 >= self.rise => State::Up,
            State::Down { run } => State::Down { run: run + 1 },
        }
    }

    fn cleared_or_suspect(&self, failures: u32, run: u32) -> State {
        if run >= self.rise { State::Up } else { State::Suspect { failures, run, verify_at: None } }
    }

    fn failed(&self, verify_at: Moment) -> State {
        let verify_at = Some(verify_at);
        match self.state {
            State::Up if self.fall > 1 => State::Suspect { failures: 1, run: 0, verify_at },
            State::Unknown { failures, .. } if failures + 1 < self.fall => {
                State::Unknown { failures: failures + 1, verify_at }
            }
            State::Suspect { failures, .. } if failures + 1 < self.fall => {
                State::Suspect { failures: failures + 1, run: 0, verify_at }
            }
            State::Up | State::Unknown { .. } | State::Suspect { .. } | State::Down { .. } => State::Down { run: 0 },
        }
    }

    /// From one verifying probe's start to the next's: the smoothed RTT, so that they don't share a queue on the way,
    /// but so short that together they fit [`VERIFY_WINDOW`]. A probe that ran into its time-out has used up more than
    /// this already, and the next follows it directly.
    fn spacing(&self) -> Duration {
        let share = VERIFY_WINDOW / (self.fall - 1).max(1);
        self.rtt.srtt().unwrap_or(share).min(share).max(MIN_SPACING).min(self.interval)
    }
}
