//! Scopes in worlds of any shape, compared with all prefixes: the shortest one in which all clients are alike to the
//! policy and have the same answer.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::model::{AffinityNet, ClassId, ClientClass, ClientRule, Clients, Ecs, SelectorId, Zone};
use crate::placing::ClientNet;
use crate::snapshot::KnownBy;
use crate::steering;
use crate::steering::test_cases_worlds::{any_facet, any_model};
use crate::wire::Name;

const POLICY: PolicyId = PolicyId(0);
/// The longest net that is seen by ECS.
const CUTOFF: u8 = 5;

/// Clients of no region and of four, each with every set of two selectors, in nets of up to eight bits.
fn clients(clients: &Clients, rules: &[(u8, u8, u16)]) -> Clients {
    let sets: [&[u16]; 4] = [&[], &[0], &[1], &[0, 1]];
    let class = |region: u16, selectors: &[u16]| ClientClass {
        region: region.checked_sub(1).map(RegionId),
        selectors: selectors.iter().copied().map(SelectorId).collect(),
    };
    let net = |top: u8, len: u8| IpNet::new(Ipv4Addr::new(top, 0, 0, 0).into(), len).unwrap().trunc();
    let mut rules: Vec<ClientRule> =
        rules.iter().map(|(top, len, class)| ClientRule { net: net(*top, *len), class: ClassId(*class) }).collect();
    rules.sort_by_key(|rule| rule.net);
    rules.dedup_by_key(|rule| rule.net);
    let classes = (0..5).flat_map(|region| sets.map(|set| class(region, set))).collect();
    Clients { classes, rules, fallback: ClassId(0), ..clients.clone() }
}

fn zone() -> Zone {
    let ecs = Ecs { v4: CUTOFF, ..Ecs::default() };
    Zone { apex: Name::parse("t.example.").unwrap(), rrsets: Vec::new(), steered: Vec::new(), ecs }
}

/// What clients get of a cell: the TTL, and the records of many draws, which are the same ones where the cells are
/// alike.
#[derive(Debug, Clone, PartialEq)]
struct Given {
    head: (u32, bool, String, Option<AffinityNet>),
    draws: Vec<Vec<Vec<u8>>>,
}

fn given(cell: &Cell) -> Given {
    let draw = |number: u64| {
        let entropy = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let ip = IpAddr::V4(Ipv4Addr::from_bits((number as u32).wrapping_mul(0x0101_0107)));
        let picks = match cell.affinity() {
            Some(affinity) => cell.pick_for(entropy, ClientNet::of(affinity, ip, None)),
            None => cell.pick(entropy),
        };
        picks.iter().map(|pick| cell.record(*pick).bytes.to_vec()).collect()
    };
    let head = (cell.ttl(), cell.is_stale(), format!("{:?}", cell.content()), cell.affinity());
    Given { head, draws: (0..200).map(draw).collect() }
}

/// The class of an address, straight from the definition.
fn class_at(model: &Model, ip: IpAddr, longest: u8) -> ClassId {
    let rules = model.clients.rules.iter().filter(|rule| rule.net.contains(&ip) && rule.net.prefix_len() <= longest);
    rules.max_by_key(|rule| rule.net.prefix_len()).map_or(model.clients.fallback, |rule| rule.class)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    // No net is longer than eight bits, so 256 addresses stand for all.
    #[test]
    fn a_scope_is_the_shortest_prefix_whose_clients_are_alike_and_have_the_same_answer(
        (mut model, view) in any_model(),
        rules in prop::collection::vec((any::<u8>(), 0_u8..=8, 0_u16..20), 0..12),
        facet in any_facet(),
        by_ecs in any::<bool>(),
    ) {
        model.clients = clients(&model.clients, &rules);
        model.zones = vec![zone().into()];
        let snapshot = compile(Arc::new(model), Arc::new(view), Arc::default(), 1, None);
        let (by, longest) = if by_ecs { (KnownBy::Ecs, CUTOFF) } else { (KnownBy::Address, 32) };
        let ip = |top: u8| IpAddr::from([top, 1, 2, 3]);
        // On a node alone the policy looks at no region for the sake of reach.
        let alone = Model { regional_view: false, ..Model::clone(&snapshot.model) };
        let interest = steering::interest(&alone, POLICY);
        let looks = snapshot.facet(POLICY, facet).is_some_and(|of| of.cells.len() > 1);
        let seen = |class: &ClientClass| ClientClass {
            region: class.region.filter(|_| interest.region && looks),
            selectors: interest.selectors.iter().copied().filter(|id| looks && class.is_selected(*id)).collect(),
        };
        let of_class: Vec<(ClientClass, Option<Given>)> = (0..20)
            .map(|class| (
                seen(&snapshot.model.clients.classes[usize::from(class)]),
                snapshot.cell(POLICY, snapshot.local(POLICY, ClassId(class)), facet).map(given),
            ))
            .collect();
        let given_at: Vec<&(ClientClass, Option<Given>)> = (0..=u8::MAX)
            .map(|top| &of_class[usize::from(class_at(&snapshot.model, ip(top), longest).0)])
            .collect();
        for top in (0..=u8::MAX).step_by(7) {
            let scope = snapshot.scope(ip(top), POLICY, facet, by);
            let is_uniform = |scope: u8| {
                let mask = !(u8::MAX.checked_shr(u32::from(scope)).unwrap_or(0));
                let inside = (0..=u8::MAX).filter(|other| other & mask == top & mask);
                inside.map(usize::from).all(|other| given_at[other] == given_at[usize::from(top)])
            };
            prop_assert!(is_uniform(scope), "{}: the scope {} has another answer", ip(top), scope);
            // Cells of equal records can be made of different endpoints, which are not compared by what is drawn.
            let are_alike = |scope: u8| {
                let mask = !(u8::MAX.checked_shr(u32::from(scope)).unwrap_or(0));
                let cell = |top: u8| {
                    let class = class_at(&snapshot.model, ip(top), longest);
                    snapshot.cell(POLICY, snapshot.local(POLICY, class), facet)
                };
                let inside = (0..=u8::MAX).filter(|other| other & mask == top & mask);
                inside.map(cell).all(|other| match (cell(top), other) {
                    (Some(own), Some(other)) => own.answers_as(other),
                    (own, other) => own.is_none() && other.is_none(),
                })
            };
            let is_shortest = scope == 0 || !is_uniform(scope - 1) || !are_alike(scope - 1);
            prop_assert!(is_shortest, "{}: the scope {} could be shorter", ip(top), scope);
            let cell = snapshot.facet(POLICY, facet).and_then(|of| match &of.tables {
                Some(tables) => of.cell(tables.place(ip(top), by).0),
                None => of.cells.first(),
            });
            prop_assert_eq!(&cell.map(|cell| given(cell)), &given_at[usize::from(top)].1);
        }
    }
}

