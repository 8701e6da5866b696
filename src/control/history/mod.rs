//! The last hour in numbers, for the charts of the page: queries a second, the answers a second of each endpoint, and
//! the RTT of each region to each endpoint; and how often each endpoint was in a reply in the last minutes.
//!
//! It is in memory only and has bounds: [`MAX_SERIES`] series of [`SAMPLES`] values, 6 MiB in all, and three copies
//! of the counters of answers. A task of the daemon adds a sample; readers copy what they need.

mod query;
mod report;
pub(super) mod respond;
mod ring;
mod series;
mod split;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::Moment;
use crate::server::Totals;
use crate::snapshot::Snapshot;

pub(super) use query::HistoryQuery;
#[cfg(test)]
pub(super) use query::MAX_LIMIT;
pub use report::{HistoryReport, SeriesReport, TrafficReport};
use ring::Ring;
use series::SeriesTable;
pub(crate) use split::SplitWindow;

/// Time between two samples (judgment: a chart of an hour is a few hundred pixels wide).
pub const STEP: Duration = Duration::from_secs(10);

/// Samples of each series: an hour.
pub const SAMPLES: usize = 360;

/// Most series: the answers of 1,000 endpoints, and their RTTs from three regions. A series has 1.5 KiB, so all have
/// 6 MiB (judgment). Further ones are counted and not stored.
pub const MAX_SERIES: usize = 4096;

/// Time between two values of the queries a second in [`TrafficReport`].
pub const BEAT: Duration = Duration::from_secs(1);

/// Values of the queries a second in [`TrafficReport`]: the last minute.
const BEATS: usize = 60;

/// The numbers. There is one in a process: one task writes, everybody may read.
#[derive(Debug)]
pub struct History {
    data: Mutex<HistoryData>,
}

#[derive(Debug)]
struct HistoryData {
    /// Queries a second, one value for each [`BEAT`].
    beats: Ring,
    /// The number of queries, and when it was read.
    last_beat: Option<(u64, Moment)>,
    /// Queries a second, one value for each [`STEP`].
    rates: Ring,
    series: SeriesTable,
    /// The number of queries, when the last sample was made, and the same in Unix seconds.
    last_sample: Option<(u64, Moment, f64)>,
    split: SplitWindow,
}

impl Default for History {
    fn default() -> History {
        let data = HistoryData {
            beats: Ring::new(BEATS),
            last_beat: None,
            rates: Ring::new(SAMPLES),
            series: SeriesTable::default(),
            last_sample: None,
            split: SplitWindow::default(),
        };
        History { data: Mutex::new(data) }
    }
}

impl History {
    /// Adds the queries a second since the last call. `queries` is the number of replies since the start. To be called
    /// each [`BEAT`].
    pub fn beat(&self, queries: u64, now: Moment) {
        let mut data = self.data();
        let rate = data.last_beat.and_then(|(last, at)| rate(queries, last, now.since(at)));
        data.beats.push(rate.unwrap_or(f32::NAN));
        data.last_beat = Some((queries, now));
    }

    /// Adds a sample. `queries` is the number of replies since the start; `unix` is the time in Unix seconds. To be
    /// called each [`STEP`]; steps that were missed have no value.
    pub fn sample(&self, snapshot: &Snapshot, totals: Totals, now: Moment, unix: f64) {
        let queries = totals.queries.iter().map(|(_, _, count)| count).sum();
        let mut data = self.data();
        let previous = data.last_sample.map(|(last, at, _)| (last, now.since(at)));
        let steps = previous.map_or(1, |(_, time)| (time.as_secs_f64() / STEP.as_secs_f64()).round().max(1.0) as usize);
        for _ in 1..steps.min(SAMPLES) {
            data.rates.push(f32::NAN);
        }
        data.rates.push(previous.and_then(|(last, time)| rate(queries, last, time)).unwrap_or(f32::NAN));
        data.series.sample(snapshot, &totals.picks, steps, previous.map(|(_, time)| time));
        data.split.add(totals.picks, now);
        data.last_sample = Some((queries, now, unix));
    }

    /// The queries of the last minute; `None` on a node that answers none.
    pub fn traffic(&self) -> Option<TrafficReport> {
        let data = self.data();
        let (queries, _) = data.last_beat?;
        let recent: Vec<f32> = data.beats.values().filter(|value| value.is_finite()).collect();
        Some(TrafficReport { queries, qps: recent.last().copied().unwrap_or(0.0), recent })
    }

    /// How often each endpoint was in a reply in the last minutes.
    pub(in crate::control) fn split(&self) -> SplitWindow {
        self.data().split.clone()
    }

    fn data(&self) -> MutexGuard<'_, HistoryData> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many a second; `None` if no time has passed.
fn rate(count: u64, before: u64, time: Duration) -> Option<f32> {
    let secs = time.as_secs_f64();
    (secs > 0.0).then(|| (count.saturating_sub(before) as f64 / secs) as f32)
}

/// A text that many series share.
type Label = Arc<str>;
