//! The merge under random commands, absences and restarts, and with any octets in the bucket.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fleet::overrides::tests::{SEC, canonical, clear, drain, ids, json, ready, stored};

/// One step of two servers that share a bucket.
#[derive(Debug, Clone)]
enum Step {
    /// A server changes a target: whether it is cleared, and for how many seconds.
    Change(usize, bool, Option<u8>),
    /// A server reads all of the bucket, and writes what is pending.
    Sync(usize),
    /// A server stops, and starts after some seconds with another zero of its clock.
    Restart(usize, u8),
    /// Time passes, in seconds.
    Wait(u8),
    /// The bucket loses the majority of its copies, or gets it back.
    Majority(bool),
    /// The NATS server is paused, or goes on.
    Paused(bool),
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2usize, any::<bool>(), prop::option::of(any::<u8>())).prop_map(|(of, is, left)| Step::Change(of, is, left)),
        (0..2usize).prop_map(Step::Sync),
        (0..2usize, any::<u8>()).prop_map(|(of, secs)| Step::Restart(of, secs)),
        any::<u8>().prop_map(Step::Wait),
        any::<bool>().prop_map(Step::Majority),
        any::<bool>().prop_map(Step::Paused),
    ]
}

/// A bucket with one key.
#[derive(Default)]
struct OneKey {
    revision: u64,
    value: Option<(String, i64)>,
    /// Since when it has had no majority; `None`: it has one.
    cut_at: Option<i64>,
    /// What its leader took since then: it is stored when the majority is back.
    proposed: Option<(String, i64)>,
    is_paused: bool,
    /// What it has received while it is paused, and from which server.
    received: Vec<(usize, OverrideWrite)>,
}

impl OneKey {
    fn set_majority(&mut self, has_majority: bool, now: i64) {
        if !has_majority {
            self.cut_at.get_or_insert(now);
            return;
        }
        self.cut_at = None;
        if let Some(proposed) = self.proposed.take() {
            (self.revision, self.value) = (self.revision + 1, Some(proposed));
        }
    }

    /// Goes on, and executes what was received.
    fn resume(&mut self, now: i64) {
        self.is_paused = false;
        for (_, write) in std::mem::take(&mut self.received) {
            // The reply is too late.
            self.write(&write, now);
        }
    }

    fn write(&mut self, write: &OverrideWrite, now: i64) -> WriteEnd {
        if write.expected != self.revision || self.proposed.is_some() {
            return WriteEnd::Failed;
        }
        let value = write.value.clone().map(|value| (value, now));
        if self.cut_at.is_some() {
            self.proposed = value;
            return WriteEnd::Failed;
        }
        (self.revision, self.value) = (self.revision + 1, value);
        WriteEnd::Stored(self.revision)
    }
}

/// A server's own clock differs from the true one by this.
type Skew = i64;

fn sync((server, of): (usize, &mut OverrideMerge), skew: Skew, bucket: &mut OneKey, true_now: i64) {
    let now = true_now + skew;
    if bucket.is_paused {
        for write in of.writes(9, now) {
            of.written(&write, WriteEnd::Failed, now);
            bucket.received.push((server, write));
        }
        return;
    }
    of.bucket_is("now");
    let key = of.key(&drain(0, "fra1"));
    if let Some((value, at)) = &bucket.value {
        let at = StoredAt {
            revision: bucket.revision,
            age: Some(Duration::from_millis((true_now - at) as u64)),
            stamp: *at,
        };
        of.read(&key, Some(value.as_bytes()), at, now);
    }
    // A leader notices only after some time that it has lost the majority.
    let in_step = bucket.cut_at.map_or(true_now, |at| true_now.min(at + 3 * SEC));
    of.complete(now, Some(in_step + skew), Some((0, bucket.revision)));
    for write in of.writes(9, now) {
        let end = bucket.write(&write, true_now);
        of.written(&write, end, now);
    }
}

