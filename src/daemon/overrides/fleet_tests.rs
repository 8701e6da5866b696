//! Two servers share their overrides through a bucket that this test has.

use std::time::Duration;

use super::*;
use crate::control::overrides::OverrideReport;
use crate::control::test_world::{model, view};
use crate::fleet::overrides::{OverrideWrite, StoredAt, WriteEnd};
use crate::model::OverrideState;

/// A bucket: every revision.
#[derive(Default)]
struct Revisions(Vec<OverrideWrite>);

struct Server {
    overrides: Overrides,
    sharing: Arc<Sharing>,
    state: StateDir,
    /// How many revisions it has read.
    read: usize,
}

impl Server {
    fn start(node: &str, dir: &std::path::Path) -> Server {
        let state = StateDir::begun(Some(dir.into())).unwrap();
        let mut overrides = Overrides::load(&state).unwrap();
        let (sharing, _) = overrides.share(node, &model(), &state);
        Server { overrides, sharing, state, read: 0 }
    }

    fn change(&mut self, change: OverrideChange) -> Option<SharedOutcome> {
        let draft = self.overrides.drafter().draft(change, &model()).unwrap();
        self.overrides.apply(draft).1
    }

    fn drain(&mut self, target: &str, lasting: Option<Duration>) -> Option<SharedOutcome> {
        let (why, who) = ("rack move".into(), "alice".into());
        let new = Override { target: target.into(), state: OverrideState::Drain, why, who, until: None, zones: None };
        self.change(OverrideChange::Put { overrides: vec![new], lasting, confirmed: true })
    }

    fn clear(&mut self, target: &str) {
        let who = "bob".into();
        drop(self.change(OverrideChange::Clear { targets: vec![target.into()], who, zones: None }));
    }

    /// Reads what is new, writes what is pending, and serves it; returns the edits.
    fn sync(&mut self, bucket: &mut Revisions) -> Vec<OverrideEdit> {
        for (nth, write) in bucket.0.iter().enumerate().skip(self.read) {
            let at = StoredAt { revision: nth as u64 + 1, age: Some(Duration::ZERO), stamp: nth as i64 };
            self.sharing.read(&write.key, write.value.as_deref().map(str::as_bytes), at, Some("bucket"));
        }
        self.read = bucket.0.len();
        self.sharing.complete(clock::now(), (Some(clock::now()), Some((0, bucket.0.len() as u64))), Some("bucket"));
        self.sharing.taken_in(true);
        for write in self.sharing.writes(64) {
            let newest = bucket.0.iter().rposition(|of| of.key == write.key).map_or(0, |at| at as u64 + 1);
            let end = match newest == write.expected {
                true => {
                    bucket.0.push(write.clone());
                    WriteEnd::Stored(bucket.0.len() as u64)
                }
                false => WriteEnd::Failed,
            };
            self.sharing.written(&write, end, None);
        }
        let draft = self.overrides.drafter().fleet(&model()).unwrap();
        self.overrides.apply(draft).0
    }

    fn targets(&self) -> Vec<String> {
        self.overrides.book().load().entries().iter().map(|entry| entry.target.clone()).collect()
    }

    fn spread(&self) -> Vec<(bool, Vec<String>, Vec<String>)> {
        let mut reports = self.state.disk().reports(&self.overrides.book().load().all());
        self.sharing.clone().spreader()(&mut reports.iter_mut());
        let of = |report: OverrideReport| report.fleet.map(|spread| (spread.shared, spread.taken, spread.missing));
        reports.into_iter().filter_map(of).collect()
    }
}

#[tokio::test]
async fn an_override_and_its_end_reach_the_other_server_with_its_operator_and_its_time() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut bucket = Revisions::default();
    let (mut ns1, mut ns2) = (Server::start("ns1", one.path()), Server::start("ns2", two.path()));
    let mut outcome = ns1.drain("fra1", Some(Duration::from_secs(600))).unwrap();
    assert!(outcome.try_recv().is_err(), "not yet");
    assert_eq!(ns1.spread(), [(false, vec!["ns1".into()], vec![])]);
    assert_eq!(ns1.sync(&mut bucket), [], "it is in force here already");
    assert_eq!(outcome.try_recv(), Ok(Ok(())));
    let edits = ns2.sync(&mut bucket);
    let [OverrideEdit { before: None, now: Some(made), who: Some(who), is_relayed: true }] = &edits[..] else {
        panic!("{edits:?}")
    };
    assert_eq!((made.target.as_str(), made.who.as_str(), who.as_str()), ("fra1", "alice", "alice at ns1"));
    let until = |of: &Server| of.overrides.next_end().unwrap();
    assert!((until(&ns1) - until(&ns2)).abs() < 60.0, "the time left is the same");
    assert_eq!(ns2.sync(&mut bucket), [], "nothing is done twice");
    // Each reports what it serves.
    ns1.sync(&mut bucket);
    ns1.sharing.note_taken(Some("ns2"), &ns2.sharing.own_taken().encode());
    assert_eq!(ns1.spread(), [(true, vec!["ns1".into(), "ns2".into()], vec![])]);
    ns2.clear("fra1");
    ns2.sync(&mut bucket);
    let before = ns1.overrides.resolved();
    let edits = ns1.sync(&mut bucket);
    let events = events(&model(), &view(), &before, &ns1.overrides.resolved(), &edits, (1.0, 2));
    assert_eq!((&*events[0].why, events[0].relayed), ("cleared by bob at ns2: rack move (alice)", true));
    assert_eq!((ns1.targets(), ns2.targets()), (vec![], vec![]));
}

