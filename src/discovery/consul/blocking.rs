//! The state of blocking queries to Consul: which index the next one has, and how long to wait before it. Pure.
//!
//! A blocking query returns when the index is higher than the one it names, or after `wait`. It also returns for other
//! reasons, such as a change of another service, so the waits grow while nothing has changed.

use std::time::Duration;

/// How long Consul may let a query wait. Judgment: Consul allows 10 minutes; after one minute without a reply a
/// connection that is dead is noticed.
pub(super) const WAIT: Duration = Duration::from_secs(55);

/// How long the reply to a query may take: Consul adds up to a 16th to the wait, and needs time of its own.
pub(super) const REPLY_WITHIN: Duration = Duration::from_secs(55 + 4 + 6);

/// The least time from one query to the next. Judgment: a change is in the answers within 1 s, of which this is a part.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause after replies without a change, for the same reason.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// From one query to the next while Consul has no index: every query returns at once.
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// A reply that takes long costs Consul's and this machine's time. The pause after it is at least so many times as
/// long, within [`LONGEST_PAUSE`].
const PAUSE_FOR_WORK: u32 = 2;

/// See the comment of this file.
#[derive(Debug, Default)]
pub(super) struct BlockingQuery {
    index: u64,
    /// Replies at once without a change, in a row.
    spurious: u32,
}

/// What a reply brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplySummary {
    /// `X-Consul-Index`; `None` if it is absent or no number.
    pub(super) index: Option<u64>,
    /// Whether the instances are others than those of the reply before.
    pub(super) is_change: bool,
    /// The time from the head of the reply to its end.
    pub(super) work: Duration,
    /// Whether the query was held until `wait` was over.
    pub(super) has_waited: bool,
}

impl BlockingQuery {
    /// The parameters of the next query: `index=7&wait=55s`, or none for the first.
    pub(super) fn parameters(&self) -> String {
        match self.index {
            0 => String::new(),
            index => format!("&index={index}&wait={}s", WAIT.as_secs()),
        }
    }

    /// Takes a reply. Returns how long to wait before the next query.
    ///
    /// An index that is absent, or lower than the one before, begins anew: Consul's data is another one (restored from
    /// a snapshot, or of another server).
    pub(super) fn replied(&mut self, reply: ReplySummary) -> Duration {
        let ReplySummary { index, is_change, work, has_waited } = reply;
        let index = index.unwrap_or(0);
        let was_reset = index < self.index;
        self.index = if was_reset { 0 } else { index };
        self.spurious = if is_change || has_waited { 0 } else { (self.spurious + 1).min(8) };
        if has_waited {
            return Duration::ZERO;
        }
        if index == 0 {
            return POLL_PAUSE;
        }
        let for_work = work * PAUSE_FOR_WORK;
        let for_spurious = LEAST_PAUSE * 2_u32.pow(self.spurious.saturating_sub(1));
        for_work.max(for_spurious).clamp(LEAST_PAUSE, LONGEST_PAUSE)
    }

    /// A query has failed: the index of another server may be another one.
    pub(super) fn failed(&mut self) {
        *self = BlockingQuery::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(index: impl Into<Option<u64>>, is_change: bool) -> ReplySummary {
        ReplySummary { index: index.into(), is_change, work: Duration::ZERO, has_waited: false }
    }

    #[test]
    fn the_index_of_the_last_reply_is_waited_for_and_one_that_falls_begins_anew() {
        let mut query = BlockingQuery::default();
        assert_eq!(query.parameters(), "");
        for (index, expected) in [
            (Some(14), "&index=14&wait=55s"),
            (Some(14), "&index=14&wait=55s"),
            (Some(20), "&index=20&wait=55s"),
            (Some(3), ""),
            (Some(3), "&index=3&wait=55s"),
            (Some(0), ""),
            (Some(5), "&index=5&wait=55s"),
            (None, ""),
        ] {
            query.replied(reply(index, true));
            assert_eq!(query.parameters(), expected, "after {index:?}");
        }
        query.replied(reply(9, true));
        query.failed();
        assert_eq!(query.parameters(), "");
    }

    #[test]
    fn a_server_that_replies_at_once_for_ever_gets_little_more_than_a_query_a_second() {
        for index in [None, Some(0), Some(7)] {
            let mut query = BlockingQuery::default();
            let minute: Duration = (0..60).map(|_| query.replied(reply(index, false))).sum();
            assert!(minute >= Duration::from_secs(42), "{index:?}: {minute:?}");
        }
        // InstanceChanges all the time, each of which has to be in the answers within a second.
        let mut query = BlockingQuery::default();
        for index in 1..100 {
            assert_eq!(query.replied(reply(index, true)), LEAST_PAUSE);
        }
        let work = Duration::from_millis(300);
        assert_eq!(query.replied(ReplySummary { work, ..reply(200, true) }), work * 2);
        assert_eq!(query.replied(ReplySummary { work: WAIT, ..reply(201, true) }), LONGEST_PAUSE);
    }

    #[test]
    fn a_query_that_was_held_is_followed_at_once() {
        let mut query = BlockingQuery::default();
        query.replied(reply(7, true));
        (0..20).for_each(|_| {
            query.replied(reply(7, false));
        });
        let held = ReplySummary { has_waited: true, ..reply(7, false) };
        assert_eq!(query.replied(held), Duration::ZERO);
        assert_eq!(query.replied(reply(7, false)), LEAST_PAUSE, "what came before counts no more");
    }
}
