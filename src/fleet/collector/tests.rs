//! What a collector makes of messages: with reporters over a bad network, and with strangers.

mod goodbye;
mod network;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::fleet::Extent;
use crate::fleet::message::{MAX_MESSAGE, Observed, Slice, WireObservation};
use crate::fleet::test_checks::{BOOT, hash, key, observation, plan};
use crate::health::Observation;
use crate::model::{Doubt, Health};

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Moment {
    Moment::from_start(Duration::from_millis(ms))
}

fn vantage(name: &str) -> Vantage {
    Vantage { name: name.into(), region: "eu-west".into() }
}

fn knowing(count: usize) -> Collector {
    let mut collector = Collector::new(vec![(vantage("self"), BOOT)]);
    collector.adopt(plan(count), at(0));
    collector
}

fn observed(health: Health) -> Observed {
    Observed {
        health,
        tried: true,
        srtt: Some(12 * MS),
        age: Some(400 * MS),
        may_change_in: 2000 * MS,
        why: None,
        hold: None,
        doubt: Doubt::None,
    }
}

fn entries(checks: impl IntoIterator<Item = usize>, health: Health) -> Vec<WireObservation> {
    let mut entries: Vec<WireObservation> =
        checks.into_iter().map(|nth| WireObservation { check: hash(nth), observed: Some(observed(health)) }).collect();
    entries.sort_by_key(|entry| entry.check);
    entries
}

/// Message `number` with these changes.
fn changes(number: u64, checks: impl IntoIterator<Item = usize>, health: Health) -> ReportMessage {
    ReportMessage { boot: BOOT, number, changes: entries(checks, health), ..ReportMessage::default() }
}

/// Message `number` with a slice of everything.
fn whole(number: u64, checks: impl IntoIterator<Item = usize>, health: Health) -> ReportMessage {
    let (first, last) = (CheckHash(0), CheckHash(u64::MAX));
    let slice = Some(Slice { first, last, observations: entries(checks, health) });
    ReportMessage { boot: BOOT, number, slice, ..ReportMessage::default() }
}

fn keys(observations: &[Observation]) -> Vec<Arc<CheckKey>> {
    observations.iter().map(|observation| Arc::clone(&observation.key)).collect()
}

#[test]
fn a_message_becomes_a_report_with_times_of_this_process() {
    let mut collector = knowing(3);
    let mut message = changes(4, [1], Health::Down);
    message.blind = Some("nothing answers".into());
    message.texts = vec!["refused\u{9b}2J\u{202e}".into()];
    message.changes[0].observed = Some(Observed { why: Some(0), ..observed(Health::Down) });
    let report = collector.receive(&vantage("fra"), &message.encode(), at(70_000)).unwrap().unwrap();
    assert_eq!(
        (&report.vantage, report.made_at, report.blind.as_deref()),
        (&vantage("fra"), at(70_000), Some("nothing answers"))
    );
    let [seen] = &report.observations[..] else { panic!("one observation") };
    assert_eq!((&seen.key, seen.health, seen.srtt), (&key(1), Health::Down, Some(12 * MS)));
    assert_eq!((seen.probed_at, seen.may_change_in), (Some(at(69_600)), 2000 * MS));
    assert_eq!(seen.why.as_deref(), Some("refused\\u{9b}2J\\u{202e}"), "it is printable");
    assert!(report.removed.is_empty());
    let (name, remote) = collector.vantages().next().unwrap();
    assert_eq!((&**name, remote.region(), remote.received_at()), ("fra", "eu-west", at(70_000)));
    assert_eq!((remote.is_blind(), remote.observed(), remote.traffic().0), (true, 1, 1));
}

