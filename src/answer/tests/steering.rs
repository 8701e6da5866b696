//! Steered names in replies: picks, chains through them, fallbacks, and what the client subnet does.

use super::{WORLD, ask_over, check, line, question, reply, reply_over, snapshot};
use crate::answer::{Outcome, Transport, answer};
use crate::model::Health;
use crate::wire::code::rtype::{A, AAAA, ANY, CNAME, MX, TXT};

const NEGATIVE: &str = " SOA ns.steered.test. h.steered.test. 1 2 3 4 900";

#[test]
fn a_steered_name_answers_its_types_and_the_file_the_rest() {
    check(
        &WORLD,
        &[
            ("www.steered.test.", A, "ok aa www.steered.test. 20 A 192.0.2.10"),
            ("www.steered.test.", AAAA, "ok aa www.steered.test. 20 AAAA 2001:db8::10"),
            ("www.steered.test.", ANY, "ok aa www.steered.test. 20 A 192.0.2.10"),
            ("www.steered.test.", TXT, "ok aa www.steered.test. 3600 TXT beside"),
            ("www.steered.test.", MX, &format!("ok aa auth: steered.test. 900{NEGATIVE}")),
            ("x.app.steered.test.", A, "ok aa x.app.steered.test. 20 A 192.0.2.10"),
            ("app.steered.test.", A, &format!("ok aa auth: steered.test. 900{NEGATIVE}")),
        ],
    );
}

#[test]
fn chains_lead_through_steered_names() {
    let near = "ok aa near.steered.test. 20 CNAME www.steered.test.";
    check(
        &WORLD,
        &[
            (
                "alias.steered.test.",
                A,
                "ok aa alias.steered.test. 3600 CNAME www.steered.test. www.steered.test. 20 A 192.0.2.10",
            ),
            ("near.steered.test.", A, &format!("{near} www.steered.test. 20 A 192.0.2.10")),
            ("near.steered.test.", TXT, &format!("{near} www.steered.test. 3600 TXT beside")),
            ("near.steered.test.", CNAME, near),
            ("far.steered.test.", A, "ok aa far.steered.test. 20 CNAME WWW.hosting.example."),
            (
                "first.steered.test.",
                A,
                "ok aa first.steered.test. 20 CNAME second.steered.test. \
                 second.steered.test. 20 CNAME far.steered.test. \
                 far.steered.test. 20 CNAME WWW.hosting.example.",
            ),
            (
                "steered.test.",
                MX,
                "ok aa steered.test. 3600 MX 10 www.steered.test. add: www.steered.test. 20 A \
              192.0.2.10 www.steered.test. 20 AAAA 2001:db8::10",
            ),
        ],
    );
}

#[test]
fn every_record_that_goes_out_is_counted() {
    let mut out = vec![0; 1232];
    let counted = |name: &str, rtype, out: &mut [u8]| {
        let packet = question(name, rtype, None);
        match answer(&WORLD, &ask_over(&packet, "198.51.100.1:4000", Transport::Udp), out) {
            Outcome::Reply(reply) => {
                let label = |id: &u32| {
                    let labels = WORLD.tallies.labels(*id).unwrap();
                    format!("{}/{}", labels.name, labels.endpoint)
                };
                let mut names: Vec<String> = reply.tallies.as_slice().iter().map(label).collect();
                names.sort();
                names.join(" ")
            }
            Outcome::Silence(reject) => reject.as_str().to_string(),
        }
    };
    assert_eq!(counted("both.steered.test.", A, &mut out), "both/eu both/us");
    assert_eq!(counted("x.app.steered.test.", A, &mut out), "*.app/eu");
    assert_eq!(counted("near.steered.test.", A, &mut out), "near/near www/eu");
    assert_eq!(counted("ns.steered.test.", A, &mut out), "");
}

#[test]
fn when_nothing_is_up() {
    let down = snapshot(Health::Down);
    check(
        &down,
        &[
            // No longer than the steered answer would be good for: a recovery shows as soon as any other change.
            ("safe.steered.test.", A, "ok aa safe.steered.test. 20 A 192.0.2.99"),
            ("none.steered.test.", A, &format!("ok aa auth: steered.test. 20{NEGATIVE}")),
        ],
    );
    let stale = reply(&down, &question("x.app.steered.test.", A, Some((1232, &[]))));
    assert!(stale.ends_with(&[0, 15, 0, 2, 0, 3]), "EDE 3 (RFC 8914, 4.4): {stale:?}");
    let fresh = reply(&WORLD, &question("x.app.steered.test.", A, Some((1232, &[]))));
    assert!(fresh.ends_with(&[0, 0]), "no option: {fresh:?}");
}

#[test]
fn the_client_is_seen_by_its_subnet_or_its_address() {
    let address = |subnet: Option<&[u8]>, source: &str| {
        let packet = question("www.steered.test.", A, subnet.map(|data| (1232, data)));
        line(&reply_over(&WORLD, &ask_over(&packet, source, Transport::Udp)))
    };
    let us = "ok aa www.steered.test. 20 A 192.0.2.20";
    let eu = "ok aa www.steered.test. 20 A 192.0.2.10";
    assert_eq!(address(None, "203.0.113.5:53"), us);
    assert_eq!(address(None, "192.0.2.5:53"), eu);
    assert_eq!(address(Some(&[0, 8, 0, 11, 0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 7, 0]), "192.0.2.5:53"), us);
    // SOURCE 0: the client doesn't want to be looked at, so that who asks is the client.
    assert_eq!(address(Some(&[0, 8, 0, 4, 0, 1, 0, 0]), "203.0.113.5:53"), us);
}

#[test]
fn the_scope_says_for_whom_the_answer_is() {
    let option_of = |name: &str, subnet: &[u8]| {
        let bytes = reply(&WORLD, &question(name, A, Some((1232, subnet))));
        bytes[bytes.len() - subnet.len()..].to_vec()
    };
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100];
    // A name that looks at its clients: family, source and address as in the query, a scope of ours.
    let looked = option_of("www.steered.test.", &subnet);
    assert_eq!((&looked[..7], &looked[8..]), (&subnet[..7], &subnet[8..]));
    assert!((1..=24).contains(&looked[7]), "scope {}", looked[7]);
    for name in ["x.app.steered.test.", "ns.steered.test.", "mail.plain.test.", "nope.steered.test.", "x.example."] {
        let bytes = reply(&WORLD, &question(name, A, Some((1232, &subnet))));
        let at = bytes.windows(subnet.len()).position(|window| window == subnet);
        assert!(at.is_some(), "{name}: the option as in the query, scope 0");
    }
}
