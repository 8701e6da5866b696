//! The mean round-trip time of a path, for steering: it ignores single measurements that are much too long or too
//! short, and follows a change of the path within three measurements. Pure.
//!
//! It is the smoothed median of the last five measurements. The median ignores any two of them. While it is near the
//! mean, the mean follows it slowly, so that random delays don't move clients. When three of the five agree with each
//! other and not with the mean, the path has changed, and the mean becomes their median.

use std::time::Duration;

/// How many measurements the median is of. Judgment: two of five may be wrong, and a change shows after three.
const RECENT: usize = 5;
/// The fewest measurements that can show a change: more than half of [`RECENT`].
const CHANGED_AFTER: usize = 3;
/// The part of the difference by which the mean follows the median: that of RFC 6298 (2.3, alpha).
const FOLLOWED_PART: u32 = 8;
/// The path has changed if the median differs from the mean by more than this many of its own deviations (the median of
/// the five differences from it). With random delays that is rare; the tests have figures.
const CHANGED_DEVIATIONS: u32 = 4;
/// And by more than this part of the mean. Judgment: the mean follows smaller changes soon enough.
const CHANGED_PART: u32 = 8;

/// The mean of one path. Starts without a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::health) struct PathMean {
    mean: Option<Duration>,
    /// The last measurements in µs, the newest first; one above 71 minutes counts as that. 0: there is none.
    recent: [u32; RECENT],
}

impl PathMean {
    /// With a mean from before a restart.
    pub(in crate::health) fn of(mean: Duration) -> PathMean {
        PathMean { mean: Some(mean), recent: [0; RECENT] }
    }

    /// Takes in one measurement.
    pub(in crate::health) fn learn(&mut self, measured: Duration) {
        self.recent.rotate_right(1);
        self.recent[0] = u32::try_from(measured.as_micros()).unwrap_or(u32::MAX).max(1);
        let mut known = self.recent;
        let known = match known.iter().position(|micros| *micros == 0) {
            Some(count) => &mut known[..count],
            None => &mut known[..],
        };
        let count = known.len();
        let median = median_of(known);
        known.iter_mut().for_each(|micros| *micros = micros.abs_diff(median));
        let (deviation, median) = (from_micros(median_of(known)), from_micros(median));
        self.mean = Some(match self.mean {
            None => median,
            Some(mean) => {
                let apart = mean.abs_diff(median);
                let is_far = apart > deviation * CHANGED_DEVIATIONS && apart > mean / CHANGED_PART;
                if is_far && count >= CHANGED_AFTER {
                    median
                } else {
                    (mean * (FOLLOWED_PART - 1) + median) / FOLLOWED_PART
                }
            }
        });
    }

    /// The mean. `None` before the first measurement.
    pub(in crate::health) fn get(&self) -> Option<Duration> {
        self.mean
    }
}

/// Of an even number the smaller one of the two in the middle. Sorts `all`, which has at least one.
fn median_of(all: &mut [u32]) -> u32 {
    all.sort_unstable();
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

fn from_micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn after(all: impl IntoIterator<Item = u32>) -> PathMean {
        let mut path = PathMean::default();
        all.into_iter().for_each(|ms| path.learn(ms * MS));
        path
    }

    #[test]
    fn it_follows_another_path_after_three_measurements() {
        for (before, other) in [(160, 600), (600, 160), (80, 300), (20, 8), (2, 382)] {
            let mut path = after([before; 30]);
            path.learn((other + 1) * MS);
            path.learn(other * MS);
            assert_eq!(path.get(), Some(before * MS), "two may be wrong");
            path.learn((other - 1) * MS);
            let settled = path.get().unwrap();
            assert!(settled.abs_diff(other * MS) <= MS, "{before} ms, then {other} ms: {settled:?}");
        }
    }

    #[test]
    fn single_measurements_that_are_much_too_long_do_not_move_it() {
        let path = after((0..200).map(|nth| if nth % 3 == 1 { 900 } else { 160 }));
        assert_eq!(path.get(), Some(160 * MS));
        assert_eq!(after([900, 160, 160]).get(), Some(160 * MS), "not the first one for long");
        assert_eq!(after([160, 900]).get(), Some(160 * MS));
    }

    #[test]
    fn a_small_change_moves_it_slowly() {
        let mut path = after([160; 30]);
        (0..3).for_each(|_| path.learn(170 * MS));
        assert!(path.get().is_some_and(|mean| mean > 160 * MS && mean < 162 * MS), "{path:?}");
        (0..60).for_each(|_| path.learn(170 * MS));
        assert!(path.get().is_some_and(|mean| mean.abs_diff(170 * MS) < MS), "{path:?}");
    }

    #[test]
    fn a_mean_from_before_a_restart_is_one_until_measurements_agree_on_another() {
        let mut path = PathMean::of(100 * MS);
        assert_eq!(path.get(), Some(100 * MS));
        path.learn(Duration::from_secs(86_400));
        path.learn(40 * MS);
        path.learn(40 * MS);
        assert_eq!(path.get(), Some(40 * MS));
    }

    /// How often per hundred measurements the mean moves by more than a tenth at once, when each measurement is random.
    fn jumps(measured: &[u32]) -> f64 {
        let mut path = PathMean::default();
        let mut jumps = 0;
        for ms in measured {
            let before = path.get();
            path.learn(*ms * MS);
            jumps += u32::from(before.zip(path.get()).is_some_and(|(a, b)| a.abs_diff(b) > a / 10));
        }
        f64::from(jumps) * 100.0 / measured.len() as f64
    }

    proptest! {
        /// Delays that vary by 60 % of the mean in each direction, independently of each other.
        #[test]
        fn random_delays_seldom_look_like_another_path(measured in proptest::collection::vec(80u32..320, 2000)) {
            prop_assert!(jumps(&measured) < 10.0, "{} in 100", jumps(&measured));
        }

        /// Delays that vary by a fifth.
        #[test]
        fn delays_that_vary_little_hardly_ever_do(measured in proptest::collection::vec(180u32..220, 500)) {
            prop_assert!(jumps(&measured) < 1.0);
        }
    }
}
