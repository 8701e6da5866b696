//! EDNS (RFC 6891) of a query: the OPT record's fixed part and the known options. Unknown options are skipped; a known
//! option that is malformed makes the whole message malformed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Option codes (IANA, DNS EDNS0 Option Codes).
pub mod option {
    /// RFC 5001.
    pub const NSID: u16 = 3;
    /// RFC 7871.
    pub const CLIENT_SUBNET: u16 = 8;
    /// RFC 7873.
    pub const COOKIE: u16 = 10;
    /// RFC 7828.
    pub const TCP_KEEPALIVE: u16 = 11;
    /// RFC 7830.
    pub const PADDING: u16 = 12;
    /// RFC 8914.
    pub const EXTENDED_ERROR: u16 = 15;
}

/// Most options of a query: a message with more is malformed, so that no query makes much work. Judgment: there are
/// some twenty options, and a query has a few of them.
const MAX_OPTIONS: usize = 64;

/// The options that are read, each as the bit of its code; none has a higher code than padding.
const READ_OPTIONS: u32 = bit(option::NSID)
    | bit(option::CLIENT_SUBNET)
    | bit(option::COOKIE)
    | bit(option::TCP_KEEPALIVE)
    | bit(option::PADDING);

const fn bit(code: u16) -> u32 {
    1 << code
}

/// The OPT record of a query.
#[derive(Debug, Clone, Copy)]
pub struct Edns<'a> {
    /// The UDP payload size of the sender.
    pub udp_size: u16,
    /// The version; only 0 is known.
    pub version: u8,
    /// DNSSEC OK, echoed in the reply (RFC 3225).
    pub dnssec_ok: bool,
    /// Whether the query requests the name server's identity.
    pub wants_nsid: bool,
    /// Whether the query is padded, so that the reply should be (RFC 7830, 4).
    pub is_padded: bool,
    /// Whether it has the option edns-tcp-keepalive (RFC 7828), which a message of DoQ must not have (RFC 9250, 5.5.2).
    pub has_keepalive: bool,
    /// The client's net.
    pub client_subnet: Option<ClientSubnet>,
    /// The cookie option.
    pub cookie: Option<Cookie<'a>>,
    /// Whether an option is malformed: FORMERR. The options of another version than 0 are not read.
    pub is_malformed: bool,
}

/// A valid client subnet option of a query (RFC 7871, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSubnet {
    /// 1 is IPv4, 2 is IPv6.
    pub family: u16,
    /// How many leading bits of the address the query has.
    pub source: u8,
    /// The address; all bits after the first `source` are zero.
    address: [u8; 16],
}

/// A cookie option of valid length (RFC 7873, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie<'a> {
    /// The client's 8 octets.
    pub client: [u8; 8],
    /// The server's, as the client has it: none, or 8 to 32 octets.
    pub server: &'a [u8],
}

impl<'a> Edns<'a> {
    /// From the fields of an OPT record: CLASS, TTL and RDATA.
    pub fn parse(class: u16, ttl: u32, rdata: &'a [u8]) -> Edns<'a> {
        let mut edns = Edns {
            udp_size: class,
            version: (ttl >> 16) as u8,
            dnssec_ok: ttl & 0x8000 != 0,
            wants_nsid: false,
            is_padded: false,
            has_keepalive: false,
            client_subnet: None,
            cookie: None,
            is_malformed: false,
        };
        if edns.version == 0 {
            edns.is_malformed = edns.read_options(rdata).is_none();
        }
        edns
    }

    /// Reads all options. Of two with the same code the first counts, and the others are not read (of cookies RFC 7873,
    /// 5.2 says so).
    fn read_options(&mut self, mut rest: &'a [u8]) -> Option<()> {
        if rest.is_empty() {
            return Some(());
        }
        let (mut subnet, mut cookie, mut wanted) = (None, None, READ_OPTIONS);
        for _ in 0..MAX_OPTIONS {
            let Some((head, after)) = rest.split_first_chunk::<4>() else { break };
            let head = u32::from_be_bytes(*head);
            let Some((data, next)) = after.split_at_checked((head & 0xFFFF) as usize) else { break };
            rest = next;
            let code = (head >> 16) as u16;
            // Unknown options are ignored (RFC 6891, 6.1.2), and so are those that were read. A query may have many.
            if code > option::PADDING || wanted >> code & 1 == 0 {
                continue;
            }
            match code {
                option::CLIENT_SUBNET => subnet = Some(data),
                option::COOKIE => cookie = Some(data),
                option::NSID => self.wants_nsid = true,
                option::TCP_KEEPALIVE => self.has_keepalive = true,
                _ => self.is_padded = true,
            }
            wanted &= !bit(code);
        }
        let mut is_sound = rest.is_empty();
        if let Some(data) = subnet {
            self.client_subnet = ClientSubnet::parse(data);
            is_sound &= self.client_subnet.is_some();
        }
        if let Some(data) = cookie {
            self.cookie = Cookie::parse(data);
            is_sound &= self.cookie.is_some();
        }
        is_sound.then_some(())
    }
}

impl ClientSubnet {
    /// From an option's data; `None` where it violates RFC 7871, 6: an unknown family, a prefix longer than the
    /// family's addresses, a wrong number of octets, bits set after the prefix, or a scope in a query.
    pub fn parse(data: &[u8]) -> Option<ClientSubnet> {
        let (head, octets) = data.split_first_chunk::<4>()?;
        let family = u16::from_be_bytes([head[0], head[1]]);
        let (source, scope) = (head[2], head[3]);
        // Family 0 is reserved: to opt out, a client sends source 0 with a known family (RFC 7871, 7.1.2).
        let longest = match family {
            1 => 32,
            2 => 128,
            _ => return None,
        };
        let mut address = [0; 16];
        if scope != 0 || source > longest || octets.len() != usize::from(source.div_ceil(8)) {
            return None;
        }
        address.get_mut(..octets.len())?.copy_from_slice(octets);
        let spare = octets.len() * 8 - usize::from(source);
        let excess = octets.last().map_or(0, |last| last & ((1_u16 << spare) - 1) as u8);
        (excess == 0).then_some(ClientSubnet { family, source, address })
    }

