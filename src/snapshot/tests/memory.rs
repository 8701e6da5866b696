//! What outlives a refresh, a reload and a restart: choices that resist change, and last good answers.

use std::sync::Arc;
use std::time::Duration;

use super::{cell, first, given, model, two_names, view};
use crate::model::{EndpointId, Facet, MemberRef, Model, Moment, Override, OverrideState, PolicyId, PoolId, WorldView};
use crate::snapshot::classes::PolicyClasses;
use crate::snapshot::compile::{compile, refresh, restore};
use crate::snapshot::policies::FacetCells;
use crate::snapshot::remap::Remap;
use crate::snapshot::restore::ModelMemory;
use crate::snapshot::touched::{Resisting, touched};
use crate::snapshot::{Cell, LocalClass, NamedAnswer, NamedShare, NamedStanding, NamedStep, Snapshot, SteeringState};
use crate::steering::{Challenger, Decision, Standing};

fn at(secs: u64) -> Moment {
    Moment::from_start(Duration::from_secs(secs))
}

fn policy(model: &Model, label: &str) -> PolicyId {
    model.zones[0].steered.iter().find(|steered| steered.label == label).unwrap().policy
}

fn pool(model: &Model, name: &str) -> PoolId {
    PoolId(model.pools.iter().position(|pool| pool.name == name).unwrap() as u32)
}

fn endpoint(model: &Model, name: &str) -> MemberRef {
    MemberRef::Endpoint(EndpointId(model.endpoints.iter().position(|of| of.name == name).unwrap() as u32))
}

/// A snapshot in which pool `one` of name `one` stands by `members`, whatever is steered.
fn standing_by(snapshot: &Snapshot, members: &[&str], due: Option<Moment>) -> Snapshot {
    let model = &snapshot.model;
    let challenger = due.map(|_| Challenger { members: vec![endpoint(model, "a")], since: at(1), due });
    let incumbents = members.iter().map(|name| endpoint(model, name)).collect();
    let standing = Standing { pool: pool(model, "one"), incumbents, challenger, waiting: Vec::new() };
    let decision = Decision { standings: vec![standing], ..cell(snapshot, "one").decision().clone() };
    let policy = policy(model, "one");
    let cell = Arc::new(Cell::prepare(model, model.policy(policy), Arc::new(decision)));
    let mut next = snapshot.clone();
    next.policies.replace(policy, [FacetCells { facet: Facet::V4, cells: [cell].into(), tables: None }].into());
    next.resisting = Arc::new(Resisting::of(next.policies.iter()));
    next
}

fn standing(members: &[&str]) -> NamedStanding {
    NamedStanding {
        zone: "t.example.".into(),
        name: "one".into(),
        rtype: "A".into(),
        class: "any".into(),
        pool: "one".into(),
        members: members.iter().map(|name| (*name).to_owned()).collect(),
        waiting: Vec::new(),
    }
}

/// A state directory with these choices alone.
fn stands(standings: &[NamedStanding]) -> SteeringState {
    SteeringState { standings: standings.to_vec(), ..SteeringState::default() }
}

