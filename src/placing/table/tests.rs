//! Longest nets, cut-offs, projections and IPv4 in IPv6 by hand-made rules; then any rules against the definition.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::placing::address::EMBEDDINGS;
use crate::placing::test_addresses::any_address;

fn clients(rules: &[(&str, u16)]) -> Clients {
    let rules = rules.iter().map(|(net, class)| ClientRule { net: net.parse().unwrap(), class: ClassId(*class) });
    Clients { classes: Vec::new(), rules: rules.collect(), ..Clients::default() }
}

fn check(sentence: &str, rules: &[(&str, u16)], cutoff: Option<(u8, u8)>, expected: &[(&str, u16, u8)]) {
    let table = ClientTable::compile(&clients(rules), None, cutoff);
    for &(ip, class, scope) in expected {
        assert_eq!(table.lookup(ip.parse().unwrap()), (ClassId(class), scope), "{sentence}: {ip}");
    }
}

#[test]
fn an_address_is_of_the_class_of_its_longest_net() {
    check("no rule", &[], None, &[("192.0.2.1", 0, 0), ("2001:db8::1", 0, 0), ("::ffff:192.0.2.1", 0, 0)]);
    check(
        "a net in a net",
        &[("10.0.0.0/8", 1), ("10.1.0.0/16", 2)],
        None,
        &[("10.1.2.3", 2, 16), ("10.0.9.9", 1, 16), ("10.128.0.0", 1, 9), ("11.0.0.0", 0, 8), ("192.0.2.1", 0, 1)],
    );
    check(
        "both ends of the space",
        &[("0.0.0.0/1", 1), ("255.255.255.255/32", 2)],
        None,
        &[("0.0.0.0", 1, 1), ("255.255.255.255", 2, 32), ("255.255.255.254", 0, 32), ("128.0.0.0", 0, 2)],
    );
    check("everything", &[("0.0.0.0/0", 3), ("::/0", 3)], None, &[("10.0.0.1", 3, 0), ("2001:db8::1", 3, 0)]);
    check(
        "equal neighbours are one range",
        &[("10.0.0.0/9", 1), ("10.128.0.0/9", 1), ("10.3.0.0/16", 1)],
        None,
        &[("10.3.0.1", 1, 8)],
    );
}

#[test]
fn nets_finer_than_the_cut_off_are_not_seen() {
    let rules = [("10.0.0.0/8", 1), ("10.1.1.0/25", 2), ("2001:db8::/56", 3), ("2001:db8::/64", 4)];
    check("v4", &rules, Some((24, 56)), &[("10.1.1.1", 1, 8), ("2001:db8::1", 3, 56)]);
    check("not cut", &rules, None, &[("10.1.1.1", 2, 25), ("2001:db8::1", 4, 64)]);
}

#[test]
fn a_projection_merges_classes_and_scopes_are_as_short_as_it_allows() {
    let clients = clients(&[("10.0.0.0/9", 1), ("10.128.0.0/9", 2), ("11.0.0.0/8", 3)]);
    let projection = [0, 1, 1, 3].map(ClassId);
    let table = ClientTable::compile(&clients, Some(&projection), None);
    assert_eq!(table.lookup("10.200.0.1".parse().unwrap()), (ClassId(1), 8));
    let blind = ClientTable::compile(&clients, Some(&[ClassId(0); 4]), None);
    assert_eq!(blind.lookup("10.200.0.1".parse().unwrap()), (ClassId(0), 0));
}

