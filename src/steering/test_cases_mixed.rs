//! Names that can be an alias or have addresses: the same kind for every type, for all clients and all draws.

use std::collections::HashSet;

use proptest::prelude::*;

use super::test_cases::{abc, why};
use super::test_cases_worlds::any_world;
use super::test_world::SteeringWorld;
use super::{AnswerSource, Decision, NameKind};
use crate::model::Facet::{self, Alias, V4, V6};
use crate::model::Failback;
use crate::model::OnEmpty;
use crate::model::OverrideState::Down;
use crate::model::Steering::{Affinity, All, Failover, Geo, Latency, Weighted};

/// What clients in eu are given for A, AAAA, and a type that is not steered.
#[track_caller]
fn check(sentence: &str, world: &SteeringWorld, expected: [&str; 3]) {
    let decisions = [V4, V6, Alias].map(|facet| world.decide("eu", facet, None));
    let rendered = [&decisions[0], &decisions[1]].map(|decision| world.render(decision));
    let other = match decisions[2].kind {
        Some(NameKind::Addresses) => "nodata".to_owned(),
        Some(NameKind::Alias | NameKind::ByNet) | None => world.render(&decisions[2]),
    };
    assert_eq!([rendered[0].as_str(), rendered[1].as_str(), &other], expected, "{sentence}");
    for decision in &decisions {
        assert_eq!(world.flaw(decision), None, "{sentence}: {:#?}", decision.stages);
    }
}

/// As [`abc`], with the cnames y and z.
fn world() -> SteeringWorld {
    abc().alias("y", "eu").alias("z", "us")
}

#[test]
fn failover_between_addresses_and_a_cname_is_one_choice_for_all_types() {
    let four = || world().only("a", V4).pool("p", Failover, "a z");
    check("the address; its missing family is NODATA", &four(), ["a", "nodata", "nodata"]);
    check("the cname for every type", &four().down("a"), ["z", "z", "z"]);
    check("everything down: the first that was listed", &four().down("a z"), ["stale a", "nodata", "nodata"]);
    let dual = || world().pool("p", Failover, "a z");
    check("one family down is no reason for the other kind", &dual().down_in("a", V6), ["a", "stale a", "nodata"]);
    check("both families down are", &dual().down("a"), ["z", "z", "z"]);
    check("forced down is too", &dual().overridden("a", Down), ["z", "z", "z"]);
    let first = world().pool("p", Failover, "z a");
    check("a cname that comes first", &first, ["z", "z", "z"]);
    check("and fails", &first.down("z"), ["a", "a", "nodata"]);
    let behind = world().only("a", V4).pool("p", Failover, "a z b");
    check("a family goes on to what has it, past the cname", &behind, ["a", "b", "nodata"]);
    let nested = world().only("a", V4).pool("x", Failover, "a z").pool("p", Failover, "x c");
    check("in a nested pool", &nested, ["a", "c", "nodata"]);
    check("and when it fails there", &nested.down("a"), ["z", "z", "z"]);
}

#[test]
fn standbys_weights_and_fallbacks_follow_the_same_choice() {
    let standby = world().only("a", V4).pool("p", Weighted, "a:1 z:0");
    check("a standby is no answer for a missing family", &standby, ["a", "nodata", "nodata"]);
    check("a standby that comes in is it for all", &standby.down("a"), ["z", "z", "z"]);
    let last = world().pool("p", Weighted, "a").or_else("z");
    check("IPv6 alone is down: never the fallback's CNAME", &last.clone().down_in("a", V6), ["a", "nodata", "nodata"]);
    check("all of it is down", &last.down("a"), ["z", "z", "z"]);
    let list = world().pool("p", Weighted, "a").or_else("b").then("z").down("a");
    check("the first entry that is up", &list, ["b", "b", "nodata"]);
    check("the next one", &list.down("b"), ["z", "z", "z"]);
    let by_chance = world().pool("p", Weighted, "a z");
    check("drawn together: the first listed decides", &by_chance, ["a", "a", "nodata"]);
    let fixed = world().pool("p", Weighted, "a z:0").on_empty(OnEmpty::Static);
    check(
        "the zone file's CNAME is no answer for one family",
        &fixed.clone().down_in("a", V6).down("z"),
        ["a", "nodata", "nodata"],
    );
    check("it is for all", &fixed.down("a z"), ["static", "static", "static"]);
}

