//! Schedule, pace and detectors together, in simulated time, against worlds that lose packets and die. Minutes of
//! probing run in milliseconds; nothing here reads a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::*;

use crate::health::{Detector, Event, Pace, Rtt, Schedule, SlotId, Transition};
use crate::model::{Health, Moment, Monitor, ProbeKind, Timing};

const MS: Duration = Duration::from_millis(1);

fn defaults() -> Monitor {
    Monitor::new(ProbeKind::Tcp)
}

/// How a probe that begins now will end: after how long, and the round-trip time if well.
type Ending = (Duration, Option<Duration>);

/// Probes `checks` checks of one monitor until `end`, in a world that says how each probe ends.
fn run(
    monitor: &Monitor,
    checks: usize,
    end: Moment,
    mut world: impl FnMut(Moment, &Rtt) -> Ending,
) -> Vec<(Moment, Transition)> {
    let mut schedule = Schedule::new(100_000);
    let slots = schedule.add(&vec![monitor.interval; checks], Moment::START);
    let mut detectors: HashMap<SlotId, Detector> =
        slots.into_iter().map(|slot| (slot, Detector::new(monitor))).collect();
    let mut endings = BinaryHeap::new();
    let mut transitions = Vec::new();
    loop {
        let next_ending =
            endings.peek().map(|Reverse((at, ..)): &Reverse<(Moment, SlotId, Moment, Option<Duration>)>| *at);
        let Some(now) = [schedule.next_due(), next_ending].into_iter().flatten().min().filter(|now| *now <= end) else {
            return transitions;
        };
        while let Some(slot) = schedule.take(now) {
            let (took, rtt) = world(now, detectors[&slot].rtt());
            endings.push(Reverse((now + took, slot, now, rtt)));
        }
        if next_ending == Some(now) {
            let Some(Reverse((_, slot, began, rtt))) = endings.pop() else { continue };
            schedule.ended(slot);
            let event = rtt.map_or(Event::Failure { began }, |rtt| Event::Success { rtt });
            let Some(detector) = detectors.get_mut(&slot) else { continue };
            transitions.extend(detector.step(event, now).map(|transition| (now, transition)));
            schedule.want(slot, detector.deadline());
        }
    }
}

/// A path that loses each packet, either way, with probability `loss`, and takes 20 to 80 ms for one that it keeps.
fn over_lossy_path(chance: &mut Rng, loss: f64, timeout: Duration, rtt: &Rtt) -> Ending {
    let pace = Pace::light(timeout, rtt);
    let answers = (0..).map_while(|nth| pace.start_of(nth)).filter_map(|start| {
        let is_kept = chance.f64() >= loss && chance.f64() >= loss;
        let rtt = Duration::from_secs_f64(0.040 + 0.060 * (chance.f64() + chance.f64()));
        is_kept.then_some((start + rtt, Some(rtt)))
    });
    answers.min().filter(|(took, _)| *took < timeout).unwrap_or((timeout, None))
}

#[test]
fn at_20_percent_loss_and_jitter_ten_minutes_pass_without_a_transition() {
    let monitor = defaults();
    for seed in 0..40 {
        let mut chance = Rng::with_seed(seed);
        let end = Moment::START + Duration::from_secs(600);
        let transitions = run(&monitor, 1, end, |_, rtt| over_lossy_path(&mut chance, 0.2, monitor.timeout, rtt));
        let to: Vec<Health> = transitions.iter().map(|(_, transition)| transition.to).collect();
        assert_eq!(to, [Health::Up], "seed {seed}: {transitions:?}");
    }
}

#[test]
fn an_adaptive_time_out_is_not_fooled_by_loss_either() {
    let monitor = Monitor { adaptive: true, timeout: 1000 * MS, ..defaults() };
    for seed in 0..40 {
        let mut chance = Rng::with_seed(seed);
        let end = Moment::START + Duration::from_secs(600);
        let transitions = run(&monitor, 1, end, |_, rtt| over_lossy_path(&mut chance, 0.2, rtt.timeout(&monitor), rtt));
        let to: Vec<Health> = transitions.iter().map(|(_, transition)| transition.to).collect();
        assert_eq!(to, [Health::Up], "seed {seed}: {transitions:?}");
    }
}

#[test]
fn a_path_that_loses_nearly_all_is_down() {
    let monitor = defaults();
    let mut chance = Rng::with_seed(1);
    let end = Moment::START + Duration::from_secs(60);
    let transitions = run(&monitor, 1, end, |_, rtt| over_lossy_path(&mut chance, 0.9, monitor.timeout, rtt));
    assert!(transitions.iter().any(|(_, transition)| transition.to == Health::Down), "{transitions:?}");
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

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
