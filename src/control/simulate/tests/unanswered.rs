//! Tests of the questions that would lose their answer, and that an override reports the same as its simulation.

use super::*;
use crate::control::moved::moved;
use crate::control::simulate::{EmptyAnswer, losses};
use crate::model::{Override, OverrideState};
use crate::snapshot::compile::refresh;

/// Names with different clients, services, and different `on_empty`.
const POLICY: &str = r#"
zone = "svc.test."
[monitor.m]
type = "tcp"
port = 80
[endpoint.fra]
addresses = ["192.0.2.10"]
region = "eu"
monitor = "m"
[endpoint.nyc]
addresses = ["203.0.113.10", "2001:db8::20"]
region = "us"
monitor = "m"
[endpoint.sgp]
addresses = ["198.51.100.10"]
region = "ap"
monitor = "m"
[pool.world]
steer = "geo"
members = [{ to = "fra", when = { continents = ["EU"] } }, { to = "nyc" }]
[pool.strict]
members = ["fra"]
[name.www]
pool = "world"
[name.gone]
pool = "strict"
on_empty = "nodata"
[name.file]
pool = "strict"
on_empty = "static"
types = ["A"]
[name.dual]
pool = "nyc"
on_empty = "nodata"
[name."_sip._udp"]
pool = "sgp"
types = ["SRV"]
port = 5060
on_empty = "nodata"
"#;

fn policy() -> String {
    POLICY.replace("continents = [\"EU\"]", "nets = [\"192.0.2.0/24\", \"10.0.0.0/9\"]")
}

/// `NAME TYPES: CLASSES` for each.
fn lost(unanswered: &crate::control::unanswered::UnansweredQuestions) -> Vec<String> {
    let each = unanswered.names.iter().map(|name| {
        let all = if name.all_clients { " all" } else { "" };
        format!("{} {}: {}{all}", name.name, name.types.join(" "), name.classes.join(" "))
    });
    each.collect()
}

#[test]
fn questions_that_lose_their_answer_are_reported() {
    let snapshot = compiled(&policy());
    for (text, expected) in [
        ("", &[][..]),
        ("fra=down", &["gone A: ap eu us all"]),
        ("fra", &["gone A: ap eu us all"]),
        ("sgp=down", &["_sip._udp SRV: ap eu us all"]),
        ("nyc=down", &["dual A AAAA: ap eu us all"]),
    ] {
        let report = simulated(&snapshot, text);
        let found = lost(&report.unanswered);
        let others: Vec<&String> = found.iter().filter(|lost| !lost.starts_with("www")).collect();
        assert_eq!(others, expected, "{text}");
        assert_eq!(report.unanswered.is_nobody(), text.is_empty(), "{text}");
        assert!(report.unanswered.share > 0.0 || text.is_empty());
    }
    let zone = simulated(&snapshot, "zone:svc.test=down");
    assert!(zone.unanswered.share > 0.5, "{:?}", zone.unanswered);
    assert!(!lost(&zone.unanswered).iter().any(|lost| lost.starts_with("file")), "the zone file answers: {zone:?}");
}

#[test]
fn a_question_without_an_answer_loses_none() {
    let snapshot = compiled(&policy());
    let mut view = WorldView::clone(&snapshot.view);
    view.checks.iter_mut().for_each(|check| check.health = Health::Down);
    let dark = refresh(&snapshot, view.into());
    assert_eq!(lost(&simulated(&dark, "fra").unanswered), Vec::<String>::new(), "so already");
    assert!(lost(&simulated(&dark, "fra=down").unanswered).iter().all(|lost| !lost.starts_with("gone")));
}

#[test]
fn answers_lost_through_another_policy_are_reported() {
    let before = compiled(&policy());
    let model = model(&policy().replace("[endpoint.sgp]", "[endpoint.sgp]\nstate = \"disabled\""));
    let view = view(&model);
    let next = compile(Arc::new(model), Arc::new(view), Arc::new(Identity::default()), 2, Some(&before));
    let SimulationResult::One(report) = simulate(&before, &next, &request(""), Bounds::NONE).unwrap() else { panic!() };
    assert_eq!(lost(&report.unanswered), ["_sip._udp SRV: ap eu us all"]);
    assert_eq!(report.moved, None);
}

#[test]
fn services_are_counted() {
    let report = simulated(&compiled(&policy()), "");
    near(&[row(&report, "sgp").before], &[1.0 / 5.0], 1e-9);
    is_whole(&report);
}

/// What is served while the target has this override.
fn overridden(snapshot: &Snapshot, target: &str, state: OverrideState) -> Snapshot {
    let entry =
        Override { target: target.into(), state, why: "x".into(), who: "alice".into(), until: None, zones: None };
    let mut book = crate::control::overrides::Book::default();
    book.put(entry, &snapshot.model).unwrap();
    let overrides = Arc::new(book.resolve(&snapshot.model));
    refresh(snapshot, Arc::new(WorldView { overrides, ..WorldView::clone(&snapshot.view) }))
}

#[test]
fn a_drain_reports_the_same_as_its_simulation() {
    for policy in [policy(), super::POLICY.to_owned()] {
        let snapshot = compiled(&policy);
        for target in ["nyc", "fra*", "pool:web", "region:us", "zone:svc.test", "svc.test./nyc", "sgp"] {
            for (name, state) in [("drain", OverrideState::Drain), ("down", OverrideState::Down)] {
                if crate::control::target::endpoints_of(target, &snapshot.model).is_empty() {
                    continue;
                }
                let report = simulated(&snapshot, &format!("{target}={name}"));
                let after = overridden(&snapshot, target, state);
                let drained = moved(&snapshot, &after);
                near(&[drained.share], &[report.moved.unwrap()], 1e-9);
                let changed = report.endpoints.iter().filter(|row| (row.before - row.after).abs() > 1e-8);
                let mut expected: Vec<&EndpointReport> = changed.collect();
                expected.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
                assert_eq!(drained.endpoints.len(), expected.len(), "{target}={name}");
                for (share, row) in drained.endpoints.iter().zip(expected) {
                    assert_eq!(share.endpoint, row.endpoint);
                    near(&[share.before, share.after], &[row.before, row.after], 1e-8);
                }
                assert_eq!(drained.unanswered.unwrap_or_default(), report.unanswered, "{target}={name}");
                assert_eq!(losses(&snapshot, &after).unwrap_or_default(), report.unanswered, "{target}={name}");
            }
        }
    }
}

#[test]
fn types_with_different_answers_are_entries_of_their_own() {
    let policy =
        policy().replace("[name.dual]\npool = \"nyc\"\non_empty = \"nodata\"", "[name.dual]\npool = \"world\"");
    let policy = policy
        .replace("{ to = \"fra\", when", "{ to = \"nyc\", when")
        .replace("}, { to = \"nyc\" }]", "}, { to = \"fra\" }]");
    let report = simulated(&compiled(&policy), "fra");
    let of_us = report.empty.iter().filter(|of| of.name == "dual" && of.class == "us");
    let mut of_us: Vec<_> = of_us.map(|of| (of.types.join(" "), of.answer, of.already)).collect();
    of_us.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [("A".to_owned(), EmptyAnswer::Stale, false), ("AAAA".to_owned(), EmptyAnswer::Nothing, true)];
    assert_eq!(of_us, expected, "A is what was last good, and AAAA has no candidate, before and after");
}
