//! The classes that each policy distinguishes: local classes, and scopes that are true and the shortest for it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use crate::model::{AnswerRdata, Answerable, Endpoint};
use crate::model::{
    ClassId, ClientClass, ClientRule, Clients, Ecs, EndpointId, Facet, Fence, FenceId, Member, MemberRef, Model,
    Policy, PolicyId, Pool, PoolId, Region, RegionId, Selector, SelectorId, Steering, WorldView, Zone, ZoneId,
};
use crate::snapshot::compile::compile;
use crate::snapshot::{KnownBy, LocalClass, Snapshot};
use crate::steering::{self, Interest};
use crate::wire::Name;

const BY_CHANCE: PolicyId = PolicyId(0);
const BY_REGION: PolicyId = PolicyId(1);
const BY_SELECTOR: PolicyId = PolicyId(2);
const BY_BOTH: PolicyId = PolicyId(3);

/// The longest net that is seen by ECS.
const CUTOFF: u8 = 5;

/// Three regions and three selectors; policies that ask nothing, the region, one selector, the region and two
/// selectors.
fn model(rules: &[(IpNet, u16)]) -> Model {
    let endpoint = |at: u8| {
        let rdata = AnswerRdata::Address([192, 0, 2, at].into());
        Endpoint::new(format!("e{at}"), ZoneId(0), vec![Answerable::new(Facet::V4, rdata, None)])
    };
    let member = |at: u32, when: Option<u16>| Member {
        when: when.map(SelectorId),
        ..Member::new(MemberRef::Endpoint(EndpointId(at)), 1)
    };
    let pool = |name: &str, steering, members| Pool::new(name, steering, members);
    let policy = |pool: u32| {
        let endpoints = (0..3).map(EndpointId).collect();
        Policy::new(ZoneId(0), MemberRef::Pool(PoolId(pool)), endpoints, vec![Facet::V4])
    };
    let to_pool = |pool: u32, when: Option<u16>| Member {
        when: when.map(SelectorId),
        ..Member::new(MemberRef::Pool(PoolId(pool)), 1)
    };
    let class = |region: u16, selectors: &[u16]| ClientClass {
        region: region.checked_sub(1).map(RegionId),
        selectors: selectors.iter().copied().map(SelectorId).collect(),
    };
    let of_region = |n: u16| [class(n, &[]), class(n, &[0]), class(n, &[1]), class(n, &[0, 2]), class(n, &[1, 2])];
    Model {
        sources: Vec::new(),
        not_added: std::collections::BTreeMap::new(),
        own_names: std::collections::BTreeMap::new(),
        regions: ["r0", "r1", "r2"].map(|name| Region { name: name.into(), location: None }).to_vec(),
        clients: Clients {
            classes: (0..4).flat_map(of_region).collect(),
            selectors: (1..4).map(|asn| Selector { asns: vec![asn], ..Selector::default() }).collect(),
            rules: rules.iter().map(|&(net, class)| ClientRule { net, class: ClassId(class) }).collect(),
            fallback: ClassId(0),
            placement: None,
        },
        zones: vec![Arc::new(Zone {
            apex: Name::parse("t.example.").unwrap(),
            rrsets: Vec::new(),
            steered: Vec::new(),
            ecs: Ecs { v4: CUTOFF, ..Ecs::default() },
        })],
        endpoints: (0..3).map(endpoint).collect(),
        pools: vec![
            pool("chance", Steering::Weighted, vec![member(0, None), member(1, None)]),
            pool("region", Steering::Latency, vec![member(0, None), member(1, None)]),
            pool("selector", Steering::Geo, vec![member(0, Some(1)), member(1, None)]),
            pool("both", Steering::Geo, vec![to_pool(1, Some(0)), member(2, None)]),
        ],
        policies: vec![policy(0), policy(1), policy(2), Policy { fence: Some(FenceId(0)), ..policy(3) }],
        fences: vec![Fence { name: "f".into(), clients: SelectorId(2), inside: vec![EndpointId(0), EndpointId(1)] }],
        checks: Vec::new(),
        regional_view: false,
    }
}

fn snapshot(rules: &[(IpNet, u16)]) -> Snapshot {
    compile(Arc::new(model(rules)), Arc::new(WorldView::default()), Arc::default(), 1, None)
}

/// What an interest sees of a class.
fn seen(interest: &Interest, class: &ClientClass) -> ClientClass {
    ClientClass {
        region: class.region.filter(|_| interest.region),
        selectors: interest.selectors.iter().copied().filter(|id| class.is_selected(*id)).collect(),
    }
}

