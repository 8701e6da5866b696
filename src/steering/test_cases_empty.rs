//! When nothing is up and in service: what is drained but alive, then the entries of `on_empty`, for clients and types
//! that had a candidate.

use super::test_cases::{abc, check, pool, why};
use super::test_world::SteeringWorld;
use super::{Decision, Memory};
use crate::model::AdminState::Disabled;
use crate::model::Facet::{V4, V6};
use crate::model::OverrideState::{Down, Drain};
use crate::model::Steering::{All, Failover, Geo, Latency, Nearest, Weighted};
use crate::model::{Facet, Failback, OnEmpty};

fn eu(sentence: &str, world: SteeringWorld, expected: &str) {
    check(sentence, world, "eu", expected);
}

#[test]
fn drained_but_alive_comes_before_what_is_down() {
    let pair = || pool(Failover, "a b");
    eu("the drained one is up, the other dead", pair().overridden("a", Drain).down("b"), "a");
    eu("both are drained: the first", pair().overridden("a", Drain).overridden("b", Drain), "a");
    eu("both are drained, the first dead", pair().overridden("a", Drain).overridden("b", Drain).down("a"), "b");
    eu("forced down stays out", pair().overridden("a", Down).overridden("b", Drain), "b");
    eu("disabled stays out", pair().state("a", Disabled).overridden("b", Drain), "b");
    let weighted = || pool(Weighted, "a:70 b:30 c");
    eu("by weight", weighted().overridden("a", Drain).overridden("b", Drain).down("c"), "a=70 b=30");
    let near = pool(Nearest, "a b c").overridden("a", Drain).overridden("b", Drain).down("c");
    eu("by distance", near, "a | b");
    let before = weighted().overridden("a", Drain).down("b c").on_empty(OnEmpty::Nodata);
    eu("before on_empty", before, "a");
    eu("an endpoint alone", SteeringWorld::new().endpoint("a", "eu").overridden("a", Drain), "a");
    let fence = abc().selector("held", "DE").pool("p", Failover, "a b").fence("f", "held", "b");
    let fence = fence.overridden("a", Drain).down("b").on_empty(OnEmpty::Nodata);
    check("a fence holds", fence, "eu+held", "nodata");
    let left = pair().overridden("a", Drain).down("b");
    let reason_of = |stage| why(&left, &left.decide("eu", V4, None), stage);
    let drained = "drained by alice: kernel update, until 2026-11-23 14:30 UTC; given because nothing better is left";
    assert_eq!(reason_of("state"), drained);
    assert_eq!(reason_of("on_empty"), "");
}

#[test]
fn a_failover_pool_never_splits() {
    let pair = |on_empty| pool(Failover, "a b c:0").down("a b c").on_empty(on_empty);
    eu("all: the first listed", pair(OnEmpty::All), "a");
    eu("last_good that never was: the first listed", pair(OnEmpty::LastGood), "stale a");
    eu("without what is forced down", pair(OnEmpty::All).overridden("a", Down), "b");
    eu("a drained one comes after", pair(OnEmpty::All).overridden("a", Drain), "b");
    eu("but comes", pair(OnEmpty::All).overridden("a", Drain).overridden("b", Down).overridden("c", Down), "a");
    let nested = abc().pool("x", Failover, "a b").pool("p", Weighted, "x:80 c:20").down("a b c");
    eu("nested", nested.on_empty(OnEmpty::All), "a=80 c=20");
    let up = pool(Failover, "a b").failback(Failback::Manual);
    let on_b = up.clone().down("a").decide("eu", V4, None);
    let memory = Memory { last_good: None, standings: &on_b.standings };
    let dead = up.down("a b").on_empty(OnEmpty::All);
    assert_eq!(dead.render(&dead.decide_after("eu", V4, memory)), "b", "the one that a failback is to leave");
}

