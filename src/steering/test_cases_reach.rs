//! Cases of steering, each with a sentence: endpoints that are up and out of reach for one region.

use super::test_cases::{abc, check, pool};
use super::test_world::SteeringWorld;
use super::{Decision, Memory, Reason, StageName, Why};
use crate::model::AdminState::Drain;
use crate::model::Steering::{Affinity, All, Failover, Geo, Latency, Weighted};
use crate::model::{EndpointId, Facet, Failback, OnEmpty, OverrideState};

/// a in eu, b in us, c in ap; a is out of reach for clients of eu.
fn far(members: &str) -> SteeringWorld {
    pool(Weighted, members).regional_view().out_of_reach("a", "eu")
}

#[test]
fn an_endpoint_out_of_reach_is_not_given_to_the_clients_of_that_region_alone() {
    check("its share goes to the others", far("a b"), "eu", "b");
    check("others get it as before", far("a b"), "us", "a=50 b=50");
    check("who is of no region gets it", far("a b"), "-", "a=50 b=50");
    check("a standby comes in", far("a b:0"), "eu", "b");
    let failover = pool(Failover, "a b c").out_of_reach("a", "eu ap").out_of_reach("b", "ap");
    check("a failover pool goes on to the next", failover.clone(), "eu", "b");
    check("for each region by itself", failover.clone(), "ap", "c");
    check("and stays for the others", failover, "us", "a");
    let measured = abc().rtt("a", "eu", 5).rtt("b", "eu", 80).pool("p", Latency, "a b").out_of_reach("a", "eu");
    check("the nearest in reach", measured, "eu", "b");
    let geo = abc().selector("north", "NO").pool("p", Geo, "a@north b").out_of_reach("a", "eu");
    check("the next match", geo, "eu+north", "b");
    let deep = abc().pool("x", Weighted, "a").pool("y", Weighted, "b c").pool("p", Failover, "x y");
    check("a pool without anything in reach is out", deep.out_of_reach("a", "eu"), "eu", "b=50 c=50");
    check("all give all in reach", pool(All, "a b c").out_of_reach("b", "eu"), "eu", "[a c]");
    check("affinity draws among those in reach", pool(Affinity, "a b").out_of_reach("b", "eu"), "eu", "a");
}

#[test]
fn nothing_is_taken_from_clients_who_would_have_nothing_left() {
    check("all are out of reach", far("a b").out_of_reach("b", "eu us"), "eu", "a=50 b=50");
    check("the other one is down", far("a b").down("b"), "eu", "a");
    check("the other one is drained", far("a b").state("b", Drain), "eu", "a");
    check("a word of the operator goes before", far("a b").overridden("a", OverrideState::Up), "eu", "a=50 b=50");
    check("it is alone", SteeringWorld::new().endpoint("a", "eu").out_of_reach("a", "eu"), "eu", "a");
    let else_c = abc().pool("x", Weighted, "b c").pool("p", Weighted, "a").root("p").down("a").or_else("x");
    check("what is for want of others goes by reach too", else_c.clone().out_of_reach("b", "eu"), "eu", "c");
    check("while it has something", else_c.out_of_reach("b", "eu").out_of_reach("c", "eu"), "eu", "b=50 c=50");
    check("it is better than what on_empty gives", far("a b").down("b").on_empty(OnEmpty::Nodata), "eu", "a");
}

#[test]
fn a_failover_pool_that_moved_for_a_region_alone_returns_when_the_path_is_healed() {
    let whole = || pool(Failover, "a b").failback(Failback::Manual);
    let before = whole().decide("eu", Facet::V4, None);
    let after = |world: &SteeringWorld, client: &str, before: &Decision| {
        world.decide_after(client, Facet::V4, Memory { last_good: None, standings: &before.standings })
    };
    let cut = whole().out_of_reach("a", "eu");
    let moved = after(&cut, "eu", &before);
    assert_eq!((cut.render(&moved), cut.render(&after(&cut, "us", &before))), ("b".to_owned(), "a".to_owned()));
    assert_eq!(moved.standings, before.standings, "the pool itself did not move");
    let healed = after(&whole(), "eu", &moved);
    assert!(whole().render(&healed) == "a" && !healed.looks_at_client);
}

#[test]
fn one_side_in_reach_is_enough_and_each_type_is_decided_by_its_own() {
    let mut world = far("a b");
    let v6 = world.model.endpoints[0].answerables.iter().find(|side| side.facet == Facet::V6).unwrap().check.unwrap();
    world.view.checks[v6.0 as usize].unreachable_from = [].into();
    let given = |facet| world.render(&world.decide("eu", facet, None));
    assert_eq!((given(Facet::V4), given(Facet::V6)), ("b".to_owned(), "a=50 b=50".to_owned()));
}

#[test]
fn the_client_is_looked_at_only_while_a_region_differs() {
    let looks = |world: &SteeringWorld, client: &str| world.decide(client, Facet::V4, None).looks_at_client;
    let whole = pool(Weighted, "a b").regional_view();
    assert!(!looks(&whole, "eu") && !looks(&whole, "us"));
    let far = whole.out_of_reach("a", "eu");
    assert!(looks(&far, "eu") && looks(&far, "us") && looks(&far, "-"));
    let alone = SteeringWorld::new().endpoint("a", "eu").regional_view().out_of_reach("a", "eu");
    assert!(!looks(&alone, "eu"), "there is nothing else");
}

#[test]
fn the_stage_health_has_the_reason() {
    let world = far("a b");
    let eu = world.model.region_named("eu").unwrap();
    let of = |world: &SteeringWorld, client: &str| {
        let decision = world.decide(client, Facet::V4, None);
        let stage = decision.stage(StageName::Health).unwrap();
        (stage.dropped.clone(), stage.passed.clone())
    };
    let a = |why| Reason { endpoint: EndpointId(0), why };
    assert_eq!(of(&world, "eu").0, [a(Why::OutOfReach(eu))]);
    assert_eq!((of(&world, "us").0, of(&world, "us").1[0].clone()), (vec![], a(Why::Up)));
    let all = world.out_of_reach("b", "eu");
    assert_eq!((of(&all, "eu").0, of(&all, "eu").1[0].clone()), (vec![], a(Why::OutOfReachButGiven(eu))));
}
