//! How long answers take, as a histogram of a sample: reading the clock for each query would cost as much as a tenth of
//! the answer. One batch of datagrams in [`SAMPLE`] is measured, and one message of streams in as many.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One of how many batches or messages is measured (judgment: at a thousand queries a second there are some each
/// minute, and the cost can't be measured).
pub(super) const SAMPLE: u32 = 64;

/// The upper bounds of the histogram, in nanoseconds: an answer takes about a microsecond, and one that was interrupted
/// some milliseconds.
const BOUNDS: [u64; 11] = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 64_000, 256_000, 1_000_000, 16_000_000];

const NANOS: f64 = 1e9;

/// The measured times of one transport and one thread. Adds atomically: a time is recorded seldom.
#[derive(Debug, Default)]
pub(super) struct AnswerTimes {
    /// By bound, those up to it and above the one before; the last: those above all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// Decides which batch or message is measured.
#[derive(Debug)]
pub(super) struct Sampler {
    count: u32,
}

/// Sums over all threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeTotals {
    counts: [u64; BOUNDS.len() + 1],
    nanos: u64,
}

impl AnswerTimes {
    pub(super) fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[at].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }
}

impl Sampler {
    pub(super) const fn new() -> Sampler {
        Sampler { count: 0 }
    }

    /// Whether this one is measured.
    pub(super) fn is_measured(&mut self) -> bool {
        self.count = self.count.wrapping_add(1);
        self.count.is_multiple_of(SAMPLE)
    }
}

impl TimeTotals {
    /// Adds the times of a thread.
    pub(super) fn add(&mut self, times: &AnswerTimes) {
        self.counts.iter_mut().zip(&times.counts).for_each(|(sum, count)| *sum += count.load(Relaxed));
        self.nanos = self.nanos.wrapping_add(times.nanos.load(Relaxed));
    }

    /// How many were measured.
    pub fn all(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of their times, in seconds.
    pub fn seconds(&self) -> f64 {
        self.nanos as f64 / NANOS
    }

    /// The upper bounds in seconds, each with the number of times up to it.
    pub fn up_to(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS.iter().map(|bound| *bound as f64 / NANOS).zip(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_their_bounds() {
        let times = AnswerTimes::default();
        for nanos in [250, 251, 900, 1_000_000_000] {
            times.record(Duration::from_nanos(nanos));
        }
        let mut totals = TimeTotals::default();
        totals.add(&times);
        totals.add(&times);
        let counts: Vec<(f64, u64)> = totals.up_to().take(3).collect();
        assert_eq!(counts, [(0.000_000_25, 2), (0.000_000_5, 4), (0.000_001, 6)]);
        assert_eq!(totals.up_to().last(), Some((0.016, 6)));
        assert_eq!((totals.all(), totals.seconds()), (8, 2.000_002_802));
    }

    #[test]
    fn one_of_a_sample_is_measured() {
        let mut sampler = Sampler::new();
        assert_eq!((0..SAMPLE * 3).filter(|_| sampler.is_measured()).count(), 3);
    }
}
