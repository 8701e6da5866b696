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
//!
//! The end of a held connection makes Up Suspect as a failure does, but it counts only where no failure does, and never as
//! the last: probes decide. They leave a process that is replaced in place the time to listen again.
//!
//! Silence on a path that visibly loses packets is *doubtful*: it is verified at once as a failure is, and counts by what the
//! next probe finds. A success clears it, a plain failure confirms it, so that both count, and two doubtful ones
//! are one failure. So what is dead is found as fast as ever, and loss alone needs twice the evidence.
//!
//! Probes may overlap. A failure of one that began before the check came up says nothing of what is up now, and isn't counted.
//!
//! With a *hold-down* Up and Down last that long at least. Evidence is counted meanwhile, and the first probe that ends
//! thereafter changes the verdict if that is what the counts say then.
//!
//! Two things lie over the diagram. What has flapped is held Down by [`Damping`], while the states below go on as the
//! probes have them. And what stays Down is probed more and more rarely ([`Detector::backoff`]) until it answers.

mod state;

use std::mem;
use std::time::Duration;

use crate::health::rtt::Last;
use crate::health::{Damping, Rtt};
use crate::model::timing::{MIN_SPACING, RESTART_GRACE, VERIFY_WINDOW};
use crate::model::{Health, Moment, Monitor};

pub use state::DetectorState;

/// Failures in Down after which the interval begins to grow. Judgment: with the default interval that is half a minute,
/// and what comes back in that time (a restart, a deployment) is to be found as fast as ever.
pub const BACKOFF_AFTER: u32 = 30;
/// The interval doubles with each further failure until it is this many times as long: a dead endpoint then costs an
/// eighth. A power of two.
pub const MAX_BACKOFF: u32 = 8;
/// But it grows no longer than this, so that a recovery is seen within half a minute. Judgment.
pub const BACKOFF_CEILING: Duration = Duration::from_secs(30);

/// What a detector hears of: how one probe ended, or that what was held did.
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
    /// Silence, on a path that lost packets of this very probe while others got through.
    Doubtful {
        /// When that probe began.
        began: Moment,
    },
    /// The connection that was held to it ended, for whatever reason of the other side's.
    HeldEnded,
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
    hold_down: Duration,
    /// Until then the verdict stays, whatever speaks against it.
    held_until: Moment,
    /// When the held connection ended, until a probe that began thereafter tells.
    lost: Option<Moment>,
    /// Whether the last probe was doubtful, and the next decides what that counts.
    in_doubt: bool,
    /// When the probes' verdict last became Up.
    up_since: Moment,
    state: State,
    rtt: Rtt,
    damping: Damping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No probe has succeeded, and fewer than `fall` failed.
    Unknown { failures: u32, verify_at: Option<Moment> },
    /// Nothing speaks against it.
    Up,
    /// Up, with failures (1 to `fall` - 1, or `fall` while held, or 0 when it is in doubt, or a connection ended and `fall`
    /// is 1) that no run of `rise` successes has cleared yet.
    Suspect { failures: u32, run: u32, verify_at: Option<Moment> },
    /// Down, with successes (0 to `rise` - 1, or `rise` while held) in a row, or failures (0 to what counts) in a row.
    Down { run: u32, failures: u32 },
}

impl Detector {
    /// A detector that knows nothing yet.
    pub fn new(monitor: &Monitor) -> Detector {
        Detector {
            fall: monitor.fall.max(1),
            rise: monitor.rise.max(1),
            interval: monitor.interval,
            hold_down: monitor.hold_down,
            held_until: Moment::START,
            lost: None,
            in_doubt: false,
            up_since: Moment::START,
            state: State::Unknown { failures: 0, verify_at: None },
            rtt: Rtt::default(),
            damping: Damping::new(monitor),
        }
    }

