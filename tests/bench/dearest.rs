//! Searches for the query that costs `answer()` most, over UDP and TCP, over zones with every kind of chain and every
//! kind of RRset.
//!
//! `dearest search SECONDS [SEED]` makes zones and queries at random, changes the dearest ones, and prints what it found,
//! dearest first: instructions, their ratio to those of a normal query, octets of the reply, the octets that make the
//! scene again, and what it is. A normal query costs the mean of the kinds [`USUAL`] of the bench `answer_loop`.
//! `dearest check` counts the scenes of `dearest/corpus.txt`, which searches have found, and some random ones. The exit
//! code is 1 when one costs more than [`most`] allows, or when a scene of the corpus was not counted. `dearest show
//! HEX` prints the files and the query of a scene; `dearest loop HEX COUNT` answers it again and again, for a profiler.

#[path = "dearest/count.rs"]
mod count;
#[path = "dearest/scene.rs"]
mod scene;
#[path = "world.rs"]
mod world;

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
const ELITE: usize = 48;
/// How many of them are counted and printed.
const PRINTED: usize = 25;
/// The kinds of queries whose mean is a normal query.
const USUAL: [&str; 5] = ["static", "weighted", "region", "affinity", "nxdomain"];
/// Queries of each kind that are counted for it.
const USUAL_COUNTED: usize = 4;
/// The dearest answer that is allowed, in normal ones, as long as the reply is not longer than one over UDP. Searches
/// have found these: two of 64 records that the client's net orders, behind a chain of eight long names, cost 7.8; a
/// chain of DNAMEs 7; MX records with the addresses of steered names 5.7. Compilers differ in a tenth.
const MOST_RATIO: f64 = 9.5;
/// Octets of a longer reply, over TCP, for which it may cost as much again. The work for a reply is bounded by its
/// octets: nothing makes a referral with forty servers and their addresses as cheap as one address.
const OCTETS_AGAIN: f64 = 1024.0;
/// Random scenes that are checked besides the corpus.
const RANDOM_CHECKED: usize = 24;
/// Runs whose shortest one is the time of a scene: noise only adds.
const RUNS: usize = 12;
const CALLS_IN_RUN: u32 = 4;
/// Longest reply over TCP.
const MOST_OCTETS: usize = 65_535;

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
            let mut out = [0; MOST_OCTETS];
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

/// The most that a reply of `len` octets may cost, in normal queries.
fn most(len: usize) -> f64 {
    MOST_RATIO * (1.0 + len.saturating_sub(MAX_UDP_REPLY) as f64 / OCTETS_AGAIN)
}

/// Counts the corpus and some random scenes.
fn check() -> ExitCode {
    let corpus: Vec<Vec<u8>> = include_str!("dearest/corpus.txt").lines().map(octets).collect();
    let seed = portolan::clock::entropy();
    let mut random = fastrand::Rng::with_seed(seed);
    let scenes: Vec<Vec<u8>> = (0..RANDOM_CHECKED).map(|_| (0..MOST_GENES).map(|_| random.u8(..)).collect()).collect();
    println!("seed {seed}\nthe corpus:");
    let found = print_counted(&corpus);
    println!("random scenes:");
    let by_chance = print_counted(&scenes);
    let most = found.most.max(by_chance.most);
    println!("{} of {} scenes of the corpus counted, {} by chance", found.count, corpus.len(), by_chance.count);
    println!("dearest: {most:.2} of what is allowed, which is {MOST_RATIO} normal queries");
    let is_good = !corpus.is_empty() && found.count == corpus.len() && by_chance.count > 0 && most <= 1.0;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    transport: Transport,
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
    let transport = if scene.is_over_tcp { Transport::Tcp } else { Transport::Udp };
    Some(Loaded { snapshot, transport, packet: scene.packet, summary: scene.summary })
}

/// Answers once; returns the length of the reply and its response code.
fn answer_once(loaded: &Loaded, out: &mut [u8; MOST_OCTETS]) -> (usize, u16) {
    reply_to(&loaded.snapshot, &loaded.packet, loaded.transport, out)
}

