//! Cases of steering, each with a sentence: what each kind of pool gives to which clients in which world.

use super::test_world::SteeringWorld;
use super::{AnswerSource, Decision, Distribution};
use crate::control::explain::Renderer;
use crate::model::AdminState::{Disabled, Drain};
use crate::model::Steering::{All, Failover, Latency, Nearest, Weighted};
use crate::model::{Facet, OnEmpty, PolicyId, Steering};

/// Checks the answer to an A query from a client in the region `client`; `-` is a client without region.
#[track_caller]
pub(super) fn check(sentence: &str, world: SteeringWorld, client: &str, expected: &str) {
    check_facet(sentence, world, client, Facet::V4, expected);
}

#[track_caller]
fn check_facet(sentence: &str, world: SteeringWorld, client: &str, facet: Facet, expected: &str) {
    check_decision(sentence, &world, &world.decide(client, facet, None), expected);
}

#[track_caller]
pub(super) fn check_decision(sentence: &str, world: &SteeringWorld, decision: &Decision, expected: &str) {
    assert_eq!(world.render(decision), expected, "{sentence}");
    assert_eq!(world.flaw(decision), None, "{sentence}: {:#?}", decision.stages);
}

/// Endpoints a in eu, b in us, c in ap.
pub(super) fn abc() -> SteeringWorld {
    SteeringWorld::new().endpoint("a", "eu").endpoint("b", "us").endpoint("c", "ap")
}

pub(super) fn pool(steering: Steering, members: &str) -> SteeringWorld {
    abc().pool("p", steering, members)
}

#[test]
fn weighted_gives_in_proportion() {
    let check = |sentence, world, expected| check(sentence, world, "eu", expected);
    check("weights are shares", pool(Weighted, "a:80 b:20"), "a=80 b=20");
    check("a dead member's share goes to the others", pool(Weighted, "a:50 b:25 c:25").down("a"), "b=50 c=50");
    check("one left", pool(Weighted, "a:80 b:20").down("a"), "b");
    check("a standby stays out while another is up", pool(Weighted, "a:1 b:0 c:5").down("c"), "a");
    check("a standby comes in when all others are out", pool(Weighted, "a:1 b:0 c:5").down("a c"), "b");
    check("standbys share evenly", pool(Weighted, "a:1 b:0 c:0").down("a"), "b=50 c=50");
    check("only standbys", pool(Weighted, "a:0 b:0"), "a=50 b=50");
    check("drained: no new answers", pool(Weighted, "a b c").state("b", Drain), "a=50 c=50");
    check("disabled is out", pool(Weighted, "a b").state("a", Disabled), "b");
    check("a draining member counts as out for its standby", pool(Weighted, "a b:0").state("a", Drain), "b");
    check("a member listed twice has both weights", pool(Weighted, "a:1 b:2 a:1"), "a=50 b=50");
    check("no probe yet counts as up", pool(Weighted, "a b").unknown("a", false), "a=50 b=50");
    check("probed and still unknown counts as down", pool(Weighted, "a b").unknown("a", true), "b");
    check("without monitor always up", pool(Weighted, "a b").down("b").unmonitored("a"), "a");
    check("an endpoint alone needs no pool", SteeringWorld::new().endpoint("a", "eu"), "a");
}

