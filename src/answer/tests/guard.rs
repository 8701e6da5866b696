//! What rate limiting goes by, truncated stand-ins, and class CHAOS.

use super::{WORLD, ask_over, line, opt, question, reply_over};
use crate::answer::{Outcome, RawQuery, Reply, Transport, answer, answer_truncated};
use crate::snapshot::{Identity, Snapshot};
use crate::wire::code::rtype::{A, AAAA, ANY, NS, TXT};

fn udp(packet: &[u8]) -> RawQuery<'_> {
    ask_over(packet, "198.51.100.1:4000", Transport::Udp)
}

fn reply_facts(snapshot: &Snapshot, packet: &[u8]) -> Reply {
    match answer(snapshot, &udp(packet), &mut [0; 1232]) {
        Outcome::Reply(reply) => reply,
        Outcome::Silence(reject) => panic!("{reject:?}"),
    }
}

#[test]
fn made_up_names_share_a_subject_and_real_ones_have_their_own() {
    let subject = |name: &str, rtype| reply_facts(&WORLD, &question(name, rtype, None)).subject;
    for (a, b, same, what) in [
        (("nope.plain.test.", A), ("nope2.plain.test.", A), true, "names that don't exist"),
        (("nope.plain.test.", A), ("nope2.plain.test.", AAAA), true, "whatever the type"),
        (("nope.plain.test.", A), ("mail.plain.test.", 99), true, "types that don't exist"),
        (("nope.plain.test.", A), ("nope.steered.test.", A), false, "of another zone"),
        (("mail.plain.test.", A), ("mail.plain.test.", A), true, "the same"),
        (("mail.plain.test.", A), ("MAIL.plain.test.", A), true, "in another case"),
        (("mail.plain.test.", A), ("plain.test.", NS), false, "two names"),
        (("plain.test.", NS), ("plain.test.", ANY), false, "two types"),
        (("x.w.plain.test.", A), ("y.w.plain.test.", A), true, "made up by one wildcard"),
        (("x.dn.plain.test.", A), ("y.dn.plain.test.", TXT), true, "below one DNAME"),
        (("x.del.plain.test.", A), ("y.del.plain.test.", TXT), true, "one referral"),
        (("alias.plain.test.", A), ("alias.plain.test.", 99), true, "one alias, whatever the type"),
        (("x.example.", A), ("y.example.", NS), true, "not ours"),
    ] {
        assert_eq!(subject(a.0, a.1) == subject(b.0, b.1), same, "{what}");
    }
    assert_eq!(subject("x.example.", A), 0);
}

#[test]
fn a_truncated_reply_stands_in_for_an_answer_and_not_for_an_error() {
    let mut out = [0; 1232];
    let mut stand_in = |packet: &[u8]| match answer_truncated(&WORLD, &udp(packet), &mut out) {
        Outcome::Reply(reply) => out[..reply.len].to_vec(),
        Outcome::Silence(reject) => panic!("{reject:?}"),
    };
    for name in ["mail.plain.test.", "nope.plain.test.", "many.plain.test.", "x.example."] {
        let packet = question(name, TXT, Some((1232, &[0, 3, 0, 0])));
        let bytes = stand_in(&packet);
        assert_eq!(line(&bytes), "ok tc", "{name}");
        assert!(bytes.len() <= packet.len(), "{name}: no longer than the query");
        assert_eq!((bytes[11], &bytes[12..packet.len() - 15]), (1, &packet[12..packet.len() - 15]));
    }
    assert_eq!(line(&stand_in(&question("mail.plain.test.", A, Some((1232, &[0, 3, 0, 1]))))), "formerr");
    let bytes = stand_in(&question("mail.plain.test.", A, Some((1232, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]))));
    assert_eq!(bytes[bytes.len() - 28..][..4], [0, 10, 0, 24], "with a cookie for the next time");
}

