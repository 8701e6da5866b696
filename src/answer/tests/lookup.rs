//! The lookup algorithm on static zones, a case a rule.

use super::{SETTINGS, WORLD, check, compiled, line, loaded, question, reply};
use crate::model::Health;
use crate::wire::code::rtype::{A, AAAA, ANY, CNAME, DS, MX, NS, SOA, TXT};

const NEGATIVE: &str = " auth: plain.test. 300 SOA ns1.plain.test. h.plain.test. 1 2 3 4 300";

#[test]
fn names_that_are_there() {
    check(
        &WORLD,
        &[
            ("mail.plain.test.", A, "ok aa mail.plain.test. 3600 A 192.0.2.2"),
            ("unk.plain.test.", 731, "ok aa unk.plain.test. 3600 TYPE731 AQID"),
            ("mail.plain.test.", ANY, "ok aa mail.plain.test. 3600 A 192.0.2.2"),
            ("mail.plain.test.", AAAA, &format!("ok aa{NEGATIVE}")),
            ("b.c.plain.test.", A, &format!("ok aa{NEGATIVE}")),
            ("nope.plain.test.", A, &format!("nxdomain aa{NEGATIVE}")),
            ("x.y.z.nope.plain.test.", A, &format!("nxdomain aa{NEGATIVE}")),
            ("test.", A, "refused"),
            ("x.example.", A, "refused"),
            (".", NS, "refused"),
        ],
    );
}

#[test]
fn wildcards_cover_what_is_not_there() {
    check(
        &WORLD,
        &[
            ("x.w.plain.test.", A, "ok aa x.w.plain.test. 3600 A 192.0.2.3"),
            ("y.x.w.plain.test.", A, "ok aa y.x.w.plain.test. 3600 A 192.0.2.3"),
            ("*.w.plain.test.", A, "ok aa *.w.plain.test. 3600 A 192.0.2.3"),
            ("w.plain.test.", A, &format!("ok aa{NEGATIVE}")),
            ("x.w.plain.test.", TXT, &format!("ok aa{NEGATIVE}")),
            // Below a name that is the wildcard itself nothing is made up (RFC 4592, 2.2.1).
            ("x.*.w.plain.test.", A, &format!("nxdomain aa{NEGATIVE}")),
            (
                "x.wc.plain.test.",
                A,
                "ok aa x.wc.plain.test. 3600 CNAME mail.plain.test. mail.plain.test. 3600 A 192.0.2.2",
            ),
            // NS at a wildcard delegates nothing that is made up (RFC 4592, 4.2).
            ("x.wns.plain.test.", A, &format!("ok aa{NEGATIVE}")),
        ],
    );
}

#[test]
fn chains_end() {
    check(
        &WORLD,
        &[
            (
                "alias.plain.test.",
                A,
                "ok aa alias.plain.test. 3600 CNAME alias2.plain.test. alias2.plain.test. 3600 CNAME \
                 mail.plain.test. mail.plain.test. 3600 A 192.0.2.2",
            ),
            ("alias.plain.test.", CNAME, "ok aa alias.plain.test. 3600 CNAME alias2.plain.test."),
            ("alias.plain.test.", crate::wire::code::rtype::RRSIG, &format!("ok aa{NEGATIVE}")),
            (
                "dangling.plain.test.",
                A,
                &format!("nxdomain aa dangling.plain.test. 3600 CNAME nowhere.plain.test.{NEGATIVE}"),
            ),
            ("outside.plain.test.", A, "ok aa outside.plain.test. 3600 CNAME www.example."),
            (
                "loop1.plain.test.",
                A,
                "ok aa loop1.plain.test. 3600 CNAME loop2.plain.test. loop2.plain.test. 3600 CNAME loop1.plain.test.",
            ),
            (
                "todel.plain.test.",
                A,
                "ok aa todel.plain.test. 3600 CNAME www.del.plain.test. auth: del.plain.test. 3600 NS \
                 ns.del.plain.test. del.plain.test. 3600 NS ns1.plain.test. add: ns.del.plain.test. 3600 A 192.0.2.5 \
                 ns1.plain.test. 3600 A 192.0.2.1 ns1.plain.test. 3600 AAAA 2001:db8::1",
            ),
        ],
    );
}

