//! What is known of a range of keys, and up to which revision: what a list brings, what a watch adds, and when both
//! have to begin anew. Pure.
//!
//! The resume point is `seen`: every change up to this revision is known. A watch from the revision after it misses
//! nothing, on whichever server, unless the revision was compacted, or the data is another one: of another cluster, or
//! with a lower revision (wiped, or restored from a backup). Then the keys are listed again.

use std::collections::HashMap;

use crate::discovery::etcd::message::{EventType, KeyRange, KeyValue, RangeReply, ReplyHeader, WatchReply};

/// The code of gRPC for a revision that is compacted or in the future.
pub(super) const OUT_OF_RANGE: i64 = 11;

/// So many comparisons that differ while nothing arrives mean that the watch misses changes.
const SILENT_DIFFERENCES: u32 = 2;
/// So many comparisons that differ although changes arrive mean that keys are known which the server does not have.
const BUSY_DIFFERENCES: u32 = 6;

/// See the comment of this file.
#[derive(Debug)]
pub(super) struct KeyProgress {
    range: KeyRange,
    /// Most keys that are wanted.
    most: usize,
    cluster: String,
    /// The revision of the last change of each key.
    keys: HashMap<Box<[u8]>, u64>,
    listing: Option<Listing>,
    is_listed: bool,
    seen: u64,
    differences: u32,
    /// `seen` at the last comparison.
    compared: u64,
}

/// A list under way.
#[derive(Debug)]
struct Listing {
    revision: u64,
    last: Vec<u8>,
}

/// A key as it is now; `None`: it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyChange {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    /// The revision of this change.
    pub(super) revision: u64,
}

/// What a page of a list is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// More pages follow.
    More(Vec<KeyValue>),
    /// The list is complete.
    Last(Vec<KeyValue>),
    /// There are so many keys, which is too many. Nothing of this list is taken over.
    TooMany(u64),
}

/// What a message of a watch is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WatchStep {
    /// These keys have changed; none for a message without news.
    Changes(Vec<KeyChange>),
    /// The keys have to be listed again: why.
    ListAgain(String),
    /// The server refuses the watch: why.
    Refused(String),
}

impl KeyProgress {
    /// Nothing is known of the range yet.
    pub(super) fn new(range: KeyRange, most: usize) -> KeyProgress {
        KeyProgress {
            range,
            most,
            cluster: String::new(),
            keys: HashMap::new(),
            listing: None,
            is_listed: false,
            seen: 0,
            differences: 0,
            compared: 0,
        }
    }

    /// The range.
    pub(super) fn range(&self) -> &KeyRange {
        &self.range
    }

    /// Whether the keys are known, and a watch can go on from there.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// From which revision the next watch has to be.
    pub(super) fn resume_at(&self) -> u64 {
        self.seen.saturating_add(1)
    }

    /// The keys have to be listed again.
    pub(super) fn begin_anew(&mut self) {
        (self.listing, self.is_listed, self.differences) = (None, false, 0);
    }

    /// The next page: its range, and the revision of the first one.
    pub(super) fn next_page(&self) -> (KeyRange, Option<u64>) {
        match &self.listing {
            None => (self.range.clone(), None),
            Some(Listing { revision, last }) => (self.range.after(last), Some(*revision)),
        }
    }

    /// Takes a page of a list.
    pub(super) fn page(&mut self, reply: RangeReply) -> Page {
        let RangeReply { header, kvs, more, count } = reply;
        if self.listing.is_none() {
            if count > self.most as u64 {
                self.begin_anew();
                return Page::TooMany(count);
            }
            self.keys = HashMap::new();
            self.cluster = header.cluster_id;
        }
        for kv in &kvs {
            self.keys.insert(kv.key.clone().into(), kv.mod_revision);
        }
        let revision = self.listing.as_ref().map_or(header.revision, |listing| listing.revision);
        match kvs.last() {
            // A server that has more and sends nothing would keep this going for ever.
            Some(last) if more && self.keys.len() <= self.most => {
                self.listing = Some(Listing { revision, last: last.key.clone() });
                Page::More(kvs)
            }
            _ if self.keys.len() > self.most => {
                let count = self.keys.len() as u64;
                self.begin_anew();
                Page::TooMany(count)
            }
            Some(_) | None => {
                (self.listing, self.is_listed, self.seen, self.differences) = (None, true, revision, 0);
                Page::Last(kvs)
            }
        }
    }

