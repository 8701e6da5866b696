//! A race that is one choice by net: each share has a time of its own, which its number and its rate give. The first
//! shares are selected where few are needed, and otherwise all are sorted. Each share that is selected takes some
//! logarithms, and each that is sorted takes one.

use super::exponential::{exponential, least_exponential};
use super::time_buckets::{self, TimeBuckets};
use crate::placing::mix;

/// Fewer shares are not sorted: a heap of them costs little.
const LEAST_SORTED: usize = 16;
/// If no more than this many shares are needed, they are selected.
pub(super) const MOST_SELECTED: usize = 12;
/// Most shares that are sorted: their places have six bits.
pub(super) const MOST_SORTED: usize = time_buckets::MOST;
/// The bits of a share's place.
const PLACE: u64 = MOST_SORTED as u64 - 1;

/// The shares, in the order of their places.
#[derive(Debug)]
pub(super) struct FlatRace {
    shares: Box<[FlatShare]>,
    /// The greatest rate.
    greatest: f64,
    buckets: Option<TimeBuckets>,
}

#[derive(Debug, Clone, Copy)]
struct FlatShare {
    key: u64,
    rate: f64,
    /// Its part of the greatest rate, in units of 2^-64, rounded up.
    part: u64,
}

impl FlatShare {
    /// The bits of its time. Times are never negative, and zero has no sign, so that their bits have their order. The
    /// place of the share, below [`MOST_SORTED`], replaces the last six: they decide between two shares in one of 2^46
    /// cases, and numbers are sorted in half the time of pairs.
    #[inline]
    fn time(&self, number: u64, place: u64) -> u64 {
        (exponential(number) / self.rate).to_bits() & !PLACE | place
    }
}

impl FlatRace {
    /// Of shares by their keys and rates, which are over 0; `None` where they are few or many.
    pub(super) fn of(shares: &[(u64, f64)]) -> Option<FlatRace> {
        if !(LEAST_SORTED..=MOST_SORTED).contains(&shares.len()) {
            return None;
        }
        let rates = shares.iter().map(|(_, rate)| *rate);
        let greatest = rates.clone().fold(0.0, f64::max);
        let buckets = TimeBuckets::of(rates);
        let share = |&(key, rate): &(u64, f64)| FlatShare { key, rate, part: part_of(rate / greatest) };
        Some(FlatRace { shares: shares.iter().map(share).collect(), greatest, buckets })
    }

    /// The first `count` shares in their order, at most [`MOST_SELECTED`]. Most others need no logarithm.
    pub(super) fn selected(&self, count: usize, net: u64) -> FinishedRace<MOST_SELECTED> {
        let mut selected = FinishedRace { times: [u64::MAX; MOST_SELECTED], len: count.min(self.shares.len()) };
        let mut shares = self.shares.iter().zip(0..);
        let mut last = f64::INFINITY;
        let mut limit = None;
        while limit.is_none()
            && let Some((share, at)) = shares.next()
        {
            let number = mix(net ^ share.key);
            if least_exponential(number) < last * share.rate {
                last = selected.enter(share.time(number, at));
                limit = limit_for(last * self.greatest);
            }
        }
        let Some(mut limit) = limit else { return selected };
        // The same comparison in integers: it passes most shares, and takes half the instructions.
        for (share, at) in shares {
            let number = mix(net ^ share.key);
            if !number > high_half(share.part, limit) + ROUNDING {
                continue;
            }
            last = selected.enter(share.time(number, at));
            limit = limit_for(last * self.greatest).unwrap_or(limit);
        }
        selected
    }

    /// As [`FlatRace::selected`], for any `count`.
    pub(super) fn sorted(&self, count: usize, net: u64) -> FinishedRace<MOST_SORTED> {
        let mut sorted = FinishedRace { times: [0; MOST_SORTED], len: count.min(self.shares.len()) };
        for ((to, share), at) in sorted.times.iter_mut().zip(&self.shares).zip(0..) {
            *to = share.time(mix(net ^ share.key), at);
        }
        match self.buckets {
            Some(buckets) => buckets.sort(&mut sorted.times, self.shares.len(), sorted.len),
            None => {
                if let Some(times) = sorted.times.get_mut(..self.shares.len()) {
                    times.sort_unstable();
                }
            }
        }
        sorted
    }
}

