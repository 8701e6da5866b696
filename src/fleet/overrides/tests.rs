//! The merge against a bucket with compare-and-set, with ages by another clock, and with what is wrong in the bucket.

use std::time::Duration;

use super::*;
use crate::model::OverrideState;

pub(super) const SEC: i64 = 1000;

pub(super) fn canonical(target: &str) -> String {
    target.to_lowercase()
}

fn merge() -> OverrideMerge {
    let mut merge = OverrideMerge::new(canonical);
    merge.bucket_is("now");
    merge
}

/// One that has read an empty bucket at 0.
pub(super) fn ready() -> OverrideMerge {
    let mut merge = merge();
    merge.complete(0, Some(0), None);
    merge
}

pub(super) fn drain(id: u64, target: &str) -> FleetOverride {
    FleetOverride {
        id,
        target: target.into(),
        zones: None,
        effect: OverrideEffect::Set(OverrideState::Drain),
        who: "alice".into(),
        why: "rack move".into(),
        node: "ns1".into(),
    }
}

pub(super) fn clear(id: u64, target: &str) -> FleetOverride {
    FleetOverride { effect: OverrideEffect::Clear, ..drain(id, target) }
}

/// Stored `age` milliseconds ago by the clock of NATS.
pub(super) fn stored(revision: u64, age: i64) -> StoredAt {
    StoredAt { revision, age: Some(Duration::from_millis(age.unsigned_abs())), stamp: 1_000_000 - age }
}

pub(super) fn json(change: FleetOverride, age: i64, left: Option<i64>) -> String {
    value::to_json(&TimedOverride { change, made: 0, end: left.map(|left| age + left) }, age)
}

fn read(merge: &mut OverrideMerge, value: &str, at: StoredAt, now: i64) -> OverrideRead {
    let key = value::from_json(value.as_bytes()).map_or("00".into(), |written| merge.key(&written.change));
    merge.read(&key, Some(value.as_bytes()), at, now)
}

/// The ids of what is in force.
pub(super) fn ids(merge: &OverrideMerge, now: i64) -> Vec<u64> {
    merge.in_force(now).into_iter().map(|(_, timed)| timed.change.id).collect()
}

#[test]
fn a_change_is_pending_until_it_is_stored_and_is_written_again_where_it_was_not() {
    let mut of = ready();
    let key = of.change(drain(1, "fra1"), Some(60 * SEC), 0);
    assert!(of.is_pending(&key, 1) && of.pending() == 1 && ids(&of, 0) == [1]);
    let writes = of.writes(9, 10);
    assert_eq!((writes.len(), writes[0].expected), (1, 0));
    let value = value::from_json(writes[0].value.as_ref().unwrap().as_bytes()).unwrap();
    assert_eq!((value.age, value.left, value.change), (10, Some(60 * SEC - 10), drain(1, "fra1")));
    assert_eq!((of.writes(9, 10), of.next_due()), (vec![], None), "it is under way");
    of.written(&writes[0], WriteEnd::Failed, 20);
    let due = of.next_due().unwrap();
    assert!(due > 20 && of.writes(9, due - 1).is_empty());
    let again = of.writes(9, due);
    of.written(&again[0], WriteEnd::Stored(7), due + 1);
    assert!(!of.is_pending(&key, 1) && of.revision_of(&key) == Some(7) && of.next_due().is_none());
    // The next one is written over it, before the watch shows the first.
    of.change(clear(2, "FRA1"), None, 100);
    assert_eq!((of.writes(9, 100)[0].expected, ids(&of, 100)), (7, vec![]));
}

#[test]
fn the_order_is_that_of_the_bucket_also_where_the_watch_is_faster_than_the_reply() {
    let mut of = ready();
    of.change(drain(1, "fra1"), None, 0);
    let write = of.writes(9, 0).remove(0);
    read(&mut of, write.value.as_ref().unwrap(), stored(1, 0), 100);
    of.written(&write, WriteEnd::Stored(1), 200);
    // Made later, but stored earlier by the clock of NATS.
    read(&mut of, &json(drain(2, "nyc"), 0, None), StoredAt { stamp: 0, ..stored(2, 0) }, 300);
    assert_eq!(ids(&of, 300), [2, 1]);
}

