//! Services judged by the rhythm of their beats, over hours of simulated time.

use proptest::prelude::*;

use super::*;
use crate::health::phi::MIN_GAPS;
use crate::model::heartbeat::MAX_PHI;
use crate::model::{HeartbeatSpec, ProbeKind};

const MS: Duration = Duration::from_millis(1);
const TTL: u32 = 10_000;
const NEVER: [Duration; 0] = [];

fn heartbeat(threshold: u32) -> Heartbeat {
    let (zone, endpoint) = ("svc.example.".to_owned(), "fra1".to_owned());
    let spec = HeartbeatSpec { zone, endpoint, ttl: TTL * MS, longest: TTL * MS, phi: Some(threshold) };
    let monitor = Monitor { rise: 1, damping: false, ..Monitor::new(ProbeKind::Heartbeat(spec)) };
    Heartbeat::new(&monitor, TTL * MS, Moment::START)
}

/// A heartbeat check in simulated time.
struct Scene {
    heartbeat: Heartbeat,
    now: Moment,
    /// For each time that it went down: how long after the last beat.
    downs: Vec<Duration>,
}

impl Scene {
    /// A check after beats with these gaps, in ms.
    fn after(threshold: u32, gaps: impl IntoIterator<Item = u32>) -> Scene {
        let mut scene = Scene { heartbeat: heartbeat(threshold), now: Moment::START, downs: Vec::new() };
        scene.beat();
        gaps.into_iter().for_each(|gap| scene.next(gap));
        scene
    }

    fn beat(&mut self) {
        self.heartbeat.receive(Sign::Alive { ttl: TTL * MS }, self.now);
        assert_eq!(self.heartbeat.health(), Health::Up, "a beat makes it up at once");
    }

    /// Another beat after this many ms.
    fn next(&mut self, gap: u32) {
        self.pass(gap);
        self.beat();
    }

    /// Advances the time by this many ms, deadline by deadline.
    fn pass(&mut self, ms: u32) {
        let end = self.now + ms * MS;
        while let Some(due) = self.heartbeat.deadline().filter(|due| *due < end) {
            if self.heartbeat.advance(due).is_some_and(|changed| changed.to == Health::Down) {
                self.downs.push(due.since(self.heartbeat.last().expect("a beat").0));
            }
        }
        self.now = end;
    }

    fn patience(&self) -> Option<u128> {
        self.heartbeat.patience().map(|patience| patience.as_millis())
    }
}

fn steady(gap: u32, count: usize) -> impl Iterator<Item = u32> {
    std::iter::repeat_n(gap, count)
}

