//! The verdicts of the diagram, compared with the specification; and hold-down, damping and back-off.

use proptest::prelude::*;

use super::*;
use crate::model::ProbeKind;

const MS: Duration = Duration::from_millis(1);

fn monitor(fall: u32, rise: u32) -> Monitor {
    Monitor { fall, rise, ..Monitor::new(ProbeKind::Tcp) }
}

impl Detector {
    /// Whether the counts say Down and only the hold-down keeps the verdict Up.
    fn is_pending(&self) -> bool {
        matches!(self.state, State::Suspect { failures, .. } if failures >= self.fall)
    }
}

/// The verdict after each of these results, a second apart. Results: `S` success, `F` failure, `D` doubtful. Verdicts:
/// `?` Unknown, `+` Up, `-` Down.
fn verdicts(detector: &mut Detector, outcomes: &str) -> String {
    let mut now = Moment::START;
    let mut verdicts = String::new();
    for outcome in outcomes.chars() {
        now = now + 1000 * MS;
        let event = match outcome {
            'S' => DetectorEvent::Success { rtt: 10 * MS },
            'D' => DetectorEvent::Doubtful { began: now },
            _ => DetectorEvent::Failure { began: now },
        };
        let before = detector.health();
        let transition = detector.step(event, now);
        assert_eq!(transition.map(|t| (t.from, t.to)), {
            let after = detector.health();
            (before != after).then_some((before, after))
        });
        verdicts.push(match detector.health() {
            Health::Unknown => '?',
            Health::Up => '+',
            Health::Down => '-',
        });
    }
    verdicts
}

fn check(what: &str, fall: u32, rise: u32, outcomes: &str, expected: &str) {
    assert_eq!(verdicts(&mut Detector::new(&monitor(fall, rise)), outcomes), expected, "{what}: {outcomes}");
}

