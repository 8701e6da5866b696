//! Round-trip time, smoothed: the mean and the mean deviation that TCP keeps (RFC 6298, 2). Pure; one of these stands
//! in every detector and is fed by its successes.

use std::time::Duration;

use crate::model::Monitor;
use crate::model::timing::ADAPTIVE_FLOOR;

/// Doublings of an adaptive time-out that are counted: from the floor they pass the ceiling.
const MAX_DOUBLINGS: u32 = 5;

/// And that are the least while a failure is remembered. Judgment: it takes nothing from finding what is silent, where they
/// double anyway, and leaves a path that loses packets the time for what gets lost next.
const WARY_DOUBLINGS: u32 = 1;

/// So many successes after a failure probes are still hurried (see [`Last`]). Judgment: a path that fails one probe in
/// ten of those that aren't would else be found out anew every few seconds.
const REMEMBERED: u32 = 20;

/// Smoothed round-trip time of one check. Starts without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtt {
    smoothed: Option<Smoothed>,
    /// How often the adaptive time-out has doubled since the last relief.
    doublings: u32,
    last: Last,
    /// Successes until `last` is forgotten.
    remembered: u32,
}

/// The worst that was heard lately, as far as the next probe goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Last {
    /// Nothing else.
    #[default]
    Well,
    /// A probe failed.
    Failed,
    /// A probe ran into its time-out where the path lost packets of it.
    Lossy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Smoothed {
    srtt: Duration,
    rttvar: Duration,
}

impl Rtt {
    /// As it was when it had come to these, with no failures lately.
    pub fn of(srtt: Duration, rttvar: Duration) -> Rtt {
        Rtt { smoothed: Some(Smoothed { srtt, rttvar }), ..Rtt::default() }
    }

    /// Takes in one measured round-trip time (RFC 6298, 2.2 for the first, 2.3 for those after it).
    pub fn learn(&mut self, measured: Duration) {
        self.remembered = self.remembered.saturating_sub(1);
        if self.remembered == 0 {
            self.last = Last::Well;
        }
        self.smoothed = Some(match self.smoothed {
            None => Smoothed { srtt: measured, rttvar: measured / 2 },
            // The deviation is updated first, from the mean as it was: the RFC asks for this order.
            Some(old) => Smoothed {
                rttvar: (old.rttvar * 3 + old.srtt.abs_diff(measured)) / 4,
                srtt: (old.srtt * 7 + measured) / 8,
            },
        });
    }

    /// How long the next probe may take: what the monitor says; where that is adaptive, the retransmission timer of TCP
    /// (RFC 6298: the mean and four deviations, doubled for each that ran out), between [`ADAPTIVE_FLOOR`] and the
    /// monitor's, which it is before the first success.
    pub fn timeout(&self, monitor: &Monitor) -> Duration {
        match self.expected().filter(|_| monitor.adaptive) {
            Some(expected) => (expected * 2u32.pow(self.doublings.max(self.wary()))).min(monitor.timeout),
            None => monitor.timeout,
        }
    }

    /// Doublings that a path is owed on which probes failed lately.
    fn wary(&self) -> u32 {
        match self.last {
            Last::Well => 0,
            Last::Failed | Last::Lossy => WARY_DOUBLINGS,
        }
    }

    /// Whether an answer that was waited for this long was given all the time that it usually needs.
    pub fn is_overdue(&self, waited: Duration) -> bool {
        self.expected().is_some_and(|expected| waited >= expected)
    }

    /// A probe has run into its time-out: the next gets twice the time (RFC 6298, 5.5).
    pub fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
    }

    /// Answers come as usual: the next probe gets no more than the usual time (RFC 6298, 5.7). Not said at the first
    /// answer but when all is well again, so that a lossy path isn't judged in a hurry just when it is suspected.
    pub fn relax(&mut self) {
        self.doublings = 0;
    }

    /// A probe failed. The worst is remembered for the next few successes.
    pub fn failed(&mut self, how: Last) {
        (self.last, self.remembered) = (self.last.max(how), REMEMBERED);
    }

    /// The worst that was heard lately.
    pub fn last(&self) -> Last {
        self.last
    }

    /// The mean and four deviations, [`ADAPTIVE_FLOOR`] at least (RFC 6298, 2.2 and 2.3).
    fn expected(&self) -> Option<Duration> {
        self.smoothed.map(|s| (s.srtt + s.rttvar * 4).max(ADAPTIVE_FLOOR))
    }

    /// The smoothed mean, alpha 1/8; `None` before the first success.
    pub fn srtt(&self) -> Option<Duration> {
        self.smoothed.map(|s| s.srtt)
    }

    /// The smoothed mean deviation, beta 1/4; `None` before the first success.
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
        assert!(!rtt.is_overdue(1000 * MS), "nor can anything be overdue");
        rtt.learn(80 * MS);
        assert_eq!((rtt.timeout(&adaptive), rtt.timeout(&fixed)), (240 * MS, 500 * MS));
        assert!(rtt.is_overdue(240 * MS) && !rtt.is_overdue(239 * MS));
        rtt.back_off();
        assert_eq!(rtt.timeout(&adaptive), 480 * MS);
        rtt.learn(80 * MS);
        assert_eq!(rtt.timeout(&adaptive), 2 * (80 + 4 * 30) * MS, "measured, but not yet well");
        (0..100).for_each(|_| rtt.back_off());
        assert_eq!((rtt.timeout(&adaptive), rtt.timeout(&fixed)), (1000 * MS, 500 * MS), "the ceiling");
        rtt.relax();
        (0..100).for_each(|_| rtt.learn(MS));
        assert_eq!(rtt.timeout(&adaptive), 100 * MS, "the floor");
    }

    #[test]
    fn it_settles_on_what_is_measured_again_and_again() {
        let mut rtt = Rtt::default();
        rtt.learn(500 * MS);
        for _ in 0..200 {
            rtt.learn(20 * MS);
        }
        assert!(rtt.srtt().is_some_and(|srtt| srtt.abs_diff(20 * MS) < MS), "{rtt:?}");
        assert!(rtt.rttvar().is_some_and(|rttvar| rttvar < MS), "{rtt:?}");
    }
}
