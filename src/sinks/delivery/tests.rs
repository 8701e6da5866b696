//! Sinks in simulated time: receivers that fail in every way, logs that forget, and restarts at any moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::model::Moment;
use crate::sinks::backoff::LONGEST;
use crate::sinks::{Delivery, DeliveryLimits, EndedTry, FailureKind, LostNumbers, SendFailure, SinkPosition};

const LIMITS: DeliveryLimits = DeliveryLimits { at_a_time: 4, tries: 3 };

fn at(secs: f64) -> Moment {
    Moment::from_start(Duration::from_secs_f64(secs))
}

fn failure(kind: FailureKind, retry_after: Option<u64>) -> SendFailure {
    SendFailure { kind, retry_after: retry_after.map(Duration::from_secs), why: String::new(), hint: "" }
}

/// A sink that has taken these events of the log: numbers from 1, and the key of each.
fn taken(keys: &[&str]) -> Delivery {
    let mut delivery = Delivery::new(LIMITS, SinkPosition::default());
    delivery.take((1..).zip(keys.iter().map(|key| Arc::from(*key))));
    delivery
}

/// Everything that may be sent now.
fn sent(delivery: &mut Delivery, now: Moment) -> Vec<u64> {
    std::iter::from_fn(|| delivery.next(now)).collect()
}

#[test]
fn events_of_a_key_follow_each_other_and_keys_do_not_wait_for_each_other() {
    let mut delivery = taken(&["a", "a", "b", "c", "a", "d", "e", "f"]);
    assert_eq!(sent(&mut delivery, at(0.0)), [1, 3, 4, 6], "one of each key, at most four");
    assert_eq!(delivery.ended(3, Ok(()), at(0.0), 0), EndedTry::Delivered);
    assert_eq!(sent(&mut delivery, at(0.0)), [7]);
    delivery.ended(1, Ok(()), at(0.0), 0);
    assert_eq!(sent(&mut delivery, at(0.0)), [2], "the next one of its key");
    assert_eq!((delivery.done_up_to(), delivery.position().open), (1, vec![2, 4, 5, 6, 7, 8]));
}

#[test]
fn a_refused_event_is_a_dead_letter_after_its_tries_and_holds_up_its_key_only() {
    let mut delivery = taken(&["a", "a", "b", "b"]);
    let mut now = at(0.0);
    assert_eq!(sent(&mut delivery, now), [1, 3]);
    for round in 1..=3 {
        delivery.ended(1, Err(&failure(FailureKind::Refused, None)), now, u64::MAX);
        if round == 1 {
            assert_eq!(delivery.ended(3, Ok(()), now, 0), EndedTry::Delivered);
            assert_eq!(sent(&mut delivery, now), [4], "the other key goes on");
        }
        let Some(wake) = delivery.wake() else { panic!("round {round}") };
        if round < 3 {
            assert_eq!(wake.since(now).as_millis(), 500 << (round - 1));
            now = wake;
            assert_eq!(sent(&mut delivery, now), [1]);
        }
    }
    assert_eq!(sent(&mut delivery, now), [2], "the dead letter is over");
    assert!(!delivery.position().open.contains(&1));
}

#[test]
fn a_sink_that_is_away_gets_one_try_at_a_time_and_loses_nothing() {
    let mut delivery = taken(&["a", "b", "c", "d", "e"]);
    let away = failure(FailureKind::Away, None);
    let mut now = at(0.0);
    for number in sent(&mut delivery, now) {
        assert_eq!(delivery.ended(number, Err(&away), now, u64::MAX), EndedTry::Again);
    }
    assert!(delivery.is_failing());
    let mut waits = Vec::new();
    for _ in 0..200 {
        let wake = delivery.wake().unwrap();
        waits.push(wake.since(now).as_millis() as u64);
        now = wake;
        let tried = sent(&mut delivery, now);
        assert_eq!(tried.len(), 1, "{tried:?}");
        assert_eq!(delivery.ended(tried[0], Err(&away), now, u64::MAX), EndedTry::Again);
    }
    // Four failures of the first round are one.
    assert_eq!(waits[..4], [500, 1000, 2000, 4000]);
    assert_eq!(Some(waits[199].into()), Some(LONGEST.as_millis()));
    now = delivery.wake().unwrap();
    let back = sent(&mut delivery, now);
    delivery.ended(back[0], Ok(()), now, 0);
    assert_eq!(sent(&mut delivery, now).len(), 4, "all at once when it is back");
}

