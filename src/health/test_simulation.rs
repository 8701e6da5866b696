//! Schedule, pace and detectors together, in simulated time: endpoints that fail, and paths that lose packets. Minutes
//! of probing take milliseconds; nothing here reads a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::health::{Detector, DetectorEvent, Rtt, Schedule, SlotId, VerdictChange};
use crate::model::{Health, Moment, Monitor, ProbeKind, Timing};

mod lossy;

const MS: Duration = Duration::from_millis(1);

fn defaults() -> Monitor {
    Monitor::new(ProbeKind::Tcp)
}

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ProbeResult {
    Success(Duration),
    Failed,
    Doubtful,
}

impl From<Option<Duration>> for ProbeResult {
    fn from(rtt: Option<Duration>) -> ProbeResult {
        rtt.map_or(ProbeResult::Failed, ProbeResult::Success)
    }
}

/// Probes `checks` checks of one monitor until `end`. `world` returns how long each probe takes, and its result.
/// Returns the transitions.
fn run<R: Into<ProbeResult>>(
    monitor: &Monitor,
    checks: usize,
    end: Moment,
    mut world: impl FnMut(Moment, &Rtt) -> (Duration, R),
) -> Vec<(Moment, VerdictChange)> {
    let mut schedule = Schedule::new(100_000);
    let slots = schedule.add(&vec![monitor.interval; checks], Moment::START);
    let mut detectors: HashMap<SlotId, Detector> =
        slots.into_iter().map(|slot| (slot, Detector::new(monitor))).collect();
    let mut endings = BinaryHeap::new();
    let mut transitions = Vec::new();
    loop {
        let next_ending = endings.peek().map(|Reverse((at, ..)): &Reverse<(Moment, SlotId, Moment, ProbeResult)>| *at);
        let Some(now) = [schedule.next_due(), next_ending].into_iter().flatten().min().filter(|now| *now <= end) else {
            return transitions;
        };
        while let Some(slot) = schedule.take_due(now) {
            let (detector, under_way) = (&detectors[&slot], schedule.under_way_of(slot));
            if let Some(after) = detector.overlap_after(under_way) {
                schedule.overlap(slot, now + after);
            }
            let (took, result) = world(now, &detector.rtt_for_probe(under_way));
            endings.push(Reverse((now + took, slot, now, result.into())));
        }
        if next_ending == Some(now) {
            let Some(Reverse((_, slot, began, result))) = endings.pop() else { continue };
            schedule.ended(slot);
            let event = match result {
                ProbeResult::Success(rtt) => DetectorEvent::Success { rtt },
                ProbeResult::Failed if now.since(began) > MS => DetectorEvent::Silence { began },
                ProbeResult::Failed => DetectorEvent::Failure { began },
                ProbeResult::Doubtful => DetectorEvent::Doubtful { began },
            };
            let Some(detector) = detectors.get_mut(&slot) else { continue };
            transitions.extend(detector.step(event, now).map(|transition| (now, transition)));
            schedule.set_extra_turn(slot, detector.deadline());
            schedule.back_off(slot, detector.backoff(), now);
        }
    }
}

#[test]
fn five_thousand_checks_that_fail_at_once_are_all_down_in_time() {
    let monitor = defaults();
    let death = Moment::START + 10_300 * MS;
    let end = death + 5000 * MS;
    let transitions =
        run(&monitor, 5000, end, |now, _| if now < death { (5 * MS, Some(5 * MS)) } else { (500 * MS, None) });
    let downs: Vec<Moment> =
        transitions.iter().filter(|(_, transition)| transition.to == Health::Down).map(|(at, _)| *at).collect();
    assert_eq!(downs.len(), 5000);
    assert!(downs.iter().all(|at| at.since(death) <= 2500 * MS), "one interval and three time-outs");
}

