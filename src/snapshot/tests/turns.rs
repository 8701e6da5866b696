//! Policies for which only round-trip times changed are decided at their turn: the answers are those of deciding at
//! every change, a moment later, and no verdict waits for them.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{cell, compile, model, refresh, view};
use crate::model::{Model, Moment, RegionId, WorldView};
use crate::snapshot::postponed::RANK_EVERY;
use crate::snapshot::{Publisher, Snapshot};
use crate::steering::{Decision, HOLD_DOWN};

const ENDPOINTS: [&str; 4] = ["a", "b", "c", "d"];

fn at(millis: u64) -> Moment {
    Moment::from_start(Duration::from_millis(millis))
}

/// A view with these round-trip times from the clients' region, in the order of the checks.
fn seen(model: &Model, down: &[&str], rtts: impl IntoIterator<Item = u64>, now: Moment) -> WorldView {
    let mut view = view(model, down);
    for (check, ms) in view.checks.iter_mut().zip(rtts) {
        check.rtts = vec![(RegionId(0), Duration::from_millis(ms))];
    }
    WorldView { at: now, ..view }
}

fn decision(snapshot: &Snapshot, name: &str) -> Decision {
    cell(snapshot, name).decision().clone()
}

#[derive(Debug, Clone)]
struct Step {
    later: u64,
    rtts: [u8; 4],
    down: Option<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    // One member of each pool is up: a last good answer is that of an earlier moment.
    let down = (0u8..16).prop_filter("one is up", |bits| ![0b0111, 0b1110].iter().any(|all| bits & all == *all));
    let down = prop_oneof![4 => Just(None), 1 => down.prop_map(Some)];
    (0u64..700, any::<[u8; 4]>(), down).prop_map(|(later, rtts, down)| Step { later, rtts, down })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_every_change_a_moment_later(steps in prop::collection::vec(step(), 1..40)) {
        let model = model(
            r#"
            endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
            endpoint.b = { addresses = ["192.0.2.12"], monitor = "m" }
            endpoint.c = { addresses = ["192.0.2.13"], monitor = "m" }
            endpoint.d = { addresses = ["192.0.2.14"], monitor = "m" }
            pool.plain = { members = ["a", "b", "c"], steer = "latency" }
            pool.banded = { members = ["b", "c", "d"], steer = "latency", band = { ms = 20, pct = 10 } }
            name.plain = { pool = "plain" }
            name.banded = { pool = "banded" }
            "#,
        );
        let mut now = 100_000;
        let first = || compile(model.clone(), Arc::new(seen(&model, &[], [1; 4], at(now))), Arc::default(), 1, None);
        let (mut publisher, mut at_once) = (Publisher::new(first()), first());
        let (mut recent, mut down) = (VecDeque::from([(now, decision(&at_once, "plain"))]), Vec::new());
        let mut rtts = [1; 4];
        for Step { later, rtts: new, down: verdicts } in steps {
            now += later;
            rtts = new.map(u64::from);
            let before = down.clone();
            if let Some(bits) = verdicts {
                down = (0..4).filter(|at| bits & (1 << at) != 0).map(|at| ENDPOINTS[at]).collect();
            }
            publisher.observe(seen(&model, &down, rtts, at(now)), 0.0);
            at_once = refresh(&at_once, Arc::new(seen(&model, &down, rtts, at(now))));
            let (found, expected) = (publisher.snapshots().load_full(), decision(&at_once, "plain"));
            recent.push_back((now, expected.clone()));
            // Verdicts can make it two periods.
            recent.retain(|(then, _)| now - *then < 2 * RANK_EVERY.as_millis() as u64);
            let found = decision(&found, "plain");
            prop_assert!(recent.iter().any(|(_, decision)| *decision == found), "{found:?}, not {expected:?}");
            let is_other = |name: &str| before.contains(&name) != down.contains(&name);
            if ["a", "b", "c"].into_iter().any(is_other) {
                prop_assert_eq!(found, expected, "a verdict is obeyed at once, by the newest round-trip times");
            }
        }
        let settled = now + (2 * RANK_EVERY + HOLD_DOWN).as_millis() as u64 + 1000;
        while now < settled {
            now += 500;
            publisher.observe(seen(&model, &down, rtts, at(now)), 0.0);
            at_once = refresh(&at_once, Arc::new(seen(&model, &down, rtts, at(now))));
        }
        let found = publisher.snapshots().load_full();
        for name in ["plain", "banded"] {
            prop_assert_eq!(decision(&found, name), decision(&at_once, name));
        }
    }
}