proptest! {
    /// Whatever the order of commands, absences, restarts, lost majorities and pauses of NATS, both servers end with
    /// the change that was made last, and with the same time left.
    #[test]
    fn the_last_command_is_in_force_everywhere(steps in prop::collection::vec(a_step(), 1..40)) {
        let mut bucket = OneKey::default();
        let mut servers = [(OverrideMerge::new(canonical), 0), (OverrideMerge::new(canonical), 5_000_000)];
        let mut true_now = 1_000_000i64;
        let mut last: Option<(u64, bool, Option<i64>)> = None;
        let mut next_id = 1u64;
        for step in steps {
            // No two changes are made at once.
            true_now += 5;
            match step {
                Step::Change(of, is_clear, left) => {
                    let end = left.filter(|_| !is_clear).map(|left| true_now + i64::from(left) * SEC + 1);
                    let change = if is_clear { clear(next_id, "fra1") } else { drain(next_id, "fra1") };
                    let (merge, skew) = &mut servers[of];
                    merge.change(change, end.map(|end| end + *skew), true_now + *skew);
                    last = Some((next_id, is_clear, end));
                    next_id += 1;
                }
                Step::Sync(of) => {
                    let (merge, skew) = &mut servers[of];
                    sync((of, merge), *skew, &mut bucket, true_now);
                }
                Step::Restart(of, off) => {
                    // Its connection ends.
                    bucket.received.retain(|(from, _)| *from != of);
                    let (merge, skew) = &mut servers[of];
                    let saved = merge.saved(true_now + *skew);
                    true_now += i64::from(off) * SEC;
                    *skew = i64::from(off) * 1234 - 7777;
                    let mut next = OverrideMerge::new(canonical);
                    next.restore(saved, i64::from(off) * SEC, true_now + *skew).unwrap();
                    *merge = next;
                }
                Step::Wait(secs) => true_now += i64::from(secs) * SEC,
                Step::Majority(is_there) => bucket.set_majority(is_there, true_now),
                Step::Paused(true) => bucket.is_paused = true,
                Step::Paused(false) => {
                    // What is received lately is stored late.
                    true_now += 2 * SEC;
                    bucket.resume(true_now);
                }
            }
        }
        true_now += 10 * SEC;
        bucket.resume(true_now);
        bucket.set_majority(true, true_now);
        for of in [0, 1].repeat(6) {
            // Longer than a write that failed waits.
            true_now += 10 * SEC;
            let (merge, skew) = &mut servers[of];
            sync((of, merge), *skew, &mut bucket, true_now);
        }
        let expected: Vec<u64> = last
            .filter(|(_, is_clear, end)| !is_clear && end.is_none_or(|end| end > true_now))
            .map(|(id, _, _)| id)
            .into_iter()
            .collect();
        for (merge, skew) in &servers {
            prop_assert_eq!(&ids(merge, true_now + skew), &expected);
            prop_assert_eq!(merge.pending(), 0);
            if let (Some((_, timed)), Some((_, _, end))) = (merge.in_force(true_now + skew).first(), last) {
                prop_assert_eq!(timed.end, end.map(|end| end + skew));
            }
        }
    }

    #[test]
    fn any_octets_are_read_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..200), revision in 1..9u64) {
        let mut of = ready();
        let _ = of.read("k", Some(&octets), stored(revision, 0), 1 << 53);
    }

    #[test]
    fn any_fields_are_read_without_a_panic(
        age in any::<u64>(),
        left in any::<u64>(),
        stamp in any::<i64>(),
        now in 0..1i64 << 53,
    ) {
        let mut of = ready();
        let value = json(drain(1, "fra1"), 0, Some(1))
            .replace("\"age_ms\":0", &format!("\"age_ms\":{age}"))
            .replace("\"left_ms\":1", &format!("\"left_ms\":{left}"));
        let at = StoredAt { revision: 1, age: Some(Duration::MAX), stamp };
        let key = of.key(&drain(1, "fra1"));
        let _ = of.read(&key, Some(value.as_bytes()), at, now);
        let _ = (of.saved(now), of.writes(9, now), of.in_force(now).len());
    }
}
