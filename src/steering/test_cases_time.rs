//! Cases of steering in simulated time, each with a sentence: choices that resist change, and what they do to the TTL.

use std::time::Duration;

use super::test_cases::{abc, pool, why};
use super::test_world::SteeringWorld;
use super::{Decision, Memory, Standing};
use crate::model::Steering::{Failover, Geo, Latency, Weighted};
use crate::model::{Facet, Failback, MemberRef};

/// A world over time: each decision gets the memory of the one before.
struct Story {
    world: SteeringWorld,
    client: &'static str,
    standings: Vec<Standing>,
    last: Option<Decision>,
}

impl Story {
    fn of(world: SteeringWorld) -> Story {
        Story { world, client: "eu", standings: Vec::new(), last: None }
    }

    /// At `seconds`, after `change`, the answer is `expected`.
    #[track_caller]
    fn then(
        mut self,
        sentence: &str,
        seconds: u64,
        change: impl Fn(SteeringWorld) -> SteeringWorld,
        expected: &str,
    ) -> Story {
        self.world = change(self.world).at(seconds);
        let memory = Memory { last_good: None, standings: &self.standings };
        let decision = self.world.decide_after(self.client, Facet::V4, memory);
        assert_eq!(self.world.render(&decision), expected, "{sentence}");
        assert_eq!(self.world.flaw(&decision), None, "{sentence}");
        self.standings = decision.standings.clone();
        self.last = Some(decision);
        self
    }

    fn last(&self) -> &Decision {
        self.last.as_ref().unwrap()
    }

    /// Checks the standings: incumbents and, in brackets, the challengers, with the start and the end of their wait.
    #[track_caller]
    fn stands(self, expected: &str) -> Story {
        let names =
            |members: &[MemberRef]| members.iter().map(|m| self.world.name_of(*m)).collect::<Vec<_>>().join("+");
        let shown = self.standings.iter().map(|standing| {
            let challenger = standing.challenger.as_ref().map(|challenger| {
                let due = challenger.due.map_or("never".to_owned(), |due| due.from_first().as_secs().to_string());
                format!(" [{} {} {due}]", names(&challenger.members), challenger.since.from_first().as_secs())
            });
            let waiting = standing.waiting.iter().map(|waiting| {
                format!(" ({} {})", self.world.name_of(waiting.member), waiting.since.from_first().as_secs())
            });
            let waiting: String = waiting.collect();
            format!("{}{}{waiting}", names(&standing.incumbents), challenger.unwrap_or_default())
        });
        assert_eq!(shown.collect::<Vec<_>>().join(", "), expected);
        self
    }
}

fn same(world: SteeringWorld) -> SteeringWorld {
    world
}

fn after(seconds: u64) -> Failback {
    Failback::After(Duration::from_secs(seconds))
}

#[test]
fn auto_goes_back_at_once_and_remembers_nothing() {
    Story::of(pool(Failover, "a b"))
        .then("the first", 0, same, "a")
        .then("the second", 1, |w| w.down("a"), "b")
        .then("back at once", 2, |w| w.up("a"), "a")
        .stands("");
}

#[test]
fn manual_stays_while_the_incumbent_is_up() {
    let story = Story::of(pool(Failover, "a b c").failback(Failback::Manual))
        .then("listed order", 0, same, "a")
        .stands("a")
        .then("moved", 10, |w| w.down("a"), "b")
        .stands("b")
        .then("stays", 20, |w| w.up("a"), "b")
        .stands("b [a 20 never]")
        .then("an hour later too", 3620, same, "b")
        .stands("b [a 20 never]");
    let reason = why(&story.world, story.last(), "tiers");
    assert!(
        reason.starts_with("\"p\" stays on \"b\": failback is manual; standby: \"b\" comes first in \"p\""),
        "{reason}"
    );
    story
        .then("the incumbent fails: the first that is up", 4000, |w| w.down("b"), "a")
        .then("and there it stays", 4001, |w| w.up("b"), "a")
        .stands("a");
    Story::of(pool(Failover, "a b c").failback(Failback::Manual))
        .then("two out", 0, |w| w.down("a b"), "c")
        .then("a member that comes back does not move the incumbent", 1, |w| w.up("b"), "c")
        .stands("c [b 1 never]")
        .then("it is out: listed order", 2, |w| w.down("c").up("a"), "a");
}

