//! A name on the stack: what a packet asked for, or where a chain has led, lower-cased for lookups. Knows where its
//! labels begin, so that its ancestors are slices of it.

use crate::wire::{MAX_LABEL, MAX_NAME};

/// Most labels of a name, the root's left out: each takes two octets at least.
pub const MAX_LABELS: usize = 127;

/// An absolute, lower-cased name in uncompressed wire form, held without allocating.
#[derive(Clone, Copy)]
pub struct NameBuf {
    bytes: [u8; MAX_NAME],
    len: u8,
    starts: [u8; MAX_LABELS + 1],
    labels: u8,
}

impl std::fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NameBuf({:?})", self.as_wire().escape_ascii().to_string())
    }
}

impl NameBuf {
    /// The root.
    pub fn root() -> NameBuf {
        NameBuf { bytes: [0; MAX_NAME], len: 1, starts: [0; MAX_LABELS + 1], labels: 0 }
    }

    /// The uncompressed name at the start of `wire`; `None` where there is none, or a pointer, or more than 255 octets.
    pub fn parse(wire: &[u8]) -> Option<NameBuf> {
        let mut name = NameBuf::root();
        name.set(wire).then_some(name)
    }

    /// Becomes the uncompressed name at the start of `wire`; false where there is none: then it is the root.
    pub fn set(&mut self, wire: &[u8]) -> bool {
        self.replace_end(usize::from(self.len), wire)
    }

    /// Puts the name at the start of `target` in place of `old_len` octets at the end, as DNAME does (RFC 6672, 2.2),
    /// case folded; false when it would be too long: then it is the root. `old_len` is the length of the name or of one
    /// of its ancestors.
    pub fn replace_end(&mut self, old_len: usize, target: &[u8]) -> bool {
        let replaced = self.try_replace_end(old_len, target);
        if replaced.is_none() {
            *self = NameBuf::root();
        }
        replaced.is_some()
    }

    fn try_replace_end(&mut self, old_len: usize, target: &[u8]) -> Option<()> {
        let prefix = usize::from(self.len).checked_sub(old_len)?;
        let mut labels = self.starts[..self.label_count()].partition_point(|start| usize::from(*start) < prefix);
        let mut at = 0;
        loop {
            let len = usize::from(*target.get(at)?);
            if len > MAX_LABEL || prefix + at + 1 + len > MAX_NAME {
                return None;
            }
            *self.starts.get_mut(labels)? = (prefix + at) as u8;
            at += 1 + len;
            if len == 0 {
                break;
            }
            labels += 1;
        }
        let end = self.bytes.get_mut(prefix..prefix + at)?;
        end.copy_from_slice(target.get(..at)?);
        // A length octet is 63 at most, so that folding case never changes one.
        end.make_ascii_lowercase();
        (self.len, self.labels) = ((prefix + at) as u8, labels as u8);
        Some(())
    }

    /// The whole name in wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// How many labels it has, the root's left out.
    pub fn label_count(&self) -> usize {
        usize::from(self.labels)
    }

    /// The name without its `count` leftmost labels; the root when there aren't so many.
    pub fn without(&self, count: usize) -> &[u8] {
        let start = self.starts[count.min(self.label_count())];
        &self.as_wire()[usize::from(start)..]
    }

    /// Whether it is `apex` (lower-cased wire form) or below.
    pub fn is_within(&self, apex: &[u8]) -> bool {
        let Some(start) = self.as_wire().len().checked_sub(apex.len()) else { return false };
        self.as_wire()[start..] == *apex && self.starts[..=self.label_count()].binary_search(&(start as u8)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Name;

    fn name(text: &str) -> NameBuf {
        NameBuf::parse(Name::parse(text).unwrap().as_wire()).unwrap()
    }

    #[test]
    fn ancestors_are_slices() {
        let www = NameBuf::parse(b"\x03WwW\x07Example\x00trailing").unwrap();
        assert_eq!(www.as_wire(), b"\x03www\x07example\x00");
        assert_eq!(www.without(1), b"\x07example\x00");
        assert_eq!(www.without(2), b"\x00");
        assert_eq!(www.without(9), b"\x00");
    }

    #[test]
    fn within_goes_by_labels() {
        assert!(name("a.example.").is_within(name("example.").as_wire()));
        assert!(name("example.").is_within(name("example.").as_wire()));
        assert!(!name("aexample.").is_within(name("example.").as_wire()));
        assert!(!name("example.").is_within(name("a.example.").as_wire()));
        // The tail looks like a name, but begins inside a label.
        let inside = NameBuf::parse(b"\x09x\x07example\x00").unwrap();
        assert!(!inside.is_within(b"\x07example\x00"));
    }

    #[test]
    fn what_is_no_name_is_none() {
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4);
        for wire in [&b""[..], b"\x03ww", b"\xc0\x0c", b"\x40aaaa\x00", &[long.as_slice(), b"\x00"].concat()] {
            assert!(NameBuf::parse(wire).is_none(), "{wire:?}");
        }
        assert_eq!(NameBuf::parse(&[&b"\x01a".repeat(127)[..], b"\x00"].concat()).map(|n| n.label_count()), Some(127));
    }

    #[test]
    fn a_substitution_is_bounded() {
        let mut made = name("a.b.old.");
        assert!(made.replace_end(5, name("new.example.").as_wire()));
        assert_eq!((made.as_wire(), made.label_count()), (name("a.b.new.example.").as_wire(), 4));
        assert_eq!(made.without(2), name("new.example.").as_wire());
        assert!(made.set(name("b.").as_wire()));
        assert_eq!((made.as_wire(), made.label_count(), made.without(1)), (name("b.").as_wire(), 1, &[0][..]));
        let mut long = name(&format!("{}.old.", vec!["x".repeat(60); 4].join(".")));
        assert!(!long.replace_end(5, name("much.longer.example.").as_wire()));
        assert_eq!((long.as_wire(), long.label_count()), (&[0][..], 0));
    }
}