/// Names that each rank two endpoints of their own.
fn many_names(names: usize) -> Arc<Model> {
    let mut policy = String::new();
    for n in 0..names {
        let _ = writeln!(
            policy,
            "endpoint.a{n} = {{ addresses = [\"10.0.{}.{}\"], monitor = \"m\" }}\n\
             endpoint.b{n} = {{ addresses = [\"10.1.{0}.{1}\"], monitor = \"m\" }}\n\
             pool.p{n} = {{ members = [\"a{n}\", \"b{n}\"], steer = \"latency\" }}\nname.n{n} = {{ pool = \"p{n}\" }}",
            n / 200,
            n % 200 + 1
        );
    }
    model(&policy)
}

/// How many policies were decided anew from one snapshot to the next.
fn decided(before: &Snapshot, after: &Snapshot) -> usize {
    after.policies.changed_since(&before.policies).len()
}

#[test]
fn the_work_of_round_trip_times_is_that_of_once_a_second_and_spread_over_it() {
    const NAMES: usize = 512;
    let model = many_names(NAMES);
    let rtts = |step: u64| (0..2 * NAMES as u64).map(move |check| 10 + (check * 7 + step * 3) % 53);
    for has_verdicts in [false, true] {
        let start = seen(&model, &[], rtts(0), at(100_000));
        let mut publisher = Publisher::new(compile(model.clone(), Arc::new(start), Arc::default(), 1, None));
        publisher.observe(seen(&model, &[], rtts(0), at(100_000)), 0.0);
        let (mut all, mut before) = (0, publisher.snapshots().load_full());
        // Every time moves, fifty times a second, for two seconds.
        for step in 1..=100 {
            let victim = format!("a{step}");
            let down: &[&str] = if has_verdicts { &[&victim] } else { &[] };
            publisher.observe(seen(&model, down, rtts(step), at(100_000 + step * 20)), 0.0);
            let after = publisher.snapshots().load_full();
            let decided = decided(&before, &after);
            // A sixteenth; and the names of the endpoints that are down now, and no longer.
            assert!(decided <= NAMES / 16 + 2, "{decided} in step {step}");
            if has_verdicts {
                assert_eq!(super::given(&after, &format!("n{step}")), [format!("b{step}")], "a verdict does not wait");
            }
            (all, before) = (all + decided, after);
        }
        assert!((2 * NAMES..3 * NAMES).contains(&all), "{all} of {NAMES} names in two seconds");
    }
}

#[test]
fn a_verdict_does_not_wait_for_the_names_that_a_second_without_views_left() {
    const NAMES: usize = 512;
    let model = many_names(NAMES);
    let rtts = |step: u64| (0..2 * NAMES as u64).map(move |check| 10 + (check * 7 + step * 3) % 53);
    let start = seen(&model, &[], rtts(0), at(100_000));
    let mut publisher = Publisher::new(compile(model.clone(), Arc::new(start), Arc::default(), 1, None));
    publisher.observe(seen(&model, &[], rtts(0), at(100_000)), 0.0);
    let before = publisher.snapshots().load_full();
    publisher.observe(seen(&model, &["a7"], rtts(1), at(100_900)), 0.0);
    let after = publisher.snapshots().load_full();
    assert_eq!(super::given(&after, "n7"), ["b7"]);
    assert!(decided(&before, &after) <= NAMES / 16 + 1, "{}", decided(&before, &after));
    publisher.observe(seen(&model, &["a7"], rtts(1), at(101_000)), 0.0);
    let later = publisher.snapshots().load_full();
    assert!(decided(&before, &later) > NAMES / 2, "the rest follows in the next view");
}
