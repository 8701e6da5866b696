//! From files and views to what is served: what a change touches, what outlives a reload, which transitions are
//! reported.

mod classes;
mod coming;
mod kinds;
mod memory;
mod ramp;
mod scope;
mod targets;
mod turns;

use std::sync::Arc;

use crate::config::{self, Flags};
use crate::model::{
    CheckId, CheckView, Doubt, Evidence, EvidenceBook, Facet, Health, Model, Moment, PolicyId, RegionId, VantageState,
    VantageView, WorldView,
};
use crate::snapshot::compile::{compile, refresh};
use crate::snapshot::{Cell, Identity, LocalClass, Publisher, Snapshot};
use crate::source;
use crate::steering::AnswerSource;

const ZONE: &str = "$TTL 60\n@ SOA ns1 host 1 2 3 4 5\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n";

const HEAD: &str = r#"
zone = "t.example."
defaults = { ttl = "5s" }
monitor.m = { type = "tcp", port = 1 }
"#;

/// The model of a policy file: [`HEAD`] and `policy`.
fn model(policy: &str) -> Arc<Model> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.example.zone"), ZONE).unwrap();
    std::fs::write(dir.path().join("t.example.policy.toml"), format!("{HEAD}{policy}")).unwrap();
    let flags = Flags::default()
        .with("region", "here")
        .with("clients.default_region", "here")
        .with("zones.dir", dir.path().to_str().unwrap());
    match config::load(None, &flags) {
        Ok(loaded) => Arc::new(loaded.model),
        Err(problems) => panic!("{}", source::to_human(&problems)),
    }
}

/// Two names with an endpoint each of their own and one in both.
fn two_names() -> Arc<Model> {
    model(
        r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
        endpoint.b = { addresses = ["192.0.2.12"], monitor = "m" }
        endpoint.both = { addresses = ["192.0.2.13"], monitor = "m" }
        pool.one = { members = ["a", "both"] }
        pool.two = { members = ["b", "both"] }
        name.one = { pool = "one" }
        name.two = { pool = "two" }
        "#,
    )
}

/// A view in which the endpoints called `down` are down and the others up.
fn view(model: &Model, down: &[&str]) -> WorldView {
    let seen = |at: usize| {
        let is_of =
            |e: &&crate::model::Endpoint| e.answerables.iter().any(|a| a.check.is_some_and(|c| c.0 as usize == at));
        let is_down = model.endpoints.iter().filter(is_of).any(|e| down.contains(&e.name.as_str()));
        Evidence {
            vantage: "v".into(),
            region: RegionId(0),
            health: if is_down { Health::Down } else { Health::Up },
            rtt: None,
            probed_at: None,
            why: is_down.then(|| "connection refused".into()),
            hold: None,
            doubt: Doubt::None,
            is_counted: true,
        }
    };
    let check_view = |seen: &Evidence| CheckView {
        health: seen.health,
        tried: true,
        cause: seen.why.clone().map(|why| (why, seen.vantage.clone())),
        ..CheckView::default()
    };
    let vantage = VantageView {
        name: "v".into(),
        region: RegionId(0),
        state: VantageState::Up,
        why: None,
        reported_at: Default::default(),
    };
    let all: Vec<Evidence> = (0..model.checks.len()).map(seen).collect();
    let checks = all.iter().map(check_view).collect();
    let evidence = EvidenceBook::Listed(all.into_iter().map(|seen| vec![seen]).collect());
    WorldView { checks, vantages: vec![vantage], evidence, ..WorldView::default() }
}

fn first(model: &Arc<Model>, down: &[&str]) -> Snapshot {
    compile(model.clone(), Arc::new(view(model, down)), Arc::new(Identity::default()), 1, None)
}

fn cell<'s>(snapshot: &'s Snapshot, name: &str) -> &'s Cell {
    let owner = crate::wire::Name::parse(&format!("{name}.t.example.")).unwrap();
    let (_, steered) = snapshot.steered(&owner).unwrap();
    snapshot.cell(steered.policy, LocalClass(0), Facet::V4).unwrap()
}

/// The names of the endpoints that a name is answered with, sorted.
fn given(snapshot: &Snapshot, name: &str) -> Vec<String> {
    let AnswerSource::Endpoints(distribution) = &cell(snapshot, name).decision().source else { return Vec::new() };
    let shares = distribution.tiers.iter().flat_map(|tier| &tier.shares);
    let ids = shares.flat_map(|share| &share.endpoints);
    let mut names: Vec<_> = ids.map(|id| snapshot.model.endpoint(*id).name.clone()).collect();
    names.sort();
    names
}

