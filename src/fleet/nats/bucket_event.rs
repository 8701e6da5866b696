//! What a watch of a bucket reports.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::Moment;

/// What happens to a watched bucket, in the order of revisions.
#[derive(Debug, Clone, PartialEq)]
pub enum BucketEvent {
    /// A key was written or deleted.
    Entry(BucketEntry),
    /// Everything that was in the bucket at `began` has been reported. Comes after each read, so an old one means that
    /// the bucket can't be read.
    Current {
        /// When the read began.
        began: Moment,
        /// The last moment before it at which a majority of the bucket's copies was in step. What NATS took some
        /// seconds before that was in the bucket; what it took later may become visible only when a majority is back.
        /// `None`: not known.
        in_step: Option<Moment>,
        /// The first and the last revision that the bucket had before the read; `None`: not known. A revision that was
        /// read before and is not between them is lost, or replaced.
        revisions: Option<(u64, u64)>,
    },
    /// The bucket was made anew: what was reported before is gone unless it is reported again.
    Lost,
    /// The bucket can't be read: why. Comes once until it can.
    Away(String),
}

/// The newest revision of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEntry {
    /// The key.
    pub key: String,
    /// Its revision: higher than that of every entry before it.
    pub revision: u64,
    /// Its value; `None`: it was deleted.
    pub value: Option<Bytes>,
    /// When NATS stored it.
    pub stored: StoredTime,
}

/// When a revision was stored, by the clock of NATS alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredTime {
    /// How long before it was read; `None` where this node does not look at the bucket itself.
    pub age: Option<Duration>,
    /// In milliseconds since 1970; 0 if it is not known.
    pub stamp: i64,
    /// When the bucket was made: another text means another bucket, whose revisions are others.
    pub bucket: Option<Arc<str>>,
}

/// A time of NATS (RFC 3339, up to nanoseconds) in milliseconds since 1970.
pub(super) fn millis_of_stamp(stamp: &str) -> Option<i64> {
    /// Longer than any of these texts.
    const LONGEST: usize = 40;
    let time = humantime::parse_rfc3339(stamp.get(..stamp.len().min(LONGEST))?).ok()?;
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_nats_have_milliseconds() {
        for (stamp, expected) in [
            ("1970-01-01T00:00:01.5Z", Some(1500)),
            ("1970-01-01T00:00:01.123456789Z", Some(1123)),
            ("1970-01-01T00:00:02Z", Some(2000)),
            ("", None),
            ("yesterday", None),
            ("0001-01-01T00:00:00Z", None),
        ] {
            assert_eq!(millis_of_stamp(stamp), expected, "{stamp}");
        }
    }
}
