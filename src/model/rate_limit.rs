//! How often one client net may get the same answer over UDP (response rate limiting): what `[rrl]` says.

use std::net::IpAddr;

use ipnet::IpNet;

/// Limits of replies over UDP. The default is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Replies a second for one net and answer, up to [`MAX_RATE`]; 0: not limited.
    pub rate: u16,
    /// Of the replies over the limit every so many-th goes out truncated, up to [`MAX_SLIP`]; 0: none, 1: all.
    pub slip: u8,
    /// Bits of an IPv4 address that make a client's net: 1 to 32.
    pub v4: u8,
    /// The same for IPv6: 1 to 128.
    pub v6: u8,
    /// Clients that are never limited.
    pub exempt: Vec<IpNet>,
}

/// Highest rate: BIND's highest too. One that needs more for a single net and name wants that net exempt.
pub const MAX_RATE: u16 = 1000;

/// Highest slip: BIND's highest too.
pub const MAX_SLIP: u8 = 10;

/// Off, because no rate is right for every resolver: one with ECS asks for a name once in each TTL for each active
/// client net. All replies over the limit are truncated: measured with unbound, dropping every second one causes
/// SERVFAIL, and truncating all does not. `zones/README.md` has the figures.
impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit { rate: 0, slip: 1, v4: 24, v6: 56, exempt: Vec::new() }
    }
}

impl RateLimit {
    /// Whether anything is limited.
    pub fn is_on(&self) -> bool {
        self.rate > 0
    }

    /// Whether a client is never limited.
    pub fn is_exempt(&self, client: IpAddr) -> bool {
        self.exempt.iter().any(|net| net.contains(&client))
    }

    /// The client's net as a number, other for each net: IPv4 as IPv6 knows it (RFC 4291, 2.5.5.2).
    pub fn net_of(&self, client: IpAddr) -> u128 {
        let (bits, len) = match client {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), 96 + u32::from(self.v4)),
            IpAddr::V6(ip) => (ip.to_bits(), u32::from(self.v6)),
        };
        bits & !u128::MAX.checked_shr(len).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_net_are_one() {
        let limit = RateLimit::default();
        for (a, b, same) in [
            ("192.0.2.1", "192.0.2.255", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("2001:db8:0:1::1", "2001:db8:0:ff::9", true),
            ("2001:db8:0:100::1", "2001:db8:0:ff::9", false),
            ("0.0.0.1", "::1", false),
        ] {
            let [a, b]: [IpAddr; 2] = [a, b].map(|ip| ip.parse().unwrap());
            assert_eq!(limit.net_of(a) == limit.net_of(b), same, "{a} {b}");
        }
        let whole = RateLimit { v4: 32, v6: 128, ..limit };
        assert_ne!(whole.net_of([192, 0, 2, 1].into()), whole.net_of([192, 0, 2, 0].into()));
        assert_eq!(whole.net_of("2001:db8::7".parse().unwrap()) & 0xF, 7);
    }

    #[test]
    fn exempt_nets_are_those_listed() {
        let limit = RateLimit { exempt: vec!["10.0.0.0/8".parse().unwrap()], ..RateLimit::default() };
        assert!(limit.is_exempt([10, 9, 8, 7].into()) && !limit.is_exempt([11, 9, 8, 7].into()));
    }
}
