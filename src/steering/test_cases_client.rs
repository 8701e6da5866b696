//! Cases of steering, each with a sentence: what depends on the client: geo pools, fences, and the draw by its net.

use super::test_cases::{abc, check, check_decision, given, pool, why};
use super::test_world::SteeringWorld;
use super::{Decision, Memory};
use crate::model::AdminState::{Disabled, Drain};
use crate::model::OverrideState::Up;
use crate::model::Steering::{Affinity, All, Failover, Geo, Latency, Nearest, Weighted};
use crate::model::{AffinityNet, Facet, OnEmpty};

/// a in eu, b in us, c in ap, and selectors: north (NO, SE), east (JP), held (DE).
fn places() -> SteeringWorld {
    abc().selector("north", "NO SE").selector("east", "JP").selector("held", "DE")
}

fn geo(members: &str) -> SteeringWorld {
    places().pool("p", Geo, members)
}

fn decide(world: &SteeringWorld, client: &str) -> Decision {
    world.decide(client, Facet::V4, None)
}

#[test]
fn geo_gives_the_first_that_is_up_and_meant_for_the_client() {
    let world = || geo("a@north b@east c");
    check("whom it is meant for", world(), "eu+north", "a");
    check("another's", world(), "eu+east", "b");
    check("the rest", world(), "eu", "c");
    check("the client's region has no say", world(), "us", "c");
    check("both hold: the first", world(), "eu+north+east", "a");
    check("the next match when the first is down", world().down("a"), "eu+north+east", "b");
    check("the rest when its own is down", world().down("a"), "eu+north", "c");
    check("drained is out as well", world().state("a", Drain), "eu+north", "c");
    check("nobody else is given to it in more answers", world().answers(3), "eu+north", "a");
    check("a standby comes last wherever listed", geo("a:0 b@north c"), "eu+north", "b");
    check("and in the end it comes", geo("a:0 b@north c").down("b c"), "eu+north", "a");
    check("nothing is meant for it", geo("a@north b@east"), "eu", "nodata");
    check("nothing is, and nodata is the word", geo("a@north b@east").on_empty(OnEmpty::Nodata), "eu", "nodata");
    check("a member twice, for two kinds of clients", geo("a@north b@east a@held c"), "-+held", "a");
    let failover = places().pool("g", Geo, "a@north").pool("p", Failover, "g c");
    check("a geo pool with nothing for the client is out for its parent", failover.clone(), "eu", "c");
    check("but not for those it has something for", failover, "eu+north", "a");
    let weighted = places().pool("g", Geo, "a@north b@east").pool("p", Weighted, "g:3 c:1");
    check("beside others by weight", weighted.clone(), "eu+east", "b=75 c=25");
    check("and nothing beside them", weighted, "eu", "c");
}

#[test]
fn geo_over_weighted_over_failover_passes_failure_up() {
    let world = |down: &str| {
        let ends = places().endpoint("d", "eu").endpoint("e", "us").endpoint("f", "ap");
        let low = ends.pool("ab", Failover, "a b").pool("cd", Failover, "c d");
        let mid = low.pool("north1", Weighted, "ab:3 cd:1").pool("rest", Weighted, "e f");
        mid.pool("p", Geo, "north1@north rest").down(down)
    };
    check("all up", world(""), "eu+north", "a=75 c=25");
    check("the first of a failover pool is down", world("a"), "eu+north", "b=75 c=25");
    check("all of a failover pool: its weight goes to the other", world("a b"), "eu+north", "c");
    check("one left of all four", world("a b c"), "eu+north", "d");
    check("all of the first match: the next match", world("a b c d"), "eu+north", "e=50 f=50");
    check("others never saw any of it", world("a b c d"), "eu", "e=50 f=50");
    check("the rest is down: nothing else is meant for them", world("e f").on_empty(OnEmpty::Nodata), "eu", "nodata");
    check("everything down", world("a b c d e f").on_empty(OnEmpty::All), "eu", "a=38 c=12 e=25 f=25");
    let north = world("a b c d e f").on_empty(OnEmpty::All);
    check("everything down, the same for those whom all of it is for", north, "eu+north", "a=38 c=12 e=25 f=25");
}

