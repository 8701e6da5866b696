//! The views of all checks, in small chunks that world views share: a change copies the chunks of the checks that it
//! affects and one pointer for each other chunk, however many checks there are.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use crate::model::CheckView;

/// Checks in one chunk. Judgment: copying a chunk and comparing its checks takes about as long as copying the pointers
/// of 10,000 checks in chunks of this size.
pub const CHUNK: usize = 64;

/// The view of each check, by [`CheckId`](crate::model::CheckId).
#[derive(Debug, Clone, Default)]
pub struct CheckTable {
    /// All but the last are full.
    chunks: Vec<Arc<Vec<CheckView>>>,
}

impl CheckTable {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The view of a check; `None` where it is of another model.
    pub fn get(&self, check: usize) -> Option<&CheckView> {
        self.chunks.get(check / CHUNK)?.get(check % CHUNK)
    }

    /// Adds one after the last.
    pub fn push(&mut self, view: CheckView) {
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => Arc::make_mut(last).push(view),
            None => self.chunks.push(Arc::new(vec![view])),
        }
    }

    /// All, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &CheckView> {
        self.chunks.iter().flat_map(|chunk| &**chunk)
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut CheckView> {
        self.chunks.iter_mut().flat_map(Arc::make_mut)
    }

    /// The checks that may be others than in `before`, a table of the same model: each with its view before and now.
    /// Equal ones can be among them.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a CheckTable,
    ) -> impl Iterator<Item = (usize, &'a CheckView, &'a CheckView)> {
        let chunks = before.chunks.iter().zip(&self.chunks).enumerate();
        chunks.filter(|(_, (old, new))| !Arc::ptr_eq(old, new)).flat_map(|(at, (old, new))| {
            old.iter().zip(&**new).enumerate().map(move |(within, (old, new))| (at * CHUNK + within, old, new))
        })
    }
}

impl Index<usize> for CheckTable {
    type Output = CheckView;

    /// Panics when the check is of another model.
    fn index(&self, check: usize) -> &CheckView {
        &self.chunks[check / CHUNK][check % CHUNK]
    }
}

impl IndexMut<usize> for CheckTable {
    /// Panics when the check is of another model. Other tables do not change.
    fn index_mut(&mut self, check: usize) -> &mut CheckView {
        &mut Arc::make_mut(&mut self.chunks[check / CHUNK])[check % CHUNK]
    }
}

impl FromIterator<CheckView> for CheckTable {
    fn from_iter<I: IntoIterator<Item = CheckView>>(all: I) -> CheckTable {
        let mut table = CheckTable::default();
        all.into_iter().for_each(|view| table.push(view));
        table
    }
}

impl From<Vec<CheckView>> for CheckTable {
    fn from(all: Vec<CheckView>) -> CheckTable {
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Health;

    #[test]
    fn a_change_copies_the_chunk_of_its_check() {
        let before: CheckTable = vec![CheckView::default(); 2 * CHUNK + 1].into();
        let mut after = before.clone();
        assert_eq!((after.len(), after.changed_since(&before).count()), (2 * CHUNK + 1, 0));
        after[CHUNK + 3].health = Health::Down;
        let changed: Vec<usize> = after.changed_since(&before).map(|(check, ..)| check).collect();
        assert_eq!(changed, (CHUNK..2 * CHUNK).collect::<Vec<_>>());
        let healths = [&before, &after].map(|table| table.get(CHUNK + 3).map(|view| view.health));
        assert_eq!(healths, [Some(Health::Unknown), Some(Health::Down)]);
        after.push(CheckView::default());
        assert_eq!((after.len(), after.iter().count(), before.len()), (2 * CHUNK + 2, 2 * CHUNK + 2, 2 * CHUNK + 1));
        assert!(after.get(2 * CHUNK + 2).is_none());
    }
}