/// More than all roundings of a limit and of a part, and than a number has below its first 53 bits.
const ROUNDING: u64 = 1 << 12;
/// How many numbers there are.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// A part of 1, of at most 1, in units of 2^-64, rounded up.
fn part_of(part: f64) -> u64 {
    (part * TWO_TO_64) as u64 | (ROUNDING - 1)
}

/// A share whose number has a greater complement than its part of this limit has a time after `last`: -ln(x) is at
/// least 1 - x, as in [`least_exponential`]. `last` is for the greatest rate. `None` where it is too great to tell.
fn limit_for(last: f64) -> Option<u64> {
    /// Less than this, so that nothing overflows.
    const MOST: f64 = 0.99;
    /// More than what the logarithm and two products are rounded by.
    const UP: f64 = 1.0 + 1e-8;
    (last < MOST).then_some((last * UP * TWO_TO_64) as u64)
}

fn high_half(one: u64, other: u64) -> u64 {
    ((u128::from(one) * u128::from(other)) >> 64) as u64
}

/// The end of a race: the times of the first shares in their order, each with the share's place in its last bits.
pub(super) struct FinishedRace<const N: usize> {
    times: [u64; N],
    len: usize,
}

impl<const N: usize> FinishedRace<N> {
    /// The first shares in their order.
    pub(super) fn shares(&self) -> impl ExactSizeIterator<Item = usize> {
        self.times.iter().take(self.len).map(|time| (time & PLACE) as usize)
    }

    /// Enters a time among the first ones, if it is one of them. Returns the last of them, or a little more, because
    /// its place may have made it less; infinity where there are fewer.
    fn enter(&mut self, time: u64) -> f64 {
        let Some((last, before)) = self.times.get_mut(..self.len).and_then(<[u64]>::split_last_mut) else { return 0.0 };
        if time < *last {
            // Each later time moves a place back; the last one is out.
            let mut free = last;
            for before in before.iter_mut().rev() {
                if *before < time {
                    break;
                }
                *free = *before;
                free = before;
            }
            *free = time;
        }
        match self.times.get(self.len - 1) {
            Some(last) if *last < u64::MAX => f64::from_bits(last | PLACE),
            Some(_) | None => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 1000, ..Default::default() })]

        /// However few shares are needed, they are the first ones in the order of all times.
        #[test]
        fn the_first_shares_are_those_of_the_whole_order(
            weights in proptest::collection::vec(1.0..60.0_f64, LEAST_SORTED..=MOST_SORTED),
            net: u64,
            unevenness in 0..4_i32,
        ) {
            let rate = |weight: f64| match unevenness {
                0 => 1.0 + weight / 60.0,
                power => weight.powi(power),
            };
            let shares: Vec<(u64, f64)> = (0..).map(mix).zip(weights.iter().map(|weight| rate(*weight))).collect();
            let race = FlatRace::of(&shares).unwrap();
            let time = |(share, at): (&FlatShare, u64)| share.time(mix(net ^ share.key), at);
            let mut times: Vec<u64> = race.shares.iter().zip(0..).map(time).collect();
            times.sort_unstable();
            let expected: Vec<usize> = times.iter().map(|time| (time & PLACE) as usize).collect();
            for count in 1..=weights.len() {
                let sorted: Vec<usize> = race.sorted(count, net).shares().collect();
                proptest::prop_assert_eq!(&sorted[..], &expected[..count]);
                if count <= MOST_SELECTED {
                    let selected: Vec<usize> = race.selected(count, net).shares().collect();
                    proptest::prop_assert_eq!(&selected[..], &expected[..count]);
                }
            }
        }
    }
}
