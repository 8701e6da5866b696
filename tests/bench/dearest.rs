//! Searches for the query that costs `answer()` most, over zones with every kind of chain and every kind of RRset.
//!
//! `dearest search SECONDS [SEED]` makes zones and queries at random, changes the dearest ones, and prints what it found,
//! dearest first: instructions, their ratio to those of a normal query (A of a static name), octets of the reply, the
//! octets that make the scene again, and what it is. `dearest check` counts the scenes of `dearest/corpus.txt`, which
//! searches have found, and some random ones; the exit code is 1 when one costs more than [`MOST_RATIO`] times a normal
//! query. `dearest show HEX` prints the files and the query of a scene; `dearest loop HEX COUNT` answers it again and
//! again, for a profiler.

#[path = "dearest/count.rs"]
mod count;
#[path = "dearest/scene.rs"]
mod scene;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scene::Scene;

use portolan::answer::{MAX_UDP_REPLY, Outcome, RawQuery, Transport, answer};
use portolan::config::{self, Flags};
use portolan::model::{CheckView, WorldView};
use portolan::snapshot::compile::compile;
use portolan::snapshot::{Identity, Snapshot};
use portolan::wire::cookie::CookieSecrets;

/// Most octets that make a scene.
const MOST_GENES: usize = 96;
/// How many of the dearest scenes are changed further.
const ELITE: usize = 40;
/// How many of them are counted and printed.
const PRINTED: usize = 25;
/// The dearest answer that is allowed, in normal ones. `answer()` takes a fifteenth of a normal query's processor time;
/// the kernel takes the rest. So a query whose answer costs 30 times as much costs three times as much in all.
const MOST_RATIO: f64 = 30.0;
/// Random scenes that are checked besides the corpus.
const RANDOM_CHECKED: usize = 60;
/// Runs whose shortest one is the time of a scene: noise only adds.
const RUNS: usize = 12;
const CALLS_IN_RUN: u32 = 4;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["search", seconds] => search(seconds.parse().unwrap_or(10), 1),
        ["search", seconds, seed] => search(seconds.parse().unwrap_or(10), seed.parse().unwrap_or(1)),
        ["count", ref all @ ..] => {
            print_counted(&all.iter().map(|text| octets(text)).collect::<Vec<_>>());
        }
        ["check"] => return check(),
        ["loop", text, count] => {
            let dir = new_dir();
            let loaded = load(dir.path(), scene::scene(&octets(text))).expect("a scene that loads");
            let mut out = [0; MAX_UDP_REPLY];
            (0..count.parse().unwrap_or(1)).for_each(|_| {
                std::hint::black_box(answer_once(std::hint::black_box(&loaded), &mut out));
            });
        }
        ["show", text] => {
            let scene = scene::scene(&octets(text));
            println!("{}\n{}\n{}\n{:02x?}", scene.summary, scene.master, scene.policy, scene.packet);
        }
        _ => {
            eprintln!("usage: dearest search SECONDS [SEED] | check | count HEX... | show HEX | loop HEX COUNT");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Counts the corpus and some random scenes.
fn check() -> ExitCode {
    let mut scenes: Vec<Vec<u8>> = include_str!("dearest/corpus.txt").lines().map(octets).collect();
    let seed = portolan::clock::entropy();
    let mut random = fastrand::Rng::with_seed(seed);
    scenes.extend((0..RANDOM_CHECKED).map(|_| (0..MOST_GENES).map(|_| random.u8(..)).collect()));
    println!("seed {seed}");
    let most = print_counted(&scenes);
    println!("dearest: {most:.2} times a normal query, at most {MOST_RATIO}");
    if most <= MOST_RATIO { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn octets(text: &str) -> Vec<u8> {
    (0..text.len() / 2).filter_map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A scene that was loaded.
struct Loaded {
    snapshot: Snapshot,
    packet: Vec<u8>,
    summary: String,
}

/// Loads and compiles the scene; `None` where its files are refused.
fn load(dir: &Path, scene: Scene) -> Option<Loaded> {
    fs::write(dir.join("zones/z.zone"), &scene.master).ok()?;
    fs::write(dir.join("zones/z.policy.toml"), &scene.policy).ok()?;
    let loaded = config::load(Some(&dir.join("portolan.toml")), &Flags::default()).ok()?;
    let checks = vec![CheckView::default(); loaded.model.checks.len()].into();
    let view = WorldView { checks, ..WorldView::default() };
    let cookies = CookieSecrets { current: [7; 16], other: None };
    let identity = Identity { nsid: b"bench".to_vec(), cookies: Some(cookies), ..Identity::default() };
    let snapshot = compile(Arc::new(loaded.model), Arc::new(view), Arc::new(identity), 1, None);
    Some(Loaded { snapshot, packet: scene.packet, summary: scene.summary })
}

/// Answers once; returns the length of the reply and its response code.
fn answer_once(loaded: &Loaded, out: &mut [u8]) -> (usize, u16) {
    let source = SocketAddr::from(([127, 0, 0, 1], 4242));
    let entropy = 0x9E37_79B9_7F4A_7C15;
    let ask = RawQuery { packet: &loaded.packet, source, transport: Transport::Udp, entropy, unix_secs: 1_800_000_000 };
    match answer(&loaded.snapshot, &ask, out) {
        Outcome::Reply(reply) => (reply.len, reply.rcode),
        Outcome::Silence(_) => (0, 0),
    }
}

/// A directory with settings.
fn new_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
    fs::create_dir(dir.path().join("zones")).expect("a new directory");
    fs::write(dir.path().join("portolan.toml"), "region = \"here\"\n").expect("a file in a new directory");
    dir
}

/// Nanoseconds of one call, the least of some runs.
#[expect(clippy::disallowed_methods, reason = "a search for what takes long must measure how long it takes")]
fn nanoseconds(loaded: &Loaded) -> u64 {
    let mut out = [0; MAX_UDP_REPLY];
    let run = |_| {
        let began = Instant::now();
        (0..CALLS_IN_RUN).for_each(|_| {
            std::hint::black_box(answer_once(std::hint::black_box(loaded), &mut out));
        });
        began.elapsed().as_nanos() as u64 / u64::from(CALLS_IN_RUN)
    };
    (0..RUNS).map(run).min().unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "the search ends after some seconds")]
fn search(seconds: u64, seed: u64) {
    let dir = new_dir();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut elite: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut tried, mut refused) = (0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let genes = match random.u8(..4) {
            0 => (0..MOST_GENES).map(|_| random.u8(..)).collect(),
            _ if elite.is_empty() => continue,
            _ => changed(&elite[random.usize(..elite.len())].1, &mut random),
        };
        tried += 1;
        match load(dir.path(), scene::scene(&genes)) {
            None => refused += 1,
            Some(loaded) => enter(&mut elite, nanoseconds(&loaded), &genes),
        }
    }
    println!("{tried} scenes, {refused} refused, seed {seed}");
    elite.iter().for_each(|(cost, genes)| println!("{cost:8} ns {:.100}", scene::scene(genes).summary));
    let dearest: Vec<Vec<u8>> = elite.into_iter().take(PRINTED).map(|(_, genes)| genes).collect();
    print_counted(&dearest);
}

/// Keeps the dearest of each kind: at most four of those that begin alike, which is what the chain ends with.
fn enter(elite: &mut Vec<(u64, Vec<u8>)>, cost: u64, genes: &[u8]) {
    let kind = |genes: &[u8]| genes[0] % 15;
    elite.push((cost, genes.to_vec()));
    elite.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
    let mut seen = [0; 15];
    elite.retain(|(_, genes)| {
        seen[usize::from(kind(genes))] += 1;
        seen[usize::from(kind(genes))] <= 4
    });
    elite.truncate(ELITE);
}

fn changed(genes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut genes = genes.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..genes.len());
        match random.u8(..4) {
            0 => genes[at] = genes[at].wrapping_add(1),
            1 => genes[at] = genes[at].wrapping_sub(1),
            2 => genes[at] = genes[random.usize(..genes.len())],
            _ => genes[at] = random.u8(..),
        }
    }
    genes
}

