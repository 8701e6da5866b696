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
        let mut at = 0;
        loop {
            let len = usize::from(*wire.get(at)?);
            let end = at + 1 + len;
            if len > MAX_LABEL || end > MAX_NAME {
                return None;
            }
            *name.starts.get_mut(usize::from(name.labels))? = at as u8;
            for (to, from) in name.bytes.get_mut(at..end)?.iter_mut().zip(wire.get(at..end)?) {
                // A length octet is 63 at most, so that folding case never changes one.
                *to = from.to_ascii_lowercase();
            }
            at = end;
            if len == 0 {
                name.len = at as u8;
                return Some(name);
            }
            name.labels += 1;
        }
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
        self.as_wire()[start..] == *apex
            && self.starts[..=self.label_count()].iter().any(|at| usize::from(*at) == start)
    }

    /// The name with `old_len` octets at its end replaced by `target`, as DNAME does (RFC 6672, 2.2), case folded;
    /// `None` when it would be too long. `old_len` is the length of one of its ancestors.
    pub fn substitute(&self, old_len: usize, target: &[u8]) -> Option<NameBuf> {
        let prefix = self.as_wire().len().checked_sub(old_len)?;
        let mut wire = [0; MAX_NAME];
        wire.get_mut(..prefix)?.copy_from_slice(&self.as_wire()[..prefix]);
        wire.get_mut(prefix..prefix + target.len())?.copy_from_slice(target);
        NameBuf::parse(&wire[..prefix + target.len()])
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
        let made = name("a.b.old.").substitute(5, name("new.example.").as_wire()).unwrap();
        assert_eq!(made.as_wire(), name("a.b.new.example.").as_wire());
        let long = name(&format!("{}.old.", vec!["x".repeat(60); 4].join(".")));
        assert!(long.substitute(5, name("much.longer.example.").as_wire()).is_none());
    }
}
