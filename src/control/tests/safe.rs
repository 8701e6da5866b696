//! No response has characters that a terminal obeys or that change the order of text, whoever wrote the texts in it.

use std::sync::Arc;

use super::*;
use crate::control::overrides::Book;
use crate::model::{Evidence, EvidenceBook, Override, OverrideState};
use crate::printable::is_unprintable;

/// A mark of direction, a control character of C1, one of C0, DEL, and a tag, which JSON writes as two escapes.
const BAD: &str = "\u{202e}\u{9b}\u{1b}\u{7f}\u{e0041}";
/// The same as JSON writes it.
const SAFE: &str = "\\u202e\\u009b\\u001b\\u007f\\udb40\\udc41";

fn bad(text: &str) -> String {
    format!("{text}{BAD}")
}

/// A world in which all texts that a stranger can write are bad.
fn spoil(world: &TestWorld) {
    let mut model = test_world::model();
    model.regions.iter_mut().for_each(|region| region.name = bad(&region.name));
    model.endpoints.iter_mut().for_each(|endpoint| endpoint.name = bad(&endpoint.name));
    let mut snapshot = test_world::snapshot(model);
    let mut view = test_world::view();
    view.vantages.iter_mut().for_each(|vantage| vantage.name = bad("ns1").into());
    let EvidenceBook::Listed(listed) = &mut view.evidence else { panic!("the evidence is listed") };
    let spoil_evidence = |seen: &mut Evidence| (seen.vantage, seen.why) = (bad("ns1").into(), Some(bad("why").into()));
    listed.iter_mut().flatten().for_each(spoil_evidence);
    snapshot.view = Arc::new(view);
    world.state.snapshots.store(Arc::new(snapshot));
    let mut problems = crate::config::load(Some("not/there.toml".as_ref()), &Default::default()).unwrap_err();
    problems.iter_mut().for_each(|problem| (problem.file, problem.message) = (bad("zone").into(), bad("wrong")));
    world.reload.store(ReloadStatus { ok: false, problems, ..ReloadStatus::default() }.into());
    let entry = Override {
        target: bad("fra*"),
        state: OverrideState::Drain,
        why: bad("why"),
        who: bad("who"),
        until: None,
        zones: None,
    };
    world.state.controls.book.store(Arc::new(Book::of(vec![entry]).unwrap()));
    let event = JournalEvent::from(&test_world::transition());
    world.journal.append(JournalEvent { why: bad("why"), ..event });
}

#[tokio::test]
async fn every_endpoint_escapes_what_must_not_be_printed() {
    let served = served().await;
    spoil(&served.world);
    for (request, has_bad_text) in [
        ("GET /v1/status", true),
        ("GET /v1/transitions", true),
        ("GET /v1/events?follow=false&since=0", true),
        ("GET /v1/names", false),
        ("GET /v1/history", false),
        ("GET /v1/history?kind=rtt", false),
        ("GET /v1/explain?name=www.svc.example", true),
        ("GET /v1/explain?name=%C2%9B%E2%80%AE%1B.example", false),
        ("GET /v1/explain?name=www.svc.example&region=%C2%9B%E2%80%AE%1B%7F", true),
        ("GET /v1/overrides", false),
        ("PUT /v1/overrides/%C2%9B%E2%80%AE", false),
        ("POST /v1/failback/%C2%9B%E2%80%AE", false),
        ("PUT /v1/heartbeat/%C2%9B%E2%80%AE", false),
        ("POST /v1/simulate", true),
        ("GET /\u{9b}\u{202e}", false),
    ] {
        let (head, body) = served.ask(request).await;
        let bad: Vec<char> = body.chars().filter(|c| is_unprintable(*c) && !matches!(c, '\r' | '\n')).collect();
        assert!(bad.is_empty(), "{request}: {bad:?} in {body}");
        assert!(!head.is_empty() && !body.is_empty(), "{request}: {head}");
        assert!(!has_bad_text || body.contains(SAFE), "{request}: {body}");
    }
}