#[test]
fn before_the_bucket_was_read_nothing_is_written() {
    let mut of = merge();
    of.change(drain(1, "fra1"), None, 0);
    assert_eq!(of.writes(9, 10), []);
    of.complete(5, Some(5), None);
    assert_eq!(of.writes(9, 10).len(), 1);
}

#[test]
fn the_newer_one_of_two_that_were_made_apart_is_in_force() {
    // One that is 5 s old when 8 s old is stored, and the other way round.
    for (own_age, taken) in [(5, false), (11, true)] {
        let mut of = ready();
        let now = 100 * SEC;
        of.change(drain(1, "fra1"), None, now - own_age * SEC);
        let result = read(&mut of, &json(clear(2, "fra1"), 3 * SEC, None), stored(4, 5 * SEC), now);
        assert_eq!(matches!(result, OverrideRead::Taken(_, Some(_))), taken, "{result:?}");
        assert_eq!(ids(&of, now), if taken { vec![] } else { vec![1] });
        let writes = of.writes(9, now);
        assert_eq!(writes.len(), usize::from(!taken));
        assert!(writes.iter().all(|write| write.expected == 4));
    }
}

#[test]
fn what_nats_says_of_the_time_is_never_longer_than_the_time_since_the_last_read() {
    let mut of = ready();
    of.complete(100 * SEC, Some(100 * SEC), None);
    of.change(drain(1, "fra1"), None, 101 * SEC);
    // The clock of NATS was set by a day meanwhile: the value is at most 16 s old.
    let now = 111 * SEC;
    let result = read(&mut of, &json(clear(2, "fra1"), 0, None), stored(4, 86_400 * SEC), now);
    assert!(matches!(result, OverrideRead::Older(..)), "{result:?}");
    of.complete(now, Some(now), None);
    let result = read(&mut of, &json(drain(3, "nyc"), 0, Some(60 * SEC)), stored(5, 86_400 * SEC), now + SEC);
    assert!(matches!(result, OverrideRead::Taken(..)), "{result:?}");
    assert_eq!(ids(&of, now + 54 * SEC), [3, 1], "it has lasted for 6 s at most");
}

#[test]
fn a_read_without_a_majority_of_the_copies_does_not_make_a_value_younger() {
    let mut of = ready();
    of.complete(10 * SEC, Some(10 * SEC), None);
    // The majority is lost; a server wrote its change at 11 s, which is stored when the majority is back.
    of.complete(40 * SEC, Some(12 * SEC), None);
    of.change(clear(1, "fra1"), None, 20 * SEC);
    let result = read(&mut of, &json(drain(2, "fra1"), 0, None), stored(4, 30 * SEC), 41 * SEC);
    assert!(matches!(result, OverrideRead::Older(..)), "{result:?}");
    assert_eq!(ids(&of, 41 * SEC), [0u64; 0]);
}

#[test]
fn a_change_whose_write_is_stored_late_does_not_replace_the_next_one_of_this_server() {
    let mut of = ready();
    let key = of.change(drain(1, "fra1"), Some(60 * SEC), SEC);
    let first = of.writes(9, SEC).remove(0);
    of.written(&first, WriteEnd::Failed, 4 * SEC);
    of.change(clear(2, "fra1"), None, 5 * SEC);
    let second = of.writes(9, 5 * SEC).remove(0);
    of.written(&second, WriteEnd::Failed, 8 * SEC);
    // The NATS server was paused, and stores the first write when it goes on: by its clock that is now.
    let value = first.value.as_ref().unwrap();
    let result = read(&mut of, value, stored(1, 0), 30 * SEC);
    assert!(matches!(result, OverrideRead::Older(..)), "{result:?}");
    assert_eq!((ids(&of, 30 * SEC), of.is_pending(&key, 2)), (vec![], true));
    let again = of.writes(9, 30 * SEC).remove(0);
    assert_eq!((again.id, again.expected), (2, 1));
    of.written(&again, WriteEnd::Stored(2), 30 * SEC);
    assert_eq!(read(&mut of, again.value.as_ref().unwrap(), stored(2, 0), 31 * SEC), OverrideRead::Confirmed);
}