#[test]
fn a_policy_is_decided_again_from_when_its_ttl_reaches_the_time_at_which_a_challenger_is_due() {
    let model = model(
        r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
        endpoint.both = { addresses = ["192.0.2.13"], monitor = "m" }
        pool.one = { members = ["a", "both"] }
        name.one = { pool = "one", ttl = { min = "2s", max = "5s" } }
        "#,
    );
    let snapshot = standing_by(&first(&model, &[]), &["both"], Some(at(60)));
    let touched_at = |now| {
        let now = WorldView { at: now, ..view(&model, &[]) };
        touched(&snapshot, &now).otherwise.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(touched_at(at(55)), [], "the TTL is 5 s at most");
    for secs in 56..=60 {
        assert_eq!(touched_at(at(secs)), [policy(&model, "one")], "at {secs}");
    }
    let later = Snapshot { view: seen_at(&model, &[], at(57)), ..snapshot.clone() };
    let now = |millis| WorldView { at: Moment::from_start(Duration::from_millis(millis)), ..view(&model, &[]) };
    for (millis, expected) in [(57_000, 0), (57_001, 1), (58_000, 1), (59_999, 1), (60_000, 1)] {
        assert_eq!(touched(&later, &now(millis)).otherwise.len(), expected, "at {millis} ms: the TTL is 3 s before");
    }
    let last = Snapshot { view: seen_at(&model, &[], at(58)), ..snapshot.clone() };
    assert!(touched(&last, &now(59_999)).otherwise.is_empty(), "it is 2 s until then");
}

#[test]
fn a_choice_is_noted_while_it_lasts_and_not_for_nothing() {
    let model = two_names();
    let before = first(&model, &[]);
    let after = standing_by(&before, &["both"], None);
    assert_eq!((after.standings_by_name(), before.standings_by_name()), (vec![standing(&["both"])], vec![]));
    assert!(!after.has_standings_of(&before));
    let elsewhere = refresh(&after, Arc::new(view(&model, &["b"])));
    assert!(elsewhere.has_standings_of(&after), "the other name's endpoint is not its concern");
}

#[test]
fn an_override_touches_the_policies_of_its_endpoint_and_no_others() {
    let model = two_names();
    let before = first(&model, &[]);
    let override_of = |state, why: &str| {
        Arc::new(Override { target: "a".into(), state, why: why.into(), who: "ann".into(), until: None, zones: None })
    };
    let MemberRef::Endpoint(a) = endpoint(&model, "a") else { unreachable!("an endpoint") };
    let saying = |of: &[Arc<Override>]| WorldView {
        overrides: Arc::new(of.iter().map(|override_of| (a, override_of.clone())).collect()),
        ..view(&model, &[])
    };
    let one = [policy(&model, "one")];
    let drained = saying(&[override_of(OverrideState::Drain, "works")]);
    assert_eq!(touched(&before, &drained).otherwise.into_iter().collect::<Vec<_>>(), one);
    let after = refresh(&before, Arc::new(drained.clone()));
    assert!(touched(&after, &drained).otherwise.is_empty(), "the same map");
    let again = saying(&[override_of(OverrideState::Drain, "works")]);
    assert!(touched(&after, &again).otherwise.is_empty(), "another map that says the same");
    let other_words = saying(&[override_of(OverrideState::Drain, "fire")]);
    assert_eq!(touched(&after, &other_words).otherwise.into_iter().collect::<Vec<_>>(), one);
    assert_eq!(touched(&after, &view(&model, &[])).otherwise.into_iter().collect::<Vec<_>>(), one, "cleared");
}

/// The same names and pools in another order and with one endpoint more, so that all ids differ.
fn moved(members: &str) -> Arc<Model> {
    model(&format!(
        r#"
        endpoint.new = {{ addresses = ["192.0.2.14"], monitor = "m" }}
        endpoint.both = {{ addresses = ["192.0.2.13"], monitor = "m" }}
        endpoint.a = {{ addresses = ["192.0.2.11"], monitor = "m" }}
        pool.other = {{ members = ["new"] }}
        pool.one = {{ members = [{members}] }}
        name.other = {{ pool = "other" }}
        name.one = {{ pool = "one" }}
        "#
    ))
}

/// The choices that `one` of the next generation starts with.
fn restored(from: &Snapshot, to: &Model) -> Vec<Standing> {
    let classes = PolicyClasses::of(to);
    let remap = Remap::between(from, to, &classes);
    let restored = ModelMemory::from_snapshot(from, to, &remap);
    let policy = policy(to, "one");
    let cell = restored.memory(policy, classes.locals(policy), Facet::V4, LocalClass(0));
    cell.memory().standings.to_vec()
}

#[test]
fn choices_outlive_a_reload_by_name() {
    let before = standing_by(&first(&two_names(), &[]), &["both"], Some(at(60)));
    let next = moved("\"new\", \"a\", \"both\"");
    let challenger = Challenger { members: vec![endpoint(&next, "a")], since: at(1), due: Some(at(60)) };
    let expected = Standing {
        pool: pool(&next, "one"),
        incumbents: vec![endpoint(&next, "both")],
        challenger: Some(challenger),
        waiting: Vec::new(),
    };
    assert_eq!(restored(&before, &next), [expected]);
    let without = moved("\"new\", \"both\"");
    let [standing] = &restored(&before, &without)[..] else { panic!("none") };
    assert_eq!(standing.challenger, None, "who challenged is gone");
    assert_eq!(restored(&before, &moved("\"new\", \"a\"")), [], "who was chosen is gone");
    assert_eq!(restored(&first(&two_names(), &[]), &next), []);
}

#[test]
fn choices_outlive_a_restart_by_name() {
    let next = moved("\"new\", \"a\", \"both\"");
    let text = serde_json::to_string(&[standing(&["both", "gone"])]).unwrap();
    let rows: Vec<NamedStanding> = serde_json::from_str(&text).unwrap();
    let restored = ModelMemory::from_files(&rows, &[], &next);
    let classes = PolicyClasses::of(&next);
    let standings = |name: &str, facet| {
        let policy = policy(&next, name);
        restored.memory(policy, classes.locals(policy), facet, LocalClass(0)).memory().standings.to_vec()
    };
    let incumbents = vec![endpoint(&next, "both")];
    let pool = pool(&next, "one");
    let expected = Standing { pool, incumbents, challenger: None, waiting: Vec::new() };
    assert_eq!(standings("one", Facet::V4), [expected]);
    assert_eq!((standings("one", Facet::V6), standings("other", Facet::V4)), (vec![], vec![]));
}

#[test]
fn choices_of_things_that_are_gone_are_left_out() {
    let next = two_names();
    let broken = [
        NamedStanding { zone: "u.example.".into(), ..standing(&["both"]) },
        NamedStanding { zone: "not a zone".into(), ..standing(&["both"]) },
        NamedStanding { name: "nobody".into(), ..standing(&["both"]) },
        NamedStanding { pool: "nothing".into(), ..standing(&["both"]) },
        NamedStanding { class: "region=gone".into(), ..standing(&["both"]) },
        standing(&[]),
    ];
    let view = Arc::new(view(&next, &[]));
    let restored = restore(next.clone(), view.clone(), Arc::default(), 1, &stands(&broken));
    let fresh = compile(next, view, Arc::default(), 1, None);
    assert_eq!(given(&restored, "one"), given(&fresh, "one"));
    assert!(restored.decisions().eq(fresh.decisions()));
}

/// Name `one`, active-passive: `a` before `both`.
fn active_passive(failback: &str, order: &str) -> Arc<Model> {
    model(&format!(
        r#"
        {order}
        pool.one = {{ members = ["a", "both"], steer = "failover" }}
        name.one = {{ pool = "one", failback = "{failback}" }}
        "#
    ))
}

const LISTED: &str = r#"
    endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
    endpoint.both = { addresses = ["192.0.2.13"], monitor = "m" }
"#;

const TURNED: &str = r#"
    endpoint.both = { addresses = ["192.0.2.13"], monitor = "m" }
    endpoint.a = { addresses = ["192.0.2.11"], monitor = "m" }
"#;

fn seen_at(model: &Model, down: &[&str], now: Moment) -> Arc<WorldView> {
    Arc::new(WorldView { at: now, ..view(model, down) })
}

#[test]
fn a_manual_failback_outlives_refresh_reload_and_restart() {
    let model = active_passive("manual", LISTED);
    let mut snapshot = compile(model.clone(), seen_at(&model, &[], at(1)), Arc::default(), 1, None);
    assert_eq!(given(&snapshot, "one"), ["a"]);
    snapshot = refresh(&snapshot, seen_at(&model, &["a"], at(2)));
    snapshot = refresh(&snapshot, seen_at(&model, &[], at(3)));
    assert_eq!(given(&snapshot, "one"), ["both"], "nobody has gone back by hand");
    let next = active_passive("manual", TURNED);
    let reloaded = compile(next.clone(), seen_at(&next, &[], at(4)), Arc::default(), 2, Some(&snapshot));
    assert_eq!(given(&reloaded, "one"), ["both"]);
    let standings = reloaded.standings_by_name();
    let restarted = restore(model.clone(), seen_at(&model, &[], at(1)), Arc::default(), 1, &stands(&standings));
    assert_eq!(given(&restarted, "one"), ["both"]);
    let forgotten = restore(model.clone(), seen_at(&model, &[], at(1)), Arc::default(), 1, &SteeringState::default());
    assert_eq!(given(&forgotten, "one"), ["a"]);
}

#[test]
fn a_failback_after_a_time_happens_then_though_nothing_else_does() {
    let model = active_passive("10m", LISTED);
    let mut snapshot = compile(model.clone(), seen_at(&model, &["a"], at(1)), Arc::default(), 1, None);
    for (now, expected) in [(100, "both"), (101, "both"), (699, "both"), (700, "a"), (701, "a")] {
        snapshot = refresh(&snapshot, seen_at(&model, &[], at(now)));
        assert_eq!(given(&snapshot, "one"), [expected], "{now} s");
    }
}

/// The last good answers as they are in the file.
fn filed(snapshot: &Snapshot) -> Vec<NamedAnswer> {
    serde_json::from_str(&serde_json::to_string(&snapshot.last_good_by_name()).unwrap()).unwrap()
}

#[test]
fn last_good_answers_outlive_a_restart_by_name() {
    let model = two_names();
    let good = first(&model, &["a"]);
    assert_eq!(given(&good, "one"), ["both"]);
    let dead = refresh(&good, Arc::new(view(&model, &["a", "both"])));
    assert!(cell(&dead, "one").is_stale() && given(&dead, "one") == ["both"]);
    // A crash before and after the last one went down leaves the same.
    for before in [&good, &dead] {
        let retained = SteeringState { answers: filed(before), ..SteeringState::default() };
        let next = moved("\"new\", \"a\", \"both\"");
        let all_down = Arc::new(view(&next, &["a", "both", "new"]));
        let again = restore(next, all_down, Arc::default(), 1, &retained);
        assert!(cell(&again, "one").is_stale());
        assert_eq!(given(&again, "one"), ["both"], "and not every endpoint of the pool");
    }
    let mut broken = filed(&dead);
    broken.retain(|answer| answer.name == "one");
    let [answer] = &mut broken[..] else { panic!("{broken:?}") };
    let share = answer.tiers[0][0].clone();
    answer.tiers = vec![
        vec![NamedShare { weight: f64::NAN, ..share.clone() }, NamedShare { weight: -1.0, ..share.clone() }],
        vec![NamedShare { endpoints: vec!["gone".into()], ..share.clone() }],
        vec![NamedShare { path: vec![NamedStep { member: "no hash".into(), by_net: true }], ..share }],
    ];
    let retained = SteeringState { answers: broken, ..SteeringState::default() };
    let again = restore(model.clone(), Arc::new(view(&model, &["a", "both"])), Arc::default(), 1, &retained);
    assert_eq!(given(&again, "one"), ["a", "both"], "nothing of it can be right");
}
