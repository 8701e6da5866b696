//! Which change of each target is in force, and what has to be written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::overrides::slot::{InBucket, KeySlot, KnownOverride, STORED_LATE};
use crate::fleet::overrides::value::{self, WrittenOverride};
use crate::fleet::overrides::{
    FORGET_AFTER, FleetOverride, MAX_CHANGES, MAX_IN_FORCE, MAX_KEYS, READ_LAG, TimedOverride, UnusableOverride,
    key_of, millis,
};

/// Where and when the bucket has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredAt {
    /// Its revision.
    pub revision: u64,
    /// How long ago NATS stored it, by the clock of NATS alone; `None`: not known.
    pub age: Option<Duration>,
    /// When NATS stored it, by the clock of NATS, in milliseconds since 1970.
    pub stamp: i64,
}

/// What came of a value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum OverrideRead {
    /// It is known already, or older than what is known.
    Nothing,
    /// The bucket has this server's change.
    Confirmed,
    /// It is in force from now on, instead of the second change.
    Taken(Box<FleetOverride>, Option<Box<FleetOverride>>),
    /// The pending change of this server is newer, and stays. The value has the second one.
    Older(Box<FleetOverride>, Box<FleetOverride>),
    /// The key was deleted, and its change forgotten.
    Forgotten,
    /// It can't be used, and was counted.
    Refused(UnusableOverride),
}

/// What has to be written now: a value; `None` deletes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideWrite {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Option<String>,
    /// The revision that the key must have; 0: none.
    pub expected: u64,
    /// The change that it has.
    pub id: u64,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteEnd {
    /// It has this revision.
    Stored(u64),
    /// It was not stored, or that is not known.
    Failed,
}

/// The changes of all targets, as one server knows them.
#[derive(Debug)]
pub struct OverrideMerge {
    /// The one text of all forms of a target.
    canonical: fn(&str) -> String,
    pub(super) slots: BTreeMap<String, KeySlot>,
    /// The last change of each key.
    pub(super) changes: BTreeMap<String, KnownOverride>,
    /// When the bucket was made that the revisions are of.
    pub(super) bucket: Option<Arc<str>>,
    /// When the last complete read of it began; `None`: there was none since the start.
    complete_at: Option<i64>,
    /// What NATS took [`READ_LAG`] before this moment was read.
    whole_at: Option<i64>,
    /// The highest revision that was read.
    highest: u64,
    refused: u64,
    /// There is no room for another change until then.
    full_until: Option<i64>,
}

/// Changes that have ended make room together, so that a bucket full of them costs little (judgment).
const MAKE_ROOM_FOR: usize = 1000;
/// Where nothing makes room, the next look is after this time, in milliseconds (judgment).
const FULL_FOR: i64 = 1000;

impl OverrideMerge {
    /// Without any change. `canonical` makes one text of all forms of a target.
    pub fn new(canonical: fn(&str) -> String) -> OverrideMerge {
        OverrideMerge {
            canonical,
            slots: BTreeMap::new(),
            changes: BTreeMap::new(),
            full_until: None,
            bucket: None,
            complete_at: None,
            whole_at: None,
            highest: 0,
            refused: 0,
        }
    }

    /// The key of a change.
    pub fn key(&self, change: &FleetOverride) -> String {
        self.key_of(&change.target, change.zones.as_deref())
    }

    /// The key of a target in these sorted zones.
    pub fn key_of(&self, target: &str, zones: Option<&[crate::wire::Name]>) -> String {
        key_of(&(self.canonical)(target), zones)
    }

    /// Takes a change that was made here, now. It is pending. Returns its key.
    pub fn change(&mut self, change: FleetOverride, end: Option<i64>, now: i64) -> String {
        let key = self.key(&change);
        self.make_room(&key, now);
        self.slots.entry(key.clone()).or_default().no_failure();
        let known = KnownOverride::new(TimedOverride { change, made: now, end }, None);
        self.changes.insert(key.clone(), known);
        key
    }

    /// The bucket that the next values are of was made at this time. If it is another one, this server offers all
    /// changes that it knows to it.
    pub fn bucket_is(&mut self, created: &str) {
        if self.bucket.as_deref() == Some(created) {
            return;
        }
        let is_first = self.bucket.is_none();
        self.bucket = Some(created.into());
        if is_first {
            return;
        }
        self.read_anew();
        self.changes.values_mut().for_each(|known| known.stored = None);
    }

