//! Which addresses no host has: no client can connect to them. And the address of `probe`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What kind of address this is, if no host can have it for its clients (RFC 6890, RFC 4291); `None` if a host can.
/// Addresses of documentation (RFC 5737, RFC 3849), private ones and those of the loopback interface can be a host's.
/// An IPv4 address within that of NAT64 (RFC 6052, 3.1) or 6to4 (RFC 3056, 2) must be one that all networks share, so
/// there a private one or one of the loopback interface is none.
pub fn no_host(address: IpAddr) -> Option<&'static str> {
    let is_shared =
        |within: Ipv4Addr| !within.is_private() && !within.is_loopback() && no_host(IpAddr::V4(within)).is_none();
    match address {
        IpAddr::V6(v6) if within_nat64(v6).is_some_and(|within| !is_shared(within)) => {
            Some("one of NAT64 (64:ff9b::/96) with an IPv4 address that is not reached through it")
        }
        IpAddr::V6(v6) if within_6to4(v6).is_some_and(|within| !is_shared(within)) => {
            Some("one of 6to4 (2002::/16) with an IPv4 address that is not reached through it")
        }
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local one (169.254.0.0/16)"),
        IpAddr::V4(v4) if v4.octets()[0] >= 240 && !v4.is_broadcast() => Some("a reserved one (240.0.0.0/4)"),
        address => never_reached(address),
    }
}

/// The same for an address that this machine alone connects to: a link-local IPv4 address may be that of a neighbour,
/// and a reserved one may be in use within a network.
pub fn never_reached(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("one of this network (0.0.0.0/8)"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local one (fe80::/10)"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4 address in the form of IPv6 (::ffff:0:0/96)"),
        address if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The IPv4 address within one of the well-known prefix of NAT64.
fn within_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

/// The IPv4 address within one of 6to4.
fn within_6to4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x2002, high, low, ..] = address.segments() else { return None };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

/// `ADDRESS:PORT` to probe, or an address alone; an error says what is wrong, and what to write.
pub fn probe_address(text: &str) -> Result<(IpAddr, Option<u16>), (String, String)> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let (address, port) = match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(socket), _) if socket.port() != 0 => (socket.ip(), Some(socket.port())),
        (Err(_), Ok(address)) => (address, None),
        (Ok(_), _) | (Err(_), Err(_)) => {
            let hint = "write `probe = \"198.51.100.7:8080\"` or `probe = \"[2001:db8::7]:8080\"`";
            return Err((format!("\"{text}\" is not an address to probe"), hint.to_owned()));
        }
    };
    match never_reached(address) {
        Some(what) => {
            let hint = match address.to_canonical() {
                plain if plain != address => format!("write {plain}"),
                _ => "write the address of a host".to_owned(),
            };
            Err((format!("nothing can be reached at {address}: it is {what}"), hint))
        }
        None => Ok((address, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_host_has_is_known() {
        for (text, is_host, is_reached) in [
            ("0.0.0.0", false, false),
            ("0.255.255.255", false, false),
            ("1.0.0.0", true, true),
            ("10.0.0.1", true, true),
            ("127.0.0.1", true, true),
            ("169.254.20.10", false, true),
            ("192.0.2.1", true, true),
            ("198.51.100.1", true, true),
            ("203.0.113.1", true, true),
            ("223.255.255.255", true, true),
            ("224.0.0.1", false, false),
            ("239.255.255.255", false, false),
            ("240.0.0.1", false, true),
            ("255.255.255.254", false, true),
            ("255.255.255.255", false, false),
            ("::", false, false),
            ("::1", true, true),
            ("64:ff9b::192.0.2.1", true, true),
            ("64:ff9b::10.0.0.1", false, true),
            ("64:ff9b::127.0.0.1", false, true),
            ("64:ff9b::169.254.169.254", false, true),
            ("64:ff9b::224.0.0.1", false, true),
            ("64:ff9b:1::10.0.0.1", true, true),
            ("2002:a00:1::1", false, true),
            ("2002:7f00:1::1", false, true),
            ("2002:a9fe:a9fe::", false, true),
            ("::ffff:192.0.2.1", false, false),
            ("2001:db8::1", true, true),
            ("2002:c000:201::1", true, true),
            ("fd00::1", true, true),
            ("fe80::1", false, false),
            ("febf::1", false, false),
            ("fec0::1", true, true),
            ("ff02::1", false, false),
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!((no_host(address).is_none(), never_reached(address).is_none()), (is_host, is_reached), "{text}");
        }
    }
}
