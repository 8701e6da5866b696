//! How suspicious silence is, given the rhythm in which beats used to come: the phi-accrual failure detector (N. Hayashibara, X. Défago,
//! R. Yared, T. Katayama: The phi accrual failure detector, SRDS 2004). Phi is -log10 of the probability that a beat comes
//! later than this though its sender lives, for gaps that are normally distributed: at phi 1 one in ten lives, at phi 8
//! one in a hundred million. What is judged is not phi but time: [`Phi::patience`] is when phi reaches the threshold, so
//! that nobody need look meanwhile. Pure; a [`Heartbeat`](crate::health::Heartbeat) owns one.

use std::collections::VecDeque;
use std::time::Duration;

/// Gaps that are remembered. Judgment: enough that a lost beat weighs little, few enough that a new rhythm is known in
/// minutes; 400 octets for each service.
pub const WINDOW: usize = 100;
/// Gaps that must be known before they say anything. Judgment: of twenty the deviation is known to a fifth or so.
pub const FEW: usize = 20;
/// Least deviation that is reckoned with, as a share of the mean gap. A machine beats more regularly than a network
/// carries it; with this one lost beat, or one that waited for TCP's first retransmission (1 s, RFC 6298, 2.1), of a service that
/// beats every second ends nothing at thresholds from 5 on.
pub const MIN_DEVIATION_SHARE: f64 = 0.25;
/// And at least this, in seconds: what Akka's detector has as its least (`min-std-deviation`).
pub const MIN_DEVIATION_SECS: f64 = 0.1;
/// More deviations than [`MAX_PHI`](crate::model::heartbeat::MAX_PHI) comes to; where the search for them begins.
const MOST_DEVIATIONS: f64 = 10.0;
/// Halvings of that: more than an `f64` tells apart.
const HALVINGS: u32 = 64;

/// The suspicion of one service.
#[derive(Debug, Clone)]
pub struct Phi {
    threshold: u32,
    /// The deviations from the mean at which phi is the threshold.
    deviations: f64,
    /// The last gaps between beats, in seconds, the oldest first.
    gaps: VecDeque<f32>,
}

/// How beats come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rhythm {
    /// From one to the next, in seconds.
    pub mean: f64,
    /// Standard deviation in seconds, with its floor.
    pub deviation: f64,
}

impl Phi {
    /// Of a service that was never heard. `threshold` is phi at which it counts as dead, 1 to
    /// [`MAX_PHI`](crate::model::heartbeat::MAX_PHI).
    pub fn new(threshold: u32) -> Phi {
        Phi { threshold, deviations: deviations(f64::from(threshold)), gaps: VecDeque::new() }
    }

    /// The same rhythm under another threshold.
    pub fn judged_by(&self, threshold: u32) -> Phi {
        Phi { gaps: self.gaps.clone(), ..Phi::new(threshold) }
    }

    /// Phi at which the service counts as dead.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// A beat came so long after the one before, and neither outage nor deafness lay between them.
    pub fn heard(&mut self, gap: Duration) {
        if self.gaps.len() == WINDOW {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap.as_secs_f32());
    }

    /// What was known of the rhythm says nothing any more.
    pub fn forget(&mut self) {
        self.gaps.clear();
    }

    /// How beats come; `None` until [`FEW`] gaps are known.
    pub fn rhythm(&self) -> Option<Rhythm> {
        if self.gaps.len() < FEW {
            return None;
        }
        let count = self.gaps.len() as f64;
        let gaps = || self.gaps.iter().map(|gap| f64::from(*gap));
        let mean = gaps().sum::<f64>() / count;
        let variance = gaps().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let deviation = variance.sqrt().max(MIN_DEVIATION_SHARE * mean).max(MIN_DEVIATION_SECS);
        Some(Rhythm { mean, deviation })
    }

    /// How long after the last beat phi reaches the threshold; `None` while the rhythm isn't known.
    pub fn patience(&self) -> Option<Duration> {
        let Rhythm { mean, deviation } = self.rhythm()?;
        // A rhythm slower than clocks can count leaves the end to the ttl.
        Duration::try_from_secs_f64(mean + self.deviations * deviation).ok()
    }

    /// Phi after so much silence; `None` while the rhythm isn't known.
    pub fn after(&self, silence: Duration) -> Option<f64> {
        let Rhythm { mean, deviation } = self.rhythm()?;
        Some(phi((silence.as_secs_f64() - mean) / deviation))
    }
}

/// -log10 of the upper tail of the normal distribution. By the complementary error function, which keeps its digits
/// where one less the distribution function has none left; some 300 at most, which is where that ends.
fn phi(deviations: f64) -> f64 {
    let later = libm::erfc(deviations * std::f64::consts::FRAC_1_SQRT_2) / 2.0;
    // Of 0 and not of -0, which would be told as such.
    0.0 - later.max(f64::MIN_POSITIVE).log10()
}