#[test]
fn a_policy_has_a_class_for_each_answer_to_what_it_asks() {
    let snapshot = snapshot(&[]);
    let classes = |policy| snapshot.local_classes(policy).len();
    assert_eq!(classes(BY_CHANCE), 1, "the policy looks at nothing");
    assert_eq!(classes(BY_REGION), 4, "three regions, and none");
    assert_eq!(classes(BY_SELECTOR), 2);
    assert_eq!(
        classes(BY_BOTH),
        4 * 4,
        "of the five sets of selectors two differ only by one that the policy does not look at"
    );
    for policy in [BY_CHANCE, BY_REGION, BY_SELECTOR, BY_BOTH] {
        let interest = steering::interest(&snapshot.model, policy);
        for (at, class) in snapshot.model.clients.classes.iter().enumerate() {
            let LocalClass(local) = snapshot.local(policy, ClassId(at as u16));
            let stands_for_it = snapshot.local_classes(policy).nth(usize::from(local)).unwrap();
            assert_eq!(seen(&interest, stands_for_it), seen(&interest, class));
        }
    }
}

#[test]
fn a_policy_that_asks_nothing_places_nobody() {
    let snapshot = snapshot(&[("10.0.0.0/8".parse().unwrap(), 7)]);
    let ip = "10.1.1.1".parse().unwrap();
    assert_eq!(snapshot.place(ip, BY_CHANCE, KnownBy::Address), (LocalClass(0), 0));
    assert_eq!(snapshot.place(ip, BY_CHANCE, KnownBy::Ecs), (LocalClass(0), 0));
    assert_eq!(snapshot.class(ip), (ClassId(7), 8), "explanations show it all the same");
}

#[test]
fn a_scope_spans_nets_that_are_alike_to_the_policy() {
    let net = |text: &str| text.parse().unwrap();
    // Classes 5 and 7 are of one region; selector 1 holds for the latter.
    let snapshot = snapshot(&[(net("10.0.0.0/9"), 5), (net("10.128.0.0/9"), 7)]);
    let scope = |policy| snapshot.place("10.200.0.1".parse().unwrap(), policy, KnownBy::Address).1;
    assert_eq!((scope(BY_REGION), scope(BY_SELECTOR), scope(BY_BOTH)), (8, 9, 8));
}

fn any_rules() -> impl Strategy<Value = Vec<(IpNet, u16)>> {
    let net = (0_u32..256, 0_u8..=8)
        .prop_map(|(top, len)| IpNet::new(Ipv4Addr::from_bits(top << 24).into(), len).unwrap().trunc());
    prop::collection::vec((net, 0_u16..20), 0..16).prop_map(|mut rules| {
        rules.sort_by_key(|(net, _)| *net);
        rules.dedup_by_key(|(net, _)| *net);
        rules
    })
}

/// The class of an address, straight from the definition.
fn oracle(model: &Model, ip: IpAddr, longest: u8) -> &ClientClass {
    let rules = model.clients.rules.iter().filter(|rule| rule.net.contains(&ip) && rule.net.prefix_len() <= longest);
    let class = rules.max_by_key(|rule| rule.net.prefix_len()).map_or(model.clients.fallback, |rule| rule.class);
    &model.clients.classes[usize::from(class.0)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    // No net is longer than eight bits, so 256 addresses stand for all.
    #[test]
    fn every_policys_scope_is_true_and_the_shortest(rules in any_rules(), top in any::<u8>(), by_ecs in any::<bool>()) {
        let snapshot = snapshot(&rules);
        let (by, longest) = if by_ecs { (KnownBy::Ecs, CUTOFF) } else { (KnownBy::Address, 32) };
        let ip = |top: u8| IpAddr::from([top, 1, 2, 3]);
        for policy in [BY_CHANCE, BY_REGION, BY_SELECTOR, BY_BOTH] {
            let interest = steering::interest(&snapshot.model, policy);
            let seen_at = |top: u8| seen(&interest, oracle(&snapshot.model, ip(top), longest));
            let is_uniform = |scope: u8| {
                let mask = !(u8::MAX.checked_shr(u32::from(scope)).unwrap_or(0));
                (0..=u8::MAX).filter(|other| other & mask == top & mask).all(|other| seen_at(other) == seen_at(top))
            };
            let (LocalClass(class), scope) = snapshot.place(ip(top), policy, by);
            let stands_for_it = snapshot.local_classes(policy).nth(usize::from(class)).unwrap();
            prop_assert_eq!(seen(&interest, stands_for_it), seen_at(top));
            prop_assert!(is_uniform(scope), "{policy:?}: the scope {scope} holds another class");
            prop_assert!(scope == 0 || !is_uniform(scope - 1), "{policy:?}: the scope {scope} could be shorter");
        }
    }
}
