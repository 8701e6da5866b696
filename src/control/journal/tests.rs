//! What a journal retains, shows and numbers.

use std::sync::Arc;

use crate::control::journal::*;
use crate::control::test_world::transition;
use crate::fleet::events::{EventKind, LogRange};

fn journal(events: u64) -> Journal {
    let journal = Journal::new("ns1", 4, 0);
    (0..events).for_each(|_| journal.append(event()));
    journal
}

fn event() -> JournalEvent {
    JournalEvent::from(&transition())
}

fn ids(events: &[Arc<JournalEvent>]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

fn after(journal: &Journal, id: &str) -> Subscription {
    journal.follow(&Since::Id(id.to_owned()))
}

#[test]
fn numbers_rise_by_one_and_the_newest_comes_first() {
    assert_eq!(ids(&journal(3).newest_first()), ["ns1/3", "ns1/2", "ns1/1"]);
}

#[test]
fn events_that_are_no_longer_retained_are_known_and_the_rest_is_sent() {
    let journal = journal(MAX_EVENTS as u64 + 10);
    for followed in [after(&journal, "ns1/4"), journal.follow(&Since::Number(4))] {
        assert_eq!((followed.lost, followed.missed.len()), (vec![(5, 10)], MAX_EVENTS));
        assert_eq!(ids(&followed.missed[..1]), ["ns1/11"]);
    }
    assert_eq!(after(&journal, "ns1/10").lost, []);
    let oldest = journal.follow(&Since::Oldest);
    assert_eq!((oldest.lost, oldest.is_unknown, oldest.missed.len()), (vec![], false, MAX_EVENTS));
    assert_eq!(journal.range(0.0), LogRange { floor: 10, last: MAX_EVENTS as u64 + 10, expired: 10 });
}

#[test]
fn what_the_log_has_from_before_the_start_is_sent_and_what_it_has_not_is_known() {
    let before = |number: u64| (number, JournalEvent { id: format!("ns1/{number}"), ..event() });
    let start = JournalStart { last: 7, events: vec![before(6), before(7)], ..JournalStart::default() };
    let journal = Journal::from("ns1", 4, start);
    journal.append(event());
    let followed = after(&journal, "ns1/6");
    assert_eq!((followed.lost, ids(&followed.missed)), (vec![], vec!["ns1/7", "ns1/8"]));
    let followed = after(&journal, "ns1/3");
    assert_eq!((followed.lost, ids(&followed.missed)), (vec![(4, 5)], vec!["ns1/6", "ns1/7", "ns1/8"]));
    assert_eq!(ids(&journal.newest_first()), ["ns1/8", "ns1/7", "ns1/6"], "a restart forgets none that the log has");
    let journal = Journal::new("ns1", 4, 7);
    journal.append(event());
    assert_eq!(after(&journal, "ns1/5").lost, [(6, 7)]);
}

#[test]
fn numbers_that_the_log_lacks_between_others_are_known() {
    let before = |number: u64| (number, JournalEvent { id: format!("ns1/{number}"), ..event() });
    let events = [2, 3, 5, 6, 9].map(before).to_vec();
    // A torn last line: its number is known from elsewhere.
    let journal = Journal::from("ns1", 4, JournalStart { last: 10, events, ..JournalStart::default() });
    let lost = |since: Since| journal.follow(&since).lost;
    assert_eq!(lost(Since::Oldest), [(4, 4), (7, 8), (10, 10)]);
    assert_eq!(lost(Since::Number(0)), [(1, 1), (4, 4), (7, 8), (10, 10)]);
    assert_eq!(lost(Since::Number(3)), [(4, 4), (7, 8), (10, 10)]);
    assert_eq!(lost(Since::Number(4)), [(7, 8), (10, 10)]);
    assert_eq!(lost(Since::Number(7)), [(8, 8), (10, 10)]);
    assert_eq!(lost(Since::Number(10)), []);
    assert_eq!(lost(Since::Now), []);
    journal.append(event());
    assert_eq!((lost(Since::Number(9)), lost(Since::Number(10))), (vec![(10, 10)], vec![]));
    // What waits for the file is not lost.
    let waiting = JournalStart { last: 3, events: vec![before(3)], is_written: true, is_held: false };
    let journal = Journal::from("ns1", 4, waiting);
    journal.append(event());
    assert_eq!(journal.follow(&Since::Number(3)).lost, []);
    // A log with very many holes has a bounded list, which leaves none out.
    let events = (1..1000).map(|number| before(number * 2)).collect();
    let journal = Journal::from("ns1", 4, JournalStart { last: 1998, events, ..JournalStart::default() });
    let lost = journal.follow(&Since::Number(0)).lost;
    assert_eq!((lost.len(), lost[0], lost[62], lost[63]), (64, (1, 1), (125, 125), (127, 1997)));
}

#[test]
fn an_id_that_was_not_used_here_misses_everything() {
    for id in ["ns1/99", "ns2/1", "ns1/x", "ns1/"] {
        let followed = after(&journal(2), id);
        assert_eq!((ids(&followed.missed), followed.is_unknown), (vec!["ns1/1", "ns1/2"], true), "{id}");
    }
    let ahead = journal(2).follow(&Since::Number(3));
    assert!(ahead.is_unknown && ahead.missed.len() == 2 && ahead.last == 2);
    let now = journal(2).follow(&Since::Now);
    assert!(now.missed.is_empty() && !now.is_unknown && now.last == 2);
    for (text, expected) in [
        ("", Some(Since::Now)),
        ("oldest", Some(Since::Oldest)),
        ("7", Some(Since::Number(7))),
        ("n/7", Some(Since::Id("n/7".into()))),
        ("n/", None),
        ("-1", None),
        ("99999999999999999999", None),
        ("what", None),
    ] {
        assert_eq!(Since::parse(text), expected, "{text}");
    }
}

#[test]
fn an_event_is_visible_once_it_is_written() {
    let journal = Journal::from("ns1", 4, JournalStart { is_written: true, ..JournalStart::default() });
    let mut incoming = journal.subscribe();
    (0..3).for_each(|_| journal.append(event()));
    assert!(journal.follow(&Since::Oldest).missed.is_empty() && incoming.try_recv().is_err());
    assert_eq!(journal.newest_first().len(), 3, "status shows them at once");
    assert_eq!(journal.unwritten(1).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3]);
    journal.written(2);
    assert_eq!(ids(&journal.follow(&Since::Oldest).missed), ["ns1/1", "ns1/2"]);
    assert_eq!((journal.range(0.0).last, journal.last()), (2, 3));
    assert_eq!([0, 1, 2, 3].map(|number| journal.count_after(number)), [3, 2, 1, 0]);
    assert_eq!((incoming.try_recv().unwrap().number(), incoming.try_recv().unwrap().number()), (1, 2));
    assert!(incoming.try_recv().is_err());
    // A disk that does not answer.
    (0..MAX_EVENTS).for_each(|_| journal.append(event()));
    assert_eq!(journal.unwritten(0).len(), MAX_EVENTS);
    assert_eq!(journal.range(0.0).last, 3);
}