#[test]
fn a_member_named_by_on_empty_is_given_up_or_not() {
    let primary = || pool(Failover, "a b").down("a b").or_else("a");
    eu("all down gives the primary", primary(), "a");
    eu("unless it is forced down", primary().overridden("a", Down), "nodata");
    eu("or disabled", primary().state("a", Disabled), "nodata");
    eu("a drained one is given, for want of anything", primary().overridden("a", Drain), "a");
    eu("the other one, while it is up", pool(Failover, "a b").down("a").or_else("a"), "b");
    let spare = || abc().endpoint("d", "us").pool("s", Failover, "c d").pool("p", Weighted, "a b").or_else("s");
    eu("a pool in its order", spare().down("a b c d"), "c");
    eu("what is up in it first", spare().down("a b c"), "d");
    eu("drained and up before down", spare().down("a b c").overridden("d", Drain), "d");
    let ranked = abc().endpoint("d", "eu").pool("s", Latency, "c d").pool("p", Weighted, "a b").or_else("s");
    eu("by its ranks", ranked.rtt("c", "eu", 9).rtt("d", "eu", 5).down("a b c d"), "d | c");
    let least = abc().endpoint("d", "us").pool("s", Weighted, "c d").pool("q", Failover, "s").pool("p", Weighted, "a");
    let least = least.min_up("s", 1.0).or_else("q");
    eu("whatever its min_up: what is up", least.clone().down("a c"), "d");
    eu("and with nothing up all of it", least.down("a c d"), "c=50 d=50");
    let reason = why(&primary(), &primary().decide("eu", V4, None), "on_empty");
    assert!(reason.ends_with("nothing is eligible; on_empty = \"a\", up or not"), "{reason}");
}

#[test]
fn entries_are_taken_in_order() {
    let sorry = || pool(Weighted, "a").or_else("b").then("nodata");
    eu("silent while something is up", sorry(), "a");
    eu("the first while it is up", sorry().down("a"), "b");
    eu("else the last", sorry().down("a b"), "nodata");
    let two = || pool(Weighted, "a").or_else("b").then("c");
    eu("the second", two().down("a b"), "c");
    eu("the last one in any case", two().down("a b c"), "c");
    eu("what is drained and up before that", two().down("a c").overridden("b", Drain), "b");
    eu("a drained one is passed over while the next is up", two().down("a").overridden("b", Drain), "c");
    let good = pool(Weighted, "a").or_else("b").then("last_good");
    eu("last_good at the end", good.down("a b"), "stale a");
    let fixed = abc().selector("held", "DE").pool("p", Weighted, "a").on_empty(OnEmpty::Static).then("b");
    let fixed = fixed.fence("f", "held", "a b").down("a");
    check("static gives nothing behind a fence: the next", fixed.clone(), "eu+held", "b");
    check("elsewhere it does", fixed, "eu", "static");
    let all = || abc().selector("lab", "NO").pool("p", Geo, "a@lab b").on_empty(OnEmpty::All).then("c").down("b");
    eu("all while something of it is up, for whichever clients", all(), "a=50 b=50");
    eu("and not when nothing is", all().down("a"), "c");
    let second = two().down("a b");
    let reason = why(&second, &second.decide("eu", V4, None), "on_empty");
    assert!(reason.contains("on_empty = \"b\", of which nothing is up; then \"c\""), "{reason}");
}

#[test]
fn an_endpoint_without_a_record_of_a_type_is_not_down() {
    let geo = || {
        let world = abc().selector("lab", "NO").only("a", V6).only("b", V4);
        world.pool("p", Geo, "a@lab b")
    };
    let given = |world: &SteeringWorld, client: &str, facet: Facet| {
        let decision = world.decide(client, facet, None);
        assert_eq!(world.flaw(&decision), None);
        (world.render(&decision), decision.looks_at_client, decision.stale)
    };
    let nodata = ("nodata".to_owned(), true, false);
    assert_eq!(given(&geo(), "eu+lab", V6), ("a".to_owned(), true, false));
    assert_eq!(given(&geo(), "eu", V6), nodata, "another client's branch has it");
    assert_eq!(given(&geo(), "eu", V4).0, "b");
    assert_eq!(given(&geo(), "eu+lab", V4).0, "b", "the next match that has the type");
    for on_empty in [OnEmpty::All, OnEmpty::LastGood] {
        let down = geo().down("a").on_empty(on_empty);
        assert_eq!(given(&down, "eu", V6), nodata, "down or not");
        assert!(given(&down, "eu+lab", V6).0.ends_with('a'), "it was a candidate of these");
    }
    assert_eq!(given(&geo().or_else("c"), "eu", V6), nodata, "nor is it anybody's fallback");
    let world = abc().selector("lab", "NO").pool("p", Geo, "a@lab b").down("b").on_empty(OnEmpty::All);
    assert_eq!(given(&world, "eu+lab", V4).0, "a");
    let dead = world.down("a");
    for client in ["eu", "eu+lab"] {
        let everyone = ("a=50 b=50".to_owned(), false, false);
        assert_eq!(given(&dead, client, V4), everyone, "all is of every branch, and the same for everyone");
    }
    let list = |world: SteeringWorld| world.or_else("c").then("all").down("a b c");
    let last = abc().selector("lab", "NO").pool("p", Geo, "a@lab b");
    assert_eq!(given(&list(last), "eu", V4).0, "a=50 b=50", "as the last of a list");
    let half = abc().selector("lab", "NO").pool("p", Geo, "a@lab b").down("b").on_empty(OnEmpty::All);
    assert_eq!(given(&half, "eu", V4).0, "a=50 b=50", "what is up elsewhere, and what is down");
    let below = abc().selector("lab", "NO").only("a", V6).only("c", V4).only("b", V4);
    let below = below.pool("g", Geo, "a@lab b").pool("p", Failover, "g c");
    assert_eq!(given(&below, "eu", V6), nodata, "nested");
    assert_eq!(given(&below.down("b"), "eu", V4).0, "c");
}