#[test]
fn a_view_that_changes_nothing_shares_everything() {
    let model = two_names();
    let before = first(&model, &[]);
    let after = refresh(&before, Arc::new(view(&model, &[])));
    assert!(before.policies.iter().zip(after.policies.iter()).all(|(old, new)| Arc::ptr_eq(old, new)));
    assert!(Arc::ptr_eq(&before.zones, &after.zones));
}

#[test]
fn a_change_touches_the_policies_of_its_endpoint_and_no_others() {
    let model = two_names();
    let before = first(&model, &[]);
    let touched = |down: &[&str]| -> Vec<bool> {
        let after = refresh(&before, Arc::new(view(&model, down)));
        before.policies.iter().zip(after.policies.iter()).map(|(old, new)| !Arc::ptr_eq(old, new)).collect()
    };
    let of = |name: &str| {
        let steered = model.zones[0].steered.iter().find(|steered| steered.label == name).unwrap();
        let PolicyId(at) = steered.policy;
        at as usize
    };
    let only_one = touched(&["a"]);
    assert!(only_one[of("one")] && !only_one[of("two")]);
    assert_eq!(touched(&["both"]), [true, true]);
}

#[test]
fn round_trips_matter_to_the_pool_that_is_fallen_back_on() {
    let model = model(
        r#"
        endpoint.own = { addresses = ["192.0.2.11"], monitor = "m" }
        endpoint.far = { addresses = ["192.0.2.12"], monitor = "m" }
        endpoint.near = { addresses = ["192.0.2.13"], monitor = "m" }
        pool.spare = { members = ["far", "near"], steer = "latency" }
        name.one = { pool = "own", on_empty = "spare" }
        "#,
    );
    let measured = |ms: [u64; 3]| {
        let mut view = view(&model, &["own"]);
        for (check, ms) in view.checks.iter_mut().zip(ms) {
            check.rtts = vec![(RegionId(0), std::time::Duration::from_millis(ms))];
        }
        Arc::new(view)
    };
    let firsts = |snapshot: &Snapshot| {
        let (_, name) = snapshot.steered(&crate::wire::Name::parse("one.t.example.").unwrap()).unwrap();
        let cell = snapshot.cell(name.policy, LocalClass(0), Facet::V4).unwrap();
        let AnswerSource::Endpoints(distribution) = &cell.decision().source else { panic!("{:?}", cell.decision()) };
        model.endpoint(distribution.tiers[0].shares[0].endpoints[0]).name.clone()
    };
    let before = compile(model.clone(), measured([1, 90, 5]), Arc::default(), 1, None);
    assert_eq!(firsts(&before), "near");
    assert_eq!(firsts(&refresh(&before, measured([1, 5, 90]))), "far");
}

#[test]
fn last_good_is_what_was_good_last_and_heals_by_itself() {
    let model = two_names();
    let mut snapshot = first(&model, &["a"]);
    assert_eq!(given(&snapshot, "one"), ["both"]);
    snapshot = refresh(&snapshot, Arc::new(view(&model, &["a", "both"])));
    assert!(cell(&snapshot, "one").is_stale());
    assert_eq!(given(&snapshot, "one"), ["both"], "a was not good last");
    snapshot = refresh(&snapshot, Arc::new(view(&model, &["both"])));
    assert!(!cell(&snapshot, "one").is_stale());
    assert_eq!(given(&snapshot, "one"), ["a"]);
}

#[test]
fn last_good_outlives_what_on_empty_gave_in_between() {
    let model = model(
        r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
        endpoint.b = { addresses = ["192.0.2.12"], monitor = "m" }
        endpoint.sorry = { addresses = ["192.0.2.13"], monitor = "m" }
        pool.one = { members = ["a", "b"] }
        name.one = { pool = "one", on_empty = ["sorry", "last_good"] }
        "#,
    );
    let mut snapshot = first(&model, &["a"]);
    assert_eq!(given(&snapshot, "one"), ["b"]);
    snapshot = refresh(&snapshot, Arc::new(view(&model, &["a", "b"])));
    assert_eq!(given(&snapshot, "one"), ["sorry"]);
    snapshot = refresh(&snapshot, Arc::new(view(&model, &["a", "b", "sorry"])));
    assert_eq!(given(&snapshot, "one"), ["b"], "and not everything, as if nothing ever was good");
    assert!(cell(&snapshot, "one").is_stale());
}