#[test]
fn a_server_whose_write_was_stored_late_corrects_its_age_and_the_newer_change_of_another_is_in_force_again() {
    let (mut first, mut other) = (ready(), ready());
    first.change(drain(1, "fra1"), Some(90 * SEC), SEC);
    let write = first.writes(9, SEC).remove(0);
    first.written(&write, WriteEnd::Failed, 4 * SEC);
    let key = other.change(clear(2, "fra1"), None, 3 * SEC);
    // The NATS server was paused, and stores the write of the first one at 20 s: nobody can see that it is older.
    let value = write.value.as_ref().unwrap();
    assert!(matches!(read(&mut other, value, stored(1, 0), 20 * SEC), OverrideRead::Taken(_, Some(_))));
    assert_eq!(ids(&other, 20 * SEC), [1]);
    // The first one knows when it has made it.
    assert_eq!(read(&mut first, value, stored(1, 0), 20 * SEC), OverrideRead::Nothing);
    let due = first.next_due().unwrap();
    let again = first.writes(9, due).remove(0);
    assert_eq!((again.id, again.expected, due < 21 * SEC), (1, 1, true));
    first.written(&again, WriteEnd::Stored(2), due);
    let result = read(&mut other, again.value.as_ref().unwrap(), stored(2, 0), due);
    assert!(matches!(result, OverrideRead::Older(..)), "{result:?}");
    assert_eq!((ids(&other, due), other.is_pending(&key, 2)), (vec![], true));
    let last = other.writes(9, due).remove(0);
    assert_eq!((last.id, last.expected), (2, 2));
    other.written(&last, WriteEnd::Stored(3), due);
    read(&mut first, again.value.as_ref().unwrap(), stored(2, 0), due);
    let result = read(&mut first, last.value.as_ref().unwrap(), stored(3, 0), due);
    assert!(matches!(result, OverrideRead::Taken(..)), "{result:?}");
    assert_eq!((first.pending(), other.pending(), ids(&first, due)), (0, 0, vec![]));
}

#[test]
fn an_older_state_of_the_bucket_gets_back_what_it_has_lost() {
    let mut of = ready();
    for (revision, change) in [(1, drain(1, "fra1")), (2, drain(2, "nyc")), (5, clear(3, "fra1")), (6, drain(4, "lhr"))]
    {
        read(&mut of, &json(change, 0, None), stored(revision, 0), SEC);
    }
    of.complete(SEC, Some(SEC), Some((1, 6)));
    let saved = of.saved(2 * SEC);
    let mut restarted = OverrideMerge::new(canonical);
    restarted.restore(saved, 0, 2 * SEC).unwrap();
    of.read_anew();
    for mut of in [of, restarted] {
        of.bucket_is("now");
        read(&mut of, &json(drain(1, "fra1"), 0, None), stored(1, 9 * SEC), 10 * SEC);
        read(&mut of, &json(drain(2, "nyc"), 0, None), stored(2, 9 * SEC), 10 * SEC);
        assert_eq!(ids(&of, 10 * SEC), [2, 4], "as before until all is read");
        assert!(of.complete(10 * SEC, Some(10 * SEC), Some((1, 2))));
        assert_eq!((ids(&of, 10 * SEC), of.pending()), (vec![2, 4], 2));
        let writes = of.writes(9, 10 * SEC);
        assert_eq!(writes.iter().map(|write| (write.id, write.expected)).collect::<Vec<_>>(), [(3, 1), (4, 0)]);
        // A command of another server after that is taken, under a revision that was used before.
        read(&mut of, &json(clear(9, "nyc"), 0, None), stored(3, 0), 11 * SEC);
        assert_eq!(ids(&of, 11 * SEC), [4]);
    }
}

#[test]
fn a_connection_on_which_each_write_is_late_does_not_write_for_ever() {
    let mut of = ready();
    of.change(drain(1, "fra1"), None, SEC);
    let mut now = SEC;
    for revision in 1..=2 {
        let due = of.next_due().unwrap().max(now);
        let write = of.writes(9, due).remove(0);
        now = due + 3 * SEC;
        of.written(&write, WriteEnd::Failed, now);
        read(&mut of, write.value.as_ref().unwrap(), stored(revision, 0), now);
    }
    assert_eq!((of.pending(), of.next_due()), (0, None));
}

