//! How long a driver waits before it tries again. Pure.

use std::time::Duration;

/// After the first failure (judgment: a server that restarts is back within seconds, and a set that is away for half a
/// second longer harms nobody).
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait (judgment: a server that was away for hours is used within seconds after it is back).
const LONGEST: Duration = Duration::from_secs(8);

/// Doubles from one failure to the next.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A failure. Returns how long to wait: half of it is random, so that many nodes do not come at once.
    pub(crate) fn failed(&mut self, entropy: u64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let share = (entropy % 1024) as f64 / 1024.0;
        whole.mul_f64(0.5 + share / 2.0)
    }

    /// A success.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_limit_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.failed(1023).as_millis()).collect();
        assert_eq!(waits, [249, 499, 999, 1999, 3998, 7996, 7996, 7996]);
        assert_eq!(backoff.failed(0), LONGEST / 2);
        (0..100_000).for_each(|_| {
            backoff.failed(0);
        });
        backoff.succeeded();
        assert_eq!(backoff.failed(0), FIRST / 2);
    }
}