#[test]
fn rankings_clients_and_fences_follow_the_same_choice() {
    let ranked = world().rtt("a", "eu", 10).rtt("z", "eu", 12).rtt("b", "eu", 50).pool("p", Latency, "z a b");
    check("by latency", &ranked, ["a | b", "a | b", "nodata"]);
    check("in one band: as listed", &ranked.clone().band("p", 8, 0), ["z", "z", "z"]);
    let split = ranked.down_in("a", V6);
    check("a family that is down there goes to the next address", &split, ["a | b", "b", "nodata"]);
    let geo = || world().selector("north", "NO").only("a", V4).pool("p", Geo, "z@north a");
    check("clients elsewhere", &geo(), ["a", "nodata", "nodata"]);
    let north = geo().decide("eu+north", V6, None);
    assert_eq!((geo().render(&north), north.looks_at_client), ("z".to_owned(), true));
    assert!(geo().decide("eu", V6, None).looks_at_client, "NODATA for these clients alone");
    let least = world().only("a", V6).pool("x", Weighted, "a:4 b:3 c:3").pool("p", Failover, "x z").min_up("x", 0.5);
    check("min_up counts whole endpoints", &least.down("b c"), ["z", "z", "z"]);
    let fence = world().selector("held", "DE").pool("p", Failover, "a z").fence("f", "held", "z");
    assert_eq!(fence.render(&fence.decide("eu+held", V6, None)), "z");
    assert_eq!(fence.render(&fence.decide("eu", V6, None)), "a");
}

#[test]
fn a_choice_that_stays_stays_for_all_types() {
    let up = world().pool("p", Failover, "a z").failback(Failback::Manual);
    let settled = |world: &SteeringWorld, before: Option<&Decision>| {
        let standings = before.map_or(&[][..], |before| &before.standings);
        world.decide_after("eu", Alias, super::Memory { last_good: None, standings })
    };
    let out = settled(&up.clone().down("a"), None);
    assert_eq!(out.kind, Some(NameKind::Alias));
    let back = settled(&up, Some(&out));
    assert_eq!(back.kind, Some(NameKind::Alias), "handed back by hand only");
    let model = up.whole_model();
    let class = up.class("eu");
    let policy = crate::model::PolicyId(0);
    let of = |facet| super::decide_after(&model, policy, &up.view, &class, facet, super::Memory::default(), &back);
    assert_eq!([of(V4), of(V6)].map(|decision| up.render(&decision)), ["z", "z"]);
    let over = up.down("z");
    let moved = settled(&over, Some(&back));
    let given = |facet, memory: &Decision| {
        let memory = super::Memory { last_good: None, standings: &memory.standings };
        super::decide_after(&over.whole_model(), policy, &over.view, &class, facet, memory, &moved)
    };
    assert_eq!([V4, V6].map(|facet| over.render(&given(facet, &back))), ["a", "a"], "and back when it fails");
}

#[test]
fn a_net_decides_over_both_kinds_at_once() {
    let by_net = || world().only("a", V4).pool("p", Weighted, "a z b").affinity(24, 56);
    check("all that is up is drawn", &by_net(), ["a=33 z=33 b=33", "a=33 z=33 b=33", "a=33 z=33 b=33"]);
    assert!(
        why(&by_net(), &by_net().decide("eu", V6, None), "pick").contains("no IPv6 address: another address is drawn")
    );
    let one = world().pool("p", Affinity, "a z").down_in("a", V6).decide("eu", V6, None);
    assert!(one.affinity.is_some(), "the net decides, though the CNAME is all that is left of this type");
    let other = world().pool("p", Affinity, "a z");
    assert!(
        why(&other, &other.decide("eu", Alias, None), "pick").contains("no cname: no record of this type is given"),
        "for TXT as for A"
    );
    let pool = world().pool("p", Affinity, "a z");
    assert_eq!(pool.decide("eu", V6, None).kind, Some(NameKind::ByNet), "a pool that steers so");
    let below = world().pool("x", Affinity, "a z").pool("p", Weighted, "x b");
    assert_eq!(below.decide("eu", V6, None).kind, Some(NameKind::Addresses), "chance above it: the first listed");
}

