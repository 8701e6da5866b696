//! The text forms of types that few zones have: AMTRELAY, DSYNC, EID, GPOS, HIP, ISDN, NIMLOC, NSAP, NSAP-PTR, PX and
//! X25. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::Rtype;
use domain::utils::base64;

use crate::masterfile::content::{ContentFields, Wrong, text_of};
use crate::masterfile::names;

/// RFC 8777, 4: precedence, discovery-optional, type, and the relay in the form of its type.
pub(super) fn relay(fields: &mut ContentFields<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let precedence = fields.number::<u8>()?;
    let is_optional = fields.read("expected 0 or 1", |field| ["0", "1"].iter().position(|bit| *bit == field))?;
    let kind = fields.read("expected a type of relay, 0 to 3", |field| {
        ["0", "1", "2", "3"].iter().position(|kind| *kind == field)
    })?;
    let relay = match kind {
        0 => fields.read("expected `.`, as there is no relay", |field| (field == ".").then(Vec::new))?,
        1 => fields.read("expected IPv4 address", |field| Some(field.parse::<Ipv4Addr>().ok()?.octets().to_vec()))?,
        2 => fields.read("expected IPv6 address", |field| Some(field.parse::<Ipv6Addr>().ok()?.octets().to_vec()))?,
        _ => name(fields, origin)?,
    };
    Ok([&[precedence, (is_optional << 7 | kind) as u8], relay.as_slice()].concat())
}

/// RFC 2163, 4: preference and two names.
pub(super) fn mapping(fields: &mut ContentFields<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let preference = fields.number::<u16>()?;
    let (first, second) = (name(fields, origin)?, name(fields, origin)?);
    Ok([&preference.to_be_bytes(), first.as_slice(), second.as_slice()].concat())
}

/// RFC 1712, 3: longitude, latitude and altitude, each a decimal number as a character string.
pub(super) fn position(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let mut octets = Vec::new();
    for _ in 0..3 {
        let number = text(fields)?;
        let is_number = std::str::from_utf8(&number[1..]).is_ok_and(|number| number.parse::<f64>().is_ok());
        octets.extend(is_number.then_some(number).ok_or(fields.wrong("expected degrees or metres, such as -32.6882"))?);
    }
    Ok(octets)
}

/// RFC 1183, 3.1 and 3.2: one character string, or for ISDN two.
pub(super) fn address(fields: &mut ContentFields<'_>, most: usize) -> Result<Vec<u8>, Wrong> {
    let mut octets = text(fields)?;
    for _ in 1..most {
        if fields.peek().is_some() {
            octets.extend(text(fields)?);
        }
    }
    Ok(octets)
}

/// RFC 1706, 7: `0x` and hexadecimal digits; dots between them have no meaning.
pub(super) fn nsap(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    fields.read("expected an NSAP address, such as 0x47.0005", |field| {
        hexadecimal(&field.strip_prefix("0x").or(field.strip_prefix("0X"))?.replace('.', ""))
    })
}

/// EID and NIMLOC (draft-lewis-dns-undocumented-types): hexadecimal digits in one or more fields.
pub(super) fn digits(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    const EXPECTED: &str = "expected hexadecimal digits";
    let mut text = fields.read(EXPECTED, |field| Some(field.to_owned()))?;
    while fields.peek().is_some() {
        text.push_str(&fields.read(EXPECTED, |field| Some(field.to_owned()))?);
    }
    hexadecimal(&text).ok_or(fields.wrong(EXPECTED))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let is_hexadecimal =
        !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    is_hexadecimal.then(|| text.as_bytes().chunks_exact(2).map(octet).collect()).flatten()
}

/// RFC 8005, 6: algorithm, host identity tag, key, and names of rendezvous servers.
pub(super) fn host_identity(fields: &mut ContentFields<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let algorithm = fields.number::<u8>()?;
    let tag = fields.read("expected hexadecimal digits", hexadecimal)?;
    let tag_len = u8::try_from(tag.len()).map_err(|_| fields.wrong("expected up to 255 octets"))?;
    let key: Vec<u8> = fields.read("expected Base64", |field| base64::decode(field).ok())?;
    let [key_hi, key_lo] = u16::try_from(key.len()).map_err(|_| fields.wrong("expected Base64"))?.to_be_bytes();
    let mut octets = [&[tag_len, algorithm, key_hi, key_lo], tag.as_slice(), &key].concat();
    while fields.peek().is_some() {
        octets.extend(name(fields, origin)?);
    }
    Ok(octets)
}

/// RFC 9859, 2.1: type, scheme, port and target.
pub(super) fn notifications(fields: &mut ContentFields<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let rtype = fields.read("expected a record type", |field| field.parse::<Rtype>().ok())?.to_int();
    let scheme: u8 = fields.read("expected a scheme, NOTIFY or a number", |field| {
        if field.eq_ignore_ascii_case("NOTIFY") { Some(1) } else { field.parse().ok() }
    })?;
    let port = fields.number::<u16>()?;
    let target = name(fields, origin)?;
    Ok([&rtype.to_be_bytes(), [scheme].as_slice(), &port.to_be_bytes(), &target].concat())
}

/// A name; it is all that NSAP-PTR has (RFC 1348, 1).
pub(super) fn name(fields: &mut ContentFields<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    names::resolve(fields.next()?, origin).map_err(|_| fields.wrong("expected a name"))
}

/// A character string in wire form: its length and its octets (RFC 1035, 3.3).
fn text(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let field = fields.next()?;
    let octets = text_of(field).ok_or(fields.wrong("bad symbol"))?;
    let len = u8::try_from(octets.len()).map_err(|_| fields.wrong("bad charstr"))?;
    Ok([&[len], octets.as_slice()].concat())
}
