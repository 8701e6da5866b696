//! A reporter and a collector over a network that loses, repeats, delays and reorders messages.

use std::collections::HashMap;
use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::fleet::VantageReporter;

/// The checks of the world.
const CHECKS: usize = 300;
/// A step of the simulated time.
const STEP: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
enum Step {
    /// The vantage observes these with this health.
    Observe(Range<usize>, Health),
    /// The vantage has another plan.
    PlanOfVantage(Range<usize>),
    /// The server wants other checks.
    PlanOfServer(Range<usize>),
    /// The vantage is started anew: it observes its plan again.
    Restart,
    /// The network loses so many of 10 messages, for this number of steps.
    Loss(u8, usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let range = || (0..CHECKS, 1..CHECKS).prop_map(|(start, count)| start..(start + count).min(CHECKS));
    let health = prop::sample::select(vec![Health::Up, Health::Down, Health::Unknown]);
    prop_oneof![
        4 => (range(), health).prop_map(|(checks, health)| Step::Observe(checks, health)),
        1 => range().prop_map(Step::PlanOfVantage),
        1 => range().prop_map(Step::PlanOfServer),
        1 => Just(Step::Restart),
        4 => (0u8..=10, 0usize..60).prop_map(|(tenths, steps)| Step::Loss(tenths, steps)),
    ]
}

/// A vantage, a server, and the messages between them.
struct World {
    now: Moment,
    chance: u64,
    boot: u64,
    reporter: VantageReporter,
    plan: Range<usize>,
    health: Vec<Health>,
    collector: Collector,
    wanted: Range<usize>,
    /// What the server believes.
    believed: HashMap<Arc<CheckKey>, Health>,
    /// Messages under way with the time of their arrival.
    reports: Vec<(Moment, Vec<u8>)>,
    asks: Vec<(Moment, Ask)>,
}

impl World {
    fn new(seed: u64) -> World {
        let now = at(1000);
        let mut world = World {
            now,
            chance: seed,
            boot: 100,
            reporter: VantageReporter::new(100, now),
            plan: 0..0,
            health: vec![Health::Up; CHECKS],
            collector: Collector::default(),
            wanted: 0..0,
            believed: HashMap::new(),
            reports: Vec::new(),
            asks: Vec::new(),
        };
        world.step(&Step::PlanOfServer(0..CHECKS));
        world.step(&Step::PlanOfVantage(0..CHECKS));
        world
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % bound
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Observe(checks, health) => {
                self.health[checks.clone()].fill(*health);
                self.observe(checks.clone());
            }
            Step::PlanOfVantage(checks) => {
                self.plan = checks.clone();
                self.reporter.adopt(&plan(CHECKS)[checks.clone()]);
                self.observe(0..CHECKS);
            }
            Step::PlanOfServer(checks) => {
                self.wanted = checks.clone();
                self.collector.adopt(plan(CHECKS)[checks.clone()].to_vec(), self.now);
                let wanted: Vec<Arc<CheckKey>> = checks.clone().map(key).collect();
                self.believed.retain(|key, _| wanted.contains(key));
            }
            Step::Restart => {
                self.boot += 1;
                self.reporter = VantageReporter::new(self.boot, self.now);
                self.run(10, 2);
                self.step(&Step::PlanOfVantage(self.plan.clone()));
            }
            Step::Loss(tenths, steps) => self.run(*tenths, *steps),
        }
    }

    fn observe(&mut self, checks: Range<usize>) {
        let observations: Vec<Observation> =
            checks.map(|nth| observation(&key(nth), self.health[nth], self.now)).collect();
        self.reporter.observe(&observations, None, self.now);
    }

    /// When a message arrives: never, or once or twice, up to two steps later. A network that loses nothing keeps the
    /// order too.
    fn arrivals(&mut self, loss: u8) -> Vec<Moment> {
        if loss == 0 {
            return vec![self.now + STEP];
        }
        let copies = if self.below(10) < u64::from(loss) { 0 } else { 1 + self.below(10) / 9 };
        (0..copies).map(|_| self.now + STEP * u32::try_from(self.below(3)).unwrap()).collect()
    }

    fn run(&mut self, loss: u8, steps: usize) {
        for _ in 0..steps {
            self.reporter.observe(&[], None, self.now);
            for octets in self.reporter.advance(self.now) {
                let copies = self.arrivals(loss).into_iter().map(|at| (at, octets.clone()));
                self.reports.extend(copies.collect::<Vec<_>>());
            }
            for octets in due(&mut self.reports, self.now) {
                if let Ok(Some(report)) = self.collector.receive(&vantage("fra"), &octets, self.now) {
                    for seen in &report.observations {
                        self.believed.insert(Arc::clone(&seen.key), seen.health);
                    }
                    for key in &report.removed {
                        self.believed.remove(key);
                    }
                }
            }
            for (_, ask) in self.collector.asks(self.now) {
                let copies = self.arrivals(loss).into_iter().map(|at| (at, ask));
                self.asks.extend(copies.collect::<Vec<_>>());
            }
            for ask in due(&mut self.asks, self.now) {
                self.reporter.receive(ask);
            }
            self.now = self.now + STEP;
        }
    }
}

/// Takes the messages that have arrived.
fn due<T: Clone>(under_way: &mut Vec<(Moment, T)>, now: Moment) -> Vec<T> {
    let (here, later): (Vec<_>, Vec<_>) = under_way.drain(..).partition(|(at, _)| *at <= now);
    *under_way = later;
    here.into_iter().map(|(_, message)| message).collect()
}

proptest! {
    #[test]
    fn after_two_periods_without_loss_the_server_knows_what_the_vantage_observes(
        seed in any::<u64>(), steps in prop::collection::vec(any_step(), 0..25),
    ) {
        let mut world = World::new(seed);
        for step in &steps {
            world.step(step);
        }
        // Two rounds of slices.
        world.run(0, 10_000 / 50);
        let both = world.plan.start.max(world.wanted.start)..world.plan.end.min(world.wanted.end);
        let expected: HashMap<Arc<CheckKey>, Health> = both.map(|nth| (key(nth), world.health[nth])).collect();
        let wrong = |nth: &usize| world.believed.get(&key(*nth)) != expected.get(&key(*nth));
        prop_assert_eq!((0..CHECKS).filter(wrong).collect::<Vec<_>>(), Vec::<usize>::new());
        let (_, remote) = world.collector.vantages().next().unwrap();
        prop_assert_eq!(remote.observed(), expected.len());
        prop_assert_eq!(world.collector.forget(world.now), []);
    }
}

#[test]
fn a_lost_change_is_known_within_two_seconds() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.run(0, 400);
        world.step(&Step::Observe(17..18, Health::Down));
        // The message of the change is lost.
        world.run(10, 1);
        world.run(0, 40);
        assert_eq!(world.believed.get(&key(17)), Some(&Health::Down), "seed {seed}");
    }
}