#[test]
fn a_check_that_is_missing_in_its_slice_is_removed_once() {
    let mut collector = knowing(100);
    let mut receive =
        |message: ReportMessage, ms| collector.receive(&vantage("fra"), &message.encode(), at(ms)).unwrap().unwrap();
    assert_eq!(receive(whole(1, 0..100, Health::Up), 0).observations.len(), 100);
    let report = receive(whole(2, 0..98, Health::Up), 1000);
    let mut removed = report.removed.clone();
    removed.sort_by_key(|key| key.target.to_string());
    assert_eq!((report.observations.len(), removed), (98, vec![key(98), key(99)]));
    assert!(receive(whole(3, 0..98, Health::Up), 2000).removed.is_empty(), "once");
    let mut pending = whole(4, 0..98, Health::Up);
    pending.slice.as_mut().unwrap().observations[5].observed = None;
    let report = receive(pending, 3000);
    assert_eq!((report.observations.len(), report.removed.len()), (97, 0), "a pending check stays as it was");
    let both = ReportMessage { changes: entries([3], Health::Down), ..whole(5, 0..98, Health::Up) };
    assert_eq!(receive(both, 4000).observations.len(), 98, "each check once");
}

#[test]
fn keys_that_differ_in_their_quorum_alone_get_the_same_observations() {
    let mut collector = knowing(2);
    let other = Arc::new(key(1).changed(|monitor| monitor.quorum.stale_after = Duration::from_secs(3)));
    collector.adopt([plan(2), vec![(hash(1), Arc::clone(&other))]].concat(), at(0));
    let report = collector.receive(&vantage("fra"), &whole(1, 0..2, Health::Up).encode(), at(0)).unwrap().unwrap();
    assert_eq!(report.observations.len(), 3);
    assert!(keys(&report.observations).contains(&other));
    let report = collector.receive(&vantage("fra"), &changes(2, [1], Health::Down).encode(), at(0)).unwrap().unwrap();
    assert_eq!(report.observations.len(), 2);
}

#[test]
fn a_gap_is_closed_by_the_answer_to_a_request() {
    let mut collector = knowing(10);
    let receive = |collector: &mut Collector, message: ReportMessage, ms| {
        collector.receive(&vantage("fra"), &message.encode(), at(ms)).unwrap();
        collector.asks(at(ms)).into_iter().map(|(to, ask)| (to.name.to_string(), ask.after)).collect::<Vec<_>>()
    };
    let fra = "fra".to_owned();
    assert_eq!(receive(&mut collector, changes(5, [1], Health::Up), 0), [(fra.clone(), 0)], "it is new: everything");
    assert_eq!(receive(&mut collector, whole(6, 0..10, Health::Up), 10), []);
    assert_eq!(receive(&mut collector, changes(7, [1], Health::Down), 2000), []);
    assert_eq!(receive(&mut collector, changes(9, [2], Health::Down), 2100), [(fra.clone(), 7)]);
    assert_eq!(receive(&mut collector, changes(11, [2], Health::Up), 2200), [], "asked a moment ago");
    assert_eq!(receive(&mut collector, changes(12, [], Health::Up), 3200), [(fra.clone(), 7)], "again after a second");
    assert_eq!(receive(&mut collector, changes(13, [], Health::Up), 4300), [], "then after two");
    let late = ReportMessage { resent_after: Some(8), ..changes(14, [2], Health::Up) };
    assert_eq!(receive(&mut collector, late, 5300), [(fra.clone(), 7)], "the answer to another server is not enough");
    let answer = ReportMessage { resent_after: Some(6), ..changes(15, [2], Health::Up) };
    assert_eq!(receive(&mut collector, answer, 60_000), []);
    assert_eq!(receive(&mut collector, changes(17, [], Health::Up), 61_000), [(fra, 15)], "the next gap");
    assert_eq!(collector.vantages().next().unwrap().1.gaps(), 3);
    assert_eq!(collector.asks(at(100_000)), [], "nobody is there to answer");
}

