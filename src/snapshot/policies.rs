//! The cells of every policy, in small chunks that snapshots share. A change copies the chunks of the policies that it
//! affects and one pointer for each other chunk, however many policies there are.

use std::sync::Arc;

use crate::model::{Facet, PolicyId};
use crate::snapshot::classes::ClassTables;
use crate::snapshot::{Cell, LocalClass};

/// The cells of one policy, by facet.
pub(crate) type PolicyCells = [FacetCells];

/// The cells of one facet of a policy.
#[derive(Debug, Clone)]
pub(crate) struct FacetCells {
    pub(crate) facet: Facet,
    /// By [`LocalClass`]; one alone holds for all of them. Never empty.
    pub(crate) cells: Box<[Arc<Cell>]>,
    /// From a client's address to its class, or the first one that differs only by reach and is answered like it.
    /// `None` where one cell is for all.
    pub(crate) tables: Option<Arc<ClassTables>>,
}

impl FacetCells {
    /// Each cell with the class it is for; `None` where one holds for all classes.
    pub(crate) fn by_class(&self) -> impl Iterator<Item = (Option<LocalClass>, &Cell)> {
        let is_one = self.cells.len() == 1;
        self.cells.iter().enumerate().map(move |(at, cell)| ((!is_one).then_some(LocalClass(at as u16)), &**cell))
    }

    /// The cell for clients of `class`.
    pub(crate) fn cell(&self, class: LocalClass) -> Option<&Arc<Cell>> {
        self.cells.get(usize::from(class.0)).or(self.cells.first())
    }

    /// Whether it holds these cells, not merely equal ones.
    pub(crate) fn has(&self, cells: &[Arc<Cell>]) -> bool {
        let mut pairs = self.cells.iter().zip(cells);
        self.cells.len() == cells.len() && pairs.all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// Policies in one chunk. A change of t policies among n copies n/CHUNK pointers and t chunks: 16 is near the least for
/// the 300 names that one endpoint of a thousand has among 100,000.
pub(crate) const CHUNK: usize = 16;

type Chunk = Vec<Arc<PolicyCells>>;

/// The cells of every policy, by [`PolicyId`].
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyTable {
    chunks: Vec<Arc<Chunk>>,
}

impl PolicyTable {
    /// The cells of a policy; `None` when it is of another model.
    pub(crate) fn get(&self, policy: PolicyId) -> Option<&Arc<PolicyCells>> {
        let at = policy.0 as usize;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// Replaces the cells of a policy; other snapshots do not change.
    pub(crate) fn replace(&mut self, policy: PolicyId, cells: Arc<PolicyCells>) {
        let at = policy.0 as usize;
        let chunk = self.chunks.get_mut(at / CHUNK).map(Arc::make_mut);
        if let Some(place) = chunk.and_then(|chunk| chunk.get_mut(at % CHUNK)) {
            *place = cells;
        }
    }

    /// The policies whose cells are others than in `before`, a table of the same model. Equal cells can count as
    /// others.
    pub(crate) fn changed_since(&self, before: &PolicyTable) -> Vec<PolicyId> {
        let mut changed = Vec::new();
        let chunks = self.chunks.iter().zip(&before.chunks).enumerate();
        for (at, (new, old)) in chunks.filter(|(_, (new, old))| !Arc::ptr_eq(new, old)) {
            let others = new.iter().zip(&**old).enumerate().filter(|(_, (new, old))| !Arc::ptr_eq(new, old));
            changed.extend(others.map(|(within, _)| PolicyId((at * CHUNK + within) as u32)));
        }
        changed
    }

    /// Whether `before`, a table of the same model, has the same cells, and not merely equal ones.
    pub(crate) fn is_same(&self, before: &PolicyTable) -> bool {
        let mut pairs = self.chunks.iter().zip(&before.chunks);
        self.chunks.len() == before.chunks.len() && pairs.all(|(new, old)| Arc::ptr_eq(new, old))
    }

    /// All, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<PolicyCells>> {
        self.chunks.iter().flat_map(|chunk| &**chunk)
    }
}

impl FromIterator<Arc<PolicyCells>> for PolicyTable {
    fn from_iter<I: IntoIterator<Item = Arc<PolicyCells>>>(all: I) -> PolicyTable {
        let (mut chunks, mut all) = (Vec::new(), all.into_iter().peekable());
        while all.peek().is_some() {
            chunks.push(Arc::new(all.by_ref().take(CHUNK).collect()));
        }
        PolicyTable { chunks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_leaves_the_other_chunks_and_policies_shared() {
        let cells = || -> Arc<PolicyCells> { Arc::new([]) };
        let before: PolicyTable = (0..3 * CHUNK + 1).map(|_| cells()).collect();
        let mut after = before.clone();
        let (changed, other) = (PolicyId(CHUNK as u32 + 3), cells());
        after.replace(changed, other.clone());
        after.replace(PolicyId(4 * CHUNK as u32), other.clone());
        let shared: Vec<bool> = before.chunks.iter().zip(&after.chunks).map(|(b, a)| Arc::ptr_eq(b, a)).collect();
        assert_eq!(shared, [true, false, true, true], "no such policy: nothing happens");
        assert_eq!((after.changed_since(&before), before.changed_since(&before)), (vec![changed], vec![]));
        assert!(after.get(changed).is_some_and(|cells| Arc::ptr_eq(cells, &other)));
        let same = before.iter().zip(after.iter()).filter(|(before, after)| Arc::ptr_eq(before, after));
        assert_eq!((same.count(), after.iter().count()), (3 * CHUNK, 3 * CHUNK + 1));
    }
}
