//! What a publisher knows of the past: who came back, and when what it gets has to be decided again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{cell, first, model, view};
use crate::model::{AffinityNet, CheckId, Model, Moment, PolicyId, Recovery, WorldView};
use crate::placing::ClientNet;
use crate::snapshot::{Identity, Publisher, Snapshot, SteeringState};
use crate::steering::AnswerSource;

fn at(millis: u64) -> Moment {
    Moment::from_start(Duration::from_millis(millis))
}

/// Two names with an endpoint each that ramps as `a` and `b` say, and one in both.
fn ramps(a: &str, b: &str) -> Arc<Model> {
    model(&format!(
        r#"
        endpoint.a = {{ addresses = ["192.0.2.11"], monitor = "m", ramp = "{a}" }}
        endpoint.b = {{ addresses = ["192.0.2.12"], monitor = "m", ramp = "{b}" }}
        endpoint.both = {{ addresses = ["192.0.2.13"], monitor = "m" }}
        pool.one = {{ members = ["a", "both"] }}
        pool.two = {{ members = ["b", "both"] }}
        name.one = {{ pool = "one" }}
        name.two = {{ pool = "two" }}
        "#
    ))
}

/// A process whose first view is at 0, in which `down` are down.
fn begun(model: &Arc<Model>, down: &[&str]) -> Publisher {
    let mut publisher = Publisher::new(first(model, &[]));
    publisher.begin(view(model, down), &SteeringState::default());
    publisher
}

fn observe(publisher: &mut Publisher, down: &[&str], now: Moment) -> Arc<Snapshot> {
    let model = publisher.snapshots().load().model.clone();
    publisher.observe(WorldView { at: now, ..view(&model, down) }, 0.0);
    publisher.snapshots().load_full()
}

/// The part of a name's answers that is its own endpoint's, percent, rounded.
fn part(snapshot: &Snapshot, name: &str) -> u32 {
    let AnswerSource::Endpoints(given) = &cell(snapshot, name).decision().source else { return 0 };
    let both = snapshot.model.endpoints.iter().position(|endpoint| endpoint.name == "both").unwrap();
    let own = given.parts(|_| false).into_iter().filter(|(id, _)| id.0 as usize != both);
    (own.map(|(_, part)| part).sum::<f64>() * 100.0).round() as u32
}

#[test]
fn names_are_decided_again_at_each_step_and_not_between() {
    let model = ramps("190s", "0s");
    let mut publisher = begun(&model, &[]);
    observe(&mut publisher, &["a", "b"], at(9_500));
    let mut before = observe(&mut publisher, &[], at(10_000));
    assert_eq!([part(&before, "one"), part(&before, "two")], [5, 50]);
    let mut decided = Vec::new();
    for second in 11..=210 {
        let after = observe(&mut publisher, &[], at(second * 1000));
        for policy in 0..model.policies.len() as u32 {
            let cells = |of: &Snapshot| of.policies.get(PolicyId(policy)).unwrap().clone();
            if !Arc::ptr_eq(&cells(&before), &cells(&after)) {
                decided.push((second, model.policies[policy as usize].endpoints[0]));
            }
        }
        before = after;
    }
    let own = model.policies[0].endpoints[0];
    let expected: Vec<_> = (2..=20).map(|step| (10 * step, own)).collect();
    assert_eq!(decided, expected, "the TTL is 5 s at most and at least, so that nothing else shows");
    assert_eq!(part(&before, "one"), 50);
    assert_eq!(before.view.recovery(CheckId(0)), Recovery::None, "forgotten");
}

#[test]
fn a_name_that_gets_many_back_is_decided_once_a_step() {
    let model = model(
        r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m", ramp = "190s" }
        endpoint.b = { addresses = ["192.0.2.12"], monitor = "m", ramp = "190s" }
        endpoint.c = { addresses = ["192.0.2.13"], monitor = "m", ramp = "190s" }
        pool.one = { members = ["a", "b", "c"] }
        name.one = { pool = "one" }
        "#,
    );
    let mut publisher = begun(&model, &["a", "b"]);
    observe(&mut publisher, &["b"], at(12_300));
    let mut before = observe(&mut publisher, &[], at(14_900));
    let mut decided = Vec::new();
    for second in 15..=210 {
        let after = observe(&mut publisher, &[], at(second * 1000));
        if !std::ptr::eq(cell(&before, "one"), cell(&after, "one")) {
            decided.push(second);
        }
        before = after;
    }
    let steps = (2..=20).map(|step| 10 * step);
    assert_eq!(decided, steps.chain([203, 205]).collect::<Vec<_>>(), "and when each is full");
}

