//! Measures the time for a large policy: loading and compiling 100,000 steered names over 1,000 endpoints from files,
//! and publishing a new snapshot after the health of one endpoint changed. `many_names [own|shared] [NAMES]
//! [ENDPOINTS]`: with `own`, each name has its own pool of four endpoints; with `shared`, all names share a hundred
//! pools of ten. Prints the processor time of long steps, and the best and the median wall-clock time of short ones.
//! Linux only.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan::config::{self, Flags};
use portolan::model::{CheckView, Health, Model, WorldView};
use portolan::snapshot::compile::{compile, refresh};
use portolan::snapshot::{Identity, Publisher, Snapshot};
use portolan::source;

/// The number of health changes that are measured.
const FLIPS: usize = 51;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap_or_else(|| "own".into());
    let mut number = |usual: usize| args.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (names, endpoints): (usize, usize) = (number(100_000), number(1_000));
    if !matches!(kind.as_str(), "own" | "shared") || names == 0 || endpoints < 10 {
        eprintln!("usage: many_names [own|shared] [NAMES] [ENDPOINTS, 10 or more]");
        return ExitCode::from(2);
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    write_files(dir.path(), kind == "own", names, endpoints);
    let flags = Flags::default().with("region", "here").with("zones.dir", dir.path().to_str().expect("a plain path"));
    let (loaded, load) = processor_time(|| config::load(None, &flags));
    let model = match loaded {
        Ok(loaded) => Arc::new(loaded.model),
        Err(problems) => panic!("{}", source::to_human(&problems)),
    };
    println!("{kind}: {names} names, {} policies, {} endpoints", model.policies.len(), model.endpoints.len());
    println!("load     {load:>12.1?}   files to a valid model");
    let identity = Arc::new(Identity::default());
    let up = || Arc::new(view(&model, None));
    let (first, compiling) = processor_time(|| compile(model.clone(), up(), identity.clone(), 1, None));
    println!("compile  {compiling:>12.1?}   the first snapshot");
    let (again, reloading) = processor_time(|| compile(model.clone(), up(), identity.clone(), 2, Some(&first)));
    println!("reload   {reloading:>12.1?}   the same files as the next generation");
    let ((), dropping) = processor_time(|| drop(again));
    println!("drop     {dropping:>12.1?}   that generation");
    flips(&model, first);
    ExitCode::SUCCESS
}

fn flips(model: &Arc<Model>, first: Snapshot) {
    let one_down = |turn: usize| view(model, Some(turn % model.checks.len()));
    let refreshes = (0..FLIPS).map(|turn| {
        let view = Arc::new(one_down(turn));
        wall_clock_time(|| refresh(&first, view)).1
    });
    print_times("refresh", refreshes.collect(), "one endpoint goes down");
    let quiet = Arc::new(view(model, None));
    let quiet = (0..FLIPS).map(|_| wall_clock_time(|| refresh(&first, quiet.clone())).1);
    print_times("no news", quiet.collect(), "a view that changes nothing");
    let mut publisher = Publisher::new(first);
    let publishes = (0..FLIPS).map(|turn| {
        let view = one_down(turn);
        wall_clock_time(|| publisher.observe(view, 0.0)).1
    });
    print_times("publish", publishes.collect(), "one comes back, the next goes down; the old snapshot is freed");
}

fn print_times(what: &str, mut times: Vec<Duration>, why: &str) {
    times.sort();
    println!("{what:8} {:>12.1?} {:>12.1?}   {why}", times[0], times[times.len() / 2]);
}

/// The wall-clock time of a step.
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn wall_clock_time<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}

/// The processor time of a step, with the scheduler's precision of a few milliseconds.
fn processor_time<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = spent();
    let result = run();
    (result, spent() - start)
}

/// The processor time of this thread.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the scheduler's counts");
    let nanos = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

/// A world in which all endpoints are up, except that of one check.
fn view(model: &Model, down: Option<usize>) -> WorldView {
    let health = |at| if Some(at) == down { Health::Down } else { Health::Up };
    let check = |at| CheckView { health: health(at), tried: true, ..CheckView::default() };
    WorldView { checks: (0..model.checks.len()).map(check).collect(), ..WorldView::default() }
}

fn write_files(dir: &Path, own: bool, names: usize, endpoints: usize) {
    let mut zone = String::from("$TTL 60\n@ SOA ns1 host 1 2 3 4 5\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\n");
    zone.push_str("ns2 A 192.0.2.2\n");
    let mut policy = String::from("zone = \"many.example.\"\nmonitor.m = { type = \"tcp\", port = 80 }\n");
    for n in 0..endpoints {
        let (high, low) = (n / 250, n % 250 + 1);
        let _ = writeln!(policy, "[endpoint.e{n}]\naddresses = [\"10.0.{high}.{low}\"]\nmonitor = \"m\"");
    }
    // The strides have no common factor with the number of endpoints, so every endpoint is in the same number of pools.
    let members = |n: usize, count: usize| -> String {
        let of_pool = (0..count).map(|turn| format!("\"e{}\"", (n + turn * 7) % endpoints));
        of_pool.collect::<Vec<_>>().join(", ")
    };
    if !own {
        for pool in 0..100 {
            let _ = writeln!(policy, "[pool.p{pool}]\nmembers = [{}]", members(pool * 10, 10));
        }
    }
    for n in 0..names {
        match own {
            true => {
                let _ = writeln!(policy, "[pool.p{n}]\nmembers = [{}]\n[name.n{n}]\npool = \"p{n}\"", members(n, 4));
            }
            false => {
                let _ = writeln!(policy, "[name.n{n}]\npool = \"p{}\"", n % 100);
            }
        }
    }
    std::fs::write(dir.join("many.example.zone"), zone).expect("a file in a new directory");
    std::fs::write(dir.join("many.example.policy.toml"), policy).expect("a file in a new directory");
}
