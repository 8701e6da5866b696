//! Cases of steering, each with a sentence: overrides before measured health, and pools that count as down with too
//! little up.

use super::test_cases::{abc, check, pool, why};
use super::test_world::SteeringWorld;
use crate::model::AdminState::{Disabled, Drain as DrainInFile};
use crate::model::OverrideState::{Down, Drain, Up};
use crate::model::Steering::{Failover, Geo, Latency, Weighted};
use crate::model::{Facet, Failback, OnEmpty};
use crate::steering::{Memory, Standing};

fn reason_of(world: &SteeringWorld, stage: &str) -> String {
    why(world, &world.decide("eu", Facet::V4, None), stage)
}

#[test]
fn overrides_go_before_what_is_measured() {
    let check = |sentence, world, expected| check(sentence, world, "eu", expected);
    let world = || pool(Weighted, "a b");
    check("drained: no new answers", world().overridden("a", Drain), "b");
    check("forced down", world().overridden("a", Down), "b");
    check("forced up while it is down", world().down("a b").overridden("a", Up), "a");
    check("forced up while it is up", world().overridden("a", Up), "a=50 b=50");
    check("forced up while nobody knows", world().unknown("a", true).overridden("a", Up), "a=50 b=50");
    check("up overrules drain in the file", world().state("a", DrainInFile).overridden("a", Up), "a=50 b=50");
    check(
        "up overrules drain in the file, down too",
        pool(Weighted, "a").state("a", DrainInFile).down("a").overridden("a", Up),
        "a",
    );
    check("nothing overrules disabled", world().state("a", Disabled).overridden("a", Up), "b");
    check(
        "drained and forced up: the override is one",
        world().overridden("a", Drain).overridden("a", Up),
        "a=50 b=50",
    );
    let failover = || pool(Failover, "a b");
    check("a drained first member hands over", failover().overridden("a", Drain), "b");
    check("a forced-up first member takes all", failover().down("a").overridden("a", Up), "a");
    check("a standby comes in for a drained member", pool(Weighted, "a b:0").overridden("a", Drain), "b");
}

#[test]
fn on_empty_never_takes_what_is_forced_down_and_spares_a_drained_one() {
    let check = |sentence, world, expected| check(sentence, world, "eu", expected);
    let world = |on_empty| pool(Weighted, "a b").overridden("a", Down).down("b").on_empty(on_empty);
    check("all: never what is forced down", world(OnEmpty::All), "b");
    check(
        "all: drained too, for want of better",
        pool(Weighted, "a b").overridden("a", Drain).down("a b").on_empty(OnEmpty::All),
        "a=50 b=50",
    );
    let before = pool(Weighted, "a b c").decide("eu", Facet::V4, None);
    let last = |world: SteeringWorld| {
        let decision = world.decide("eu", Facet::V4, Some(super::test_cases::given(&before)));
        world.render(&decision)
    };
    let dead = || pool(Weighted, "a b c").down("a b c");
    assert_eq!(last(dead().overridden("a", Down)), "stale b=50 c=50", "last_good neither");
    assert_eq!(last(dead().overridden("a", Drain)), "stale b=50 c=50", "but not a drained one");
    assert_eq!(last(dead().overridden("a", Drain).overridden("b", Drain)), "stale c");
    assert_eq!(last(dead().state("a", DrainInFile).overridden("a", Down)), "stale b=50 c=50", "drained in the file");
}

#[test]
fn overrides_say_who_why_and_until() {
    let world = || pool(Weighted, "a b");
    let until = "by alice: kernel update, until 2026-11-23 14:30 UTC";
    assert_eq!(reason_of(&world().overridden("a", Drain), "state"), format!("drained {until}"));
    assert_eq!(reason_of(&world().overridden("a", Down), "state"), format!("forced down {until}"));
    let forced = world().down("a").overridden("a", Up);
    assert_eq!(reason_of(&forced, "state"), format!("forced up {until}"));
    assert_eq!(reason_of(&forced, "health"), "up by override; measured down: connection refused (reported by ns1); up");
    let overruled = reason_of(&world().state("a", DrainInFile).overridden("a", Up), "state");
    assert_eq!(overruled, format!("forced up {until}; overrules state = \"drain\" in the policy file"));
    let of_region = reason_of(&world().overridden("a", Drain).override_target("a", "region:eu"), "state");
    assert_eq!(of_region, "drained by alice (region:eu): kernel update, until 2026-11-23 14:30 UTC");
}