    /// All of the bucket is read anew.
    pub fn read_anew(&mut self) {
        self.slots.values_mut().for_each(KeySlot::begin_anew);
        let stored = self.changes.values_mut().filter_map(|known| known.stored.as_mut());
        stored.for_each(|stored| stored.is_read = false);
        (self.complete_at, self.whole_at, self.highest) = (None, None, 0);
    }

    /// Takes a value of the bucket; `None`: the key was deleted.
    pub fn read(&mut self, key: &str, value: Option<&[u8]>, at: StoredAt, now: i64) -> OverrideRead {
        self.highest = self.highest.max(at.revision);
        if !self.slots.contains_key(key) && self.slots.len() >= MAX_KEYS {
            return self.refuse(UnusableOverride::TooMany);
        }
        let slot = self.slots.entry(key.to_owned()).or_default();
        if at.revision <= slot.read {
            return OverrideRead::Nothing;
        }
        (slot.read, slot.newest) = (at.revision, slot.newest.max(at.revision));
        (slot.is_foreign, slot.lower) = (false, None);
        let Some(value) = value else {
            slot.no_failure();
            let is_stored = self.changes.get(key).is_some_and(|known| known.is_older_than(at.revision));
            return if is_stored && self.changes.remove(key).is_some() {
                OverrideRead::Forgotten
            } else {
                OverrideRead::Nothing
            };
        };
        let parsed = value::from_json(value).and_then(|written| match self.key(&written.change) == key {
            true => Ok(written),
            false => Err(UnusableOverride::Malformed("it is under the key of another target".to_owned())),
        });
        let result = match parsed {
            Ok(written) => self.take(key, written, at, now),
            Err(why) => {
                let slot = self.slots.entry(key.to_owned()).or_default();
                match &why {
                    UnusableOverride::Version(_) => slot.is_foreign = true,
                    // What is known is written over it, but not faster than it comes.
                    UnusableOverride::Malformed(_) | UnusableOverride::TooMany => {
                        slot.failed(now);
                        self.changes.get_mut(key).into_iter().for_each(|known| known.stored = None);
                    }
                }
                self.refuse(why)
            }
        };
        self.slots.entry(key.to_owned()).or_default().has_revision(at.revision);
        result
    }

    fn refuse(&mut self, why: UnusableOverride) -> OverrideRead {
        self.refused += 1;
        OverrideRead::Refused(why)
    }

    fn take(&mut self, key: &str, written: WrittenOverride, at: StoredAt, now: i64) -> OverrideRead {
        let WrittenOverride { change, age, left } = written;
        // It was not there at the last read that had everything.
        let longest = self.whole_at.map_or(i64::MAX, |read| now.saturating_sub(read) + millis(READ_LAG));
        let since_stored = at.age.map_or(0, millis).min(longest);
        let by_nats = now.saturating_sub(age).saturating_sub(since_stored);
        let end = left.map(|left| now.saturating_add(left).saturating_sub(since_stored));
        // A write of this server that had no reply in time is stored late, with a later time by the clock of NATS.
        let own = self.slots.get(key).and_then(|slot| slot.own_times(change.id));
        let (made, end) = own.unwrap_or((by_nats, end));
        let timed = TimedOverride { change, made, end };
        let order = Some(at.stamp.saturating_sub(age));
        let stored = Some(InBucket { revision: at.revision, order, is_read: true });
        if !self.make_room(key, now) {
            return self.refuse(UnusableOverride::TooMany);
        }
        let slot = self.slots.entry(key.to_owned()).or_default();
        slot.no_failure();
        match self.changes.get_mut(key) {
            Some(known) if known.timed.change.id == timed.change.id => {
                // Its times are known here already, by the clock of this server.
                let late = by_nats.saturating_sub(known.timed.made);
                let (is_own, is_corrected) = (own.is_some() || known.is_pending(), known.is_older_than(at.revision));
                known.stored = stored;
                if is_own && slot.corrects(known.timed.change.id, late) {
                    // The other servers take it for a newer one than it is: it is written again with its age.
                    known.stored = None;
                    slot.failed(now);
                    return OverrideRead::Nothing;
                }
                if !is_own && is_corrected && late < -millis(STORED_LATE) {
                    known.timed = timed;
                    if let Some(own) = known.wrongly_replaced(&known.timed, now) {
                        return give_back(known, own);
                    }
                }
                OverrideRead::Confirmed
            }
            Some(known) if known.is_pending() && known.timed.is_newer_than(&timed) => {
                OverrideRead::Older(Box::new(known.timed.change.clone()), Box::new(timed.change))
            }
            // A copy of the bucket is late, or the bucket has lost what it had, which `complete` decides.
            Some(known) if !known.is_pending() && !known.is_older_than(at.revision) => {
                slot.lower = known.is_unread().then(|| KnownOverride::new(timed, stored));
                OverrideRead::Nothing
            }
            Some(known) => match known.wrongly_replaced(&timed, now).filter(|_| !known.is_pending()) {
                Some(own) => {
                    known.timed = timed;
                    give_back(known, own)
                }
                None => {
                    let (taken, before) = (timed.change.clone(), known.clone());
                    let older = before.timed.change.clone();
                    *known = KnownOverride::new(timed, stored).after(Some(before), now);
                    OverrideRead::Taken(Box::new(taken), Some(Box::new(older)))
                }
            },
            None => {
                let taken = Box::new(timed.change.clone());
                self.changes.insert(key.to_owned(), KnownOverride::new(timed, stored));
                OverrideRead::Taken(taken, None)
            }
        }
    }

