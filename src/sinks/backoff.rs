//! How long a sink waits before it tries again. Pure.

use std::time::Duration;

/// The wait after the first failure (judgment: a receiver that is restarted is away for a second).
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait (judgment: events are there soon after the receiver is, and two tries a minute cost nobody much).
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// The longest time that a receiver may want to be left alone: it could otherwise stop the sink for years (judgment).
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The wait after so many failures in a row, from 1: it doubles up to [`LONGEST`]. A random half of it is taken off at
/// most, so that servers that failed together do not come back together.
pub(super) fn backoff(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    full.mul_f64(0.5 + 0.5 * (random as f64 / u64::MAX as f64))
}

/// The wait after a failure with this `Retry-After`, if the receiver sent one. Zero seconds are no time to wait.
pub(super) fn wait_of(failures: u32, retry_after: Option<Duration>, random: u64) -> Duration {
    match retry_after.filter(|wait| !wait.is_zero()) {
        Some(wait) => wait.min(MAX_RETRY_AFTER),
        None => backoff(failures, random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_lose_half_at_most() {
        let millis = |failures, random| backoff(failures, random).as_millis();
        assert_eq!(
            [1, 2, 3, 6, 7, 8, 1000].map(|n| millis(n, u64::MAX)),
            [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000]
        );
        assert_eq!([1, 2, 7].map(|n| millis(n, 0)), [250, 500, 15_000]);
    }

    #[test]
    fn the_receiver_may_choose_the_wait_within_bounds() {
        let wait = |seconds: u64| wait_of(7, Some(Duration::from_secs(seconds)), u64::MAX).as_secs();
        assert_eq!([1, 90, 4000, u64::MAX].map(wait), [1, 90, 3600, 3600]);
        assert_eq!([wait(0), wait_of(7, None, u64::MAX).as_secs()], [30, 30]);
    }
}
