//! Names whose answers depend on the client's net: the answer of each client, and the scope of the reply.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use super::{SETTINGS, STEERED_ZONE, ask_over, compiled, line, loaded, question, reply_over};
use crate::answer::{Outcome, RawQuery, Transport, answer};
use crate::model::Health;
use crate::snapshot::Snapshot;
use crate::wire::code::rtype::{A, AAAA, MX};

/// Ten equal endpoints behind each name.
const POLICY: &str = r#"
[ecs]
v4 = 24
v6 = 48

[pool.eu]
steer = "affinity"
members = ["e0", "e1", "e2", "e3", "e4"]

[pool.us]
steer = "affinity"
members = ["e5", "e6", "e7", "e8", "e9"]

[pool.world]
members = ["eu", "us"]

[pool.near]
steer = "nearest"
members = ["eu", "us"]

[name.www]
pool = "world"
affinity = { v4 = 24, v6 = 56 }

[name.wide]
pool = "eu"
affinity = { v4 = 16, v6 = 40 }

[name.fine]
pool = "eu"
affinity = { v4 = 32, v6 = 64 }

[name.two]
pool = "world"
answers = 2
affinity = { v4 = 16, v6 = 40 }

[name.near]
pool = "near"
affinity = { v4 = 8, v6 = 8 }
"#;

fn snapshot(head: &str) -> Snapshot {
    let endpoints = (0..10).map(|at| {
        let region = if at < 5 { "eu" } else { "us" };
        format!("[endpoint.e{at}]\naddresses = [\"192.0.2.{at}\", \"2001:db8::{at}\"]\nregion = \"{region}\"\n")
    });
    let policy = format!("zone = \"steered.test.\"\n{}{POLICY}{head}", endpoints.collect::<String>());
    compiled(
        loaded(&[
            ("zones/steered.test.zone", STEERED_ZONE),
            ("zones/p.policy.toml", &policy),
            ("portolan.toml", SETTINGS),
        ]),
        Health::Up,
    )
}

static STICKY: LazyLock<Snapshot> = LazyLock::new(|| snapshot(""));

