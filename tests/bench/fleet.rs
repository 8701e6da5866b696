//! Measures what a fleet costs a server in simulated seconds: `fleet [VANTAGES] [ENDPOINTS]`, 50 and 10,000 without
//! arguments. Each vantage reports a fifth of its checks each second; the server takes the reports in, agrees, and
//! publishes fifty snapshots a second. The smoothed round-trip times differ by up to 3 % from report to report, as those
//! of paths do whose single measurements vary by 8 % or so: a quarter of the reports has a time that counts as another
//! one. Then a fifth of the endpoints dies, and each vantage reports that within two seconds, a part every 100 ms.
//! Prints the processor time of each step for one second, and the memory of the process. It has the allocator of the
//! server. Linux only.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portolan::config::{self, Flags};
use portolan::fleet::{Agreement, Report, Vantage};
use portolan::health::Observation;
use portolan::model::{CheckKey, Doubt, Health, Model, Moment};
use portolan::snapshot::compile::compile;
use portolan::snapshot::{Identity, Publisher};
use portolan::source;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const REGIONS: usize = 5;
/// Each check is reported once in so many seconds.
const SLICES: usize = 5;
/// Snapshots in a second.
const VIEWS: usize = 50;
/// Simulated seconds in peace, and during the outage.
const PEACE: u64 = 20;
const OUTAGE: u64 = 5;
/// The part of the endpoints that dies, and how many reports of a vantage have it.
const DYING: usize = 5;
const REPORTS: u64 = 20;

struct Fleet {
    model: Arc<Model>,
    agreement: Agreement,
    publisher: Publisher,
    vantages: Vec<Vantage>,
    keys: Vec<Arc<CheckKey>>,
    random: u64,
    spent: Spent,
}

/// Processor time by step.
#[derive(Default)]
struct Spent {
    receive: Duration,
    agree: Duration,
    publish: Duration,
    observations: usize,
    transitions: usize,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |usual: usize| args.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (vantages, endpoints) = (number(50), number(10_000));
    let dir = tempfile::tempdir().expect("a temporary directory");
    write_files(dir.path(), endpoints);
    let settings = dir.path().join("portolan.toml");
    let mut model = match config::load(Some(&settings), &Flags::default()) {
        Ok(loaded) => loaded.model,
        Err(problems) => panic!("{}", source::to_human(&problems)),
    };
    model.regional_view = true;
    let mut fleet = Fleet::of(Arc::new(model), vantages);
    let before = memory();
    println!("{vantages} vantages, {} checks, {} policies", fleet.keys.len(), fleet.model.policies.len());
    for of in 0..vantages {
        let report = fleet.report(of, 0..fleet.keys.len(), |_| Health::Up);
        fleet.receive(&report, Moment::from_start(Duration::from_secs(999)));
    }
    fleet.publish(Moment::from_start(Duration::from_secs(999)));
    fleet.print("first reports", 1);
    println!("memory of {} ballots: {:.1} MB", vantages * fleet.keys.len(), (memory() - before) as f64 / 1e6);
    fleet.run(1000, PEACE, false);
    fleet.print("peace", PEACE as u32);
    fleet.run(1000 + PEACE, OUTAGE, true);
    let down =
        fleet.publisher.snapshots().load().view.checks.iter().filter(|check| check.health == Health::Down).count();
    fleet.print("outage", OUTAGE as u32);
    println!("{down} checks are down, memory {:.1} MB", memory() as f64 / 1e6);
}

impl Fleet {
    fn of(model: Arc<Model>, vantages: usize) -> Fleet {
        let mut agreement = Agreement::new(&model);
        let nothing_known = Arc::new(agreement.view(&model, Moment::START));
        let first = compile(model.clone(), nothing_known, Arc::new(Identity::default()), 1, None);
        let mut fleet = Fleet {
            keys: model.checks.iter().map(|check| check.key.clone()).collect(),
            publisher: Publisher::new(first),
            agreement,
            vantages: Vec::new(),
            random: 1,
            spent: Spent::default(),
            model,
        };
        let name = |at: usize| Vantage { name: format!("v{at}").into(), region: format!("r{}", at % REGIONS).into() };
        fleet.vantages = (0..vantages).map(name).collect();
        fleet
    }

