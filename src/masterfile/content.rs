//! The text forms of record types that the scanner of the `domain` crate can't read, or reads differently from their
//! RFC (SVCB and HTTPS). The fields of a record's content become its wire form. `line` passes that on to the scanner
//! in the form for unknown types (RFC 3597, 5). `limits` finds content that is well-formed but invalid. Pure.

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
    /// Which field of the content, from 0; after the last if one is missing.
    pub(super) at: usize,
    /// What is wrong: one of the scanner's reasons, or one that `explain` prints.
    pub(super) reason: &'static str,
}

/// A field is missing.
pub(super) const TOO_FEW: &str = "unexpected end of entry";
/// There is a field too many.
pub(super) const TOO_MANY: &str = "trailing tokens";

/// The content of a record in wire form. `rtype` is in upper case, `fields` have their quotes, and relative names are
/// under `origin`, which is in wire form. `None` if the scanner reads this type itself.
pub(super) fn octets(rtype: &str, fields: &[&[u8]], origin: &[u8]) -> Option<Result<Vec<u8>, Wrong>> {
    if fields.first() == Some(&b"\\#".as_slice()) {
        return None;
    }
    let mut fields = ContentFields { fields, at: 0 };
    let fields = &mut fields;
    let read = match rtype {
        "AMTRELAY" => rare::relay(fields, origin),
        "APL" => prefixes(fields),
        "CERT" => certificate(fields),
        "CSYNC" => child_sync(fields),
        "DSYNC" => rare::notifications(fields, origin),
        "EID" | "NIMLOC" => rare::digits(fields),
        "EUI48" => eui(fields, 6),
        "EUI64" => eui(fields, 8),
        "GPOS" => rare::position(fields),
        "HIP" => rare::host_identity(fields, origin),
        "HTTPS" | "SVCB" => binding::binding(fields, origin),
        "ISDN" => rare::address(fields, 2),
        "L32" => locator32(fields),
        "L64" | "NID" => locator64(fields),
        "LOC" => location::location(fields),
        "NSAP" => rare::nsap(fields),
        "NSAP-PTR" => rare::name(fields, origin),
        "PX" => rare::mapping(fields, origin),
        "URI" => uri(fields),
        "X25" => rare::address(fields, 1),
        _ => return None,
    };
    Some(read.and_then(|octets| fields.end().map(|()| octets)))
}

/// The number of a type whose name the scanner does not know.
pub(super) fn number_of(rtype: &str) -> Option<u16> {
    // RFC 1348; the scanner has it without its hyphen.
    (rtype == "NSAP-PTR").then_some(23)
}

/// The fields of a record's content, read from left to right.
struct ContentFields<'a> {
    fields: &'a [&'a [u8]],
    at: usize,
}

