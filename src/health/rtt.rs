//! The smoothed round-trip time: the mean and the mean deviation, as in TCP (RFC 6298, 2). Pure; each detector owns one
//! and adds the times of its successes.
//!
//! The mean of the RFC is for time-outs. It follows each measurement that is much too long, as a busy host makes them,
//! and needs twenty measurements for a path that became much shorter. So steering has a mean of its own ([`PathMean`]).

use std::time::Duration;

use crate::health::path_mean::PathMean;
use crate::model::Monitor;
use crate::model::timing::{ADAPTIVE_FLOOR, OVERDUE_FLOOR};

/// The most doublings of an adaptive time-out: from the least time-out, this many exceed the longest.
const MAX_DOUBLINGS: u32 = 5;

/// The least doublings while a failure is remembered. Judgment: on a path that loses packets, there must be time for
/// the next loss. A silent endpoint is not found later by this, because its time-out is doubled anyway.
const DOUBLINGS_AFTER_FAILURE: u32 = 1;

/// The successes for which a failure is remembered (see [`RecentFailure`]). Judgment: on a path where one probe in ten
/// fails, the failures would otherwise come as a surprise every few seconds.
const REMEMBERED: u32 = 20;

/// Smoothed round-trip time of one check. Starts without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtt {
    smoothed: Option<Smoothed>,
    /// The mean for steering.
    path: PathMean,
    /// How often the adaptive time-out was doubled since the last reset.
    doublings: u32,
    recent_failure: RecentFailure,
    /// The successes until `recent_failure` is forgotten.
    remembered: u32,
}

/// The worst failure of the last probes. The next probe sends its repeats accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RecentFailure {
    /// No failure.
    #[default]
    None,
    /// A probe failed.
    Failed,
    /// A probe timed out and the path lost some of its packets.
    Lossy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Smoothed {
    srtt: Duration,
    rttvar: Duration,
}

impl Rtt {
    /// With this mean and deviation, without recent failures.
    pub fn of(srtt: Duration, rttvar: Duration) -> Rtt {
        Rtt { smoothed: Some(Smoothed { srtt, rttvar }), path: PathMean::of(srtt), ..Rtt::default() }
    }

    /// Takes in one measured round-trip time (RFC 6298, 2.2 for the first, 2.3 for those after it).
    pub fn learn(&mut self, measured: Duration) {
        self.remembered = self.remembered.saturating_sub(1);
        if self.remembered == 0 {
            self.recent_failure = RecentFailure::None;
        }
        self.path.learn(measured);
        self.smoothed = Some(match self.smoothed {
            None => Smoothed { srtt: measured, rttvar: measured / 2 },
            // The deviation is updated first, from the old mean: the RFC requires this order.
            Some(old) => Smoothed {
                rttvar: (old.rttvar * 3 + old.srtt.abs_diff(measured)) / 4,
                srtt: (old.srtt * 7 + measured) / 8,
            },
        });
    }

    /// The time-out of the next probe: that of the monitor. If the monitor is adaptive, it is the retransmission timer
    /// of TCP (RFC 6298: the mean and four deviations, doubled after each time-out), at least [`ADAPTIVE_FLOOR`] and at
    /// most the time-out of the monitor.
    pub fn timeout(&self, monitor: &Monitor) -> Duration {
        match self.expected().filter(|_| monitor.adaptive) {
            Some(expected) => (expected * 2u32.pow(self.doublings.max(self.least_doublings()))).min(monitor.timeout),
            None => monitor.timeout,
        }
    }

    fn least_doublings(&self) -> u32 {
        match self.recent_failure {
            RecentFailure::None => 0,
            RecentFailure::Failed | RecentFailure::Lossy => DOUBLINGS_AFTER_FAILURE,
        }
    }

    /// Whether an answer usually comes within this time.
    pub fn is_overdue(&self, waited: Duration) -> bool {
        self.expected().is_some_and(|expected| waited >= expected)
    }

    /// After this time without an answer the next verifying probe need not wait for the end of this one: the mean and
    /// four deviations (RFC 6298, 2.2 and 2.3), at least [`OVERDUE_FLOOR`]. `None` before the first success, and while
    /// a failure is remembered: on a path that loses packets, probes that are farther apart are better evidence.
    pub fn overdue_after(&self) -> Option<Duration> {
        let is_clean = self.recent_failure == RecentFailure::None;
        self.smoothed.filter(|_| is_clean).map(|s| (s.srtt + s.rttvar * 4).max(OVERDUE_FLOOR))
    }