#[test]
fn a_signature_with_an_unknown_key_gets_badkey() {
    let signed = |edns: Option<(u16, &[u8])>, owner: &[u8]| {
        let mut packet = question("mail.plain.test.", A, edns);
        packet[11] += 1;
        packet.extend_from_slice(owner);
        packet.extend_from_slice(b"\x00\xFA\x00\xFF\x00\x00\x00\x00\x00\x17");
        packet.extend_from_slice(b"\x03alg\x00\x00\x00\x68\x00\x00\x00\x01\x2C\x00\x02mm\x12\x34\x00\x00\x00\x00");
        packet
    };
    let badkey = b"\x00\xFA\x00\xFF\x00\x00\x00\x00\x00\x15\x03alg\x00\
        \x00\x00\x68\x00\x00\x00\x01\x2C\x00\x00\x12\x34\x00\x11\x00\x00";
    for edns in [None, Some((1232, &[0, 3, 0, 0][..]))] {
        for owner in [&b"\x03key\x00"[..], b"\x03key\xC0\x11"] {
            let bytes = reply_over(&WORLD, &udp(&signed(edns, owner)));
            assert_eq!((bytes[3] & 0xF, bytes[7], bytes[11]), (9, 0, 1 + u8::from(edns.is_some())), "NOTAUTH");
            assert!(bytes.ends_with(&[owner, badkey].concat()), "BADKEY: {bytes:?}");
        }
    }
    let mut update = signed(None, b"\x03key\x00");
    update[2] |= 5 << 3;
    assert_eq!(reply_facts(&WORLD, &update).rcode, 9);
    let last = signed(None, b"\x03key\x00");
    let not_last = [&last[..11], &[2], &last[12..], &opt(1232, 0, &[])].concat();
    assert_eq!(reply_facts(&WORLD, &not_last).rcode, 1);
}

#[test]
fn chaos_answers_what_the_settings_have() {
    let chaos = |name: &str, rtype: u16| {
        let mut packet = question(name, rtype, None);
        let len = packet.len();
        packet[len - 1] = 3;
        packet
    };
    let identity = Identity { version: Some("1.0 of a kind".into()), ..Identity::default() };
    let telling = Snapshot { identity: identity.into(), ..WORLD.clone() };
    let identity = Identity { id: Some("ns1".into()), ..Identity::default() };
    let known = Snapshot { identity: identity.into(), ..WORLD.clone() };
    for (snapshot, name, rtype, expected) in [
        (&*WORLD, "version.bind.", TXT, "refused"),
        (&*WORLD, "id.server.", TXT, "refused"),
        (&telling, "version.bind.", TXT, "ok aa version.bind. 0 TXT 1.0 of a kind"),
        (&telling, "version.server.", TXT, "ok aa version.server. 0 TXT 1.0 of a kind"),
        (&telling, "version.server.", ANY, "ok aa version.server. 0 TXT 1.0 of a kind"),
        (&telling, "version.bind.", A, "refused"),
        (&telling, "id.server.", TXT, "refused"),
        (&telling, "authors.bind.", TXT, "refused"),
        (&known, "id.server.", TXT, "ok aa id.server. 0 TXT ns1"),
        (&known, "hostname.bind.", TXT, "ok aa hostname.bind. 0 TXT ns1"),
        (&known, "version.bind.", TXT, "refused"),
    ] {
        assert_eq!(line(&reply_over(snapshot, &udp(&chaos(name, rtype)))), expected, "{name} {rtype}");
    }
    let longest = Identity { version: Some("x".repeat(300)), ..Identity::default() };
    let longest = Snapshot { identity: longest.into(), ..WORLD.clone() };
    let bytes = reply_over(&longest, &udp(&chaos("version.bind.", TXT)));
    assert!(line(&bytes).ends_with(&format!(" {}", "x".repeat(255))), "one character string");
    assert_eq!(bytes[bytes.len() - 268..][..6], [0xC0, 12, 0, 16, 0, 3], "of class CHAOS");
    let with_opt = [&chaos("version.bind.", TXT)[..11], &[1], &chaos("version.bind.", TXT)[12..], &opt(1232, 0, &[])];
    assert!(line(&reply_over(&telling, &udp(&with_opt.concat()))).starts_with("ok aa"));
}
