//! The client that a decision is for. Whoever reads it does so here, so that whether a decision depends on the client
//! follows from what was read.

use std::cell::Cell;

use crate::model::{ClientClass, RegionId, SelectorId};

/// A client class, and whether anything of it was read.
pub(super) struct ClientReader<'a> {
    class: &'a ClientClass,
    was_read: Cell<bool>,
}

impl<'a> ClientReader<'a> {
    pub(super) fn new(class: &'a ClientClass) -> ClientReader<'a> {
        ClientReader { class, was_read: Cell::new(false) }
    }

    /// The client's region.
    pub(super) fn region(&self) -> Option<RegionId> {
        self.was_read.set(true);
        self.class.region
    }

    /// Whether a selector holds for the client.
    pub(super) fn is_selected(&self, selector: SelectorId) -> bool {
        self.was_read.set(true);
        self.class.is_selected(selector)
    }

    /// Whether anything was read: the decision may be another one for other clients.
    pub(super) fn was_read(&self) -> bool {
        self.was_read.get()
    }

    /// Counts something else that depends on the client as read, where it was used.
    pub(super) fn count(&self, was_used: bool) {
        self.was_read.set(self.was_read.get() || was_used);
    }

    /// What `part` gives, and whether it read the client. That it did does not count yet.
    pub(super) fn apart<T>(&self, part: impl FnOnce() -> T) -> (T, bool) {
        let before = self.was_read.replace(false);
        let result = part();
        (result, self.was_read.replace(before))
    }
}
