//! The counters that one reply increments: a small set of ids on the stack.

use crate::model::MAX_ANSWERS;

/// Counter ids of the steered records in one reply, each once; at most [`MAX_ANSWERS`], further ones are not counted.
#[derive(Debug, Clone, Copy)]
pub struct Tallies {
    ids: [u32; MAX_ANSWERS],
    len: usize,
    /// For each id in the set the bit of its last six bits: the ids of one name are consecutive, so that nearly always
    /// an id whose bit is set is there.
    bits: u64,
}

impl Default for Tallies {
    fn default() -> Tallies {
        Tallies { ids: [0; MAX_ANSWERS], len: 0, bits: 0 }
    }
}

impl Tallies {
    /// The ids, in the order of their records.
    pub fn as_slice(&self) -> &[u32] {
        &self.ids[..self.len]
    }

    /// Adds `id`, unless it is there already or the set is full.
    pub fn add(&mut self, id: u32) {
        let bit = 1 << (id % u64::BITS);
        let is_new = self.bits & bit == 0 || !self.as_slice().contains(&id);
        if let Some(free) = self.ids.get_mut(self.len).filter(|_| is_new) {
            *free = id;
            self.len += 1;
            self.bits |= bit;
        }
    }

    /// As [`Tallies::add`] for each of these ids, no two of which are equal.
    pub fn add_distinct(&mut self, ids: impl ExactSizeIterator<Item = u32>) {
        if self.len > 0 {
            ids.for_each(|id| self.add(id));
            return;
        }
        self.len = ids.len().min(MAX_ANSWERS);
        for (to, id) in self.ids.iter_mut().zip(ids) {
            *to = id;
            self.bits |= 1 << (id % u64::BITS);
        }
    }
}

impl<'a> IntoIterator for &'a Tallies {
    type Item = &'a u32;
    type IntoIter = std::slice::Iter<'a, u32>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_counts_once_and_the_set_has_a_bound() {
        let mut tallies = Tallies::default();
        for id in (0..100).chain(0..100) {
            tallies.add(id);
        }
        assert_eq!(tallies.as_slice(), (0..MAX_ANSWERS as u32).collect::<Vec<_>>());
        let mut at_once = Tallies::default();
        at_once.add_distinct((0..100_u32).collect::<Vec<_>>().into_iter());
        assert_eq!(at_once.as_slice(), tallies.as_slice());
        let mut more = Tallies::default();
        more.add(3);
        more.add_distinct([5, 3, 69].into_iter());
        more.add(69);
        assert_eq!(more.as_slice(), [3, 5, 69]);
        let mut tallies = Tallies::default();
        for id in [7, 71, 135, 71, 7, 8, 7 + 64 * 1000] {
            tallies.add(id);
        }
        assert_eq!(tallies.as_slice(), [7, 71, 135, 8, 64_007], "ids with the same last bits");
    }
}
