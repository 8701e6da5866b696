//! A hash index from a name's bytes to its node: open addressing, eight octets a slot, so that a lookup reads one cache
//! line of the table and the node itself. Built once, never changed. The keys come from files and not from the network,
//! so a fixed seed is enough.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// An empty slot.
const EMPTY: u32 = u32::MAX;

/// The index. It does not have the names: the caller compares.
#[derive(Debug, Default, Clone)]
pub(super) struct NameIndex {
    slots: Box<[Slot]>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Upper half of the hash, so that other names are seldom compared.
    tag: u32,
    node: u32,
}

/// The hash of a name in lower-case wire form.
pub(crate) fn hash_of(name: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(name);
    hasher.finish()
}

impl NameIndex {
    /// Room for `count` names, at most half full.
    pub(super) fn with_capacity(count: usize) -> NameIndex {
        let size = (count * 2).next_power_of_two().max(2);
        NameIndex { slots: vec![Slot { tag: 0, node: EMPTY }; size].into() }
    }

    /// Adds a node whose name is not in the index yet. There must be room.
    pub(super) fn insert(&mut self, hash: u64, node: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].node != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot { tag: (hash >> 32) as u32, node };
    }

    /// The node of this hash for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        // The table is half empty, so that this ends.
        loop {
            let slot = self.slots[at];
            if slot.node == EMPTY {
                return None;
            }
            if slot.tag == (hash >> 32) as u32 && is_it(slot.node) {
                return Some(slot.node);
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_is_found_and_nothing_else() {
        let names: Vec<Vec<u8>> = (0..1000_u32).map(|n| n.to_string().into_bytes()).collect();
        let mut index = NameIndex::with_capacity(500);
        for (at, name) in names.iter().take(500).enumerate() {
            index.insert(hash_of(name), at as u32);
        }
        for (at, name) in names.iter().enumerate() {
            let found = index.find(hash_of(name), |node| names[node as usize] == *name);
            assert_eq!(found, (at < 500).then_some(at as u32));
        }
        assert_eq!(NameIndex::default().find(1, |_| true), None);
    }
}
