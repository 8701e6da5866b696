//! Cookies in whole messages (RFC 7873): the reply to each kind, and the facts for the servers.

use super::{SECRETS, WORLD, line, opt, question, reply_over};
use crate::answer::{Outcome, RawQuery, Reply, Transport, answer};
use crate::snapshot::{Identity, Snapshot};
use crate::wire::cookie::CookieSecrets;
use crate::wire::edns::Cookie;

const CLIENT: [u8; 8] = *b"\x01client\xFF";
const NOW: u32 = 1_800_000_000;

fn ask<'a>(packet: &'a [u8], source: &str) -> RawQuery<'a> {
    let source = source.parse().unwrap();
    RawQuery { packet, source, transport: Transport::Udp, entropy: 7, unix_secs: NOW }
}

/// An address question with a cookie option of this data, or, with `questions` 0, only the option.
fn with_cookie(data: &[u8], questions: u8) -> Vec<u8> {
    let option = [&[0, 10, 0, data.len() as u8], data].concat();
    if questions > 0 {
        return question("mail.plain.test.", 1, Some((1232, &option)));
    }
    [&[0x12, 0x34, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &opt(1232, 0, &option)].concat()
}

/// The facts of the reply to a query with this cookie.
fn reply_facts(snapshot: &Snapshot, packet: &[u8]) -> Reply {
    match answer(snapshot, &ask(packet, "198.51.100.1:4000"), &mut [0; 1232]) {
        Outcome::Reply(reply) => reply,
        Outcome::Silence(reject) => panic!("{reject:?}"),
    }
}

/// The cookies at the end of a reply.
fn cookies_of(bytes: &[u8]) -> Option<Cookie<'_>> {
    let data = bytes.last_chunk::<28>()?;
    Cookie::parse(data.strip_prefix(&[0, 10, 0, 24])?)
}

fn issued(secrets: &CookieSecrets, age: u32) -> Vec<u8> {
    secrets.issue(CLIENT, "198.51.100.1".parse().unwrap(), NOW - age).to_vec()
}

#[test]
fn every_reply_to_a_cookie_has_a_fresh_one() {
    let expected = issued(&SECRETS, 0);
    for data in [&CLIENT[..], &issued(&SECRETS, 60), &issued(&SECRETS, 9000), &[&CLIENT[..], &[9; 32]].concat()] {
        let packet = with_cookie(data, 1);
        let bytes = reply_over(&WORLD, &ask(&packet, "198.51.100.1:4000"));
        assert!(line(&bytes).starts_with("ok aa"), "{data:?}: an answer whatever the cookie");
        let cookies = cookies_of(&bytes).unwrap_or_else(|| panic!("{data:?}: no cookie"));
        assert_eq!([&cookies.client[..], cookies.server].concat(), expected, "{data:?}");
    }
    let packet = with_cookie(&CLIENT, 1);
    let elsewhere = reply_over(&WORLD, &ask(&packet, "198.51.100.2:4000"));
    assert_ne!(cookies_of(&elsewhere).unwrap().server, &expected[8..], "for another address another cookie");
    let refused = reply_over(&WORLD, &ask(&question("x.example.", 1, None), "198.51.100.1:4000"));
    assert!(cookies_of(&refused).is_none());
}

#[test]
fn a_reply_has_the_fact_that_the_cookie_was_ours() {
    let other = CookieSecrets { current: [8; 16], other: None };
    let foreign = CookieSecrets { current: [9; 16], other: None };
    for (data, valid, what) in [
        (CLIENT.to_vec(), false, "the client's alone"),
        (issued(&SECRETS, 0), true, "ours"),
        (issued(&SECRETS, 3600), true, "an hour old"),
        (issued(&SECRETS, 3601), false, "too old"),
        (issued(&other, 0), true, "made with the secret before"),
        (issued(&foreign, 0), false, "made by another"),
    ] {
        assert_eq!(reply_facts(&WORLD, &with_cookie(&data, 1)).has_valid_cookie, valid, "{what}");
    }
    assert!(!reply_facts(&WORLD, &question("mail.plain.test.", 1, None)).has_valid_cookie);
}

#[test]
fn a_query_may_be_for_a_cookie_alone() {
    for (data, expected) in [(CLIENT.to_vec(), 0), (issued(&SECRETS, 60), 0), (issued(&SECRETS, 9000), 23)] {
        let packet = with_cookie(&data, 0);
        assert_eq!(reply_facts(&WORLD, &packet).rcode, expected);
        let bytes = reply_over(&WORLD, &ask(&packet, "198.51.100.1:4000"));
        assert_eq!((&bytes[..3], bytes[3] & 0xF), (&[0x12, 0x34, 0x81][..], (expected & 0xF) as u8));
        assert_eq!(bytes[4..12], [0, 0, 0, 0, 0, 0, 0, 1], "nothing but OPT");
        assert_eq!(cookies_of(&bytes).unwrap().server, &issued(&SECRETS, 0)[8..]);
    }
    let bare = [&[0x12, 0x34, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &opt(1232, 0, &[])].concat();
    assert_eq!(reply_facts(&WORLD, &bare).rcode, 1, "no question and no cookie");
}

#[test]
fn without_a_secret_cookies_are_an_unknown_option() {
    let without = Snapshot { identity: Identity::default().into(), ..WORLD.clone() };
    let plain = reply_over(&without, &ask(&question("mail.plain.test.", 1, Some((1232, &[]))), "198.51.100.1:4000"));
    assert_eq!(reply_over(&without, &ask(&with_cookie(&CLIENT, 1), "198.51.100.1:4000")), plain);
    assert_eq!(reply_facts(&without, &with_cookie(&CLIENT, 0)).rcode, 1);
}