/// A client subnet option with scope 0.
fn subnet(net: &str) -> Vec<u8> {
    let (ip, bits) = net.split_once('/').expect("a net");
    let bits: u8 = bits.parse().expect("a length");
    let (family, octets) = match ip.parse().expect("an address") {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let octets = &octets[..usize::from(bits).div_ceil(8)];
    [&[0, 8, 0, 4 + octets.len() as u8, 0, family, bits, 0], octets].concat()
}

/// The answer's line, by chance `entropy`, and its scope for a client subnet.
fn answered(
    of: &Snapshot,
    name: &str,
    rtype: u16,
    source: &str,
    net: Option<&str>,
    entropy: u64,
) -> (String, Option<u8>) {
    let option = net.map(subnet);
    let packet = question(
        format!("{name}.steered.test.").trim_start_matches('.'),
        rtype,
        option.as_deref().map(|data| (1232, data)),
    );
    let bytes = reply_over(of, &RawQuery { entropy, ..ask_over(&packet, source, Transport::Udp) });
    let scope = option.map(|option| bytes[bytes.len() - option.len() + 7]);
    (line(&bytes), scope)
}

const RESOLVER: &str = "198.51.100.1:4000";

#[test]
fn a_net_has_one_answer_and_nets_have_many() {
    let answer = |source: &str, entropy| answered(&STICKY, "www", A, source, None, entropy).0;
    let mut answers = BTreeSet::new();
    for net in 0..40 {
        let first = answer(&format!("10.0.{net}.1:53"), 0);
        for (host, entropy) in [(2, 1 << 63), (254, 0x1234_5678_9ABC_DEF0)] {
            assert_eq!(answer(&format!("10.0.{net}.{host}:5{host}"), entropy), first);
        }
        assert_eq!(answer(&format!("[::ffff:10.0.{net}.9]:53"), 5), first, "IPv4 in IPv6 is IPv4");
        assert_eq!(
            answered(&STICKY, "www", A, RESOLVER, Some(&format!("10.0.{net}.0/24")), 9).0,
            first,
            "by its subnet"
        );
        answers.insert(first);
    }
    assert!(answers.len() >= 8, "{answers:?}");
}

#[test]
fn several_records_and_other_families_stay_as_well() {
    for (name, rtype) in [("two", A), ("two", AAAA), ("www", AAAA)] {
        let first = answered(&STICKY, name, rtype, "10.0.0.1:53", None, 0).0;
        assert!((1..50).all(|n| answered(&STICKY, name, rtype, "10.0.0.1:53", None, n << 40).0 == first), "{name}");
    }
}

#[test]
fn the_scope_is_what_the_draw_looked_at() {
    for (name, net, scope) in [
        ("www", "10.0.1.0/24", 24),
        ("www", "10.0.0.0/16", 24),
        ("wide", "10.0.1.0/24", 16),
        ("two", "10.0.1.0/24", 16),
        ("fine", "10.0.1.128/25", 24),
        ("www", "2001:db8:1:2300::/56", 48),
        ("wide", "2001:db8:1:2300::/56", 40),
        ("fine", "2001:db8:1:2300::/56", 48),
        ("www", "::ffff:10.0.1.0/120", 120),
        ("wide", "64:ff9b::a00:100/120", 112),
        ("wide", "2002:a00:100::/40", 32),
    ] {
        assert_eq!(answered(&STICKY, name, A, RESOLVER, Some(net), 1).1, Some(scope), "{name} for {net}");
    }
    // The class of 203.0.113.0/24 is another than that of its neighbours; the net is looked at less closely.
    assert_eq!(answered(&STICKY, "near", A, RESOLVER, Some("203.0.113.0/24"), 1).1, Some(24));
    let far = answered(&STICKY, "near", A, RESOLVER, Some("10.0.1.0/24"), 1).1;
    assert_eq!(far, Some(8), "longer than what the class looks at");
}

#[test]
fn a_cut_off_makes_one_client_of_what_it_cannot_tell_apart() {
    let answer = |net: &str| answered(&STICKY, "fine", A, RESOLVER, Some(net), 3).0;
    for net in 0..20 {
        assert_eq!(answer(&format!("10.0.{net}.0/25")), answer(&format!("10.0.{net}.128/25")));
    }
    let own = |host: u8| answered(&STICKY, "fine", A, &format!("10.0.0.{host}:53"), None, 3).0;
    assert!((1..40).map(own).collect::<BTreeSet<_>>().len() > 3, "known by its own address it is seen whole");
}

#[test]
fn without_ecs_the_resolver_is_the_client() {
    let mut off = snapshot("[name.plain]\npool = \"eu\"\naffinity = true\n");
    let model = std::sync::Arc::make_mut(&mut off.model);
    std::sync::Arc::make_mut(&mut model.zones[0]).ecs.enabled = false;
    let off = compiled(model.clone(), Health::Up);
    let by_net = |net: u8| answered(&off, "plain", A, RESOLVER, Some(&format!("10.0.{net}.0/24")), u64::from(net));
    let first = by_net(0);
    assert_eq!(first.1, Some(0));
    assert!((1..30).all(|net| by_net(net) == first));
}

#[test]
fn what_others_point_at_is_by_net_too() {
    let (first, scope) = answered(&STICKY, "", MX, RESOLVER, Some("10.0.1.0/24"), 0);
    assert!(first.contains("add: www.steered.test. 20 A 192.0.2."), "{first}");
    assert_eq!(scope, Some(24));
    assert!((1..30).all(|n| answered(&STICKY, "", MX, RESOLVER, Some("10.0.1.0/24"), n << 30).0 == first));
}

#[test]
fn rate_limiting_counts_a_name_and_not_its_endpoints() {
    let packet = question("www.steered.test.", A, None);
    let subject = |net: u8| {
        let source = format!("10.0.{net}.1:53");
        match answer(&STICKY, &ask_over(&packet, &source, Transport::Udp), &mut [0; 1232]) {
            Outcome::Reply(reply) => reply.subject,
            Outcome::Silence(reject) => panic!("{}", reject.as_str()),
        }
    };
    assert!((0..40).map(subject).all(|other| other == subject(0)));
}
