//! The slot of each check: its place in the columns.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::model::{CheckKey, Model};

/// The place of a check in every column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) fn of(index: usize) -> Slot {
        Slot(index as u32)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// From check to slot and back. The checks of the model come first, in the order of their ids. Clones share the table
/// until one of both changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyTable {
    /// Keys come from our own files, so a fast hash without a secret is enough.
    slots: Arc<HashMap<Arc<CheckKey>, Slot, FixedState>>,
    keys: Arc<Vec<Arc<CheckKey>>>,
}

impl KeyTable {
    /// The checks of a model.
    pub(crate) fn of(model: &Model) -> KeyTable {
        let keys: Vec<Arc<CheckKey>> = model.checks.iter().map(|check| check.key.clone()).collect();
        let slots = keys.iter().enumerate().map(|(index, key)| (key.clone(), Slot::of(index))).collect();
        KeyTable { slots: Arc::new(slots), keys: Arc::new(keys) }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, slot: Slot) -> Option<&Arc<CheckKey>> {
        self.keys.get(slot.index())
    }

    pub(crate) fn slot(&self, key: &CheckKey) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    /// The slot of a check, a new one if it has none.
    pub(crate) fn enter(&mut self, key: &Arc<CheckKey>) -> Slot {
        if let Some(slot) = self.slot(key) {
            return slot;
        }
        let slot = Slot::of(self.keys.len());
        Arc::make_mut(&mut self.keys).push(key.clone());
        Arc::make_mut(&mut self.slots).insert(key.clone(), slot);
        slot
    }
}

/// Finds slots by the address of a key: a key is long to hash, and the sender of a report has the same one each time.
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    /// The key is held, so that no other one gets its address.
    by_address: HashMap<usize, (Slot, Arc<CheckKey>), FixedState>,
}

/// Addresses for each key, and some for few keys: local probers and the collector of remote reports each have a key of
/// their own, and a reload makes new ones. With more the cache begins anew.
const ADDRESSES_PER_KEY: usize = 4;
const LEAST_ADDRESSES: usize = 1024;

impl KeyCache {
    /// The slot of a check, a new one if it has none.
    pub(crate) fn enter(&mut self, table: &mut KeyTable, key: &Arc<CheckKey>) -> Slot {
        let address = Arc::as_ptr(key) as usize;
        if let Some((slot, _)) = self.by_address.get(&address) {
            return *slot;
        }
        let slot = table.enter(key);
        if self.by_address.len() >= LEAST_ADDRESSES.max(ADDRESSES_PER_KEY * table.len()) {
            self.by_address.clear();
        }
        self.by_address.insert(address, (slot, key.clone()));
        slot
    }
}
