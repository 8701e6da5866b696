//! The quorum of a monitor: how many votes make the verdict Down. `fleet` counts them.

use std::fmt;
use std::time::Duration;

/// The default of `stale_after`: a report that is older is stale.
pub const STALE_AFTER: Duration = Duration::from_secs(10);
/// Least `stale_after`. Reports come every second, and one of them may be late or lost.
pub const MIN_STALE_AFTER: Duration = Duration::from_secs(2);
/// Greatest `stale_after` (judgment: a report that is an hour old is no reason for an answer).
pub const MAX_STALE_AFTER: Duration = Duration::from_secs(3600);
/// Greatest number (judgment: more vantages than a region has, more regions than there are).
pub const MAX_NEEDED: u32 = 100;

/// Which votes on a check count, and how many make Down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// How many of a region's vantages, of those that vote, make the region Down.
    pub per_region: Need,
    /// How many regions, of those that have a verdict, make the check Down.
    pub regions_down: Need,
    /// A vantage whose report is older has no vote, [`MIN_STALE_AFTER`] to [`MAX_STALE_AFTER`].
    pub stale_after: Duration,
}

impl Default for Quorum {
    fn default() -> Quorum {
        Quorum { per_region: Need::Majority, regions_down: Need::Majority, stale_after: STALE_AFTER }
    }
}

/// How many of those that vote must vote Down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// One.
    Any,
    /// More than half: **a tie keeps Up**.
    Majority,
    /// Each of them.
    All,
    /// This number, 1 to [`MAX_NEEDED`]; all of them where they are fewer. Otherwise nothing could be found Down any
    /// more once too few vantages are left.
    AtLeast(u32),
}

impl Need {
    /// Whether `down` of `votes` are enough. No vote never is.
    pub fn is_met(self, down: usize, votes: usize) -> bool {
        let enough = match self {
            Need::Any => 1,
            Need::Majority => votes / 2 + 1,
            Need::All => votes,
            Need::AtLeast(number) => votes.min(number as usize),
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
            // Of 1, 2, 3, 4, 5 and 6 votes.
            (Need::Any, [1, 1, 1, 1, 1, 1]),
            (Need::Majority, [1, 2, 2, 3, 3, 4]),
            (Need::All, [1, 2, 3, 4, 5, 6]),
            (Need::AtLeast(1), [1, 1, 1, 1, 1, 1]),
            (Need::AtLeast(3), [1, 2, 3, 3, 3, 3]),
            (Need::AtLeast(MAX_NEEDED), [1, 2, 3, 4, 5, 6]),
        ] {
            for (votes, enough) in (1..).zip(enough_of) {
                let found = (0..=votes).find(|down| need.is_met(*down, votes));
                assert_eq!(found, Some(enough), "{need:?} of {votes}");
            }
            assert!(!need.is_met(0, 0), "{need:?} of nobody");
        }
    }

    fn any_need() -> impl Strategy<Value = Need> {
        prop_oneof![Just(Need::Any), Just(Need::Majority), Just(Need::All), (1..=MAX_NEEDED).prop_map(Need::AtLeast)]
    }

    proptest! {
        #[test]
        fn one_more_vote_for_down_keeps_it_met(need in any_need(), votes in 1usize..200, down in 0usize..200) {
            let down = down.min(votes - 1);
            prop_assert!(need.is_met(down + 1, votes) || !need.is_met(down, votes));
            prop_assert!(!need.is_met(0, votes) && need.is_met(votes, votes), "none is never enough, all always are");
            // A vantage that voted Up and leaves can only help Down.
            prop_assert!(need.is_met(down, votes - 1) || !need.is_met(down, votes));
        }
    }
}
