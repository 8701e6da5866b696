//! What a server knows of one key.

use std::time::Duration;

use crate::fleet::overrides::{TimedOverride, millis};

/// The time from a write that was not stored to the next one; it doubles up to the longest (judgment: the watch brings
/// a newer revision meanwhile, and a bucket that refuses everything is not flooded).
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Where the bucket has a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InBucket {
    pub(super) revision: u64,
    /// When it was made on the clock of NATS, in milliseconds: all servers have the same number, and sort by it.
    /// `None`: the value was not read yet.
    pub(super) order: Option<i64>,
    /// Whether this revision was read since the start, or since the bucket was made anew.
    pub(super) is_read: bool,
}

/// What is known of a key.
#[derive(Debug, Default)]
pub(super) struct KeySlot {
    /// The newest revision that was read.
    pub(super) read: u64,
    /// The newest revision that is known: one that this server wrote comes before it is read.
    pub(super) newest: u64,
    /// The newest revision is of a later release, and must not be replaced.
    pub(super) is_foreign: bool,
    /// Whether a write is under way.
    pub(super) writing: bool,
    /// Of the changes of this server, the oldest first.
    begun: Vec<BegunWrite>,
    /// A value with a lower revision than the change that is known and was not read again yet: either a copy of the
    /// bucket is late, or the bucket has lost that revision.
    pub(super) lower: Option<KnownOverride>,
    /// The change whose age was corrected last, and how late it was stored before that.
    corrected: Option<(u64, i64)>,
    retry_at: Option<i64>,
    failures: u32,
}

/// A change of this server whose write was begun and not refused: it may be stored although no reply comes.
#[derive(Debug, Clone)]
struct BegunWrite {
    id: u64,
    /// The revision that it is written over: once the key has a newer one, the write can't be stored any more.
    expected: u64,
    made: i64,
    end: Option<i64>,
}

/// A change that NATS stored so much later than it was written gets its age again. Judgment: longer than a write takes
/// between the farthest regions.
pub(super) const STORED_LATE: Duration = Duration::from_secs(1);

/// How long a change that was replaced is remembered. Judgment: the server whose write was stored late corrects its
/// time as soon as it reads it, which an outage of its connection may delay.
const CORRECTED_WITHIN: Duration = Duration::from_secs(86_400);

/// Most writes of a key that are remembered (judgment: an operator changes a target so often during one outage).
const MAX_BEGUN: usize = 32;

/// The last change of a key.
#[derive(Debug, Clone)]
pub(super) struct KnownOverride {
    pub(super) timed: TimedOverride,
    /// `None`: it is pending.
    pub(super) stored: Option<InBucket>,
    /// A change that was pending here when this one replaced it, and when that was.
    replaced: Option<(TimedOverride, i64)>,
}

impl KnownOverride {
    pub(super) fn new(timed: TimedOverride, stored: Option<InBucket>) -> KnownOverride {
        KnownOverride { timed, stored, replaced: None }
    }

    /// This change after `before`, which it replaces at `now`.
    pub(super) fn after(self, before: Option<KnownOverride>, now: i64) -> KnownOverride {
        let replaced = before.and_then(|before| match before.is_pending() {
            true => Some((before.timed, now)),
            false => before.replaced,
        });
        KnownOverride { replaced, ..self }
    }

    /// The change of this server that a change with these times has replaced, although it is newer: what was known of
    /// the times was wrong.
    pub(super) fn wrongly_replaced(&self, by: &TimedOverride, now: i64) -> Option<TimedOverride> {
        let (own, at) = self.replaced.as_ref()?;
        (now.saturating_sub(*at) <= millis(CORRECTED_WITHIN) && own.is_newer_than(by)).then(|| own.clone())
    }

    pub(super) fn is_pending(&self) -> bool {
        self.stored.is_none()
    }

    /// Whether the bucket had it under a revision that was not read again yet.
    pub(super) fn is_unread(&self) -> bool {
        self.stored.is_some_and(|at| !at.is_read)
    }

    /// Whether the bucket has it under a revision before this one.
    pub(super) fn is_older_than(&self, revision: u64) -> bool {
        self.stored.is_some_and(|at| at.revision < revision)
    }
}

impl KeySlot {
    /// Whether something may be written at `now`.
    pub(super) fn may_write(&self, now: i64) -> bool {
        !self.writing && !self.is_foreign && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The write of a change begins, over the newest revision.
    pub(super) fn begin(&mut self, timed: &TimedOverride) {
        let TimedOverride { change, made, end } = timed;
        self.begun.retain(|write| write.id != change.id);
        if self.begun.len() >= MAX_BEGUN {
            self.begun.remove(0);
        }
        self.begun.push(BegunWrite { id: change.id, expected: self.newest, made: *made, end: *end });
    }

    /// The times of a change that this server made, by its own clock: when, and when it ends.
    pub(super) fn own_times(&self, id: u64) -> Option<(i64, Option<i64>)> {
        self.begun.iter().find(|write| write.id == id).map(|write| (write.made, write.end))
    }

    /// Whether a change that was stored so late is to be written again with its age. Not where the writes are always as
    /// late: a slow connection would never have it stored.
    pub(super) fn corrects(&mut self, id: u64, late: i64) -> bool {
        let before = self.corrected.replace((id, late));
        late > millis(STORED_LATE) && before.is_none_or(|(of, before)| of != id || late <= before / 2)
    }

    /// The key has this revision: no write over an older one can be stored any more.
    pub(super) fn has_revision(&mut self, revision: u64) {
        self.begun.retain(|write| write.expected >= revision);
    }

    /// A write was not stored.
    pub(super) fn failed(&mut self, now: i64) {
        let wait = RETRY_FIRST.saturating_mul(1 << self.failures.min(16)).min(RETRY_LONGEST);
        self.failures += 1;
        self.retry_at = Some(now + millis(wait));
    }

    /// The next write may come at once.
    pub(super) fn no_failure(&mut self) {
        (self.retry_at, self.failures) = (None, 0);
    }

    /// When a write may come; `None`: not before something else happens.
    pub(super) fn due(&self) -> Option<i64> {
        (!self.writing && !self.is_foreign).then(|| self.retry_at.unwrap_or(i64::MIN))
    }

    /// The bucket was made anew, or is read anew.
    pub(super) fn begin_anew(&mut self) {
        (self.read, self.newest, self.is_foreign, self.lower) = (0, 0, false, None);
    }
}