#[test]
fn ipv4_in_ipv6_is_ipv4_with_a_scope_of_ipv6() {
    let rules = [("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("2000::/3", 3)];
    check(
        "embedded",
        &rules,
        None,
        &[("::ffff:10.1.0.1", 2, 112), ("2002:0a01:0203::1", 2, 32), ("64:ff9b::10.0.0.1", 1, 112)],
    );
    check("a scope in IPv6 never reaches into 6to4", &rules, None, &[("2001::1", 3, 15), ("2003::1", 3, 16)]);
    check("a rule for the mapped net", &[("::ffff:10.0.0.0/104", 1)], None, &[("10.9.9.9", 1, 8)]);
    check("the net's own rule first", &[("::ffff:10.0.0.0/104", 1), ("10.0.0.0/8", 2)], None, &[("10.0.0.1", 2, 8)]);
}

/// What the table must say, straight from the definition.
fn oracle(clients: &Clients, ip: IpAddr) -> ClassId {
    let ip = match ip {
        IpAddr::V6(v6) => embedded_address(v6).map_or(ip, |(v4, _)| IpAddr::V4(Ipv4Addr::from_bits(v4))),
        IpAddr::V4(_) => ip,
    };
    let best = clients.rules.iter().filter(|rule| rule.net.contains(&ip)).max_by_key(|rule| rule.net.prefix_len());
    best.map_or(clients.fallback, |rule| rule.class)
}

/// The first addresses of a prefix, its last one, and every edge of a rule or embedding in it: if two classes meet
/// inside the prefix, two of these differ.
fn probes(clients: &Clients, start: u128, len: u8, bits: u8) -> Vec<u128> {
    let last = start | (u128::MAX.checked_shr(128 - u32::from(bits - len)).unwrap_or(0));
    let mut points = vec![start, last];
    for rule in &clients.rules {
        let (first, end) = match rule.net {
            IpNet::V4(net) => (u128::from(net.network().to_bits()), u128::from(net.broadcast().to_bits())),
            IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
        };
        let own = matches!(rule.net, IpNet::V4(_)) == (bits == 32);
        if own {
            points.extend([first, end, first.saturating_sub(1), end.saturating_add(1)]);
        } else if bits == 128 {
            for e in EMBEDDINGS {
                let shift = 128 - 32 - u32::from(e.len);
                points.extend([first, end + 1].map(|v4| e.start + (v4 << shift)));
                points.extend([first, end + 1].map(|v4| (e.start + (v4 << shift)).saturating_sub(1)));
            }
        }
    }
    if bits == 128 {
        points.extend(EMBEDDINGS.iter().flat_map(|e| [e.start - 1, e.start, e.start.last_of(e.len) + 1]));
    }
    points.retain(|point| (start..=last).contains(point));
    points
}

fn ip_of(bits: u8, address: u128) -> IpAddr {
    if bits == 32 { IpAddr::V4((address as u32).into()) } else { IpAddr::V6(address.into()) }
}

fn prefix_of(address: u128, len: u8, bits: u8) -> u128 {
    address & !(u128::MAX.checked_shr(128 - u32::from(bits - len)).unwrap_or(0))
}

fn is_uniform(clients: &Clients, address: u128, len: u8, bits: u8) -> bool {
    let start = prefix_of(address, len, bits);
    let class = oracle(clients, ip_of(bits, address));
    probes(clients, start, len, bits).into_iter().all(|point| oracle(clients, ip_of(bits, point)) == class)
}

/// Nets close together, so that they nest and touch: few leading bits, of which some repeat.
fn any_rules() -> impl Strategy<Value = Vec<ClientRule>> {
    let v4 = (0_u32..64, 0_u8..=8, any::<bool>()).prop_map(|(top, len, deep)| {
        let (address, len) = if deep { (0xC000_0200 | top, len + 24) } else { (top << 26, len) };
        IpNet::new(Ipv4Addr::from_bits(address).into(), len).unwrap().trunc()
    });
    let v6 = (0_u128..256, 0_u8..=20, any::<bool>()).prop_map(|(top, len, deep)| {
        let (address, len) =
            if deep { (0x2001_0DB8_u128 << 96 | top << 72, len + 36) } else { ((0x2000 + top) << 112, len) };
        IpNet::new(Ipv6Addr::from_bits(address).into(), len).unwrap().trunc()
    });
    prop::collection::vec((prop_oneof![v4, v6], 0_u16..3), 0..12).prop_map(|rules| {
        let mut rules: Vec<ClientRule> =
            rules.into_iter().map(|(net, class)| ClientRule { net, class: ClassId(class) }).collect();
        rules.sort_by_key(|rule| rule.net);
        rules.dedup_by_key(|rule| rule.net);
        // A rule inside an embedding is folded, which the oracle doesn't know.
        rules.retain(|rule| match rule.net {
            IpNet::V6(net) => !EMBEDDINGS.iter().any(|e| e.holds(net.network().to_bits()) && net.prefix_len() >= e.len),
            IpNet::V4(_) => true,
        });
        rules
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    // A failure prints the case itself, minimal, which is more than a seed.
    #[test]
    fn class_and_scope_are_true_and_the_scope_is_the_shortest(rules in any_rules(), (bits, address) in any_address()) {
        let clients = Clients { classes: Vec::new(), rules, ..Clients::default() };
        let (class, scope) = ClientTable::compile(&clients, None, None).lookup(ip_of(bits, address));
        prop_assert_eq!(class, oracle(&clients, ip_of(bits, address)));
        prop_assert!(is_uniform(&clients, address, scope, bits), "scope {} holds another class", scope);
        prop_assert!(scope == 0 || !is_uniform(&clients, address, scope - 1, bits), "scope {} could be shorter", scope);
    }
}
