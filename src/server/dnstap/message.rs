//! A message of the query log as a Dnstap protobuf (dnstap.proto of dnstap.info; "Encoding" of Protocol Buffers).
//! The fields are few and fixed, so they are written directly into the buffer of a thread: a library would copy each
//! packet once more. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::answer::Transport;

/// What a message is: `Message.Type` of dnstap.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// A query as an authoritative server received it: AUTH_QUERY.
    Query,
    /// The reply as it was sent: AUTH_RESPONSE.
    Response,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoggedMessage<'a> {
    pub(super) kind: MessageKind,
    pub(super) client: SocketAddr,
    /// The address that the client sent to, where it is known.
    pub(super) server: Option<SocketAddr>,
    pub(super) transport: Transport,
    /// Nanoseconds since 1970 UTC: when the query was received, or the reply was made.
    pub(super) unix_nanos: u64,
    /// The message in wire form.
    pub(super) octets: &'a [u8],
}

/// Who writes the log: the two fields that are the same in each message.
#[derive(Debug, Clone)]
pub(super) struct LogIdentity {
    /// The name of this node (NSID).
    pub(super) node: String,
    /// Name and version of the program.
    pub(super) version: String,
}

/// More than all fields but identity, version and the octets take: 15 tags and lengths, two addresses, numbers.
pub(super) const OVERHEAD: usize = 128;

/// Wire types of protobuf.
const VARINT: u8 = 0;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

/// `Dnstap.Type.MESSAGE`.
const TYPE_MESSAGE: u64 = 1;

const NANOS: u64 = 1_000_000_000;

/// Field numbers of `Dnstap`.
mod outer_field {
    pub(super) const IDENTITY: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const MESSAGE: u8 = 14;
    pub(super) const TYPE: u8 = 15;
}

/// Field numbers of `Message`.
mod field {
    pub(super) const TYPE: u8 = 1;
    pub(super) const SOCKET_FAMILY: u8 = 2;
    pub(super) const SOCKET_PROTOCOL: u8 = 3;
    pub(super) const QUERY_ADDRESS: u8 = 4;
    pub(super) const RESPONSE_ADDRESS: u8 = 5;
    pub(super) const QUERY_PORT: u8 = 6;
    pub(super) const RESPONSE_PORT: u8 = 7;
    pub(super) const QUERY_TIME_SEC: u8 = 8;
    pub(super) const QUERY_TIME_NSEC: u8 = 9;
    pub(super) const QUERY_MESSAGE: u8 = 10;
    pub(super) const RESPONSE_TIME_SEC: u8 = 12;
    pub(super) const RESPONSE_TIME_NSEC: u8 = 13;
    pub(super) const RESPONSE_MESSAGE: u8 = 14;
}

/// Appends the message to `out`: at most [`OVERHEAD`] octets more than identity, version and the message itself.
pub(super) fn append(logged: &LoggedMessage<'_>, identity: &LogIdentity, out: &mut Vec<u8>) {
    bytes(out, outer_field::IDENTITY, identity.node.as_bytes());
    bytes(out, outer_field::VERSION, identity.version.as_bytes());
    varint(out, outer_field::TYPE, TYPE_MESSAGE);
    let mut fields = [0; OVERHEAD];
    let fields = fields_before_octets(logged, &mut fields);
    let number = match logged.kind {
        MessageKind::Query => field::QUERY_MESSAGE,
        MessageKind::Response => field::RESPONSE_MESSAGE,
    };
    let octets = logged.octets.len();
    tag(out, outer_field::MESSAGE, BYTES);
    raw_varint(out, (fields.len() + 1 + varint_len(octets as u64) + octets) as u64);
    out.extend_from_slice(fields);
    bytes(out, number, logged.octets);
}

/// All fields of `Message` but the octets, in `room`.
fn fields_before_octets<'r>(logged: &LoggedMessage<'_>, room: &'r mut [u8; OVERHEAD]) -> &'r [u8] {
    let mut out = Fields { room, len: 0 };
    let kind = match logged.kind {
        MessageKind::Query => 1,
        MessageKind::Response => 2,
    };
    let client = logged.client.ip().to_canonical();
    out.varint(field::TYPE, kind);
    out.varint(field::SOCKET_FAMILY, if client.is_ipv4() { 1 } else { 2 });
    out.varint(field::SOCKET_PROTOCOL, protocol(logged.transport));
    out.address(field::QUERY_ADDRESS, client);
    out.varint(field::QUERY_PORT, logged.client.port().into());
    if let Some(server) = logged.server {
        out.address(field::RESPONSE_ADDRESS, server.ip().to_canonical());
        out.varint(field::RESPONSE_PORT, server.port().into());
    }
    let [secs, nanos] = match logged.kind {
        MessageKind::Query => [field::QUERY_TIME_SEC, field::QUERY_TIME_NSEC],
        MessageKind::Response => [field::RESPONSE_TIME_SEC, field::RESPONSE_TIME_NSEC],
    };
    out.varint(secs, logged.unix_nanos / NANOS);
    out.fixed_32(nanos, (logged.unix_nanos % NANOS) as u32);
    let Fields { room, len } = out;
    &room[..len]
}