#[test]
fn delegations_refer() {
    let referral = "ok auth: del.plain.test. 3600 NS ns.del.plain.test. del.plain.test. 3600 NS ns1.plain.test. add: \
                    ns.del.plain.test. 3600 A 192.0.2.5 ns1.plain.test. 3600 A 192.0.2.1 ns1.plain.test. 3600 AAAA \
                    2001:db8::1";
    // Key tag 1, algorithm 8, digest type 2, and the digest.
    let ds = format!("AAEIAq{}", "q".repeat(42));
    check(
        &WORLD,
        &[
            ("del.plain.test.", A, referral),
            ("del.plain.test.", NS, referral),
            ("www.del.plain.test.", TXT, referral),
            ("ns.del.plain.test.", A, referral),
            ("nope.del.plain.test.", A, referral),
            ("x.del.plain.test.", DS, referral),
            ("del.plain.test.", DS, &format!("ok aa del.plain.test. 3600 DS {ds}")),
        ],
    );
}

#[test]
fn a_dname_moves_what_is_below() {
    // The DNAME's RDATA is `target.plain.test.`, not compressed (RFC 6672, 2.5).
    let moved =
        "ok aa dn.plain.test. 3600 DNAME BnRhcmdldAVwbGFpbgR0ZXN0AA== x.dn.plain.test. 3600 CNAME x.target.plain.test.";
    check(
        &WORLD,
        &[
            ("x.dn.plain.test.", A, &format!("{moved} x.target.plain.test. 3600 A 192.0.2.8")),
            ("x.dn.plain.test.", CNAME, moved),
            ("dn.plain.test.", TXT, "ok aa dn.plain.test. 3600 TXT owner"),
        ],
    );
    // `swap1` and below it lead to `swap2` and back; each DNAME is given once (RFC 2181, 5).
    let swapped = line(&reply(&WORLD, &question("x.a.a.swap1.plain.test.", A, None)));
    assert!(swapped.starts_with("nxdomain aa swap1.plain.test. 3600 DNAME"), "{swapped}");
    assert!(swapped.contains("x.swap1.plain.test. 3600 CNAME x.swap2.plain.test."), "{swapped}");
    assert_eq!(swapped.matches(" DNAME ").count(), 2, "{swapped}");
    let owner = line(&reply(&WORLD, &question("a.a.swap2.plain.test.", crate::wire::code::rtype::DNAME, None)));
    assert_eq!(owner.matches(" DNAME ").count(), 2, "{owner}");
    let any = line(&reply(&WORLD, &question("a.a.swap2.plain.test.", ANY, None)));
    assert_eq!(any.matches(" DNAME ").count(), 2, "{any}");
    let long = format!("{}.dn.plain.test.", vec!["x".repeat(59); 4].join("."));
    assert!(line(&reply(&WORLD, &question(&long, A, None))).starts_with("yxdomain aa dn.plain.test. 3600 DNAME"));
}

#[test]
fn a_service_at_its_owner_has_the_addresses_of_the_owner() {
    let svcb = crate::wire::code::rtype::SVCB;
    let reply_line = line(&reply(&WORLD, &question("x.service.plain.test.", svcb, None)));
    assert!(reply_line.ends_with("add: x.service.plain.test. 3600 A 192.0.2.11"), "{reply_line}");
    let https = crate::wire::code::rtype::HTTPS;
    let reply_line = line(&reply(&WORLD, &question("own.plain.test.", https, None)));
    let added = " add: own.plain.test. 3600 A 192.0.2.12 mail.plain.test. 3600 A 192.0.2.2";
    assert!(reply_line.ends_with(added), "{reply_line}");
}

