//! The net by which affinity identifies a client: the first bits of its address, as a number that is the same on every
//! node.

use std::net::IpAddr;

use crate::model::AffinityNet;
use crate::placing::address::embedded_address;

/// A client's net, as affinity sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientNet {
    /// A hash of the net: the same on every node and after every restart.
    pub number: u64,
    /// The net's prefix length, in the family of the client's address.
    pub len: u8,
}

impl ClientNet {
    /// The net of a client at `ip`, with the length that `affinity` sets, but not longer than `cutoff` (bits of IPv4
    /// and of IPv6), which is for clients known by ECS. IPv4 in IPv6 counts as IPv4; `len` then includes the bits
    /// before the IPv4 address.
    pub fn of(affinity: AffinityNet, ip: IpAddr, cutoff: Option<(u8, u8)>) -> ClientNet {
        let (most_v4, most_v6) = cutoff.unwrap_or((32, 128));
        let (v4, before) = match ip {
            IpAddr::V4(ip) => (ip.to_bits(), 0),
            IpAddr::V6(ip) => match embedded_address(ip) {
                Some(embedded) => embedded,
                None => {
                    let len = affinity.v6.min(most_v6).min(128);
                    let bits = ip.to_bits() & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                    return ClientNet { number: number(6, bits), len };
                }
            },
        };
        let len = affinity.v4.min(most_v4).min(32);
        let bits = v4 & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
        ClientNet { number: number(4, bits.into()), len: before + len }
    }
}

fn number(family: u64, bits: u128) -> u64 {
    mix(mix(mix(family) ^ (bits >> 64) as u64) ^ bits as u64)
}

/// A hash of a number: the finaliser of splitmix64 (Steele et al. 2014). Different numbers have different hashes.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Random numbers from a seed, the same on every machine (splitmix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number.
    #[inline]
    pub fn number(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(ip: &str, cutoff: Option<(u8, u8)>) -> ClientNet {
        ClientNet::of(AffinityNet::default(), ip.parse().unwrap(), cutoff)
    }

    #[test]
    fn addresses_of_one_net_are_alike_and_no_others() {
        assert_eq!(net("192.0.2.1", None), net("192.0.2.254", None));
        assert_ne!(net("192.0.2.1", None).number, net("192.0.3.1", None).number);
        assert_eq!(net("192.0.2.1", None).len, 24);
        assert_eq!(net("2001:db8:0:1::1", None), net("2001:db8:0:ff::2", None));
        assert_ne!(net("2001:db8:0:1::1", None).number, net("2001:db8:0:100::1", None).number);
        assert_eq!(net("2001:db8::1", None).len, 56);
        assert_ne!(net("0.0.0.0", None).number, net("::", None).number, "a family of its own");
    }

    #[test]
    fn a_cut_off_makes_nets_wider_and_never_finer() {
        assert_eq!(net("192.0.2.1", Some((16, 32))), net("192.0.77.1", Some((16, 32))));
        assert_eq!((net("192.0.2.1", Some((16, 32))).len, net("2001:db8::1", Some((16, 32))).len), (16, 32));
        assert_eq!(net("192.0.2.1", Some((32, 128))), net("192.0.2.1", None));
        let (none, all) = (AffinityNet { v4: 0, v6: 0 }, AffinityNet { v4: 32, v6: 128 });
        for (one, other) in [("1.2.3.4", "200.2.3.5"), ("2001:db8::1", "fd00::1")] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(ClientNet::of(none, one, None), ClientNet::of(none, other, None));
            assert_ne!(ClientNet::of(all, one, None).number, ClientNet::of(all, other, None).number);
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_of_the_ipv4_net() {
        let v4 = net("192.0.2.1", None);
        for (ip, before) in [("::ffff:192.0.2.9", 96), ("64:ff9b::c000:209", 96), ("2002:c000:209::1", 16)] {
            assert_eq!(net(ip, None), ClientNet { len: v4.len + before, ..v4 }, "{ip}");
            assert_eq!(net(ip, Some((16, 56))).len, 16 + before, "{ip}");
        }
    }

    #[test]
    fn numbers_never_change_as_a_fleet_must_agree_across_versions() {
        assert_eq!(net("192.0.2.1", None).number, 17_249_518_858_528_869_132);
        assert_eq!(net("2001:db8::1", None).number, 3_215_193_376_835_174_850);
    }
}