#[test]
fn pools_nest_thirty_two_deep() {
    let mut world = abc().pool("q0", Weighted, "a b");
    for depth in 1..32 {
        let (name, below) = (format!("q{depth}"), format!("q{}", depth - 1));
        world = world.pool(&name, [Weighted, Failover, Latency, Geo][depth % 4], &below);
    }
    check("what the deepest has", world.clone(), "eu", "a=50 b=50");
    check("without what is down there", world.down("a"), "eu", "b");
    let mut doubled = abc().pool("q0", Weighted, "a b");
    for depth in 1..32 {
        let below = format!("q{0} q{0} c:0", depth - 1);
        doubled = doubled.pool(&format!("q{depth}"), [Weighted, Latency, All][depth % 3], &below);
    }
    check("twice in each other, and still not a billion", doubled.clone(), "eu", "[a b]");
    check("all of them down", doubled.down("a b c").on_empty(OnEmpty::Nodata), "eu", "nodata");
}

#[test]
fn geo_says_why() {
    let why = |world: &SteeringWorld, client, stage| why(world, &decide(world, client), stage);
    let three = geo("a@north b@east c").answers(2);
    assert_eq!(why(&three, "eu+east", "rank"), "first match: \"b\", countries JP");
    let reasons = "not for this client: countries NO, SE; behind \"b\", which matches first; tier 1, weight 1";
    assert_eq!(why(&three, "eu+east", "tiers"), reasons);
    let nested = places().pool("g", Geo, "a@north").pool("p", Failover, "g c");
    let reasons = "not for this client: countries NO, SE; tier 1, weight 1";
    assert_eq!(why(&nested, "eu", "tiers"), reasons);
    let reasons = why(&geo("a@north b@east"), "eu", "tiers");
    assert!(
        reasons.ends_with("; nothing with a record of this type is for this client: the answer is empty"),
        "{reasons}"
    );
    assert_eq!(why(&geo("a@north c"), "eu", "rank"), "first match: \"c\", for everyone");
}

#[test]
fn the_client_is_read_where_its_class_could_matter() {
    let looks = |world: SteeringWorld| {
        let looks = ["eu", "us+north", "-+east", "eu+held"].map(|client| decide(&world, client).looks_at_client);
        assert!(looks.iter().all(|look| *look == looks[0]), "whether the client is read does not depend on the client");
        looks[0]
    };
    assert!(looks(geo("a@north c")));
    assert!(looks(geo("a@north c").down("c")), "others are left with nothing");
    assert!(!looks(geo("a@north c").down("a")), "what is left is for everyone");
    assert!(!looks(geo("a b@north")), "nobody comes to the second");
    assert!(looks(geo("a b@north").down("a")));
    let behind = || places().pool("g", Geo, "a@north b").pool("p", Failover, "c g");
    assert!(!looks(behind()), "a geo pool that isn't reached");
    assert!(looks(behind().down("c")));
    let fenced = |inside| pool(Weighted, "a b").selector("held", "DE").fence("f", "held", inside);
    let looks_fenced = |world: SteeringWorld| {
        let [held, free] = ["eu+held", "us"].map(|client| decide(&world, client).looks_at_client);
        assert_eq!(held, free);
        held
    };
    assert!(looks_fenced(fenced("a")));
    assert!(looks_fenced(fenced("a").down("b")), "b may be given to those outside again: by last_good, say");
    assert!(!looks_fenced(fenced("a b")), "nothing is outside");
    assert!(
        !looks_fenced(fenced("a b c").on_empty(OnEmpty::Static)),
        "nothing is outside, and the zone file is silent"
    );
    assert!(looks_fenced(fenced("a b").down("a b").on_empty(OnEmpty::Static)), "now it speaks, to those outside");
}