    /// Takes in how a probe ended at `now`; says when that changed the verdict.
    pub fn step(&mut self, event: Event, now: Moment) -> Option<Transition> {
        let (from, was) = (self.health(), self.state.health());
        let counted = match event {
            Event::Failure { began } | Event::Doubtful { began } if self.is_past(began) => self.state,
            Event::Success { rtt } => {
                self.rtt.learn(rtt);
                match self.lost.filter(|lost| now.since(*lost) < rtt) {
                    // It was asked before that, and tells nothing of what is now.
                    Some(_) => self.state,
                    None => {
                        self.lost = None;
                        self.in_doubt = false;
                        self.succeeded()
                    }
                }
            }
            Event::Failure { began } => {
                self.rtt.failed(Last::Failed);
                let counts = if mem::take(&mut self.in_doubt) { 2 } else { 1 };
                let verify_at = self.verify_at(began, now);
                (0..counts).fold(self.state, |state, _| self.failed(state, verify_at))
            }
            Event::Doubtful { began } => {
                self.rtt.failed(Last::Lossy);
                let verify_at = self.verify_at(began, now);
                let counts = mem::take(&mut self.in_doubt) || self.state.health() == Health::Down;
                self.in_doubt = !counts;
                if counts { self.failed(self.state, verify_at) } else { self.suspected(0, verify_at) }
            }
            Event::HeldEnded => {
                self.lost = Some(now);
                self.suspected(1.min(self.fall - 1), now + RESTART_GRACE)
            }
        };
        self.state = self.judged(counted, now);
        if self.state == State::Up {
            self.rtt.relax();
        }
        match (was, self.state.health()) {
            (Health::Up, Health::Down) => self.damping.fell(now),
            (Health::Unknown | Health::Down, Health::Up) => self.up_since = now,
            (_, _) => {}
        }
        // Let go when it is plain how it does, so that it doesn't come up with a failure.
        if matches!(self.state, State::Up | State::Down { .. }) {
            self.damping.settle(now);
        }
        let to = self.health();
        if from == to {
            return None;
        }
        self.held_until = now + self.hold_down;
        Some(Transition { from, to })
    }

    /// Whether a failure of a probe that began then tells of the time before it came up, and not of now. So it is where
    /// the time-out is longer than the interval: what hung while it was down ends after the first successes.
    pub fn is_past(&self, began: Moment) -> bool {
        self.state.health() == Health::Up && began < self.up_since
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
        if self.damping.is_held() { Health::Down } else { self.state.health() }
    }

    /// How many times as long as usual it should be from one probe to the next: 1, and more for what stays Down.
    pub fn backoff(&self) -> u32 {
        let State::Down { failures, .. } = self.state else { return 1 };
        let grown = 2u32.saturating_pow(failures.saturating_sub(BACKOFF_AFTER)).min(MAX_BACKOFF);
        std::iter::successors(Some(grown), |factor| Some(factor / 2))
            .find(|factor| *factor <= 1 || self.interval * *factor <= BACKOFF_CEILING)
            .unwrap_or(1)
    }

    /// Whether it is served as Up with failures that aren't cleared yet.
    pub fn is_suspect(&self) -> bool {
        matches!(self.state, State::Suspect { .. }) && !self.damping.is_held()
    }

    /// Its penalty for flapping.
    pub fn damping(&self) -> &Damping {
        &self.damping
    }

    /// Whether a probe has had its chance: the first one, with its verification, has ended.
    pub fn is_tried(&self) -> bool {
        self.health() != Health::Unknown
    }

    /// Whether what was heard last is being verified, so that the verdict may change within moments. What only waits for
    /// a hold-down to end is not.
    pub fn is_verifying(&self) -> bool {
        match self.state {
            State::Unknown { verify_at, .. } => verify_at.is_some(),
            State::Suspect { failures, verify_at, .. } => {
                verify_at.is_some() && failures < self.fall && !self.damping.is_held()
            }
            State::Up | State::Down { .. } => false,
        }
    }