/// The times from a silent cut-off to Down of 1,000 checks with the defaults, sorted.
fn silent_cut_off(rtt: Duration) -> Vec<Duration> {
    let monitor = defaults();
    let cut = Moment::START + 60_300 * MS;
    let transitions = run(&monitor, 1000, cut + 5000 * MS, |now, _| match now + rtt / 2 < cut {
        true => (rtt, Some(rtt)),
        false => (monitor.timeout, None),
    });
    let downs = transitions.iter().filter(|(_, transition)| transition.to == Health::Down);
    let mut times: Vec<Duration> = downs.map(|(at, _)| at.since(cut)).collect();
    times.sort();
    times
}

#[test]
fn verifying_probes_overlap_while_answers_are_overdue() {
    for (rtt_ms, median_ms, most_ms) in [(1, 1200, 1600), (10, 1200, 1600), (40, 1250, 1650), (150, 1500, 1900)] {
        let times = silent_cut_off(rtt_ms * MS);
        let (median, of_100) = (times[times.len() / 2], times[times.len() * 95 / 100]);
        assert_eq!(times.len(), 1000);
        assert!(median <= median_ms * MS && of_100 <= most_ms * MS, "rtt {rtt_ms} ms: {median:?}, {of_100:?}");
    }
}

#[test]
fn an_answer_that_was_overdue_ends_the_overlap() {
    let monitor = defaults();
    let mut probes = 0;
    let end = Moment::START + Duration::from_secs(100);
    // One answer in ten takes 200 ms instead of 1 ms.
    let transitions = run(&monitor, 1, end, |_, _| {
        probes += 1;
        let rtt = if probes % 10 == 0 { 200 * MS } else { MS };
        (rtt, Some(rtt))
    });
    assert_eq!(transitions.len(), 1, "Up and nothing else");
    assert!(probes <= 130, "{probes} probes in 100 intervals");
}

/// A check that answers after 5 ms for the time `turn`, then is refused (or silent) for the same time, and so on.
fn flipping(monitor: &Monitor, turn: Duration, offset: Duration, refused: bool) -> Vec<(Moment, VerdictChange)> {
    let (start, end) = (Moment::START + offset, Moment::START + Duration::from_secs(600));
    run(monitor, 1, end, |now, _| match now.since(start).as_nanos() / turn.as_nanos() % 2 {
        0 => (5 * MS, Some(5 * MS)),
        _ if refused => (MS, None),
        _ => (monitor.timeout, None),
    })
}

#[test]
fn an_outage_every_two_minutes_is_never_damped() {
    let transitions = flipping(&defaults(), Duration::from_secs(60), Duration::ZERO, true);
    assert_eq!(transitions.len(), 10, "once a minute each: {transitions:?}");
}

/// Checks each transition of a detector against its evidence: for Down `fall` failures; for Up one success in Unknown,
/// or else `rise` in a row. Returns which states were reached.
fn check_evidence(monitor: &Monitor, outcomes: &[(u16, bool)]) -> Result<[bool; 5], TestCaseError> {
    let mut detector = Detector::new(monitor);
    let (mut now, mut failures, mut run) = (Moment::START, 0, 0);
    // Unknown, Up, Suspect (to be verified), Down, damped.
    let mut seen = [false; 5];
    for (gap_ms, is_success) in outcomes {
        now = now + u32::from(*gap_ms) * MS;
        (failures, run) = if *is_success { (failures, run + 1) } else { (failures + 1, 0) };
        let began = now;
        let event = if *is_success { DetectorEvent::Success { rtt: 9 * MS } } else { DetectorEvent::Failure { began } };
        let was_damped = detector.damping().is_damped();
        match detector.step(event, now) {
            Some(VerdictChange { from: Health::Unknown, to: Health::Up }) => prop_assert!(run >= 1),
            Some(VerdictChange { to: Health::Up, .. }) => {
                prop_assert!(run >= monitor.rise && !detector.damping().is_damped());
                failures = 0;
            }
            Some(VerdictChange { to: Health::Down, .. }) => {
                prop_assert!(failures >= monitor.fall);
                failures = 0;
            }
            Some(VerdictChange { to: Health::Unknown, .. }) => prop_assert!(false, "Unknown after it was tried"),
            None if run >= monitor.rise && detector.health() == Health::Up => failures = 0,
            None => {}
        }
        prop_assert!(was_damped || !detector.damping().is_damped() || !*is_success, "damped without a fall");
        prop_assert!(!detector.damping().is_damped() || detector.health() == Health::Down);
        prop_assert!(detector.backoff() == 1 || (detector.health() == Health::Down && !*is_success));
        let suspect = detector.health() == Health::Up && detector.deadline().is_some();
        let plain = |health| detector.health() == health && !suspect && !detector.damping().is_damped();
        let now_in =
            [plain(Health::Unknown), plain(Health::Up), suspect, plain(Health::Down), detector.damping().is_damped()];
        seen.iter_mut().zip(now_in).for_each(|(seen, is_in)| *seen |= is_in);
    }
    Ok(seen)
}