/// Two names with one fence; regions eu, us and ap. What is cut off for eu alone.
fn in_a_fleet() -> (Arc<Model>, WorldView) {
    let mut model = Model::clone(&super::model(
        r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m", country = "DE" }
        endpoint.b = { addresses = ["192.0.2.12"], monitor = "m" }
        pool.p = { members = ["a", "b"] }
        name.w = { pool = "p", fence = "f" }
        fence.f = { clients = { nets = ["128.0.0.0/1"] }, allow = { countries = ["DE"] } }
        "#,
    ));
    model.regional_view = true;
    let class = |region: u16, selectors: &[SelectorId]| ClientClass {
        region: Some(RegionId(region)),
        selectors: selectors.into(),
    };
    let held = &[SelectorId(0)];
    let net = |text: &str| text.parse().unwrap();
    let nets = ["0.0.0.0/3", "32.0.0.0/3", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"];
    let region = |name: &str| crate::model::Region { name: name.into(), location: None };
    model.regions = ["eu", "us", "ap"].map(region).into();
    model.clients.classes = vec![class(0, &[]), class(1, &[]), class(2, &[]), class(0, held), class(1, held)];
    model.clients.rules =
        nets.iter().zip(0..).map(|(text, class)| ClientRule { net: net(text), class: ClassId(class) }).collect();
    model.clients.placement = None;
    let up = CheckView { health: Health::Up, tried: true, ..CheckView::default() };
    let view = WorldView { checks: model.checks.iter().map(|_| up.clone()).collect(), ..WorldView::default() };
    (Arc::new(model), view)
}

#[test]
fn in_a_fleet_a_scope_distinguishes_regions_only_where_one_has_another_answer_now() {
    let (model, view) = in_a_fleet();
    let policy = PolicyId(0);
    let first = compile(model.clone(), Arc::new(view.clone()), Arc::default(), 1, None);
    let scopes = |snapshot: &Snapshot| {
        [1, 33, 65, 129, 193].map(|top| snapshot.scope([top, 0, 0, 1].into(), policy, Facet::V4, KnownBy::Ecs))
    };
    assert_eq!(scopes(&first), [1, 1, 1, 1, 1], "the fence alone");
    // Both sides of an endpoint out of reach: outside the fence, eu has another answer than us and ap.
    let cut = |check: usize, region: u16| {
        let mut next = view.clone();
        let mut all: Vec<CheckView> = next.checks.iter().cloned().collect();
        all[check].unreachable_from = [RegionId(region)].into();
        next.checks = all.into_iter().collect();
        refresh(&first, Arc::new(next))
    };
    assert_eq!(scopes(&cut(1, 0)), [3, 3, 2, 1, 1], "b is out of reach for eu");
    assert_eq!(scopes(&cut(1, 2)), [2, 2, 2, 1, 1], "b is out of reach for ap");
    assert_eq!(scopes(&cut(0, 0)), [3, 3, 2, 1, 1], "inside the fence there is nothing but a");
    let healed = refresh(&cut(1, 0), Arc::new(view.clone()));
    assert_eq!(scopes(&healed), [1, 1, 1, 1, 1]);
}
