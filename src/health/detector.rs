//! Judges one check: Up, Down or Unknown. It gets the result of each probe and returns when the verdict changes. It
//! never sends, sleeps or reads a clock. The prober owns one for each check, and reads from it when to probe next.
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
//!   │                   Down                   │   a failure restarts the count
//!   └──────────────────────────────────────────┘
//! ```
//!
//! Failures add up. One success between them does not remove them; `rise` successes in a row do. Each failure in
//! Unknown and Suspect is verified: the next probe should begin at once ([`Detector::deadline`]) and not an interval
//! later. So a dead process is Down after little more than one interval. After a success only the regular probes
//! continue, but the failures are remembered.
//!
//! The end of a held connection makes Up Suspect, as a failure does. It counts as a failure only if there is no other,
//! and never as the last one: probes decide. They begin a little later, so that a process that is replaced has time to
//! listen again.
//!
//! Silence on a path that evidently loses packets is *doubtful*. It is verified at once, as a failure is, and the next
//! probe decides how it counts: after a success it does not count; after a plain failure both count; two doubtful ones
//! count as one failure. So a dead endpoint is found as fast as without doubt, and loss alone needs twice the evidence.
//!
//! Probes may overlap: while the answer to one is overdue, the next ones verify that already
//! ([`Detector::overlap_after`]). So a silent endpoint is Down one time-out after the first probe that it does not
//! answer, and not `fall` time-outs. The failure of a probe that began before the check came Up says nothing about the
//! check now, and does not count; neither does silence if another probe was answered meanwhile.
//!
//! With a *hold-down*, Up and Down last at least that long. Evidence is counted meanwhile. The first probe that ends
//! after the hold-down changes the verdict, if the counts say so then.
//!
//! Two rules are not in the diagram. A check that has flapped is Down by [`Damping`], while its state continues as its
//! probes say. And a check that stays Down is probed more and more rarely ([`Detector::backoff`]) until it answers.

mod state;

use std::mem;
use std::time::Duration;

use crate::health::rtt::RecentFailure;
use crate::health::{Damping, Rtt};
use crate::model::timing::{MIN_SPACING, RESTART_GRACE, VERIFY_WINDOW};
use crate::model::{Health, Moment, Monitor};

pub use state::DetectorState;

/// The failures in Down after which the interval begins to grow. Judgment: with the default interval that is half a
/// minute, and an endpoint that comes back within that time (a restart, a deployment) should be found without delay.
pub const BACKOFF_AFTER: u32 = 30;
/// The interval doubles with each further failure, until it is this many times as long. So a dead endpoint costs an
/// eighth of the probes. A power of two.
pub const MAX_BACKOFF: u32 = 8;
/// The longest interval after backoff, so that a recovery is found within half a minute. Judgment.
pub const BACKOFF_CEILING: Duration = Duration::from_secs(30);

/// Evidence for a detector: the result of one probe, or the end of a held connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectorEvent {
    /// A probe succeeded.
    Success {
        /// The measured round-trip time.
        rtt: Duration,
    },
    /// A probe failed by an answer, or by something else than silence.
    Failure {
        /// When the probe began.
        began: Moment,
    },
    /// A probe got no answer in time.
    Silence {
        /// When the probe began.
        began: Moment,
    },
    /// A probe got no answer, and the path lost some of its packets while others arrived.
    Doubtful {
        /// When the probe began.
        began: Moment,
    },
    /// The held connection ended.
    ConnectionEnded,
}

/// A change of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerdictChange {
    /// The verdict before.
    pub from: Health,
    /// The verdict now.
    pub to: Health,
}

