//! Tests of `/v1/names`, from files to JSON.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Flags, load};
use crate::control::history::History;
use crate::control::names::{MeasuredEndpoint, MeasuredSplit, NameReport, NameState, NameStateCache, Reporter};
use crate::model::{CheckView, Health, Model, Moment, WorldView};
use crate::server::Totals;
use crate::snapshot::compile::{compile, refresh};
use crate::snapshot::{Identity, Snapshot};

const SETTINGS: &str = "region = \"eu\"\n[clients]\ndefault_region = \"eu\"\n[regions.eu]\nnets = [\"192.0.2.0/24\"]\n\
                        [regions.us]\nnets = [\"203.0.113.0/24\"]\n";

const MASTER: &str = "$TTL 600\n@ SOA ns h 1 2 3 4 300\n@ NS ns\nns A 192.0.2.7\nold A 192.0.2.77\n";

const POLICY: &str = r#"
zone = "svc.test."
[monitor.m]
type = "tcp"
port = 80
[endpoint.pg-a]
addresses = ["192.0.2.10"]
monitor = "m"
[endpoint.pg-b]
addresses = ["192.0.2.11"]
monitor = "m"
[pool.pg]
members = ["pg-a", "pg-b"]
steer = "failover"
[pool.web]
members = ["pg-a", "pg-b"]
[pool.where]
steer = "geo"
members = [{ to = "pg-a", when = { nets = ["192.0.2.0/24"] } }, { to = "pg-b" }]
[name.pg]
pool = "pg"
failback = "manual"
[name.late]
pool = "pg"
failback = "10m"
[name.www]
pool = "web"
on_empty = "nodata"
[name.old]
pool = "pg-a"
on_empty = "static"
[name.where]
pool = "where"
"#;

fn model() -> Model {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("zones")).unwrap();
    let files = [("portolan.toml", SETTINGS), ("zones/svc.test.zone", MASTER), ("zones/svc.test.policy.toml", POLICY)];
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    load(Some(&dir.path().join("portolan.toml")), &Flags::default()).unwrap().model
}

fn at(seconds: u64) -> Moment {
    Moment::from_start(Duration::from_secs(seconds))
}

/// A world in which the endpoints with these names are down.
fn view(model: &Model, down: &[&str], seconds: u64) -> Arc<WorldView> {
    let up = CheckView { health: Health::Up, tried: true, ..CheckView::default() };
    let mut view = WorldView { at: at(seconds), checks: vec![up; model.checks.len()].into(), ..WorldView::default() };
    for endpoint in model.endpoints.iter().filter(|endpoint| down.contains(&endpoint.name.as_str())) {
        for check in endpoint.answerables.iter().filter_map(|side| side.check) {
            view.checks[check.0 as usize].health = Health::Down;
        }
    }
    Arc::new(view)
}

fn first() -> Snapshot {
    let model = Arc::new(model());
    let view = view(&model, &[], 0);
    compile(model, view, Arc::new(Identity::default()), 1, None)
}

/// The snapshot after one in which these are down.
fn next(before: &Snapshot, down: &[&str], seconds: u64) -> Snapshot {
    refresh(before, view(&before.model, down, seconds))
}

fn reports(cache: &NameStateCache, snapshot: &Snapshot) -> Vec<NameReport> {
    let snapshot = Arc::new(snapshot.clone());
    let reporter = Reporter::new(snapshot.clone(), cache.states(&snapshot), snapshot.view.at);
    reporter.positions().map(|position| reporter.report(position)).collect()
}

/// The state of one name, and its sentences.
fn seen(snapshot: &Snapshot, name: &str) -> (NameState, Vec<String>) {
    let report = reports(&NameStateCache::default(), snapshot).into_iter().find(|report| report.name == name).unwrap();
    let NameReport { eligible, on_empty, preferred, notes, .. } = report;
    (NameState { eligible, on_empty, preferred }, notes)
}

fn state(eligible: usize, on_empty: bool, preferred: bool) -> NameState {
    NameState { eligible, on_empty, preferred }
}

#[test]
fn while_all_is_well_every_name_gives_what_its_policy_prefers() {
    for report in reports(&NameStateCache::default(), &first()) {
        assert!(report.preferred && !report.on_empty && report.notes.is_empty(), "{report:?}");
        assert!(report.classes.iter().all(|class| class.preferred && class.prefers.is_empty()), "{report:?}");
    }
}

