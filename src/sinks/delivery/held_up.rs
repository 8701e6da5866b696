//! Events that wait because the sink did not take the first one of their key.

use std::sync::Arc;

use crate::model::Moment;
use crate::sinks::SendFailure;
use crate::sinks::delivery::{Delivery, HeadState};

/// What failed with the first event of a key.
#[derive(Debug, Clone)]
pub(super) struct FailedHead {
    /// When it failed for the first time.
    since: Moment,
    /// Why it failed the last time. Keys that failed one after another for the same reason share the text.
    why: Arc<str>,
    hint: &'static str,
}

/// The events of one key, the first of which the sink did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUp {
    /// The key.
    pub key: Arc<str>,
    /// How many events wait, with the first one.
    pub events: usize,
    /// When the first one failed for the first time.
    pub since: Moment,
    /// When it is tried again; `None`: it is tried now.
    pub next_try: Option<Moment>,
    /// Why it failed the last time.
    pub why: Arc<str>,
    /// What to do about it.
    pub hint: &'static str,
}

impl Delivery {
    /// The keys whose first event failed and is not done, with the oldest of these events first.
    pub fn held_up(&self) -> impl Iterator<Item = HeldUp> {
        self.failed.iter().filter_map(|number| {
            let key = self.open.get(number)?;
            let queue = self.queues.get(key)?;
            let FailedHead { since, why, hint } = queue.failed.clone()?;
            let next_try = match queue.head {
                HeadState::Waiting(at) => Some(self.paused_until.map_or(at, |until| until.max(at))),
                HeadState::Ready => self.paused_until,
                HeadState::InFlight => None,
            };
            Some(HeldUp { key: key.clone(), events: queue.numbers.len(), since, next_try, why, hint })
        })
    }

    /// How many keys [`Delivery::held_up`] has.
    pub fn held_up_keys(&self) -> usize {
        self.failed.len()
    }

    pub(super) fn note_failure(&mut self, number: u64, failure: &SendFailure, now: Moment) {
        let last = self.failed.last().copied();
        let last = last.and_then(|last| self.queue_of(last)?.failed.as_ref().map(|failed| failed.why.clone()));
        let Some(queue) = self.queue_of(number) else { return };
        let why = last.filter(|why| **why == *failure.why).unwrap_or_else(|| failure.why.as_str().into());
        let since = queue.failed.as_ref().map_or(now, |failed| failed.since);
        queue.failed = Some(FailedHead { since, why, hint: failure.hint });
        self.failed.insert(number);
    }
}