#[test]
fn failures_of_probes_that_began_before_up_do_not_count() {
    let mut detector = Detector::new(&monitor(3, 2));
    assert_eq!(verdicts(&mut detector, "SFFFSS"), "+++--+", "up since second 6");
    let late = |began_ms: u32| DetectorEvent::Failure { began: Moment::START + began_ms * MS };
    for began_ms in [4500, 4700, 4900, 5900] {
        assert_eq!(detector.step(late(began_ms), Moment::START + 6100 * MS), None);
    }
    let doubtful = DetectorEvent::Doubtful { began: Moment::START + 5999 * MS };
    assert_eq!(detector.step(doubtful, Moment::START + 6100 * MS), None);
    assert_eq!((detector.health(), detector.is_suspect(), detector.deadline()), (Health::Up, false, None));
    let downs = (0..3).filter_map(|_| detector.step(late(6000), Moment::START + 6200 * MS)).count();
    assert_eq!((downs, detector.health()), (1, Health::Down), "failures of later probes count");
    assert_eq!(detector.step(late(4500), Moment::START + 6300 * MS), None, "down is down");
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
fn a_doubtful_probe_counts_by_what_follows_it() {
    check("a success clears it", 3, 2, "SDSDSDSDSDSD", "++++++++++++");
    check("a failure confirms it", 3, 2, "SDFF", "+++-");
    check("two are one failure", 3, 2, "SDDDDDD", "++++++-");
    check("and add up with others", 3, 2, "SDDSFSF", "++++++-");
    check("they are no successes either", 3, 2, "SFSDSDSF", "++++++++");
    check("and not the first verdict", 3, 2, "DDDDDD", "?????-");
    check("a success decides after it", 3, 2, "DS", "?+");
    check("with fall 1 the second decides", 1, 2, "SDD", "++-");
    check("or a failure", 1, 2, "SDF", "++-");
    check("down it is a failure", 3, 2, "FFFSDSS", "??----+");
    let mut detector = Detector::new(&monitor(3, 2));
    let at = |ms: u32| Moment::START + ms * MS;
    detector.step(DetectorEvent::Success { rtt: 30 * MS }, at(30));
    detector.step(DetectorEvent::Doubtful { began: at(1000) }, at(1500));
    assert_eq!((detector.deadline(), detector.is_suspect()), (Some(at(1500)), true), "verified at once");
    assert_eq!(detector.may_change_in(at(1500)), 2 * 30 * MS, "two more failures");
}

#[test]
fn a_failure_is_verified_at_once_and_a_success_ends_the_verification() {
    let mut detector = Detector::new(&monitor(3, 2));
    let at = |ms: u32| Moment::START + ms * MS;
    detector.step(DetectorEvent::Success { rtt: 30 * MS }, at(30));
    assert_eq!(detector.deadline(), None, "up: the regular probe is enough");
    detector.step(DetectorEvent::Failure { began: at(1000) }, at(1001));
    assert_eq!(detector.deadline(), Some(at(1030)), "refused: verified a round trip after it began");
    detector.step(DetectorEvent::Failure { began: at(1030) }, at(1530));
    assert_eq!(detector.deadline(), Some(at(1530)), "silent: enough time has passed");
    detector.step(DetectorEvent::Success { rtt: 30 * MS }, at(1560));
    assert_eq!(detector.deadline(), None, "it answered: only regular probes again");
    detector.step(DetectorEvent::Failure { began: at(2000) }, at(2001));
    assert_eq!((detector.health(), detector.deadline()), (Health::Down, None), "down is not verified");
}

#[test]
fn the_end_of_a_held_connection_is_verified_and_does_not_decide() {
    let at = |ms: u32| Moment::START + ms * MS;
    let after_end = |fall, rise| {
        let mut detector = Detector::new(&monitor(fall, rise));
        detector.step(DetectorEvent::Success { rtt: 2 * MS }, at(10));
        assert_eq!(detector.step(DetectorEvent::ConnectionEnded, at(1000)), None, "fall {fall}: probes decide");
        assert_eq!(detector.deadline(), Some(at(1030)), "fall {fall}: when a new process would listen");
        detector
    };
    let fail = |detector: &mut Detector, began| {
        detector.step(DetectorEvent::Failure { began: at(began) }, at(began));
        (detector.health(), detector.deadline())
    };
    let dead = (Health::Down, None);

    let mut detector = after_end(3, 2);
    assert_eq!(fail(&mut detector, 1030), (Health::Up, Some(at(1050))));
    assert_eq!(fail(&mut detector, 1050), dead, "its end and two probes");
    assert_eq!(fail(&mut after_end(2, 2), 1030), dead);
    assert_eq!(fail(&mut after_end(1, 1), 1030), dead, "one probe at least");

    let mut detector = after_end(3, 2);
    for ms in [2000, 3000, 4000, 5000] {
        detector.step(DetectorEvent::ConnectionEnded, at(ms));
    }
    assert_eq!(fail(&mut detector, 5030).0, Health::Up, "ends do not add up");
    assert_eq!(fail(&mut detector, 5050), dead);

    let mut detector = after_end(3, 2);
    assert_eq!(fail(&mut detector, 1001), (Health::Up, Some(at(1030))), "a regular probe does not shorten the wait");

    let mut detector = after_end(3, 1);
    detector.step(DetectorEvent::Success { rtt: 2 * MS }, at(1001));
    assert_eq!(detector.deadline(), Some(at(1030)), "this probe began before the end");
    detector.step(DetectorEvent::Success { rtt: 2 * MS }, at(1032));
    assert_eq!(detector.deadline(), None, "it is healthy");
    assert_eq!(fail(&mut detector, 2000), (Health::Up, Some(at(2020))), "and the end is forgotten");

    let mut detector = Detector::new(&monitor(3, 2));
    detector.step(DetectorEvent::ConnectionEnded, at(5));
    assert_eq!((detector.health(), detector.deadline()), (Health::Unknown, None), "no connection is held yet");
}

#[test]
fn the_spacing_is_the_round_trip_within_bounds() {
    let spacing = |fall, rtt_ms: Option<u32>| {
        let mut detector = Detector::new(&monitor(fall, 2));
        if let Some(ms) = rtt_ms {
            detector.step(DetectorEvent::Success { rtt: ms * MS }, Moment::START);
        }
        detector.spacing()
    };
    assert_eq!(spacing(3, None), 50 * MS, "unknown: its share of the window");
    assert_eq!(spacing(3, Some(1)), 20 * MS, "near: no closer than a burst of loss");
    assert_eq!(spacing(3, Some(35)), 35 * MS, "a round trip");
    assert_eq!(spacing(3, Some(180)), 50 * MS, "far: all fit into the window");
    assert_eq!(spacing(100, Some(180)), 20 * MS);
}

#[test]
fn the_least_time_to_a_change_is_shorter_after_more_evidence() {
    let mut detector = Detector::new(&monitor(3, 2));
    let mut after = |event| {
        detector.step(event, Moment::START + 5000 * MS);
        detector.may_change_in(Moment::START + 5000 * MS)
    };
    let (good, bad) = (DetectorEvent::Success { rtt: MS }, DetectorEvent::Failure { began: Moment::START + 5000 * MS });
    assert_eq!(after(good), 1040 * MS, "up: an interval and two verifying probes");
    assert_eq!(after(bad), 40 * MS, "suspect: two more");
    assert_eq!(after(bad), 20 * MS, "one more");
    assert_eq!(after(good), 1000 * MS, "not verified: at the next regular failure");
    assert_eq!(after(bad), 2000 * MS, "down: two regular successes");
    assert_eq!(after(good), 1000 * MS, "one more");
    assert_eq!(Detector::new(&monitor(3, 2)).may_change_in(Moment::START), Duration::ZERO, "unknown: any moment");
}

#[test]
fn during_a_hold_down_evidence_counts_and_the_verdict_stays() {
    let at = |ms: u32| Moment::START + ms * MS;
    let with_hold_down = |fall, rise| Detector::new(&Monitor { hold_down: 10_000 * MS, ..monitor(fall, rise) });
    let (good, bad) = (DetectorEvent::Success { rtt: 10 * MS }, |ms| DetectorEvent::Failure { began: at(ms) });

    let mut detector = with_hold_down(3, 2);
    detector.step(good, at(1000));
    for ms in [2000, 2100, 2200, 3000, 9000] {
        assert_eq!(detector.step(bad(ms), at(ms)), None, "up since 1 s, hold-down until 11 s");
    }
    assert_eq!(detector.deadline(), Some(at(11_000)), "probed as soon as it may change");
    assert_eq!(detector.may_change_in(at(9000)), 2000 * MS);
    assert_eq!(detector.step(good, at(10_000)), None, "one success clears nothing");
    let down = VerdictChange { from: Health::Up, to: Health::Down };
    assert_eq!(detector.step(bad(10_990), at(11_000)), Some(down), "the first that ends after the hold-down");
    assert_eq!(detector.may_change_in(at(11_000)), 10_000 * MS, "and the next hold-down begins");
    for ms in [12_000, 13_000, 14_000] {
        assert_eq!(detector.step(good, at(ms)), None);
    }
    let up = VerdictChange { from: Health::Down, to: Health::Up };
    assert_eq!(detector.step(good, at(21_000)), Some(up));

    let mut detector = with_hold_down(2, 2);
    for (ms, event) in [(1000, good), (2000, bad(2000)), (2100, bad(2100)), (3000, good), (4000, good)] {
        detector.step(event, at(ms));
    }
    assert_eq!(detector.step(bad(11_000), at(11_000)), None, "failures that were cleared meanwhile do not count");

    let mut detector = with_hold_down(2, 3);
    for (ms, event) in [(1000, good), (2000, bad(2000)), (2100, bad(2100))] {
        detector.step(event, at(ms));
    }
    assert_eq!(detector.step(good, at(11_000)), Some(down), "a single success clears no failures");
}

#[test]
fn a_check_that_stays_down_is_probed_more_rarely_until_it_answers() {
    let at = |n: u32| Moment::START + n * 1000 * MS;
    let backoffs = |interval_ms: u32| {
        let mut detector = Detector::new(&Monitor { interval: interval_ms * MS, ..monitor(3, 2) });
        let failed = (0..40).map(|n| {
            detector.step(DetectorEvent::Failure { began: at(n) }, at(n));
            detector.backoff()
        });
        let failed: Vec<u32> = failed.collect();
        assert_eq!(failed[..33], [1; 33], "no backoff for the first 30 failures in Down");
        detector.step(DetectorEvent::Success { rtt: MS }, at(100));
        assert_eq!((detector.health(), detector.backoff()), (Health::Down, 1), "and after a success again");
        failed[33..].to_vec()
    };
    assert_eq!(backoffs(1000), [2, 4, 8, 8, 8, 8, 8]);
    assert_eq!(backoffs(5000), [2, 4, 4, 4, 4, 4, 4], "no more than 30 s");
    assert_eq!(backoffs(20_000), [1; 7]);
}

#[test]
fn with_backoff_the_least_time_to_a_change_is_longer() {
    let mut detector = Detector::new(&monitor(3, 2));
    for n in 0..40u32 {
        let at = Moment::START + n * 1000 * MS;
        detector.step(DetectorEvent::Failure { began: at }, at);
    }
    let now = Moment::START + 40_000 * MS;
    assert_eq!(detector.may_change_in(now), 9000 * MS, "eight intervals to the first success, one more to the second");
    detector.step(DetectorEvent::Success { rtt: MS }, now);
    assert_eq!(detector.may_change_in(now), 1000 * MS);
}

#[test]
fn a_check_that_flaps_is_damped_until_its_penalty_has_decayed() {
    let mut detector = Detector::new(&monitor(1, 1));
    let at = |second: u32| Moment::START + second * 1000 * MS;
    let (good, bad) = (DetectorEvent::Success { rtt: MS }, |second| DetectorEvent::Failure { began: at(second) });
    detector.step(good, at(0));
    assert!(detector.step(bad(1), at(1)).is_some(), "an outage");
    assert!(detector.step(good, at(2)).is_some(), "is over");
    assert!(detector.step(bad(3), at(3)).is_some(), "and another");
    let left = detector.may_change_in(at(3));
    assert!(left > 60_000 * MS && left < 70_000 * MS, "{left:?}");
    for second in 4..71 {
        assert_eq!(detector.step(good, at(second)), None, "damped, although it answers: {second}");
        assert_eq!(detector.health(), Health::Down);
    }
    let up = VerdictChange { from: Health::Down, to: Health::Up };
    assert_eq!(detector.step(good, at(72)), Some(up), "with the next answer after that");
    assert_eq!(detector.may_change_in(at(72)), 1000 * MS);
}

#[test]
fn a_check_that_is_down_when_its_penalty_has_decayed_stays_down() {
    let mut detector = Detector::new(&monitor(1, 1));
    let at = |second: u32| Moment::START + second * 1000 * MS;
    let (good, bad) = (DetectorEvent::Success { rtt: MS }, |second| DetectorEvent::Failure { began: at(second) });
    for (second, event) in [(0, good), (1, bad(1)), (2, good), (3, bad(3))] {
        detector.step(event, at(second));
    }
    for second in 4..200 {
        assert_eq!(detector.step(bad(second), at(second)), None);
    }
    assert!(!detector.damping().is_damped());
    assert!(detector.step(good, at(200)).is_some());
}

/// The specification, applied to the whole history.
struct Specification {
    fall: usize,
    rise: usize,
    hold_down: Duration,
    hold_down_until: Moment,
    health: Health,
    /// The results since the verdict last changed, where a change from Unknown to Up does not count.
    history: Vec<bool>,
}

impl Specification {
    fn judge(&mut self, is_success: bool, now: Moment) -> Health {
        self.history.push(is_success);
        let last_run_ends =
            (self.rise..=self.history.len()).rev().find(|end| self.history[end - self.rise..*end].iter().all(|s| *s));
        let failures = self.history[last_run_ends.unwrap_or(0)..].iter().filter(|s| !**s).count();
        let was = self.health;
        let wanted = match was {
            Health::Unknown if is_success => Health::Up,
            Health::Unknown | Health::Up if failures >= self.fall => Health::Down,
            Health::Down if last_run_ends == Some(self.history.len()) => Health::Up,
            Health::Unknown | Health::Up | Health::Down => was,
        };
        self.health = if now < self.hold_down_until { was } else { wanted };
        if self.health != was {
            self.hold_down_until = now + self.hold_down;
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
    fn verdicts_are_those_of_the_specification(
        fall in 1u32..6, rise in 1u32..5, hold_ms in prop_oneof![Just(0u32), 1u32..3000],
        bias in 1u32..10, draws in prop::collection::vec(0u32..10, 1..300),
    ) {
        let hold_down = hold_ms * MS;
        let mut detector = Detector::new(&Monitor { hold_down, damping: false, ..monitor(fall, rise) });
        let (fall, rise) = (fall as usize, rise as usize);
        let (hold_down_until, health) = (Moment::START, Health::Unknown);
        let mut specification = Specification { fall, rise, hold_down, hold_down_until, health, history: Vec::new() };
        let mut changed_at: Option<Moment> = None;
        let mut was_tried = false;
        let mut now = Moment::START;
        for draw in draws {
            now = now + 100 * MS;
            let is_success = draw < bias;
            let began = now - 50 * MS;
            let event = match is_success {
                true => DetectorEvent::Success { rtt: draw * 10 * MS },
                false => DetectorEvent::Failure { began },
            };
            if detector.step(event, now).is_some() {
                prop_assert!(changed_at.is_none_or(|at| now.since(at) >= hold_down), "changed during the hold-down");
                changed_at = Some(now);
            }
            prop_assert_eq!(detector.health(), specification.judge(is_success, now));
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
