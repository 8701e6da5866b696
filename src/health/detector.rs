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
//! With a *hold-down* Up and Down last that long at least. Evidence is counted meanwhile, and the first probe that ends
//! thereafter changes the verdict if that is what the counts say then.

use std::time::Duration;

use crate::health::Rtt;
use crate::model::timing::{MIN_SPACING, VERIFY_WINDOW};
use crate::model::{Health, Moment, Monitor};

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
    hold_down: Duration,
    /// Until then the verdict stays, whatever speaks against it.
    held_until: Moment,
    state: State,
    rtt: Rtt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No probe has succeeded, and fewer than `fall` failed.
    Unknown { failures: u32, verify_at: Option<Moment> },
    /// Nothing speaks against it.
    Up,
    /// Up, with failures (1 to `fall` - 1, or `fall` while held) that no run of `rise` successes has cleared yet.
    Suspect { failures: u32, run: u32, verify_at: Option<Moment> },
    /// Down, with successes (0 to `rise` - 1, or `rise` while held) in a row.
    Down { run: u32 },
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
            state: State::Unknown { failures: 0, verify_at: None },
            rtt: Rtt::default(),
        }
    }

    /// Takes in how a probe ended at `now`; says when that changed the verdict.
    pub fn step(&mut self, event: Event, now: Moment) -> Option<Transition> {
        let from = self.health();
        let counted = match event {
            Event::Success { rtt } => {
                self.rtt.learn(rtt);
                self.succeeded()
            }
            Event::Failure { began } => {
                if self.rtt.is_overdue(now.since(began)) {
                    self.rtt.back_off();
                }
                self.failed(now.max(began + self.spacing()))
            }
        };
        self.state = self.judged(counted, now);
        if self.state == State::Up {
            self.rtt.relax();
        }
        let to = self.health();
        if from == to {
            return None;
        }
        self.held_until = now + self.hold_down;
        Some(Transition { from, to })
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
    /// share in it is a whole interval: the detector doesn't know when in the interval that probe comes. Never less than
    /// the verdict is still held for at `now`. Zero while Unknown, where one success suffices.
    pub fn may_change_in(&self, now: Moment) -> Duration {
        let counted = match self.state {
            State::Unknown { .. } => return Duration::ZERO,
            State::Up => self.interval + self.spacing() * (self.fall - 1),
            State::Suspect { failures, verify_at: Some(_), .. } => self.spacing() * (self.fall - failures),
            State::Suspect { failures, verify_at: None, .. } => {
                self.interval + self.spacing() * (self.fall - failures).saturating_sub(1)
            }
            State::Down { run } => self.interval * (self.rise - run),
        };
        counted.max(self.held_until.since(now))
    }

    /// What a success adds to.
    fn succeeded(&self) -> State {
        match self.state {
            State::Up | State::Unknown { failures: 0, .. } => State::Up,
            State::Unknown { failures, .. } => self.cleared_or_suspect(failures, 1),
            State::Suspect { failures, run, .. } => self.cleared_or_suspect(failures, run + 1),
            State::Down { run } => State::Down { run: (run + 1).min(self.rise) },
        }
    }

    fn cleared_or_suspect(&self, failures: u32, run: u32) -> State {
        if run >= self.rise { State::Up } else { State::Suspect { failures, run, verify_at: None } }
    }

    /// What a failure adds to.
    fn failed(&self, verify_at: Moment) -> State {
        let verify_at = Some(verify_at);
        match self.state {
            State::Up => State::Suspect { failures: 1, run: 0, verify_at },
            State::Unknown { failures, .. } => State::Unknown { failures: failures + 1, verify_at },
            State::Suspect { failures, .. } => {
                State::Suspect { failures: (failures + 1).min(self.fall), run: 0, verify_at }
            }
            State::Down { .. } => State::Down { run: 0 },
        }
    }

    /// The verdict that the counts come to; another one only when the last is no longer held. One that waits for that
    /// wants to be probed as soon as it may change.
    fn judged(&self, counted: State, now: Moment) -> State {
        let is_held = now < self.held_until;
        match counted {
            State::Unknown { failures, .. } if failures >= self.fall => State::Down { run: 0 },
            State::Suspect { failures, .. } if failures >= self.fall && !is_held => State::Down { run: 0 },
            State::Suspect { failures, run, .. } if failures >= self.fall => {
                State::Suspect { failures, run, verify_at: Some(self.held_until) }
            }
            State::Down { run } if run >= self.rise && !is_held => State::Up,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ProbeKind;

    const MS: Duration = Duration::from_millis(1);

    fn monitor(fall: u32, rise: u32) -> Monitor {
        Monitor { fall, rise, ..Monitor::new(ProbeKind::Tcp) }
    }

    impl Detector {
        /// Whether the counts say Down and the verdict is held Up.
        fn is_pending(&self) -> bool {
            matches!(self.state, State::Suspect { failures, .. } if failures >= self.fall)
        }
    }

    /// Feeds `S` and `F`, a second apart; what the verdict is after each, as `?`, `+` or `-`.
    fn verdicts(detector: &mut Detector, outcomes: &str) -> String {
        let mut now = Moment::START;
        let mut said = String::new();
        for outcome in outcomes.chars() {
            now = now + 1000 * MS;
            let event = match outcome {
                'S' => Event::Success { rtt: 10 * MS },
                _ => Event::Failure { began: now },
            };
            let before = detector.health();
            let transition = detector.step(event, now);
            assert_eq!(transition.map(|t| (t.from, t.to)), {
                let after = detector.health();
                (before != after).then_some((before, after))
            });
            said.push(match detector.health() {
                Health::Unknown => '?',
                Health::Up => '+',
                Health::Down => '-',
            });
        }
        said
    }

    fn check(what: &str, fall: u32, rise: u32, outcomes: &str, expected: &str) {
        assert_eq!(verdicts(&mut Detector::new(&monitor(fall, rise)), outcomes), expected, "{what}: {outcomes}");
    }

    #[test]
    fn verdicts_follow_the_diagram() {
        check("the first success makes it up at once", 3, 2, "S", "+");
        check("nothing is known until `fall` have failed", 3, 2, "FFF", "??-");
        check("the first success counts after failures too", 3, 2, "FFS", "??+");
        check("and those failures still count", 3, 2, "FFSF", "??+-");
        check("`fall` failures in a row bring it down", 3, 2, "SFFF", "+++-");
        check("failures add up over single successes", 3, 2, "SFSFSF", "+++++-");
        check("a run of `rise` successes clears them", 3, 2, "SFFSSFFSSFF", "+++++++++++");
        check("`rise` successes in a row bring it back", 3, 2, "FFFSFSS", "??----+");
        check("back up it has a clean record", 3, 2, "FFFSSFFSS", "??--+++++");
        check("one failure suffices when fall is 1", 1, 1, "SFSF", "+-+-");
        check("with rise 1 every success clears", 2, 1, "SFSFSFF", "++++++-");
        check("a first failure with fall 1 is down", 1, 2, "FSS", "--+");
    }

    #[test]
    fn a_failure_is_verified_at_once_and_a_success_ends_that() {
        let mut detector = Detector::new(&monitor(3, 2));
        let at = |ms: u32| Moment::START + ms * MS;
        detector.step(Event::Success { rtt: 30 * MS }, at(30));
        assert_eq!(detector.deadline(), None, "up: the regular probe is enough");
        detector.step(Event::Failure { began: at(1000) }, at(1001));
        assert_eq!(detector.deadline(), Some(at(1030)), "refused: verified a round trip after it began");
        detector.step(Event::Failure { began: at(1030) }, at(1530));
        assert_eq!(detector.deadline(), Some(at(1530)), "silent: that took long enough");
        detector.step(Event::Success { rtt: 30 * MS }, at(1560));
        assert_eq!(detector.deadline(), None, "it answered: back to regular probes");
        detector.step(Event::Failure { began: at(2000) }, at(2001));
        assert_eq!((detector.health(), detector.deadline()), (Health::Down, None), "down is not hurried");
    }

    #[test]
    fn spacing_adapts_to_the_round_trip_within_bounds() {
        let spacing = |fall, rtt_ms: Option<u32>| {
            let mut detector = Detector::new(&monitor(fall, 2));
            if let Some(ms) = rtt_ms {
                detector.step(Event::Success { rtt: ms * MS }, Moment::START);
            }
            detector.spacing()
        };
        assert_eq!(spacing(3, None), 50 * MS, "unknown: its share of the window");
        assert_eq!(spacing(3, Some(1)), 20 * MS, "near: no closer than a burst of loss");
        assert_eq!(spacing(3, Some(35)), 35 * MS, "a round trip");
        assert_eq!(spacing(3, Some(180)), 50 * MS, "far: all of them within the window");
        assert_eq!(spacing(100, Some(180)), 20 * MS);
    }

    #[test]
    fn the_next_possible_change_is_nearer_the_more_was_counted() {
        let mut detector = Detector::new(&monitor(3, 2));
        let mut after = |event| {
            detector.step(event, Moment::START + 5000 * MS);
            detector.may_change_in(Moment::START + 5000 * MS)
        };
        let (good, bad) = (Event::Success { rtt: MS }, Event::Failure { began: Moment::START });
        assert_eq!(after(good), 1040 * MS, "up: an interval and two verifying probes");
        assert_eq!(after(bad), 40 * MS, "suspect: two more");
        assert_eq!(after(bad), 20 * MS, "one more");
        assert_eq!(after(good), 1000 * MS, "not verified now: at the next regular failure");
        assert_eq!(after(bad), 2000 * MS, "down: two regular successes");
        assert_eq!(after(good), 1000 * MS, "one more");
        assert_eq!(Detector::new(&monitor(3, 2)).may_change_in(Moment::START), Duration::ZERO, "unknown: any moment");
    }

    #[test]
    fn a_verdict_is_held_and_evidence_counts_meanwhile() {
        let at = |ms: u32| Moment::START + ms * MS;
        let held = |fall, rise| Detector::new(&Monitor { hold_down: 10_000 * MS, ..monitor(fall, rise) });
        let (good, bad) = (Event::Success { rtt: 10 * MS }, |ms| Event::Failure { began: at(ms) });

        let mut detector = held(3, 2);
        detector.step(good, at(1000));
        for ms in [2000, 2100, 2200, 3000, 9000] {
            assert_eq!(detector.step(bad(ms), at(ms)), None, "up since 1 s, held until 11 s");
        }
        assert_eq!(detector.deadline(), Some(at(11_000)), "probed as soon as it may change");
        assert_eq!(detector.may_change_in(at(9000)), 2000 * MS);
        assert_eq!(detector.step(good, at(10_000)), None, "one success clears nothing");
        let down = Transition { from: Health::Up, to: Health::Down };
        assert_eq!(detector.step(bad(10_990), at(11_000)), Some(down), "the first to end when it is over");
        assert_eq!(detector.may_change_in(at(11_000)), 10_000 * MS, "and that is held in turn");
        for ms in [12_000, 13_000, 14_000] {
            assert_eq!(detector.step(good, at(ms)), None);
        }
        let up = Transition { from: Health::Down, to: Health::Up };
        assert_eq!(detector.step(good, at(21_000)), Some(up));

        let mut detector = held(2, 2);
        for (ms, event) in [(1000, good), (2000, bad(2000)), (2100, bad(2100)), (3000, good), (4000, good)] {
            detector.step(event, at(ms));
        }
        assert_eq!(detector.step(bad(11_000), at(11_000)), None, "what was cleared meanwhile is cleared");

        let mut detector = held(2, 3);
        for (ms, event) in [(1000, good), (2000, bad(2000)), (2100, bad(2100))] {
            detector.step(event, at(ms));
        }
        assert_eq!(
            detector.step(good, at(11_000)),
            Some(down),
            "a single success takes failures back no more than ever"
        );
    }

    /// The contract's words over the whole history, with none of the detector's bookkeeping.
    struct Contract {
        fall: usize,
        rise: usize,
        hold_down: Duration,
        held_until: Moment,
        health: Health,
        /// Outcomes since the verdict last changed; going from Unknown to Up takes nothing back.
        history: Vec<bool>,
    }

    impl Contract {
        fn judge(&mut self, is_success: bool, now: Moment) -> Health {
            self.history.push(is_success);
            let last_run_ends = (self.rise..=self.history.len())
                .rev()
                .find(|end| self.history[end - self.rise..*end].iter().all(|s| *s));
            let failures = self.history[last_run_ends.unwrap_or(0)..].iter().filter(|s| !**s).count();
            let was = self.health;
            let wanted = match was {
                Health::Unknown if is_success => Health::Up,
                Health::Unknown | Health::Up if failures >= self.fall => Health::Down,
                Health::Down if last_run_ends == Some(self.history.len()) => Health::Up,
                Health::Unknown | Health::Up | Health::Down => was,
            };
            self.health = if now < self.held_until { was } else { wanted };
            if self.health != was {
                self.held_until = now + self.hold_down;
            }
            if (was == Health::Up && self.health == Health::Down)
                || (was == Health::Down && self.health == Health::Up)
                || (was == Health::Unknown && self.health == Health::Down)
            {
                self.history.clear();
            }
            self.health
        }
    }

    proptest! {
        #[test]
        fn verdicts_are_those_of_the_contract_and_no_others(
            fall in 1u32..6, rise in 1u32..5, hold_ms in prop_oneof![Just(0u32), 1u32..3000],
            bias in 1u32..10, draws in prop::collection::vec(0u32..10, 1..300),
        ) {
            let hold_down = hold_ms * MS;
            let mut detector = Detector::new(&Monitor { hold_down, ..monitor(fall, rise) });
            let (fall, rise) = (fall as usize, rise as usize);
            let (held_until, health) = (Moment::START, Health::Unknown);
            let mut contract = Contract { fall, rise, hold_down, held_until, health, history: Vec::new() };
            let mut changed_at: Option<Moment> = None;
            let mut was_tried = false;
            let mut now = Moment::START;
            for draw in draws {
                now = now + 100 * MS;
                let is_success = draw < bias;
                let began = now - 50 * MS;
                let event = if is_success { Event::Success { rtt: draw * 10 * MS } } else { Event::Failure { began } };
                if detector.step(event, now).is_some() {
                    prop_assert!(changed_at.is_none_or(|at| now.since(at) >= hold_down), "changed while held");
                    changed_at = Some(now);
                }
                prop_assert_eq!(detector.health(), contract.judge(is_success, now));
                prop_assert!(!was_tried || detector.is_tried(), "unknown again after it was tried");
                was_tried = detector.is_tried();
                let may_be_verified = !is_success && detector.health() != Health::Down;
                prop_assert!(detector.deadline().is_some() || !may_be_verified);
                let by = changed_at.map_or(now, |at| at + hold_down).max(began + VERIFY_WINDOW);
                prop_assert!(detector.deadline().is_none_or(|at| at >= now && at <= by));
                prop_assert_eq!(detector.deadline().is_some(), may_be_verified || (is_success && detector.is_pending()));
            }
        }
    }
}