#[test]
fn a_bucket_that_was_purged_gets_everything_back() {
    let mut of = ready();
    read(&mut of, &json(drain(1, "fra1"), 0, None), stored(1, 0), SEC);
    read(&mut of, &json(drain(2, "nyc"), 0, None), stored(2, 0), SEC);
    // Made after the purge, before this server knows of it.
    of.change(clear(3, "nyc"), None, 2 * SEC);
    let conflict = of.writes(9, 2 * SEC).remove(0);
    assert_eq!(conflict.expected, 2);
    of.written(&conflict, WriteEnd::Failed, 2 * SEC);
    assert!(of.complete(3 * SEC, Some(3 * SEC), Some((3, 2))));
    let writes = of.writes(9, 3 * SEC);
    assert_eq!(writes.iter().map(|write| (write.id, write.expected)).collect::<Vec<_>>(), [(1, 0), (3, 0)]);
    for (write, revision) in writes.iter().zip(3..) {
        of.written(write, WriteEnd::Stored(revision), 3 * SEC);
    }
    assert!(!of.complete(4 * SEC, Some(4 * SEC), Some((3, 4))));
    assert_eq!((of.pending(), ids(&of, 4 * SEC)), (0, vec![1]));
}

#[test]
fn an_override_ends_after_the_time_that_was_left_and_stays_ended() {
    let mut of = merge();
    read(&mut of, &json(drain(1, "fra1"), 3600 * SEC, Some(10 * SEC)), stored(1, 4 * SEC), 50 * SEC);
    of.complete(50 * SEC, Some(50 * SEC), None);
    assert_eq!((ids(&of, 55_999), ids(&of, 56_000)), (vec![1], vec![]));
    // The times of one that is known are not changed by a later read.
    of.read_anew();
    let again = read(&mut of, &json(drain(1, "fra1"), 3600 * SEC, Some(10 * SEC)), stored(1, 0), 51 * SEC);
    assert_eq!((again, ids(&of, 56_000)), (OverrideRead::Confirmed, vec![]));
}

#[test]
fn a_clear_is_learned_after_an_absence_and_what_the_bucket_has_no_more_is_forgotten() {
    let mut of = ready();
    for (revision, target) in [(1, "fra1"), (2, "nyc"), (3, "ams1")] {
        read(&mut of, &json(drain(revision, target), 0, None), stored(revision, 0), SEC);
    }
    of.change(drain(9, "lhr"), None, 2 * SEC);
    let saved = of.saved(3 * SEC);
    let text = serde_json::to_string(&saved).unwrap();
    let mut next = OverrideMerge::new(canonical);
    // An hour later; the clock of the process began anew.
    next.restore(serde_json::from_str(&text).unwrap(), 3600 * SEC, 0).unwrap();
    assert_eq!(ids(&next, 0), [1, 2, 3, 9], "as before, until the bucket is read");
    next.bucket_is("now");
    read(&mut next, &json(clear(4, "fra1"), 0, None), stored(7, 60 * SEC), SEC);
    // A late copy of the bucket lacks `ams1`, and `nyc` was deleted.
    let mut late = OverrideMerge::new(canonical);
    late.restore(saved, 0, 0).unwrap();
    late.bucket_is("now");
    read(&mut late, &json(drain(1, "fra1"), 0, None), stored(1, 0), SEC);
    late.complete(SEC, Some(SEC), None);
    assert_eq!(ids(&late, SEC), [1, 2, 3, 9]);
    read(&mut next, &json(drain(3, "ams1"), 0, None), stored(3, 0), SEC);
    next.complete(SEC, Some(SEC), None);
    assert_eq!(ids(&next, SEC), [3, 9]);
    let writes = next.writes(9, SEC);
    assert_eq!((writes.len(), writes[0].id), (1, 9), "what was pending is written");
    assert_eq!(value::from_json(writes[0].value.as_ref().unwrap().as_bytes()).unwrap().age, 3602 * SEC);
}

