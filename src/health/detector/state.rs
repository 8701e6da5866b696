//! The state of a detector as a plain value that outlives it. A restart restores detectors from it, and so does a
//! vantage after it was blind.

use std::time::Duration;

use crate::health::detector::{BACKOFF_AFTER, Detector, MAX_BACKOFF, State};
use crate::health::{Damping, Flaps, Rtt};
use crate::model::{Health, Moment, Monitor};

/// The state of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DetectorState {
    /// The verdict.
    pub health: Health,
    /// Failures that count against an Up check, or those that a Down one has had in a row.
    pub failures: u32,
    /// Successes in a row, where they count.
    pub run: u32,
    /// Round-trip times of the successes.
    pub rtt: Rtt,
    /// The rest of the hold-down.
    pub hold_down_left: Duration,
    /// The state of its damping.
    pub flaps: Flaps,
    /// Whether the probes say Up, and only damping makes the verdict Down.
    pub is_up_but_damped: bool,
}

impl Detector {
    /// A detector that continues from `saved`, as it was at `at`.
    ///
    /// A failed probe that began before `at` doesn't count. Failures count up to one less than `fall`, so that at least
    /// one new failure is needed for Down. Values that the monitor doesn't allow are limited to what it allows.
    pub fn restore(monitor: &Monitor, saved: &DetectorState, at: Moment) -> Detector {
        let fresh = Detector::new(monitor);
        let failures = saved.failures.min(fresh.fall - 1);
        let run = saved.run.min(fresh.rise - 1);
        let probes_say = if saved.is_up_but_damped { Health::Up } else { saved.health };
        let state = match (probes_say, failures) {
            (Health::Unknown, _) => fresh.state,
            (Health::Up, 0) => State::Up,
            (Health::Up, _) => State::Suspect { failures, run, verify_at: None },
            (Health::Down, _) => State::Down { run, failures: saved.failures.min(BACKOFF_AFTER + MAX_BACKOFF.ilog2()) },
        };
        Detector {
            state,
            rtt: saved.rtt,
            hold_down_until: at + saved.hold_down_left.min(fresh.hold_down),
            up_since: at,
            damping: Damping::restore(monitor, &saved.flaps, at),
            ..fresh
        }
    }

    /// Its state at `now`.
    pub fn state(&self, now: Moment) -> DetectorState {
        let (failures, run) = match self.state {
            State::Unknown { failures, .. } => (failures, 0),
            State::Up => (0, 0),
            State::Suspect { failures, run, .. } => (failures, run),
            State::Down { run, failures } => (failures, run),
        };
        DetectorState {
            health: self.health(),
            failures,
            run,
            rtt: self.rtt,
            hold_down_left: self.hold_down_until.since(now),
            flaps: self.damping.flaps(now),
            is_up_but_damped: self.damping.is_damped() && self.state.health() == Health::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::{DetectorEvent, VerdictChange};
    use crate::model::ProbeKind;

    #[test]
    fn probes_that_began_before_the_restored_state_do_not_count() {
        let monitor = Monitor { fall: 1, ..Monitor::new(ProbeKind::Tcp) };
        let at = |second| Moment::START + Duration::from_secs(second);
        let mut detector =
            Detector::restore(&monitor, &DetectorState { health: Health::Up, ..DetectorState::default() }, at(10));
        assert_eq!(detector.step(DetectorEvent::Failure { began: at(9) }, at(11)), None, "it began before");
        let down = VerdictChange { from: Health::Up, to: Health::Down };
        assert_eq!(detector.step(DetectorEvent::Failure { began: at(10) }, at(11)), Some(down));
    }

    /// Makes a probe each second from `from` on; `true` is a success in 5 ms. Returns the transitions, with the number
    /// of the probe.
    fn played(detector: &mut Detector, outcomes: &[bool], from: usize) -> Vec<(usize, VerdictChange)> {
        let step = |(nth, is_ok): (usize, &bool)| {
            let at = Moment::START + Duration::from_secs((from + nth) as u64);
            let event = if *is_ok {
                DetectorEvent::Success { rtt: Duration::from_millis(5) }
            } else {
                DetectorEvent::Failure { began: at }
            };
            Some((nth, detector.step(event, at)?))
        };
        outcomes.iter().enumerate().filter_map(step).collect()
    }

    fn outcomes() -> impl Strategy<Value = Vec<bool>> {
        prop::collection::vec(prop::bool::weighted(0.6), 0..60)
    }

    proptest! {
        #[test]
        fn a_restored_detector_judges_as_the_old_one_would(
            (fall, rise) in (1u32..5, 1u32..4), before in outcomes(), after in outcomes(),
        ) {
            let monitor = Monitor { fall, rise, damping: false, ..Monitor::new(ProbeKind::Tcp) };
            let mut detector = Detector::new(&monitor);
            played(&mut detector, &before, 0);
            prop_assume!(detector.health() != Health::Unknown);
            let now = Moment::START + Duration::from_secs(before.len() as u64);
            let state = detector.state(now);
            let mut successor = Detector::restore(&monitor, &state, now);
            prop_assert_eq!(successor.state(now), state);
            let [ours, theirs] =
                [&mut detector, &mut successor].map(|detector| played(detector, &after, before.len()));
            prop_assert_eq!(ours, theirs);
            prop_assert_eq!(detector.state(now), successor.state(now));
        }

        #[test]
        fn no_restart_ends_a_hold_down_or_damping(
            before in outcomes(), after in outcomes(), hold_down in 0u64..40,
        ) {
            let hold_down = Duration::from_secs(hold_down);
            let monitor = Monitor { hold_down, ..Monitor::new(ProbeKind::Tcp) };
            let mut detector = Detector::new(&monitor);
            played(&mut detector, &before, 0);
            let now = Moment::START + Duration::from_secs(before.len() as u64);
            prop_assume!(detector.health() == Health::Down);
            let mut successor = Detector::restore(&monitor, &detector.state(now), now);
            let up = |changes: Vec<(usize, VerdictChange)>| changes.first().map_or(usize::MAX, |(nth, _)| *nth);
            let [ours, theirs] = [&mut detector, &mut successor].map(|one| up(played(one, &after, before.len())));
            // It may take longer, because successes during the hold-down are not restored.
            prop_assert!(theirs >= ours, "up at {theirs}, without a restart at {ours}");
        }
    }
}