#[test]
fn what_was_down_at_the_start_comes_back_and_what_was_up_does_not() {
    let model = ramps("190s", "190s");
    let mut publisher = begun(&model, &["a"]);
    let back = observe(&mut publisher, &[], at(1_000));
    assert_eq!([part(&back, "one"), part(&back, "two")], [5, 50]);
}

#[test]
fn a_ramp_goes_on_over_a_reload() {
    let model = ramps("190s", "190s");
    let reloaded = |after: u64, ramp: &str| {
        let mut publisher = begun(&model, &["a"]);
        observe(&mut publisher, &[], at(1_000));
        observe(&mut publisher, &["b"], at(2_000));
        observe(&mut publisher, &["b"], at(after));
        let next = ramps(ramp, "190s");
        let now = WorldView { at: at(after), ..view(&next, &["b"]) };
        publisher.adopt(next, now, Arc::new(Identity::default()), 0.0);
        let back = observe(&mut publisher, &[], at(after));
        [part(&back, "one"), part(&back, "two")]
    };
    assert_eq!(reloaded(91_000, "190s"), [33, 5], "what is down over it comes back after it");
    assert_eq!(reloaded(91_000, "950s"), [9, 5], "the new length counts from the same moment: a tenth of the way");
    assert_eq!(reloaded(91_000, "0s"), [50, 5]);
    assert_eq!(reloaded(191_000, "950s"), [50, 5], "what is over doesn't begin again");
}

#[test]
fn a_ramp_goes_on_over_a_restart() {
    let model = ramps("190s", "190s");
    let mut publisher = begun(&model, &["a", "b"]);
    observe(&mut publisher, &["b"], at(1_000));
    let before = observe(&mut publisher, &[], at(51_000));
    let recoveries = before.recoveries();
    let named: Vec<_> = recoveries.iter().map(|r| (&*r.zone, &*r.endpoint, &*r.rtype, r.since)).collect();
    assert_eq!(named, [("t.example.", "a", "A", at(1_000)), ("t.example.", "b", "A", at(51_000))]);
    let restarted = |down: &[&str], now| {
        let mut publisher = Publisher::new(first(&model, &[]));
        publisher.begin(
            WorldView { at: now, ..view(&model, down) },
            &SteeringState { recoveries: recoveries.clone(), ..SteeringState::default() },
        );
        publisher
    };
    let served = |publisher: &Publisher| publisher.snapshots().load_full();
    let again = served(&restarted(&[], at(91_000)));
    assert_eq!([part(&again, "one"), part(&again, "two")], [33, 20]);
    assert_eq!(again.recoveries(), recoveries);
    let mut down = restarted(&["a"], at(91_000));
    assert_eq!(served(&down).recoveries().len(), 1, "down again");
    assert_eq!(part(&observe(&mut down, &[], at(92_000)), "one"), 5);
    let late = served(&restarted(&[], at(900_000)));
    assert_eq!((part(&late, "one"), late.recoveries()), (50, vec![]), "long over");
}

