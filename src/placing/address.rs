//! IP addresses as numbers, and the parts of IPv6 whose addresses contain an IPv4 address. Arithmetic only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// An address as a number: `u32` for IPv4, `u128` for IPv6.
pub(crate) trait Address: Copy + Ord + Default {
    /// The first address.
    const ZERO: Self;
    /// The first `bits` bits as a number; `bits` is at most the size of a `usize`.
    fn top(self, bits: u32) -> usize;
    /// How many leading bits both have in common.
    fn common(self, other: Self) -> u32;
    /// The last address of the net of `len` bits that begins here.
    fn last_of(self, len: u8) -> Self;
    /// The first address, this one or a later one, at which a net of `len` bits begins; `None` if there is none.
    fn first_from(self, len: u8) -> Option<Self>;
    /// The next address; `None` after the last one.
    fn next(self) -> Option<Self>;
    /// The address before; for the first address, itself.
    fn before(self) -> Self;
}

macro_rules! address {
    ($kind:ty) => {
        impl Address for $kind {
            const ZERO: Self = 0;
            fn top(self, bits: u32) -> usize {
                self.checked_shr(Self::BITS - bits).unwrap_or(0) as usize
            }
            fn common(self, other: Self) -> u32 {
                (self ^ other).leading_zeros()
            }
            fn last_of(self, len: u8) -> Self {
                self | <$kind>::MAX.checked_shr(u32::from(len)).unwrap_or(0)
            }
            fn first_from(self, len: u8) -> Option<Self> {
                let last = self.before().last_of(len);
                if self == 0 { Some(0) } else { last.checked_add(1) }
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn before(self) -> Self {
                self.saturating_sub(1)
            }
        }
    };
}

address!(u32);
address!(u128);

/// An IPv6 net whose addresses contain an IPv4 address directly after the prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Embedding {
    /// Its first address.
    pub(crate) start: u128,
    /// The number of bits before the IPv4 address.
    pub(crate) len: u8,
}

/// IPv4-mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), NAT64's well-known prefix (RFC 6052, 2.1).
pub(crate) const EMBEDDINGS: [Embedding; 3] = [
    Embedding { start: 0xFFFF << 32, len: 96 },
    Embedding { start: 0x2002 << 112, len: 16 },
    Embedding { start: 0x0064_FF9B << 96, len: 96 },
];

impl Embedding {
    /// Whether an address is in this net.
    pub(crate) fn holds(&self, address: u128) -> bool {
        (address ^ self.start).leading_zeros() >= u32::from(self.len)
    }

    fn v4(&self, address: u128) -> u32 {
        (address >> (128 - 32 - u32::from(self.len))) as u32
    }
}

/// The IPv4 address in an IPv6 address, and the number of bits before it.
pub(crate) fn embedded_address(ip: Ipv6Addr) -> Option<(u32, u8)> {
    let address = ip.to_bits();
    EMBEDDINGS.iter().find(|e| e.holds(address)).map(|e| (e.v4(address), e.len))
}

/// The IPv4 address in `ip`, or else `ip` itself.
pub(crate) fn folded(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => embedded_address(v6).map_or(ip, |(v4, _)| IpAddr::V4(v4.into())),
    }
}

/// The IPv4 net that an IPv6 net stands for, as start and length; `None` for a net that is not within an embedding.
pub(crate) fn embedded_net(start: u128, len: u8) -> Option<(u32, u8)> {
    let embedding = EMBEDDINGS.iter().find(|e| e.holds(start) && len >= e.len)?;
    Some((embedding.v4(start), len - embedding.len))
}

/// The IPv4 net that `net` stands for, or else `net` itself.
pub(crate) fn folded_net(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let embedded = embedded_net(v6.network().to_bits(), v6.prefix_len());
    let v4 = embedded.and_then(|(start, len)| Ipv4Net::new(Ipv4Addr::from_bits(start), len).ok());
    v4.map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nets_begin_where_they_may() {
        let of = |address: u32, len: u8| address.first_from(len);
        assert_eq!((of(0, 24), of(1, 24), of(256, 24), of(257, 24)), (Some(0), Some(256), Some(256), Some(512)));
        assert_eq!((of(u32::MAX, 24), of(u32::MAX, 32), of(1, 0), of(0, 0)), (None, Some(u32::MAX), None, Some(0)));
    }
}
