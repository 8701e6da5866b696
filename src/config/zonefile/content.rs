//! The text forms of record types that the `domain` crate's scanner doesn't read, or reads otherwise than their RFC has
//! it (SVCB and HTTPS). Pure: words in, content in wire form out. `line` calls it and hands the scanner the octets in the
//! form for unknown types (RFC 3597, 5). Also what no octets can be, though they have the form of their type.

mod binding;
mod limits;
mod location;
mod rare;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use domain::base::Rtype;
use domain::base::iana::SecurityAlgorithm;
use domain::utils::base64;

pub(super) use limits::{FOR_MESSAGES, fault, is_for_messages};

/// Content that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Which word of the content, from 0; past the last where one is missing.
    pub(super) at: usize,
    /// What is wrong, in the scanner's words.
    pub(super) reason: &'static str,
}

/// A word is missing.
pub(super) const TOO_FEW: &str = "unexpected end of entry";
/// A word is left over.
pub(super) const TOO_MANY: &str = "trailing tokens";

/// The content in wire form of a record of type `rtype` (upper case) that is written as `words`, quotes included; `None`
/// where the scanner reads it. `origin`, in wire form, is what relative names are under.
pub(super) fn octets(rtype: &str, words: &[&[u8]], origin: &[u8]) -> Option<Result<Vec<u8>, Wrong>> {
    if words.first() == Some(&b"\\#".as_slice()) {
        return None;
    }
    let mut words = Words { words, at: 0 };
    let words = &mut words;
    let read = match rtype {
        "AMTRELAY" => rare::relay(words, origin),
        "APL" => prefixes(words),
        "CERT" => certificate(words),
        "CSYNC" => child_sync(words),
        "DSYNC" => rare::notifications(words, origin),
        "EID" | "NIMLOC" => rare::digits(words),
        "EUI48" => eui(words, 6),
        "EUI64" => eui(words, 8),
        "GPOS" => rare::position(words),
        "HIP" => rare::host_identity(words, origin),
        "HTTPS" | "SVCB" => binding::binding(words, origin),
        "ISDN" => rare::address(words, 2),
        "L32" => locator32(words),
        "L64" | "NID" => locator64(words),
        "LOC" => location::location(words),
        "NSAP" => rare::nsap(words),
        "NSAP-PTR" => rare::pointer(words, origin),
        "PX" => rare::mapping(words, origin),
        "URI" => uri(words),
        "X25" => rare::address(words, 1),
        _ => return None,
    };
    Some(read.and_then(|octets| words.end().map(|()| octets)))
}

/// The number of a type whose name the scanner doesn't know.
pub(super) fn number_of(rtype: &str) -> Option<u16> {
    // RFC 1348; the scanner has it without its hyphen.
    (rtype == "NSAP-PTR").then_some(23)
}

/// The words of a content, read from the left.
struct Words<'a> {
    words: &'a [&'a [u8]],
    at: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a [u8]> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> Result<&'a [u8], Wrong> {
        let word = self.peek().ok_or(Wrong { at: self.at, reason: TOO_FEW })?;
        self.at += 1;
        Ok(word)
    }

    /// What is wrong with the word that was read last.
    fn wrong(&self, reason: &'static str) -> Wrong {
        Wrong { at: self.at.saturating_sub(1), reason }
    }

    /// The next word, as `read` takes it.
    fn read<T>(&mut self, expected: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, Wrong> {
        let word = self.next()?;
        std::str::from_utf8(word).ok().and_then(read).ok_or(self.wrong(expected))
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Wrong> {
        self.read("expected decimal number", |word| {
            word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
        })
    }

    fn end(&mut self) -> Result<(), Wrong> {
        match self.peek() {
            Some(_) => Err(Wrong { at: self.at, reason: TOO_MANY }),
            None => Ok(()),
        }
    }
}

/// RFC 7553, 4.2: priority, weight, and the target in quotes.
fn uri(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    let (priority, weight) = (words.number::<u16>()?, words.number::<u16>()?);
    let target = words.next()?;
    let inner = target.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).filter(|inner| !inner.is_empty());
    let text = inner.and_then(unescaped).ok_or(words.wrong("expected a URI in quotes"))?;
    Ok([&priority.to_be_bytes(), &weight.to_be_bytes(), text.as_slice()].concat())
}

/// The number of a key's algorithm by its name in upper case (RFC 4034, A.1).
pub(super) fn algorithm(name: &str) -> Option<u8> {
    SecurityAlgorithm::from_mnemonic(name.as_bytes()).map(SecurityAlgorithm::to_int)
}

/// The octets of a word, whose quotes, if it has them, aren't a part of it.
pub(super) fn text_of(word: &[u8]) -> Option<Vec<u8>> {
    unescaped(word.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(word))
}

