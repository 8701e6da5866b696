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
    retry_at: Option<i64>,
    failures: u32,
}

/// The last change of a key.
#[derive(Debug, Clone)]
pub(super) struct KnownOverride {
    pub(super) timed: TimedOverride,
    /// `None`: it is pending.
    pub(super) stored: Option<InBucket>,
}

impl KnownOverride {
    pub(super) fn is_pending(&self) -> bool {
        self.stored.is_none()
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
        (self.read, self.newest, self.is_foreign) = (0, 0, false);
    }
}
