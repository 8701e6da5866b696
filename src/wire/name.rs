//! Domain names (RFC 1035, 3.1) in wire form. A [`Name`] is absolute, at most 255 octets, and lower-cased, so that
//! comparing bytes compares names (RFC 4343).

use std::borrow::Borrow;
use std::fmt;

/// Longest name in wire form (RFC 1035, 2.3.4).
pub const MAX_NAME: usize = 255;
/// Longest label (RFC 1035, 2.3.4).
pub const MAX_LABEL: usize = 63;

/// An absolute, lower-cased domain name in uncompressed wire form, its root label included.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

/// Why a text is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// A label of more than 63 octets.
    LongLabel,
    /// More than 255 octets in wire form.
    LongName,
    /// A backslash that neither three digits up to 255 nor a character follows.
    BadEscape,
}

impl Name {
    /// The root, `.`.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// From uncompressed wire form; `None` when the bytes are not exactly one name.
    pub fn from_wire(wire: &[u8]) -> Option<Name> {
        let mut at = 0;
        loop {
            let len = usize::from(*wire.get(at)?);
            if len > MAX_LABEL {
                return None;
            }
            at += len + 1;
            if len == 0 {
                break;
            }
        }
        (at == wire.len() && at <= MAX_NAME).then(|| Name(wire.to_ascii_lowercase().into()))
    }

    /// From presentation form (RFC 1035, 5.1): `\.` and `\DDD` escapes; a missing final dot is added.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        Name::parse_under(text, &Name::root())
    }

    /// As [`Name::parse`], but a text without a final dot is relative to `origin`; `@` is the origin itself.
    pub fn parse_under(text: &str, origin: &Name) -> Result<Name, NameError> {
        let mut wire = Name::wire_under(text, &origin.0)?;
        wire.make_ascii_lowercase();
        Ok(Name(wire.into()))
    }

    /// As [`Name::parse_under`], in wire form and with upper and lower case as they are written. `origin` is a name in
    /// wire form as well.
    pub fn wire_under(text: &str, origin: &[u8]) -> Result<Vec<u8>, NameError> {
        if text == "@" {
            return Ok(origin.to_vec());
        }
        let mut wire = Vec::with_capacity(text.len() + 1 + origin.len());
        let absolute = push_labels(text, &mut wire)?;
        wire.extend_from_slice(if absolute { &[0] } else { origin });
        if wire.len() > MAX_NAME {
            return Err(NameError::LongName);
        }
        Ok(wire)
    }

    /// Uncompressed wire form, lower case, ends with the root label.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from the left, the root label left out.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&len, after) = rest.split_first()?;
            let (label, next) = after.split_at(usize::from(len));
            rest = next;
            (len > 0).then_some(label)
        })
    }

    /// The name without its leftmost label; `None` of the root.
    pub fn parent(&self) -> Option<Name> {
        let len = usize::from(self.0[0]);
        (len > 0).then(|| Name(self.0[len + 1..].into()))
    }

    /// The wire form of the name and of every name above it, the root last.
    pub fn upwards(&self) -> impl Iterator<Item = &[u8]> {
        let mut next = Some(&self.0[..]);
        std::iter::from_fn(move || {
            let wire = next?;
            next = if wire[0] == 0 { None } else { wire.get(usize::from(wire[0]) + 1..) };
            Some(wire)
        })
    }

    /// Whether this is `apex` or a name below it.
    pub fn is_within(&self, apex: &Name) -> bool {
        let mut rest = &self.0[..];
        while rest.len() > apex.0.len() {
            rest = &rest[usize::from(rest[0]) + 1..];
        }
        rest == &apex.0[..]
    }

    /// Whether the leftmost label is `*` (RFC 4592).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }
}

/// Adds the labels of `text` to `wire`, without the root label. Returns whether the text ended with a dot.
fn push_labels(text: &str, wire: &mut Vec<u8>) -> Result<bool, NameError> {
    if text == "." {
        return Ok(true);
    }
    let bytes = text.as_bytes();
    let (mut at, mut head) = (0, wire.len());
    // The length of a label comes before it and is known after it.
    wire.push(0);
    loop {
        match bytes.get(at) {
            None | Some(b'.') => {
                let len = wire.len() - head - 1;
                if len == 0 {
                    return Err(NameError::EmptyLabel);
                }
                if len > MAX_LABEL {
                    return Err(NameError::LongLabel);
                }
                wire[head] = len as u8;
                at += 1;
                if at >= bytes.len() {
                    return Ok(at == bytes.len());
                }
                head = wire.len();
                wire.push(0);
            }
            Some(b'\\') => {
                let (byte, width) = unescape(&bytes[at + 1..])?;
                wire.push(byte);
                at += 1 + width;
            }
            Some(&byte) => {
                wire.push(byte);
                at += 1;
            }
        }
    }
}

/// The byte that an escape stands for, and how many characters it took after the backslash.
fn unescape(after: &[u8]) -> Result<(u8, usize), NameError> {
    match after {
        [a, b, c, ..] if a.is_ascii_digit() => {
            let digits = [a, b, c].map(|d| u32::from(d.wrapping_sub(b'0')));
            let value = digits[0] * 100 + digits[1] * 10 + digits[2];
            let valid = digits.iter().all(|&d| d < 10) && value < 256;
            if valid { Ok((value as u8, 3)) } else { Err(NameError::BadEscape) }
        }
        [a, ..] if !a.is_ascii_digit() => Ok((*a, 1)),
        _ => Err(NameError::BadEscape),
    }
}

/// Equal and hashed as its wire form, so that maps can be searched by wire form.
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    /// Presentation form with a final dot; bytes that would mislead a reader are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(byte))?,
                    0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::EmptyLabel => "a label is empty: write single dots, and none at the start",
            NameError::LongLabel => "a label is longer than 63 octets",
            NameError::LongName => "the name is longer than 255 octets",
            NameError::BadEscape => "a backslash must be followed by three digits up to 255 or by one character",
        })
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presentation_form_goes_both_ways() {
        for (text, shown) in
            [("www.Example.", "www.example."), ("a\\.b.c", "a\\.b.c."), ("\\000x.", "\\000x."), (".", ".")]
        {
            assert_eq!(Name::parse(text).map(|n| n.to_string()), Ok(shown.to_string()));
        }
    }

    #[test]
    fn bad_names_say_why() {
        for (text, why) in [
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("", NameError::EmptyLabel),
            ("a\\25", NameError::BadEscape),
            ("a\\256.", NameError::BadEscape),
            (&"x".repeat(64), NameError::LongLabel),
            (&"abcdefg.".repeat(32), NameError::LongName),
        ] {
            assert_eq!(Name::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_relative_name_hangs_under_its_origin() {
        let origin = Name::parse("svc.example.").unwrap();
        assert_eq!(Name::parse_under("www", &origin).unwrap().to_string(), "www.svc.example.");
        assert_eq!(Name::parse_under("@", &origin).unwrap(), origin);
        assert!(Name::parse("a.svc.example").unwrap().is_within(&origin));
        assert!(!Name::parse("asvc.example").unwrap().is_within(&origin));
        assert!(origin.is_within(&Name::root()));
        assert_eq!(Name::wire_under("a\\.B", origin.as_wire()).unwrap(), b"\x03a.B\x03svc\x07example\x00");
        assert_eq!(origin.upwards().collect::<Vec<_>>(), [&b"\x03svc\x07example\x00"[..], b"\x07example\x00", b"\x00"]);
    }
}