#[test]
fn latency_ranks_by_what_the_clients_region_measured() {
    let world = |members| {
        let measured = abc().rtt("a", "eu", 10).rtt("b", "eu", 80).rtt("c", "eu", 120);
        measured.rtt("a", "us", 90).rtt("b", "us", 12).rtt("c", "us", 200).pool("p", Latency, members)
    };
    check("the nearest first", world("c b a"), "eu", "a | b | c");
    check("another region ranks otherwise", world("c b a"), "us", "b | a | c");
    check("a region without measurements takes the nearest one's", world("c b a"), "ap", "a | b | c");
    check("a region without location takes any that measures", world("c b a"), "moon", "a | b | c");
    check("an unknown client gets listed order", world("c b a"), "-", "c | b | a");
    check("the dead are not ranked", world("c b a").down("a"), "eu", "b | c");
    check("nothing measured: listed order", pool(Latency, "b c a"), "eu", "b | c | a");
    check("unmeasured goes behind measured", pool(Latency, "c b a").rtt("a", "eu", 10), "eu", "a | c | b");
    check(
        "own region's even if another measured more",
        pool(Latency, "c b a").rtt("b", "eu", 99).rtt("c", "us", 1),
        "eu",
        "b | c | a",
    );
    check(
        "equal RTT is one tier",
        pool(Latency, "a:3 b:1 c").rtt("a", "eu", 10).rtt("b", "eu", 10).rtt("c", "eu", 11),
        "eu",
        "a=75 b=25 | c",
    );
    check("a standby is out, however near", world("c b a:0"), "eu", "b | c");
    check(
        "a pool is as near as its best that is up",
        world("b").pool("far", Weighted, "a c").pool("q", Latency, "b far"),
        "eu",
        "b",
    );
}

#[test]
fn nested_pools_are_ranked_by_what_they_give() {
    let measured = || abc().rtt("a", "eu", 10).rtt("b", "eu", 80).rtt("c", "eu", 120);
    check("near by its best", measured().pool("x", Weighted, "a c").pool("p", Latency, "b x"), "eu", "a=50 c=50 | b");
    check("its best is down", measured().down("a").pool("x", Weighted, "a c").pool("p", Latency, "b x"), "eu", "b | c");
    check(
        "tiers of a nested pool stay in order",
        measured().pool("x", Latency, "c a").pool("p", Latency, "b x"),
        "eu",
        "a | c | b",
    );
    check(
        "a failover pool counts for what it gives",
        measured().pool("x", Failover, "c a").pool("p", Latency, "b x"),
        "eu",
        "b | c",
    );
}

#[test]
fn nearest_ranks_by_great_circle() {
    check("own region first", pool(Nearest, "c b a"), "eu", "a | b | c");
    check("from Mumbai Dublin is nearer than Virginia", pool(Nearest, "b a c"), "ap", "c | a | b");
    check("an unknown client gets listed order", pool(Nearest, "c b a"), "-", "c | b | a");
    check(
        "one region is one distance",
        abc().endpoint("d", "eu").pool("p", Nearest, "b a:3 d:1"),
        "eu",
        "a=75 d=25 | b",
    );
    check("no location: behind, as listed", abc().endpoint("m", "moon").pool("p", Nearest, "m b a"), "eu", "a | b | m");
    check(
        "a client without location: own region, then as listed",
        abc().endpoint("m", "moon").pool("p", Nearest, "c m a"),
        "moon",
        "m | c | a",
    );
}

#[test]
fn failover_gives_the_first_that_is_up() {
    let check = |sentence, world, expected| check(sentence, world, "eu", expected);
    check("the first", pool(Failover, "b a c"), "b");
    check("the second when the first is out", pool(Failover, "b a c").down("b"), "a");
    check("no standby leaks into more answers", pool(Failover, "b a c").answers(3), "b");
    check("a standby by weight comes last wherever listed", pool(Failover, "a:0 b c"), "b");
    check("and in the end it comes", pool(Failover, "a:0 b c").down("b c"), "a");
    let nested = abc().pool("x", Weighted, "a b").pool("p", Failover, "x c");
    check("a pool that has anything is up", nested.clone().down("a"), "b");
    check("a pool that has nothing is out", nested.down("a b"), "c");
}

