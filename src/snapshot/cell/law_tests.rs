//! What affinity promises: the law of the draw over all nets, one answer for one net, and that a change moves only the
//! clients of what changed. Decisions come from the pools themselves; a slow oracle has its own arithmetic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::PolicyId;
use crate::model::{
    AdminState, AffinityNet, AnswerRdata, Answerable, ClientClass, Endpoint, EndpointId, Facet, Member, MemberRef,
    Pool, PoolId, Steering, WorldView, ZoneId,
};
use crate::placing::ClientNet;
use crate::placing::mix;
use crate::steering::{AnswerSource, Memory, decide, key_of};

const WEIGHTED: Steering = Steering::Weighted;
const AFFINITY: Steering = Steering::Affinity;

/// A pool: its name, how it steers, its members with their weights.
type Spec<'a> = (&'a str, Steering, &'a [(&'a str, u32)]);

/// A name that is answered from the last of its pools.
struct Scene {
    model: Model,
    cell: Cell,
}

/// Members that are no pool are endpoints; those that begin with `c` are aliases, those in `out` are out.
fn scene(pools: &[Spec<'_>], answers: Option<usize>, out: &[&str]) -> Scene {
    let is_pool = |name: &str| pools.iter().any(|(pool, _, _)| *pool == name);
    let members = pools.iter().flat_map(|(_, _, members)| members.iter().map(|(name, _)| *name));
    let names: Vec<&str> = members.filter(|name| !is_pool(name)).collect::<BTreeSet<_>>().into_iter().collect();
    let endpoint = |(at, name): (usize, &&str)| {
        let (facet, rdata) = match name.starts_with('c') {
            true => (Facet::Alias, AnswerRdata::Cname(Box::new([1, b'a' + at as u8, 0]))),
            false => (Facet::V4, AnswerRdata::Address(Ipv4Addr::from(0xC000_0200 + at as u32).into())),
        };
        let state = if out.contains(name) { AdminState::Disabled } else { AdminState::Enabled };
        Endpoint { state, ..Endpoint::new(*name, ZoneId(0), vec![Answerable::new(facet, rdata, None)]) }
    };
    let member_of = |name: &str| match pools.iter().position(|(pool, _, _)| *pool == name) {
        Some(at) => MemberRef::Pool(PoolId(at as u32)),
        None => MemberRef::Endpoint(EndpointId(names.iter().position(|n| *n == name).unwrap() as u32)),
    };
    let pool = |(name, steering, members): &Spec<'_>| {
        let members = members.iter().map(|(name, weight)| Member::new(member_of(name), *weight)).collect();
        Pool::new(*name, *steering, members)
    };
    let root = MemberRef::Pool(PoolId(pools.len() as u32 - 1));
    let endpoints = (0..names.len() as u32).map(EndpointId).collect();
    let policy = Policy { answers, ..Policy::new(ZoneId(0), root, endpoints, vec![Facet::V4]) };
    let model = Model {
        endpoints: names.iter().enumerate().map(endpoint).collect(),
        pools: pools.iter().map(pool).collect(),
        policies: vec![policy],
        ..Model::default()
    };
    let (view, class) = (WorldView::default(), ClientClass::default());
    let mut decision = decide(&model, PolicyId(0), &view, &class, Facet::V4, Memory::default());
    decision.affinity = Some(AffinityNet::default());
    let cell = Cell::prepare(&model, &model.policies[0], Arc::new(decision));
    Scene { model, cell }
}

impl Scene {
    fn name(&self, slot: u16) -> &str {
        &self.model.endpoints[usize::from(slot)].name
    }

    fn picks(&self, net: ClientNet, entropy: u64) -> Vec<&str> {
        self.cell.pick_for(entropy, net).iter().map(|index| self.name(self.cell.record(*index).slot)).collect()
    }

    fn first(&self, net: ClientNet) -> &str {
        self.picks(net, 1)[0]
    }
}

/// Some net; they are all different, and anywhere.
fn net(nth: u32) -> ClientNet {
    let ip = IpAddr::from(nth.wrapping_mul(0x9E37_79B1).to_be_bytes());
    ClientNet::of(AffinityNet { v4: 32, v6: 128 }, ip, None)
}