#[test]
fn last_good_is_of_what_was_a_candidate() {
    let world = abc().selector("lab", "NO").only("a", V6).only("b", V4).pool("p", Geo, "a@lab b");
    let of_lab: Decision = world.decide("eu+lab", V6, None);
    let last_good = Some(super::test_cases::given(&of_lab));
    let dead = world.down("a b");
    assert_eq!(dead.render(&dead.decide("eu+lab", V6, last_good)), "stale a");
    let other = dead.decide("eu", V6, last_good);
    assert_eq!((dead.render(&other), other.stale), ("nodata".to_owned(), false));
    let barred = pool(Weighted, "a b").down("a b");
    let before = pool(Weighted, "a b").decide("eu", V4, None);
    let last = |world: SteeringWorld| world.render(&world.decide("eu", V4, Some(super::test_cases::given(&before))));
    assert_eq!(last(barred.clone().overridden("a", Down)), "stale b", "not what is forced down since");
    assert_eq!(last(barred.overridden("a", Down).overridden("b", Down)), "nodata", "nothing is not stale");
}

#[test]
fn the_known_end_of_an_override_bounds_the_ttl() {
    let ttl_and_reason = |world: SteeringWorld| {
        let world = world.ttl(5, 42);
        let decision = world.decide("eu", V4, None);
        (decision.ttl, why(&world, &decision, "ttl"))
    };
    let ttl = |world: SteeringWorld| ttl_and_reason(world).0;
    let drained = || pool(Weighted, "a b").overridden("a", Drain);
    assert_eq!(
        ttl_and_reason(drained().before_end(33.0)),
        (33, "33 s: the override of \"a\" ends in 33.0 s".to_owned())
    );
    assert_eq!(ttl(drained().before_end(33.9)), 33, "whole seconds");
    assert_eq!(ttl(drained().before_end(1800.0)), 42, "not over ttl.max");
    assert_eq!(ttl(drained().before_end(2.0)), 5, "not under ttl.min");
    assert_eq!(ttl(drained().before_end(-1.0)), 5, "over, and not yet taken back");
    assert_eq!(ttl(drained()), 42, "no clock, no end");
    assert_eq!(ttl(drained().before_end(33.0).may_change("b", 9_000)), 9, "the soonest of all");
    assert_eq!(ttl(pool(Weighted, "a b").overridden("a", Down).before_end(33.0)), 33);
    let up = pool(Weighted, "a b").down("a").overridden("a", crate::model::OverrideState::Up);
    assert_eq!(ttl(up.before_end(33.0)), 33);
    assert_eq!(ttl(pool(Weighted, "b c").overridden("a", Drain).before_end(33.0)), 42, "another pool's");
    assert_eq!(ttl(drained().state("a", Disabled).before_end(33.0)), 42, "what is disabled stays out");
    let other = pool(Weighted, "a").or_else("b").overridden("b", Down).before_end(33.0);
    assert_eq!((ttl(other.clone()), ttl(other.down("a"))), (42, 33), "of a fallback while it is needed");
    let fence = abc().selector("held", "DE").pool("p", Weighted, "a b").fence("f", "held", "b").overridden("a", Drain);
    assert_eq!(fence.ttl(5, 42).before_end(33.0).decide("eu+held", V4, None).ttl, 42, "outside the fence");
}

#[test]
fn cases_of_gdnsd_have_the_same_answers() {
    let multi = |down: &str| {
        let world =
            abc().endpoint("d", "us").pool("m1", All, "a b").pool("m2", All, "c d").pool("p", Failover, "m1 m2");
        world.down(down)
    };
    eu("multifo: all of the first group", multi(""), "[a b]");
    eu("multifo: what is up of it", multi("a"), "b");
    eu("multifo: the second group", multi("a b"), "[c d]");
    eu("multifo: all down is all of the first", multi("a b c d").or_else("m1"), "[a b]");
    let simple = |down: &str| pool(Failover, "a b").down(down).or_else("a");
    eu("simplefo: the primary", simple(""), "a");
    eu("simplefo: the secondary", simple("a"), "b");
    eu("simplefo: all down is the primary", simple("a b"), "a");
}