#[test]
fn a_vantage_that_returns_has_no_vote_before_everything_is_known() {
    let mut collector = knowing(10);
    let mut extent = |message: ReportMessage, ms| {
        collector.receive(&vantage("fra"), &message.encode(), at(ms)).unwrap().unwrap().extent
    };
    assert_eq!(extent(whole(1, 0..10, Health::Up), 0), Extent::Part);
    assert_eq!(extent(changes(3, [1], Health::Up), 1000), Extent::Part, "it was not silent");
    assert_eq!(extent(changes(4, [1], Health::Up), 20_000), Extent::Part, "nothing is missing");
    assert_eq!(extent(changes(9, [1], Health::Up), 40_000), Extent::Behind);
    assert_eq!(extent(changes(10, [1], Health::Up), 41_000), Extent::Behind);
    let answer = ReportMessage { resent_after: Some(1), ..changes(11, [1], Health::Down) };
    assert_eq!(extent(answer, 42_000), Extent::Part);
    assert_eq!(extent(changes(20, [1], Health::Up), 60_000), Extent::Behind);
    assert_eq!(extent(whole(21, 0..10, Health::Up), 61_000), Extent::Part, "all slices");
    let blind = ReportMessage { blind: Some("nothing answers".into()), ..changes(22, [], Health::Up) };
    assert_eq!(extent(blind, 62_000), Extent::Part);
    assert_eq!(
        extent(changes(24, [], Health::Up), 62_500),
        Extent::Behind,
        "what it saw after its blindness is missing"
    );
    assert_eq!(extent(whole(25, 0..10, Health::Up), 63_000), Extent::Part);
    let of_new = |number, is_pending: bool| {
        let mut message = ReportMessage { boot: BOOT + 5, ..whole(number, 0..10, Health::Up) };
        if let Some(slice) = message.slice.as_mut().filter(|_| is_pending) {
            slice.observations[3].observed = None;
        }
        message
    };
    assert_eq!(extent(of_new(1, true), 80_000), Extent::Behind, "a new process, which has not observed all yet");
    assert_eq!(extent(of_new(2, false), 81_000), Extent::Part);
    let of_new = |number| ReportMessage { boot: BOOT + 6, ..of_new(number, true) };
    let extents: Vec<Extent> = (1..=20).map(|number| extent(of_new(number), 100_000 + number * 1000)).collect();
    assert_eq!(extents.iter().position(|extent| *extent == Extent::Part), Some(10), "it does not wait for ever");
}

#[test]
fn a_round_of_slices_closes_any_gap() {
    let mut collector = knowing(10);
    let slice = |number, first: u64, last: u64| {
        let slice = Some(Slice { first: CheckHash(first), last: CheckHash(last), observations: Vec::new() });
        ReportMessage { boot: BOOT, number, slice, ..ReportMessage::default() }
    };
    let third = u64::MAX / 3;
    let mut missing = Vec::new();
    for (number, first, last) in [
        (1, third + 1, 2 * third),
        (2, 2 * third + 1, u64::MAX),
        // The slice of 3 is lost: the round begins anew.
        (4, third + 1, 2 * third),
        (5, 2 * third + 1, u64::MAX),
        (6, 0, third),
    ] {
        let ms = number * 20_000;
        collector.receive(&vantage("fra"), &slice(number, first, last).encode(), at(ms)).unwrap();
        missing.push(!collector.asks(at(ms)).is_empty());
    }
    assert_eq!(missing, [true, true, true, true, false]);
}

#[test]
fn checks_that_become_known_are_requested_where_a_vantage_reported_them() {
    let mut collector = knowing(2);
    for (name, reported) in [("knows", 3), ("does_not", 2)] {
        collector.receive(&vantage(name), &whole(1, 0..2, Health::Up).encode(), at(0)).unwrap();
        collector.receive(&vantage(name), &changes(2, 0..reported, Health::Up).encode(), at(0)).unwrap();
    }
    assert_eq!(collector.asks(at(0)), []);
    collector.adopt(plan(3), at(1000));
    let asks: Vec<(String, u64)> =
        collector.asks(at(1000)).into_iter().map(|(to, ask)| (to.name.to_string(), ask.after)).collect();
    assert_eq!(asks, [("knows".to_owned(), 1)]);
    assert!(collector.vantages().all(|(_, remote)| remote.observed() == 2), "the others stay observed");
    let stricter = key(0).changed(|monitor| monitor.quorum.stale_after = Duration::from_secs(3));
    collector.adopt(vec![(hash(0), Arc::new(stricter))], at(3000));
    assert_eq!(collector.asks(at(3000)).len(), 2, "a key that is new needs the observations of all");
    assert!(collector.vantages().all(|(_, remote)| remote.observed() == 1));
}

