//! The net of a client's address: the unit of fairness.

use std::net::{IpAddr, Ipv6Addr};

/// A client net of IPv6 is a /64, the least that one customer gets (RFC 6177). Of IPv4, one address.
const NET_BITS_V6: u32 = 64;

/// A site of IPv6 is a /48, the most that one customer usually gets (RFC 6177). Of IPv4, one address.
const SITE_BITS_V6: u32 = 48;

/// The net of a client, at two levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceNet(IpAddr);

impl SourceNet {
    /// The net of `address`. An IPv4 address in IPv6 form counts as IPv4.
    pub fn of(address: IpAddr) -> SourceNet {
        SourceNet(cut(address.to_canonical(), NET_BITS_V6))
    }

    /// The /48 of an IPv6 net; an IPv4 address is its own site.
    pub fn site(self) -> SourceNet {
        SourceNet(cut(self.0, SITE_BITS_V6))
    }

    /// Whether the site is larger than the net.
    pub fn has_site(self) -> bool {
        self.0.is_ipv6()
    }

    /// The first address of the net.
    pub fn address(self) -> IpAddr {
        self.0
    }
}

fn cut(address: IpAddr, bits_v6: u32) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> bits_v6)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_net_is_an_address_of_ipv4_or_a_64_of_a_48() {
        let net = |text: &str| SourceNet::of(text.parse().unwrap());
        assert_eq!(net("2001:db8:1:2::3"), net("2001:db8:1:2:ffff::"));
        assert_ne!(net("2001:db8:1:2::3"), net("2001:db8:1:3::3"));
        assert_eq!(net("2001:db8:1:2::3").site(), net("2001:db8:1:3::3").site());
        assert_ne!(net("2001:db8:1::").site(), net("2001:db8:2::").site());
        assert_ne!(net("192.0.2.1"), net("192.0.2.2"));
        assert_eq!(net("192.0.2.1").site(), net("::ffff:192.0.2.1"));
    }
}
