//! What holds of any packet.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::str;

use hickory_proto::op::Message;
use portolan::answer::{MAX_UDP_REPLY, Outcome, RawQuery, Transport};
use portolan::snapshot::Snapshot;
use portolan::wire::edns::{ClientSubnet, Cookie};
use portolan::wire::query::Query;
use portolan::wire::{Name, NameBuf};

use super::{shape, world};

/// The least that a reply over UDP may have, and all that it may without EDNS (RFC 1035, 2.3.4; RFC 6891, 6.2.3).
const SHORT: usize = 512;
/// RA, Z, AD and CD: never set by us.
const NEVER_SET: u16 = 0x00F0;
const QR: u16 = 0x8000;
/// Opcode and RD: as they were.
const REPEATED: u16 = 0x7900;

thread_local! {
    static OUT: RefCell<Vec<u8>> = RefCell::new(vec![0; usize::from(u16::MAX)]);
}

/// Of the first octet: 3 bits transport, 1 IPv6, 2 which world, 1 source port 0; the packet follows.
pub fn answer(data: &[u8]) {
    let Some((&how, packet)) = data.split_first() else { return };
    let transport = Transport::ALL[usize::from(how & 7) % Transport::ALL.len()];
    let port = if how & 0x40 != 0 { 0 } else { 4000 };
    let source: SocketAddr = match how & 8 {
        0 => ([198, 51, 100, 7], port).into(),
        _ => ([0x2001, 0xdb8, 2, 0, 0, 0, 0, 7], port).into(),
    };
    let ask = RawQuery {
        packet,
        source,
        transport,
        entropy: u64::from(how) << 40 | packet.len() as u64,
        unix_secs: 1_800_000_000,
    };
    holds(world::of(usize::from(how >> 4 & 3)), &ask);
}

/// Asks, and holds the reply to everything that any reply must be.
pub(crate) fn holds(snapshot: &Snapshot, ask: &RawQuery<'_>) {
    OUT.with_borrow_mut(|out| {
        let room = if ask.transport == Transport::Udp { MAX_UDP_REPLY } else { out.len() };
        match portolan::answer::answer(snapshot, ask, &mut out[..room]) {
            Outcome::Silence(_) => assert!(is_silence_right(ask), "silence"),
            Outcome::Reply(reply) => {
                assert!(!is_silence_right(ask), "a reply where silence is right");
                check_reply(ask, &out[..reply.len]);
            }
        }
    });
}

fn is_silence_right(ask: &RawQuery<'_>) -> bool {
    let from_nobody = ask.source.port() == 0 && ask.transport == Transport::Udp;
    from_nobody || ask.packet.len() < shape::HEADER || shape::field(ask.packet, 2) & QR != 0
}

fn check_reply(ask: &RawQuery<'_>, reply: &[u8]) {
    let packet = ask.packet;
    assert!(reply.len() >= shape::HEADER);
    assert!(ask.transport != Transport::Udp || reply.len() <= most_over_udp(packet), "too long: {}", reply.len());
    assert_eq!(reply[..2], packet[..2], "id");
    let (flags, query_flags) = (shape::field(reply, 2), shape::field(packet, 2));
    assert_eq!(flags & (QR | REPEATED | NEVER_SET), QR | query_flags & REPEATED, "flags");
    match shape::question(packet) {
        Some(question) => {
            assert_eq!(shape::field(reply, 4), 1, "no question");
            assert_eq!(shape::question(reply), Some(question), "another question");
        }
        None => assert_eq!(shape::field(reply, 4), 0, "a question that the query has not"),
    }
    assert_eq!(shape::end(reply), Some(reply.len()), "it doesn't end where it ends");
    if let Err(why) = Message::from_vec(reply) {
        panic!("hickory can't read it: {why}");
    }
}

/// What the sender of a packet can take, by the first OPT record that is found in it.
fn most_over_udp(packet: &[u8]) -> usize {
    let mut name = NameBuf::default();
    let edns = Query::parse(packet, &mut name).ok().and_then(|query| query.edns);
    let most = edns.map_or(SHORT, |edns| usize::from(edns.udp_size)).clamp(SHORT, MAX_UDP_REPLY);
    assert!(shape::field(packet, 10) != 0 || most == SHORT, "EDNS in a packet without additional records");
    most
}

/// The first octet is skipped, so that this has the corpus of [`answer`].
pub fn query_parse(data: &[u8]) {
    let Some((_, packet)) = data.split_first() else { return };
    let mut name = NameBuf::default();
    if let Ok(query) = Query::parse(packet, &mut name) {
        assert_eq!(query.id.to_be_bytes()[..], packet[..2]);
        assert_eq!(query.question.as_ref().map(|question| question.wire), shape::question(packet), "the question");
        assert!(query.is_malformed || query.question.is_none() || shape::end(packet).is_some());
    } else {
        assert!(packet.len() < shape::HEADER || packet[2] & 0x80 != 0, "rejected without a reason");
    }
    for at in [0, 1, 2, 4, 12].into_iter().filter(|at| *at <= packet.len()) {
        parts(&packet[at..]);
    }
}

fn parts(data: &[u8]) {
    if let Some(subnet) = ClientSubnet::parse(data) {
        let again = [&subnet.family.to_be_bytes()[..], &[subnet.source, 0], subnet.octets()].concat();
        assert_eq!(again, data, "a subnet");
    }
    if let Some(cookie) = Cookie::parse(data) {
        assert_eq!([&cookie.client[..], cookie.server].concat(), data, "a cookie");
    }
    if let Some(name) = Name::from_wire(data) {
        assert_eq!(name.as_wire(), data.to_ascii_lowercase(), "a name");
        assert_eq!(Name::parse(&name.to_string()).as_ref(), Ok(&name), "a name, written and read");
    }
    if let Ok(name) = str::from_utf8(data).map_err(drop).and_then(|text| Name::parse(text).map_err(drop)) {
        assert_eq!(Name::from_wire(name.as_wire()), Some(name), "a name, read from a text");
    }
}
