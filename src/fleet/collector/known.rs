//! The checks that a server wants reports for, by their hashes.

use std::ops::Range;
use std::sync::Arc;

use crate::fleet::message::CheckHash;
use crate::model::CheckKey;

/// The checks, sorted by hash. Several keys may have one hash.
#[derive(Debug, Default)]
pub(super) struct KnownChecks(Vec<(CheckHash, Arc<CheckKey>)>);

/// What is new in a set of checks; of several things the last of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    /// Nothing.
    Nothing,
    /// Checks with hashes that were not known.
    Checks,
    /// A key with a hash that was known.
    Keys,
}

impl KnownChecks {
    pub(super) fn new(mut checks: Vec<(CheckHash, Arc<CheckKey>)>) -> KnownChecks {
        checks.sort_by_key(|(hash, _)| *hash);
        KnownChecks(checks)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&(CheckHash, Arc<CheckKey>)> {
        self.0.get(at)
    }

    /// The positions of the checks from `first` to `last`.
    pub(super) fn range(&self, first: CheckHash, last: CheckHash) -> Range<usize> {
        let start = self.0.partition_point(|(hash, _)| *hash < first);
        start..self.0.partition_point(|(hash, _)| *hash <= last).max(start)
    }

    /// The positions of the checks with this hash, where `from` is a position that is not after them. Fast if they are
    /// near `from`. Empty, at the position where they would be, if there are none.
    pub(super) fn run(&self, hash: CheckHash, from: usize) -> Range<usize> {
        let rest = self.0.get(from..).unwrap_or_default();
        let mut reach = 1;
        while rest.get(reach - 1).is_some_and(|(known, _)| *known < hash) {
            reach *= 2;
        }
        let near = rest.get(reach / 2..reach.min(rest.len())).unwrap_or_default();
        let start = from + reach / 2 + near.partition_point(|(known, _)| *known < hash);
        let same = self.0.get(start..).unwrap_or_default().iter().take_while(|(known, _)| *known == hash);
        start..start + same.count()
    }

    pub(super) fn news_since(&self, before: &KnownChecks) -> News {
        let news_of = |(hash, key): &(CheckHash, Arc<CheckKey>)| {
            let old = before.0.get(before.range(*hash, *hash)).unwrap_or_default();
            match old {
                [] => News::Checks,
                old if old.iter().any(|(_, known)| Arc::ptr_eq(known, key) || known == key) => News::Nothing,
                [..] => News::Keys,
            }
        };
        self.0.iter().map(news_of).max().unwrap_or(News::Nothing)
    }

    /// The positions here of the checks of `before`, by their positions there.
    pub(super) fn positions_from(&self, before: &KnownChecks) -> Vec<Range<usize>> {
        before.0.iter().map(|(hash, _)| self.range(*hash, *hash)).collect()
    }
}