#[test]
fn the_receiver_chooses_when_to_try_again() {
    let mut delivery = taken(&["a", "b"]);
    assert_eq!(sent(&mut delivery, at(0.0)), [1, 2]);
    delivery.ended(1, Err(&failure(FailureKind::Away, Some(90))), at(0.0), u64::MAX);
    // The other one was sent before that.
    delivery.ended(2, Err(&failure(FailureKind::Away, Some(7))), at(1.0), u64::MAX);
    assert_eq!(delivery.wake(), Some(at(90.0)));
    assert!(sent(&mut delivery, at(89.9)).is_empty());
    assert_eq!(sent(&mut delivery, at(90.0)), [1]);
    delivery.ended(1, Ok(()), at(90.0), 0);
    assert_eq!(sent(&mut delivery, at(90.0)), [2]);
    delivery.ended(2, Err(&failure(FailureKind::Refused, Some(60))), at(91.0), u64::MAX);
    assert_eq!(delivery.wake(), Some(at(151.0)), "this key alone");
}

#[test]
fn events_that_wait_alone_have_a_cause_a_beginning_and_an_end() {
    let mut delivery = taken(&["q", "b", "q", "c"]);
    assert_eq!(sent(&mut delivery, at(0.0)), [1, 2, 4]);
    let refused = SendFailure { why: "HTTP status 404".into(), ..failure(FailureKind::Refused, Some(3600)) };
    for secs in [1.0, 3601.0] {
        delivery.ended(1, Err(&refused), at(secs), 0);
        delivery.ended(2, Ok(()), at(2.0), 0);
        delivery.ended(4, Ok(()), at(2.0), 0);
        let [held_up] = &delivery.held_up().collect::<Vec<_>>()[..] else { panic!("{:?}", delivery) };
        assert_eq!((&*held_up.key, held_up.events, held_up.since), ("q", 2, at(1.0)));
        assert_eq!((&*held_up.why, held_up.next_try), ("HTTP status 404", Some(at(secs + 3600.0))));
        assert!(!delivery.is_failing(), "others are taken");
        assert_eq!(sent(&mut delivery, at(secs + 3600.0)), [1]);
        assert_eq!(delivery.held_up().next().unwrap().next_try, None);
    }
    delivery.ended(1, Ok(()), at(7300.0), 0);
    assert_eq!(delivery.held_up_keys(), 0);
}

#[test]
fn one_event_that_is_refused_often_is_no_outage_and_several_in_a_row_are() {
    let mut delivery = taken(&["a", "b", "c"]);
    let refused = failure(FailureKind::Refused, None);
    sent(&mut delivery, at(0.0));
    delivery.ended(1, Err(&refused), at(0.0), 0);
    assert_eq!(sent(&mut delivery, at(1.0)), [1]);
    delivery.ended(1, Err(&refused), at(1.0), 0);
    assert_eq!(sent(&mut delivery, at(9.0)), [1]);
    delivery.ended(1, Err(&refused), at(9.0), 0);
    assert!(!delivery.is_failing());
    delivery.ended(2, Err(&refused), at(9.0), 0);
    delivery.ended(3, Err(&refused), at(9.0), 0);
    assert!(delivery.is_failing());
}

#[test]
fn what_was_under_way_does_not_end_the_wait_that_the_receiver_wants() {
    let mut delivery = taken(&["a", "b", "c"]);
    assert_eq!(sent(&mut delivery, at(0.0)), [1, 2, 3]);
    delivery.ended(1, Err(&failure(FailureKind::Away, Some(2))), at(0.0), 0);
    delivery.ended(2, Ok(()), at(0.1), 0);
    delivery.ended(3, Err(&failure(FailureKind::Refused, None)), at(0.1), 0);
    assert!(sent(&mut delivery, at(1.9)).is_empty());
    assert_eq!(sent(&mut delivery, at(2.0)), [1]);
}

