//! What a publisher knows of the past: who came back, and when what it gets has to be decided again.

use std::sync::Arc;
use std::time::Duration;

use super::{cell, first, model, view};
use crate::model::{CheckId, Model, Moment, PolicyId, Recovery, WorldView};
use crate::snapshot::{Identity, Publisher, Snapshot};
use crate::steering::Given;

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
    publisher.begin(view(model, down), &[]);
    publisher
}

fn observe(publisher: &mut Publisher, down: &[&str], now: Moment) -> Arc<Snapshot> {
    let model = publisher.snapshots().load().model.clone();
    publisher.observe(WorldView { at: now, ..view(&model, down) }, 0.0);
    publisher.snapshots().load_full()
}

/// The part of a name's answers that is its own endpoint's, percent, rounded.
fn part(snapshot: &Snapshot, name: &str) -> u32 {
    let Given::Endpoints(given) = &cell(snapshot, name).decision().given else { return 0 };
    let both = snapshot.model.endpoints.iter().position(|endpoint| endpoint.name == "both").unwrap();
    let own = given.parts(|_| false).into_iter().filter(|(id, _)| id.0 as usize != both);
    (own.map(|(_, part)| part).sum::<f64>() * 100.0).round() as u32
}

#[test]
fn names_are_decided_again_at_each_step_and_not_between() {
    let model = ramps("190s", "0s");
    let mut publisher = begun(&model, &[]);
    observe(&mut publisher, &["a", "b"], at(500));
    let mut before = observe(&mut publisher, &[], at(1_000));
    assert_eq!([part(&before, "one"), part(&before, "two")], [5, 50]);
    let mut decided = Vec::new();
    for second in 2..=200 {
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
    let expected: Vec<_> = (1..=19).map(|step| (1 + 10 * step, own)).collect();
    assert_eq!(decided, expected, "the TTL is 5 s at most and at least, so that nothing else shows");
    assert_eq!(part(&before, "one"), 50);
    assert_eq!(before.view.check(CheckId(0)).recovery, Recovery::None, "forgotten");
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
