//! A fleet in simulated time: three servers and up to six vantages run the code of the real ones (reports, collection,
//! agreement, leases, overrides) over a network and a store that a seed breaks: loss, delay, repetition, reordering,
//! partitions, clocks that differ, pauses, restarts with and without a goodbye, a store without quorum, a vantage that
//! lies. `world` has what can break, and `rules` what must hold all the time. After the faults everything heals, and all
//! servers agree within two report periods.
//!
//! More seeds by hand: `FLEET_SEEDS=10000 cargo test --release --test fleet_sim -- --nocapture`; from another one with
//! `FLEET_FIRST_SEED`.

mod bug;
mod chance;
mod node;
mod rules;
mod run;
mod shared;
mod store;
mod world;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bug::Bug;
use world::{World, steps};

/// Seeds without another wish. Judgment: some seconds on two cores in a debug build.
const SEEDS: u64 = 200;
/// Time with faults, in seconds.
const FAULTS: u64 = 40;
/// All servers agree on all checks after this time without faults: two report periods, and the way of a message.
const HEALED: u64 = 11;
/// All servers serve the same epoch after this time. Hooks that fail hold a promotion up for longer.
const LEASE_HEALED: u64 = 15;

/// Runs one world. Returns how many promotions it had.
fn run(seed: u64, bug: Option<Bug>) -> usize {
    let mut world = World::new(seed, bug);
    for _ in 0..steps(FAULTS) {
        world.step();
    }
    world.heal();
    for _ in 0..steps(HEALED) {
        world.step();
    }
    world.check_agreement();
    world.check_overrides();
    for _ in 0..steps(LEASE_HEALED) {
        world.step();
    }
    world.check_agreement();
    // A promotion may be under way at any moment.
    let has_agreed = (0..steps(2)).any(|_| {
        world.step();
        let epochs = world.epochs();
        epochs[0] > 0 && epochs.iter().all(|epoch| *epoch == epochs[0])
    });
    assert!(has_agreed, "{:?}", world.epochs());
    world.store.promotions
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_seed_breaks_a_rule() {
    let (first, seeds) = (number("FLEET_FIRST_SEED", 0), number("FLEET_SEEDS", SEEDS));
    let (next, promotions) = (AtomicU64::new(first), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let made = catch_unwind(|| run(seed, None));
                    let made = made.unwrap_or_else(|_| panic!("with FLEET_FIRST_SEED={seed} FLEET_SEEDS=1"));
                    promotions.fetch_add(made, Ordering::Relaxed);
                }
            });
        }
    });
    let promotions = promotions.into_inner() as u64;
    println!("{seeds} seeds, {promotions} promotions");
    assert!(seeds < 50 || promotions > seeds / 4, "{promotions} promotions: the runs prove too little");
}

/// Seeds that are tried for each bug.
const SEEDS_FOR_A_BUG: u64 = 200;

#[test]
fn every_bug_is_noticed() {
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|bug| {
            let noticed = (0..SEEDS_FOR_A_BUG).find(|seed| catch_unwind(|| run(*seed, Some(*bug))).is_err());
            println!("{bug:?}: noticed with the seed {noticed:?}");
            noticed.is_none()
        })
        .collect();
    assert_eq!(missed, []);
}