#[test]
fn an_event_with_which_the_receiver_fails_is_a_dead_letter_only_if_others_are_taken() {
    let broken = failure(FailureKind::Broken, None);
    let mut delivery = taken(&["poison"]);
    let mut now = at(0.0);
    let mut dead = 0;
    for number in 2..200 {
        delivery.take([(number, Arc::from("b"))]);
        for number in sent(&mut delivery, now) {
            let result = if number == 1 { Err(&broken) } else { Ok(()) };
            dead += usize::from(delivery.ended(number, result, now, u64::MAX) == EndedTry::DeadLetter);
        }
        now = delivery.wake().unwrap_or(now);
    }
    assert!(dead == 1 && !delivery.position().open.contains(&1), "{:?}", delivery.position());
    let mut alone = taken(&["a", "b"]);
    for _ in 0..200 {
        for number in sent(&mut alone, now) {
            assert_eq!(alone.ended(number, Err(&broken), now, u64::MAX), EndedTry::Again);
        }
        now = alone.wake().unwrap();
    }
    assert_eq!(alone.open(), 2);
}

#[test]
fn a_sink_that_is_gone_gets_nothing_more() {
    let mut delivery = taken(&["a", "b"]);
    sent(&mut delivery, at(0.0));
    assert_eq!(delivery.ended(1, Err(&failure(FailureKind::Gone, None)), at(0.0), 0), EndedTry::Off);
    delivery.ended(2, Ok(()), at(0.0), 0);
    assert!(delivery.is_off() && sent(&mut delivery, at(9999.0)).is_empty() && delivery.wake().is_none());
    assert_eq!(delivery.position(), SinkPosition { last: 2, open: vec![1] });
}

#[test]
fn what_the_log_no_longer_has_is_counted_once() {
    let mut delivery = taken(&["a", "b", "a", "b", "a"]);
    assert_eq!(delivery.note_log(0, 5), None);
    assert_eq!(sent(&mut delivery, at(0.0)), [1, 2]);
    // 1 and 2 are under way.
    assert_eq!(delivery.note_log(4, 9), Some(LostNumbers { first: 3, last: 4, count: 2 }));
    assert_eq!(delivery.note_log(4, 9), None);
    assert_eq!(delivery.ended(1, Ok(()), at(0.0), 0), EndedTry::Delivered);
    assert_eq!(delivery.ended(2, Err(&failure(FailureKind::Away, None)), at(0.0), 0), EndedTry::Lost);
    assert_eq!(delivery.note_log(7, 9), Some(LostNumbers { first: 5, last: 7, count: 3 }));
    assert_eq!((delivery.taken(), delivery.open(), delivery.done_up_to()), (7, 0, 7));
    // After a restart: of the numbers up to 20 only 12 and 15 were open.
    let mut again = Delivery::new(LIMITS, SinkPosition { last: 20, open: vec![12, 15] });
    assert_eq!(again.note_log(13, 30), Some(LostNumbers { first: 12, last: 13, count: 1 }));
    again.take((14..=22).map(|number| (number, Arc::from("k"))));
    assert_eq!(again.position(), SinkPosition { last: 22, open: vec![15, 21, 22] });
    // A log without its last numbers, and one whose numbers began anew from the time.
    let mut anew = Delivery::new(LIMITS, SinkPosition { last: 20, open: Vec::new() });
    assert_eq!((anew.note_log(0, 3), anew.taken()), (None, 0));
    let mut jumped = Delivery::new(LIMITS, SinkPosition { last: 20, open: Vec::new() });
    assert_eq!((jumped.note_log(1 << 31, 1 << 31), jumped.taken()), (None, 1 << 31));
}

#[test]
fn a_position_with_many_open_events_is_bounded() {
    let mut delivery = Delivery::new(DeliveryLimits { at_a_time: 1000, tries: 3 }, SinkPosition::default());
    delivery.take((1..=1000).map(|number| (number, format!("k{number}").into())));
    for number in sent(&mut delivery, at(0.0)).into_iter().filter(|number| number % 2 == 0) {
        delivery.ended(number, Ok(()), at(0.0), 0);
    }
    let SinkPosition { last, open } = delivery.position();
    assert_eq!((last, open.len(), open[255]), (512, 256, 511));
}