#[test]
fn what_is_forced_up_does_not_bound_the_ttl() {
    let ttl = |world: SteeringWorld| world.ttl(5, 20).decide("eu", Facet::V4, None).ttl;
    assert_eq!(ttl(pool(Weighted, "a").may_change("a", 7_000)), 7);
    assert_eq!(ttl(pool(Weighted, "a").may_change("a", 7_000).overridden("a", Up)), 20);
    assert_eq!(ttl(pool(Weighted, "a b").may_change("a", 7_000).overridden("a", Drain)), 20);
}

/// eu is a:4 b:3 c:3 with `min_up`, us is d.
fn halves(least: f64) -> SteeringWorld {
    let world = abc().endpoint("d", "us").pool("eu", Weighted, "a:4 b:3 c:3").pool("us", Weighted, "d");
    world.pool("p", Failover, "eu us").min_up("eu", least)
}

#[test]
fn a_pool_with_too_little_up_is_out_for_its_parent() {
    let check = |sentence, world, expected| check(sentence, world, "eu", expected);
    check("all up", halves(0.5), "a=40 b=30 c=30");
    check("60 % up", halves(0.5).down("a"), "b=50 c=50");
    check("40 % up", halves(0.5).down("b c"), "d");
    check("60 % is not under 60 %", halves(0.6).down("a"), "b=50 c=50");
    check("but under 61 %", halves(0.61).down("a"), "d");
    check("min_up 1: any that is out", halves(1.0).down("c"), "d");
    check("without it one is enough", halves(0.0).down("b c"), "a");
    check("drained is not up", halves(0.5).state("b", DrainInFile).overridden("c", Drain), "d");
    check("the name's own pool has no parent", pool(Weighted, "a b c").min_up("p", 0.9).down("b c"), "a");
    let standby = abc().endpoint("d", "us").pool("x", Weighted, "a b:0").pool("p", Failover, "x d").min_up("x", 0.5);
    check("a standby has no weight to count", standby.clone(), "a");
    check("and doesn't make up for it", standby.down("a"), "d");
    let standbys = abc().pool("x", Weighted, "a:0 b:0").pool("p", Failover, "x c").min_up("x", 0.5).down("a");
    check("only standbys: any is enough", standbys, "b");
    let nested =
        abc().endpoint("d", "us").pool("x", Weighted, "a b").pool("y", Weighted, "x c").pool("p", Failover, "y d");
    check("out below is out above", nested.clone().min_up("x", 0.6).min_up("y", 0.6).down("a"), "d");
    check("half of the weight above is enough", nested.min_up("x", 0.6).min_up("y", 0.5).down("a"), "c");
    let ranked = halves(0.5).rtt("a", "eu", 5).rtt("d", "eu", 50).pool("q", Latency, "eu us");
    check("in a ranking it isn't there", ranked.pool("p2", Weighted, "q").down("b c").root("p2"), "d");
    check("all too low: what is up, before on_empty", halves(0.5).min_up("us", 0.5).down("b c d"), "a");
    check("no IPv6 is no failure", halves(0.5).only("b", Facet::V6).only("c", Facet::V6), "a");
    let geo = abc().selector("north", "NO").pool("x", Weighted, "a b").pool("p", Geo, "x@north c").min_up("x", 0.6);
    super::test_cases::check("a geo pool goes to the next match", geo.down("b"), "eu+north", "c");
}

