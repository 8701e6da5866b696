//! A million inputs, mutated from the kept corpus, through all targets, on every core: ends with 0, or with 1 at the
//! first that fails, printed so that it can be run again. `fuzz_smoke [--runs N] [--seed S] [--target T] [--run N]`.

#![expect(clippy::disallowed_methods, reason = "the time of a run is measured here")]

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use portolan_fuzz::mutate::{Chance, mutated};

/// The targets, which cargo-fuzz builds as a crate.
#[expect(unreachable_pub, reason = "the items are public in the crate of cargo-fuzz")]
#[path = "src/lib.rs"]
mod portolan_fuzz;

/// All runs together, where `--runs` doesn't say otherwise.
const RUNS: u64 = 1_000_000;
/// No input takes longer than this where the machine isn't halted: it is a loop without end then.
const STUCK: Duration = Duration::from_secs(60);

struct Target {
    name: &'static str,
    run: fn(&[u8]),
    /// Of a thousand runs; files take a hundred times as long as packets or more.
    share: u64,
    is_text: bool,
}

const TARGETS: [Target; 5] = [
    Target { name: "query_parse", run: portolan_fuzz::query_parse, share: 220, is_text: false },
    Target { name: "answer", run: portolan_fuzz::answer, share: 600, is_text: false },
    Target { name: "fleet_message", run: portolan_fuzz::fleet_message, share: 100, is_text: false },
    Target { name: "zone_file", run: portolan_fuzz::zone_file, share: 40, is_text: true },
    Target { name: "policy_file", run: portolan_fuzz::policy_file, share: 40, is_text: true },
];

fn main() {
    let options = options();
    let number = |option: &str| options.get(option).map(|text| text.parse::<u64>().unwrap_or_else(|_| usage()));
    let seed = number("--seed").unwrap_or_else(|| RandomState::new().hash_one(0));
    let runs = number("--runs").unwrap_or(RUNS);
    let only = options.get("--target").map(String::as_str);
    let targets: Vec<&Target> = TARGETS.iter().filter(|target| only.is_none_or(|name| name == target.name)).collect();
    if targets.is_empty() {
        usage();
    }
    println!("seed {seed}");
    for target in targets {
        let corpus = corpus(target.name);
        match number("--run") {
            Some(run) => print_and_run(target, &corpus, seed, run),
            None => all(target, &corpus, seed, if only.is_some() { runs } else { runs * target.share / 1000 }),
        }
    }
}

fn usage() -> ! {
    let names = TARGETS.map(|target| target.name).join("|");
    eprintln!("usage: fuzz_smoke [--runs N] [--seed S] [--target {names}] [--run N]");
    exit(2)
}

fn options() -> HashMap<String, String> {
    let words: Vec<String> = env::args().skip(1).collect();
    let known = ["--runs", "--seed", "--target", "--run"];
    if !words.len().is_multiple_of(2) || !words.iter().step_by(2).all(|word| known.contains(&word.as_str())) {
        usage();
    }
    words.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// The kept inputs of a target, in the order of their names, so that a seed means the same everywhere.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = portolan_fuzz::dir().join("corpus").join(target);
    let read = fs::read_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
    let mut paths: Vec<_> = read.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing in {}", dir.display());
    paths.iter().map(|path| fs::read(path).expect("a kept input")).collect()
}

/// The input of one run: the kept ones as they are first, then mutated ones.
fn input(target: &Target, corpus: &[Vec<u8>], seed: u64, run: u64) -> Vec<u8> {
    match corpus.get(run as usize) {
        Some(kept) => kept.clone(),
        None => mutated(corpus, &mut Chance::of(seed, run), target.is_text),
    }
}

fn print_and_run(target: &Target, corpus: &[Vec<u8>], seed: u64, run: u64) {
    let data = input(target, corpus, seed, run);
    println!("{}", shown(&data, target.is_text));
    (target.run)(&data);
    println!("nothing wrong");
}

fn shown(data: &[u8], is_text: bool) -> String {
    let hex: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    if is_text { format!("{hex}\n{}", String::from_utf8_lossy(data)) } else { hex }
}

fn all(target: &Target, corpus: &[Vec<u8>], seed: u64, runs: u64) {
    let began = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let under_way: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(u64::MAX)).collect();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for mine in &under_way {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Relaxed);
                    if run >= runs {
                        return mine.store(u64::MAX, Relaxed);
                    }
                    mine.store(run, Relaxed);
                    one(target, &input(target, corpus, seed, run), seed, run);
                }
            });
        }
        scope.spawn(|| watch(target, seed, &under_way, &next, runs));
    });
    println!("{}: {runs} runs from {} kept inputs, {:.1} s", target.name, corpus.len(), began.elapsed().as_secs_f64());
}

fn one(target: &Target, data: &[u8], seed: u64, run: u64) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(data))).is_err() {
        eprintln!(
            "FAILED: fuzz_smoke --seed {seed} --target {} --run {run}\n{}",
            target.name,
            shown(data, target.is_text)
        );
        exit(1);
    }
}

/// Ends everything when a run doesn't end.
fn watch(target: &Target, seed: u64, under_way: &[AtomicU64], next: &AtomicU64, runs: u64) {
    let mut before: Vec<u64> = Vec::new();
    let mut since = Instant::now();
    while next.load(Relaxed) < runs || under_way.iter().any(|run| run.load(Relaxed) != u64::MAX) {
        thread::sleep(Duration::from_millis(20));
        let now: Vec<u64> = under_way.iter().map(|run| run.load(Relaxed)).collect();
        if !now.iter().zip(&before).any(|(a, b)| a == b && *a != u64::MAX) {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > STUCK {
            eprintln!("STUCK: fuzz_smoke --seed {seed} --target {} --run one of {now:?}", target.name);
            exit(1);
        }
    }
}