    /// The report of a vantage on these checks.
    fn report(&self, of: usize, checks: impl Iterator<Item = usize>, health: impl Fn(usize) -> Health) -> Report {
        let observation = |check: usize| {
            let health = health(check);
            // 10 to 110 ms by region, with 3 % of noise.
            let mut noise = self.random ^ ((check * 1000 + of) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            noise ^= noise >> 29;
            let micros = 10_000 + 1000 * ((check + of) % 100) as u64;
            Observation {
                key: self.keys[check].clone(),
                health,
                tried: true,
                srtt: Some(Duration::from_micros(micros + noise % (micros / 30))),
                rttvar: None,
                probed_at: Some(Moment::from_start(Duration::from_secs(1000))),
                may_change_in: Duration::from_secs(2),
                why: (health == Health::Down).then(|| "no answer within 500 ms".into()),
                hold: None,
                doubt: Doubt::None,
                state: None,
            }
        };
        Report::part(self.vantages[of].clone(), Moment::START, checks.map(observation).collect())
    }

    fn receive(&mut self, report: &Report, now: Moment) {
        let start = spent();
        self.agreement.receive(report, now);
        self.spent.receive += spent() - start;
        self.spent.observations += report.observations.len();
    }

    fn publish(&mut self, now: Moment) {
        let start = spent();
        let view = self.agreement.view(&self.model, now);
        let agreed = spent();
        self.spent.transitions += self.publisher.observe(view, 0.0).len();
        self.spent.agree += agreed - start;
        self.spent.publish += spent() - agreed;
    }

    fn run(&mut self, from: u64, seconds: u64, is_outage: bool) {
        let begun = Moment::from_start(Duration::from_secs(from));
        let is_dying = |check: usize| check.is_multiple_of(DYING);
        for step in 0..seconds * VIEWS as u64 {
            let now = begun + Duration::from_millis(step * 1000 / VIEWS as u64);
            let (second, slot) = ((step / VIEWS as u64) as usize, (step % VIEWS as u64) as usize);
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Of those that died, who was reported already stays so in the slices.
            let died = |of: usize, check: usize| {
                let nth = (check / DYING) as u64 % REPORTS;
                is_outage && is_dying(check) && step >= (nth + of as u64 % 5) * 5
            };
            let health = |of: usize| move |check: usize| if died(of, check) { Health::Down } else { Health::Up };
            for of in (0..self.vantages.len()).filter(|of| of % VIEWS == slot) {
                // The vantages of a region are at different slices.
                let slice = (second + of / REGIONS) % SLICES;
                let report = self.report(of, (slice..self.keys.len()).step_by(SLICES), health(of));
                self.receive(&report, now);
            }
            if is_outage && step % 5 == 0 {
                for of in 0..self.vantages.len() {
                    let nth = (step / 5).checked_sub(of as u64 % 5).filter(|nth| *nth < REPORTS);
                    let Some(nth) = nth else { continue };
                    let dying = (0..self.keys.len()).filter(|check| is_dying(*check));
                    let report = self.report(of, dying.filter(|at| (at / DYING) as u64 % REPORTS == nth), health(of));
                    self.receive(&report, now);
                }
            }
            self.publish(now);
        }
    }

    fn print(&mut self, what: &str, seconds: u32) {
        let Spent { receive, agree, publish, observations, transitions } = std::mem::take(&mut self.spent);
        let [receive, agree, publish] = [receive, agree, publish].map(|time| time / seconds);
        println!(
            "{what}: {} observations in a second; processor time of a second: receive {receive:.1?}, agree {agree:.1?}, \
             publish {publish:.1?}, together {:.1?}; {transitions} transitions",
            observations / seconds as usize,
            receive + agree + publish
        );
    }
}

/// The processor time of this thread.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The resident memory of this process in octets.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kilobytes")
}

/// Pools of ten endpoints: half of them rank by latency.
fn write_files(dir: &Path, endpoints: usize) {
    let mut settings = String::from("region = \"r0\"\n[zones]\ndir = \".\"\n");
    for region in 0..REGIONS {
        let (latitude, longitude) = (10 * region, 20 * region);
        let _ = writeln!(
            settings,
            "[regions.r{region}]\nlocation = [{latitude}, {longitude}]\nnets = [\"192.0.{region}.0/24\"]"
        );
    }
    let zone = "$TTL 60\n@ SOA ns1 host 1 2 3 4 5\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n";
    let mut policy = String::from("zone = \"fleet.example.\"\nmonitor.m = { type = \"tcp\", port = 80 }\n");
    for n in 0..endpoints {
        let (high, middle, low) = (n / 62_500, n / 250 % 250, n % 250 + 1);
        let _ = writeln!(
            policy,
            "[endpoint.e{n}]\naddresses = [\"10.{high}.{middle}.{low}\"]\nmonitor = \"m\"\nregion = \"r{}\"",
            n % REGIONS
        );
    }
    for n in 0..endpoints / 10 {
        let members: Vec<String> = (0..10).map(|turn| format!("\"e{}\"", (n * 10 + turn) % endpoints)).collect();
        let steer = if n % 2 == 0 { "steer = \"latency\"\nband = { ms = 8, pct = 10 }\n" } else { "" };
        let _ =
            writeln!(policy, "[pool.p{n}]\n{steer}members = [{}]\n[name.n{n}]\npool = \"p{n}\"", members.join(", "));
    }
    std::fs::write(dir.join("portolan.toml"), settings).expect("a file in a new directory");
    std::fs::write(dir.join("fleet.example.zone"), zone).expect("a file in a new directory");
    std::fs::write(dir.join("fleet.example.policy.toml"), policy).expect("a file in a new directory");
}