/// Prints the scenes with their instructions, dearest first. Returns the ratio of the dearest.
fn print_counted(scenes: &[Vec<u8>]) -> f64 {
    let dir = new_dir();
    let normal = counted(dir.path(), scene::normal()).map_or(1, |(count, ..)| count);
    println!("normal: {normal} instructions");
    let mut lines: Vec<(u64, String)> = Vec::new();
    for genes in scenes {
        let Some((count, len, rcode, summary)) = counted(dir.path(), scene::scene(genes)) else { continue };
        let ratio = count as f64 / normal as f64;
        lines
            .push((count, format!("{count:7} {ratio:6.1} {len:5} octets rcode {rcode} {} {summary:.150}", hex(genes))));
    }
    lines.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    lines.iter().for_each(|(_, line)| println!("{line}"));
    lines.first().map_or(0.0, |(count, _)| *count as f64 / normal as f64)
}

fn counted(dir: &Path, scene: Scene) -> Option<(u64, usize, u16, String)> {
    let loaded = load(dir, scene)?;
    let mut out = [0; MAX_UDP_REPLY];
    let (len, rcode) = answer_once(&loaded, &mut out);
    let count = count::instructions(|| {
        answer_once(&loaded, &mut out);
    });
    let count = count.unwrap_or_else(|error| panic!("instructions can't be counted: {error}"));
    Some((count, len, rcode, loaded.summary))
}