#[test]
fn all_gives_every_member_that_is_up() {
    let check = |sentence, world, expected| check(sentence, world, "eu", expected);
    check("together", pool(All, "a b c"), "[a b c]");
    check("without the dead", pool(All, "a b c").down("b"), "[a c]");
    check("without standbys", pool(All, "a b c:0"), "[a b]");
    check("nested, what the first tiers hold", abc().pool("x", Failover, "a b").pool("p", All, "x c"), "[a c]");
    check("drawn as a group", abc().pool("x", All, "a b").pool("p", Weighted, "x:3 c:1"), "[a b]=75 c=25");
    check("an alias can't be given with others", abc().alias("z", "eu").pool("p", All, "a z b"), "[a b]");
    check("in a group and alone", abc().pool("x", All, "a b").pool("p", Weighted, "a x c"), "a=33 [a b]=33 c=33");
}

#[test]
fn nested_pools_divide_their_own_weight() {
    let world = || abc().endpoint("d", "us").pool("x", Weighted, "a:3 b:1").pool("p", Weighted, "x:80 c:20");
    check("by both weights", world(), "eu", "a=60 b=20 c=20");
    check("a pool keeps its weight while anything in it is up", world().down("b"), "eu", "a=80 c=20");
    check("a pool that is out gives its weight up", world().down("a b"), "eu", "c");
    let ranked = abc().rtt("a", "eu", 9).rtt("b", "eu", 5).pool("x", Latency, "a b").pool("p", Weighted, "x c");
    check("tiers stand side by side", ranked, "eu", "b=50 c=50 | a");
    let twice = abc().rtt("a", "eu", 9).rtt("b", "eu", 5).pool("x", Latency, "a b").pool("p", Weighted, "x a");
    check("in two tiers: the better one", twice, "eu", "b=50 a=50");
    let standby = abc().pool("x", Weighted, "b c").pool("p", Weighted, "a x:0");
    check("a standby pool is out", standby.clone(), "eu", "a");
    check("and comes in whole", standby.down("a"), "eu", "b=50 c=50");
}

#[test]
fn each_family_is_judged_by_itself() {
    check_facet("IPv6 down, IPv4 up", pool(Weighted, "a b").down_in("a", Facet::V6), "eu", Facet::V6, "b");
    check_facet(
        "IPv6 down, a query for IPv4",
        pool(Weighted, "a b").down_in("a", Facet::V6),
        "eu",
        Facet::V4,
        "a=50 b=50",
    );
    check_facet("without IPv6", pool(Weighted, "a b").only("a", Facet::V4), "eu", Facet::V6, "b");
    let none = pool(Weighted, "a").only("a", Facet::V4).on_empty(OnEmpty::All);
    check_facet("nobody has IPv6: empty, whatever on_empty", none, "eu", Facet::V6, "nodata");
    let mixed = || abc().alias("z", "eu").pool("p", Weighted, "a:3 z:1");
    check_facet("never an alias next to addresses", mixed(), "eu", Facet::V4, "a");
    check_facet("an alias answers for IPv4", mixed().down("a"), "eu", Facet::V4, "z");
    check_facet("and for IPv6", mixed().down("a"), "eu", Facet::V6, "z");
    check_facet("a question for the alias itself", mixed().down("a"), "eu", Facet::Alias, "z");
}