/// What a receiver does with a try.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Taken,
    /// It took the event, and the reply was lost.
    TakenUnseen,
    Fails(FailureKind, Option<u64>),
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        6 => Just(Reply::Taken),
        1 => Just(Reply::TakenUnseen),
        1 => Just(Reply::Fails(FailureKind::Refused, None)),
        1 => Just(Reply::Fails(FailureKind::Broken, Some(3))),
        2 => Just(Reply::Fails(FailureKind::Away, None)),
    ]
}

proptest! {
    /// With every receiver and restarts at any moment: each event arrives, or is a dead letter; for the first time in
    /// the order of its key; and never are two of a key under way.
    #[test]
    fn nothing_is_lost_and_the_order_of_a_key_is_that_of_the_log(
        keys in vec(0_usize..5, 1..60),
        replies in vec((reply(), any::<u64>(), 0_usize..4, proptest::bool::weighted(0.05)), 0..300),
    ) {
        let names: Vec<Arc<str>> = keys.iter().map(|key| format!("k{key}").into()).collect();
        let log = || (1..).zip(names.iter().cloned());
        let mut delivery = Delivery::new(LIMITS, SinkPosition::default());
        delivery.take(log());
        let (mut now, mut arrived, mut dead) = (at(0.0), Vec::new(), BTreeSet::new());
        let mut under_way: Vec<u64> = Vec::new();
        let mut stored = delivery.position();
        let mut replies = replies.into_iter().map(Some).chain(std::iter::repeat(None));
        for _ in 0..10_000 {
            if delivery.open() == 0 && under_way.is_empty() {
                break;
            }
            under_way.extend(sent(&mut delivery, now));
            let of_keys: BTreeSet<&str> = under_way.iter().map(|number| &*names[*number as usize - 1]).collect();
            prop_assert!(of_keys.len() == under_way.len() && under_way.len() <= LIMITS.at_a_time);
            // After the replies of the case, the receiver takes all.
            let (reply, random, which, restarts) = replies.next().flatten().unwrap_or((Reply::Taken, 0, 0, false));
            if restarts {
                delivery = Delivery::new(LIMITS, stored.clone());
                delivery.take(log());
                under_way.clear();
                continue;
            }
            if under_way.is_empty() {
                now = delivery.wake().expect("something is open").max(now);
                continue;
            }
            let number = under_way.swap_remove(which % under_way.len());
            if matches!(reply, Reply::Taken | Reply::TakenUnseen) {
                arrived.push(number);
            }
            let away = failure(FailureKind::Away, None);
            let ended = match reply {
                Reply::Taken => delivery.ended(number, Ok(()), now, random),
                Reply::TakenUnseen => delivery.ended(number, Err(&away), now, random),
                Reply::Fails(kind, after) => delivery.ended(number, Err(&failure(kind, after)), now, random),
            };
            if ended == EndedTry::DeadLetter {
                dead.insert(number);
            }
            if random % 3 == 0 {
                stored = delivery.position();
            }
        }
        let all: BTreeSet<u64> = arrived.iter().copied().chain(dead.iter().copied()).collect();
        prop_assert_eq!(all.len(), names.len(), "open: {:?}", delivery.position());
        let mut first_times: HashMap<&str, Vec<u64>> = HashMap::new();
        let mut seen = BTreeMap::new();
        for number in arrived {
            if seen.insert(number, ()).is_none() {
                first_times.entry(&names[number as usize - 1]).or_default().push(number);
            }
        }
        for (key, numbers) in first_times {
            let on_time: Vec<u64> = numbers.iter().copied().filter(|number| !dead.contains(number)).collect();
            prop_assert!(on_time.is_sorted(), "{key}: {numbers:?}");
        }
        prop_assert_eq!(delivery.position(), SinkPosition { last: names.len() as u64, open: Vec::new() });
    }
}
