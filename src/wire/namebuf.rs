//! A name on the stack: what a packet asked for, or where a chain has led, lower-cased for lookups. Its ancestors are
//! slices of it.

use crate::wire::{MAX_LABEL, MAX_NAME};

/// Room for a name: a whole number of steps.
const ROOM: usize = MAX_NAME.next_multiple_of(STEP);
/// Octets that are copied and folded at once.
const STEP: usize = 16;

/// An absolute, lower-cased name in uncompressed wire form, held without allocating.
#[derive(Clone, Copy)]
pub struct NameBuf {
    /// The octets behind the name are anything.
    bytes: [u8; ROOM],
    len: u8,
}

impl std::fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NameBuf({:?})", self.as_wire().escape_ascii().to_string())
    }
}

impl Default for NameBuf {
    /// The root.
    fn default() -> NameBuf {
        NameBuf { bytes: [0; ROOM], len: 1 }
    }
}

impl NameBuf {
    /// The uncompressed name at the start of `wire`; `None` where there is none, or a pointer, or more than 255 octets.
    pub fn parse(wire: &[u8]) -> Option<NameBuf> {
        let mut name = NameBuf::default();
        name.read(wire)?;
        Some(name)
    }

    /// As [`NameBuf::parse`], in place: a query's name is never moved.
    pub(super) fn read(&mut self, wire: &[u8]) -> Option<()> {
        // The root label is in it, or the name is too long.
        let within = wire.get(..MAX_NAME).unwrap_or(wire);
        let mut at = 0;
        loop {
            let len = usize::from(*within.get(at)?);
            // One comparison for both ends of the range: most labels are neither.
            if len.wrapping_sub(1) >= MAX_LABEL {
                if len > 0 {
                    return None;
                }
                break;
            }
            at += 1 + len;
        }
        let len = at + 1;
        // A length octet is 63 at most, so that folding case never changes one.
        match wire.get(..len.next_multiple_of(STEP)) {
            Some(whole) => {
                for (to, from) in self.bytes.as_chunks_mut::<STEP>().0.iter_mut().zip(whole.as_chunks::<STEP>().0) {
                    *to = from.map(|octet| octet.to_ascii_lowercase());
                }
            }
            None => {
                let bytes = self.bytes.get_mut(..len)?;
                bytes.copy_from_slice(wire.get(..len)?);
                bytes.make_ascii_lowercase();
            }
        }
        self.len = len as u8;
        Some(())
    }

    /// The whole name in wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name without its first label; `None` of the root.
    pub fn parent(&self) -> Option<&[u8]> {
        parent(self.as_wire())
    }

    /// Whether it is `apex` (lower-cased wire form) or below.
    pub fn is_within(&self, apex: &[u8]) -> bool {
        let mut rest = self.as_wire();
        while rest.len() > apex.len() {
            rest = rest.get(1 + usize::from(rest[0])..).unwrap_or_default();
        }
        rest == apex
    }
}

/// A name in wire form without its first label; `None` of the root.
#[inline]
pub fn parent(name: &[u8]) -> Option<&[u8]> {
    name.get(1 + usize::from(*name.first().filter(|len| **len > 0)?)..)
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
        assert_eq!(www.parent(), Some(&b"\x07example\x00"[..]));
        assert_eq!(NameBuf::default().parent(), None);
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
        let most = [&b"\x01a".repeat(127)[..], b"\x00"].concat();
        assert_eq!(NameBuf::parse(&most).map(|name| name.as_wire().to_vec()), Some(most));
    }
}
