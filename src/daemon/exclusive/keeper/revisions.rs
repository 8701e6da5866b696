//! The newest revision of each key of the store of leases, as the watch has read it. Pure.

use std::collections::HashMap;

use crate::fleet::lease::StoredLease;

/// Most keys that are stored while they are of no name of this server, which may get such a name later. Judgment: a
/// fleet has at most a thousand exclusive names.
const MAX_KEYS: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct StoreRevisions(HashMap<String, (u64, StoredLease)>);

impl StoreRevisions {
    /// Takes a revision of a key. `is_own`: it is the key of a name of this server, which is always stored. A removed
    /// key of other names is not: a name that gets it later finds its revision by a conflict, and until then has the
    /// same as a name without a lease.
    pub(super) fn take(&mut self, key: String, revision: u64, content: StoredLease, is_own: bool) {
        if !is_own && content == StoredLease::Nothing {
            self.0.remove(&key);
        } else if is_own || self.0.len() < MAX_KEYS || self.0.contains_key(&key) {
            self.0.insert(key, (revision, content));
        }
    }

    /// The newest revision of a key and its content; 0 where none is known.
    pub(super) fn newest(&self, key: &str) -> (u64, StoredLease) {
        self.0.get(key).cloned().unwrap_or((0, StoredLease::Nothing))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::nats::stored_lease;

    #[test]
    fn keys_of_other_names_leave_room_for_those_of_this_server() {
        let lease = || stored_lease(Some(b"{}"));
        let mut revisions = StoreRevisions::default();
        for number in 1..=MAX_KEYS as u64 + 2 {
            revisions.take(format!("removed-{number}"), number, StoredLease::Nothing, false);
        }
        assert_eq!(revisions.0.len(), 0, "removed keys of other names");
        for number in 1..=MAX_KEYS as u64 + 2 {
            revisions.take(format!("other-{number}"), number, lease(), false);
        }
        assert_eq!(revisions.0.len(), MAX_KEYS);
        revisions.take("www.example.org".to_owned(), 70_000, lease(), true);
        assert_eq!(revisions.newest("www.example.org"), (70_000, lease()));
        revisions.take("www.example.org".to_owned(), 70_001, StoredLease::Nothing, true);
        assert_eq!(revisions.newest("www.example.org"), (70_001, StoredLease::Nothing), "a removed one of its own");
        revisions.take("other-1".to_owned(), 70_002, lease(), false);
        assert_eq!(revisions.newest("other-1"), (70_002, lease()), "a known one follows its revisions");
        revisions.take("other-1".to_owned(), 70_003, StoredLease::Nothing, false);
        assert_eq!(revisions.newest("other-1"), (0, StoredLease::Nothing));
        revisions.clear();
        assert_eq!(revisions.newest("www.example.org"), (0, StoredLease::Nothing));
    }
}