/// Pseudo-random numbers from 0 to 1, the same each time (G. Marsaglia: Xorshift RNGs, 2003).
fn chance(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The gaps of a service that beats every `gap` ms, over a network with a delay of up to `jitter` times the gap.
fn jittered(seed: u64, gap: u32, jitter: f64, count: usize) -> Vec<u32> {
    let mut chance = chance(seed);
    let mut delay = 0.0;
    let mut next = || {
        let before = std::mem::replace(&mut delay, chance() * jitter * f64::from(gap));
        (f64::from(gap) + delay - before).max(0.0) as u32
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn jitter_causes_no_verdict_in_hours() {
    for seed in 1..=8 {
        for (gap, jitter) in [(200, 0.3), (1000, 0.5), (1000, 0.9), (3000, 0.7)] {
            let count = 4 * 3_600_000 / gap as usize;
            let scene = Scene::after(8, jittered(seed, gap, jitter, count));
            assert_eq!(scene.downs, NEVER, "seed {seed}: every {gap} ms, {jitter} of that in jitter");
            assert!(
                scene.patience().is_some_and(|patience| patience < u128::from(4 * gap + 400)),
                "{:?}",
                scene.patience()
            );
        }
    }
}

#[test]
fn a_stop_is_found_by_the_rhythm_before_the_ttl_ends() {
    for seed in 1..=20 {
        let mut scene = Scene::after(8, jittered(seed, 1000, 0.3, 500));
        scene.pass(60_000);
        assert_eq!(scene.downs.len(), 1, "seed {seed}");
        let took = scene.downs[0].as_millis();
        assert!((2300..2500).contains(&took), "seed {seed}: the mean and 5.6 deviations, not {took} ms");
    }
}

#[test]
fn one_lost_beat_causes_no_verdict() {
    let mut scene = Scene::after(8, steady(1000, 50));
    scene.next(2000);
    steady(1000, 50).for_each(|gap| scene.next(gap));
    assert_eq!(scene.downs, NEVER);
}

#[test]
fn the_ttl_decides_until_the_rhythm_is_known() {
    let mut scene = Scene::after(8, steady(1000, MIN_GAPS - 1));
    assert_eq!(scene.patience(), None);
    scene.pass(20_000);
    assert_eq!(scene.downs, [TTL * MS]);
}

#[test]
fn a_beat_never_counts_longer_than_its_ttl() {
    let mut scene = Scene::after(16, steady(5000, 50));
    assert!(scene.patience().is_some_and(|patience| patience > u128::from(TTL)));
    scene.pass(60_000);
    assert_eq!(scene.downs, [TTL * MS]);
}

#[test]
fn an_outage_is_no_part_of_the_rhythm() {
    let mut scene = Scene::after(8, steady(1000, 100));
    let before = scene.patience();
    scene.next(3_600_000);
    assert_eq!(scene.patience(), None, "after an outage the rhythm may be another");
    steady(1000, MIN_GAPS).for_each(|gap| scene.next(gap));
    assert_eq!((scene.patience(), scene.downs.len()), (before, 1), "found as soon as before");
}

#[test]
fn a_rhythm_that_changes_is_learned() {
    let mut slower = Scene::after(8, (0..300).map(|nth| 1000 + nth * 10));
    assert_eq!(slower.downs, NEVER, "gradually: no verdict");
    slower.pass(60_000);
    let mut sudden = Scene::after(8, steady(1000, 100).chain(steady(3000, 500)));
    assert_eq!(sudden.downs.len(), 1, "suddenly: one verdict, and then it is known");
    sudden.pass(60_000);
    assert_eq!(sudden.downs.last().map(Duration::as_millis), Some(7209), "3 s and 5.61 floors of 750 ms");
}

#[test]
fn with_another_ttl_the_rhythm_is_learned_again() {
    let mut scene = Scene::after(8, steady(1000, 100));
    scene.now = scene.now + 1000 * MS;
    scene.heartbeat.receive(Sign::Alive { ttl: 60_000 * MS }, scene.now);
    assert_eq!(scene.patience(), None);
    scene.pass(50_000);
    assert_eq!(scene.downs, NEVER, "it announced a longer ttl");
}

#[test]
fn a_gap_without_reception_is_no_part_of_the_rhythm() {
    let mut scene = Scene::after(8, steady(1000, 100));
    let before = scene.patience();
    scene.now = scene.now + 120_000 * MS;
    scene.heartbeat.restart_ttl(scene.now);
    scene.next(4000);
    assert_eq!((scene.patience(), scene.downs.len()), (before, 0));
    scene.pass(60_000);
    assert_eq!(scene.downs.last().map(Duration::as_millis), before, "and silence counts again");
}

proptest! {
    #[test]
    fn it_is_down_when_phi_or_the_ttl_says_so_and_not_before(
        threshold in 1..=MAX_PHI,
        gaps in prop::collection::vec(prop_oneof![9 => 0u32..3000, 1 => 3000u32..20_000], 0..200),
    ) {
        let mut scene = Scene::after(threshold, []);
        for gap in gaps.into_iter().chain([60_000]) {
            let expected = scene.heartbeat.patience().map_or(TTL * MS, |patience| patience.min(TTL * MS));
            let before = scene.downs.len();
            scene.next(gap);
            match scene.downs.get(before) {
                Some(down) => prop_assert_eq!(*down, expected, "by phi {} or the ttl", threshold),
                None => prop_assert!(gap * MS <= expected, "{gap} ms of silence were too much after {expected:?}"),
            }
        }
    }

    #[test]
    fn a_higher_threshold_is_never_down_sooner_or_more_often_by_a_stop(
        threshold in 1..MAX_PHI, gaps in prop::collection::vec(900u32..1100, MIN_GAPS..200),
    ) {
        let [low, high] = [threshold, threshold + 1].map(|threshold| {
            let mut scene = Scene::after(threshold, gaps.clone());
            scene.pass(60_000);
            scene.downs
        });
        prop_assert_eq!((low.len(), high.len()), (1, 1));
        prop_assert!(low[0] < high[0]);
    }
}