#[test]
fn a_child_zone_is_served_with_its_parent() {
    let above = " auth: plain.test. 300 SOA ns1.plain.test. h.plain.test. 1 2 3 4 300";
    check(
        &WORLD,
        &[
            ("www.kid.plain.test.", A, "ok aa www.kid.plain.test. 600 A 192.0.2.70"),
            ("kid.plain.test.", DS, &format!("ok aa{above}")),
            ("lone.plain.test.", DS, &format!("ok aa{above}")),
            ("up.kid.plain.test.", A, "ok aa up.kid.plain.test. 600 CNAME mail.plain.test."),
            (
                "tochild.plain.test.",
                A,
                "ok aa tochild.plain.test. 3600 CNAME www.kid.plain.test. auth: kid.plain.test. 3600 NS \
                 ns.kid.plain.test. add: ns.kid.plain.test. 3600 A 192.0.2.7",
            ),
            (
                "nope.kid.plain.test.",
                A,
                "nxdomain aa auth: kid.plain.test. 600 SOA ns.kid.plain.test. h.kid.plain.test. 1 2 3 4 3000",
            ),
        ],
    );
}

#[test]
fn a_chain_is_followed_as_far_as_resolvers_follow_it() {
    use std::fmt::Write as _;
    let mut zone = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\nx.d20 A 192.0.2.2\n".to_owned();
    let mut policy = "zone = \"long.test.\"\n".to_owned();
    for at in 0..20 {
        let next = at + 1;
        let _ = writeln!(zone, "c{at} CNAME c{next}\nd{at} DNAME d{next}\nl{at} DNAME {}.l{next}", "x".repeat(60));
        let _ = writeln!(policy, "[endpoint.e{at}]\ncname = \"s{next}.long.test.\"\n[pool.p{at}]");
        let _ = writeln!(policy, "members = [\"e{at}\"]\n[name.s{at}]\npool = \"p{at}\"");
    }
    let files =
        [("zones/long.test.zone", &*zone), ("zones/long.test.policy.toml", &*policy), ("portolan.toml", SETTINGS)];
    let snapshot = compiled(loaded(&files), Health::Up);
    let records = |name: &str| {
        let reply = line(&reply(&snapshot, &question(name, A, Some((1232, &[])))));
        assert!(reply.starts_with("ok aa ") && !reply.contains("aa tc"), "{reply}");
        reply.matches(" CNAME ").count()
    };
    assert_eq!(records("c0.long.test."), 12);
    assert_eq!(records("x.d0.long.test."), 12);
    // A draw counts as two steps.
    assert_eq!(records("s0.long.test."), 6);
    // The record itself, in a zone with more targets than names that have addresses.
    check(&snapshot, &[("c15.long.test.", CNAME, "ok aa c15.long.test. 60 CNAME c16.long.test.")]);
    let dname = line(&reply(&snapshot, &question("d15.long.test.", crate::wire::code::rtype::DNAME, None)));
    assert!(dname.starts_with("ok aa d15.long.test. 60 DNAME"), "{dname}");
    // The name gets too long first.
    let long = line(&reply(&snapshot, &question("x.l0.long.test.", A, Some((1232, &[])))));
    assert!(long.starts_with("yxdomain aa l0.long.test. 60 DNAME"), "{long}");
    assert_eq!(long.matches(" CNAME ").count(), 3, "{long}");
}

/// Knot and BIND answer so: the parent, whose DS a question for the apex itself would get, is not looked at.
#[test]
fn a_chain_to_the_apex_of_its_zone_stays_there_for_ds() {
    for zone in ["kid.plain.test.", "lone.plain.test."] {
        for owner in ["home", "x.wild"] {
            let expected =
                format!("ok aa {owner}.{zone} 600 CNAME {zone} auth: {zone} 600 SOA ns.{zone} h.{zone} 1 2 3 4 3000");
            check(&WORLD, &[(&format!("{owner}.{zone}"), DS, &expected)]);
        }
    }
}

#[test]
fn addresses_come_along() {
    check(
        &WORLD,
        &[
            (
                "plain.test.",
                MX,
                "ok aa plain.test. 3600 MX 10 mail.plain.test. plain.test. 3600 MX 20 any.w.plain.test. add: \
                 mail.plain.test. 3600 A 192.0.2.2 any.w.plain.test. 3600 A 192.0.2.3",
            ),
            (
                "plain.test.",
                NS,
                "ok aa plain.test. 3600 NS ns1.plain.test. add: ns1.plain.test. 3600 A 192.0.2.1 ns1.plain.test. 3600 \
                 AAAA 2001:db8::1",
            ),
            ("plain.test.", SOA, "ok aa plain.test. 3600 SOA ns1.plain.test. h.plain.test. 1 2 3 4 300"),
        ],
    );
}