/// Judges one check.
#[derive(Debug, Clone)]
pub struct Detector {
    fall: u32,
    rise: u32,
    interval: Duration,
    /// An answer that usually comes later than this is not waited for by overlapping probes: half the time-out, or none
    /// if the time-out is adaptive.
    longest_overdue: Duration,
    hold_down: Duration,
    /// The end of the hold-down: until then the verdict stays.
    hold_down_until: Moment,
    /// When the held connection ended. `None` after the success of a probe that began later.
    connection_ended: Option<Moment>,
    /// Whether the last probe was doubtful. Then the next one decides how it counts.
    in_doubt: bool,
    /// When the state last became Up.
    up_since: Moment,
    /// When the last success ended.
    answered_at: Moment,
    state: State,
    rtt: Rtt,
    damping: Damping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No probe has succeeded, and fewer than `fall` have failed.
    Unknown { failures: u32, verify_at: Option<Moment> },
    /// Up without failures.
    Up,
    /// Up with failures that no run of `rise` successes has cleared yet: 1 to `fall` - 1, or `fall` during a hold-down.
    /// `failures` is 0 after a doubtful probe, or if a connection ended and `fall` is 1.
    Suspect { failures: u32, run: u32, verify_at: Option<Moment> },
    /// Down, with successes in a row (0 to `rise` - 1, or `rise` during a hold-down), or with failures in a row.
    Down { run: u32, failures: u32 },
}

impl Detector {
    /// A detector that knows nothing yet.
    pub fn new(monitor: &Monitor) -> Detector {
        Detector {
            fall: monitor.fall.max(1),
            rise: monitor.rise.max(1),
            interval: monitor.interval,
            longest_overdue: if monitor.adaptive { Duration::ZERO } else { monitor.timeout / 2 },
            hold_down: monitor.hold_down,
            hold_down_until: Moment::START,
            connection_ended: None,
            in_doubt: false,
            up_since: Moment::START,
            answered_at: Moment::START,
            state: State::Unknown { failures: 0, verify_at: None },
            rtt: Rtt::default(),
            damping: Damping::new(monitor),
        }
    }

    /// Takes in an event of `now`. Returns the change of the verdict, if there is one.
    pub fn step(&mut self, event: DetectorEvent, now: Moment) -> Option<VerdictChange> {
        let (from, state_before) = (self.health(), self.state.health());
        let counted = self.count(event, now);
        self.state = self.judge(counted, now);
        if self.state == State::Up {
            self.rtt.reset_backoff();
        }
        match (state_before, self.state.health()) {
            (Health::Up, Health::Down) => self.damping.add_fall(now),
            (Health::Unknown | Health::Down, Health::Up) => self.up_since = now,
            (_, _) => {}
        }
        // Damping ends in a clear state, not in Suspect: a check must not come Up with failures.
        if matches!(self.state, State::Up | State::Down { .. }) {
            self.damping.release_if_due(now);
        }
        let to = self.health();
        if from == to {
            return None;
        }
        self.hold_down_until = now + self.hold_down;
        Some(VerdictChange { from, to })
    }

    /// The state with the event counted.
    fn count(&mut self, event: DetectorEvent, now: Moment) -> State {
        match event {
            DetectorEvent::Failure { began } | DetectorEvent::Silence { began } | DetectorEvent::Doubtful { began }
                if self.is_outdated(began) =>
            {
                self.state
            }
            DetectorEvent::Silence { began } | DetectorEvent::Doubtful { began } if self.is_contradicted(began) => {
                self.rtt.failed(RecentFailure::Lossy);
                self.state
            }
            DetectorEvent::Success { rtt } => {
                self.rtt.learn(rtt);
                self.answered_at = now;
                match self.connection_ended.filter(|ended| now.since(*ended) < rtt) {
                    // The probe began before the connection ended, so it says nothing about the time after.
                    Some(_) => self.state,
                    None => {
                        self.connection_ended = None;
                        self.in_doubt = false;
                        self.succeeded()
                    }
                }
            }
            DetectorEvent::Failure { began } | DetectorEvent::Silence { began } => {
                self.rtt.failed(RecentFailure::Failed);
                let counts = if mem::take(&mut self.in_doubt) { 2 } else { 1 };
                let verify_at = self.verify_at(began, now);
                (0..counts).fold(self.state, |state, _| self.failed(state, verify_at))
            }
            DetectorEvent::Doubtful { began } => {
                self.rtt.failed(RecentFailure::Lossy);
                let verify_at = self.verify_at(began, now);
                let counts = mem::take(&mut self.in_doubt) || self.state.health() == Health::Down;
                self.in_doubt = !counts;
                if counts { self.failed(self.state, verify_at) } else { self.suspected(0, verify_at) }
            }
            DetectorEvent::ConnectionEnded => {
                self.connection_ended = Some(now);
                self.suspected(1.min(self.fall - 1), now + RESTART_GRACE)
            }
        }
    }

