//! The text forms of types that few zones have: AMTRELAY, DSYNC, EID, GPOS, HIP, ISDN, NIMLOC, NSAP, NSAP-PTR, PX and X25. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::Rtype;
use domain::utils::base64;

use crate::config::zonefile::content::{Words, Wrong, text_of};
use crate::config::zonefile::names;

/// RFC 8777, 4: precedence, discovery-optional, type, and the relay as its type has it.
pub(super) fn relay(words: &mut Words<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let precedence = words.number::<u8>()?;
    let is_optional = words.read("expected 0 or 1", |word| ["0", "1"].iter().position(|bit| *bit == word))?;
    let kind = words
        .read("expected a type of relay, 0 to 3", |word| ["0", "1", "2", "3"].iter().position(|kind| *kind == word))?;
    let relay = match kind {
        0 => words.read("expected `.`, as there is no relay", |word| (word == ".").then(Vec::new))?,
        1 => words.read("expected IPv4 address", |word| Some(word.parse::<Ipv4Addr>().ok()?.octets().to_vec()))?,
        2 => words.read("expected IPv6 address", |word| Some(word.parse::<Ipv6Addr>().ok()?.octets().to_vec()))?,
        _ => name(words, origin)?,
    };
    Ok([&[precedence, (is_optional << 7 | kind) as u8], relay.as_slice()].concat())
}

/// RFC 1348, 1: a name.
pub(super) fn pointer(words: &mut Words<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    name(words, origin)
}

/// RFC 2163, 4: preference and two names.
pub(super) fn mapping(words: &mut Words<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let preference = words.number::<u16>()?;
    let (first, second) = (name(words, origin)?, name(words, origin)?);
    Ok([&preference.to_be_bytes(), first.as_slice(), second.as_slice()].concat())
}

/// RFC 1712, 3: longitude, latitude and altitude, each a decimal number as a character string.
pub(super) fn position(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    let mut octets = Vec::new();
    for _ in 0..3 {
        let number = text(words)?;
        let is_number = std::str::from_utf8(&number[1..]).is_ok_and(|number| number.parse::<f64>().is_ok());
        octets.extend(is_number.then_some(number).ok_or(words.wrong("expected degrees or metres, such as -32.6882"))?);
    }
    Ok(octets)
}

/// RFC 1183, 3.1 and 3.2: one character string, or for ISDN two.
pub(super) fn address(words: &mut Words<'_>, most: usize) -> Result<Vec<u8>, Wrong> {
    let mut octets = text(words)?;
    for _ in 1..most {
        if words.peek().is_some() {
            octets.extend(text(words)?);
        }
    }
    Ok(octets)
}

/// RFC 1706, 7: `0x` and hexadecimal digits, dots between them as one likes.
pub(super) fn nsap(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    words.read("expected an NSAP address, such as 0x47.0005", |word| {
        hexadecimal(&word.strip_prefix("0x").or(word.strip_prefix("0X"))?.replace('.', ""))
    })
}

/// EID and NIMLOC (draft-lewis-dns-undocumented-types): hexadecimal digits, in any number of words.
pub(super) fn digits(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    const EXPECTED: &str = "expected hexadecimal digits";
    let mut text = words.read(EXPECTED, |word| Some(word.to_owned()))?;
    while words.peek().is_some() {
        text.push_str(&words.read(EXPECTED, |word| Some(word.to_owned()))?);
    }
    hexadecimal(&text).ok_or(words.wrong(EXPECTED))
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let is_hexadecimal =
        !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    is_hexadecimal.then(|| text.as_bytes().chunks_exact(2).map(octet).collect()).flatten()
}

/// RFC 8005, 6: algorithm, host identity tag, key in one word, and names of rendezvous servers.
pub(super) fn host_identity(words: &mut Words<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let algorithm = words.number::<u8>()?;
    let tag = words.read("expected hexadecimal digits", hexadecimal)?;
    let tag_len = u8::try_from(tag.len()).map_err(|_| words.wrong("expected up to 255 octets"))?;
    let key: Vec<u8> = words.read("expected Base64", |word| base64::decode(word).ok())?;
    let [key_hi, key_lo] = u16::try_from(key.len()).map_err(|_| words.wrong("expected Base64"))?.to_be_bytes();
    let mut octets = [&[tag_len, algorithm, key_hi, key_lo], tag.as_slice(), &key].concat();
    while words.peek().is_some() {
        octets.extend(name(words, origin)?);
    }
    Ok(octets)
}

/// RFC 9859, 2.1: type, scheme, port and target.
pub(super) fn notifications(words: &mut Words<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let rtype = words.read("expected a record type", |word| word.parse::<Rtype>().ok())?.to_int();
    let scheme: u8 = words.read("expected a scheme, NOTIFY or a number", |word| {
        if word.eq_ignore_ascii_case("NOTIFY") { Some(1) } else { word.parse().ok() }
    })?;
    let port = words.number::<u16>()?;
    let target = name(words, origin)?;
    Ok([&rtype.to_be_bytes(), [scheme].as_slice(), &port.to_be_bytes(), &target].concat())
}

fn name(words: &mut Words<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    names::resolve(words.next()?, origin).map_err(|_| words.wrong("expected a name"))
}

/// A character string in wire form: its length and its octets (RFC 1035, 3.3).
fn text(words: &mut Words<'_>) -> Result<Vec<u8>, Wrong> {
    let word = words.next()?;
    let octets = text_of(word).ok_or(words.wrong("bad symbol"))?;
    let len = u8::try_from(octets.len()).map_err(|_| words.wrong("bad charstr"))?;
    Ok([&[len], octets.as_slice()].concat())
}
