//! Paths that lose packets: no kind of monitor may see an outage in them, at its defaults, and a real one must still be
//! seen. The paths lose 20 % of the packets each way and take 50 +- 30 ms each way, twice what a link with such figures
//! on one side does. What the kernels make of lost packets is Linux's.

use fastrand::Rng;

use super::*;
use crate::health::{NextStep, Pace};

/// Octets of a server's part of the TLS handshake, in packets: its certificate and that of its authority.
const FLIGHT: u32 = 3;

/// A path, and the server at its end.
struct Path {
    chance: Rng,
    loss: f64,
    /// Whether the process answers, not only its kernel.
    is_alive: bool,
}

impl Path {
    fn new(seed: u64) -> Path {
        Path { chance: Rng::with_seed(seed), loss: 0.2, is_alive: true }
    }

    /// One packet: how long it takes if it isn't lost.
    fn packet(&mut self) -> Option<Duration> {
        let takes = Duration::from_secs_f64(0.020 + 0.060 * self.chance.f64());
        (self.chance.f64() >= self.loss).then_some(takes)
    }

    /// A packet and its answer, as a SYN: what is lost comes again after a second, too late.
    fn handshake(&mut self) -> Option<Duration> {
        let there = self.packet();
        Some(there? + self.packet()?)
    }

    /// A question of one segment and an answer of `segments` on a connection that took `handshake` to open. Lost ones are
    /// sent again after the handshake's time and 200 ms or twice its time (Linux, tcp_rtt_estimator and TCP_RTO_MIN),
    /// then after twice that; or after a quarter more than a round trip where others were acknowledged (RFC 8985).
    fn exchange(&mut self, handshake: Duration, segments: u32) -> Option<Duration> {
        let patience = handshake + (2 * handshake).max(200 * MS);
        let there = self.until_kept(patience, patience)?;
        let first: Vec<Option<Duration>> = (0..segments).map(|_| self.packet()).collect();
        let soon = if first.iter().any(Option::is_some) { handshake * 5 / 4 } else { patience };
        let mut back = Duration::ZERO;
        for kept in first {
            back = back.max(match kept {
                Some(takes) => takes,
                None => soon + self.until_kept(patience, patience)?,
            });
        }
        self.is_alive.then_some(there + back)
    }

    fn until_kept(&mut self, mut patience: Duration, step: Duration) -> Option<Duration> {
        let mut sent = Duration::ZERO;
        for _ in 0..3 {
            if let Some(takes) = self.packet() {
                return Some(sent + takes);
            }
            sent += patience;
            patience += step;
        }
        None
    }

    /// One probe whose attempts are begun by `pace`: `asks` says how long a question takes on a connection that took so
    /// long, where there is any question.
    fn probe(
        &mut self,
        mut pace: Pace,
        timeout: Duration,
        asks: Option<fn(&mut Path, Duration) -> Option<Duration>>,
    ) -> (Duration, Found) {
        let mut connections: BinaryHeap<Reverse<(Duration, usize, Duration)>> = BinaryHeap::new();
        let mut took: HashMap<usize, Duration> = HashMap::new();
        // The answer that comes first: when, and its round-trip time.
        let mut answer: Option<(Duration, Duration)> = None;
        let mut now = Duration::ZERO;
        loop {
            let end = answer.map_or(timeout, |(at, _)| at.min(timeout));
            if now >= end {
                let is_well = answer.filter(|(at, _)| *at < timeout);
                let silent = || if pace.losses().is_some() { Found::Doubtful } else { Found::Failed };
                return (end, is_well.map_or_else(silent, |(_, rtt)| Found::Well(rtt)));
            }
            while let Some(Reverse((_, nth, handshake))) = connections.peek().copied().filter(|c| c.0.0 <= now) {
                connections.pop();
                pace.connected(nth, now);
                took.insert(nth, handshake);
            }
            match pace.next(now) {
                NextStep::Begin => {
                    let nth = pace.begun(now);
                    match (self.handshake(), asks) {
                        (Some(rtt), Some(_)) => connections.push(Reverse((now + rtt, nth, rtt))),
                        (Some(rtt), None) => answer = answer.into_iter().chain([(now + rtt, rtt)]).min(),
                        (None, _) => {}
                    }
                }
                NextStep::Request(nth) => {
                    pace.requested(nth, now);
                    let (Some(asks), Some(handshake)) = (asks, took.get(&nth)) else { continue };
                    let asked = asks(self, *handshake).map(|rtt| (now + rtt, *handshake + rtt));
                    answer = answer.into_iter().chain(asked).min();
                }
                NextStep::Wait(until) => {
                    let next = connections.peek().map(|Reverse((at, ..))| *at);
                    now = until.into_iter().chain(next).fold(end, Duration::min);
                }
            }
        }
    }

    fn tcp(&mut self, timeout: Duration, rtt: &Rtt) -> (Duration, Found) {
        self.probe(Pace::light(timeout, rtt), timeout, None)
    }

    fn http(&mut self, timeout: Duration, rtt: &Rtt) -> (Duration, Found) {
        self.probe(Pace::staged(timeout, rtt, 2), timeout, Some(|path, handshake| path.exchange(handshake, 1)))
    }