#[tokio::test]
async fn an_override_that_ends_by_itself_is_an_event_of_the_server_where_it_was_made() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut bucket = Revisions::default();
    let (mut ns1, mut ns2) = (Server::start("ns1", one.path()), Server::start("ns2", two.path()));
    drop(ns1.drain("fra1", Some(Duration::from_secs(600))));
    ns1.sync(&mut bucket);
    ns2.sync(&mut bucket);
    for (server, expected) in [(&ns1, false), (&ns2, true)] {
        let edits = server.overrides.drafter().expiry_at(f64::MAX, &model()).edits;
        let relayed: Vec<bool> = edits.iter().map(|edit| edit.is_relayed).collect();
        assert_eq!(relayed, [expected]);
    }
}

#[tokio::test]
async fn what_was_made_without_the_fleet_outlives_a_restart_and_a_clear_is_not_undone() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut bucket = Revisions::default();
    let (mut ns1, mut ns2) = (Server::start("ns1", one.path()), Server::start("ns2", two.path()));
    drop(ns1.drain("fra1", None));
    ns1.sync(&mut bucket);
    ns2.sync(&mut bucket);
    // ns1 makes one without NATS, and is off while the first one is cleared.
    let outcome = {
        ns1.sharing.set_state(BucketState::Away("no route".into()));
        ns1.drain("nyc", None).unwrap()
    };
    assert_eq!(outcome.await.unwrap(), Err("NATS is away (no route)".into()));
    ns1.overrides.save(&ns1.state).await.unwrap().unwrap();
    ns1.state.close().await.unwrap();
    ns2.clear("fra1");
    ns2.sync(&mut bucket);
    let mut ns1 = Server::start("ns1", one.path());
    // Both were made in one moment, so their order is that of their random ids.
    let mut targets = ns1.targets();
    targets.sort();
    assert_eq!(targets, ["fra1", "nyc"], "as before, until the bucket is read");
    assert_eq!(ns1.sharing.report().pending, 1);
    ns1.sync(&mut bucket);
    ns2.sync(&mut bucket);
    assert_eq!((ns1.targets(), ns2.targets()), (vec!["nyc".into()], vec!["nyc".into()]));
    assert_eq!(ns1.sharing.report().pending, 0);
}

#[tokio::test]
async fn overrides_from_before_the_fleet_are_offered_and_older_than_all_others() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let row = r#"{"target":"TARGET","state":"down","why":"storm","who":"bob","until":null}"#;
    let rows = [row.replace("TARGET", "fra1"), row.replace("TARGET", "nyc")].join(",");
    std::fs::write(one.path().join("overrides.json"), format!(r#"{{"version":1,"overrides":[{rows}]}}"#)).unwrap();
    let mut bucket = Revisions::default();
    let (mut ns1, mut ns2) = (Server::start("ns1", one.path()), Server::start("ns2", two.path()));
    drop(ns2.drain("fra1", None));
    ns2.sync(&mut bucket);
    ns1.sync(&mut bucket);
    ns2.sync(&mut bucket);
    for server in [&ns1, &ns2] {
        let states: Vec<(String, OverrideState)> =
            server.overrides.book().load().all().iter().map(|of| (of.target.clone(), of.state)).collect();
        assert_eq!(states, [("fra1".into(), OverrideState::Drain), ("nyc".into(), OverrideState::Down)]);
    }
}

#[tokio::test]
async fn forms_of_a_target_are_one_and_tokens_with_zones_have_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bucket, mut ns1) = (Revisions::default(), Server::start("ns1", dir.path()));
    drop(ns1.drain("svc.example/fra1", None));
    drop(ns1.drain("SVC.example./fra1", None));
    let (why, who) = ("x".into(), "carol".into());
    let zones = Some([crate::wire::Name::parse("svc.example.").unwrap()].into());
    let of_carol = Override { target: "fra1".into(), state: OverrideState::Up, why, who, until: None, zones };
    let overrides = vec![of_carol];
    drop(ns1.change(OverrideChange::Put { overrides, lasting: None, confirmed: true }));
    drop(ns1.drain("fra1", None));
    assert_eq!(ns1.sync(&mut bucket), []);
    assert_eq!((ns1.targets().len(), bucket.0.len()), (3, 3));
}
