//! Finds the entries of a policy file by name. A walk through the whole list for each reference would take a time that
//! grows with the square of the file.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::Hash;

use crate::wire::Name;

/// The positions of the entries of a policy file. Each map is made when it is first needed; the lists must not change
/// after that.
#[derive(Debug, Default)]
pub(super) struct SpecIndex {
    pub(super) endpoints: Positions<String>,
    pub(super) fences: Positions<String>,
    pub(super) monitors: Positions<String>,
    pub(super) pools: Positions<String>,
    pub(super) owners: Positions<Name>,
}

/// The position of the first entry with each key.
#[derive(Debug)]
pub(super) struct Positions<K>(OnceCell<HashMap<K, usize>>);

impl<K> Default for Positions<K> {
    fn default() -> Positions<K> {
        Positions(OnceCell::new())
    }
}

impl<K: Clone + Eq + Hash> Positions<K> {
    /// The first entry of `all` with this key, which must be the same list each time.
    pub(super) fn find<'s, T, Q>(&self, all: &'s [T], key_of: impl Fn(&T) -> &K, key: &Q) -> Option<&'s T>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let positions = self.0.get_or_init(|| {
            // Backwards, so that of equal keys the first one stays.
            all.iter().enumerate().rev().map(|(at, entry)| (key_of(entry).clone(), at)).collect()
        });
        all.get(*positions.get(key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_with_a_key_is_found_and_the_list_is_read_once() {
        type Entry = (String, std::cell::Cell<u32>);
        fn key_of((key, read): &Entry) -> &String {
            read.set(read.get() + 1);
            key
        }
        let all: [Entry; 3] = ["a", "b", "a"].map(|key| (key.to_owned(), std::cell::Cell::default()));
        let positions = Positions::<String>::default();
        for _ in 0..10 {
            assert!(positions.find(&all, key_of, "a").is_some_and(|found| std::ptr::eq(found, &all[0])));
            assert_eq!(positions.find(&all, key_of, "c"), None);
        }
        assert!(all.iter().all(|(_, read)| read.get() == 1));
    }
}
