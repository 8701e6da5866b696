//! Everything around the lookup: what is refused, EDNS, sizes, silence.

use super::{WORLD, ask_over, line, opt, question, reply, reply_over};
use crate::answer::{Outcome, Reject, Transport, answer};
use crate::wire::code::rtype::{A, AXFR, IXFR, TXT};

/// A question with the header's second 16 bits, QDCOUNT and QCLASS changed.
fn changed(flags: u16, questions: u16, class: u16) -> Vec<u8> {
    let mut packet = question("mail.plain.test.", A, None);
    packet[2..4].copy_from_slice(&flags.to_be_bytes());
    packet[4..6].copy_from_slice(&questions.to_be_bytes());
    let len = packet.len();
    packet[len - 2..].copy_from_slice(&class.to_be_bytes());
    packet
}

#[test]
fn what_is_not_answered_says_why() {
    let transfer = |rtype| question("plain.test.", rtype, None);
    for (packet, expected) in [
        (changed(0x2000, 1, 1), "refused"),
        (changed(0x2800, 1, 1), "refused"),
        (changed(0x0800, 1, 1), "notimp"),
        (changed(0x7800, 1, 1), "notimp"),
        (changed(0, 0, 1), "formerr"),
        (changed(0, 2, 1), "formerr"),
        (changed(0, 1, 3), "refused"),
        (changed(0, 1, 254), "refused"),
        (changed(0, 1, 255), "ok mail.plain.test. 3600 A 192.0.2.2"),
        (transfer(AXFR), "refused"),
        (transfer(IXFR), "refused"),
    ] {
        assert_eq!(line(&reply(&WORLD, &packet)), expected, "{packet:?}");
    }
}

#[test]
fn padded_queries_over_encrypted_transports_get_padded_replies() {
    let padded = question("mail.plain.test.", A, Some((1232, &[0, 12, 0, 3, 0, 0, 0])));
    let other = question("mail.plain.test.", A, Some((1232, &[])));
    for transport in Transport::ALL {
        let over = |packet: &[u8]| reply_over(&WORLD, &ask_over(packet, "192.0.2.5:53", transport));
        let (reply, plain) = (over(&padded), over(&other));
        let is_encrypted = !matches!(transport, Transport::Udp | Transport::Tcp);
        assert_eq!(reply.len() == 468, is_encrypted, "{transport:?}: {} octets", reply.len());
        assert_eq!(reply != plain, is_encrypted, "{transport:?}");
        assert_eq!(line(&reply), line(&plain), "{transport:?}");
        // The padding is the last option, and what it says of its length is so.
        if is_encrypted {
            let len = 468 - plain.len() - 4;
            assert_eq!(reply[plain.len()..][..4], [0, 12, (len >> 8) as u8, len as u8]);
            assert!(reply[plain.len() + 4..].iter().all(|octet| *octet == 0));
        }
    }
}

#[test]
fn silence_has_a_reason() {
    let mut out = vec![0; 1232];
    let good = question("mail.plain.test.", A, None);
    let mut response = good.clone();
    response[2] |= 0x80;
    for (packet, source, expected) in [
        (&good[..11], "192.0.2.5:53", Reject::Short),
        (&[], "192.0.2.5:53", Reject::Short),
        (&response, "192.0.2.5:53", Reject::Response),
        (&good, "192.0.2.5:0", Reject::PortZero),
    ] {
        let outcome = answer(&WORLD, &ask_over(packet, source, Transport::Udp), &mut out);
        assert!(matches!(outcome, Outcome::Silence(reject) if reject == expected), "{expected:?}: {outcome:?}");
    }
}

#[test]
fn the_header_and_the_question_come_back() {
    let mut packet = question("mail.plain.test.", A, None);
    packet[13..17].copy_from_slice(b"mAiL");
    // Z, AD, CD, RA, TC and AA aren't ours to repeat; RD is.
    packet[2..4].copy_from_slice(&0x07F0_u16.to_be_bytes());
    let bytes = reply(&WORLD, &packet);
    assert_eq!(bytes[..4], [0x12, 0x34, 0x85, 0x00]);
    assert_eq!(bytes[12..33], packet[12..33]);
}

#[test]
fn edns_is_answered_in_kind() {
    let with = |ttl: u32, options: &[u8]| {
        let mut packet = question("mail.plain.test.", A, None);
        packet[11] = 1;
        packet.extend(opt(4096, ttl, options));
        reply(&WORLD, &packet)
    };
    let plain = with(0, &[]);
    assert!(plain.ends_with(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]));
    assert!(with(0xFFFF, &[]).ends_with(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]), "DO alone is repeated");
    let badvers = with(1 << 16, &[9]);
    assert_eq!(badvers[3] & 0xF, 0);
    assert!(badvers.ends_with(&[0, 0, 41, 0x04, 0xD0, 1, 0, 0, 0, 0, 0]), "BADVERS");
    assert_eq!(badvers[6..8], [0, 0], "no answer");
    assert_eq!(with(0, &[0xFF, 0xFF, 0, 1, 5]), plain, "an unknown option");
    assert!(with(0, &[0, 3, 0, 0]).ends_with(b"\x00\x08\x00\x03\x00\x04node"), "NSID");
    for broken in [&[0, 8, 0, 1, 0][..], &[0, 10, 0, 7, 1, 2, 3, 4, 5, 6, 7], &[0, 3, 0, 1]] {
        let bytes = with(0, broken);
        assert_eq!((bytes[3] & 0xF, bytes[11]), (1, 1), "FORMERR with OPT");
    }
    let refused = reply(&WORLD, &question("x.example.", A, Some((1232, &[]))));
    assert!(refused.ends_with(&[0, 15, 0, 2, 0, 20]), "EDE 20 (RFC 8914, 4.21)");
}

#[test]
fn what_does_not_fit_is_cut_between_rrsets() {
    let big = |edns| question("many.plain.test.", TXT, edns);
    let plain = reply(&WORLD, &big(None));
    assert_eq!(line(&plain), "ok aa tc");
    let small = reply(&WORLD, &big(Some((100, &[]))));
    assert_eq!((line(&small).as_str(), small[11]), ("ok aa tc", 1), "OPT is kept");
    assert!(!line(&reply(&WORLD, &big(Some((1232, &[]))))).contains("tc"));
    for transport in [Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic] {
        let packet = big(None);
        assert!(!line(&reply_over(&WORLD, &ask_over(&packet, "192.0.2.1:5", transport))).contains("tc"));
    }
}