#[test]
fn a_group_gives_the_endpoints_that_have_the_type() {
    let world = world().only("a", V4).only("b", V6).pool("x", All, "a b").pool("p", Affinity, "z x");
    for (facet, there, missing) in [(V4, "a", "b"), (V6, "b", "a")] {
        let decision = world.decide("eu", facet, None);
        assert_eq!((decision.kind, world.flaw(&decision)), (Some(NameKind::ByNet), None), "{facet:?}");
        let AnswerSource::Endpoints(given) = &decision.source else { panic!("{decision:?}") };
        let odd = |name: &str| {
            let is_alias = |endpoint| world.model.endpoint(endpoint).answerables[0].facet == Alias;
            let odds = given.probabilities(is_alias).into_iter();
            odds.filter(|(endpoint, _)| world.model.endpoint(*endpoint).name == name).map(|(_, odd)| odd).sum::<f64>()
        };
        assert_eq!((odd(there), odd(missing), odd("z")), (0.5, 0.0, 0.5), "{facet:?}");
        assert!(why(&world, &decision, "pick").contains("another address is drawn"), "{missing} is not drawn");
    }
}

#[test]
fn the_kind_has_a_reason() {
    let reason_of = |world: &SteeringWorld, facet: Facet, stage| why(world, &world.decide("eu", facet, None), stage);
    let four = world().only("a", V4).pool("p", Failover, "a z");
    let why = reason_of(&four, V6, "candidates");
    assert!(why.contains("a cname, and the name has addresses now: not both"), "{why}");
    assert_eq!(reason_of(&four.clone().down("a"), V6, "kind"), "a CNAME for every type: \"z\" comes first");
    assert_eq!(reason_of(&four, Alias, "kind"), "addresses, no CNAME for any type: \"a\" comes first");
}

/// The kinds of what is given: whether a CNAME can be, whether addresses can be.
fn kinds(world: &SteeringWorld, decision: &Decision) -> HashSet<bool> {
    let AnswerSource::Endpoints(given) = &decision.source else { return HashSet::new() };
    let all = given.tiers.iter().flat_map(|tier| &tier.shares).flat_map(|share| &share.endpoints);
    let all = all.filter(|endpoint| !given.blanks.contains(endpoint));
    all.map(|endpoint| world.model.endpoint(*endpoint).answerables[0].facet == Alias).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_a_cname_for_one_type_and_an_address_for_another(
        world in any_world(),
        families in prop::collection::vec(0_u8..6, 6),
        client in prop::sample::select(vec!["eu", "us+north", "ap+held", "-"]),
    ) {
        let mut world = world;
        for (at, family) in families.iter().enumerate() {
            let name = format!("e{at}");
            let is_alias = world.model.endpoints[at].answerables[0].facet == Alias;
            world = match family {
                0 if !is_alias => world.only(&name, V4),
                1 if !is_alias => world.only(&name, V6),
                2 if !is_alias => world.down_in(&name, V4),
                3 if !is_alias => world.down_in(&name, V6),
                _ => world,
            };
        }
        let decisions = [V4, V6, Facet::Https].map(|facet| world.decide(client, facet, None));
        let by_net = decisions.iter().any(|decision| decision.kind == Some(NameKind::ByNet));
        let all: HashSet<bool> = decisions.iter().flat_map(|decision| kinds(&world, decision)).collect();
        if world.whole_model().policies[0].is_mixed && !by_net {
            prop_assert!(all.len() < 2, "{decisions:#?}");
            let statics = decisions.iter().filter(|decision| decision.source == AnswerSource::Static).count();
            prop_assert!(statics == 0 || statics == 3 || all.is_empty());
        }
        for decision in &decisions {
            prop_assert_eq!(world.flaw(decision), None);
        }
    }
}
