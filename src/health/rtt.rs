//! Round-trip time, smoothed: the mean and the mean deviation that TCP keeps (RFC 6298, 2). Pure; one of these stands
//! in every detector and is fed by its successes.

use std::time::Duration;

/// Smoothed round-trip time of one check. Starts without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtt {
    smoothed: Option<Smoothed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Smoothed {
    srtt: Duration,
    rttvar: Duration,
}

impl Rtt {
    /// Takes in one measured round-trip time (RFC 6298, 2.2 for the first, 2.3 for those after it).
    pub fn learn(&mut self, measured: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => Smoothed { srtt: measured, rttvar: measured / 2 },
            // The deviation is updated first, from the mean as it was: the RFC asks for this order.
            Some(old) => Smoothed {
                rttvar: (old.rttvar * 3 + old.srtt.abs_diff(measured)) / 4,
                srtt: (old.srtt * 7 + measured) / 8,
            },
        });
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
