//! What the codec reads and refuses.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::health::Sign;
use crate::model::heartbeat::{MAX_BEAT, MIN_BEAT};
use crate::model::{Doubt, Health, Hold};

fn any_span() -> impl Strategy<Value = Duration> {
    let steps = MAX_SPAN.as_millis() as u64 / 10;
    prop_oneof![0..300u64, 0..=steps].prop_map(|steps| Duration::from_millis(steps * 10))
}

fn any_hold() -> impl Strategy<Value = Hold> {
    prop::sample::select(vec![Hold::NotOpen, Hold::Open, Hold::ClosedByServer, Hold::ServerTalks, Hold::NoRoom])
}

fn any_observed(texts: usize) -> impl Strategy<Value = Observed> {
    let health = prop::sample::select(vec![Health::Up, Health::Down, Health::Unknown]);
    let doubt = prop::sample::select(vec![Doubt::None, Doubt::Suspect, Doubt::HeldDown]);
    let srtt = (1..=MAX_SPAN.as_micros() as u64).prop_map(Duration::from_micros);
    let why = prop::option::of(0..texts.max(1)).prop_map(move |why| why.filter(|_| texts > 0));
    let spans = (prop::option::of(srtt), prop::option::of(any_span()), any_span());
    (health, any::<bool>(), spans, why, prop::option::of(any_hold()), doubt).prop_map(
        |(health, tried, (srtt, age, may_change_in), why, hold, doubt)| Observed {
            health,
            tried,
            srtt,
            age,
            may_change_in,
            why,
            hold,
            doubt,
        },
    )
}

/// Hashes near each other and far from each other, sorted.
fn any_hashes() -> impl Strategy<Value = Vec<u64>> {
    let hash = prop_oneof![any::<u64>(), 0..20u64, (0..20u64).prop_map(|n| u64::MAX - n)];
    prop::collection::btree_set(hash, 0..40).prop_map(|hashes| hashes.into_iter().collect())
}

fn any_observations(texts: usize) -> impl Strategy<Value = Vec<WireObservation>> {
    any_hashes().prop_flat_map(move |hashes| {
        let observed = prop::collection::vec(prop::option::of(any_observed(texts)), hashes.len());
        observed.prop_map(move |observed| {
            let entry = |(check, observed): (&u64, _)| WireObservation { check: CheckHash(*check), observed };
            hashes.iter().zip(observed).map(entry).collect()
        })
    })
}

fn any_slice(texts: usize) -> impl Strategy<Value = Slice> {
    (any_observations(texts), any::<u64>(), any::<u64>()).prop_map(|(observations, before, after)| {
        let [first, last] = match (observations.first(), observations.last()) {
            (Some(first), Some(last)) => [first.check.0, last.check.0],
            _ => [before.min(after), before.max(after)],
        };
        Slice { first: CheckHash(first.min(before)), last: CheckHash(last.max(after)), observations }
    })
}

fn any_report() -> impl Strategy<Value = ReportMessage> {
    prop::collection::vec("[a-zä\u{202e}]{0,40}", 0..4).prop_flat_map(|texts| {
        let parts = (prop::option::of(any_slice(texts.len())), any_observations(texts.len()));
        let blind = prop::option::of("[a-z ]{0,60}");
        let uptime = prop::option::of(any::<u64>().prop_map(Duration::from_millis));
        let ends = (uptime, any::<bool>());
        (any::<u64>(), 2..=u64::MAX, blind, parts, prop::option::of(any::<u64>()), ends).prop_map(
            move |(boot, number, blind, (slice, changes), resent, (uptime, is_goodbye))| ReportMessage {
                is_goodbye,
                boot,
                number,
                blind: blind.map(Arc::from),
                texts: texts.iter().map(|text| text.as_str().into()).collect(),
                slice,
                changes,
                resent_after: resent.map(|after| after % number),
                uptime,
            },
        )
    })
}

