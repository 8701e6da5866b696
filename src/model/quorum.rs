//! How many must say that something is down until it is agreed on: the rules of one monitor. Counting is `fleet`'s.

use std::fmt;
use std::time::Duration;

/// A report that is older than this is stale, where the monitor doesn't say otherwise (CONTRACT 3).
pub const STALE_AFTER: Duration = Duration::from_secs(10);
/// Least `stale_after`. Reports come every second, and one of them may be late or lost.
pub const MIN_STALE_AFTER: Duration = Duration::from_secs(2);
/// Greatest `stale_after` (judgment: what was seen an hour ago is no reason for an answer).
pub const MAX_STALE_AFTER: Duration = Duration::from_secs(3600);
/// Greatest number to ask for (judgment: more vantages than anyone places in a region, more regions than there are).
pub const MAX_NEEDED: u32 = 100;

/// Whose word counts on a check, and how much of it makes Down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// Of a region's vantages that have a verdict: how many make the region's verdict Down.
    pub per_region: Need,
    /// Of the regions that have one: how many make it Down.
    pub regions_down: Need,
    /// A vantage whose report is older has no vote, [`MIN_STALE_AFTER`] to [`MAX_STALE_AFTER`].
    pub stale_after: Duration,
}

impl Default for Quorum {
    fn default() -> Quorum {
        Quorum { per_region: Need::Majority, regions_down: Need::Majority, stale_after: STALE_AFTER }
    }
}

/// How many of those that have a verdict must say Down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// One.
    Any,
    /// More than half: **a tie keeps Up**.
    Majority,
    /// Each of them.
    All,
    /// So many, 1 to [`MAX_NEEDED`]; all of them where they are fewer. If it stayed a number then, health checks would
    /// end without a word when vantages go, and a lone one could take nothing out.
    AtLeast(u32),
}

impl Need {
    /// Whether `down` of `voices` are enough. Nobody's word never is.
    pub fn is_met(self, down: usize, voices: usize) -> bool {
        let enough = match self {
            Need::Any => 1,
            Need::Majority => voices / 2 + 1,
            Need::All => voices,
            Need::AtLeast(number) => voices.min(number as usize),
        };
        down >= enough.max(1)
    }
}

impl fmt::Display for Need {
    /// As in `a majority is needed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Any => f.write_str("one is"),
            Need::Majority => f.write_str("a majority is"),
            Need::All => f.write_str("all are"),
            Need::AtLeast(1) => f.write_str("1 is"),
            Need::AtLeast(number) => write!(f, "{number} are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn needs_are_met_by_so_many() {
        for (need, enough_of) in [
            // Of 1, 2, 3, 4, 5 and 6 voices.
            (Need::Any, [1, 1, 1, 1, 1, 1]),
            (Need::Majority, [1, 2, 2, 3, 3, 4]),
            (Need::All, [1, 2, 3, 4, 5, 6]),
            (Need::AtLeast(1), [1, 1, 1, 1, 1, 1]),
            (Need::AtLeast(3), [1, 2, 3, 3, 3, 3]),
            (Need::AtLeast(MAX_NEEDED), [1, 2, 3, 4, 5, 6]),
        ] {
            for (voices, enough) in (1..).zip(enough_of) {
                let found = (0..=voices).find(|down| need.is_met(*down, voices));
                assert_eq!(found, Some(enough), "{need:?} of {voices}");
            }
            assert!(!need.is_met(0, 0), "{need:?} of nobody");
        }
    }

    fn any_need() -> impl Strategy<Value = Need> {
        prop_oneof![Just(Need::Any), Just(Need::Majority), Just(Need::All), (1..=MAX_NEEDED).prop_map(Need::AtLeast)]
    }

    proptest! {
        #[test]
        fn one_more_says_down_and_what_was_met_is_met(need in any_need(), voices in 1usize..200, down in 0usize..200) {
            let down = down.min(voices - 1);
            prop_assert!(need.is_met(down + 1, voices) || !need.is_met(down, voices));
            prop_assert!(!need.is_met(0, voices) && need.is_met(voices, voices), "none is never enough, all always are");
            // Whoever was Up and goes can only make it more of them.
            prop_assert!(need.is_met(down, voices - 1) || !need.is_met(down, voices));
        }
    }
}
