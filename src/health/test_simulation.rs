//! Schedule, pace and detectors together, in simulated time, against worlds that lose packets and die. Minutes of
//! probing run in milliseconds; nothing here reads a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::health::{Detector, Event, Rtt, Schedule, SlotId, Transition};
use crate::model::{Health, Moment, Monitor, ProbeKind, Timing};

mod lossy;

const MS: Duration = Duration::from_millis(1);

fn defaults() -> Monitor {
    Monitor::new(ProbeKind::Tcp)
}

/// How a probe will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Well(Duration),
    Failed,
    Doubtful,
}

impl From<Option<Duration>> for Found {
    fn from(rtt: Option<Duration>) -> Found {
        rtt.map_or(Found::Failed, Found::Well)
    }
}

/// Probes `checks` checks of one monitor until `end`, in a world that says how each probe ends.
fn run<F: Into<Found>>(
    monitor: &Monitor,
    checks: usize,
    end: Moment,
    mut world: impl FnMut(Moment, &Rtt) -> (Duration, F),
) -> Vec<(Moment, Transition)> {
    let mut schedule = Schedule::new(100_000);
    let slots = schedule.add(&vec![monitor.interval; checks], Moment::START);
    let mut detectors: HashMap<SlotId, Detector> =
        slots.into_iter().map(|slot| (slot, Detector::new(monitor))).collect();
    let mut endings = BinaryHeap::new();
    let mut transitions = Vec::new();
    loop {
        let next_ending = endings.peek().map(|Reverse((at, ..)): &Reverse<(Moment, SlotId, Moment, Found)>| *at);
        let Some(now) = [schedule.next_due(), next_ending].into_iter().flatten().min().filter(|now| *now <= end) else {
            return transitions;
        };
        while let Some(slot) = schedule.take(now) {
            let (took, found) = world(now, detectors[&slot].rtt());
            endings.push(Reverse((now + took, slot, now, found.into())));
        }
        if next_ending == Some(now) {
            let Some(Reverse((_, slot, began, found))) = endings.pop() else { continue };
            schedule.ended(slot);
            let event = match found {
                Found::Well(rtt) => Event::Success { rtt },
                Found::Failed => Event::Failure { began },
                Found::Doubtful => Event::Doubtful { began },
            };
            let Some(detector) = detectors.get_mut(&slot) else { continue };
            transitions.extend(detector.step(event, now).map(|transition| (now, transition)));
            schedule.want(slot, detector.deadline());
            schedule.back_off(slot, detector.backoff(), now);
        }
    }
}