/// Clients in DE may have a and b alone, of a, b and c.
fn fenced(world: SteeringWorld) -> SteeringWorld {
    world.selector("held", "DE").fence("de", "held", "a b")
}

#[test]
fn nothing_leads_out_of_a_fence() {
    let world = || fenced(pool(Weighted, "a b c:2"));
    check("inside", world(), "eu+held", "a=50 b=50");
    check("others are free", world(), "eu", "a=25 b=25 c=50");
    check("one left inside", world().down("a"), "eu+held", "b");
    check("a force-up outside does not help", world().down("a b").overridden("c", Up), "eu+held", "stale a=50 b=50");
    check("it does for others", world().down("a b").overridden("c", Up), "eu", "c");
    let dead = |on_empty| world().down("a b c").on_empty(on_empty);
    check("all, inside", dead(OnEmpty::All), "eu+held", "a=50 b=50");
    check("all, for others", dead(OnEmpty::All), "eu", "a=25 b=25 c=50");
    check("nobody knows where the zone file's records are", dead(OnEmpty::Static), "eu+held", "nodata");
    check("static for others", dead(OnEmpty::Static), "eu", "static");
    check("nodata", dead(OnEmpty::Nodata), "eu+held", "nodata");
    check("only c up: held clients are empty", world().down("a b").on_empty(OnEmpty::Nodata), "eu+held", "nodata");
    check("only c up, and all: inside", world().down("a b").on_empty(OnEmpty::All), "eu+held", "a=50 b=50");
    let other = |down: &str| {
        let spare = abc().pool("spare", Weighted, "b c").pool("p", Weighted, "a").or_else("spare");
        fenced(spare).down(down)
    };
    check("another pool, inside", other("a"), "eu+held", "b");
    check("another pool, for others", other("a"), "eu", "b=50 c=50");
    check("another pool that is down: inside", other("a b"), "eu+held", "b");
    let outside = fenced(pool(Failover, "c")).on_empty(OnEmpty::All);
    check("nothing of the pool is inside", outside.clone(), "eu+held", "nodata");
    check("which others don't notice", outside, "eu", "c");
    let disabled = world().down("b").state("a", Disabled).on_empty(OnEmpty::All);
    check("disabled stays out inside as well", disabled, "eu+held", "b");
    let nearest = fenced(pool(Nearest, "c b a"));
    check("the nearest that is inside", nearest, "ap+held", "a | b");
}

#[test]
fn last_good_stays_inside_the_fence() {
    let world = fenced(pool(Weighted, "a b c:2"));
    let free = decide(&world, "eu");
    let dead = world.down("a b c");
    let memory = Memory { last_good: Some(given(&free)), standings: &[] };
    let held = dead.decide_after("eu+held", Facet::V4, memory);
    check_decision("without what is outside", &dead, &held, "stale a=50 b=50");
    check_decision("as it was for others", &dead, &dead.decide_after("eu", Facet::V4, memory), "stale a=25 b=25 c=50");
}

#[test]
fn fences_say_why() {
    let why = |world: &SteeringWorld, client, stage| why(world, &decide(world, client), stage);
    let world = || fenced(pool(Weighted, "a b c"));
    let reasons = "outside the fence \"de\", which leaves this client a, b; \"de\" applies to this client";
    assert_eq!(why(&world(), "eu+held", "fence"), reasons);
    assert_eq!(why(&world(), "eu", "fence"), "\"de\" does not apply to this client");
    assert_eq!(why(&fenced(pool(Weighted, "a b")), "eu", "fence"), "everything is inside \"de\"");
    let nothing = fenced(pool(Weighted, "c"));
    assert!(why(&nothing, "eu+held", "fence").contains("which leaves this client nothing of this pool"));
    let closed = world().down("a b c").on_empty(OnEmpty::Static);
    assert!(
        why(&closed, "eu+held", "on_empty")
            .contains("it is not known whether the zone file's records are inside \"de\"")
    );
    let names: Vec<&str> = decide(&world(), "eu").stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["candidates", "fence", "state", "health", "tiers", "pick", "limit", "ttl"]);
    assert!(why(&pool(Weighted, "a"), "eu", "fence").is_empty(), "no fence, no stage");
}