/// The inverse of [`phi`], for 1 and more.
fn deviations(wanted: f64) -> f64 {
    let (mut low, mut high) = (0.0, MOST_DEVIATIONS);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if phi(middle) < wanted { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::heartbeat::MAX_PHI;

    const MS: Duration = Duration::from_millis(1);

    /// After these gaps, in milliseconds.
    fn after(threshold: u32, gaps: impl IntoIterator<Item = u32>) -> Phi {
        let mut phi = Phi::new(threshold);
        gaps.into_iter().for_each(|gap| phi.heard(gap * MS));
        phi
    }

    #[test]
    fn phi_is_the_tail_of_the_normal_distribution_far_out_too() {
        // Upper tails to more digits than are compared: 0.5, 0.15866, 1.3499e-3, 2.8665e-7, 9.8659e-10, 7.6199e-24,
        // 2.7536e-89 (M. Abramowitz, I. Stegun: Handbook of Mathematical Functions, table 26.2).
        for (deviations, expected) in [
            (0.0, std::f64::consts::LOG10_2),
            (1.0, 0.79955),
            (3.0, 2.86970),
            (5.0, 6.54265),
            (6.0, 9.00586),
            (10.0, 23.11805),
            (20.0, 88.56010),
        ] {
            assert!((phi(deviations) - expected).abs() < 1e-4, "{deviations} deviations: {}", phi(deviations));
        }
        assert!(phi(-40.0).abs() < 1e-9 && phi(1e9).is_finite());
        for threshold in 1..=MAX_PHI {
            let found = phi(deviations(f64::from(threshold)));
            assert!((found - f64::from(threshold)).abs() < 1e-6, "{threshold}: {found}");
        }
    }

    #[test]
    fn nothing_is_said_before_the_rhythm_is_known() {
        let mut phi = after(8, (1..FEW as u32).map(|_| 1000));
        assert_eq!((phi.patience(), phi.after(9000 * MS)), (None, None));
        phi.heard(1000 * MS);
        assert!(phi.patience().is_some() && phi.after(9000 * MS).is_some_and(|phi| phi > 8.0));
        phi.forget();
        assert_eq!(phi.patience(), None);
    }

    #[test]
    fn patience_is_as_long_as_the_rhythm_asks_for() {
        let steady = |threshold, gap| after(threshold, std::iter::repeat_n(gap, 50)).patience().map(|p| p.as_millis());
        for (what, found, expected) in [
            ("every second: 1 s and 5.61 floors of 250 ms", steady(8, 1000), 2403),
            ("the least threshold", steady(1, 1000), 1320),
            ("a threshold that forgives a lost beat", steady(5, 1000), 2066),
            ("the greatest", steady(MAX_PHI, 1000), 3055),
            ("every 100 ms: floors of 100 ms", steady(8, 100), 661),
            ("every 10 s", steady(8, 10_000), 24_030),
        ] {
            assert_eq!(found, Some(expected), "{what}");
        }
        let uneven = after(8, [500, 1500].into_iter().cycle().take(WINDOW));
        assert_eq!(uneven.patience().map(|p| p.as_millis()), Some(3820), "1 s and 5.61 deviations of 503 ms");
    }

    #[test]
    fn a_new_rhythm_takes_the_place_of_the_old_one() {
        let mut phi = after(8, std::iter::repeat_n(1000, 3 * WINDOW));
        (0..WINDOW).for_each(|_| phi.heard(3000 * MS));
        assert_eq!(phi.rhythm(), Some(Rhythm { mean: 3.0, deviation: 0.75 }), "nothing is left of the old one");
    }

    proptest! {
        #[test]
        fn patience_is_when_phi_passes_the_threshold(
            threshold in 1..=MAX_PHI, gaps in prop::collection::vec(0u32..5000, FEW..2 * WINDOW),
        ) {
            let phi = after(threshold, gaps);
            let patience = phi.patience().expect("a rhythm");
            let at = |silence| phi.after(silence).expect("a rhythm");
            prop_assert!(at(patience + MS) > f64::from(threshold));
            prop_assert!(at(patience.saturating_sub(MS)) < f64::from(threshold));
            prop_assert!(at(patience / 2) <= at(patience), "it only grows");
        }

        #[test]
        fn a_higher_threshold_is_never_sooner(
            threshold in 1..MAX_PHI, gaps in prop::collection::vec(0u32..5000, FEW..2 * WINDOW),
        ) {
            let low = after(threshold, gaps);
            let high = low.judged_by(threshold + 1);
            prop_assert!(low.patience() < high.patience());
        }
    }
}
