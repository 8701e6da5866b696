//! The overrides of a running server: changes, restarts, and clocks that are set.

use std::time::Duration;

use super::*;
use crate::control::test_world::{model, view};
use crate::model::OverrideState;

fn drain(target: &str, until: Option<f64>) -> OverrideChange {
    let (why, who) = ("rack move".into(), "alice".into());
    let new = Override { target: target.into(), state: OverrideState::Drain, why, who, until, zones: None };
    OverrideChange::Put { overrides: vec![new], lasting: None, confirmed: false }
}

fn change(overrides: &mut Overrides, change: OverrideChange) -> Vec<OverrideEdit> {
    let draft = overrides.drafter().draft(change, &model()).unwrap();
    overrides.apply(draft).0
}

/// Ends the overrides whose time is over at `now`, Unix seconds.
fn expire(overrides: &mut Overrides, now: f64) -> Vec<OverrideEdit> {
    let draft = overrides.drafter().expiry_at(now, &model());
    overrides.apply(draft).0
}

fn event_lines(before: &Resolved, overrides: &Overrides, edits: &[OverrideEdit]) -> Vec<String> {
    let events = events(&model(), &view(), before, &overrides.resolved(), edits, (1.0, 2));
    events.into_iter().map(|e| format!("{} {} -> {}: {}", e.endpoint, e.from, e.to, e.why)).collect()
}

#[tokio::test]
async fn an_override_outlives_a_restart_and_ends_at_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::begun(Some(dir.path().into())).unwrap();
    let mut first = Overrides::load(&state).unwrap();
    change(&mut first, drain("fra1", Some(100.0)));
    first.save(&state).await.unwrap().unwrap();
    let mut second = Overrides::load(&state).unwrap();
    assert_eq!(second.resolve(&model(), &state), []);
    assert_eq!((second.resolved(), second.next_end()), (first.resolved(), Some(100.0)));
    let before = second.resolved();
    assert_eq!(expire(&mut second, 99.0), []);
    let edits = expire(&mut second, 100.0);
    assert_eq!(
        event_lines(&before, &second, &edits),
        ["fra1 drained -> up: the override's time is over: rack move (alice)"]
    );
    assert!(second.over(view()).overrides.is_empty());
}

#[tokio::test]
async fn overrides_of_one_target_that_count_in_different_zones_outlive_a_restart_and_end_together() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::begun(Some(dir.path().into())).unwrap();
    let mut first = Overrides::load(&state).unwrap();
    change(&mut first, drain("fra1", None));
    let OverrideChange::Put { overrides: put, .. } = drain("fra1", None) else { unreachable!("a drain") };
    let zones = Some([crate::wire::Name::parse("svc.example.").unwrap()].into());
    let of_carol = Override { who: "carol".into(), zones, ..put[0].clone() };
    change(&mut first, OverrideChange::Put { overrides: vec![of_carol], lasting: None, confirmed: false });
    first.save(&state).await.unwrap().unwrap();
    let mut second = Overrides::load(&state).unwrap();
    assert_eq!(*second.book().load_full(), *first.book().load_full());
    assert_eq!(second.book().load().entries().len(), 2);
    assert!(state.disk().reports(second.book().load().entries()).iter().all(|report| report.on_disk == Some(true)));
    second.resolve(&model(), &state);
    let before = second.resolved();
    let clear = OverrideChange::Clear { targets: vec!["fra1".into()], who: "bob".into(), zones: None };
    let edits = change(&mut second, clear);
    assert_eq!(event_lines(&before, &second, &edits), ["fra1 drained -> up: cleared by bob: rack move (carol)"]);
    let [reply] = &OverrideEdit::into_replies(edits)[..] else { panic!("one target") };
    assert_eq!(reply.before.as_ref().unwrap().who, "carol");
}

