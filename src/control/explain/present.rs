//! RDATA of the steered types in presentation form, as `dig` prints it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::Name;
use crate::wire::code::rtype;

/// RDATA as text. RDATA of other types, or that can't be read, is written as octets (RFC 3597, 5).
pub(super) fn present(of_type: u16, rdata: &[u8]) -> String {
    let shown = match of_type {
        rtype::A => <[u8; 4]>::try_from(rdata).ok().map(|ip| Ipv4Addr::from(ip).to_string()),
        rtype::AAAA => <[u8; 16]>::try_from(rdata).ok().map(|ip| Ipv6Addr::from(ip).to_string()),
        rtype::CNAME => name(rdata),
        rtype::SRV => srv(rdata),
        rtype::SVCB | rtype::HTTPS => svcb(rdata),
        _ => None,
    };
    shown.unwrap_or_else(|| {
        let octets: String = rdata.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("\\# {} {octets}", rdata.len())
    })
}

/// A name in its original case, which [`Name`] doesn't keep. The letters of the wire form and of the text correspond,
/// because escapes have no letters.
fn name(wire: &[u8]) -> Option<String> {
    let shown = Name::from_wire(wire)?.to_string();
    // A length octet is never a letter: it is at most 63, and `A` is 65.
    let mut written = wire.iter().copied().filter(u8::is_ascii_alphabetic);
    let restored =
        shown.chars().map(|c| if c.is_ascii_alphabetic() { written.next().map_or(c, char::from) } else { c });
    Some(restored.collect())
}

/// Priority, weight, port and target (RFC 2782).
fn srv(rdata: &[u8]) -> Option<String> {
    let (numbers, target) = rdata.split_at_checked(6)?;
    let [priority, weight, port] = [0, 2, 4].map(|at| u16::from_be_bytes([numbers[at], numbers[at + 1]]));
    Some(format!("{priority} {weight} {port} {}", name(target)?))
}

/// Priority, target and parameters (RFC 9460, 2.1).
fn svcb(rdata: &[u8]) -> Option<String> {
    let (priority, rest) = rdata.split_first_chunk::<2>()?;
    let mut end = 0;
    while let Some(&len) = rest.get(end).filter(|len| **len != 0) {
        end += 1 + usize::from(len);
    }
    let (target, mut params) = rest.split_at_checked(end + 1)?;
    let mut text = format!("{} {}", u16::from_be_bytes(*priority), name(target)?);
    while let Some((key, after)) = params.split_first_chunk::<2>() {
        let (len, after) = after.split_first_chunk::<2>()?;
        let (value, next) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        // Writing to a String does not fail.
        let _ = write!(text, " {}", param(u16::from_be_bytes(*key), value)?);
        params = next;
    }
    params.is_empty().then_some(text)
}

/// One parameter, `key=value` (RFC 9460, 7 and 14.3).
fn param(key: u16, value: &[u8]) -> Option<String> {
    Some(match key {
        1 => format!("alpn=\"{}\"", alpn(value)?.join(",")),
        2 if value.is_empty() => "no-default-alpn".to_owned(),
        3 => format!("port={}", u16::from_be_bytes(value.try_into().ok()?)),
        4 => format!("ipv4hint={}", addresses::<4>(value)?),
        6 => format!("ipv6hint={}", addresses::<16>(value)?),
        _ if value.is_empty() => format!("key{key}"),
        _ => format!("key{key}=\"{}\"", escaped(value)),
    })
}

fn alpn(mut value: &[u8]) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    while let Some((&len, after)) = value.split_first() {
        let (id, next) = after.split_at_checked(usize::from(len))?;
        ids.push(escaped(id));
        value = next;
    }
    Some(ids)
}

fn addresses<const OCTETS: usize>(value: &[u8]) -> Option<String>
where
    IpAddr: From<[u8; OCTETS]>,
{
    let (ips, rest) = value.as_chunks::<OCTETS>();
    let shown: Vec<String> = ips.iter().map(|ip| IpAddr::from(*ip).to_string()).collect();
    (rest.is_empty() && !shown.is_empty()).then(|| shown.join(","))
}

/// The content of a character-string (RFC 1035, 5.1). Commas separate values, so they are escaped too.
fn escaped(octets: &[u8]) -> String {
    let shown = octets.iter().map(|&octet| match octet {
        b'"' | b'\\' | b',' => format!("\\{}", char::from(octet)),
        b' '..=b'~' => char::from(octet).to_string(),
        _ => format!("\\{octet:03}"),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rdata_reads_as_dig_prints_it() {
        for (rtype, rdata, shown) in [
            (rtype::A, &[192, 0, 2, 1][..], "192.0.2.1"),
            (rtype::CNAME, b"\x03Www\x03a.b\x00", "Www.a\\.b."),
            (rtype::SRV, b"\0\x01\xff\xff\x1f\x90\x02eU\x00", "1 65535 8080 eU."),
            (rtype::HTTPS, b"\0\0\x03cdn\x00", "0 cdn."),
            (
                rtype::HTTPS,
                b"\0\x01\x00\0\x01\0\x06\x02h2\x02h3\0\x03\0\x02\x20\xfb\0\x04\0\x04\xc0\0\x02\x01",
                "1 . alpn=\"h2,h3\" port=8443 ipv4hint=192.0.2.1",
            ),
            (
                rtype::SVCB,
                b"\0\x01\x00\0\x02\0\0\0\x08\0\0\x02\x9a\0\x02a\xff",
                "1 . no-default-alpn key8 key666=\"a\\255\"",
            ),
            (rtype::SVCB, b"\0\x01\x00\0\x04\0\x03\xc0\0\x02", "\\# 10 00010000040003c00002"),
            (rtype::SRV, b"\0\x01", "\\# 2 0001"),
        ] {
            assert_eq!(present(rtype, rdata), shown, "{rdata:?}");
        }
    }
}