#[test]
fn numbers_begin_once_the_fleet_is_known_and_skip_those_that_were_used() {
    let held = || Journal::from("ns1", 9, JournalStart { is_held: true, ..JournalStart::default() });
    let journal = held();
    journal.append(event());
    assert_eq!((journal.newest_first().len(), journal.newest_first()[0].number(), journal.last()), (1, 0, 0));
    journal.begin(500);
    journal.begin(900);
    journal.append(event());
    assert_eq!(ids(&journal.follow(&Since::Oldest).missed), ["ns1/501", "ns1/502"]);
    // Numbers began without the fleet, and the stream has more of them.
    let journal = held();
    journal.begin(0);
    (0..3).for_each(|_| journal.append(event()));
    journal.continue_after(500, 1);
    assert_eq!(ids(&journal.follow(&Since::Oldest).missed), ["ns1/1", "ns1/501", "ns1/502"]);
    journal.continue_after(400, 0);
    journal.append(event());
    assert_eq!(journal.last(), 503);
}

#[test]
fn every_kind_is_a_cloud_event_and_only_a_transition_has_no_kind() {
    for kind in EventKind::ALL {
        let event = JournalEvent { id: "ns1/7".into(), kind, who: Some("alice".into()), ..event() };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json.get("kind").is_none(), kind == EventKind::Transition, "{json}");
        let cloud = serde_json::to_value(event.to_cloud_event().unwrap()).unwrap();
        assert_eq!(cloud["type"], format!("portolan.{}", kind.as_str()));
        assert_eq!((&cloud["id"], &cloud["subject"]), (&"ns1/7".into(), &"fra1".into()));
        assert_eq!((&cloud["data"]["who"], &cloud["data"]["zone"]), (&"alice".into(), &"svc.example.".into()));
    }
    let reload = JournalEvent { id: "ns1/8".into(), kind: EventKind::Reload, ..JournalEvent::default() };
    let cloud = serde_json::to_value(reload.to_cloud_event().unwrap()).unwrap();
    assert!(cloud.get("subject").is_none() && cloud["data"]["zone"].is_null(), "{cloud}");
    assert_eq!(JournalEvent::default().to_cloud_event(), None);
}
