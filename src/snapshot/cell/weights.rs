//! Draws by weight without replacement. Of few shares the weights are passed one by one. Of many, sums of weights are
//! in a tree (Fenwick 1994), so that a draw takes as many steps as the number of shares has bits, and not one for each
//! share. Both give the same share for the same number.

use super::{Cell, CellTier, Draw};
use crate::model::MAX_ENDPOINTS;

/// Tiers of up to this many shares are passed one by one: with few draws that is less work than a tree.
const FEW: usize = 16;
/// Tiers of up to this many shares need 520 octets of stack for several draws rather than 8 KiB.
const SOME: usize = 64;

/// Sums of weights: at place `n`, counted from 1, those of the last `n & -n` shares up to the `n`th. Empty for few
/// shares.
#[derive(Debug)]
pub(super) struct Sums(Box<[u64]>);

impl Sums {
    /// Without any: shares are passed one by one.
    pub(super) fn none() -> Sums {
        Sums(Box::new([]))
    }

    /// Of these weights, in their order.
    pub(super) fn of(weights: impl ExactSizeIterator<Item = u64>) -> Sums {
        if weights.len() <= FEW || weights.len() > MAX_ENDPOINTS {
            return Sums(Box::new([]));
        }
        let mut sums: Vec<u64> = std::iter::once(0).chain(weights).collect();
        for at in 1..sums.len() {
            let above = at + lowest_bit(at);
            if above < sums.len() {
                sums[above] += sums[at];
            }
        }
        Sums(sums.into())
    }
}

fn lowest_bit(at: usize) -> usize {
    at & at.wrapping_neg()
}

/// The share, from 0, on which `point` falls.
fn find(sums: &[u64], mut point: u64) -> usize {
    let mut at = 0;
    let mut step = sums.len().next_power_of_two() / 2;
    while step > 0 {
        if let Some(&sum) = sums.get(at + step).filter(|sum| **sum <= point) {
            point -= sum;
            at += step;
        }
        step /= 2;
    }
    at
}

/// Takes the weight of a share, counted from 0, out of the sums.
fn take_out(sums: &mut [u64], share: usize, weight: u64) {
    let mut at = share + 1;
    while let Some(sum) = sums.get_mut(at) {
        *sum -= weight;
        at += lowest_bit(at);
    }
}

impl Cell {
    pub(super) fn draw_by_weight(&self, tier: &CellTier, draw: &mut Draw) {
        if tier.sums.0.is_empty() {
            return self.draw_one_by_one(tier, draw);
        }
        if self.is_complete(draw) {
            return;
        }
        // Nothing is out yet.
        let first = find(&tier.sums.0, draw.chance.below(tier.total));
        self.take(tier.shares[first], draw);
        if self.is_complete(draw) {
            return;
        }
        match tier.shares.len() {
            ..=SOME => self.draw_from_sums::<{ SOME + 1 }>(tier, first, draw),
            _ => self.draw_from_sums::<{ MAX_ENDPOINTS + 1 }>(tier, first, draw),
        }
    }

    /// Draws further shares after the first.
    // Not inlined, so that its stack is used and cleared only where it is needed.
    #[inline(never)]
    fn draw_from_sums<const N: usize>(&self, tier: &CellTier, first: usize, draw: &mut Draw) {
        let mut sums = [0; N];
        let Some(sums) = sums.get_mut(..tier.sums.0.len()) else { return };
        sums.copy_from_slice(&tier.sums.0);
        let (mut left, mut last) = (tier.total, first);
        loop {
            let weight = tier.shares[last].weight;
            left -= weight;
            if left == 0 || self.is_complete(draw) {
                return;
            }
            take_out(sums, last, weight);
            last = find(sums, draw.chance.below(left));
            self.take(tier.shares[last], draw);
        }
    }

    fn draw_one_by_one(&self, tier: &CellTier, draw: &mut Draw) {
        let mut used = Used::default();
        let mut left = tier.total;
        while left > 0 && !self.is_complete(draw) {
            let Some(at) = used.unused_at(tier, draw.chance.below(left)) else { break };
            let share = tier.shares[at];
            used.0[at / 64] |= 1 << (at % 64);
            left -= share.weight;
            self.take(share, draw);
        }
    }
}

/// Shares of one tier that were drawn, a bit each. A tier has at most one share an endpoint of its policy.
#[derive(Default)]
struct Used([u64; MAX_ENDPOINTS / 64]);

impl Used {
    /// The share that `point`, below the weight of all unused shares, falls on.
    fn unused_at(&self, tier: &CellTier, mut point: u64) -> Option<usize> {
        for (at, share) in tier.shares.iter().enumerate() {
            if self.0[at / 64] & (1 << (at % 64)) != 0 {
                continue;
            }
            if point < share.weight {
                return Some(at);
            }
            point -= share.weight;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Every point falls on the share on which passing one by one finds it, whatever is out already.
        #[test]
        fn sums_find_what_passing_finds(
            weights in proptest::collection::vec(1..50_u64, FEW + 1..200), seed: u64, draws in 1..200_usize
        ) {
            let mut weights = weights;
            let mut sums = Sums::of(weights.iter().copied()).0;
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..draws.min(weights.len()) {
                let point = random.u64(..weights.iter().sum::<u64>());
                let passed = weights.iter().scan(0, |sum, weight| { *sum += weight; Some(*sum) });
                let expected = passed.take_while(|sum| *sum <= point).count();
                let found = find(&sums, point);
                proptest::prop_assert_eq!(found, expected);
                take_out(&mut sums, found, weights[found]);
                weights[found] = 0;
            }
        }
    }
}
