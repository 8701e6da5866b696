//! What was drawn from a cell.

use crate::model::MAX_ANSWERS;

/// Records drawn from a cell, in the order they go into the reply.
#[derive(Debug, Clone, Copy)]
pub struct Picks {
    indexes: [u16; MAX_ANSWERS],
    len: usize,
}

impl std::ops::Deref for Picks {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.indexes[..self.len]
    }
}

impl Default for Picks {
    /// None.
    fn default() -> Picks {
        Picks { indexes: [0; MAX_ANSWERS], len: 0 }
    }
}

impl Picks {
    /// Adds an index, if there is room.
    pub(super) fn push(&mut self, index: u16) {
        if self.len < MAX_ANSWERS {
            self.indexes[self.len] = index;
            self.len += 1;
        }
    }

    /// Adds indexes while there is room, and returns how many.
    pub(super) fn extend(&mut self, indexes: impl ExactSizeIterator<Item = u16>) -> usize {
        let free = &mut self.indexes[self.len..];
        let count = indexes.len().min(free.len());
        free.iter_mut().zip(indexes).for_each(|(to, index)| *to = index);
        self.len += count;
        count
    }
}