#[test]
fn what_is_refused_changes_nothing_and_is_counted() {
    let mut collector = knowing(3);
    let fra = vantage("fra");
    collector.receive(&fra, &changes(5, [1], Health::Up).encode(), at(0)).unwrap();
    let other_version = {
        let mut octets = changes(6, [1], Health::Down).encode();
        octets[1] = 2;
        octets
    };
    let elsewhere = Vantage { region: "us-east".into(), ..fra.clone() };
    let second = ReportMessage { boot: BOOT + 1, ..changes(1, [1], Health::Down) }.encode();
    for (from, octets, why) in [
        (&fra, b"garbage".to_vec(), Unaccepted::Malformed),
        (&fra, vec![b'r'; MAX_MESSAGE + 1], Unaccepted::TooLong),
        (&fra, other_version, Unaccepted::Version),
        (&fra, changes(5, [1], Health::Down).encode(), Unaccepted::Repeated),
        (&fra, changes(4, [1], Health::Down).encode(), Unaccepted::Repeated),
        (&elsewhere, changes(6, [1], Health::Down).encode(), Unaccepted::SecondProcess),
        (&vantage("self"), second.clone(), Unaccepted::OwnName),
        (&vantage(&"n".repeat(300)), second, Unaccepted::Malformed),
    ] {
        assert_eq!(collector.receive(from, &octets, at(100)).map(drop), Err(why));
    }
    assert_eq!(
        collector.receive(&vantage("self"), &changes(1, [1], Health::Down).encode(), at(0)).map(|r| r.is_none()),
        Ok(true)
    );
    let (_, remote) = collector.vantages().next().unwrap();
    let counted: Vec<(Unaccepted, u64)> = remote.refused().by_reason().filter(|(_, count)| *count > 0).collect();
    let expected =
        [(Unaccepted::TooLong, 1), (Unaccepted::Version, 1), (Unaccepted::Malformed, 1), (Unaccepted::Repeated, 2)];
    assert_eq!(counted, expected);
    assert_eq!((collector.strangers().sum(), remote.traffic().0, collector.vantages().count()), (3, 1, 1));
    let bursts: Vec<(String, u64)> =
        collector.refusals(at(0)).into_iter().map(|burst| (burst.vantage.name.to_string(), burst.count)).collect();
    assert_eq!(bursts.len(), 2);
    assert!(bursts.contains(&("fra".to_owned(), 3)), "{bursts:?}");
    for ms in (0..59_000).step_by(100) {
        assert!(collector.receive(&fra, b"garbage", at(ms)).is_err());
        assert_eq!(collector.refusals(at(ms)), [], "once a minute");
    }
    assert_eq!(collector.refusals(at(60_000))[0].count, 590);
}

#[test]
fn of_two_processes_with_one_name_the_newer_one_counts() {
    let mut collector = knowing(3);
    let of = |boot, number| ReportMessage { boot, ..changes(number, [1], Health::Up) }.encode();
    let mut receive =
        |octets: Vec<u8>, secs: u64| collector.receive(&vantage("fra"), &octets, at(secs * 1000)).map(drop);
    assert_eq!(receive(of(1, 50), 0), Ok(()));
    assert_eq!(receive(of(2, 1), 1), Ok(()), "a restart");
    for secs in 2..20 {
        assert_eq!(receive(of(1, 50 + secs), secs), Err(Unaccepted::SecondProcess));
        assert_eq!(receive(of(2, secs), secs), Ok(()));
    }
    assert_eq!(receive(of(1, 100), 60), Err(Unaccepted::SecondProcess), "this may be a late copy");
    assert_eq!(receive(of(1, 101), 62), Err(Unaccepted::SecondProcess));
    assert_eq!(receive(of(1, 102), 63), Ok(()), "the newer one is gone");
}