    /// The first address of the client's net; `None` where the client opts out (RFC 7871, 7.1.2).
    pub fn client(&self) -> Option<IpAddr> {
        let [a, b, c, d, ..] = self.address;
        match (self.source, self.family) {
            (0, _) => None,
            (_, 1) => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            _ => Some(IpAddr::V6(Ipv6Addr::from(self.address))),
        }
    }

    /// The octets of the address as the option carries them.
    pub fn octets(&self) -> &[u8] {
        &self.address[..usize::from(self.source.div_ceil(8)).min(16)]
    }
}

impl<'a> Cookie<'a> {
    /// From an option's data; `None` unless it has 8, or 16 to 40 octets.
    pub fn parse(data: &'a [u8]) -> Option<Cookie<'a>> {
        let (client, server) = data.split_first_chunk::<8>()?;
        matches!(server.len(), 0 | 8..=32).then_some(Cookie { client: *client, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_subnets_are_read_strictly() {
        let cases: [(&[u8], bool, &str); 17] = [
            (&[0, 1, 24, 0, 192, 0, 2], true, "a /24"),
            (&[0, 1, 0, 0], true, "nobody"),
            (&[0, 0, 0, 0], false, "nobody of no family"),
            (&[0, 1, 32, 0, 192, 0, 2, 1], true, "one address"),
            (&[0, 1, 20, 0, 192, 0, 0x20], true, "bits up to the twentieth"),
            (&[0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 1], true, "IPv6"),
            (&[], false, "no head"),
            (&[0, 1, 24], false, "half a head"),
            (&[0, 0, 8, 0, 10], false, "a net of no family"),
            (&[0, 3, 8, 0, 10], false, "an unknown family"),
            (&[0, 1, 33, 0, 192, 0, 2, 1, 0], false, "longer than an address"),
            (&[0, 2, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], false, "longer than an IPv6 address"),
            (&[0, 1, 24, 0, 192, 0], false, "too few octets"),
            (&[0, 1, 24, 0, 192, 0, 2, 0], false, "too many octets"),
            (&[0, 1, 0, 0, 0], false, "an octet for no bits"),
            (&[0, 1, 20, 0, 192, 0, 0x28], false, "a bit past the prefix"),
            (&[0, 1, 24, 24, 192, 0, 2], false, "a scope in a query"),
        ];
        for (data, valid, what) in cases {
            assert_eq!(ClientSubnet::parse(data).is_some(), valid, "{what}");
        }
    }

    #[test]
    fn a_client_that_hides_is_not_seen() {
        assert_eq!(ClientSubnet::parse(&[0, 1, 0, 0]).unwrap().client(), None);
        let seen = ClientSubnet::parse(&[0, 1, 20, 0, 192, 0, 0x20]).unwrap();
        assert_eq!(seen.client(), Some("192.0.32.0".parse().unwrap()));
        assert_eq!(seen.octets(), [192, 0, 0x20]);
    }

    #[test]
    fn cookies_go_by_length() {
        for len in 0..=60 {
            assert_eq!(Cookie::parse(&vec![7; len]).is_some(), len == 8 || (16..=40).contains(&len), "{len}");
        }
    }

    #[test]
    fn unknown_options_are_skipped_and_broken_ones_are_not() {
        let nsid = Edns::parse(1232, 0x8000, &[0xff, 0, 0, 1, 9, 0, 3, 0, 0]);
        assert!(nsid.wants_nsid && nsid.dnssec_ok && !nsid.is_malformed);
        assert!(Edns::parse(512, 0, &[0, 3, 0, 2, 9]).is_malformed);
        assert!(Edns::parse(512, 0, &[0, 3, 0]).is_malformed);
        assert!(!Edns::parse(512, 1 << 16, &[0, 3, 0]).is_malformed, "another version may have other options");
        assert!(nsid.client_subnet.is_none() && Edns::parse(512, 0, &[0, 8, 0, 1, 0]).is_malformed);
    }

    #[test]
    fn the_first_of_equal_options_counts_and_options_have_a_limit() {
        let cookies = [&[0, 10, 0, 8][..], &[1; 8], &[0, 10, 0, 8], &[2; 8], &[0, 10, 0, 1, 3]].concat();
        let subnets = [&[0, 8, 0, 7, 0, 1, 24, 0, 5, 9, 7][..], &[0, 8, 0, 5, 0, 1, 8, 0, 9, 0, 8, 0, 1, 7]].concat();
        let options = [cookies, subnets].concat();
        let first = Edns::parse(1232, 0, &options);
        assert_eq!((first.is_malformed, first.cookie.map(|cookie| cookie.client)), (false, Some([1; 8])));
        assert_eq!(first.client_subnet.map(|subnet| subnet.source), Some(24));
        for (count, is_malformed) in [(MAX_OPTIONS, false), (MAX_OPTIONS + 1, true)] {
            assert_eq!(Edns::parse(1232, 0, &[0xFF, 0xF0, 0, 0].repeat(count)).is_malformed, is_malformed);
        }
    }
}
