//! How long a large policy takes: 100,000 steered names over 1,000 endpoints are written to files, loaded and compiled;
//! then one endpoint's health flips, and the new snapshot is published. `many_names [own|shared] [NAMES] [ENDPOINTS]`:
//! `own`, each name has a pool of its own of four endpoints; `shared`, a hundred pools of ten serve them all.
//! Times are of the wall clock; run it on a quiet machine, built with `--release`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan::config::{self, Flags};
use portolan::model::{CheckView, Health, Model, WorldView};
use portolan::snapshot::compile::{compile, refresh};
use portolan::snapshot::{Identity, Publisher};

/// Flips that are measured; the middle one is told.
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
    let (loaded, load) = timed(|| config::load(None, &flags));
    let model = match loaded {
        Ok(loaded) => Arc::new(loaded.model),
        Err(problems) => panic!("{}", config::to_human(&problems)),
    };
    println!("{kind}: {names} names, {} policies, {} endpoints", model.policies.len(), model.endpoints.len());
    println!("load     {load:>12.1?}   files to a valid model");
    let identity = Arc::new(Identity::default());
    let (first, compiling) = timed(|| compile(model.clone(), Arc::new(view(&model, None)), identity.clone(), 1, None));
    println!("compile  {compiling:>12.1?}   the first snapshot");
    let (again, reloading) =
        timed(|| compile(model.clone(), Arc::new(view(&model, None)), identity.clone(), 2, Some(&first)));
    println!("reload   {reloading:>12.1?}   the same files as the next generation");
    let ((), dropping) = timed(|| drop(again));
    println!("drop     {dropping:>12.1?}   that generation");
    flips(&model, first);
    ExitCode::SUCCESS
}

fn flips(model: &Arc<Model>, first: portolan::snapshot::Snapshot) {
    let mut refreshes = Vec::new();
    for turn in 0..FLIPS {
        let view = Arc::new(view(model, Some(turn % model.checks.len())));
        refreshes.push(timed(|| refresh(&first, view)).1);
    }
    refreshes.sort();
    println!("refresh  {:>12.1?}   one endpoint goes down", refreshes[FLIPS / 2]);
    let quiet = Arc::new(view(model, None));
    println!("no news  {:>12.1?}   a view that changes nothing", timed(|| refresh(&first, quiet)).1);
    let mut publisher = Publisher::new(first);
    let mut publishes = Vec::new();
    for turn in 0..FLIPS {
        let view = view(model, Some(turn % model.checks.len()));
        publishes.push(timed(|| publisher.observe(view, 0.0)).1);
    }
    publishes.sort();
    println!(
        "publish  {:>12.1?}   one comes back, the next goes down; the old snapshot is freed",
        publishes[FLIPS / 2]
    );
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}

/// All up, but for the endpoint of one check.
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
    // Strides that share no factor with the number of endpoints, so that every endpoint is in as many pools.
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
