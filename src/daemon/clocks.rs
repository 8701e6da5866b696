//! One moment on both clocks: files have Unix times, and everything else counts from the start of the process.
//!
//! The wall clock can be set while the server runs: by NTP, after a virtual machine was paused, or by mistake. What
//! ends at a Unix time, such as an override, must not end by that. [`WallClock`] follows the wall clock as long as it
//! runs evenly, and reports a jump, so that these ends move with it.

use std::time::Duration;

use crate::clock;
use crate::model::Moment;

/// A wall clock that moved by more seconds than the monotonic clock was set. Judgment: a clock that is corrected
/// gradually (adjtime, at most 0.05 %) never does, and ends that move by less are of no consequence.
pub(crate) const JUMP: f64 = 5.0;

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

/// The wall clock as it was last seen, counted on by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    last: Now,
}

impl WallClock {
    /// The wall clock as it is now.
    pub(crate) fn new(now: Now) -> WallClock {
        WallClock { last: now }
    }

    /// The Unix time of a moment, without jumps since the last [`WallClock::follow`].
    pub(crate) fn unix(&self, moment: Moment) -> f64 {
        let Now { moment: last, unix } = self.last;
        unix + moment.since(last).as_secs_f64() - last.since(moment).as_secs_f64()
    }

    /// Follows the wall clock. If it was set, returns by how many seconds, which is below zero if it was set back.
    pub(crate) fn follow(&mut self, now: Now) -> Option<f64> {
        let by = now.unix - self.unix(now.moment);
        self.last = now;
        (by.abs() > JUMP).then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(moment: f64, unix: f64) -> Now {
        Now { moment: Moment::from_start(Duration::from_secs_f64(moment)), unix }
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_both_ways_and_one_that_drifts_is_followed() {
        let mut clock = WallClock::new(at(100.0, 1000.0));
        assert_eq!(clock.follow(at(101.0, 1001.0)), None);
        assert_eq!(clock.follow(at(111.0, 1012.5)), None, "it gained a second and a half");
        assert_eq!(clock.unix(at(112.0, 0.0).moment), 1013.5, "which is followed");
        assert_eq!(clock.unix(at(110.0, 0.0).moment), 1011.5, "a moment in the past");
        assert_eq!(clock.follow(at(121.0, 31_622.5)), Some(30_600.0));
        assert_eq!(clock.follow(at(122.0, 31_623.5)), None, "once");
        assert_eq!(clock.follow(at(132.0, 1033.5)), Some(-30_600.0));
        assert_eq!(clock.follow(at(100_132.0, 101_033.5)), None, "a long sleep is no jump");
    }
}
