//! Measures the messages of a fleet in simulated seconds: `fleet_messages [VANTAGES] [CHECKS]`, 50 and 10,000 without
//! arguments. Each vantage observes all checks each second; after some seconds a fifth of the checks dies. Prints the
//! octets of a second, and the processor time of a second for one vantage that writes messages and for a server that
//! reads those of all vantages. `fleet` measures what follows in a server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan::fleet::{CheckHash, Collector, Vantage, VantageReporter};
use portolan::health::Observation;
use portolan::model::{CheckKey, Doubt, Health, Moment, Monitor, ProbeKind, ProbeTarget};

const PEACE: u64 = 20;
const OUTAGE: u64 = 10;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |usual: usize| args.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (vantages, checks) = (number(50), number(10_000));
    let plan: Vec<(CheckHash, Arc<CheckKey>)> = (0..checks).map(check).collect();
    let start = Moment::from_start(Duration::from_secs(86_400));
    let mut collector = Collector::new(Vec::new());
    collector.adopt(plan.clone(), start);
    let vantage = |nth: usize| Vantage { name: format!("v{nth}").into(), region: format!("r{}", nth % 5).into() };
    let mut fleet: Vec<(Vantage, VantageReporter)> =
        (0..vantages).map(|nth| (vantage(nth), VantageReporter::new(nth as u64, start))).collect();
    fleet.iter_mut().for_each(|(_, reporter)| reporter.adopt(&plan));
    for (name, from, to) in [("start", 0, 10), ("peace", 10, 10 + PEACE), ("outage", 10 + PEACE, 10 + PEACE + OUTAGE)] {
        let (mut octets, mut most, mut observations) = (0, 0, 0);
        let (mut writing, mut reading) = (Duration::ZERO, Duration::ZERO);
        for sec in from..to {
            let mut of_second = 0;
            let is_down = |nth: usize| name == "outage" && nth.is_multiple_of(5);
            for tenth in 0..10u32 {
                let now = start + Duration::from_secs(sec) + Duration::from_millis(100) * tenth;
                let seen: Vec<Observation> = match tenth {
                    0 => plan.iter().enumerate().map(|(nth, (_, key))| observation(key, is_down(nth), now)).collect(),
                    _ => Vec::new(),
                };
                for (vantage, reporter) in &mut fleet {
                    let before = processor_time();
                    reporter.observe(&seen, None, now);
                    let messages = reporter.advance(now);
                    let written = processor_time();
                    for message in &messages {
                        of_second += message.len();
                        let report = collector.receive(vantage, message, now).expect("a message in order");
                        observations += report.map_or(0, |report| report.observations.len());
                    }
                    writing += written - before;
                    reading += processor_time() - written;
                }
            }
            octets += of_second;
            most = most.max(of_second);
        }
        let secs = (to - from) as u32;
        println!(
            "{name}: {} octets a second, {most} at most, {} observations a second; processor time of a second: a vantage \
             {:.2} ms, the server {:.1} ms",
            octets / secs as usize,
            observations / secs as usize,
            writing.as_secs_f64() * 1000.0 / f64::from(secs) / vantages as f64,
            reading.as_secs_f64() * 1000.0 / f64::from(secs),
        );
    }
}

/// The processor time of this process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Checks with hashes that are spread as random ones.
fn check(nth: usize) -> (CheckHash, Arc<CheckKey>) {
    let [_, _, high, low] = (nth as u32 % 65_536).to_be_bytes();
    let target = ProbeTarget::Socket(SocketAddr::from(([10, 0, high, low], 80 + (nth / 65_536) as u16)));
    (
        CheckHash(portolan::placing::mix(nth as u64)),
        Arc::new(CheckKey { monitor: Monitor::new(ProbeKind::Tcp).into(), target }),
    )
}

fn observation(key: &Arc<CheckKey>, is_down: bool, now: Moment) -> Observation {
    Observation {
        key: key.clone(),
        health: if is_down { Health::Down } else { Health::Up },
        tried: true,
        srtt: (!is_down).then_some(Duration::from_micros(40_123)),
        rttvar: None,
        probed_at: Some(now - Duration::from_millis(500)),
        may_change_in: Duration::from_millis(2500),
        why: is_down.then(|| "no answer within 500 ms".into()),
        hold: None,
        doubt: Doubt::None,
        state: None,
    }
}