    /// Takes a message of a watch from [`KeyProgress::resume_at`].
    pub(super) fn watched(&mut self, reply: WatchReply) -> WatchStep {
        let WatchReply { header, created, canceled, cancel_reason, compact_revision, fragment, events } = reply;
        if let Some(why) = self.other_data(&header) {
            self.begin_anew();
            return WatchStep::ListAgain(why);
        }
        if canceled && compact_revision > 0 {
            let why = format!("revision {} is compacted, up to {compact_revision}", self.resume_at());
            self.begin_anew();
            return WatchStep::ListAgain(why);
        }
        if canceled {
            let why = if cancel_reason.is_empty() { "without a reason" } else { &cancel_reason };
            return WatchStep::Refused(format!("it cancels the watch: {why}"));
        }
        let is_progress = events.is_empty() && !created;
        let newest = events.iter().map(|event| event.kv.mod_revision).max();
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            // A message that was received before: of a fragment, before the connection was lost.
            if event.kv.mod_revision <= self.seen {
                continue;
            }
            let KeyValue { key, value, mod_revision } = event.kv;
            let value = match event.kind {
                EventType::Put => {
                    self.keys.insert(key.clone().into(), mod_revision);
                    Some(value)
                }
                EventType::Delete => {
                    self.keys.remove(&*key);
                    None
                }
            };
            changes.push(KeyChange { key, value, revision: mod_revision });
        }
        // All changes up to the revision of a message of progress have been sent.
        let known = if is_progress { Some(header.revision) } else { newest.filter(|_| !fragment) };
        self.seen = self.seen.max(known.unwrap_or(0));
        if self.keys.len() > self.most {
            self.begin_anew();
            return WatchStep::ListAgain(format!("there are more than {} keys", self.most));
        }
        WatchStep::Changes(changes)
    }

    /// Why the data of a server is not the one that is known.
    fn other_data(&self, header: &ReplyHeader) -> Option<String> {
        if !header.cluster_id.is_empty() && header.cluster_id != self.cluster {
            return Some(format!(
                "it is of cluster {}, and the keys are of cluster {}",
                header.cluster_id, self.cluster
            ));
        }
        let is_behind = header.revision > 0 && header.revision < self.seen;
        is_behind.then(|| format!("its revision {} is lower than {}, which was seen", header.revision, self.seen))
    }

    /// Compares what is known with the number of keys and the one that changed last, as a server has them. Returns why
    /// the keys have to be listed again, if they have.
    ///
    /// Two sets with the same number of keys and the same last change are the same: a key that was added or changed
    /// since has a later change, and without such a key one that was deleted is missing.
    pub(super) fn compare(&mut self, newest: &RangeReply) -> Option<String> {
        if !self.is_listed {
            return None;
        }
        if let Some(why) = self.other_data(&newest.header) {
            self.begin_anew();
            return Some(why);
        }
        let last = newest.kvs.first().map_or(0, |kv| kv.mod_revision);
        let is_same = last <= self.seen
            && newest.count == self.keys.len() as u64
            && last == self.keys.values().copied().max().unwrap_or(0);
        let has_moved = self.seen != self.compared;
        self.compared = self.seen;
        if is_same {
            self.differences = 0;
            // So the resume point follows the revision also while no key of this range changes.
            self.seen = self.seen.max(newest.header.revision);
            self.compared = self.seen;
            return None;
        }
        if newest.header.revision < self.seen {
            return None;
        }
        // The watch is on its way to the last change.
        if has_moved && last > self.seen {
            return None;
        }
        self.differences += 1;
        let most = if has_moved { BUSY_DIFFERENCES } else { SILENT_DIFFERENCES };
        (self.differences >= most).then(|| {
            let known = self.keys.len();
            self.begin_anew();
            format!("the watch misses changes: the server has {} keys, and {known} are known", newest.count)
        })
    }
}

#[cfg(test)]
mod tests;
