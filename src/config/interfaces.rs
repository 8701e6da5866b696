//! Parses addresses with ports, also with an interface: `[fe80::1%eth0]:53` (RFC 4007, 11). A link-local address is
//! only complete with its interface, and the standard library accepts the number of an interface but not its name.
//! The names come from the list of interfaces of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The list of IPv6 addresses of this network namespace: address, number, prefix, scope, flags and name of the
/// interface.
const TABLE: &str = "/proc/net/if_inet6";

/// An address with its port, as far as it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ParsedAddress {
    /// It can be used.
    Complete(SocketAddr),
    /// It is link-local and has no interface. With the interface of this machine that has this address, if there is
    /// one.
    NeedsInterface(SocketAddrV6, Option<String>),
    /// It names an interface that this machine does not have.
    NoInterface(SocketAddr, String),
    /// It is not an address with a port.
    Wrong,
}

/// Parses an address with its port.
pub(super) fn parse(text: &str) -> ParsedAddress {
    parse_with(text, || std::fs::read_to_string(TABLE).unwrap_or_default())
}

fn parse_with(text: &str, table: impl Fn() -> String) -> ParsedAddress {
    if let Ok(address) = text.parse() {
        return match address {
            SocketAddr::V6(six) if six.ip().is_unicast_link_local() && six.scope_id() == 0 => {
                let table = table();
                let mut known = interfaces(&table).filter(|(ip, ..)| ip == six.ip());
                ParsedAddress::NeedsInterface(six, known.next().map(|(.., name)| name.to_owned()))
            }
            // An IPv4 address within IPv6 is used as IPv4: sockets for IPv6 only do not accept it.
            SocketAddr::V6(six) => match six.ip().to_ipv4_mapped() {
                Some(four) => ParsedAddress::Complete(SocketAddr::new(four.into(), six.port())),
                None => ParsedAddress::Complete(address),
            },
            SocketAddr::V4(_) => ParsedAddress::Complete(address),
        };
    }
    let Some((ip, name, port)) = zoned(text) else { return ParsedAddress::Wrong };
    let table = table();
    let number = interfaces(&table).find(|(.., known)| *known == name).map(|(_, number, _)| number);
    let address = SocketAddr::V6(SocketAddrV6::new(ip, port, 0, number.unwrap_or(0)));
    match number {
        Some(_) => ParsedAddress::Complete(address),
        None => ParsedAddress::NoInterface(address, name.to_owned()),
    }
}

/// The kind of an address that does not belong to a single host, and the address to write instead; `None` for others.
pub(super) fn shared(address: IpAddr) -> Option<(&'static str, IpAddr)> {
    match address {
        IpAddr::V4(four) if four.is_multicast() => Some(("a multicast address", Ipv4Addr::UNSPECIFIED.into())),
        IpAddr::V4(four) if four.is_broadcast() => Some(("the broadcast address", Ipv4Addr::UNSPECIFIED.into())),
        IpAddr::V6(six) if six.is_multicast() => Some(("a multicast address", Ipv6Addr::UNSPECIFIED.into())),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// `[ADDRESS%INTERFACE]:PORT`.
fn zoned(text: &str) -> Option<(Ipv6Addr, &str, u16)> {
    let (inside, port) = text.strip_prefix('[')?.split_once("]:")?;
    let (ip, name) = inside.split_once('%')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    is_name.then_some((ip.parse().ok()?, name, port.parse().ok()?))
}

fn interfaces(table: &str) -> impl Iterator<Item = (Ipv6Addr, u32, &str)> {
    table.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let ip = u128::from_str_radix(fields.next()?, 16).ok()?;
        let number = u32::from_str_radix(fields.next()?, 16).ok()?;
        Some((Ipv6Addr::from_bits(ip), number, fields.nth(3)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "00000000000000000000000000000001 01 80 10 80       lo\n\
                         fe800000000000000000000000000001 0c 40 20 80     eth0\n";

    #[test]
    fn a_link_local_address_has_its_interface() {
        let whole = |text: &str| ParsedAddress::Complete(text.parse().unwrap());
        let bare: SocketAddrV6 = "[fe80::1]:53".parse().unwrap();
        let other: SocketAddrV6 = "[fe80::2]:53".parse().unwrap();
        for (text, read) in [
            ("127.0.0.1:53", whole("127.0.0.1:53")),
            ("[2001:db8::1]:53", whole("[2001:db8::1]:53")),
            ("[fe80::1%eth0]:53", whole("[fe80::1%12]:53")),
            ("[fe80::2%eth0]:0", whole("[fe80::2%12]:0")),
            ("[fe80::1%12]:53", whole("[fe80::1%12]:53")),
            ("[fe80::1]:53", ParsedAddress::NeedsInterface(bare, Some("eth0".into()))),
            ("[fe80::2]:53", ParsedAddress::NeedsInterface(other, None)),
            ("[fe80::1%eth9]:53", ParsedAddress::NoInterface("[fe80::1]:53".parse().unwrap(), "eth9".into())),
            ("[fe80::1%]:53", ParsedAddress::Wrong),
            ("[fe80::1%eth0]", ParsedAddress::Wrong),
            ("fe80::1%eth0:53", ParsedAddress::Wrong),
            ("[192.0.2.1%eth0]:53", ParsedAddress::Wrong),
            ("127.0.0.1", ParsedAddress::Wrong),
        ] {
            assert_eq!(parse_with(text, || TABLE.to_owned()), read, "{text}");
        }
    }

    #[test]
    fn what_belongs_to_no_host_is_not_listened_on() {
        for (ip, is_shared) in [
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("ff02::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("192.0.2.255", false),
        ] {
            assert_eq!(shared(ip.parse().unwrap()).is_some(), is_shared, "{ip}");
        }
        assert_eq!(parse("[::ffff:192.0.2.1]:53"), ParsedAddress::Complete("192.0.2.1:53".parse().unwrap()));
    }
}
