//! One moment on both clocks: files have Unix times, and everything else counts from the start of the process.

use std::time::Duration;

use crate::clock;
use crate::model::Moment;

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) moment: Moment,
    pub(crate) unix: f64,
}

impl Now {
    /// The present.
    pub(crate) fn read() -> Now {
        Now { moment: clock::now(), unix: clock::unix_seconds() }
    }

    /// A moment as Unix seconds, to the millisecond.
    pub(crate) fn unix_of(self, moment: Moment) -> f64 {
        let unix = self.unix - self.moment.since(moment).as_secs_f64() + moment.since(self.moment).as_secs_f64();
        (unix * 1e3).round() / 1e3
    }

    /// The moment of a Unix time; `None` where that is in the future: the clock was set.
    pub(crate) fn moment_of(self, unix: f64) -> Option<Moment> {
        Duration::try_from_secs_f64(self.unix - unix).ok().map(|age| self.moment - age)
    }
}
