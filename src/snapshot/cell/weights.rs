//! Draws by weight without replacement. The first share of a reply, where they are few, is found by passing their
//! weights one by one. For further draws from some shares the weights are summed in blocks, and from many in a tree
//! (Fenwick 1994), so that a draw takes fewer steps than there are shares. All give the same share for the same number.

use super::{Cell, CellTier, Draw};
use crate::model::MAX_ENDPOINTS;

/// In tiers of up to this many shares the first is found by passing them one by one.
const FEW: usize = 16;
/// Further shares of tiers of up to this many come from blocks.
const SOME: usize = 64;
/// Shares of a block: with eight blocks of eight, a draw passes eight sums or so.
const BLOCK: usize = 8;

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
        sum_up(&mut sums);
        Sums(sums.into())
    }
}

/// Makes sums of weights that are at their places.
fn sum_up(sums: &mut [u64]) {
    for at in 1..sums.len() {
        let above = at + lowest_bit(at);
        if above < sums.len() {
            sums[above] += sums[at];
        }
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
        if tier.total == 0 || self.is_complete(draw) {
            return;
        }
        // Nothing is out yet.
        let point = draw.chance.below(tier.total);
        let first = match tier.sums.0.is_empty() {
            true => first_over(tier.shares.iter().map(|share| share.weight), point),
            false => find(&tier.sums.0, point),
        };
        let Some(share) = tier.shares.get(first) else { return };
        self.take(*share, draw);
        if self.is_complete(draw) {
            return;
        }
        let count = tier.shares.len();
        if count <= FEW {
            self.draw_from_blocks::<FEW, { FEW / BLOCK }>(tier, first, draw);
        } else if count <= SOME {
            self.draw_from_blocks::<SOME, { SOME / BLOCK }>(tier, first, draw);
        } else {
            self.draw_from_sums(tier, first, draw);
        }
    }

    /// Draws further shares after the first, of at most `N`, in `B` blocks.
    // Not inlined, so that its stack is used and cleared only where it is needed.
    #[inline(never)]
    fn draw_from_blocks<const N: usize, const B: usize>(&self, tier: &CellTier, first: usize, draw: &mut Draw) {
        let mut left = Blocks::<N, B>::of(tier);
        let mut last = first;
        loop {
            left.take_out(last);
            if left.total == 0 || self.is_complete(draw) {
                return;
            }
            last = left.find(draw.chance.below(left.total));
            let Some(share) = tier.shares.get(last) else { return };
            self.take(*share, draw);
        }
    }

    /// Draws further shares after the first, of many.
    #[inline(never)]
    fn draw_from_sums(&self, tier: &CellTier, first: usize, draw: &mut Draw) {
        let mut sums = [0; MAX_ENDPOINTS + 1];
        let Some(sums) = sums.get_mut(..tier.shares.len() + 1) else { return };
        match tier.sums.0.len() == sums.len() {
            true => sums.copy_from_slice(&tier.sums.0),
            // A tier with a race has no sums. [`Cell::pick`] draws from it without a net.
            false => {
                sums.iter_mut().skip(1).zip(&tier.shares).for_each(|(sum, share)| *sum = share.weight);
                sum_up(sums);
            }
        }
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
}

/// The place of the first weight that `point` is below, after those before it were taken from `point`.
fn first_over(weights: impl Iterator<Item = u64>, mut point: u64) -> usize {
    let is_passed = |weight: &u64| match point.checked_sub(*weight) {
        Some(rest) => {
            point = rest;
            true
        }
        None => false,
    };
    weights.take_while(is_passed).count()
}

/// The weights of shares that were not drawn yet, 0 of the others, and their sums.
struct Blocks<const N: usize, const B: usize> {
    weights: [[u64; BLOCK]; B],
    sums: [u64; B],
    total: u64,
}

impl<const N: usize, const B: usize> Blocks<N, B> {
    fn of(tier: &CellTier) -> Self {
        let mut left = Blocks { weights: [[0; BLOCK]; B], sums: [0; B], total: tier.total };
        for ((to, sum), shares) in left.weights.iter_mut().zip(&mut left.sums).zip(tier.shares.chunks(BLOCK)) {
            for (to, share) in to.iter_mut().zip(shares) {
                *to = share.weight;
                *sum += share.weight;
            }
        }
        left
    }

    fn take_out(&mut self, share: usize) {
        let (block, at) = (share / BLOCK, share % BLOCK);
        let (Some(weights), Some(sum)) = (self.weights.get_mut(block), self.sums.get_mut(block)) else { return };
        let weight = std::mem::take(&mut weights[at]);
        *sum -= weight;
        self.total -= weight;
    }

    /// The share on which `point` falls, which is below the total.
    fn find(&self, mut point: u64) -> usize {
        for (block, sum) in self.sums.iter().enumerate() {
            if point < *sum {
                return block * BLOCK + first_over(self.weights[block].iter().copied(), point);
            }
            point -= sum;
        }
        N
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::cell::CellShare;

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

        /// Blocks too.
        #[test]
        fn blocks_find_what_passing_finds(
            weights in proptest::collection::vec(1..50_u64, 1..SOME + 1), seed: u64, draws in 1..SOME
        ) {
            let share = |weight: &u64| CellShare { weight: *weight, first: 0, count: 1, by_net: false };
            let shares = weights.iter().map(share).collect();
            let tier = CellTier { total: weights.iter().sum(), shares, sums: Sums::none(), race: None };
            let mut blocks = Blocks::<SOME, { SOME / BLOCK }>::of(&tier);
            let (mut weights, mut random) = (weights, fastrand::Rng::with_seed(seed));
            for _ in 0..draws.min(weights.len()) {
                proptest::prop_assert_eq!(blocks.total, weights.iter().sum::<u64>());
                let point = random.u64(..blocks.total);
                let found = blocks.find(point);
                proptest::prop_assert_eq!(found, first_over(weights.iter().copied(), point));
                blocks.take_out(found);
                weights[found] = 0;
            }
        }
    }
}