#[test]
fn a_bucket_that_was_made_anew_gets_everything_back() {
    let mut of = ready();
    read(&mut of, &json(drain(1, "fra1"), 0, None), stored(5, 0), SEC);
    read(&mut of, &json(clear(2, "nyc"), 0, None), stored(6, 0), SEC);
    of.bucket_is("later");
    assert_eq!((of.pending(), of.writes(9, 2 * SEC)), (2, vec![]));
    // Another server was faster with one of them, and knows a newer change of the other.
    assert_eq!(read(&mut of, &json(drain(1, "fra1"), 0, None), stored(1, 0), 2 * SEC), OverrideRead::Confirmed);
    let newer = read(&mut of, &json(drain(3, "nyc"), 0, None), stored(2, 0), 2 * SEC);
    assert!(matches!(newer, OverrideRead::Taken(..)));
    of.complete(2 * SEC, Some(2 * SEC), None);
    assert_eq!((of.pending(), of.writes(9, 3 * SEC).len(), ids(&of, 3 * SEC)), (0, 0, vec![1, 3]));
}

#[test]
fn an_old_revision_changes_nothing() {
    let mut of = ready();
    read(&mut of, &json(drain(1, "fra1"), 0, None), stored(5, 0), SEC);
    read(&mut of, &json(clear(2, "fra1"), 0, None), stored(6, 0), SEC);
    assert_eq!(read(&mut of, &json(drain(1, "fra1"), 0, None), stored(5, 0), SEC), OverrideRead::Nothing);
    assert_eq!(ids(&of, SEC), [0u64; 0]);
    // Also that of a copy which is late, after an own write.
    of.change(drain(3, "fra1"), None, 2 * SEC);
    let write = of.writes(9, 2 * SEC).remove(0);
    of.written(&write, WriteEnd::Stored(8), 2 * SEC);
    assert_eq!(read(&mut of, &json(clear(4, "fra1"), 0, None), stored(7, 0), 3 * SEC), OverrideRead::Nothing);
    assert_eq!((ids(&of, 3 * SEC), write.expected), (vec![3], 6));
}