impl<'a> ContentFields<'a> {
    fn peek(&self) -> Option<&'a [u8]> {
        self.fields.get(self.at).copied()
    }

    fn next(&mut self) -> Result<&'a [u8], Wrong> {
        let field = self.peek().ok_or(Wrong { at: self.at, reason: TOO_FEW })?;
        self.at += 1;
        Ok(field)
    }

    /// An error at the field that was read last.
    fn wrong(&self, reason: &'static str) -> Wrong {
        Wrong { at: self.at.saturating_sub(1), reason }
    }

    /// The next field, converted by `read`.
    fn read<T>(&mut self, expected: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, Wrong> {
        let field = self.next()?;
        std::str::from_utf8(field).ok().and_then(read).ok_or(self.wrong(expected))
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Wrong> {
        self.read("expected decimal number", |field| {
            field.bytes().all(|byte| byte.is_ascii_digit()).then(|| field.parse().ok()).flatten()
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
fn uri(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let (priority, weight) = (fields.number::<u16>()?, fields.number::<u16>()?);
    let target = fields.next()?;
    let inner = target.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).filter(|inner| !inner.is_empty());
    let text = inner.and_then(unescaped).ok_or(fields.wrong("expected a URI in quotes"))?;
    Ok([&priority.to_be_bytes(), &weight.to_be_bytes(), text.as_slice()].concat())
}

/// The number of a key's algorithm by its name in upper case (RFC 4034, A.1).
pub(super) fn algorithm(name: &str) -> Option<u8> {
    SecurityAlgorithm::from_mnemonic(name.as_bytes()).map(SecurityAlgorithm::to_int)
}

/// The octets that a field stands for, without its quotes if it has them.
pub(super) fn text_of(field: &[u8]) -> Option<Vec<u8>> {
    unescaped(field.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(field))
}

/// The octets that a text without quotes stands for: its escapes are replaced (RFC 1035, 5.1).
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
fn certificate(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
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
    let kind = fields.read("expected a certificate type, such as PKIX or 1", |field| {
        let named = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(field));
        named.map(|(_, number)| *number).or_else(|| field.parse().ok())
    })?;
    let tag = fields.number::<u16>()?;
    let algorithm = fields.read("expected an algorithm, such as ED25519 or 15", |field| {
        algorithm(&field.to_ascii_uppercase()).or_else(|| field.parse().ok())
    })?;
    let mut text = String::new();
    loop {
        text.push_str(&fields.read("expected Base64", |field| Some(field.to_owned()))?);
        if fields.peek().is_none() {
            break;
        }
    }
    let octets: Vec<u8> = base64::decode(&text).map_err(|_| fields.wrong("expected Base64"))?;
    let [kind_hi, kind_lo] = kind.to_be_bytes();
    let [tag_hi, tag_lo] = tag.to_be_bytes();
    Ok([&[kind_hi, kind_lo, tag_hi, tag_lo, algorithm], octets.as_slice()].concat())
}

/// RFC 7477, 2.1.2: serial, flags, and the types that the parent copies.
fn child_sync(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let (serial, flags) = (fields.number::<u32>()?, fields.number::<u16>()?);
    let mut types = Vec::new();
    while fields.peek().is_some() {
        types.push(
            fields.read("expected a record type", |field| field.parse::<Rtype>().ok().map(|rtype| rtype.to_int()))?,
        );
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

/// RFC 7043, 3.2 and 4.2: two hexadecimal digits for each octet, with hyphens between the octets.
fn eui(fields: &mut ContentFields<'_>, len: usize) -> Result<Vec<u8>, Wrong> {
    fields.read("expected octets in hexadecimal, such as 00-00-5e-00-53-2a", |field| {
        let octets: Option<Vec<u8>> = field.split('-').map(|octet| hexadecimal(octet, 2).map(|n| n as u8)).collect();
        octets.filter(|octets| octets.len() == len && field.len() == 3 * len - 1)
    })
}

/// A number of 1 to `most` hexadecimal digits.
fn hexadecimal(text: &str, most: usize) -> Option<u16> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

/// RFC 6742, 2.2.3: preference, and a locator that is written like an IPv4 address.
fn locator32(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let preference = fields.number::<u16>()?;
    let locator: Ipv4Addr = fields.read("expected IPv4 address", |field| field.parse().ok())?;
    Ok([preference.to_be_bytes().as_slice(), &locator.octets()].concat())
}

/// RFC 6742, 2.1.3 and 2.3.3: preference, and four groups of hexadecimal digits.
fn locator64(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let preference = fields.number::<u16>()?;
    let groups = fields.read("expected four groups of hexadecimal digits, such as 0014:4fff:ff20:ee64", |field| {
        let groups: Option<Vec<u16>> = field.split(':').map(|group| hexadecimal(group, 4)).collect();
        groups.filter(|groups| groups.len() == 4)
    })?;
    Ok(std::iter::once(preference).chain(groups).flat_map(u16::to_be_bytes).collect())
}

/// RFC 3123, 5: prefixes as `[!]FAMILY:ADDRESS/LENGTH`, or none.
fn prefixes(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let mut octets = Vec::new();
    while fields.peek().is_some() {
        octets.extend(fields.read("expected a prefix, such as 1:192.0.2.0/24 or !2:2001:db8::/32", prefix)?);
    }
    Ok(octets)
}

fn prefix(field: &str) -> Option<Vec<u8>> {
    let (negated, plain) = field.strip_prefix('!').map_or((0, field), |plain| (0x80, plain));
    let (family, prefix) = plain.split_once(':')?;
    let (address, length) = prefix.split_once('/')?;
    let mut address = match family {
        "1" => address.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        "2" => address.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        _ => return None,
    };
    let length: u8 = length.parse().ok().filter(|length| usize::from(*length) <= 8 * address.len())?;
    // RFC 3123, 4: trailing zero octets are left out.
    while address.last() == Some(&0) {
        address.pop();
    }
    let family: u8 = family.parse().ok()?;
    Some([&[0, family, length, negated | address.len() as u8], address.as_slice()].concat())
}

/// The length of the name at the beginning.
fn name_len(rdata: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*rdata.get(at)?);
        at += 1 + len;
        if len == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, Wrong> {
        let mut fields = text.split(' ').map(str::as_bytes);
        let rtype = std::str::from_utf8(fields.next().unwrap()).unwrap();
        octets(rtype, &fields.collect::<Vec<_>>(), b"\x06origin\x00").unwrap()
    }

    fn hex(text: &str) -> String {
        read(text)
            .map(|octets| octets.iter().map(|octet| format!("{octet:02x}")).collect())
            .unwrap_or_else(|wrong| format!("{} {}", wrong.at, wrong.reason))
    }

    #[test]
    fn content_is_as_other_servers_write_it() {
        // BIND 9.18, Knot 3.2 and NSD 4.6 answer these octets for the same text.
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
    fn an_error_has_its_field() {
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