proptest! {
    #[test]
    fn a_report_is_read_as_it_was_written(report in any_report()) {
        prop_assert_eq!(ReportMessage::decode(&report.encode()), Ok(report));
    }

    #[test]
    fn mutated_messages_are_refused_or_mean_something(
        report in any_report(), [at, cut] in any::<[prop::sample::Index; 2]>(), octet in any::<u8>(),
    ) {
        let octets = report.encode();
        for mut octets in [octets.clone(), octets[..cut.index(octets.len())].to_vec(), [octets, vec![octet]].concat()] {
            if let Some(mutated) = (!octets.is_empty()).then(|| at.index(octets.len())) {
                octets[mutated] = octet;
            }
            if let Ok(read) = ReportMessage::decode(&octets) {
                prop_assert_eq!(ReportMessage::decode(&read.encode()), Ok(read));
            }
        }
    }

    #[test]
    fn any_octets_are_refused_or_mean_something(
        kind in prop::sample::select(b"rab".to_vec()), rest in any::<Vec<u8>>(),
    ) {
        let octets = [vec![kind, VERSION], rest].concat();
        if let Ok(read) = ReportMessage::decode(&octets) {
            prop_assert_eq!(ReportMessage::decode(&read.encode()), Ok(read));
        }
        if let Ok(read) = Ask::decode(&octets) {
            prop_assert_eq!(read.encode(), octets.clone());
        }
        if let Ok(read) = BeatMessage::decode(&octets) {
            prop_assert_eq!(read.encode(), Some(octets));
        }
    }

    #[test]
    fn requests_and_heartbeats_are_read_as_they_were_written(
        boot in any::<u64>(), after in any::<u64>(), zone in ".{0,200}", endpoint in ".{0,200}", ms in 0u64..3_700_000,
    ) {
        let ask = Ask { boot, after };
        prop_assert_eq!(Ask::decode(&ask.encode()), Ok(ask));
        let ttl = Duration::from_millis(ms).clamp(MIN_BEAT, MAX_BEAT);
        let sign = if ms == 0 { Sign::Goodbye } else { Sign::Alive { ttl } };
        let beat = BeatMessage { zone, endpoint, sign };
        prop_assert_eq!(BeatMessage::decode(&beat.encode().unwrap()), Ok(beat));
    }
}