    /// Makes room for a change of this key. `false`: there is none, because all are in force.
    fn make_room(&mut self, key: &str, now: i64) -> bool {
        if self.changes.len() < MAX_CHANGES || self.changes.contains_key(key) {
            return true;
        }
        if self.full_until.is_some_and(|at| now < at) {
            return false;
        }
        let ended = self.changes.iter().filter(|(_, known)| !known.is_pending() && !known.timed.is_in_force(now));
        let mut ended: Vec<(Option<i64>, String)> =
            ended.map(|(key, known)| (known.timed.ended_at(), key.clone())).collect();
        ended.sort_unstable();
        ended.truncate(MAKE_ROOM_FOR);
        self.full_until = ended.is_empty().then(|| now + FULL_FOR);
        ended.iter().for_each(|(_, key)| _ = self.changes.remove(key));
        !ended.is_empty()
    }

    /// Everything that was in the bucket at `began` has been read. A majority of its copies was last known to be in
    /// step at the moment `in_step`, which is not after `began`, and `revisions` were the first and the last one before
    /// the read. What the bucket has no more is forgotten; what it has lost is pending again. Returns whether something
    /// has changed, or this is the first such read.
    pub fn complete(&mut self, began: i64, in_step: Option<i64>, revisions: Option<(u64, u64)>) -> bool {
        self.whole_at = in_step.map(|at| at.min(began)).max(self.whole_at);
        let mut is_news = self.complete_at.replace(began).is_none();
        let OverrideMerge { changes, slots, highest, .. } = self;
        let (first, last) = revisions.unwrap_or((0, u64::MAX));
        // A copy of the bucket that is late lacks the newest revisions.
        let is_whole = revisions.is_none() || *highest >= last || first > last;
        changes.retain(|key, known| {
            let Some(InBucket { revision, is_read, .. }) = known.stored else { return true };
            // The bucket was purged, or an older state of it was restored, which has not come so far yet.
            let is_lost = (revision < first && is_whole) || (revision > last && !is_read);
            if !is_lost && (is_read || revision > *highest || !is_whole) {
                return true;
            }
            is_news = true;
            match slots.get_mut(key).and_then(|slot| slot.lower.take()) {
                Some(lower) if lower.timed.is_newer_than(&known.timed) => *known = lower,
                None if !is_lost => return false,
                Some(_) | None => known.stored = None,
            }
            true
        });
        // What was purged may be written as if it had never been there.
        let purged = |slot: &&mut KeySlot| is_whole && !slot.is_foreign && slot.newest < first;
        slots.values_mut().filter(purged).for_each(|slot| slot.newest = 0);
        is_news
    }

