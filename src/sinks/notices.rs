//! What the log says of a sink: its first failure and its recovery at once, and a summary of what repeats. Pure.

use std::time::Duration;

use crate::model::Moment;
use crate::repeats::Repeats;
use crate::sinks::SinkState;

/// Most dead letters that have a line each within a window (judgment: enough to see what they have in common; the
/// metrics count all).
const LETTERS_AT_ONCE: u32 = 8;

/// What a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    Failure,
    Recovery,
}

/// The notices of one sink.
#[derive(Debug)]
pub struct SinkNotices {
    tries: Repeats<Counted, ()>,
    letters: Repeats<(), ()>,
    /// Whether it has failed, and not recovered since.
    is_failing: bool,
}

/// What to log now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkNotice {
    /// It takes nothing.
    Fails,
    /// It takes everything again.
    Recovers,
}

/// What was counted and not logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkSummary {
    /// The time in which that was.
    pub within: Duration,
    /// Tries that failed.
    pub failures: u64,
    /// How often it recovered.
    pub recoveries: u64,
    /// Events that it refused for good.
    pub dead_letters: u64,
    /// Whether it fails now.
    pub is_failing: bool,
}

impl Default for SinkNotices {
    fn default() -> SinkNotices {
        SinkNotices { tries: Repeats::new(1, 2), letters: Repeats::new(LETTERS_AT_ONCE, 1), is_failing: false }
    }
}

impl SinkNotices {
    /// A try ended, and left the sink in this state. An event that waits is no recovery, though others were taken.
    pub fn tried(&mut self, is_taken: bool, state: SinkState, now: Moment) -> Option<SinkNotice> {
        let (counted, notice) = match (is_taken, state) {
            (false, SinkState::Retrying) => (Counted::Failure, SinkNotice::Fails),
            (false, SinkState::Waiting) if self.is_failing => (Counted::Failure, SinkNotice::Fails),
            (true, SinkState::Ok) if self.is_failing => (Counted::Recovery, SinkNotice::Recovers),
            (true, _) | (false, SinkState::Ok | SinkState::Waiting | SinkState::Off) => return None,
        };
        self.is_failing = counted == Counted::Failure;
        self.tries.note(counted, (), now).then_some(notice)
    }

    /// It refused an event for good. Returns whether to log that.
    pub fn refused(&mut self, now: Moment) -> bool {
        self.letters.note((), (), now)
    }

    /// When to call [`SinkNotices::sum_up`].
    pub fn next(&self) -> Option<Moment> {
        [self.tries.next(), self.letters.next()].into_iter().flatten().min()
    }

    /// What was counted, if it is time to log that.
    pub fn sum_up(&mut self, now: Moment) -> Option<SinkSummary> {
        let (tries, letters) = (self.tries.sum_up(now), self.letters.sum_up(now));
        let within = tries.as_ref().map(|sum| sum.within).or(letters.as_ref().map(|sum| sum.within))?;
        let of = |counted: Counted| {
            let subjects = tries.iter().flat_map(|sum| &sum.subjects);
            subjects.filter(|of| of.subject == counted).map(|of| of.count).sum()
        };
        Some(SinkSummary {
            within,
            failures: of(Counted::Failure),
            recoveries: of(Counted::Recovery),
            dead_letters: letters.map_or(0, |sum| sum.count()),
            is_failing: self.is_failing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn a_steady_failure_of_one_endpoint_is_one_line_and_summaries() {
        let (mut notices, mut lines, mut sums) = (SinkNotices::default(), Vec::new(), Vec::new());
        for second in 0..600 {
            // Its event fails every second, and those of others are taken in between.
            lines.extend(notices.tried(false, SinkState::Retrying, at(second)));
            lines.extend(notices.tried(true, SinkState::Waiting, at(second)));
            sums.extend(notices.sum_up(at(second)));
        }
        assert_eq!(lines, [SinkNotice::Fails]);
        let counts: Vec<_> = sums.iter().map(|sum| (sum.failures, sum.recoveries, sum.is_failing)).collect();
        assert_eq!(counts, [(60, 0, true), (120, 0, true), (240, 0, true)]);
        assert_eq!(notices.tried(true, SinkState::Ok, at(600)), Some(SinkNotice::Recovers));
    }

    #[test]
    fn a_sink_that_fails_every_second_time_is_two_lines_and_summaries() {
        let (mut notices, mut lines) = (SinkNotices::default(), Vec::new());
        for second in 0..60 {
            lines.extend(notices.tried(false, SinkState::Retrying, at(second)));
            lines.extend(notices.tried(true, SinkState::Ok, at(second)));
        }
        assert_eq!(lines, [SinkNotice::Fails, SinkNotice::Recovers]);
        assert_eq!(notices.next(), Some(at(60)));
        let within = Duration::from_secs(60);
        let counted = SinkSummary { within, failures: 59, recoveries: 59, ..SinkSummary::default() };
        assert_eq!(notices.sum_up(at(60)), Some(counted));
    }

    #[test]
    fn what_is_no_failure_of_the_sink_has_no_line_and_many_dead_letters_are_counted() {
        let mut notices = SinkNotices::default();
        assert_eq!(notices.tried(false, SinkState::Waiting, at(0)), None, "an event that it refused may be given up");
        assert_eq!((notices.tried(true, SinkState::Ok, at(0)), notices.next()), (None, None));
        assert_eq!((0..20).filter(|second| notices.refused(at(*second))).count(), 8);
        assert_eq!(notices.sum_up(at(60)).map(|sum| sum.dead_letters), Some(12));
    }
}