/// The head of a report and these sections.
fn report_of(sections: &[(u8, &[u8])]) -> Vec<u8> {
    let mut octets = vec![b'r', VERSION, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    for (tag, content) in sections {
        assert!(content.len() < 128);
        octets.extend([*tag, content.len() as u8]);
        octets.extend_from_slice(content);
    }
    octets
}

fn refused(sections: &[(u8, &[u8])]) -> bool {
    ReportMessage::decode(&report_of(sections)) == Err(UnreadableMessage::Malformed)
}

#[test]
fn the_form_stays_as_it_is() {
    let observed = Observed {
        health: Health::Down,
        tried: true,
        srtt: Some(Duration::from_micros(300)),
        age: Some(Duration::from_millis(120)),
        may_change_in: Duration::from_millis(30),
        why: Some(0),
        hold: Some(Hold::Open),
        doubt: Doubt::Suspect,
    };
    let report = ReportMessage {
        boot: 0x0807_0605_0403_0201,
        number: 9,
        blind: Some("no".into()),
        texts: vec!["ab".into()],
        slice: Some(Slice { first: CheckHash(1), last: CheckHash(2), observations: Vec::new() }),
        changes: vec![
            WireObservation { check: CheckHash(5), observed: Some(observed) },
            WireObservation { check: CheckHash(0x0106), observed: None },
        ],
        resent_after: Some(8),
        uptime: Some(Duration::from_millis(1500)),
        is_goodbye: true,
    };
    let octets = report_of(&[
        (1, b"no"),
        (2, b"\x01\x02ab"),
        (3, b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0"),
        (4, b"\x02\x4d\x78\x05\xac\x02\x0c\x03\x00\x03\x01\x00\x01"),
        (5, b"\x08"),
        (6, b"\xdc\x0b"),
        (7, b""),
    ]);
    assert_eq!(report.encode(), octets, "nodes of other releases read it");
    assert_eq!(ReportMessage::decode(&octets), Ok(report.clone()));
    let later = [&octets[..], &[8, 1, 0, 200, 0]].concat();
    assert_eq!(ReportMessage::decode(&later), Ok(report), "sections of later releases are ignored");
    assert_eq!(Ask { boot: 1, after: 300 }.encode(), b"a\x01\x01\0\0\0\0\0\0\0\xac\x02");
    let sign = Sign::Alive { ttl: Duration::from_secs(1) };
    let beat = BeatMessage { zone: "z.".into(), endpoint: "e".into(), sign };
    assert_eq!(beat.encode().unwrap(), b"b\x01\x02z.\x01e\xe8\x07");
}

#[test]
fn what_another_version_or_a_stranger_sends_is_refused() {
    for kind in *b"rab" {
        for decoded in [
            ReportMessage::decode(&[kind, 2, 0, 0]).map(drop),
            Ask::decode(&[kind, 2, 0, 0]).map(drop),
            BeatMessage::decode(&[kind, 2, 0, 0]).map(drop),
        ] {
            assert!(matches!(decoded, Err(UnreadableMessage::Version(2) | UnreadableMessage::Malformed)));
        }
    }
    assert_eq!(ReportMessage::decode(b"r\x02"), Err(UnreadableMessage::Version(2)));
    for octets in [&b""[..], b"r", b"a\x01", b"GET / HTTP/1.1", b"{\"v\":1}"] {
        assert_eq!(ReportMessage::decode(octets), Err(UnreadableMessage::Malformed));
    }
    assert_eq!(ReportMessage::decode(&vec![b'r'; MAX_MESSAGE + 1]), Err(UnreadableMessage::TooLong));
    let number_0 = [b'r', VERSION, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    assert_eq!(ReportMessage::decode(&number_0), Err(UnreadableMessage::Malformed), "the first message has number 1");
}

#[test]
fn malformed_parts_are_refused() {
    let a_million = b"\xc0\x84\x3d";
    let range = b"\x05\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0";
    for (what, sections) in [
        ("a section twice", &[(5, &b"\x01"[..]), (5, &b"\x01"[..])][..]),
        ("section 0", &[(0, b"")]),
        ("resent after this message", &[(5, b"\x09")]),
        ("a goodbye with a content", &[(7, b"\x01")]),
        ("more after the number", &[(5, b"\x01\x01")]),
        ("a number that is longer than it needs to be", &[(5, b"\x81\x00")]),
        ("a number of more than 64 bits", &[(5, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")]),
        ("a number without an end", &[(5, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")]),
        ("a million texts", &[(2, a_million)]),
        ("more texts than there are octets", &[(2, b"\x7f\x00")]),
        ("a text that is not UTF-8", &[(2, b"\x01\x01\xff")]),
        ("a reason that is not UTF-8", &[(1, b"\xff")]),
        ("a million changes", &[(4, a_million)]),
        ("more changes than there are octets", &[(4, b"\x03\x03\x00\x01\x03\x00\x01")]),
        ("an octet after the changes", &[(4, b"\x01\x03\x00\x01\x00")]),
        ("an unknown hold", &[(4, b"\x01\xc0\x00\x01")]),
        ("an unknown doubt", &[(4, b"\x01\x18\x00\x01")]),
        ("a reserved bit", &[(4, b"\x01\x00\x80\x01")]),
        ("a pending check with an RTT", &[(4, b"\x01\x03\x08\x01\x01")]),
        ("a hash that is longer than it needs to be", &[(4, b"\x01\x00\x01\x01\x00")]),
        ("a hash after the greatest", &[(4, b"\x02\x03\x07\xff\xff\xff\xff\xff\xff\xff\xff\x03\x00\x00")]),
        ("an RTT of 0", &[(4, b"\x01\x00\x08\x01\x00")]),
        ("an RTT of years", &[(4, b"\x01\x00\x08\x01\xff\xff\xff\xff\xff\xff\xff\x7f")]),
        ("an age of years", &[(4, b"\x01\x00\x10\x01\xff\xff\xff\xff\xff\x7f")]),
        ("a reason that is not in the table", &[(4, b"\x01\x00\x40\x01\x00")]),
        ("a slice that ends before it begins", &[(3, &[&range[..], b"\x00"].concat())]),
        ("a hash behind its slice", &[(3, b"\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x01\x03\x00\x05")]),
    ] {
        assert!(refused(sections), "{what}");
    }
    assert!(!refused(&[(4, b"\x01\x03\x00\x01")]) && !refused(&[(4, b"\x01\x00\x08\x01\x01")]), "right ones");
    let many = vec![(9, &b""[..]); MAX_SECTIONS + 1];
    assert!(refused(&many) && !refused(&many[1..]), "more sections than any release has");
    let ttl = |ms: &[u8]| BeatMessage::decode(&[b"b\x01\x02z.\x01e", ms].concat());
    assert_eq!(ttl(b"\x01"), Err(UnreadableMessage::Malformed), "a beat of 1 ms");
    assert_eq!(ttl(b"\xff\xff\xff\x0f"), Err(UnreadableMessage::Malformed), "a beat of hours");
    assert_eq!(ttl(b"\x00").map(|beat| beat.sign), Ok(Sign::Goodbye));
}

#[test]
fn texts_are_cut_at_a_character() {
    let long: Arc<str> = "ä".repeat(MAX_TEXT).into();
    let report = ReportMessage {
        number: 1,
        blind: Some(long.clone()),
        texts: vec![long, "short".into()],
        ..ReportMessage::default()
    };
    let read = ReportMessage::decode(&report.encode()).unwrap();
    let cut = "ä".repeat(MAX_TEXT / 2);
    assert_eq!((read.blind.as_deref(), &*read.texts[0], &*read.texts[1]), (Some(&*cut), &*cut, "short"));
    let endpoint = "e".repeat(2000);
    assert_eq!(BeatMessage { zone: "z.".into(), endpoint, sign: Sign::Goodbye }.encode(), None);
}

#[test]
fn the_longest_message_fits() {
    let observed = Observed {
        health: Health::Down,
        tried: true,
        srtt: Some(Duration::MAX),
        age: Some(Duration::MAX),
        may_change_in: Duration::MAX,
        why: Some(MAX_TEXTS - 1),
        hold: Some(Hold::NoRoom),
        doubt: Doubt::HeldDown,
    };
    let step = u64::MAX / MAX_OBSERVATIONS as u64;
    let entry = |n: u64| WireObservation { check: CheckHash(n * step), observed: Some(observed) };
    let text = |n: usize| format!("{n:0>width$}", width = MAX_TEXT).into();
    let report = ReportMessage {
        number: 1,
        blind: Some("b".repeat(MAX_TEXT).into()),
        texts: (0..MAX_TEXTS).map(text).collect(),
        changes: (0..MAX_OBSERVATIONS as u64).map(entry).collect(),
        ..ReportMessage::default()
    };
    let read = ReportMessage::decode(&report.encode()).expect("it fits");
    assert_eq!(read.changes.len(), MAX_OBSERVATIONS);
    assert_eq!(read.changes[0].observed.map(|observed| observed.srtt), Some(Some(MAX_SPAN)));
    let changes = (0..=MAX_OBSERVATIONS as u64).map(|n| WireObservation { check: CheckHash(n), observed: None });
    let more = ReportMessage { number: 1, changes: changes.collect(), ..ReportMessage::default() };
    assert_eq!(ReportMessage::decode(&more.encode()), Err(UnreadableMessage::Malformed), "one check too many");
}