#[test]
fn five_thousand_checks_that_die_at_once_are_all_down_in_time() {
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

/// Answers after 5 ms, or is refused at once, or is silent, in turns of `turn`.
fn flipping(monitor: &Monitor, turn: Duration, offset: Duration, refused: bool) -> Vec<(Moment, Transition)> {
    let (start, end) = (Moment::START + offset, Moment::START + Duration::from_secs(600));
    run(monitor, 1, end, |now, _| match now.since(start).as_nanos() / turn.as_nanos() % 2 {
        0 => (5 * MS, Some(5 * MS)),
        _ if refused => (MS, None),
        _ => (monitor.timeout, None),
    })
}

#[test]
fn what_does_not_flap_is_never_damped_though_it_fails_again_and_again() {
    let transitions = flipping(&defaults(), Duration::from_secs(60), Duration::ZERO, true);
    assert_eq!(transitions.len(), 10, "once a minute each: {transitions:?}");
}

/// What the detector may be asked at any moment, held against what it was told. The evidence for Down is `fall`
/// failures, for Up one success out of Unknown, else `rise` in a row.
fn holds_the_evidence(monitor: &Monitor, outcomes: &[(u16, bool)]) -> Result<[bool; 5], TestCaseError> {
    let mut detector = Detector::new(monitor);
    let (mut now, mut failures, mut run) = (Moment::START, 0, 0);
    // Unknown, Up, Suspect (wants verification), Down, held.
    let mut seen = [false; 5];
    for (gap_ms, is_success) in outcomes {
        now = now + u32::from(*gap_ms) * MS;
        (failures, run) = if *is_success { (failures, run + 1) } else { (failures + 1, 0) };
        let began = now;
        let event = if *is_success { Event::Success { rtt: 9 * MS } } else { Event::Failure { began } };
        let was_held = detector.damping().is_held();
        match detector.step(event, now) {
            Some(Transition { from: Health::Unknown, to: Health::Up }) => prop_assert!(run >= 1),
            Some(Transition { to: Health::Up, .. }) => {
                prop_assert!(run >= monitor.rise && !detector.damping().is_held());
                failures = 0;
            }
            Some(Transition { to: Health::Down, .. }) => {
                prop_assert!(failures >= monitor.fall);
                failures = 0;
            }
            Some(Transition { to: Health::Unknown, .. }) => prop_assert!(false, "Unknown after it was tried"),
            None if run >= monitor.rise && detector.health() == Health::Up => failures = 0,
            None => {}
        }
        prop_assert!(was_held || !detector.damping().is_held() || !*is_success, "held without a fall");
        prop_assert!(!detector.damping().is_held() || detector.health() == Health::Down);
        prop_assert!(detector.backoff() == 1 || (detector.health() == Health::Down && !*is_success));
        let suspect = detector.health() == Health::Up && detector.deadline().is_some();
        let plain = |health| detector.health() == health && !suspect && !detector.damping().is_held();
        let now_in =
            [plain(Health::Unknown), plain(Health::Up), suspect, plain(Health::Down), detector.damping().is_held()];
        seen.iter_mut().zip(now_in).for_each(|(seen, is_in)| *seen |= is_in);
    }
    Ok(seen)
}

#[test]
fn every_state_is_reached_and_left() {
    let outcomes = |words: &str| -> Vec<(u16, bool)> {
        words.chars().map(|c| (if c == 'w' { 60_000 } else { 1000 }, c != 'F')).collect()
    };
    let all: Vec<(u16, bool)> = outcomes("FSSFSSFFFSSFFFSSwwwwF");
    let monitor = defaults();
    assert_eq!(holds_the_evidence(&monitor, &all).expect("held"), [true; 5]);
    let mut detector = Detector::new(&monitor);
    let mut now = Moment::START;
    for (gap_ms, is_success) in all {
        now = now + u32::from(gap_ms) * MS;
        detector.step(if is_success { Event::Success { rtt: MS } } else { Event::Failure { began: now } }, now);
    }
    assert_eq!((detector.health(), detector.damping().is_held()), (Health::Up, false), "out of every one of them");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_flips_every_three_seconds_is_damped_and_stays_out(
        offset_ms in 0u32..10_000, refused: bool, interval_ms in prop_oneof![Just(1000u32), 100u32..1000],
    ) {
        let monitor = Monitor { interval: interval_ms * MS, ..defaults() };
        let transitions = flipping(&monitor, 3000 * MS, offset_ms * MS, refused);
        prop_assert!(transitions.len() <= 4, "{transitions:?}");
        prop_assert!(transitions.last().is_some_and(|(_, last)| last.to == Health::Down));
        let undamped = flipping(&Monitor { damping: false, ..monitor }, 3000 * MS, offset_ms * MS, refused);
        prop_assert!(undamped.len() > 40, "it is damping that does it");
    }

    #[test]
    fn a_single_outage_of_any_length_is_not_damped_and_its_end_is_seen_in_time(
        outage_ms in 3_000u32..1_000_000, interval_ms in 50u32..3000, refused: bool,
    ) {
        let monitor = Monitor { interval: interval_ms * MS, ..defaults() };
        let (death, birth) = (Moment::START + 10_000 * MS, Moment::START + 10_000 * MS + outage_ms * MS);
        let end = birth + Duration::from_secs(120);
        let transitions = run(&monitor, 2, end, |now, _| match now >= death && now < birth {
            true => (if refused { MS } else { monitor.timeout }, None),
            false => (5 * MS, Some(5 * MS)),
        });
        let ups: Vec<Moment> = transitions
            .iter()
            .filter(|(at, transition)| transition.to == Health::Up && *at >= birth)
            .map(|(at, _)| *at)
            .collect();
        let downs = transitions.iter().filter(|(_, transition)| transition.to == Health::Down).count();
        prop_assert!(downs == ups.len() && downs <= 2, "{transitions:?}");
        let rarest = (8 * monitor.interval).min(Duration::from_secs(30));
        // The last probe of the outage may have begun just before its end, and ends up to a time-out later.
        let bound = rarest.max(monitor.interval) + monitor.interval + monitor.timeout + 10 * MS;
        for at in ups {
            prop_assert!(at.since(birth) <= bound, "{:?} after it was back, over {:?}", at.since(birth), bound);
        }
    }

    #[test]
    fn no_verdict_changes_without_its_evidence(
        fall in 1u32..5, rise in 1u32..5, outcomes in prop::collection::vec((1u16..3000, any::<bool>()), 1..300),
    ) {
        holds_the_evidence(&Monitor { fall, rise, ..defaults() }, &outcomes)?;
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
        // A probe that began while it lived may still end well just after, and clear nothing that matters.
        let bound = monitor.interval + verified + rtt + MS * fall;
        let downs: Vec<_> = transitions.iter().filter(|(_, transition)| transition.to == Health::Down).collect();
        prop_assert_eq!(downs.len(), 3);
        for (at, _) in downs {
            prop_assert!(at.since(death) <= bound, "{:?} after its death, over {:?}", at.since(death), bound);
        }
    }

    #[test]
    fn detection_is_never_slower_than_the_numbers_say(
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
        // A probe that began while it lived may still end well just after, and is what comes up is held from.
        let bound = timing.worst_detection() + rtt;
        let downs: Vec<_> = transitions.iter().filter(|(_, transition)| transition.to == Health::Down).collect();
        prop_assert_eq!(downs.len(), 3);
        for (at, _) in downs {
            prop_assert!(at.since(death) <= bound, "{:?} after its death, over {:?}", at.since(death), bound);
        }
    }

    #[test]
    fn a_silent_one_is_down_within_fall_intervals_and_a_time_out(
        interval_ms in 50u32..2000, timeout_ms in 20u32..2000, fall in 1u32..5, death_ms in 0u32..10_000,
    ) {
        // Verification needs MIN_SPACING between probes; the bound holds where intervals leave that much.
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