#[test]
fn when_nothing_is_eligible_on_empty_decides() {
    let dead = |on_empty| pool(Weighted, "a:70 b:30 c:0").down("a b c").on_empty(on_empty);
    check("all: standbys too, as much as the lightest", dead(OnEmpty::All), "eu", "a=54 b=23 c=23");
    check(
        "all: drained too, disabled never",
        dead(OnEmpty::All).state("a", Drain).state("c", Disabled),
        "eu",
        "a=70 b=30",
    );
    check("all of an all pool is together", pool(All, "a b").down("a b").on_empty(OnEmpty::All), "eu", "[a b]");
    let nested = abc().pool("x", Failover, "a b").pool("p", Weighted, "x:80 c:20").down("a b c").on_empty(OnEmpty::All);
    check("all: pools divide their weight, failover gives its first", nested, "eu", "a=80 c=20");
    check("static", dead(OnEmpty::Static), "eu", "static");
    check("nodata", dead(OnEmpty::Nodata), "eu", "nodata");
    check("last good, where nothing ever was", dead(OnEmpty::LastGood), "eu", "stale a=54 b=23 c=23");
    check(
        "all disabled: nothing can be given",
        pool(Weighted, "a").state("a", Disabled).on_empty(OnEmpty::All),
        "eu",
        "nodata",
    );
    check(
        "an endpoint alone, down",
        SteeringWorld::new().endpoint("a", "eu").down("a").on_empty(OnEmpty::All),
        "eu",
        "a",
    );
    let other = |dead: &str| abc().pool("spare", Failover, "b c").pool("p", Weighted, "a").or_else("spare").down(dead);
    check("another pool, by its own rules", other("a"), "eu", "b");
    check("health counts there too", other("a b"), "eu", "c");
    check("where that is down as well: in its order", other("a b c"), "eu", "b");
    check("another endpoint", pool(Weighted, "a").or_else("c").down("a"), "eu", "c");
    check("on_empty is silent while anything is up", pool(Weighted, "a b").down("a").on_empty(OnEmpty::All), "eu", "b");
}

pub(super) fn given(decision: &Decision) -> &Distribution {
    match &decision.source {
        AnswerSource::Endpoints(distribution) => distribution,
        AnswerSource::Static | AnswerSource::Nodata => panic!("nothing given"),
    }
}

#[test]
fn last_good_is_what_was_given_last() {
    let world = pool(Weighted, "a:80 b:20 c:0");
    let before = world.decide("eu", Facet::V4, None);
    let last = |world: SteeringWorld| {
        let decision = world.decide("eu", Facet::V4, Some(given(&before)));
        (world, decision)
    };
    let (dead, decision) = last(world.clone().down("a b c"));
    check_decision("as it was, without the standby", &dead, &decision, "stale a=80 b=20");
    assert_eq!(dead.decide("eu", Facet::V4, Some(given(&decision))), decision, "and so it stays");
    let (gone, decision) = last(world.clone().down("a b c").state("a", Disabled));
    check_decision("without what was taken out of service since", &gone, &decision, "stale b");
    let (other, decision) = last(pool(Weighted, "c").down("c"));
    check_decision("nothing of it is left in the pool: every endpoint", &other, &decision, "stale c");
    let (up, decision) = last(world.down("a"));
    check_decision("not while anything is up", &up, &decision, "b");
}

#[test]
fn the_client_is_read_only_where_it_matters() {
    let looks = |world: SteeringWorld| {
        let looks = ["eu", "us", "-"].map(|client| world.decide(client, Facet::V4, None).looks_at_client);
        assert!(looks.iter().all(|look| *look == looks[0]), "whether the client is read does not depend on the client");
        looks[0]
    };
    assert!(!looks(pool(Weighted, "a b")), "weights are the same for all");
    assert!(looks(pool(Latency, "a b")), "a ranking isn't");
    assert!(looks(pool(Nearest, "a b")));
    assert!(!looks(pool(Latency, "a b").down("a")), "one left is first for all");
    assert!(!looks(abc().pool("x", Latency, "a b").pool("p", Failover, "c x")), "a ranking that isn't reached");
    assert!(looks(abc().pool("x", Latency, "a b").pool("p", Failover, "c x").down("c")));
    assert!(looks(pool(Latency, "a b").down("a b")), "what was last good differs");
    assert!(!looks(pool(Latency, "a b").down("a b").on_empty(OnEmpty::All)));
    assert!(looks(abc().pool("near", Nearest, "b c").pool("p", Weighted, "a").or_else("near").down("a")));
}

