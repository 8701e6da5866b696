//! The phi-accrual failure detector (N. Hayashibara, X. Défago, R. Yared, T. Katayama: The phi accrual failure
//! detector, SRDS 2004). It measures how suspicious silence is, from the usual rhythm of the beats.
//!
//! Phi is -log10 of the probability that a beat comes even later although the service is alive, for gaps with a normal
//! distribution. At phi 1 one in ten services is alive, at phi 8 one in a hundred million. [`Phi::patience`] is the
//! time at which phi reaches the threshold, so phi need not be computed again and again. Pure; a
//! [`Heartbeat`](crate::health::Heartbeat) owns one.

use std::collections::VecDeque;
use std::time::Duration;

/// The number of gaps that are remembered. Judgment: enough that one lost beat weighs little, and few enough that a new
/// rhythm is known within minutes. It takes 400 octets for each service.
pub const WINDOW: usize = 100;
/// The least number of gaps from which the rhythm is known. Judgment: with twenty, the error of the deviation is about
/// a fifth.
pub const MIN_GAPS: usize = 20;
/// The least deviation, as a share of the mean gap. A service sends beats more regularly than a network carries them.
/// With this value and a beat every second, one lost beat, or one that TCP repeats after a second (RFC 6298, 2.1), is
/// tolerated at thresholds of 5 and more.
pub const MIN_DEVIATION_SHARE: f64 = 0.25;
/// The least deviation in seconds: the default of Akka's detector (`min-std-deviation`).
pub const MIN_DEVIATION_SECS: f64 = 0.1;
/// The upper end of the search for deviations: more than [`MAX_PHI`](crate::model::heartbeat::MAX_PHI) needs.
const MAX_DEVIATIONS: f64 = 10.0;
/// The steps of that search: enough for the precision of an `f64`.
const HALVINGS: u32 = 64;

/// The rhythm of one service and its threshold.
#[derive(Debug, Clone)]
pub struct Phi {
    threshold: u32,
    /// The number of deviations from the mean at which phi is the threshold.
    deviations: f64,
    /// The last gaps between beats, in seconds, the oldest first.
    gaps: VecDeque<f32>,
}

/// The rhythm of beats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rhythm {
    /// The mean gap between beats, in seconds.
    pub mean: f64,
    /// The standard deviation in seconds, at least its floor.
    pub deviation: f64,
}

impl Phi {
    /// For a service without a beat so far. `threshold` is the phi at which it counts as dead, 1 to
    /// [`MAX_PHI`](crate::model::heartbeat::MAX_PHI).
    pub fn new(threshold: u32) -> Phi {
        Phi { threshold, deviations: deviations(f64::from(threshold)), gaps: VecDeque::new() }
    }

    /// The same rhythm with another threshold.
    pub fn with_threshold(&self, threshold: u32) -> Phi {
        Phi { gaps: self.gaps.clone(), ..Phi::new(threshold) }
    }

    /// The phi at which the service counts as dead.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Adds a gap between two beats. There was no outage between them, and all beats could be received.
    pub fn add_gap(&mut self, gap: Duration) {
        if self.gaps.len() == WINDOW {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap.as_secs_f32());
    }

    /// Forgets the rhythm.
    pub fn forget(&mut self) {
        self.gaps.clear();
    }

    /// The rhythm. `None` until [`MIN_GAPS`] gaps are known.
    pub fn rhythm(&self) -> Option<Rhythm> {
        if self.gaps.len() < MIN_GAPS {
            return None;
        }
        let count = self.gaps.len() as f64;
        let gaps = || self.gaps.iter().map(|gap| f64::from(*gap));
        let mean = gaps().sum::<f64>() / count;
        let variance = gaps().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let deviation = variance.sqrt().max(MIN_DEVIATION_SHARE * mean).max(MIN_DEVIATION_SECS);
        Some(Rhythm { mean, deviation })
    }

