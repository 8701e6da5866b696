//! Cases of steering, each with a sentence: whether what is served is what the policy prefers.

use super::preference::{eligible, ideal, is_plainly_preferred, is_preferred, preferred};
use super::test_cases::pool;
use super::test_world::SteeringWorld;
use crate::model::AdminState::Drain as DrainInFile;
use crate::model::OverrideState::{Down, Drain, Up};
use crate::model::Steering::{Affinity, All, Failover, Geo, Latency, Weighted};
use crate::model::{Facet, Failback, OnEmpty, PolicyId};
use crate::steering::{Decision, Memory};

/// Whether `served` is what the world's policy prefers for clients of eu.
fn is_first_choice(world: &SteeringWorld, served: &Decision) -> bool {
    let (model, class) = (world.whole_model(), world.class("eu"));
    let best = preferred(&model, PolicyId(0), [&world.view, &ideal(&world.view)], &class, served);
    let is = is_preferred(&model, &world.view, served, &best);
    assert!(is || !is_plainly_preferred(&model, PolicyId(0), &world.view, served), "the short way says otherwise");
    is
}

fn check(sentence: &str, world: SteeringWorld, expected: bool) {
    let served = world.decide("eu", Facet::V4, None);
    assert_eq!(is_first_choice(&world, &served), expected, "{sentence}: {}", world.render(&served));
}

#[test]
fn a_policy_prefers_what_it_gives_while_every_endpoint_is_up() {
    check("failover: the first is up", pool(Failover, "a b"), true);
    check("failover: the second, as the first is down", pool(Failover, "a b").down("a"), false);
    check("failover: the second is down, which changes nothing", pool(Failover, "a b").down("b"), true);
    check("failover: the first is drained", pool(Failover, "a b").overridden("a", Drain), false);
    check("failover: the first is forced down", pool(Failover, "a b").overridden("a", Down), false);
    check(
        "failover: the first is forced up while it is down",
        pool(Failover, "a b").down("a").overridden("a", Up),
        true,
    );
    check("failover: the file itself drains the first", pool(Failover, "a b").state("a", DrainInFile), true);
    check("weighted: any member will do", pool(Weighted, "a b c").down("a b"), true);
    check("weighted: but not a standby", pool(Weighted, "a b:0").down("a"), false);
    check("affinity: as weighted", pool(Affinity, "a b c").down("a"), true);
    check("all: those that are up", pool(All, "a b c").down("a"), true);
    check("geo: the first match", pool(Geo, "a b"), true);
    check("geo: the next match", pool(Geo, "a b").down("a"), false);
    let latency = || pool(Latency, "a b").rtt("a", "eu", 9).rtt("b", "eu", 80);
    check("latency: the nearest", latency(), true);
    check("latency: another, as the nearest is down", latency().down("a"), false);
    check("latency: one that is farther is down", latency().down("b"), true);
    check(
        "two answers: the two that are first",
        pool(Latency, "a b c").rtt("a", "eu", 1).rtt("b", "eu", 2).rtt("c", "eu", 3).answers(2),
        true,
    );
    check(
        "two answers: the third in place of the second",
        pool(Latency, "a b c").rtt("a", "eu", 1).rtt("b", "eu", 2).rtt("c", "eu", 3).answers(2).down("b"),
        false,
    );
}

#[test]
fn on_empty_is_never_the_first_choice() {
    for on_empty in [OnEmpty::LastGood, OnEmpty::All, OnEmpty::Static, OnEmpty::Nodata] {
        let world = pool(Weighted, "a b").down("a b").on_empty(on_empty);
        let served = world.decide("eu", Facet::V4, None);
        assert!(served.is_on_empty() && !is_first_choice(&world, &served), "{on_empty:?}");
    }
    let world = pool(Weighted, "a b");
    assert!(!world.decide("eu", Facet::V4, None).is_on_empty());
}

#[test]
fn a_pool_that_stays_with_another_member_is_not_on_its_first_choice() {
    let world = || pool(Failover, "a b").failback(Failback::Manual);
    let away = world().down("a").decide("eu", Facet::V4, None);
    let back = world();
    let memory = Memory { last_good: None, standings: &away.standings };
    let served = back.decide_after("eu", Facet::V4, memory);
    assert_eq!(back.render(&served), "b");
    assert!(!is_first_choice(&back, &served));
}

#[test]
fn endpoints_count_as_eligible_while_they_may_be_answered_with() {
    let count = |world: &SteeringWorld| eligible(&world.whole_model(), PolicyId(0), &world.view);
    assert_eq!(count(&pool(Weighted, "a b c")), 3);
    assert_eq!(count(&pool(Weighted, "a b c").down("a")), 2);
    assert_eq!(count(&pool(Weighted, "a b c").down_in("a", Facet::V6)), 3, "one family is enough");
    assert_eq!(count(&pool(Weighted, "a b c").overridden("a", Drain).overridden("b", Down)), 1);
    assert_eq!(count(&pool(Weighted, "a b c").down("a b c").overridden("a", Up)), 1);
    assert_eq!(count(&pool(Weighted, "a b c").state("a", DrainInFile)), 2);
}