    /// Round-trip times of the successes so far.
    pub fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The least time until the verdict could change if from now on every probe spoke against it. The regular probe's
    /// share in it is a whole interval: the detector doesn't know when in the interval that probe comes. Never less than
    /// the verdict is still held for at `now`. Zero while Unknown, where one success suffices.
    pub fn may_change_in(&self, now: Moment) -> Duration {
        let counted = match self.state {
            State::Unknown { .. } => return Duration::ZERO,
            State::Up => self.interval + self.spacing() * (self.fall - 1),
            // In doubt the next failure counts twice.
            State::Suspect { failures, verify_at: Some(_), .. } if self.in_doubt => {
                self.spacing() * self.fall.saturating_sub(failures + 1).max(1)
            }
            State::Suspect { failures, verify_at: Some(_), .. } => self.spacing() * (self.fall - failures),
            State::Suspect { failures, verify_at: None, .. } => {
                self.interval + self.spacing() * (self.fall - failures).saturating_sub(1)
            }
            State::Down { run, .. } => self.interval * (self.rise - run + self.backoff() - 1),
        };
        let counted = counted.max(self.held_until.since(now));
        match (self.damping.is_held(), self.state.health()) {
            // All that it waits for is that the penalty decays.
            (true, Health::Up) => self.damping.left(now),
            (_, Health::Up | Health::Down | Health::Unknown) => counted.max(self.damping.left(now)),
        }
    }

    /// What a success adds to.
    fn succeeded(&self) -> State {
        match self.state {
            State::Up | State::Unknown { failures: 0, .. } => State::Up,
            State::Unknown { failures, .. } => self.cleared_or_suspect(failures, 1),
            State::Suspect { failures, run, .. } => self.cleared_or_suspect(failures, run + 1),
            State::Down { run, .. } => State::Down { run: (run + 1).min(self.rise), failures: 0 },
        }
    }

    fn cleared_or_suspect(&self, failures: u32, run: u32) -> State {
        if run >= self.rise || failures == 0 { State::Up } else { State::Suspect { failures, run, verify_at: None } }
    }

    /// When a probe that began then and now failed is to be verified. Its time was long enough, or is doubled.
    fn verify_at(&mut self, began: Moment, now: Moment) -> Moment {
        if self.rtt.is_overdue(now.since(began)) {
            self.rtt.back_off();
        }
        let graced = self.lost.map_or(now, |lost| lost + RESTART_GRACE);
        now.max(began + self.spacing()).max(graced)
    }

    /// What a failure adds to.
    fn failed(&self, state: State, verify_at: Moment) -> State {
        let verify_at = Some(verify_at);
        match state {
            State::Up => State::Suspect { failures: 1, run: 0, verify_at },
            State::Unknown { failures, .. } => State::Unknown { failures: failures + 1, verify_at },
            State::Suspect { failures, .. } => {
                State::Suspect { failures: (failures + 1).min(self.fall), run: 0, verify_at }
            }
            State::Down { failures, .. } => {
                State::Down { run: 0, failures: (failures + 1).min(BACKOFF_AFTER + MAX_BACKOFF.ilog2()) }
            }
        }
    }

    /// What a reason to verify makes of it that is no failure: the end of a held connection, or a doubt. It stands for
    /// `first` failures where there is none yet.
    fn suspected(&self, first: u32, verify_at: Moment) -> State {
        let verify_at = Some(verify_at);
        match self.state {
            State::Up => State::Suspect { failures: first, run: 0, verify_at },
            State::Suspect { failures, .. } => State::Suspect { failures: failures.max(first), run: 0, verify_at },
            State::Unknown { failures, .. } if self.in_doubt => State::Unknown { failures, verify_at },
            State::Unknown { .. } | State::Down { .. } => self.state,
        }
    }

    /// The verdict that the counts come to; another one only when the last is no longer held. One that waits for that
    /// wants to be probed as soon as it may change.
    fn judged(&self, counted: State, now: Moment) -> State {
        let is_held = now < self.held_until;
        match counted {
            State::Unknown { failures, .. } if failures >= self.fall => State::DOWN,
            State::Suspect { failures, .. } if failures >= self.fall && !is_held => State::DOWN,
            State::Suspect { failures, run, .. } if failures >= self.fall => {
                State::Suspect { failures, run, verify_at: Some(self.held_until) }
            }
            State::Down { run, .. } if run >= self.rise && !is_held => State::Up,
            State::Unknown { .. } | State::Up | State::Suspect { .. } | State::Down { .. } => counted,
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

impl State {
    /// Where Down begins.
    const DOWN: State = State::Down { run: 0, failures: 0 };

    /// What the probes say.
    fn health(self) -> Health {
        match self {
            State::Unknown { .. } => Health::Unknown,
            State::Up | State::Suspect { .. } => Health::Up,
            State::Down { .. } => Health::Down,
        }
    }
}

#[cfg(test)]
mod tests;
