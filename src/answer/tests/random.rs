//! Any octets at all: silence, or a reply that is whole, no longer than allowed, and to the question. proptest prints
//! the case that fails, and keeps its seed.

use hickory_proto::op::Message;
use proptest::prelude::*;

use super::{WORLD, ask_over, opt, question, reply_over};
use crate::answer::{MAX_UDP_REPLY, Transport};

/// Names that lead everywhere, for questions of any type.
const NAMES: [&str; 26] = [
    "plain.test.",
    "mail.plain.test.",
    "x.w.plain.test.",
    "alias.plain.test.",
    "loop1.plain.test.",
    "del.plain.test.",
    "x.del.plain.test.",
    "x.dn.plain.test.",
    "a.b.c.d.e.f.g.plain.test.",
    "many.plain.test.",
    "x.wns.plain.test.",
    "kid.plain.test.",
    "up.kid.plain.test.",
    "lone.plain.test.",
    "tochild.plain.test.",
    "www.steered.test.",
    "near.steered.test.",
    "far.steered.test.",
    "both.steered.test.",
    "x.app.steered.test.",
    "first.steered.test.",
    "_srv._tcp.steered.test.",
    "web.steered.test.",
    "steered.test.",
    ".",
    "x.example.",
];

fn holds(packet: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    let bytes = reply_over(&WORLD, &ask_over(packet, "192.0.2.5:4000", transport));
    if bytes.is_empty() {
        prop_assert!(packet.len() < 12 || packet[2] & 0x80 != 0);
        return Ok(());
    }
    let message = Message::from_vec(&bytes);
    prop_assert!(message.is_ok(), "{:?} of {:?}", message, bytes);
    prop_assert_eq!(&bytes[..2], &packet[..2]);
    prop_assert!(transport != Transport::Udp || bytes.len() <= MAX_UDP_REPLY);
    prop_assert!(packet[11] != 0 || packet[10] != 0 || transport != Transport::Udp || bytes.len() <= 512);
    if bytes[5] == 1 {
        let end = 12 + question_len(&packet[12..]);
        prop_assert_eq!(&bytes[12..end], &packet[12..end]);
    }
    Ok(())
}

fn question_len(wire: &[u8]) -> usize {
    let mut at = 0;
    while wire[at] != 0 {
        at += 1 + usize::from(wire[at]);
    }
    at + 5
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_octets(packet in prop::collection::vec(any::<u8>(), 0..300), tcp: bool) {
        holds(&packet, if tcp { Transport::Tcp } else { Transport::Udp })?;
    }

    #[test]
    fn damaged_questions(
        name in prop::sample::select(&NAMES[..]),
        rtype in prop_oneof![0_u16..70, 249_u16..258, any::<u16>()],
        size: u16,
        options in prop::collection::vec(any::<u8>(), 0..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut packet = question(name, rtype, Some((size, &options)));
        for (at, value) in damage {
            let at = at.index(packet.len());
            packet[at] = value;
        }
        packet.truncate(cut.map_or(packet.len(), |at| at.index(packet.len())));
        holds(&packet, Transport::Udp)?;
        holds(&packet, Transport::Tcp)?;
    }

    #[test]
    fn sound_questions_are_answered(
        name in prop::sample::select(&NAMES[..]),
        rtype in prop_oneof![1_u16..70, any::<u16>()],
        edns: bool,
        size: u16,
    ) {
        let mut packet = question(name, rtype, None);
        if edns {
            packet[11] = 1;
            packet.extend(opt(size, 0x8000, &[0, 3, 0, 0]));
        }
        let bytes = reply_over(&WORLD, &ask_over(&packet, "192.0.2.5:4000", Transport::Udp));
        prop_assert_eq!(bytes.get(5), Some(&1));
        prop_assert!(bytes[3] & 0xF != 1 && bytes[3] & 0xF != 2);
        let limit = if edns { usize::from(size).clamp(512, MAX_UDP_REPLY) } else { 512 };
        prop_assert!(bytes.len() <= limit);
        holds(&packet, Transport::Udp)?;
    }
}