#[test]
fn after_goes_back_when_the_earlier_one_has_been_up_for_so_long_without_a_break() {
    let story = Story::of(pool(Failover, "a b c").failback(after(600)).ttl(5, 1000))
        .then("listed order", 0, same, "a")
        .then("moved", 10, |w| w.down("a"), "b")
        .then("it comes back, and has to wait", 100, |w| w.up("a"), "b")
        .stands("b [a 100 700]");
    assert_eq!(story.last().ttl, 600, "the answer will change then");
    assert_eq!(why(&story.world, story.last(), "ttl"), "600 s: pool \"p\" may choose other members in 600.0 s");
    assert!(
        why(&story.world, story.last(), "tiers")
            .starts_with("\"p\" stays on \"b\" until an earlier member has been up for 10m")
    );
    story
        .then("a break", 400, |w| w.down("a"), "b")
        .stands("b")
        .then("the time begins again", 500, |w| w.up("a"), "b")
        .stands("b [a 500 1100]")
        .then("a second before", 1099, same, "b")
        .then("back", 1100, same, "a")
        .stands("a");
    Story::of(pool(Failover, "a b c").failback(after(600)))
        .then("both out", 0, |w| w.down("a b"), "c")
        .then("b is up", 100, |w| w.up("b"), "c")
        .then("a too, which does not put b back", 200, |w| w.up("a"), "c")
        .stands("c [b 100 700] (a 200)")
        .then("a comes and goes", 300, |w| w.down("a"), "c")
        .stands("c [b 100 700]")
        .then("a again", 400, |w| w.up("a"), "c")
        .then("b has been up for so long", 700, same, "b")
        .stands("b [a 400 1000]")
        .then("then a, from when it came up", 1000, same, "a")
        .stands("a");
    Story::of(pool(Failover, "a b c").failback(after(600)))
        .then("both out", 0, |w| w.down("a b"), "c")
        .then("a is up", 100, |w| w.up("a"), "c")
        .then("b is up: a is not put back", 200, |w| w.up("b"), "c")
        .stands("c [a 100 700] (b 200)")
        .then("a is out, b goes on", 300, |w| w.down("a"), "c")
        .stands("c [b 200 800]")
        .then("it is chosen, and the time of a begins again", 1000, |w| w.up("a"), "b")
        .stands("b [a 1000 1600]")
        .then("the incumbent fails: nothing waits for the first that is up", 1100, |w| w.down("b"), "a")
        .stands("a");
    Story::of(pool(Failover, "a b c").failback(after(600)))
        .then("both out", 0, |w| w.down("a b"), "c")
        .then("both come back", 100, |w| w.up("a b"), "c")
        .stands("c [a 100 700] (b 100)")
        .then("the first of them", 700, same, "a")
        .stands("a");
}

#[test]
fn an_outage_of_all_does_not_fail_back() {
    for failback in [Failback::Manual, after(600)] {
        Story::of(pool(Failover, "a b").failback(failback).on_empty(crate::model::OnEmpty::Nodata))
            .then("moved", 0, |w| w.down("a"), "b")
            .then("a is up again", 10, |w| w.up("a"), "b")
            .then("everything is down", 20, |w| w.down("a b"), "nodata")
            .stands("b")
            .then("and up again", 30, |w| w.up("a b"), "b")
            .then("the time of a began again", 620, same, "b");
    }
    Story::of(pool(Failover, "a b").failback(Failback::Manual)).then("moved", 0, |w| w.down("a"), "b").then(
        "the incumbent is out alone",
        1,
        |w| w.up("a").down("b"),
        "a",
    );
}

#[test]
fn a_standing_of_a_former_member_is_listed_order() {
    let before = Story::of(pool(Failover, "c a b").failback(Failback::Manual)).then("c", 0, same, "c");
    let mut after = Story::of(pool(Failover, "a b").failback(Failback::Manual));
    after.standings = before.standings;
    after.then("c is gone", 1, same, "a").stands("a");
}

#[test]
fn nested_pools_retain_their_standing_while_they_are_not_used() {
    let world =
        abc().endpoint("d", "ap").pool("x", Failover, "a b").pool("y", Failover, "c d").pool("p", Failover, "x y");
    Story::of(world.failback(Failback::Manual))
        .then("all up", 0, same, "a")
        .stands("a, c, x")
        .then("y moves though x answers", 1, |w| w.down("c"), "a")
        .then("and stays", 2, |w| w.up("c"), "a")
        .stands("a, d [c 2 never], x")
        .then("x is out: y answers with its incumbent", 3, |w| w.down("a b"), "d")
        .stands("a, d [c 2 never], y")
        .then("x is back, and b first", 4, |w| w.up("b"), "d")
        .stands("b, d [c 2 never], y [x 4 never]");
    let other = abc().pool("spare", Failover, "b c").pool("p", Weighted, "a").or_else("spare");
    Story::of(other.failback(Failback::Manual))
        .then("the spare pool has a standing too", 0, |w| w.down("b"), "a")
        .stands("c")
        .then("which it keeps", 1, |w| w.up("b"), "a")
        .then("for when it is needed", 2, |w| w.down("a"), "c")
        .stands("c [b 1 never]");
}

#[test]
fn failover_below_geo_stands_by_itself() {
    let world = abc().selector("north", "NO").pool("x", Failover, "a b").pool("p", Geo, "x@north c");
    let mut story = Story::of(world.failback(Failback::Manual));
    story.client = "eu+north";
    story
        .then("the first", 0, same, "a")
        .then("moved", 1, |w| w.down("a"), "b")
        .then("stays", 2, |w| w.up("a"), "b")
        .stands("b [a 2 never]");
}