#[test]
fn what_is_wrong_is_refused_and_counted_and_the_rest_stays() {
    let mut of = ready();
    let good = json(drain(1, "fra1"), 0, Some(SEC));
    let key = of.key(&drain(1, "fra1"));
    read(&mut of, &good, stored(1, 0), 0);
    let long = |field: &str, old: &str, length: usize| {
        good.replace(&format!(r#""{field}":"{old}""#), &format!(r#""{field}":"{}""#, "x".repeat(length)))
    };
    let wrong = [
        String::new(),
        "{".into(),
        "[]".into(),
        "null".into(),
        r#"{"v":1}"#.into(),
        good.replace("drain", "drian"),
        good.replace("alice", ""),
        good.replace("alice", "a\\u0000"),
        good.replace("rack move", "a\\nb"),
        good.replace("\"left_ms\":1000", "\"left_ms\":99999999999999"),
        good.replace("\"left_ms\":1000", "\"left_ms\":-1"),
        good.replace("\"age_ms\":0", "\"age_ms\":1e400"),
        good.replace("fra1", "nyc"),
        good.replace("\"v\"", "\"zones\":[\"a..b\"],\"v\""),
        good.replace("\"v\"", &format!("\"zones\":[{}\"a.\"],\"v\"", "\"a.\",".repeat(1000))),
        long("target", "fra1", 2049),
        long("who", "alice", 256),
        long("node", "ns1", 256),
        long("why", "rack move", 1025),
        long("why", "rack move", 1 << 20),
    ];
    for (nth, value) in wrong.iter().enumerate() {
        let result = of.read(&key, Some(value.as_bytes()), stored(nth as u64 + 2, 0), 0);
        assert!(matches!(result, OverrideRead::Refused(UnusableOverride::Malformed(_))), "{value:.200}: {result:?}");
    }
    assert_eq!((of.refused(), ids(&of, 0)), (wrong.len() as u64, vec![1]));
    // What is known goes over what is wrong, but slowly.
    assert_eq!((of.writes(9, 0).len(), of.writes(9, 10 * SEC).len()), (0, 1));
    // Octets that are no text.
    assert!(matches!(of.read("77", Some(&[0xff; 40]), stored(90, 0), 0), OverrideRead::Refused(_)));
}

#[test]
fn a_value_of_a_later_release_is_left_alone() {
    let mut of = ready();
    let good = json(drain(1, "fra1"), 0, None);
    read(&mut of, &good, stored(1, 0), 0);
    let key = of.key(&drain(1, "fra1"));
    let later = of.read(&key, Some(br#"{"v":2,"all":"else"}"#), stored(2, 0), 0);
    assert_eq!(later, OverrideRead::Refused(UnusableOverride::Version(2)));
    of.change(clear(2, "fra1"), None, SEC);
    assert_eq!((of.writes(9, 100 * SEC), of.next_due(), of.pending()), (vec![], None, 1));
    of.read(&key, Some(good.as_bytes()), stored(3, 0), SEC);
    assert_eq!(of.writes(9, 100 * SEC)[0].expected, 3, "this release has written it again");
}

#[test]
fn a_change_that_ended_long_ago_is_deleted_and_its_key_can_be_used_again() {
    let mut of = ready();
    read(&mut of, &json(clear(1, "fra1"), 0, None), stored(1, 0), 0);
    let later = millis(FORGET_AFTER) + 1;
    assert_eq!(of.writes(9, later - 1), []);
    let write = of.writes(9, later).remove(0);
    assert_eq!((&write.value, write.expected), (&None, 1));
    of.written(&write, WriteEnd::Stored(2), later);
    assert_eq!(of.saved(later).changes, []);
    assert_eq!(of.read(&write.key, None, stored(2, 0), later), OverrideRead::Nothing);
    of.change(drain(3, "fra1"), None, later);
    assert_eq!(of.writes(9, later)[0].expected, 2);
    // Another server deletes it.
    let mut of = ready();
    read(&mut of, &json(clear(1, "fra1"), 0, None), stored(1, 0), 0);
    assert_eq!(of.read(&write.key, None, stored(2, 0), 0), OverrideRead::Forgotten);
}

#[test]
fn a_bucket_full_of_overrides_costs_bounded_memory_and_time() {
    let mut of = ready();
    for nth in 0..MAX_CHANGES as u64 + 3000 {
        let value = json(drain(nth, &format!("e{nth}")), 0, None);
        let result = read(&mut of, &value, stored(nth + 1, 0), 0);
        let is_full = nth >= MAX_CHANGES as u64;
        assert_eq!(result == OverrideRead::Refused(UnusableOverride::TooMany), is_full, "{nth}: {result:?}");
    }
    assert_eq!(of.in_force(0).len(), MAX_IN_FORCE);
    assert_eq!(of.in_force(0)[0].1.change.id, (MAX_CHANGES - MAX_IN_FORCE) as u64, "the newest are in force");
    // What has ended makes room.
    for nth in 0..10u64 {
        let value = json(clear(100_000 + nth, &format!("e{nth}")), 0, None);
        read(&mut of, &value, stored(50_000 + nth, 0), 0);
    }
    let result = read(&mut of, &json(drain(7, "more"), 0, None), stored(60_000, 0), 2 * FULL_PAUSE);
    assert!(matches!(result, OverrideRead::Taken(..)), "{result:?}");
}

/// Longer than the time for which a full merge does not look for room.
const FULL_PAUSE: i64 = 1000;

#[test]
fn forms_of_one_target_have_one_key_and_zones_have_their_own() {
    let zone = |text: &str| Name::parse(text).unwrap();
    let of = merge();
    let in_zones = |zones: Option<Vec<Name>>| of.key(&FleetOverride { zones, ..drain(1, "fra1") });
    assert_eq!(of.key(&drain(1, "FRA1")), in_zones(None));
    let keys = [
        in_zones(None),
        in_zones(Some(vec![])),
        in_zones(Some(vec![zone("a.example.")])),
        in_zones(Some(vec![zone("a.example."), zone("b.example.")])),
        of.key(&drain(1, "fra2")),
    ];
    for (nth, key) in keys.iter().enumerate() {
        assert!(key.len() == 32 && !keys[..nth].contains(key), "{key}");
    }
}