#[tokio::test]
async fn a_file_of_an_earlier_version_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let row = |target: &str, who: &str, more: &str| {
        format!(r#"{{"target":"{target}","state":"drain","why":"x","who":"{who}","until":null{more}}}"#)
    };
    let rows = [row("fra1", "alice", ""), row("nyc", "carol", r#","zones":["svc.example."]"#)].join(",");
    std::fs::write(dir.path().join(FILE.info.name), format!(r#"{{"version":1,"overrides":[{rows}]}}"#)).unwrap();
    let overrides = Overrides::load(&StateDir::begun(Some(dir.path().into())).unwrap()).unwrap();
    let all: Vec<(String, bool)> =
        overrides.book().load().all().iter().map(|entry| (entry.target.clone(), entry.zones.is_some())).collect();
    assert_eq!(all, [("fra1".into(), false), ("nyc".into(), true)]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_the_start_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE.info.name), "{\"version\":1,").unwrap();
    let state = StateDir::begun(Some(dir.path().into())).unwrap();
    let refused = Overrides::load(&state).err().unwrap().to_string();
    assert!(refused.contains("overrides.json: EOF") && refused.contains("move it away"), "{refused}");
}

#[tokio::test]
async fn every_endpoint_that_a_change_concerns_has_an_event() {
    let mut overrides = Overrides::load(&StateDir::begun(None).unwrap()).unwrap();
    let before = overrides.resolved();
    let edits = change(&mut overrides, drain("region:us-east", None));
    assert_eq!(event_lines(&before, &overrides, &edits), ["nyc down -> drained: rack move (alice)"]);
    let before = overrides.resolved();
    let clear = |target: &str| OverrideChange::Clear { targets: vec![target.into()], who: "bob".into(), zones: None };
    let edits = change(&mut overrides, clear("region:us-east"));
    assert_eq!(event_lines(&before, &overrides, &edits), ["nyc drained -> down: cleared by bob: rack move (alice)"]);
    assert_eq!(edits.len(), 1);
}

#[tokio::test]
async fn an_override_of_what_a_reload_took_away_has_a_warning_and_stays() {
    let state = StateDir::begun(None).unwrap();
    let mut overrides = Overrides::load(&state).unwrap();
    change(&mut overrides, drain("plain", None));
    let mut smaller = model();
    smaller.endpoints.pop();
    let [warning] = &overrides.resolve(&smaller, &state)[..] else { panic!("one matches nothing") };
    let expected = "overrides.json:1:1: warning: alice's override `drain` of `plain` matches nothing that is \
                    served; it is kept (hint: portolan clear plain)";
    assert_eq!(warning.to_string(), expected);
    assert_eq!(overrides.resolve(&model(), &state), []);
    assert_eq!(overrides.resolved().len(), 1, "it comes back with its endpoint");
}

#[tokio::test]
async fn several_targets_change_together_or_not_at_all() {
    let mut overrides = Overrides::load(&StateDir::begun(None).unwrap()).unwrap();
    let both = |targets: [&str; 2]| {
        let each = targets.map(|target| match drain(target, Some(100.0)) {
            OverrideChange::Put { overrides, .. } => overrides[0].clone(),
            OverrideChange::Clear { .. } | OverrideChange::State { .. } | OverrideChange::Followed { .. } => {
                unreachable!("a drain")
            }
        });
        OverrideChange::Put { overrides: each.to_vec(), lasting: None, confirmed: false }
    };
    let refused = |targets| overrides.drafter().draft(both(targets), &model()).err().unwrap().to_string();
    let fra2 = "no endpoint is called `fra2`; did you mean `fra1`?";
    assert_eq!(refused(["fra1", "fra2"]), format!("{fra2}\nnothing was changed"));
    let nyk = "no endpoint is called `nyk`; did you mean `nyc`?";
    assert_eq!(refused(["fra2", "nyk"]), format!("{fra2}\n{nyk}\nnothing was changed"), "each is named");
    assert!(overrides.resolved().is_empty() && overrides.next_end().is_none(), "nothing was changed");
    let before = overrides.resolved();
    let edits = change(&mut overrides, both(["fra1", "plain"]));
    let expected = ["fra1 up -> drained: rack move (alice, until 1970-01-01 00:01:40 UTC)"];
    assert_eq!(event_lines(&before, &overrides, &edits)[..1], expected);
    assert_eq!(event_lines(&before, &overrides, &edits).len(), 2);
    let before = overrides.resolved();
    let edits = expire(&mut overrides, 100.0);
    assert_eq!((edits.len(), event_lines(&before, &overrides, &edits).len()), (2, 2), "each is reported once");
}

const YEAR: f64 = 366.0 * 86_400.0;

/// A moment `secs` after another, by clocks that run evenly.
fn later(now: Now, secs: f64) -> Now {
    Now { moment: now.moment + Duration::from_secs_f64(secs), unix: now.unix + secs }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_moves_the_end_of_an_override_and_does_not_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::begun(Some(dir.path().into())).unwrap();
    let start = Now::read();
    let mut overrides = Overrides::load_at(&state, start, None).unwrap();
    change(&mut overrides, drain("fra1", Some(start.unix + 7200.0)));
    change(&mut overrides, drain("region:us-east", None));
    assert_eq!(overrides.follow_clock(later(start, 60.0)), None);
    // Forward by a year, back to before the start, and right again.
    let mut set = 0.0;
    for (minutes, by) in [(2.0, YEAR), (3.0, -2.0 * YEAR), (4.0, YEAR)] {
        let even = later(start, minutes * 60.0);
        set += by;
        let now = Now { unix: even.unix + set, ..even };
        // Views, changes and ends go by the clock before the jump until it is followed.
        let at_unix = overrides.over(view()).at_unix.unwrap();
        assert!(overrides.next_end().unwrap() - at_unix > 7000.0);
        let jumped = overrides.follow_clock(now).unwrap();
        assert!((jumped - by).abs() < 1e-3, "{jumped}");
        let left = overrides.next_end().unwrap() - now.unix;
        assert!((left - (7200.0 - minutes * 60.0)).abs() < 1e-3, "{left}");
        assert_eq!(expire(&mut overrides, now.unix), []);
        let resolved = overrides.resolved();
        assert_eq!(resolved.len(), 2, "both are in force");
        assert_eq!(resolved.values().filter_map(|of| of.until).collect::<Vec<_>>(), [overrides.next_end().unwrap()]);
    }
    assert_eq!(expire(&mut overrides, start.unix + 7201.0).len(), 1, "it ends at its time");
}

#[tokio::test]
async fn a_drain_is_not_over_for_good_after_a_start_whose_clock_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::begun(Some(dir.path().into())).unwrap();
    let start = Now::read();
    let boot = |secs: f64| BootTime { id: "this boot".into(), secs };
    let mut first = Overrides::load_at(&state, start, None).unwrap();
    change(&mut first, drain("fra1", Some(start.unix + 7200.0)));
    first.save(&state).await.unwrap().unwrap();
    // The file has the boot clock of this machine; here it is another one, then the same one.
    let wrong = Now { unix: start.unix + YEAR, ..start };
    let ended = Overrides::load_at(&state, wrong, Some(&boot(1.0))).unwrap();
    assert!(ended.next_end().unwrap() < wrong.unix, "after a reboot nothing else is known");
    let Some(now) = clock::boot() else { return };
    let same = Overrides::load_at(&state, wrong, Some(&now)).unwrap();
    let left = same.next_end().unwrap() - wrong.unix;
    assert!((left - 7200.0).abs() < 600.0, "{left}");
}

#[tokio::test]
async fn the_end_of_a_new_override_is_counted_by_the_clock_of_the_change() {
    let mut overrides = Overrides::load(&StateDir::begun(None).unwrap()).unwrap();
    let OverrideChange::Put { overrides: put, .. } = drain("fra1", None) else { unreachable!("a drain") };
    let lasting = Some(Duration::from_secs(7200));
    change(&mut overrides, OverrideChange::Put { overrides: put, lasting, confirmed: false });
    let left = overrides.next_end().unwrap() - overrides.unix_now();
    assert!((left - 7200.0).abs() < 600.0, "{left}");
}

#[tokio::test]
async fn what_another_thread_has_found_counts_only_for_the_same_book() {
    let state = StateDir::begun(None).unwrap();
    let mut overrides = Overrides::load(&state).unwrap();
    let found = ResolvedBook::of(overrides.book().load_full(), &model());
    change(&mut overrides, drain("fra*", None));
    let resolved = overrides.resolved();
    assert!(!resolved.is_empty());
    assert_eq!(overrides.adopt(found, &model(), &state), []);
    assert_eq!(overrides.resolved(), resolved);
    let found = ResolvedBook::of(overrides.book().load_full(), &model());
    assert_eq!(overrides.adopt(found, &model(), &state), []);
    assert_eq!(overrides.resolved(), resolved);
}