fn reply_to(snapshot: &Snapshot, packet: &[u8], transport: Transport, out: &mut [u8; MOST_OCTETS]) -> (usize, u16) {
    let source = SocketAddr::from(([127, 0, 0, 1], 4242));
    let ask = RawQuery { packet, source, transport, entropy: 0x9E37_79B9_7F4A_7C15, unix_secs: 1_800_000_000 };
    match answer(snapshot, &ask, out) {
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

/// What one call costs, for comparing: nanoseconds, the least of some runs, less for a long reply.
#[expect(clippy::disallowed_methods, reason = "a search for what takes long must measure how long it takes")]
fn cost(loaded: &Loaded) -> u64 {
    let mut out = [0; MOST_OCTETS];
    let (len, _) = answer_once(loaded, &mut out);
    let mut run = |_| {
        let began = Instant::now();
        (0..CALLS_IN_RUN).for_each(|_| {
            std::hint::black_box(answer_once(std::hint::black_box(loaded), &mut out));
        });
        began.elapsed().as_nanos() as u64 / u64::from(CALLS_IN_RUN)
    };
    let nanoseconds = (0..RUNS).map(&mut run).min().unwrap_or(0);
    (nanoseconds as f64 * MOST_RATIO / most(len)) as u64
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
            Some(loaded) => enter(&mut elite, cost(&loaded), &genes),
        }
    }
    println!("{tried} scenes, {refused} refused, seed {seed}");
    elite.iter().for_each(|(cost, genes)| println!("{cost:8} ns {:.100}", scene::scene(genes).summary));
    let dearest: Vec<Vec<u8>> = elite.into_iter().take(PRINTED).map(|(_, genes)| genes).collect();
    print_counted(&dearest);
}

/// Leaves the dearest of each kind: at most three of those that begin alike, which is what the chain ends with.
fn enter(elite: &mut Vec<(u64, Vec<u8>)>, cost: u64, genes: &[u8]) {
    let kind = |genes: &[u8]| usize::from(genes[0]) % scene::ENDS;
    elite.push((cost, genes.to_vec()));
    elite.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
    let mut seen = [0; scene::ENDS];
    elite.retain(|(_, genes)| {
        seen[kind(genes)] += 1;
        seen[kind(genes)] <= 3
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

/// What counting some scenes has found.
struct Counted {
    /// The dearest, as a share of what is allowed.
    most: f64,
    /// How many were counted; a scene whose files are refused is not.
    count: usize,
}

/// Prints the scenes with their instructions, dearest first.
fn print_counted(scenes: &[Vec<u8>]) -> Counted {
    let dir = new_dir();
    let normal = normal();
    println!("normal: {normal:.0} instructions");
    let mut lines: Vec<(f64, String)> = Vec::new();
    for genes in scenes {
        let Some(loaded) = load(dir.path(), scene::scene(genes)) else { continue };
        let mut out = [0; MOST_OCTETS];
        let (len, rcode) = answer_once(&loaded, &mut out);
        let count = instructions(|| {
            answer_once(&loaded, &mut out);
        });
        let ratio = count as f64 / normal;
        let line = format!(
            "{count:7} {ratio:6.1} {:4} {len:5} octets rcode {rcode} {} {:.150}",
            loaded.transport.as_str(),
            hex(genes),
            loaded.summary
        );
        lines.push((ratio / most(len), line));
    }
    lines.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    lines.iter().for_each(|(share, line)| println!("{share:5.2} {line}"));
    Counted { most: lines.first().map_or(0.0, |(share, _)| *share), count: lines.len() }
}

/// The instructions of a normal query.
fn normal() -> f64 {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let snapshot = world::snapshot(dir.path());
    let mut out = [0; MOST_OCTETS];
    let (mut sum, mut number) = (0, 0.0);
    for kind in USUAL {
        let queries = world::queries(kind).expect("a kind of queries");
        for packet in queries.iter().step_by(queries.len() / USUAL_COUNTED) {
            sum += instructions(|| {
                reply_to(&snapshot, packet, Transport::Udp, &mut out);
            });
            number += 1.0;
        }
    }
    sum as f64 / number
}

fn instructions(call: impl FnMut()) -> u64 {
    count::instructions(call).unwrap_or_else(|error| panic!("instructions can't be counted: {error}"))
}