#[test]
fn what_is_up_of_a_pool_with_too_little_goes_before_all_that_is_down() {
    let check = |sentence, world, expected| check(sentence, world, "eu", expected);
    let thin = || halves(0.5).down("b c d");
    for on_empty in [OnEmpty::LastGood, OnEmpty::All, OnEmpty::Nodata] {
        check("whatever on_empty says", thin().on_empty(on_empty), "a");
    }
    check("before what is drained", halves(0.5).down("b c").overridden("d", Drain), "a");
    check("what is drained goes before what is down", thin().down("a").up("d").overridden("d", Drain), "d");
    check("forced up is up", halves(0.5).down("a b c d").overridden("a", Up), "a");
    check(
        "the first of two thin pools, in listed order",
        {
            let two = abc().endpoint("d", "us").pool("x", Weighted, "a b").pool("y", Weighted, "c d");
            two.pool("p", Failover, "x y").min_up("x", 0.6).min_up("y", 0.6).down("a c")
        },
        "b",
    );
    let nested = abc().endpoint("d", "us").pool("x", Weighted, "a b").pool("in", Failover, "x c");
    let nested = nested.pool("p", Failover, "in d").min_up("x", 0.6);
    check("a whole member goes before a thin one, below too", nested.clone().down("a"), "c");
    check("a whole pool above goes before a thin one below", nested.clone().down("a c"), "d");
    check("and the thin one before nothing", nested.down("a c d"), "b");
    let thick = abc().endpoint("d", "us").endpoint("e", "us").pool("x", Weighted, "a b").pool("in", Failover, "x c");
    let thick = thick.pool("y", Weighted, "in d").pool("p", Failover, "y e").min_up("x", 0.6).min_up("y", 0.6);
    check("a thin pool chooses as ever among what is below it", thick.down("a d e"), "c");
    let standby =
        abc().pool("x", Weighted, "a b").pool("y", Weighted, "x c:0").pool("p", Weighted, "y").min_up("x", 0.6);
    check("a standby goes before a thin pool", standby.clone().down("a"), "c");
    check("the thin pool before nothing", standby.down("a c"), "b");
    let near = abc().endpoint("d", "us").pool("x", Weighted, "a b").pool("y", Weighted, "c d");
    let near = near.pool("p", Latency, "x y").min_up("x", 0.6).min_up("y", 0.6).down("a c");
    check("by latency among thin pools", near.rtt("b", "eu", 50).rtt("d", "eu", 5), "d | b");
    let geo = abc().selector("north", "NO").pool("x", Weighted, "a b").pool("p", Geo, "x@north c").min_up("x", 0.6);
    let geo = geo.down("a c");
    super::test_cases::check("a geo pool", geo.clone(), "eu+north", "b");
    super::test_cases::check("others don't get what is not for them", geo.on_empty(OnEmpty::Nodata), "eu", "nodata");
    let fence = abc().selector("held", "DE").pool("x", Weighted, "a b").pool("p", Failover, "x c").min_up("x", 0.6);
    let fence = fence.fence("f", "held", "a c").on_empty(OnEmpty::Nodata);
    super::test_cases::check("a fence holds", fence.down("a c"), "eu+held", "nodata");
    let other = abc().endpoint("d", "us").pool("s", Weighted, "c d").pool("q", Failover, "s").pool("p", Weighted, "a");
    check("in a pool of on_empty too", other.min_up("s", 0.6).or_else("q").then("nodata").down("a c"), "d");
}

#[test]
fn a_failback_stays_on_a_thin_pool_only_until_another_is_whole() {
    let world = abc().endpoint("d", "us").pool("x", Weighted, "a b").pool("y", Weighted, "c d");
    let world = world.pool("p", Failover, "x y").min_up("x", 0.6).min_up("y", 0.6).failback(Failback::Manual);
    let step = |world: SteeringWorld, before: &[Standing]| {
        let decision = world.decide_after("eu", Facet::V4, Memory { last_good: None, standings: before });
        (world.render(&decision), decision.standings)
    };
    let (on_y, standings) = step(world.clone().down("a"), &[]);
    let (thin, standings) = step(world.clone().down("a c"), &standings);
    assert_eq!((on_y.as_str(), thin.as_str()), ("c=50 d=50", "d"), "it stays on the thin pool that it was on");
    let (moved, standings) = step(world.clone().down("a c d"), &standings);
    assert_eq!(moved, "b");
    let (back, standings) = step(world.clone().down("a c"), &standings);
    assert_eq!(back, "b", "and does not go back to another thin pool");
    let (whole, _) = step(world.down("a"), &standings);
    assert_eq!(whole, "c=50 d=50", "but goes to one that is whole");
}

#[test]
fn min_up_says_why() {
    let why = "pool \"eu\" has 40 % of its weight up, under min_up 50 %: out for its parent; tier 1, weight 1";
    assert_eq!(reason_of(&halves(0.5).down("b c"), "tiers"), why);
    let last = halves(0.5).min_up("us", 0.5).down("b c d").on_empty(OnEmpty::All);
    let why = "pool \"eu\" has 40 % of its weight up, under min_up 50 %; given because nothing better is left";
    assert_eq!(reason_of(&last, "tiers"), format!("{why}; tier 1, weight 1"));
    assert_eq!(reason_of(&last, "on_empty"), "");
}