#[test]
fn every_state_is_reached_and_left() {
    let outcomes = |results: &str| -> Vec<(u16, bool)> {
        results.chars().map(|c| (if c == 'w' { 60_000 } else { 1000 }, c != 'F')).collect()
    };
    let all: Vec<(u16, bool)> = outcomes("FSSFSSFFFSSFFFSSwwwwF");
    let monitor = defaults();
    assert_eq!(check_evidence(&monitor, &all).expect("the evidence suffices"), [true; 5]);
    let mut detector = Detector::new(&monitor);
    let mut now = Moment::START;
    for (gap_ms, is_success) in all {
        now = now + u32::from(gap_ms) * MS;
        detector.step(
            if is_success { DetectorEvent::Success { rtt: MS } } else { DetectorEvent::Failure { began: now } },
            now,
        );
    }
    assert_eq!((detector.health(), detector.damping().is_damped()), (Health::Up, false), "all of them were left");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_check_that_flips_every_three_seconds_is_damped_and_stays_down(
        offset_ms in 0u32..10_000, refused: bool, interval_ms in prop_oneof![Just(1000u32), 100u32..1000],
    ) {
        let monitor = Monitor { interval: interval_ms * MS, ..defaults() };
        let transitions = flipping(&monitor, 3000 * MS, offset_ms * MS, refused);
        prop_assert!(transitions.len() <= 4, "{transitions:?}");
        prop_assert!(transitions.last().is_some_and(|(_, last)| last.to == Health::Down));
        let undamped = flipping(&Monitor { damping: false, ..monitor }, 3000 * MS, offset_ms * MS, refused);
        prop_assert!(undamped.len() > 40, "without damping it flips");
    }

    #[test]
    fn a_single_outage_of_any_length_is_not_damped_and_its_end_is_found_in_time(
        outage_ms in 3_000u32..1_000_000, interval_ms in 50u32..3000, refused: bool,
    ) {
        let monitor = Monitor { interval: interval_ms * MS, ..defaults() };
        let (death, recovery) = (Moment::START + 10_000 * MS, Moment::START + 10_000 * MS + outage_ms * MS);
        let end = recovery + Duration::from_secs(120);
        let transitions = run(&monitor, 2, end, |now, _| match now >= death && now < recovery {
            true => (if refused { MS } else { monitor.timeout }, None),
            false => (5 * MS, Some(5 * MS)),
        });
        let ups: Vec<Moment> = transitions
            .iter()
            .filter(|(at, transition)| transition.to == Health::Up && *at >= recovery)
            .map(|(at, _)| *at)
            .collect();
        let downs = transitions.iter().filter(|(_, transition)| transition.to == Health::Down).count();
        prop_assert!(downs == ups.len() && downs <= 2, "{transitions:?}");
        let rarest = (8 * monitor.interval).min(Duration::from_secs(30));
        // The last probe of the outage may begin just before its end, and end a time-out later.
        let bound = rarest.max(monitor.interval) + monitor.interval + monitor.timeout + 10 * MS;
        for at in ups {
            prop_assert!(at.since(recovery) <= bound, "{:?} after its recovery, over {:?}", at.since(recovery), bound);
        }
    }

    #[test]
    fn no_verdict_changes_without_its_evidence(
        fall in 1u32..5, rise in 1u32..5, outcomes in prop::collection::vec((1u16..3000, any::<bool>()), 1..300),
    ) {
        check_evidence(&Monitor { fall, rise, ..defaults() }, &outcomes)?;
    }

    #[test]
    fn a_dead_process_is_down_after_an_interval_and_its_verification(
        interval_ms in 50u32..5000, fall in 1u32..6, death_ms in 0u32..20_000, rtt_ms in 1u32..45,
    ) {
        let monitor = Monitor { interval: interval_ms * MS, fall, ..defaults() };
        let death = Moment::START + death_ms * MS;
        let end = death + 10 * monitor.interval;
        let rtt = rtt_ms * MS;
        let transitions =
            run(&monitor, 3, end, |now, _| if now < death { (rtt, Some(rtt)) } else { (MS, None) });
        let verified = (100 * MS).max(20 * MS * (fall - 1));
        // A probe that began before the death may still succeed shortly after it.
        let bound = monitor.interval + verified + rtt + MS * fall;
        let downs: Vec<_> = transitions.iter().filter(|(_, transition)| transition.to == Health::Down).collect();
        prop_assert_eq!(downs.len(), 3);
        for (at, _) in downs {
            prop_assert!(at.since(death) <= bound, "{:?} after its death, over {:?}", at.since(death), bound);
        }
    }

    #[test]
    fn detection_is_never_slower_than_the_computed_bound(
        interval_ms in 50u32..2000, timeout_ms in 5u32..4000, fall in 1u32..12,
        hold_ms in prop_oneof![Just(0u32), 1u32..20_000], death_ms in 0u32..10_000, rtt_ms in 1u32..4, refused: bool,
    ) {
        let hold_down = hold_ms * MS;
        let monitor = Monitor { interval: interval_ms * MS, timeout: timeout_ms * MS, fall, hold_down, ..defaults() };
        let timing = Timing::from(&monitor);
        let (death, rtt) = (Moment::START + death_ms * MS, rtt_ms * MS);
        let end = death + 4 * timing.worst_detection();
        let took = if refused { MS } else { monitor.timeout };
        let transitions =
            run(&monitor, 3, end, |now, _| if now < death { (rtt, Some(rtt)) } else { (took, None) });
        // A probe that began before the death may still succeed shortly after it, and begin the hold-down.
        let bound = timing.worst_detection() + rtt;
        let downs: Vec<_> = transitions.iter().filter(|(_, transition)| transition.to == Health::Down).collect();
        prop_assert_eq!(downs.len(), 3);
        for (at, _) in downs {
            prop_assert!(at.since(death) <= bound, "{:?} after its death, over {:?}", at.since(death), bound);
        }
    }

    #[test]
    fn a_silent_endpoint_is_down_within_fall_intervals_and_a_time_out(
        interval_ms in 50u32..2000, timeout_ms in 20u32..2000, fall in 1u32..5, death_ms in 0u32..10_000,
    ) {
        // Verification needs MIN_SPACING between probes. The bound holds if the interval is at least that long.
        let monitor = Monitor { interval: interval_ms * MS, timeout: timeout_ms * MS, fall, ..defaults() };
        let death = Moment::START + death_ms * MS;
        let end = death + 10 * monitor.interval + 10 * monitor.timeout;
        let rtt = MS;
        let transitions =
            run(&monitor, 3, end, |now, _| if now < death { (rtt, Some(rtt)) } else { (monitor.timeout, None) });
        let bound = fall * monitor.interval + monitor.timeout + rtt;
        let downs: Vec<_> = transitions.iter().filter(|(_, transition)| transition.to == Health::Down).collect();
        prop_assert_eq!(downs.len(), 3);
        for (at, _) in downs {
            prop_assert!(at.since(death) <= bound, "{:?} after its death, over {:?}", at.since(death), bound);
        }
    }
}
