//! The cost of the schedule and the detectors for each probe. Simulates a minute of checks with an interval of a second
//! that all answer after 5 ms. `turns [CHECKS...]`; the default is 1,000, 10,000 and 50,000 checks. Prints the number
//! of probes, the processor time for each in nanoseconds, and the coefficient of variation of their number in slots of
//! 10 ms. `valgrind --tool=callgrind --toggle-collect='turns::play*'` counts the instructions.

use std::collections::{HashMap, VecDeque};
use std::process::ExitCode;
use std::time::Duration;

use portolan::health::{Detector, DetectorEvent, Schedule, SlotId};
use portolan::model::{Moment, Monitor, ProbeKind};

/// The time of the first probes, which are extra turns and are not counted.
const SETTLED: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
/// The first run warms up the allocator. The best run is printed.
const RUNS: usize = 5;
const SLOT: Duration = Duration::from_millis(10);
const RTT: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let usual = ["1000", "10000", "50000"].map(str::to_owned).to_vec();
    let sizes: Result<Vec<usize>, _> =
        if wanted.is_empty() { usual } else { wanted }.iter().map(|n| n.parse()).collect();
    let Ok(sizes) = sizes else {
        eprintln!("usage: turns [CHECKS...]");
        return ExitCode::from(2);
    };
    for checks in sizes {
        let runs = (0..RUNS).map(|_| {
            let mut world = World::new(checks);
            let before = spent();
            let in_slot = play(&mut world);
            (spent() - before, in_slot)
        });
        let (took, in_slot) = runs.min_by_key(|(took, _)| *took).expect("more runs than none");
        let probes: u32 = in_slot.iter().sum();
        let each = took.as_secs_f64() * 1e9 / f64::from(probes);
        println!("{checks:6} checks {probes:8} probes {each:7.0} ns each, spread {:.3}", spread(&in_slot));
    }
    ExitCode::SUCCESS
}

struct World {
    now: Moment,
    schedule: Schedule,
    detectors: HashMap<SlotId, Detector>,
    /// The probes under way. All take the same time, so they end in the order of their beginnings.
    under_way: VecDeque<(Moment, SlotId)>,
}

impl World {
    /// A world after the first round.
    fn new(checks: usize) -> World {
        let monitor = Monitor::new(ProbeKind::Tcp);
        let mut schedule = Schedule::new(checks.max(1));
        let slots = schedule.add(&vec![monitor.interval; checks], Moment::START);
        let detectors = slots.into_iter().map(|slot| (slot, Detector::new(&monitor))).collect();
        let mut world = World { now: Moment::START, schedule, detectors, under_way: VecDeque::new() };
        world.run(Moment::START + SETTLED, |_| {});
        world
    }

    /// Probes until `end`, and calls `begins` at the beginning of each probe.
    fn run(&mut self, end: Moment, mut begins: impl FnMut(Moment)) {
        loop {
            let ending = self.under_way.front().map(|(at, _)| *at);
            let next = [self.schedule.next_due(), ending].into_iter().flatten().min();
            let Some(now) = next.filter(|now| *now < end) else { break };
            while let Some(slot) = self.schedule.take_due(now) {
                self.under_way.push_back((now + RTT, slot));
                begins(now);
            }
            while let Some((at, slot)) = self.under_way.front().copied().filter(|(at, _)| *at <= now) {
                self.under_way.pop_front();
                self.schedule.ended(slot);
                let Some(detector) = self.detectors.get_mut(&slot) else { continue };
                detector.step(DetectorEvent::Success { rtt: RTT }, at);
                self.schedule.set_extra_turn(slot, detector.deadline());
                self.schedule.back_off(slot, detector.backoff(), at);
            }
        }
        self.now = end;
    }
}

/// Runs a minute. Returns how many probes begin in each slot of it.
#[inline(never)]
fn play(world: &mut World) -> Vec<u32> {
    let from = world.now;
    let mut in_slot = vec![0; (MINUTE.as_nanos() / SLOT.as_nanos()) as usize];
    world.run(from + MINUTE, |at| in_slot[(at.since(from).as_nanos() / SLOT.as_nanos()) as usize] += 1);
    in_slot
}

/// The time that this thread has run. Linux only.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the scheduler's counts");
    let nanos = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

/// The standard deviation divided by the mean.
fn spread(counts: &[u32]) -> f64 {
    let count = counts.len() as f64;
    let mean = counts.iter().copied().map(f64::from).sum::<f64>() / count;
    let variance = counts.iter().map(|n| (f64::from(*n) - mean).powi(2)).sum::<f64>() / count;
    variance.sqrt() / mean
}