#[test]
fn what_one_vantage_can_send_is_bounded() {
    let mut collector = knowing(1000);
    // A million checks, as many as fit into each message, a hundred messages a second.
    let lie = |number: u64| {
        let base = number * 10_000_000;
        let entry =
            |n: u64| WireObservation { check: CheckHash(base + n * 1000), observed: Some(observed(Health::Down)) };
        let changes = (0..5000).map(entry).collect();
        ReportMessage { boot: BOOT, number, changes, ..ReportMessage::default() }.encode()
    };
    let (mut accepted, mut octets) = (0, 0);
    for number in 1..=1000u64 {
        let message = lie(number);
        if collector.receive(&vantage("liar"), &message, at(number * 10)).is_ok() {
            (accepted, octets) = (accepted + 1, octets + message.len());
        }
    }
    assert!(octets < 19 * 1024 * 1024, "{octets} octets in ten seconds");
    let (_, remote) = collector.vantages().next().unwrap();
    assert_eq!(remote.observed(), 0, "what is not known is not stored");
    assert_eq!(remote.refused().sum(), 1000 - accepted);
    let small = changes(7000, [1], Health::Up).encode();
    let later = at(3_600_000);
    let received = (0..1000).filter(|n| {
        let message = ReportMessage { number: 7000 + n, ..changes(0, [], Health::Up) };
        collector.receive(&vantage("liar"), &message.encode(), later).is_ok()
    });
    assert_eq!(received.count(), 256, "messages at once");
    assert_eq!(collector.receive(&vantage("other"), &small, later).map(drop), Ok(()), "others are not affected");
}

#[test]
fn there_are_so_many_vantages_and_silent_ones_are_forgotten() {
    let mut collector = knowing(3);
    let message = changes(1, [1], Health::Up).encode();
    for nth in 0..MAX_VANTAGES {
        assert!(collector.receive(&vantage(&format!("v{nth}")), &message, at(0)).is_ok());
    }
    let full = collector.receive(&vantage("more"), &message, at(0)).map(drop);
    assert_eq!(full, Err(Unaccepted::TooManyVantages));
    assert_eq!(collector.forget(at(3_600_000)), []);
    assert!(collector.receive(&vantage("v7"), &changes(2, [1], Health::Up).encode(), at(3_600_000)).is_ok());
    assert_eq!(collector.forget(at(3_600_001)).len(), MAX_VANTAGES - 1);
    assert!(collector.receive(&vantage("more"), &message, at(3_600_001)).is_ok());
    let moved = Vantage { region: "us-east".into(), ..vantage("v7") };
    assert!(collector.receive(&moved, &message, at(3_700_000)).is_ok(), "it moves, once it was silent");
    assert_eq!(collector.forget(at(3_700_000)), [vantage("v7")]);
}

/// The whole way of an observation, without a network.
#[test]
fn what_a_reporter_sends_arrives() {
    let mut collector = knowing(5);
    let mut reporter = crate::fleet::VantageReporter::new(BOOT + 1, at(0));
    reporter.adopt(&plan(5));
    let sent: Vec<Observation> = (0..5).map(|nth| observation(&key(nth), Health::Down, at(5000))).collect();
    reporter.observe(&sent, None, at(5000));
    for octets in reporter.advance(at(5000)) {
        let report = collector.receive(&vantage("fra"), &octets, at(9000)).unwrap().unwrap();
        for seen in &report.observations {
            let of = sent.iter().find(|sent| sent.key == seen.key).unwrap();
            assert_eq!((seen.health, seen.tried, seen.srtt, &seen.why), (of.health, of.tried, of.srtt, &of.why));
            assert_eq!((seen.probed_at, seen.may_change_in), (Some(at(8500)), of.may_change_in));
        }
        assert_eq!(report.observations.len(), 5);
    }
}