#[test]
fn a_failover_that_moved_says_why_and_that_it_stays() {
    let moved = next(&first(), &["pg-a"], 10);
    assert_eq!(
        seen(&moved, "pg"),
        (state(1, false, false), vec!["pg gives pg-b instead of pg-a: pg-a is down".into()])
    );
    let back = next(&moved, &[], 60);
    assert_eq!(seen(&back, "pg"), (state(2, false, false), vec!["pg stays on pg-b (failback manual)".into()]));
    let late = next(&back, &[], 180);
    let sentence = "late stays on pg-b (failback after 10m, in 8m)".to_owned();
    assert_eq!(seen(&late, "late"), (state(2, false, false), vec![sentence]));
}

#[test]
fn a_weighted_pool_prefers_any_of_its_members_and_says_when_none_is_left() {
    let one = next(&first(), &["pg-a"], 10);
    assert_eq!(seen(&one, "www"), (state(1, false, true), vec![]));
    let none = next(&one, &["pg-a", "pg-b"], 20);
    let (found, notes) = seen(&none, "www");
    assert_eq!(found, state(0, true, false));
    assert!(notes.len() == 1 && notes[0].starts_with("www: nothing is eligible; on_empty = nodata"), "{notes:?}");
}

#[test]
fn the_records_of_the_zone_file_are_reported() {
    let dead = next(&first(), &["pg-a"], 10);
    let all = reports(&NameStateCache::default(), &dead);
    let old = all.iter().find(|report| report.name == "old").unwrap();
    let class = &old.classes[0];
    assert_eq!((class.gives.as_str(), class.from.as_str(), class.on_empty), ("static", "on_empty", true));
    assert_eq!(class.answers.iter().map(|answer| answer.rdata.as_str()).collect::<Vec<_>>(), ["192.0.2.77"]);
    assert_eq!(class.prefers, ["pg-a"]);
}

#[test]
fn each_class_of_clients_is_reported_by_itself() {
    let dead = next(&first(), &["pg-a"], 10);
    let all = reports(&NameStateCache::default(), &dead);
    let report = all.iter().find(|report| report.name == "where").unwrap();
    let classes: Vec<(&str, bool)> = report.classes.iter().map(|of| (of.class.as_str(), of.preferred)).collect();
    assert_eq!(classes, [("others", true), ("nets=192.0.2.0/24", false)], "{report:?}");
    assert_eq!(report.notes, ["where for clients of nets=192.0.2.0/24 gives pg-b instead of pg-a: pg-a is down"]);
}

#[test]
fn a_used_cache_has_the_same_states_as_a_new_one() {
    let cache = NameStateCache::default();
    let mut snapshot = first();
    for (step, down) in [&["pg-a"][..], &[], &["pg-a", "pg-b"], &["pg-b"], &[]].iter().enumerate() {
        snapshot = next(&snapshot, down, 10 * step as u64 + 10);
        assert_eq!(cache.states(&snapshot), NameStateCache::default().states(&snapshot), "{down:?}");
    }
    let other = first();
    assert_eq!(cache.states(&other), NameStateCache::default().states(&other), "a new model empties the cache");
}

#[test]
fn a_name_has_its_measured_split() {
    let snapshot = Arc::new(first());
    let history = History::default();
    let count = |picks: &[(&str, &str, u64)]| {
        let mut totals = Totals { picks: vec![0; snapshot.tallies.len()], ..Totals::default() };
        for (id, place) in (0..).zip(&mut totals.picks) {
            let labels = snapshot.tallies.labels(id).unwrap();
            let of_labels =
                |(name, endpoint, _): &&(&str, &str, u64)| (labels.name, labels.endpoint) == (*name, *endpoint);
            *place = picks.iter().find(of_labels).map_or(7, |(_, _, count)| *count);
        }
        totals
    };
    history.sample(&snapshot, count(&[("www", "pg-a", 100), ("www", "pg-b", 50)]), at(10), 0.0);
    history.sample(&snapshot, count(&[("www", "pg-a", 175), ("www", "pg-b", 75)]), at(30), 0.0);
    let states = NameStateCache::default().states(&snapshot);
    let reporter = Reporter::new(snapshot.clone(), states, at(30)).with_split(history.split());
    let measured = |name: &str| {
        let mut reports = reporter.positions().map(|position| reporter.report(position));
        reports.find(|report| report.name == name).unwrap().measured.unwrap()
    };
    let answer = |endpoint: &str, count| MeasuredEndpoint { endpoint: endpoint.into(), count };
    assert_eq!(measured("www"), MeasuredSplit { over_s: 20, answers: vec![answer("pg-a", 75), answer("pg-b", 25)] });
    assert_eq!(measured("pg").answers, [], "nobody has asked for it in that time");
}