    /// How long after the last beat phi reaches the threshold. `None` while the rhythm is not known.
    pub fn patience(&self) -> Option<Duration> {
        let Rhythm { mean, deviation } = self.rhythm()?;
        // It fails if the time is too long for a `Duration`. Then the ttl decides.
        Duration::try_from_secs_f64(mean + self.deviations * deviation).ok()
    }

    /// Phi after this much silence. `None` while the rhythm is not known.
    pub fn after(&self, silence: Duration) -> Option<f64> {
        let Rhythm { mean, deviation } = self.rhythm()?;
        Some(phi((silence.as_secs_f64() - mean) / deviation))
    }
}

/// -log10 of the upper tail of the normal distribution, at most about 300. The complementary error function is precise
/// where one minus the distribution function is rounded to zero.
fn phi(deviations: f64) -> f64 {
    let later = libm::erfc(deviations * std::f64::consts::FRAC_1_SQRT_2) / 2.0;
    // The subtraction gives 0 and not -0, which would be printed with its sign.
    0.0 - later.max(f64::MIN_POSITIVE).log10()
}

/// The inverse of [`phi`], for values of at least 1.
fn deviations(wanted: f64) -> f64 {
    let (mut low, mut high) = (0.0, MAX_DEVIATIONS);
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
        gaps.into_iter().for_each(|gap| phi.add_gap(gap * MS));
        phi
    }

    #[test]
    fn phi_is_the_tail_of_the_normal_distribution_far_out_too() {
        // Upper tails, with more digits than are compared: 0.5, 0.15866, 1.3499e-3, 2.8665e-7, 9.8659e-10, 7.6199e-24,
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
    fn there_is_no_phi_before_the_rhythm_is_known() {
        let mut phi = after(8, (1..MIN_GAPS as u32).map(|_| 1000));
        assert_eq!((phi.patience(), phi.after(9000 * MS)), (None, None));
        phi.add_gap(1000 * MS);
        assert!(phi.patience().is_some() && phi.after(9000 * MS).is_some_and(|phi| phi > 8.0));
        phi.forget();
        assert_eq!(phi.patience(), None);
    }

    #[test]
    fn patience_follows_from_the_rhythm() {
        let steady = |threshold, gap| after(threshold, std::iter::repeat_n(gap, 50)).patience().map(|p| p.as_millis());
        for (what, found, expected) in [
            ("every second: 1 s and 5.61 floors of 250 ms", steady(8, 1000), 2403),
            ("the least threshold", steady(1, 1000), 1320),
            ("a threshold that tolerates a lost beat", steady(5, 1000), 2066),
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
    fn a_new_rhythm_replaces_the_old_one() {
        let mut phi = after(8, std::iter::repeat_n(1000, 3 * WINDOW));
        (0..WINDOW).for_each(|_| phi.add_gap(3000 * MS));
        assert_eq!(phi.rhythm(), Some(Rhythm { mean: 3.0, deviation: 0.75 }), "nothing is left of the old one");
    }

    proptest! {
        #[test]
        fn patience_is_when_phi_passes_the_threshold(
            threshold in 1..=MAX_PHI, gaps in prop::collection::vec(0u32..5000, MIN_GAPS..2 * WINDOW),
        ) {
            let phi = after(threshold, gaps);
            let patience = phi.patience().expect("a rhythm");
            let at = |silence| phi.after(silence).expect("a rhythm");
            prop_assert!(at(patience + MS) > f64::from(threshold));
            prop_assert!(at(patience.saturating_sub(MS)) < f64::from(threshold));
            prop_assert!(at(patience / 2) <= at(patience), "phi only grows");
        }

        #[test]
        fn a_higher_threshold_is_never_sooner(
            threshold in 1..MAX_PHI, gaps in prop::collection::vec(0u32..5000, MIN_GAPS..2 * WINDOW),
        ) {
            let low = after(threshold, gaps);
            let high = low.with_threshold(threshold + 1);
            prop_assert!(low.patience() < high.patience());
        }
    }
}
