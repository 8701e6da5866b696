//! A bound for how often something may happen: some at once, and then one in each interval. It needs one moment for
//! each thing that is bounded (the generic cell rate algorithm, GCRA: ITU-T I.371).

use std::time::Duration;

use crate::model::Moment;

/// `burst` (at least 1) at once, then one each `interval`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// A burst of 0 counts as 1.
    pub(crate) const fn new(interval: Duration, burst: u32) -> Rate {
        Rate { interval, burst: if burst == 0 { 1 } else { burst } }
    }

    /// The rate of so many together.
    pub(crate) fn times(self, share: u32) -> Rate {
        Rate { interval: self.interval / share, burst: self.burst.saturating_mul(share) }
    }

    /// Counts one at `now`, if it is within the bound; else the error is how long it must wait. `free_at` is the moment
    /// when the whole burst is free again (the theoretical arrival time of GCRA); before the first one any moment up to
    /// `now`.
    pub(crate) fn take(self, free_at: &mut Moment, now: Moment) -> Result<(), Duration> {
        self.check(*free_at, now)?;
        *free_at = self.counted(*free_at, now);
        Ok(())
    }

    /// The moment for `free_at` after one more at `now`, which is within the bound.
    pub(crate) fn counted(self, free_at: Moment, now: Moment) -> Moment {
        free_at.max(now) + self.interval
    }

    /// As [`Rate::take`], without counting.
    pub(crate) fn check(self, free_at: Moment, now: Moment) -> Result<(), Duration> {
        match free_at.since(now + self.interval.saturating_mul(self.burst - 1)) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_at_once_and_then_one_in_each_interval() {
        let second = Duration::from_secs(1);
        let at = |millis: u64| Moment::from_start(Duration::from_millis(millis));
        let (rate, mut free_at) = (Rate::new(second, 3), Moment::START);
        let mut take = |millis: u64| rate.take(&mut free_at, at(millis));
        assert_eq!([take(500), take(500), take(500)], [Ok(()); 3]);
        assert_eq!(take(600), Err(Duration::from_millis(900)));
        assert_eq!((take(1500), take(1500)), (Ok(()), Err(second)), "what was refused was not counted");
        assert_eq!([take(4500), take(4500), take(4500), take(4500)], [Ok(()), Ok(()), Ok(()), Err(second)]);
        let (both, mut free_at) = (rate.times(2), Moment::START);
        assert_eq!((0..9).filter(|_| both.take(&mut free_at, at(0)).is_ok()).count(), 6);
        assert_eq!(both.check(free_at, at(0)), Err(second / 2));
        assert_eq!(Rate::new(second, 0).check(at(0), at(0)), Ok(()));
    }
}