#[test]
fn the_clients_net_matters_where_a_pool_divides_by_net() {
    let net = |world: SteeringWorld| decide(&world, "eu").affinity.map(|net| (net.v4, net.v6));
    let default = AffinityNet::default();
    let default = Some((default.v4, default.v6));
    assert_eq!(net(pool(Affinity, "a b")), default, "a pool that steers affinity");
    assert_eq!(net(pool(Weighted, "a b")), None, "chance decides");
    assert_eq!(net(pool(Weighted, "a b").affinity(20, 48)), Some((20, 48)), "a name with affinity");
    assert_eq!(net(pool(Affinity, "a b").affinity(20, 48)), Some((20, 48)), "the name's net goes before the default");
    assert_eq!(net(pool(Affinity, "a b").down("a")), None, "one left");
    assert_eq!(net(pool(Failover, "a b").affinity(20, 48)), None, "only one is ever given");
    assert_eq!(net(pool(All, "a b").affinity(20, 48)), None, "a group is given whole");
    let ranked = pool(Latency, "a b c").rtt("a", "eu", 1).rtt("b", "eu", 2).rtt("c", "eu", 2).affinity(20, 48);
    assert_eq!(net(ranked.clone()), None, "the second tier isn't reached");
    assert_eq!(net(ranked.answers(3)), Some((20, 48)), "now it is");
    let deep = |outer, inner| abc().pool("x", inner, "a b").pool("p", outer, "x c:0");
    assert_eq!(net(deep(Failover, Affinity)), default, "below another pool");
    assert_eq!(net(deep(Affinity, Weighted)), None, "an affinity pool with one member to give divides nothing");
    let mixed = abc().pool("x", Affinity, "a").pool("y", Affinity, "b").pool("p", Weighted, "x y");
    assert_eq!(net(mixed), None, "chance between two pools of one");
    let groups = abc().endpoint("d", "us").pool("x", All, "a b").pool("y", All, "c d").pool("p", Affinity, "x y");
    assert_eq!(net(groups), default, "between groups");
    assert_eq!(net(pool(Affinity, "a b").down("a b").on_empty(OnEmpty::All)), default, "by on_empty too");
    assert_eq!(net(pool(Affinity, "a b").down("a b").on_empty(OnEmpty::Nodata)), None, "nothing to draw");
    let world = pool(Affinity, "a:3 b");
    let reasons = why(&world, &decide(&world, "eu"), "pick");
    assert_eq!(reasons, "tier 1: weight 3 of 4; tier 1: weight 1 of 4; by the client's net (/24; IPv6 /56)");
}

#[test]
fn a_member_in_two_pools_has_both_weights_and_the_path_of_the_first() {
    let world = abc().pool("x", Weighted, "a b").pool("y", Weighted, "b c").pool("p", Affinity, "x:2 y:2");
    check("both weights", world.clone(), "eu", "a=25 b=50 c=25");
    check("its weight in a pool where it is alone", world.clone().down("a"), "eu", "b=75 c=25");
    let decision = decide(&world, "eu");
    let shares = &given(&decision).tiers[0].shares;
    assert_eq!(shares.len(), 3);
    let steps = |at: usize| shares[at].path.iter().map(|step| (step.member, step.by_net)).collect::<Vec<_>>();
    assert_eq!(steps(0)[0], steps(1)[0], "a and b are both by x");
    assert_ne!(steps(1)[0], steps(2)[0], "c is by y");
    assert_eq!(shares.iter().map(|share| share.path.len()).collect::<Vec<_>>(), [2, 2, 2]);
    assert!(steps(0)[0].1 && !steps(0)[1].1, "p chooses by net, x does not");
    let shallow = abc().pool("x", Weighted, "b c").pool("p", Weighted, "b:2 x:2");
    check("as a member and below another", shallow, "eu", "b=75 c=25");
}