    /// Whether the failure of a probe that began at `began` is about the time before the check came Up. That happens if
    /// the time-out is longer than the interval: probes that began while it was Down end after the first successes.
    pub fn is_outdated(&self, began: Moment) -> bool {
        self.state.health() == Health::Up && began < self.up_since
    }

    /// Whether the silence of a probe that began at `began` says nothing about the check, because another probe was
    /// answered meanwhile: a packet was lost, and the answer is the newer evidence.
    pub fn is_contradicted(&self, began: Moment) -> bool {
        self.state.health() == Health::Up && began < self.answered_at
    }

    /// When the next verifying probe should begin. `None` if the regular probes are enough.
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Unknown { verify_at, .. } | State::Suspect { verify_at, .. } => verify_at,
            State::Up | State::Down { .. } => None,
        }
    }

    /// How long after the start of a probe the next verifying one begins although this one has not ended, if its answer
    /// is overdue by then. `under_way` is the number of probes that have not ended, this one included.
    ///
    /// `None` if they are enough to change the verdict, or if the check is not Up or has no measured round-trip time.
    /// Also if answers usually take more than half of the time-out: then little is gained, and on a path that loses
    /// packets the probes are better evidence one after another. Also if the time-out is adaptive: it ends when the
    /// answer is overdue, and the next probe gets more time.
    pub fn overlap_after(&self, under_way: u32) -> Option<Duration> {
        let failures = match self.state {
            State::Up => 0,
            State::Suspect { failures, .. } => failures,
            State::Unknown { .. } | State::Down { .. } => return None,
        };
        let after = self.rtt.overdue_after()?.max(self.spacing());
        (after <= self.longest_overdue && failures + under_way < self.fall).then_some(after)
    }

    /// The round-trip times that a probe begins with. `under_way` is as for [`Detector::overlap_after`].
    pub fn rtt_for_probe(&self, under_way: u32) -> Rtt {
        let is_overlap = under_way > 1 && self.overlap_after(0).is_some();
        if is_overlap { self.rtt.while_overdue() } else { self.rtt }
    }

    /// The verdict.
    pub fn health(&self) -> Health {
        if self.damping.is_damped() { Health::Down } else { self.state.health() }
    }

    /// The factor for the interval: 1, and more for a check that stays Down.
    pub fn backoff(&self) -> u32 {
        let State::Down { failures, .. } = self.state else { return 1 };
        let grown = 2u32.saturating_pow(failures.saturating_sub(BACKOFF_AFTER)).min(MAX_BACKOFF);
        std::iter::successors(Some(grown), |factor| Some(factor / 2))
            .find(|factor| *factor <= 1 || self.interval * *factor <= BACKOFF_CEILING)
            .unwrap_or(1)
    }

    /// Whether the verdict is Up with failures that are not cleared yet.
    pub fn is_suspect(&self) -> bool {
        matches!(self.state, State::Suspect { .. }) && !self.damping.is_damped()
    }

    /// The damping of this check.
    pub fn damping(&self) -> &Damping {
        &self.damping
    }

    /// Whether the first probe and its verification have ended.
    pub fn is_tried(&self) -> bool {
        self.health() != Health::Unknown
    }

    /// Whether the last result is being verified, so that the verdict may change soon. A check that only waits for the
    /// end of its hold-down is not.
    pub fn is_verifying(&self) -> bool {
        match self.state {
            State::Unknown { verify_at, .. } => verify_at.is_some(),
            State::Suspect { failures, verify_at, .. } => {
                verify_at.is_some() && failures < self.fall && !self.damping.is_damped()
            }
            State::Up | State::Down { .. } => false,
        }
    }

    /// The round-trip times of the successes so far.
    pub fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The least time until the verdict can change, if every probe from now on contradicts it. For the next regular
    /// probe a whole interval is assumed, because the detector does not know when it begins. At least the rest of the
    /// hold-down at `now`. Zero in Unknown, where one success is enough.
    pub fn may_change_in(&self, now: Moment) -> Duration {
        let counted = match self.state {
            State::Unknown { .. } => return Duration::ZERO,
            State::Up => self.interval + self.spacing() * (self.fall - 1),
            // After a doubtful probe the next failure counts twice.
            State::Suspect { failures, verify_at: Some(_), .. } if self.in_doubt => {
                self.spacing() * self.fall.saturating_sub(failures + 1).max(1)
            }
            State::Suspect { failures, verify_at: Some(_), .. } => self.spacing() * (self.fall - failures),
            State::Suspect { failures, verify_at: None, .. } => {
                self.interval + self.spacing() * (self.fall - failures).saturating_sub(1)
            }
            State::Down { run, .. } => self.interval * (self.rise - run + self.backoff() - 1),
        };
        let counted = counted.max(self.hold_down_until.since(now));
        match (self.damping.is_damped(), self.state.health()) {
            // Only the end of damping is missing.
            (true, Health::Up) => self.damping.left(now),
            (_, Health::Up | Health::Down | Health::Unknown) => counted.max(self.damping.left(now)),
        }
    }

    /// The state after a success.
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

    /// When to verify the failure of a probe that began at `began`. If the probe took as long as answers usually do, an
    /// adaptive time-out is doubled.
    fn verify_at(&mut self, began: Moment, now: Moment) -> Moment {
        if self.rtt.is_overdue(now.since(began)) {
            self.rtt.back_off();
        }
        let after_restart = self.connection_ended.map_or(now, |ended| ended + RESTART_GRACE);
        now.max(began + self.spacing()).max(after_restart)
    }

    /// The state after a failure.
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

    /// The state after the end of a held connection, or after a doubtful probe. The number of failures is then at least
    /// `least_failures`.
    fn suspected(&self, least_failures: u32, verify_at: Moment) -> State {
        let verify_at = Some(verify_at);
        match self.state {
            State::Up => State::Suspect { failures: least_failures, run: 0, verify_at },
            State::Suspect { failures, .. } => {
                State::Suspect { failures: failures.max(least_failures), run: 0, verify_at }
            }
            State::Unknown { failures, .. } if self.in_doubt => State::Unknown { failures, verify_at },
            State::Unknown { .. } | State::Down { .. } => self.state,
        }
    }

    /// The state that follows from the counts. During the hold-down the verdict does not change. If it would, the next
    /// verifying probe begins at the end of the hold-down.
    fn judge(&self, counted: State, now: Moment) -> State {
        let is_hold_down = now < self.hold_down_until;
        match counted {
            State::Unknown { failures, .. } if failures >= self.fall => State::DOWN,
            State::Suspect { failures, .. } if failures >= self.fall && !is_hold_down => State::DOWN,
            State::Suspect { failures, run, .. } if failures >= self.fall => {
                State::Suspect { failures, run, verify_at: Some(self.hold_down_until) }
            }
            State::Down { run, .. } if run >= self.rise && !is_hold_down => State::Up,
            State::Unknown { .. } | State::Up | State::Suspect { .. } | State::Down { .. } => counted,
        }
    }

    /// The time from the start of one verifying probe to the start of the next: the smoothed RTT, so that they don't
    /// meet in the same queue, but short enough that all of them fit into [`VERIFY_WINDOW`]. After a time-out the next
    /// probe follows at once, because more than this time has passed.
    fn spacing(&self) -> Duration {
        let share = VERIFY_WINDOW / (self.fall - 1).max(1);
        self.rtt.srtt().unwrap_or(share).min(share).max(MIN_SPACING).min(self.interval)
    }
}

impl State {
    /// The first state of Down.
    const DOWN: State = State::Down { run: 0, failures: 0 };

    /// The verdict of the probes, without damping.
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
