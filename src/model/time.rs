//! A point on the monotonic clock as a plain value, so that tests make their own time.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: how long after the first moment, which is a while before the process's start. Nanosecond steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The first moment.
    pub const START: Moment = Moment(Duration::ZERO);

    /// The moment `since_start` after the first one.
    pub const fn from_start(since_start: Duration) -> Moment {
        Moment(since_start)
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after the first moment.
    pub fn from_first(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, step: Duration) -> Moment {
        Moment(self.0.saturating_add(step))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    fn sub(self, step: Duration) -> Moment {
        Moment(self.0.saturating_sub(step))
    }
}