#[test]
fn a_step_moves_clients_to_the_one_that_grows_and_no_others() {
    let model = model(
        r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m", ramp = "190s" }
        endpoint.b = { addresses = ["192.0.2.12"], monitor = "m", weight = 3 }
        endpoint.c = { addresses = ["192.0.2.13"], monitor = "m" }
        pool.one = { members = ["a", "b", "c"], steer = "affinity" }
        name.one = { pool = "one" }
        "#,
    );
    let net = |nth: u32| {
        ClientNet::of(AffinityNet { v4: 24, v6: 56 }, IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + (nth << 8))), None)
    };
    let answers = |snapshot: &Snapshot| -> Vec<u16> {
        let cell = cell(snapshot, "one");
        (0..4000).map(|nth| cell.record(cell.pick_for(nth.into(), net(nth))[0]).slot).collect()
    };
    let own = answers(&first(&model, &[]));
    let mut publisher = begun(&model, &["a"]);
    let mut before = answers(&publisher.snapshots().load_full());
    let mut seen = vec![0];
    for step in 0..20 {
        let after = answers(&observe(&mut publisher, &[], at(1_000 + step * 10_000)));
        let moved: Vec<(u16, u16)> =
            before.iter().copied().zip(after.iter().copied()).filter(|(b, a)| b != a).collect();
        assert!(moved.iter().all(|(_, to)| *to == 0), "{moved:?}");
        seen.push(after.iter().filter(|slot| **slot == 0).count());
        before = after;
    }
    assert_eq!(before, own, "each has come back to where it was");
    // Of 4000 nets, 1/81 at first and 1/5 at last; five standard deviations either way.
    assert!(seen[1].abs_diff(49) < 35 && seen[20].abs_diff(800) < 127, "{seen:?}");
}

/// Weight, and of one that comes back its ramp and when, in seconds.
type Member = (u32, Option<(u64, u64)>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_hold_each_as_often_as_is_explained(
        members in prop::collection::vec((1_u32..1_000_000, prop::option::of((1_u64..3600, 1_u64..600))), 3..6),
        answers in 1_usize..3,
    ) {
        let endpoint = |(at, (weight, back)): (usize, &Member)| {
            let ramp = back.map_or(0, |(ramp, _)| ramp);
            let own = format!("addresses = [\"192.0.2.{at}\"], monitor = \"m\", weight = {weight}");
            format!("endpoint.e{at} = {{ {own}, ramp = \"{ramp}s\" }}")
        };
        let mut policy: Vec<String> = members.iter().enumerate().map(endpoint).collect();
        let rest: Vec<String> = (2..members.len()).map(|at| format!("\"e{at}\"")).collect();
        policy.push("pool.in = { members = [\"e0\", \"e1\"] }".to_owned());
        policy.push(format!("pool.one = {{ members = [{{ to = \"in\", weight = 500000 }}, {}] }}", rest.join(", ")));
        policy.push(format!("name.one = {{ pool = \"one\", answers = {answers} }}"));
        let model = model(&policy.join("\n"));
        let names: Vec<String> = (0..members.len()).map(|at| format!("e{at}")).collect();
        let down_at = |second: u64| -> Vec<&str> {
            let is_down = |at: usize| members[at].1.is_some_and(|(_, back)| second < back);
            names.iter().enumerate().filter(|(at, _)| is_down(*at)).map(|(_, name)| name.as_str()).collect()
        };
        let mut publisher = begun(&model, &down_at(0));
        let backs = members.iter().filter_map(|(_, back)| Some(back.as_ref()?.1));
        let mut moments: Vec<u64> = backs.chain([600]).collect();
        moments.sort_unstable();
        for second in moments {
            observe(&mut publisher, &down_at(second), at(second * 1000));
        }
        let snapshot = publisher.snapshots().load_full();
        let cell = cell(&snapshot, "one");
        let AnswerSource::Endpoints(given) = &cell.decision().source else {
            return Err(TestCaseError::fail("nothing is given"));
        };
        const ROUNDS: u64 = 4000;
        let mut counts = vec![0_u64; members.len()];
        for seed in 0..ROUNDS {
            let picks = cell.pick(seed.wrapping_mul(0xD134_2543_DE82_EF95));
            picks.iter().for_each(|index| counts[usize::from(cell.record(*index).slot)] += 1);
        }
        let slots = &model.policies[0].endpoints;
        for (endpoint, odd) in given.probabilities(|_| false) {
            let slot = slots.iter().position(|of| *of == endpoint).unwrap();
            let found = counts[slot] as f64 / ROUNDS as f64;
            let deviation = (odd * (1.0 - odd) / ROUNDS as f64).sqrt();
            prop_assert!((found - odd).abs() <= 6.0 * deviation + 1e-9, "{endpoint:?}: {found}, not {odd}");
        }
    }
}
