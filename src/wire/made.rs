//! A name that DNAMEs make, one after the other (RFC 6672, 2.3): each keeps labels on the left and replaces the others.

use crate::wire::MAX_NAME;

/// A name in lower-case wire form, whose end can be replaced.
pub struct MadeName {
    octets: [u8; MAX_NAME],
    len: usize,
}

impl MadeName {
    /// A copy of a name in uncompressed wire form, of at most [`MAX_NAME`] octets.
    pub fn of(name: &[u8]) -> MadeName {
        let mut made = MadeName { octets: [0; MAX_NAME], len: 0 };
        made.replace_end(0, name, false);
        made
    }

    /// The whole name in wire form.
    pub fn as_wire(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// All octets that there is room for; those after the name are anything.
    pub fn octets(&self) -> &[u8; MAX_NAME] {
        &self.octets
    }

    /// Puts `end`, a name in uncompressed wire form, behind the first `prefix` octets, which are whole labels. Nothing
    /// changes where the name would be too long. `is_lower`: it has no upper-case letters.
    pub fn replace_end(&mut self, prefix: usize, end: &[u8], is_lower: bool) {
        let Some(to) = self.octets.get_mut(prefix..prefix + end.len()) else { return };
        to.copy_from_slice(end);
        if !is_lower {
            // A length octet is 63 at most, so that folding case never changes one.
            to.make_ascii_lowercase();
        }
        self.len = prefix + end.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Its octets are those of the parts.
        #[test]
        fn each_change_keeps_the_labels_before_it(
            changes in proptest::collection::vec((0..200_usize, proptest::collection::vec(1..20_usize, 0..8)), 1..12),
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
            let mut made = MadeName::of(&first);
            let mut expected = first.to_ascii_lowercase();
            for (keep, lens) in &changes {
                let all = starts(&expected);
                let prefix = all.get(keep % (all.len() + 1)).copied().unwrap_or(expected.len() - 1);
                let end = name(lens);
                made.replace_end(prefix, &end, false);
                if prefix + end.len() <= MAX_NAME {
                    expected.truncate(prefix);
                    expected.extend(end.to_ascii_lowercase());
                }
                proptest::prop_assert_eq!(made.as_wire(), &expected[..]);
            }
        }
    }
}