/// The octets that a text stands for, its quotes taken off (RFC 1035, 5.1).
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let (mut octets, mut rest) = (Vec::new(), text);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            octets.push(byte);
            continue;
        }
        let (&escaped, after) = rest.split_first()?;
        if !escaped.is_ascii_digit() {
            octets.push(escaped);
            rest = after;
            continue;
        }
        let (digits, after) = rest.split_at_checked(3)?;
        octets.push(std::str::from_utf8(digits).ok()?.parse().ok()?);
        rest = after;
    }
    Some(octets)
}

/// RFC 4398, 2.2: type, key tag, algorithm, and the certificate in Base64.
fn certificate(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    const TYPES: [(&str, u16); 10] = [
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ];
    let kind = words.read("expected a certificate type, such as PKIX or 1", |word| {
        let named = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        named.map(|(_, number)| *number).or_else(|| word.parse().ok())
    })?;
    let tag = words.number::<u16>()?;
    let algorithm = words.read("expected an algorithm, such as ED25519 or 15", |word| {
        algorithm(&word.to_ascii_uppercase()).or_else(|| word.parse().ok())
    })?;
    let mut text = String::new();
    loop {
        text.push_str(&words.read("expected Base64", |word| Some(word.to_owned()))?);
        if words.peek().is_none() {
            break;
        }
    }
    let octets: Vec<u8> = base64::decode(&text).map_err(|_| words.wrong("expected Base64"))?;
    let [kind_hi, kind_lo] = kind.to_be_bytes();
    let [tag_hi, tag_lo] = tag.to_be_bytes();
    Ok([&[kind_hi, kind_lo, tag_hi, tag_lo, algorithm], octets.as_slice()].concat())
}

/// RFC 7477, 2.1.2: serial, flags, and the types that are to be copied.
fn child_sync(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    let (serial, flags) = (words.number::<u32>()?, words.number::<u16>()?);
    let mut types = Vec::new();
    while words.peek().is_some() {
        types
            .push(words.read("expected a record type", |word| word.parse::<Rtype>().ok().map(|rtype| rtype.to_int()))?);
    }
    types.sort_unstable();
    Ok([serial.to_be_bytes().as_slice(), &flags.to_be_bytes(), &bitmap(&types)].concat())
}

/// A type bit map (RFC 4034, 4.1.2) of types in rising order.
fn bitmap(types: &[u16]) -> Vec<u8> {
    let mut octets = Vec::new();
    for window in types.chunk_by(|one, other| one >> 8 == other >> 8) {
        let mut bits = [0u8; 32];
        for rtype in window {
            bits[usize::from(rtype & 0xFF) / 8] |= 0x80 >> (rtype & 7);
        }
        let len = 1 + usize::from(window.last().map_or(0, |last| last & 0xFF)) / 8;
        octets.extend([(window[0] >> 8) as u8, len as u8]);
        octets.extend_from_slice(&bits[..len]);
    }
    octets
}

/// RFC 7043, 3.2 and 4.2: two hexadecimal digits an octet, hyphens between them.
fn eui(words: &mut Words<'_>, len: usize) -> Result<Vec<u8>, Wrong> {
    words.read("expected octets in hexadecimal, such as 00-00-5e-00-53-2a", |word| {
        let octets: Option<Vec<u8>> = word.split('-').map(|octet| hexadecimal(octet, 2).map(|n| n as u8)).collect();
        octets.filter(|octets| octets.len() == len && word.len() == 3 * len - 1)
    })
}

/// A number of 1 to `most` hexadecimal digits.
fn hexadecimal(text: &str, most: usize) -> Option<u16> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

/// RFC 6742, 2.2.3: preference, and a locator that looks like an IPv4 address.
fn locator32(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    let preference = words.number::<u16>()?;
    let locator: Ipv4Addr = words.read("expected IPv4 address", |word| word.parse().ok())?;
    Ok([preference.to_be_bytes().as_slice(), &locator.octets()].concat())
}

/// RFC 6742, 2.1.3 and 2.3.3: preference, and four groups of hexadecimal digits.
fn locator64(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    let preference = words.number::<u16>()?;
    let groups = words.read("expected four groups of hexadecimal digits, such as 0014:4fff:ff20:ee64", |word| {
        let groups: Option<Vec<u16>> = word.split(':').map(|group| hexadecimal(group, 4)).collect();
        groups.filter(|groups| groups.len() == 4)
    })?;
    Ok(std::iter::once(preference).chain(groups).flat_map(u16::to_be_bytes).collect())
}

