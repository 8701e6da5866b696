//! How long the messages of a vantage are under way, compared with the fastest of them. Pure.
//!
//! Each message has the uptime of its sender. No clock of another host is trusted: only the difference between two
//! messages is used. A network that was cut can deliver a message long after it was sent. A process that stood still
//! can find old messages in its buffers. What they report is old, whatever ages they state: it must not count as new.

use std::time::Duration;

use crate::model::Moment;

/// A message that is under way for this time longer than the fastest one is late. Judgment: three reports. A connection
/// that repeats a lost packet three times needs 1.4 s.
const MAX_LATE: Duration = Duration::from_secs(3);
/// So much slower may the fastest message become, as a part of the time: two clocks do not run equally, and a path may
/// become slower. Judgment: ten times the worst clock.
const DRIFT: u32 = 100;
/// Late messages without a gap, all under way equally long for this time, are not late any more: the sender's clock
/// stood still, as that of a suspended machine, or the path is another one.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// The largest difference between times that are equal here.
const ABOUT: Duration = Duration::from_secs(1);

/// The messages of one process of a vantage.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PathTime {
    fastest: Option<Fastest>,
    /// The late messages that came last, without a gap.
    late: Option<LateRun>,
}

/// A lag is the time of arrival by the clock here minus the uptime of the sender, in milliseconds. Its value means
/// nothing; the difference of two lags is that of the times under way.
type Lag = i64;

#[derive(Debug, Clone, Copy)]
struct Fastest {
    lag: Lag,
    /// When this was last adjusted to the clocks.
    at: Moment,
}

#[derive(Debug, Clone, Copy)]
struct LateRun {
    next_number: u64,
    lag: Lag,
    since: Moment,
}

impl PathTime {
    /// Takes note of a message that arrives now. Returns whether it is late. A message of a release without uptimes
    /// never is.
    pub(super) fn is_late(&mut self, number: u64, uptime: Option<Duration>, now: Moment) -> bool {
        let Some(uptime) = uptime else { return false };
        let lag = millis(now.from_first()).saturating_sub(millis(uptime));
        let fastest = self.fastest.map_or(lag, |fastest| {
            let drift = now.since(fastest.at) / DRIFT;
            lag.min(fastest.lag.saturating_add(millis(drift)))
        });
        self.fastest = Some(Fastest { lag: fastest, at: now });
        if lag.saturating_sub(fastest) <= millis(MAX_LATE) {
            self.late = None;
            return false;
        }
        let is_next = |run: &LateRun| number == run.next_number && run.lag.abs_diff(lag) <= ABOUT.as_millis() as u64;
        let run = self.late.filter(is_next).unwrap_or(LateRun { next_number: number, lag, since: now });
        if now.since(run.since) >= SETTLED_AFTER {
            *self = PathTime { fastest: Some(Fastest { lag, at: now }), late: None };
            return false;
        }
        self.late = Some(LateRun { next_number: number.saturating_add(1), ..run });
        true
    }
}

fn millis(time: Duration) -> Lag {
    Lag::try_from(time.as_millis()).unwrap_or(Lag::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: f64) -> Moment {
        Moment::from_start(Duration::from_secs_f64(secs))
    }

    fn uptime(secs: f64) -> Option<Duration> {
        Some(Duration::from_secs_f64(secs))
    }

    #[test]
    fn a_message_that_was_under_way_for_long_is_late() {
        let mut path = PathTime::default();
        assert!(!path.is_late(1, uptime(10.0), secs(1000.2)));
        assert!(!path.is_late(2, uptime(11.0), secs(1001.1)));
        // Sent at an uptime of 17 s, and 18 s too late.
        assert!(path.is_late(8, uptime(17.0), secs(1025.1)));
        assert!(!path.is_late(25, uptime(34.0), secs(1025.2)), "sent just before");
        // A copy whose number is new, from before the break.
        assert!(path.is_late(26, uptime(20.0), secs(1025.3)));
    }

    #[test]
    fn clocks_that_differ_and_a_release_without_uptime_make_nothing_late() {
        let mut path = PathTime::default();
        for n in 0..100_000_u32 {
            // The sender's clock is 0.2 % too slow.
            assert!(!path.is_late(n.into(), uptime(f64::from(n) * 0.998), secs(f64::from(n))), "{n}");
        }
        assert!(!path.is_late(100_001, None, secs(500_000.0)));
    }

    #[test]
    fn a_clock_that_stood_still_is_followed_after_five_seconds_of_messages_without_a_gap() {
        let mut path = PathTime::default();
        assert!(!path.is_late(1, uptime(1.0), secs(1.0)));
        // The machine was suspended for 100 s.
        let late: Vec<bool> =
            (2..12_u32).map(|n| path.is_late(n.into(), uptime(n.into()), secs(100.0 + f64::from(n)))).collect();
        assert_eq!(late, [true, true, true, true, true, false, false, false, false, false]);
        assert!(path.is_late(12, uptime(8.0), secs(112.1)));
    }

    #[test]
    fn late_copies_with_gaps_never_become_the_usual() {
        let mut path = PathTime::default();
        assert!(!path.is_late(1, uptime(1.0), secs(1.0)));
        for n in 0..50_u32 {
            let number = 2 + 2 * n;
            assert!(path.is_late(number.into(), uptime(number.into()), secs(20.0 + f64::from(number))), "{n}");
        }
    }
}