#[test]
fn last_good_outlives_a_reload_by_name() {
    let before = first(&two_names(), &["a"]);
    let dead = refresh(&before, Arc::new(view(&before.model, &["a", "both"])));
    // The same names in another order, and with one endpoint more: all ids differ.
    let next = model(
        r#"
        endpoint.new = { addresses = ["192.0.2.14"], monitor = "m" }
        endpoint.both = { addresses = ["192.0.2.13"], monitor = "m" }
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
        pool.one = { members = ["new", "a", "both"] }
        name.one = { pool = "one" }
        "#,
    );
    let all_down = Arc::new(view(&next, &["new", "both", "a"]));
    let after = compile(next.clone(), all_down, Arc::default(), 2, Some(&dead));
    assert_eq!(given(&after, "one"), ["both"]);
    assert!(cell(&after, "one").is_stale());
    let without = compile(next.clone(), Arc::new(view(&next, &["new", "both", "a"])), Arc::default(), 2, None);
    assert_eq!(given(&without, "one"), ["a", "both", "new"], "nothing ever was good: all of them");
}

#[test]
fn counters_keep_their_meaning_over_a_reload() {
    let before = first(&two_names(), &[]);
    let after = compile(
        model("endpoint.z = { addresses = [\"192.0.2.19\"] }\nname.zero = { pool = \"z\" }\n"),
        Arc::default(),
        Arc::default(),
        2,
        Some(&before),
    );
    for id in 0..before.tallies.len() as u32 {
        assert_eq!(before.tallies.labels(id), after.tallies.labels(id));
    }
    let new = after.tallies.labels(before.tallies.len() as u32).unwrap();
    assert_eq!((new.zone, new.name, new.endpoint), ("t.example.", "zero", "z"));
}

#[test]
fn a_transition_has_the_reason_of_a_vantage_that_is_counted() {
    let model = two_names();
    let before = view(&model, &["a"]);
    let mut publisher = Publisher::new(first(&model, &["a"]));
    let mut after = view(&model, &[]);
    let stale = |model: &Model, at: u32| {
        let counted = view(model, &[]).evidence.of(model, CheckId(at), Moment::START);
        let mut silent = counted[0].clone();
        (silent.vantage, silent.is_counted) = ("silent".into(), false);
        silent.why = Some("not counted: reported 17 s ago".into());
        [vec![silent], counted].concat()
    };
    let all = (0..model.checks.len() as u32).map(|at| stale(&model, at)).collect();
    after.evidence = EvidenceBook::Listed(all);
    publisher.observe(before, 1.0);
    let transitions = publisher.observe(after, 2.0);
    let [t] = &transitions[..] else { panic!("{transitions:?}") };
    assert_eq!((t.to, t.why.as_str()), (Health::Up, "seen up by v"));
}

#[test]
fn transitions_say_what_changed_and_why() {
    let model = two_names();
    let mut publisher = Publisher::new(first(&model, &[]));
    assert_eq!(publisher.observe(view(&model, &[]), 1.0), []);
    let transitions = publisher.observe(view(&model, &["a"]), 2.0);
    let [t] = &transitions[..] else { panic!("{transitions:?}") };
    assert_eq!((t.zone.as_str(), t.endpoint.as_str(), t.from, t.to), ("t.example.", "a", Health::Up, Health::Down));
    assert_eq!((t.why.as_str(), t.at, t.generation), ("connection refused (seen by v)", 2.0, 1));
    // What is new in a generation has had no health before: only the health of checks in both is reported.
    let next = self::model(
        r#"
        endpoint.new = { addresses = ["192.0.2.14"], monitor = "m" }
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
        pool.one = { members = ["new", "a"] }
        name.one = { pool = "one" }
        "#,
    );
    let transitions = publisher.adopt(next.clone(), view(&next, &["new"]), Arc::default(), 3.0);
    let [t] = &transitions[..] else { panic!("{transitions:?}") };
    assert_eq!((t.endpoint.as_str(), t.to, t.generation), ("a", Health::Up, 2));
}
