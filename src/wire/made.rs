//! A name that DNAMEs make, one after the other (RFC 6672, 2.3): each keeps labels on the left and replaces the others.

use crate::wire::{MAX_LABELS, MAX_NAME, NameBuf};

/// A name in lower-case wire form, whose end can be replaced. Where its labels begin is read when somebody asks for it,
/// and remembered as long as the labels stay, so that a long chain reads no label twice.
pub struct MadeName {
    octets: [u8; MAX_NAME],
    len: usize,
    /// Where the first labels begin: so many are known.
    starts: [u8; MAX_LABELS + 1],
    known: usize,
}

impl MadeName {
    /// A copy of a name in uncompressed wire form, of at most [`MAX_NAME`] octets.
    pub fn of(name: &[u8]) -> MadeName {
        let mut made = MadeName { octets: [0; MAX_NAME], len: 0, starts: [0; MAX_LABELS + 1], known: 0 };
        made.replace_end(0, name);
        made
    }

    /// A copy of a name whose labels are known.
    pub fn of_question(name: &NameBuf) -> MadeName {
        let mut made = MadeName::of(name.as_wire());
        made.starts = *name.starts();
        made.known = name.label_count();
        made
    }

    /// The whole name in wire form.
    pub fn as_wire(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// The name without its `count` leftmost labels, of which [`MadeName::starts_before`] has found the ends.
    pub fn without(&self, count: usize) -> &[u8] {
        let start = self.starts.get(count).filter(|_| count < self.known);
        self.as_wire().get(start.map_or(self.len, |at| usize::from(*at))..).unwrap_or_default()
    }

    /// All octets that there is room for; those after the name are anything.
    pub fn octets(&self) -> &[u8; MAX_NAME] {
        &self.octets
    }

    /// Puts `end`, a name in uncompressed wire form, behind the first `prefix` octets, which are whole labels. Nothing
    /// changes where the name would be too long.
    pub fn replace_end(&mut self, prefix: usize, end: &[u8]) {
        let Some(to) = self.octets.get_mut(prefix..prefix + end.len()) else { return };
        to.copy_from_slice(end);
        // A length octet is 63 at most, so that folding case never changes one.
        to.make_ascii_lowercase();
        self.len = prefix + end.len();
        self.known =
            self.starts.get(..self.known).map_or(0, |starts| starts.partition_point(|at| usize::from(*at) < prefix));
    }

    /// Where the labels in the first `prefix` octets begin, in rising order.
    pub fn starts_before(&mut self, prefix: usize) -> &[u8] {
        let prefix = prefix.min(self.len);
        let last = self.known.checked_sub(1).and_then(|last| self.starts.get(last)).map(|last| usize::from(*last));
        let mut at = last.map_or(0, |last| last + 1 + usize::from(self.octets[last]));
        while let (Some(&len), Some(to)) =
            (self.octets.get(at).filter(|_| at < prefix), self.starts.get_mut(self.known))
        {
            *to = at as u8;
            self.known += 1;
            at += 1 + usize::from(len);
        }
        let starts = self.starts.get(..self.known).unwrap_or_default();
        starts.get(..starts.partition_point(|at| usize::from(*at) < prefix)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Its octets are those of the parts, and its labels those that reading it from its start finds.
        #[test]
        fn labels_are_found_after_each_change(
            changes in proptest::collection::vec((0..200_usize, proptest::collection::vec(1..20_usize, 0..8)), 1..12),
            is_read: u16,
        ) {
            let name = |lens: &[usize]| {
                let labels = lens.iter().flat_map(|len| [&[*len as u8][..], &b"A".repeat(*len)].concat());
                labels.chain([0]).collect::<Vec<u8>>()
            };
            let starts = |name: &[u8]| {
                let mut at = 0;
                std::iter::from_fn(|| {
                    let len = usize::from(*name.get(at).filter(|len| **len > 0)?);
                    at += 1 + len;
                    Some(at - 1 - len)
                }).collect::<Vec<usize>>()
            };
            let first = name(&[3, 1, 2]);
            let mut made = match is_read & 1 {
                0 => MadeName::of(&first),
                _ => MadeName::of_question(&NameBuf::parse(&first).unwrap()),
            };
            let mut expected = first.to_ascii_lowercase();
            for (turn, (keep, lens)) in changes.iter().enumerate() {
                let all = starts(&expected);
                let prefix = all.get(keep % (all.len() + 1)).copied().unwrap_or(expected.len() - 1);
                let end = name(lens);
                made.replace_end(prefix, &end);
                if prefix + end.len() <= MAX_NAME {
                    expected.truncate(prefix);
                    expected.extend(end.to_ascii_lowercase());
                }
                proptest::prop_assert_eq!(made.as_wire(), &expected[..]);
                if is_read >> turn & 2 != 0 {
                    let all = starts(&expected);
                    let before: Vec<u8> = all.iter().filter(|at| **at < prefix).map(|at| *at as u8).collect();
                    proptest::prop_assert_eq!(made.starts_before(prefix), &before[..]);
                }
            }
        }
    }
}