    /// A probe timed out: the next gets twice the time (RFC 6298, 5.5).
    pub fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
    }

    /// The next probe gets the usual time again (RFC 6298, 5.7). To be called when all failures are cleared and not at
    /// the first answer, so that a suspect path that loses packets gets more time.
    pub fn reset_backoff(&mut self) {
        self.doublings = 0;
    }

    /// A probe failed. The worst failure is remembered for some successes.
    pub fn failed(&mut self, failure: RecentFailure) {
        (self.recent_failure, self.remembered) = (self.recent_failure.max(failure), REMEMBERED);
    }

    /// These round-trip times for a probe that begins while the answer to another one is overdue: it sends its repeats
    /// as after a failure.
    pub fn while_overdue(mut self) -> Rtt {
        self.failed(RecentFailure::Failed);
        self
    }

    /// The worst failure that is remembered.
    pub fn recent_failure(&self) -> RecentFailure {
        self.recent_failure
    }

    /// The mean and four deviations, at least [`ADAPTIVE_FLOOR`] (RFC 6298, 2.2 and 2.3).
    fn expected(&self) -> Option<Duration> {
        self.smoothed.map(|s| (s.srtt + s.rttvar * 4).max(ADAPTIVE_FLOOR))
    }

    /// The smoothed mean (alpha 1/8). `None` before the first success.
    pub fn srtt(&self) -> Option<Duration> {
        self.smoothed.map(|s| s.srtt)
    }

    /// The mean for steering. `None` before the first success.
    pub fn path(&self) -> Option<Duration> {
        self.path.get()
    }

    /// The smoothed mean deviation (beta 1/4). `None` before the first success.
    pub fn rttvar(&self) -> Option<Duration> {
        self.smoothed.map(|s| s.rttvar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProbeKind;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_measurement_is_the_mean_and_half_of_it_the_deviation() {
        let mut rtt = Rtt::default();
        assert_eq!((rtt.srtt(), rtt.rttvar()), (None, None));
        rtt.learn(80 * MS);
        assert_eq!((rtt.srtt(), rtt.rttvar()), (Some(80 * MS), Some(40 * MS)));
    }

    #[test]
    fn later_ones_move_the_mean_by_an_eighth_and_the_deviation_by_a_quarter() {
        let mut rtt = Rtt::default();
        rtt.learn(80 * MS);
        rtt.learn(160 * MS);
        assert_eq!(rtt.srtt(), Some(90 * MS), "7/8 * 80 + 1/8 * 160");
        assert_eq!(rtt.rttvar(), Some(50 * MS), "3/4 * 40 + 1/4 * |80 - 160|");
    }

    #[test]
    fn an_adaptive_time_out_is_the_mean_and_four_deviations_and_doubles() {
        let fixed = Monitor::new(ProbeKind::Tcp);
        let adaptive = Monitor { adaptive: true, timeout: 1000 * MS, ..fixed.clone() };
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(&adaptive), 1000 * MS, "nothing is measured: the ceiling");
        assert!(!rtt.is_overdue(1000 * MS), "and nothing is overdue");
        rtt.learn(80 * MS);
        assert_eq!((rtt.timeout(&adaptive), rtt.timeout(&fixed)), (240 * MS, 500 * MS));
        assert!(rtt.is_overdue(240 * MS) && !rtt.is_overdue(239 * MS));
        rtt.back_off();
        assert_eq!(rtt.timeout(&adaptive), 480 * MS);
        rtt.learn(80 * MS);
        assert_eq!(rtt.timeout(&adaptive), 2 * (80 + 4 * 30) * MS, "measured, but not reset yet");
        (0..100).for_each(|_| rtt.back_off());
        assert_eq!((rtt.timeout(&adaptive), rtt.timeout(&fixed)), (1000 * MS, 500 * MS), "the ceiling");
        rtt.reset_backoff();
        (0..100).for_each(|_| rtt.learn(MS));
        assert_eq!(rtt.timeout(&adaptive), 100 * MS, "the floor");
    }

    #[test]
    fn it_approaches_a_constant_measurement() {
        let mut rtt = Rtt::default();
        rtt.learn(500 * MS);
        for _ in 0..200 {
            rtt.learn(20 * MS);
        }
        assert!(rtt.srtt().is_some_and(|srtt| srtt.abs_diff(20 * MS) < MS), "{rtt:?}");
        assert!(rtt.rttvar().is_some_and(|rttvar| rttvar < MS), "{rtt:?}");
    }
}
