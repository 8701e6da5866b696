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
    /// The uncompressed name at the start of `wire`; `None` where there is none, or a pointer, or more than 255 octets.
    pub fn parse(wire: &[u8]) -> Option<NameBuf> {
        let mut name = NameBuf { bytes: [0; MAX_NAME], len: 0, starts: [0; MAX_LABELS + 1], labels: 0 };
        let (mut at, mut labels) = (0, 0);
        // The root label is in it, or the name is too long.
        let wire = wire.get(..MAX_NAME).unwrap_or(wire);
        loop {
            let len = usize::from(*wire.get(at)?);
            if len > MAX_LABEL {
                return None;
            }
            *name.starts.get_mut(labels)? = at as u8;
            at += 1 + len;
            if len == 0 {
                break;
            }
            labels += 1;
        }
        let bytes = name.bytes.get_mut(..at)?;
        bytes.copy_from_slice(wire.get(..at)?);
        // A length octet is 63 at most, so that folding case never changes one.
        bytes.make_ascii_lowercase();
        (name.len, name.labels) = (at as u8, labels as u8);
        Some(name)
    }

    /// The whole name in wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Where its labels begin, the root's too; zeros behind them.
    pub(super) fn starts(&self) -> &[u8; MAX_LABELS + 1] {
        &self.starts
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
}
