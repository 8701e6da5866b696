//! How long a monitor takes to detect a failure, from its settings alone: the worst case of the detector and the
//! schedule. `config` compares promises with it, and the simulation of `health` checks it.

use std::time::Duration;

use crate::model::Monitor;
use crate::model::monitor::DEFAULT_TIMEOUT;

/// All verifying probes of refused connections together take about this long. Judgment: well under what people
/// notice, long enough for a process that is replaced in place to listen again.
pub const VERIFY_WINDOW: Duration = Duration::from_millis(100);
/// Verifying probes begin at least this far apart, so that one burst of loss is not seen by all of them. Judgment:
/// the drop-tail queue of a router drains in this time.
pub const MIN_SPACING: Duration = Duration::from_millis(20);
/// After a held connection ended, its endpoint is not Down before this has passed. Judgment: longer than a process
/// that is replaced in place takes to listen again, and short enough that with the verifying probes, at their least
/// spacing and the default `fall`, a dead process is out within 100 ms.
pub const RESTART_GRACE: Duration = Duration::from_millis(30);
/// A probe whose answer is overdue is joined by the next verifying probe after this time at least. Judgment: a process
/// that a busy machine delays for less than this is not probed more often.
pub const OVERDUE_FLOOR: Duration = Duration::from_millis(50);
/// Most probes of one check under way at once. With a time-out longer than the interval the next probe doesn't wait
/// for the last, else detection would take `fall` time-outs. Judgment: eight intervals of silence are enough.
pub const MAX_OVERLAP: u32 = 8;

/// An adaptive time-out is never less. Judgment: a process that waits for a busy machine, or a SYN that its
/// queue dropped, is not dead; and a shorter one would gain less than people notice.
pub const ADAPTIVE_FLOOR: Duration = Duration::from_millis(100);
/// An adaptive time-out is never more, and never more than an interval unless that is under the fixed default.
/// Judgment: twice what a satellite link takes there and back.
pub const ADAPTIVE_CEILING: Duration = Duration::from_secs(2);
/// The longest adaptive time-out, which holds before the first measurement: the interval, at least [`DEFAULT_TIMEOUT`]
/// and at most [`ADAPTIVE_CEILING`].
pub fn adaptive_ceiling(interval: Duration) -> Duration {
    interval.clamp(DEFAULT_TIMEOUT, ADAPTIVE_CEILING)
}

/// The settings of a monitor that detection time depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From one probe's start to the next.
    pub interval: Duration,
    /// A probe that takes longer has failed; where it adapts, its ceiling.
    pub timeout: Duration,
    /// Failures that make Down, 1 at least.
    pub fall: u32,
    /// Least time in a state before the next change counts.
    pub hold_down: Duration,
}

impl From<&Monitor> for Timing {
    fn from(monitor: &Monitor) -> Timing {
        let Monitor { interval, timeout, fall, hold_down, .. } = *monitor;
        Timing { interval, timeout, fall, hold_down }
    }
}

impl Timing {
    /// The longest time between the starts of verifying probes; near endpoints are verified faster.
    pub fn spacing(&self) -> Duration {
        (VERIFY_WINDOW / (self.fall.max(2) - 1)).max(MIN_SPACING).min(self.interval)
    }

    /// From the end of one failure to the end of the next, at most, where nothing answers: each is verified at once,
    /// and the regular probes come whether or not the last has ended.
    pub fn step(&self) -> Duration {
        // When as many as may be are under way, a regular turn passes unused, and the next comes an interval later.
        let regular = self.interval.max((self.timeout + self.interval) / MAX_OVERLAP);
        self.timeout.max(self.spacing()).min(regular)
    }

    /// From a failure to the verdict Down, at most: the next probe, its time-out, and as many more as `fall` needs; but
    /// not during the hold-down.
    pub fn worst_detection(&self) -> Duration {
        let found = self.interval + self.timeout + self.step() * (self.fall.max(1) - 1);
        found.max(self.worst_held_down())
    }

    /// The same for a check that just came up: the probe that begins when its hold-down ends decides.
    pub fn worst_held_down(&self) -> Duration {
        match self.hold_down.is_zero() {
            true => Duration::ZERO,
            false => self.hold_down + self.timeout,
        }
    }

    /// How far ahead a change is, at most, while every probe succeeds: the TTL of answers follows from it.
    pub fn horizon(&self) -> Duration {
        self.interval + self.spacing() * (self.fall.max(1) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_takes_an_interval_and_the_failures_that_it_wants() {
        let ms = Duration::from_millis;
        let timing = |interval, timeout, fall, hold_down| Timing {
            interval: ms(interval),
            timeout: ms(timeout),
            fall,
            hold_down: ms(hold_down),
        };
        for (what, timing, expected) in [
            ("the defaults: an interval and three time-outs", timing(1000, 500, 3, 0), 2500),
            ("one failure is enough", timing(1000, 500, 1, 0), 1500),
            ("short time-outs wait for the verification's spacing", timing(1000, 10, 3, 0), 1110),
            ("many of them are 20 ms apart", timing(1000, 10, 11, 0), 1210),
            ("a time-out over the interval doesn't hold up the next probe", timing(1000, 1200, 3, 0), 4200),
            ("but no more than eight are under way", timing(100, 1500, 3, 0), 2000),
            ("a hold-down that is shorter has no effect", timing(1000, 500, 3, 2000), 2500),
            ("a longer one does", timing(1000, 500, 3, 10_000), 10_500),
        ] {
            assert_eq!(timing.worst_detection(), ms(expected), "{what}");
        }
    }
}