    /// What has to be written now, at most `most` values. Each is under way until [`OverrideMerge::written`].
    pub fn writes(&mut self, most: usize, now: i64) -> Vec<OverrideWrite> {
        if self.complete_at.is_none() || most == 0 {
            return Vec::new();
        }
        let mut writes = Vec::new();
        for (key, known) in &self.changes {
            let is_old = known.timed.ended_at().is_some_and(|at| now.saturating_sub(at) > millis(FORGET_AFTER));
            if !known.is_pending() && !is_old {
                continue;
            }
            let slot = self.slots.entry(key.clone()).or_default();
            if !slot.may_write(now) {
                continue;
            }
            let value = known.is_pending().then(|| value::to_json(&known.timed, now));
            if value.as_ref().is_some_and(|value| value.len() > value::MAX_VALUE) {
                // No server would read it: it stays pending.
                slot.failed(now);
                continue;
            }
            slot.writing = true;
            if value.is_some() {
                slot.begin(&known.timed);
            }
            writes.push(OverrideWrite { key: key.clone(), value, expected: slot.newest, id: known.timed.change.id });
            if writes.len() >= most {
                break;
            }
        }
        writes
    }

    /// A write has ended.
    pub fn written(&mut self, write: &OverrideWrite, end: WriteEnd, now: i64) {
        let Some(slot) = self.slots.get_mut(&write.key) else { return };
        slot.writing = false;
        let WriteEnd::Stored(revision) = end else { return slot.failed(now) };
        slot.no_failure();
        slot.newest = slot.newest.max(revision);
        if revision <= slot.read {
            // It was read meanwhile, or a newer one was, and compared.
            return;
        }
        let Some(known) = self.changes.get_mut(&write.key).filter(|known| known.timed.change.id == write.id) else {
            return;
        };
        match &write.value {
            Some(_) => known.stored = Some(InBucket { revision, order: None, is_read: true }),
            None => _ = self.changes.remove(&write.key),
        }
    }

    /// When a change that waits may be written next; `None`: nothing waits.
    pub fn next_due(&self) -> Option<i64> {
        self.complete_at?;
        let pending = self.changes.iter().filter(|(_, known)| known.is_pending());
        pending.filter_map(|(key, _)| self.slots.get(key).map_or(Some(i64::MIN), KeySlot::due)).min()
    }

    /// The overrides in force at `now`, each with its key, the oldest first: in the same order on every server.
    pub fn in_force(&self, now: i64) -> Vec<(&str, &TimedOverride)> {
        let mut all: Vec<_> = self.changes.iter().filter(|(_, known)| known.timed.is_in_force(now)).collect();
        // Those that no other server has are the newest.
        let order = |known: &KnownOverride| match known.stored.and_then(|at| at.order) {
            Some(order) => (false, order),
            None => (true, known.timed.made),
        };
        all.sort_by_key(|(_, known)| (order(known), known.timed.change.id));
        let surplus = all.len().saturating_sub(MAX_IN_FORCE);
        all.into_iter().skip(surplus).map(|(key, known)| (key.as_str(), &known.timed)).collect()
    }

    /// The last change of a key.
    pub fn last_of(&self, key: &str) -> Option<&TimedOverride> {
        Some(&self.changes.get(key)?.timed)
    }

    /// The revision under which the bucket has the last change of a key; `None`: it is pending.
    pub fn revision_of(&self, key: &str) -> Option<u64> {
        Some(self.changes.get(key)?.stored?.revision)
    }

    /// Whether this change waits to be written. `false` also where another one has replaced it.
    pub fn is_pending(&self, key: &str, id: u64) -> bool {
        self.changes.get(key).is_some_and(|known| known.is_pending() && known.timed.change.id == id)
    }

    /// How many changes are known, with those that have ended.
    pub fn count(&self) -> usize {
        self.changes.len()
    }

    /// How many changes are pending.
    pub fn pending(&self) -> usize {
        self.changes.values().filter(|known| known.is_pending()).count()
    }

    /// How many values could not be used.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The highest revision that was read.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// When the bucket was made, as NATS reports it.
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }
}

/// The change of this server is in force again, and pending, in place of the one that had replaced it.
fn give_back(known: &mut KnownOverride, own: TimedOverride) -> OverrideRead {
    let before = std::mem::replace(known, KnownOverride::new(own, None));
    OverrideRead::Older(Box::new(known.timed.change.clone()), Box::new(before.timed.change))
}