/// a at 10 ms, b at 14 ms, c at 40 ms from eu, in a band of 5 ms or 20 %.
fn band() -> SteeringWorld {
    let world = pool(Latency, "a b:3 c").rtt("a", "eu", 10).rtt("b", "eu", 14).rtt("c", "eu", 40);
    world.band("p", 5, 20)
}

#[test]
fn members_in_the_band_are_equal() {
    let check = |sentence, world, expected| super::test_cases::check(sentence, world, "eu", expected);
    check("by weight", band(), "a=25 b=75 | c");
    check("the larger of the two counts: percent", band().band("p", 1, 40), "a=25 b=75 | c");
    check("neither is enough", band().band("p", 3, 39), "a | b | c");
    check("the border is inside", band().band("p", 4, 0), "a=25 b=75 | c");
    check("the next tier is formed the same way", band().rtt("a", "eu", 1).rtt("b", "eu", 37), "a | b=75 c=25");
    check("all inside", band().band("p", 30, 0), "a=20 b=60 c=20");
    check("an empty band is the strict ranking", band().band("p", 0, 0), "a | b | c");
    check("not measured is behind, one by one", pool(Latency, "c b a").band("p", 5, 0).rtt("a", "eu", 9), "a | c | b");
    check("one left", band().down("a c"), "b");
    let nobody = band();
    super::test_cases::check("an unknown client gets listed order", nobody, "-", "a | b | c");
    let reason = why(&band(), &band().decide("eu", Facet::V4, None), "rank");
    let expected = "rank 1: in the band: 10.0 ms from eu (this client's region), best 10.0 ms + 5.0 ms; \
                    rank 1: in the band: 14.0 ms from eu (this client's region), best 10.0 ms + 5.0 ms; \
                    rank 3: 40.0 ms from eu (this client's region)";
    assert_eq!(reason, expected);
}

#[test]
fn a_new_leading_set_has_to_lead_for_three_seconds() {
    let story = Story::of(band().ttl(1, 20))
        .then("at first nothing resists", 0, same, "a=25 b=75 | c")
        .stands("a+b")
        .then("c is better", 10, |w| w.rtt("c", "eu", 4), "a=25 b=75 | c")
        .stands("a+b [c 10 13]");
    assert_eq!(story.last().ttl, 3, "it will change then");
    let reason = why(&story.world, story.last(), "rank");
    assert!(reason.contains("4.0 ms from eu (this client's region); leads once it has been ahead for 3 s"), "{reason}");
    assert!(reason.contains("stays until others have led for 3 s"), "{reason}");
    story
        .then("not yet", 12, same, "a=25 b=75 | c")
        .then("now", 13, same, "c | a=25 b=75")
        .stands("c")
        .then("a spike", 20, |w| w.rtt("c", "eu", 90), "c | a=25 b=75")
        .stands("c [a+b 20 23]")
        .then("that passes", 22, |w| w.rtt("c", "eu", 4), "c | a=25 b=75")
        .stands("c")
        .then("another one", 26, |w| w.rtt("c", "eu", 90), "c | a=25 b=75")
        .then("does not continue the first", 28, same, "c | a=25 b=75")
        .stands("c [a+b 26 29]")
        .then("an incumbent that is down does not delay the change", 28, |w| w.down("c"), "a=25 b=75")
        .stands("a+b")
        .then("it comes back: the best, but not at once", 40, |w| w.up("c").rtt("c", "eu", 1), "a=25 b=75 | c")
        .then("after its time", 43, same, "c | a=25 b=75");
    Story::of(band())
        .then("two lead", 0, same, "a=25 b=75 | c")
        .then("one of them slips out of the band", 1, |w| w.rtt("b", "eu", 16), "a=25 b=75 | c")
        .then("another set leads now: the time begins again", 4, |w| w.rtt("c", "eu", 11), "a=25 b=75 | c")
        .stands("a+b [a+c 4 7]")
        .then("one of the incumbents is out: at once", 5, |w| w.down("b"), "a=50 c=50");
    Story::of(pool(Latency, "c b a").band("p", 5, 0))
        .then("nothing is measured", 0, same, "c | b | a")
        .stands("")
        .then("the first measurement has no incumbents before it", 1, |w| w.rtt("a", "eu", 10), "a | c | b");
    Story::of(pool(Latency, "a b").rtt("a", "eu", 10).rtt("b", "eu", 20))
        .then("without a band nothing resists", 0, same, "a | b")
        .then("strictly", 1, |w| w.rtt("b", "eu", 9), "b | a")
        .stands("");
}

#[test]
fn bands_nest_and_stand_only_while_they_are_used() {
    let world = band().pool("q", Failover, "c p").root("q");
    Story::of(world)
        .then("c answers", 0, same, "c")
        .stands("")
        .then("the band answers", 1, |w| w.down("c"), "a=25 b=75")
        .stands("a+b")
        .then("and is forgotten", 2, |w| w.up("c"), "c")
        .stands("");
}