    fn https(&mut self, timeout: Duration, rtt: &Rtt) -> (Duration, Found) {
        let asks = |path: &mut Path, handshake| Some(path.exchange(handshake, FLIGHT)? + path.exchange(handshake, 1)?);
        self.probe(Pace::staged(timeout, rtt, 3), timeout, Some(asks))
    }
}

type Probe = fn(&mut Path, Duration, &Rtt) -> (Duration, Found);

/// Of how many of `runs` runs of ten minutes one or more transitions were seen after the first.
fn runs_with_a_flip(what: &str, monitor: &Monitor, probe: Probe, seeds: std::ops::Range<u64>) -> usize {
    let end = Moment::START + Duration::from_secs(600);
    let flips = seeds.clone().filter(|seed| {
        let mut path = Path::new(*seed);
        run(monitor, 1, end, |_, rtt| probe(&mut path, rtt.timeout(monitor), rtt)).len() > 1
    });
    let flips = flips.count();
    println!("{what}: {flips} of {} runs", seeds.count());
    flips
}

#[test]
fn at_20_percent_loss_and_jitter_ten_minutes_pass_without_a_transition() {
    let monitor = defaults();
    for (what, probe) in [("tcp", Path::tcp as Probe), ("http", Path::http), ("https", Path::https)] {
        assert_eq!(runs_with_a_flip(what, &monitor, probe, 0..40), 0, "{what}");
    }
}

/// A time-out that adapts is shorter when the first packets get lost. Of 400 runs 2, 1 and 3 saw a transition when this was
/// written.
#[test]
fn an_adaptive_time_out_is_hardly_ever_fooled_by_loss() {
    let monitor = Monitor { adaptive: true, timeout: 1000 * MS, ..defaults() };
    for (what, probe) in [("tcp", Path::tcp as Probe), ("http", Path::http), ("https", Path::https)] {
        assert_eq!(runs_with_a_flip(what, &monitor, probe, 0..40), 0, "{what}");
    }
}

#[test]
#[ignore = "takes two minutes; prints how rare a transition is: 0, 0 and 5 of 400 runs when this was written"]
fn of_four_hundred_runs_next_to_none_sees_one() {
    let monitor = defaults();
    for (what, probe, most) in [("tcp", Path::tcp as Probe, 1), ("http", Path::http, 0), ("https", Path::https, 8)] {
        assert!(runs_with_a_flip(what, &monitor, probe, 0..400) <= most, "{what}");
    }
}

#[test]
fn a_path_that_loses_nearly_all_is_down() {
    let monitor = defaults();
    let end = Moment::START + Duration::from_secs(60);
    for probe in [Path::tcp as Probe, Path::http, Path::https] {
        let mut path = Path { loss: 0.9, ..Path::new(1) };
        let transitions = run(&monitor, 1, end, |_, rtt| probe(&mut path, monitor.timeout, rtt));
        assert!(transitions.iter().any(|(_, transition)| transition.to == Health::Down), "{transitions:?}");
    }
}

/// A process that is stopped still shakes hands. Where its path loses packets that takes up to twice as long to
/// tell, and no longer.
#[test]
fn a_stopped_process_behind_a_lossy_path_is_down_soon() {
    let monitor = defaults();
    let death = Moment::START + Duration::from_secs(60);
    for (loss, within) in [(0.0, 2500), (0.2, 4000)] {
        for seed in 0..40 {
            let mut path = Path { loss, ..Path::new(seed) };
            let end = death + 10_000 * MS;
            let transitions = run(&monitor, 1, end, |now, rtt| {
                path.is_alive = now < death;
                path.http(monitor.timeout, rtt)
            });
            let down = transitions.iter().find(|(_, transition)| transition.to == Health::Down);
            let (at, _) = down.expect("it is noticed");
            assert!(at.since(death) <= within * MS, "loss {loss}, seed {seed}: {:?}", at.since(death));
        }
    }
}

/// The connections that a full accept queue drops look like lost packets. A process that hangs behind a short queue is
/// found one probe later at most, however long the queue is.
#[test]
fn a_full_accept_queue_costs_one_probe_at_most() {
    /// Connections of a probe that gets no answer.
    const EACH: usize = 4;
    let monitor = defaults();
    let death = Moment::START + 10_300 * MS;
    let detected = |queue: usize| {
        let mut free = queue;
        let transitions = run(&monitor, 1, death + 10_000 * MS, |now, _| {
            if now < death {
                return (5 * MS, Found::Well(5 * MS));
            }
            let granted = free.min(EACH);
            free -= granted;
            (monitor.timeout, if granted == 0 || granted == EACH { Found::Failed } else { Found::Doubtful })
        });
        let down = transitions.iter().find(|(_, transition)| transition.to == Health::Down);
        down.expect("it is noticed").0.since(death)
    };
    let silent = detected(0);
    for queue in 1..=20 {
        assert!(detected(queue) <= silent + monitor.timeout + 50 * MS, "a queue of {queue}: {:?}", detected(queue));
    }
}
