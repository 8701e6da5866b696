//! How often each endpoint was in a reply in the last minutes, for each name: the real split, to compare it with the
//! probabilities. It is the difference of two copies of the counters.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Moment;

/// How often the copy is replaced with which the counters are compared. The measured time is between one and two of it.
/// Judgment: with a query a second a share of a half is measured to 0.1, and an old split does not hide a new one.
const TURN: Duration = Duration::from_secs(120);

/// Copies of the counters of answers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct SplitWindow {
    /// The copy to compare with, and the one that replaces it.
    older: Option<CountersAt>,
    newer: Option<CountersAt>,
    latest: Option<CountersAt>,
}

#[derive(Debug, Clone)]
struct CountersAt {
    at: Moment,
    picks: Arc<Vec<u64>>,
}

impl SplitWindow {
    /// Adds a reading of the counters.
    pub(super) fn add(&mut self, picks: Vec<u64>, now: Moment) {
        let reading = CountersAt { at: now, picks: Arc::new(picks) };
        if self.newer.as_ref().is_none_or(|newer| now.since(newer.at) >= TURN) {
            self.older = self.newer.take().or_else(|| Some(reading.clone()));
            self.newer = Some(reading.clone());
        }
        self.latest = Some(reading);
    }

    /// The time between the two readings that are compared; `None` before there are two.
    pub(in crate::control) fn time(&self) -> Option<Duration> {
        let (older, latest) = self.older.as_ref().zip(self.latest.as_ref())?;
        Some(latest.at.since(older.at)).filter(|time| !time.is_zero())
    }

    /// What each of `length` counters counted in that time, the first of which is `first`.
    pub(in crate::control) fn counted(&self, first: u32, length: usize) -> Vec<u64> {
        let Some((older, latest)) = self.older.as_ref().zip(self.latest.as_ref()) else { return vec![0; length] };
        let counted = |at: usize| {
            let [now, before] = [latest, older].map(|of| of.picks.get(at).copied().unwrap_or(0));
            now.saturating_sub(before)
        };
        (first as usize..).take(length).map(counted).collect()
    }
}