/// `SocketProtocol` of dnstap.proto.
fn protocol(transport: Transport) -> u64 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Https => 4,
        Transport::Quic => 7,
    }
}

/// Fields in a room that has enough for them.
struct Fields<'r> {
    room: &'r mut [u8; OVERHEAD],
    len: usize,
}

impl Fields<'_> {
    fn put(&mut self, octets: &[u8]) {
        self.room[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }

    fn varint(&mut self, number: u8, mut value: u64) {
        self.put(&[number << 3 | VARINT]);
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }

    fn fixed_32(&mut self, number: u8, value: u32) {
        self.put(&[number << 3 | FIXED_32]);
        self.put(&value.to_le_bytes());
    }

    fn address(&mut self, number: u8, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.put(&[number << 3 | BYTES, 4]);
                self.put(&address.octets());
            }
            IpAddr::V6(address) => {
                self.put(&[number << 3 | BYTES, 16]);
                self.put(&address.octets());
            }
        }
    }
}

fn tag(out: &mut Vec<u8>, number: u8, wire_type: u8) {
    out.push(number << 3 | wire_type);
}

fn varint(out: &mut Vec<u8>, number: u8, value: u64) {
    tag(out, number, VARINT);
    raw_varint(out, value);
}

fn bytes(out: &mut Vec<u8>, number: u8, octets: &[u8]) {
    tag(out, number, BYTES);
    raw_varint(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

fn raw_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Octets of a varint.
fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> LogIdentity {
        LogIdentity { node: "ns1".into(), version: "portolan 1".into() }
    }

    fn logged(kind: MessageKind, octets: &[u8]) -> LoggedMessage<'_> {
        LoggedMessage {
            kind,
            client: "192.0.2.1:5353".parse().unwrap(),
            server: Some("[2001:db8::1]:53".parse().unwrap()),
            transport: Transport::Tcp,
            unix_nanos: 1_700_000_000_000_000_007,
            octets,
        }
    }

    /// Field number, wire type, and the number or the octets.
    fn fields(mut of: &[u8]) -> Vec<(u8, u64, Vec<u8>)> {
        fn number(of: &mut &[u8]) -> u64 {
            let mut value = 0;
            for at in 0.. {
                let (first, rest) = of.split_first().unwrap();
                *of = rest;
                value |= u64::from(first & 0x7f) << (7 * at);
                if first & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        let mut found = Vec::new();
        while !of.is_empty() {
            let tag = number(&mut of);
            let (value, octets) = match (tag & 7) as u8 {
                VARINT => (number(&mut of), Vec::new()),
                FIXED_32 => {
                    let (four, rest) = of.split_at(4);
                    of = rest;
                    (u32::from_le_bytes(four.try_into().unwrap()).into(), Vec::new())
                }
                BYTES => {
                    let len = number(&mut of) as usize;
                    let (octets, rest) = of.split_at(len);
                    of = rest;
                    (0, octets.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            found.push(((tag >> 3) as u8, value, octets));
        }
        found
    }

    #[test]
    fn a_query_has_the_fields_of_the_schema() {
        let mut out = Vec::new();
        append(&logged(MessageKind::Query, &[7; 300]), &identity(), &mut out);
        let outer = fields(&out);
        assert_eq!(outer[0], (1, 0, b"ns1".to_vec()));
        assert_eq!(outer[1], (2, 0, b"portolan 1".to_vec()));
        assert_eq!(outer[2], (15, 1, vec![]));
        let (14, _, message) = &outer[3] else { panic!("{outer:?}") };
        assert_eq!(
            fields(message),
            [
                (1, 1, vec![]),
                (2, 1, vec![]),
                (3, 2, vec![]),
                (4, 0, vec![192, 0, 2, 1]),
                (6, 5353, vec![]),
                (5, 0, "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()),
                (7, 53, vec![]),
                (8, 1_700_000_000, vec![]),
                (9, 7, vec![]),
                (10, 0, vec![7; 300]),
            ]
        );
    }

    #[test]
    fn a_response_has_its_own_time_and_octets_and_an_unknown_server_is_left_out() {
        let mut out = Vec::new();
        let client = "[::ffff:192.0.2.9]:1".parse().unwrap();
        let response = LoggedMessage { server: None, client, ..logged(MessageKind::Response, b"reply") };
        append(&response, &identity(), &mut out);
        let outer = fields(&out);
        let numbers: Vec<u8> = fields(&outer[3].2).iter().map(|field| field.0).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 6, 12, 13, 14]);
        assert_eq!(fields(&outer[3].2)[3].2, [192, 0, 2, 9], "a mapped address is of IPv4");
    }

    #[test]
    fn the_longest_message_takes_no_more_than_the_overhead() {
        let octets = vec![1; 65_535];
        let client = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let longest = LoggedMessage {
            client,
            server: Some(client),
            unix_nanos: u64::MAX,
            ..logged(MessageKind::Response, &octets)
        };
        let mut out = Vec::new();
        append(&longest, &identity(), &mut out);
        assert!(out.len() <= OVERHEAD + 3 + 10 + octets.len(), "{}", out.len());
    }

    #[test]
    fn the_length_of_a_varint_is_that_of_its_octets() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            raw_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }
}
