//! Chance by a seed (SplitMix64): the same numbers for the same seed on every machine.

use portolan::placing::SplitMix;

pub(crate) struct Chance(SplitMix);

impl Chance {
    pub(crate) fn of(seed: u64) -> Chance {
        Chance(SplitMix(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.number()
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// One time in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