/// RFC 3123, 5: prefixes as `[!]FAMILY:ADDRESS/LENGTH`, or none.
fn prefixes(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    let mut octets = Vec::new();
    while words.peek().is_some() {
        octets.extend(words.read("expected a prefix, such as 1:192.0.2.0/24 or !2:2001:db8::/32", prefix)?);
    }
    Ok(octets)
}

fn prefix(word: &str) -> Option<Vec<u8>> {
    let (negated, plain) = word.strip_prefix('!').map_or((0, word), |plain| (0x80, plain));
    let (family, prefix) = plain.split_once(':')?;
    let (address, length) = prefix.split_once('/')?;
    let mut address = match family {
        "1" => address.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        "2" => address.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        _ => return None,
    };
    let length: u8 = length.parse().ok().filter(|length| usize::from(*length) <= 8 * address.len())?;
    // RFC 3123, 4: zeros at the end are left out.
    while address.last() == Some(&0) {
        address.pop();
    }
    let family: u8 = family.parse().ok()?;
    Some([&[0, family, length, negated | address.len() as u8], address.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, Wrong> {
        let mut words = text.split(' ').map(str::as_bytes);
        let rtype = std::str::from_utf8(words.next().unwrap()).unwrap();
        octets(rtype, &words.collect::<Vec<_>>(), b"\x06origin\x00").unwrap()
    }

    fn hex(text: &str) -> String {
        read(text)
            .map(|octets| octets.iter().map(|octet| format!("{octet:02x}")).collect())
            .unwrap_or_else(|wrong| format!("{} {}", wrong.at, wrong.reason))
    }

    #[test]
    fn content_is_as_other_servers_write_it() {
        // The octets are what BIND 9.18, Knot 3.2 and NSD 4.6 answer for the same text.
        for (text, octets) in [
            ("URI 10 1 \"ftp://a\\\"\\098/\"", "000a00016674703a2f2f6122622f"),
            ("CERT PKIX 65535 rsasha256 AQID BA==", "0001ffff0801020304"),
            ("CERT 254 0 0 AQ==", "00fe00000001"),
            ("CSYNC 66 3 A NS AAAA", "000000420003000460000008"),
            ("CSYNC 0 0 CAA", "000000000000010140"),
            ("EUI48 00-00-5e-00-53-2A", "00005e00532a"),
            ("EUI64 00-00-5e-ef-10-00-00-2a", "00005eef1000002a"),
            ("L32 10 10.1.2.0", "000a0a010200"),
            ("NID 10 0014:4fff:ff20:ee64", "000a00144fffff20ee64"),
            ("APL 1:192.0.2.0/24 !2:2001:db8::/32", "00011803c000020002208420010db8"),
            ("AMTRELAY 10 1 3 @", "0a83066f726967696e00"),
            ("AMTRELAY 10 0 1 192.0.2.1", "0a01c0000201"),
            ("GPOS -32.6882 116.8652 10.0", "082d33322e36383832083131362e383635320431302e30"),
            ("ISDN \"150862028003217\" 004", "0f31353038363230323830303332313703303034"),
            ("NSAP 0x47.0005", "470005"),
            ("NSAP-PTR a.", "016100"),
            ("PX 10 @ b.", "000a066f726967696e00016200"),
            ("X25 311061700956", "0c333131303631373030393536"),
            ("HIP 2 200100107B1A74DF AQID rvs. @", "08020003200100107b1a74df0102030372767300066f726967696e00"),
            ("DSYNC CDS NOTIFY 5300 a.", "003b0114b4016100"),
        ] {
            assert_eq!(hex(text), octets, "{text}");
        }
        assert_eq!(octets("APL", &[], &[0]), Some(Ok(Vec::new())));
        assert_eq!(octets("URI", &[b"\\#", b"0"], &[0]), None);
        assert_eq!(octets("A", &[b"192.0.2.1"], &[0]), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, at, reason) in [
            ("URI 10 x \"u\"", 1, "expected decimal number"),
            ("URI 10 1 u", 2, "expected a URI in quotes"),
            ("URI 10 1", 2, TOO_FEW),
            ("URI 10 1 \"u\" v", 3, TOO_MANY),
            ("EUI48 00-00-5e-00-53", 0, "expected octets in hexadecimal, such as 00-00-5e-00-53-2a"),
            ("EUI48 0-000-5e-00-53-2a", 0, "expected octets in hexadecimal, such as 00-00-5e-00-53-2a"),
            ("CERT 1 1 1 *", 3, "expected Base64"),
            ("L32 70000 10.1.2.0", 0, "expected decimal number"),
            ("APL 1:192.0.2.0/33", 0, "expected a prefix, such as 1:192.0.2.0/24 or !2:2001:db8::/32"),
        ] {
            assert_eq!(read(text), Err(Wrong { at, reason }), "{text}");
        }
    }
}
