//! What the schedule and the detectors cost a probe, in simulated time: a minute of so many checks at an interval of a
//! second, all of which answer after 5 ms. `turns [CHECKS...]`; the usual are 1,000, 10,000 and 50,000. Told are probes,
//! nanoseconds of processor time for each, and the coefficient of variation of their number in slots of 10 ms.

use std::collections::{HashMap, VecDeque};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use portolan::health::{Detector, Event, Schedule, SlotId};
use portolan::model::{Moment, Monitor, ProbeKind};

/// A check's first probe is out of turn: what is counted comes after those.
const SETTLED: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
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
        // The first run warms the allocator up.
        let best = (0..5).map(|_| minute(checks)).min_by_key(|run| run.took).expect("five runs");
        let each = best.took.as_secs_f64() * 1e9 / best.probes as f64;
        println!("{checks:6} checks {:8} probes {each:7.0} ns each, spread {:.3}", best.probes, best.spread);
    }
    ExitCode::SUCCESS
}

struct Run {
    probes: usize,
    took: Duration,
    spread: f64,
}

fn minute(checks: usize) -> Run {
    let monitor = Monitor::new(ProbeKind::Tcp);
    let mut schedule = Schedule::new(checks.max(1));
    let slots = schedule.add(&vec![monitor.interval; checks], Moment::START);
    let mut detectors: HashMap<SlotId, Detector> =
        slots.into_iter().map(|slot| (slot, Detector::new(&monitor))).collect();
    // All take as long, so that they end in the order of their beginnings.
    let mut under_way: VecDeque<(Moment, SlotId)> = VecDeque::new();
    let (from, end) = (Moment::START + SETTLED, Moment::START + SETTLED + MINUTE);
    let mut in_slot = vec![0u32; (MINUTE.as_nanos() / SLOT.as_nanos()) as usize];
    let (mut probes, mut began) = (0, None);
    loop {
        let ending = under_way.front().map(|(at, _)| *at);
        let Some(now) = [schedule.next_due(), ending].into_iter().flatten().min().filter(|now| *now < end) else {
            break;
        };
        if now >= from && began.is_none() {
            began = Some(started());
        }
        while let Some(slot) = schedule.take(now) {
            under_way.push_back((now + RTT, slot));
            if now >= from {
                probes += 1;
                in_slot[(now.since(from).as_nanos() / SLOT.as_nanos()) as usize] += 1;
            }
        }
        while let Some((at, slot)) = under_way.front().copied().filter(|(at, _)| *at <= now) {
            under_way.pop_front();
            schedule.ended(slot);
            let Some(detector) = detectors.get_mut(&slot) else { continue };
            detector.step(Event::Success { rtt: RTT }, at);
            schedule.want(slot, detector.deadline());
            schedule.back_off(slot, detector.backoff(), at);
        }
    }
    Run { probes, took: began.map_or(Duration::ZERO, |began| began.elapsed()), spread: spread(&in_slot) }
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn started() -> Instant {
    Instant::now()
}

/// Standard deviation by mean.
fn spread(counts: &[u32]) -> f64 {
    let count = counts.len() as f64;
    let mean = counts.iter().copied().map(f64::from).sum::<f64>() / count;
    let variance = counts.iter().map(|n| (f64::from(*n) - mean).powi(2)).sum::<f64>() / count;
    variance.sqrt() / mean
}