#[test]
fn the_ttl_is_the_time_until_the_answer_could_change() {
    let ttl = |world: SteeringWorld| world.decide("eu", Facet::V4, None).ttl;
    let two = || pool(Weighted, "a b").ttl(5, 20);
    assert_eq!(ttl(two()), 20, "nothing ever changes: max");
    assert_eq!(ttl(two().may_change("a", 12_900).may_change("b", 17_000)), 12, "the soonest, whole seconds");
    assert_eq!(ttl(two().may_change("a", 300)), 5, "not under min");
    assert_eq!(ttl(two().may_change("a", 90_000)), 20, "not over max");
    assert_eq!(ttl(two().may_change("a", 7_000).down("a")), 7, "what is down may come back");
    assert_eq!(ttl(two().may_change("a", 7_000).state("a", Drain)), 20, "what is drained can't");
    assert_eq!(ttl(two().may_change("c", 7_000)), 20, "what isn't a candidate doesn't count");
    assert_eq!(ttl(pool(Weighted, "a").or_else("c").down("a").may_change("c", 6_000)), 6, "but where it is the answer");
}

/// The notes of all stages, as `explain` shows them.
pub(super) fn notes(world: &SteeringWorld, decision: &Decision) -> Vec<Option<String>> {
    let model = world.whole_model();
    let renderer = Renderer { model: &model, policy: model.policy(PolicyId(0)), decision, block: None };
    decision.stages.iter().map(|stage| stage.note.as_ref().map(|note| renderer.note(note))).collect()
}

/// All that `explain` shows of a stage: the reasons of the endpoints that it dropped, of those that passed, and its
/// note.
pub(super) fn why(world: &SteeringWorld, decision: &Decision, stage: &str) -> String {
    let Some(stage) = decision.stages.iter().find(|s| s.name.as_str() == stage) else { return String::new() };
    let model = world.whole_model();
    let renderer = Renderer { model: &model, policy: model.policy(PolicyId(0)), decision, block: None };
    let reasons = stage.dropped.iter().chain(&stage.passed).map(|reason| renderer.reason(reason));
    reasons.chain(stage.note.as_ref().map(|note| renderer.note(note))).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_drop_and_rank_says_why() {
    let why =
        |world: SteeringWorld, client: &str, stage: &str| why(&world, &world.decide(client, Facet::V4, None), stage);
    let measured = || pool(Latency, "b a").rtt("a", "eu", 12).rtt("b", "eu", 80);
    for (world, client, stage, expected) in [
        (
            measured(),
            "eu",
            "rank",
            "rank 1: 12.0 ms from eu (this client's region); rank 2: 80.0 ms from eu (this client's region)",
        ),
        (measured(), "us", "rank", "rank 1: 12.0 ms from eu (the nearest region that measures; us does not)"),
        (measured(), "-", "rank", "rank 1: listed order, the client's region is unknown"),
        (measured().down("b"), "eu", "rank", "rank 1: the only member that is up"),
        (measured().down("b"), "eu", "health", "down: connection refused (reported by ns1)"),
        (pool(Nearest, "a b"), "eu", "rank", "rank 1: 0 km from eu (this client's region); rank 2: 5"),
        (pool(Weighted, "a").state("a", Drain), "eu", "state", "drained: "),
        (pool(Weighted, "a").only("a", Facet::V6), "eu", "candidates", "no IPv4 address"),
        (pool(Failover, "a b"), "eu", "tiers", "standby: \"a\" comes first in \"p\" and is up"),
        (pool(Weighted, "a b:0"), "eu", "tiers", "standby: weight 0, for when every other member of \"p\" is out"),
        (measured(), "eu", "pick", "tier 2: not reached: earlier tiers have enough records; tier 1: weight 1 of 1"),
        (pool(Weighted, "a b").answers(2), "eu", "limit", "up to 2 records in a reply"),
        (pool(Weighted, "a").may_change("a", 7_250), "eu", "ttl", "7 s: \"a\" could change in 7.2 s"),
        (
            pool(Weighted, "a").down("a"),
            "eu",
            "on_empty",
            "given though it is not eligible; nothing is eligible; on_empty = last_good: there was no good answer yet",
        ),
    ] {
        let reason = why(world, client, stage);
        assert!(reason.starts_with(expected), "{stage}: {reason}");
    }
}
