//! The client that a decision is for. All code of `steering` reads it through [`ClientReader`], which notes whether
//! anything was read: only then the decision depends on the client.

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

    /// Whether anything was read. Then the decision may be another one for other clients.
    pub(super) fn was_read(&self) -> bool {
        self.was_read.get()
    }

    /// Counts as a read of the client if `was_read`: for a result of [`ClientReader::apart`] that was used, or
    /// something else that depends on the client.
    pub(super) fn count(&self, was_read: bool) {
        self.was_read.set(self.was_read.get() || was_read);
    }

    /// Runs `part`. Returns its result, and whether it read the client. The read does not count, unless the caller
    /// passes it to [`ClientReader::count`].
    pub(super) fn apart<T>(&self, part: impl FnOnce() -> T) -> (T, bool) {
        let before = self.was_read.replace(false);
        let result = part();
        (result, self.was_read.replace(before))
    }
}