fn entropy(nth: u32) -> u64 {
    u64::from(nth).wrapping_mul(0xD134_2543_DE82_EF95)
}

/// How many nets make a law: four deviations of a frequency are then 0.0064 at most.
const MANY: u32 = 100_000;

/// Over many nets the frequencies are what `probabilities` says.
fn holds_the_law(sentence: &str, pools: &[Spec<'_>], answers: Option<usize>) {
    let scene = scene(pools, answers, &[]);
    let AnswerSource::Endpoints(distribution) = &scene.cell.decision().source else { panic!("{sentence}: nothing") };
    let expected = distribution.probabilities(|e| scene.model.endpoint(e).name.starts_with('c'));
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for nth in 0..MANY {
        for name in scene.picks(net(nth), entropy(nth)) {
            *counts.entry(name).or_default() += 1.0 / f64::from(MANY);
        }
    }
    assert!(scene.cell.affinity().is_some(), "{sentence}: the net has no say");
    for (endpoint, probability) in expected {
        let name = &*scene.model.endpoint(endpoint).name;
        let seen = counts.get(name).copied().unwrap_or(0.0);
        let deviation = (probability * (1.0 - probability) / f64::from(MANY)).sqrt();
        let off = (seen - probability).abs();
        assert!(off <= 4.0 * deviation + 1e-9, "{sentence}: {name} {seen}, expected {probability}");
    }
}

#[test]
fn frequencies_over_all_nets_are_the_probabilities() {
    let flat: Spec = ("p", AFFINITY, &[("a", 70), ("b", 20), ("d", 9), ("e", 1)]);
    for answers in [None, Some(2), Some(3), Some(4)] {
        holds_the_law("flat", &[flat], answers);
    }
    let inner: Spec = ("in", AFFINITY, &[("a", 3), ("b", 1), ("d", 2)]);
    let deep: &[(&str, u32)] = &[("in", 5), ("e", 2), ("f", 3)];
    for answers in [None, Some(2), Some(3)] {
        holds_the_law("nested", &[inner, ("p", AFFINITY, deep)], answers);
        holds_the_law("chance over the net", &[inner, ("p", WEIGHTED, deep)], answers);
        let by_chance: Spec = ("in", WEIGHTED, inner.2);
        holds_the_law("sticky over chance", &[by_chance, ("p", AFFINITY, deep)], answers);
    }
    let three = [inner, ("mid", WEIGHTED, &[("in", 2), ("g", 1)]), ("p", AFFINITY, &[("mid", 1), ("h", 1)])];
    holds_the_law("the net over chance over the net", &three, Some(3));
    let one: Spec = ("one", AFFINITY, &[("a", 1), ("both", 1)]);
    let two: Spec = ("two", AFFINITY, &[("b", 1), ("both", 2)]);
    for answers in [None, Some(2)] {
        holds_the_law("an endpoint in two pools", &[one, two, ("p", AFFINITY, &[("one", 1), ("two", 1)])], answers);
        let mixed: Spec = ("p", AFFINITY, &[("a", 3), ("c1", 2), ("b", 1), ("c2", 1), ("d", 4)]);
        holds_the_law("aliases", &[mixed], answers);
        let all: Spec = ("all", Steering::All, &[("a", 1), ("b", 1), ("d", 1), ("c1", 1)]);
        holds_the_law("a group and an alias", &[all, ("p", AFFINITY, &[("all", 2), ("e", 1)])], answers);
    }
    let fails: Spec = ("fails", Steering::Failover, &[("in", 1), ("g", 1)]);
    holds_the_law("in order, then by net", &[inner, fails, ("p", AFFINITY, &[("fails", 1), ("e", 1)])], Some(2));
}

#[test]
fn a_wide_tier_is_drawn_alike() {
    let names: Vec<String> = (0..200).map(|at| format!("e{at}")).collect();
    let members: Vec<(&str, u32)> = names.iter().zip(1..).map(|(name, weight)| (name.as_str(), weight)).collect();
    let (many, one) =
        (scene(&[("p", AFFINITY, &members)], Some(64), &[]), scene(&[("p", AFFINITY, &members)], None, &[]));
    for nth in 0..50 {
        let picks = many.picks(net(nth), 0);
        assert_eq!(picks.iter().collect::<BTreeSet<_>>().len(), 64);
        assert_eq!(picks[0], one.first(net(nth)), "one draw is the first of many");
    }
}

/// Ten equal endpoints.
const TEN: Spec = (
    "p",
    AFFINITY,
    &[("e0", 1), ("e1", 1), ("e2", 1), ("e3", 1), ("e4", 1), ("e5", 1), ("e6", 1), ("e7", 1), ("e8", 1), ("e9", 1)],
);

#[test]
fn of_ten_that_lose_one_only_its_tenth_moves() {
    let (before, after) = (scene(&[TEN], None, &[]), scene(&[TEN], None, &["e3"]));
    let mut heirs: BTreeMap<&str, u32> = BTreeMap::new();
    for net in (0..20_000).map(net) {
        match before.first(net) {
            "e3" => *heirs.entry(after.first(net)).or_default() += 1,
            kept => assert_eq!(after.first(net), kept),
        }
    }
    let moved: u32 = heirs.values().sum();
    assert!((1_850..2_150).contains(&moved), "{moved} of 20,000");
    assert!(heirs.len() == 9 && heirs.values().all(|heir| (150..300).contains(heir)), "not shared out: {heirs:?}");
}

#[test]
fn a_reply_of_several_loses_only_the_one_that_is_out() {
    let (before, after) = (scene(&[TEN], Some(3), &[]), scene(&[TEN], Some(3), &["e3"]));
    for net in (0..5_000).map(net) {
        let mut left = before.picks(net, 0);
        left.retain(|name| *name != "e3");
        assert_eq!(after.picks(net, 9)[..left.len()], left[..]);
    }
}

#[test]
fn a_changed_weight_moves_only_clients_of_that_member() {
    let with = |weight| scene(&[("p", AFFINITY, &[("a", 10), ("b", weight), ("d", 30)])], None, &[]);
    let (light, heavy) = (with(10), with(20));
    let mut moved = 0;
    for net in (0..20_000).map(net) {
        let (before, after) = (light.first(net), heavy.first(net));
        assert!(before == after || after == "b", "from {before} to {after}");
        moved += u32::from(before != after);
    }
    // From 10 of 50 to 20 of 60: 2/15 of all.
    assert!((2_500..2_850).contains(&moved), "{moved}");
}

#[test]
fn in_nested_pools_the_siblings_take_over() {
    let eu: Spec = ("eu", WEIGHTED, &[("a", 5), ("b", 1), ("d", 2)]);
    let us: Spec = ("us", WEIGHTED, &[("e", 1), ("f", 1)]);
    let pools = [eu, us, ("p", WEIGHTED, &[("eu", 1), ("us", 3)])];
    let named = |out: &[&str]| {
        // As `affinity` of a name: every step is the net's.
        let pools = pools.map(|(name, _, members)| (name, AFFINITY, members));
        scene(&pools, None, out)
    };
    let (before, after, none_left) = (named(&[]), named(&["a"]), named(&["a", "b", "d"]));
    for net in (0..20_000).map(net) {
        match (before.first(net), after.first(net), none_left.first(net)) {
            ("a", heir, _) => assert!(["b", "d"].contains(&heir), "{heir}"),
            (kept, now, _) if ["b", "d"].contains(&kept) => assert_eq!(now, kept),
            (kept, now, last) => assert_eq!((now, last), (kept, kept)),
        }
    }
}

#[test]
fn one_net_has_one_answer_whatever_chance_says() {
    for answers in [None, Some(2), Some(5)] {
        let scene = scene(&[TEN], answers, &[]);
        for net in (0..50).map(net) {
            let first = scene.picks(net, 0);
            assert!((1..100).all(|nth| scene.picks(net, entropy(nth)) == first));
            let first_record = scene.cell.first_for(net).map(|record| scene.name(record.slot));
            assert_eq!(first_record, Some(first[0]));
        }
    }
}

#[test]
fn chance_has_its_say_where_a_pool_leaves_it() {
    let inner: Spec = ("in", AFFINITY, &[("a", 1), ("b", 1), ("d", 1)]);
    let scene = scene(&[inner, ("p", WEIGHTED, &[("in", 1), ("e", 1)])], None, &[]);
    for net in (0..50).map(net) {
        let given: BTreeSet<&str> = (0..60).map(|nth| scene.picks(net, entropy(nth))[0]).collect();
        assert_eq!(given.len(), 2, "e, and always the same of the inner pool: {given:?}");
        assert_eq!(scene.cell.first_for(net), None);
    }
}

#[test]
fn an_endpoint_without_a_record_is_named_only_where_every_draw_begins_with_it() {
    let pool: Spec = ("p", WEIGHTED, &[("a", 1), ("b", 1)]);
    for (what, out, expected) in [("chance draws a or b", &[][..], None), ("a alone", &["b"], Some(0))] {
        let Scene { model, cell } = scene(&[pool], None, out);
        let AnswerSource::Endpoints(given) = &cell.decision().source else { panic!("{what}: nothing is given") };
        let source = AnswerSource::Endpoints(Distribution { blanks: vec![EndpointId(0)], ..given.clone() });
        let decision = Decision { source, ..cell.decision().clone() };
        let cell = Cell::prepare(&model, &model.policies[0], Arc::new(decision));
        assert!((0..50).map(net).all(|net| cell.blank_for(net) == expected), "{what}");
        assert_eq!(cell.first_for(net(1)), None, "{what}");
    }
}

#[test]
fn a_group_is_turned_by_the_net() {
    let all: Spec = ("all", Steering::All, &[("a", 1), ("b", 1), ("d", 1)]);
    let scene = scene(&[all, ("p", AFFINITY, &[("all", 1)])], Some(2), &[]);
    let mut firsts: BTreeMap<&str, u32> = BTreeMap::new();
    for nth in 0..3_000 {
        let picks = scene.picks(net(nth), 0);
        assert_eq!(picks, scene.picks(net(nth), entropy(nth)));
        assert_eq!(scene.cell.first_for(net(nth)).map(|record| scene.name(record.slot)), Some(picks[0]));
        *firsts.entry(picks[0]).or_default() += 1;
    }
    assert!(firsts.len() == 3 && firsts.values().all(|first| (850..1_150).contains(first)), "{firsts:?}");
}

#[test]
fn the_order_of_listing_does_not_matter() {
    let turned: Vec<(&str, u32)> = TEN.2.iter().rev().copied().collect();
    let inner: Spec = ("in", AFFINITY, &[("a", 1), ("b", 3), ("d", 7)]);
    let other: Spec = ("in", AFFINITY, &[("d", 7), ("a", 1), ("b", 3)]);
    let pairs = [
        (scene(&[TEN], Some(3), &[]), scene(&[("p", AFFINITY, &turned)], Some(3), &[])),
        (
            scene(&[inner, ("p", AFFINITY, &[("in", 3), ("e", 1)])], Some(2), &[]),
            scene(&[other, ("p", AFFINITY, &[("e", 1), ("in", 3)])], Some(2), &[]),
        ),
    ];
    for (one, other) in &pairs {
        assert!((0..2_000).map(net).all(|net| one.picks(net, 0) == other.picks(net, 0)));
    }
}

#[test]
fn the_net_is_not_looked_at_where_nothing_hangs_on_it() {
    let single: Spec = ("p", AFFINITY, &[("a", 1), ("b", 1)]);
    assert_eq!(scene(&[single], None, &["b"]).cell.affinity(), None, "one is left");
    assert_eq!(scene(&[("p", WEIGHTED, single.2)], None, &[]).cell.affinity(), None, "chance alone");
    assert_eq!(scene(&[single], None, &[]).cell.affinity(), Some(AffinityNet::default()));
    let one = scene(&[single], None, &["b"]);
    assert_eq!(one.cell.first_for(net(1)).map(|record| record.slot), Some(0));
}

#[test]
fn answers_never_change_as_a_fleet_must_agree_across_versions() {
    let scene = scene(&[TEN], Some(3), &[]);
    let picks: Vec<String> = (0..5).map(|nth| scene.picks(net(nth), 0).join(" ")).collect();
    // Worked out apart from this code, from SipHash-1-3, splitmix64 and a logarithm.
    assert_eq!(picks, ["e9 e3 e1", "e2 e6 e3", "e5 e7 e2", "e8 e0 e6", "e2 e7 e9"]);
}

/// A tree of pools that steer by affinity.
#[derive(Debug, Clone)]
enum Tree {
    /// Whether it is an alias, and whether it is out.
    Endpoint(bool, bool),
    Pool(Vec<(u32, Tree)>),
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let endpoint = (prop::bool::weighted(0.15), prop::bool::weighted(0.2)).prop_map(|(a, o)| Tree::Endpoint(a, o));
    endpoint.prop_recursive(4, 24, 4, |below| prop::collection::vec((1_u32..50, below), 1..5).prop_map(Tree::Pool))
}

/// The tree's pools, innermost first, and those endpoints that are out.
#[derive(Default)]
struct Listed {
    pools: Vec<(String, Vec<(String, u32)>)>,
    out: Vec<String>,
    names: usize,
}

impl Listed {
    fn list(&mut self, tree: &Tree) -> String {
        self.names += 1;
        let nth = self.names;
        match tree {
            Tree::Endpoint(is_alias, is_out) => {
                let name = format!("{}{nth}", if *is_alias { 'c' } else { 'e' });
                self.out.extend(is_out.then(|| name.clone()));
                name
            }
            Tree::Pool(members) => {
                let members = members.iter().map(|(weight, tree)| (self.list(tree), *weight)).collect();
                self.pools.push((format!("p{nth}"), members));
                format!("p{nth}")
            }
        }
    }

    /// Every endpoint that is in, below a member of this weight, with the time at which it rings if the member does at
    /// `time`.
    fn race(&self, member: &str, weight: f64, time: f64, key: u64, net: u64, rung: &mut Vec<(f64, String)>) {
        let Some((_, members)) = self.pools.iter().find(|(name, _)| name == member) else {
            return rung.push((time, member.to_owned()));
        };
        let ups: Vec<&(String, u32)> = members.iter().filter(|(name, _)| self.gives(name)).collect();
        let total: f64 = ups.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let drawn = |(name, own): &&(String, u32)| {
            let (key, share) = (mix(key ^ key_of(name)), weight * f64::from(*own) / total);
            let even = ((mix(net ^ key) >> 11) as f64 + 1.0) / 2_f64.powi(53);
            (name.clone(), key, share, -even.ln() / share)
        };
        let drawn: Vec<(String, u64, f64, f64)> = ups.iter().map(drawn).collect();
        let least = drawn.iter().map(|(_, _, _, own)| *own).fold(f64::INFINITY, f64::min);
        for (name, key, share, own) in drawn {
            self.race(&name, share, time + own - least, key, net, rung);
        }
    }

    fn gives(&self, member: &str) -> bool {
        match self.pools.iter().find(|(name, _)| name == member) {
            Some((_, members)) => members.iter().any(|(name, _)| self.gives(name)),
            None => !self.out.iter().any(|out| out == member),
        }
    }

    fn reply(&self, root: &str, answers: usize, net: u64) -> Vec<String> {
        let mut rung = Vec::new();
        self.race(root, 1.0, 0.0, 0, net, &mut rung);
        rung.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        if rung[0].1.starts_with('c') {
            return vec![rung[0].1.clone()];
        }
        rung.into_iter().map(|(_, name)| name).filter(|name| !name.starts_with('c')).take(answers).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_are_those_of_the_slow_oracle(
        members in prop::collection::vec((1_u32..50, any_tree()), 1..5),
        answers in 1_usize..6,
    ) {
        let mut listed = Listed::default();
        let root = listed.list(&Tree::Pool(members));
        prop_assume!(listed.gives(&root));
        let lists: Vec<(&str, Vec<(&str, u32)>)> = listed.pools.iter().map(|(name, members)| {
            (name.as_str(), members.iter().map(|(name, weight)| (name.as_str(), *weight)).collect())
        }).collect();
        let pools: Vec<Spec<'_>> = lists.iter().map(|(name, members)| (*name, AFFINITY, &members[..])).collect();
        let out: Vec<&str> = listed.out.iter().map(String::as_str).collect();
        let scene = scene(&pools, Some(answers), &out);
        for nth in 0..20 {
            let expected = listed.reply(&root, answers, net(nth).number);
            prop_assert_eq!(scene.picks(net(nth), entropy(nth)), expected, "net {}", nth);
        }
    }
}
