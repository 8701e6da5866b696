//! Cases and properties of endpoints that are in several pools of one name, and of pools that steer `all` over others.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::AnswerSource;
use super::test_cases::{abc, check_decision};
use super::test_world::SteeringWorld;
use crate::model::Facet;
use crate::model::Steering::{self, Affinity, All, Failover, Weighted};

/// Checks the shares, and the probabilities of `a`, `b`, `c` and so on in a reply of so many answers.
#[track_caller]
fn check(sentence: &str, world: &SteeringWorld, expected: &str, odds: &[(Option<usize>, &[f64])]) {
    check_decision(sentence, world, &world.decide("eu", Facet::V4, None), expected);
    for (answers, odds) in odds {
        let world = answers.map_or_else(|| world.clone(), |answers| world.clone().answers(answers));
        let found = odds_of(&world, Facet::V4);
        for (at, odd) in odds.iter().enumerate() {
            let name = char::from(b'a' + at as u8).to_string();
            let found = found.get(&name).copied().unwrap_or(0.0);
            assert!((found - odd).abs() < 1e-9, "{sentence}, {answers:?}: {name} {found}, expected {odd}");
        }
    }
}

/// The probability of each endpoint that is given.
fn odds_of(world: &SteeringWorld, facet: Facet) -> BTreeMap<String, f64> {
    let decision = world.decide("eu", facet, None);
    assert_eq!(world.flaw(&decision), None);
    let AnswerSource::Endpoints(given) = &decision.source else { return BTreeMap::new() };
    let odds = given.probabilities(|_| false).into_iter();
    odds.map(|(endpoint, odd)| (world.model.endpoint(endpoint).name.clone(), odd)).collect()
}

#[test]
fn an_endpoint_of_a_weighted_pool_and_of_a_group_is_drawn_by_each() {
    let pools = |members| abc().pool("one", Weighted, "b c").pool("both", All, "a c").pool("p", Weighted, members);
    check(
        "the group only when its pool is drawn",
        &pools("one:3 both:1"),
        "b=38 c=38 [a c]=25",
        &[
            (None, &[0.25, 0.375, 0.625]),
            (Some(1), &[0.125, 0.375, 0.5]),
            // b and c first, then whichever of the rest; a after b or c by 1 of what is left.
            (Some(2), &[0.25 + 0.375 * 2.0 / 5.0 * 0.5 + 0.375 * 0.4, 0.375 + 0.375 * 0.6, 0.25 + 0.375 + 0.375 * 0.8]),
            (Some(3), &[1.0, 1.0, 1.0]),
        ],
    );
    check(
        "alone and in a group",
        &abc().pool("both", All, "a c").pool("p", Weighted, "c:3 both:1"),
        "c=75 [a c]=25",
        &[(None, &[0.25, 0.0, 1.0]), (Some(1), &[0.125, 0.0, 0.875])],
    );
    check(
        "two groups",
        &abc().pool("x", All, "a b").pool("y", All, "b c").pool("p", Weighted, "x:1 y:3"),
        "[a b]=25 [b c]=75",
        &[(None, &[0.25, 1.0, 0.75]), (Some(1), &[0.125, 0.5, 0.375])],
    );
    check(
        "the same group twice",
        &abc().pool("x", All, "a b").pool("y", All, "b a").pool("p", Weighted, "x:1 y:3 c:4"),
        "[a b]=50 c=50",
        &[(None, &[0.5, 0.5, 0.5])],
    );
    check(
        "a group of which one is left is that one",
        &pools("one:3 both:1").down("a"),
        "b=38 c=62",
        &[(None, &[0.0, 0.375, 0.625])],
    );
    check(
        "two weighted pools add up",
        &abc().pool("x", Weighted, "a b").pool("y", Weighted, "a c").pool("p", Weighted, "x:1 y:3"),
        "a=50 b=12 c=38",
        &[(Some(1), &[0.5, 0.125, 0.375])],
    );
    check(
        "failover pools that share an endpoint",
        &abc().pool("x", Failover, "a b").pool("y", Failover, "b c").pool("p", Weighted, "x:1 y:3").down("a"),
        "b",
        &[(None, &[0.0, 1.0, 0.0])],
    );
}

#[test]
fn a_pool_below_all_gives_a_draw_of_its_own() {
    let below = |steering, members, all| abc().pool("w", steering, members).pool("p", All, all);
    check(
        "by its weights",
        &below(Weighted, "a:3 b:1", "w c"),
        "[a c]=75 [b c]=25",
        &[(None, &[0.75, 0.25, 1.0]), (Some(1), &[0.375, 0.125, 0.5]), (Some(3), &[1.0, 1.0, 1.0])],
    );
    check("by the client's net", &below(Affinity, "a:3 b:1", "w c"), "[a c]=75 [b c]=25", &[]);
    check("a member that it has too", &below(Weighted, "a:3 b:1", "w b"), "[a b]=75 b=25", &[(None, &[0.75, 1.0])]);
    check("only one is up", &below(Weighted, "a:3 b:1", "w c").down("a"), "[b c]", &[]);
    check("it is out", &below(Weighted, "a:3 b:1", "w c").down("a b"), "c", &[]);
    check("a standby", &below(Weighted, "a:3 b:0", "w c"), "[a c]", &[]);
    check("all below all is all", &below(All, "a b", "w c"), "[a b c]", &[]);
    let two = abc().endpoint("d", "eu").pool("v", Weighted, "a:3 b:1").pool("w", Weighted, "c d").pool("p", All, "v w");
    check(
        "two of them are drawn apart",
        &two,
        "[a c]=38 [a d]=38 [b c]=12 [b d]=12",
        &[(None, &[0.75, 0.25, 0.5, 0.5])],
    );
    let srv = below(Weighted, "a:3 b:1", "w c").decide("eu", Facet::Srv, None);
    assert_eq!(below(Weighted, "a:3 b:1", "w c").render(&srv), "a=38 c=50 b=12", "SRV: a weight for each");
    let alias = abc().alias("z", "eu").pool("w", Weighted, "a:3 z:1").pool("p", All, "w c").types(&[Facet::Svcb]);
    assert_eq!(alias.render(&alias.decide("eu", Facet::Svcb, None)), "[a c]=75 c=12 z=12", "an alias has its turn");
}

#[test]
fn a_member_that_a_pool_below_has_too_is_given_once_when_nothing_is_up() {
    let world = abc().pool("x", All, "a b").pool("p", All, "b x").down("a b c");
    let decision = world.decide("eu", Facet::V4, None);
    assert_eq!((world.render(&decision).as_str(), world.flaw(&decision)), ("stale [b a]", None));
}

#[test]
fn too_many_combinations_are_given_together() {
    let names = |from: u8| (from..from + 17).map(|at| format!("e{at}")).collect::<Vec<_>>().join(" ");
    let mut world = SteeringWorld::new();
    for name in (0..34).map(|at| format!("e{at}")) {
        world = world.endpoint(&name, "eu");
    }
    let world = world.pool("v", Weighted, &names(0)).pool("w", Weighted, &names(17)).pool("p", All, "v w");
    let decision = world.decide("eu", Facet::V4, None);
    assert_eq!(world.render(&decision), format!("[{} {}]", names(0), names(17)));
}

/// A tree of pools, in the order of their declaration; each has earlier pools and five endpoints as members.
type Tree = Vec<(Steering, Vec<(usize, u32)>)>;

fn any_tree() -> impl Strategy<Value = Tree> {
    let steering = prop::sample::select(vec![Weighted, All, Failover, Affinity]);
    let pool = (steering, prop::collection::vec((0_usize..64, 1_u32..5), 1..4));
    prop::collection::vec(pool, 1..5).prop_map(|pools| {
        let own = |at: usize, members: Vec<(usize, u32)>| {
            let mut own: Vec<(usize, u32)> =
                members.into_iter().map(|(pick, weight)| (pick % (5 + at), weight)).collect();
            own.sort_by_key(|(pick, _)| *pick);
            own.dedup_by_key(|(pick, _)| *pick);
            own
        };
        pools.into_iter().enumerate().map(|(at, (steering, members))| (steering, own(at, members))).collect()
    })
}

/// The endpoints of a set.
fn bits(set: u8) -> impl Iterator<Item = usize> {
    (0_usize..5).filter(move |at| set >> at & 1 == 1)
}

/// What one draw of a member gives: sets of endpoints as bits, with their probabilities. It knows nothing of tiers and
/// shares.
fn draws(tree: &Tree, member: usize, down: u8) -> BTreeMap<u8, f64> {
    let mut drawn = BTreeMap::new();
    let Some((steering, members)) = member.checked_sub(5).map(|at| &tree[at]) else {
        if down >> member & 1 == 0 {
            drawn.insert(1 << member, 1.0);
        }
        return drawn;
    };
    let up: Vec<(BTreeMap<u8, f64>, u32)> =
        members.iter().map(|(to, weight)| (draws(tree, *to, down), *weight)).filter(|(of, _)| !of.is_empty()).collect();
    let total: u32 = up.iter().map(|(_, weight)| weight).sum();
    match steering {
        Failover => return up.into_iter().next().map(|(of, _)| of).unwrap_or_default(),
        All => {
            drawn.extend((!up.is_empty()).then_some((0, 1.0)));
            for (of, _) in &up {
                let mut together: BTreeMap<u8, f64> = BTreeMap::new();
                for (one, chance) in &drawn {
                    of.iter().for_each(|(other, part)| *together.entry(one | other).or_default() += chance * part);
                }
                drawn = together;
            }
        }
        _ => {
            for (of, weight) in &up {
                let part = f64::from(*weight) / f64::from(total);
                of.iter().for_each(|(set, chance)| *drawn.entry(*set).or_default() += chance * part);
            }
        }
    }
    drawn
}

/// Follows every way in which draws can fill a reply, and adds up the probability of each endpoint. Which of a cut
/// group are left out depends on its order, so `None` where one is cut after another draw.
fn fill(draws: &BTreeMap<u8, f64>, reply: u8, room: u32, chance: f64, odds: &mut [f64; 5]) -> Option<()> {
    let open: Vec<(u8, f64)> =
        draws.iter().map(|(set, part)| (*set & !reply, *part)).filter(|(new, _)| *new != 0).collect();
    let total: f64 = open.iter().map(|(_, part)| part).sum();
    if room == 0 || open.is_empty() {
        bits(reply).for_each(|at| odds[at] += chance);
        return Some(());
    }
    for (new, part) in open {
        let chance = chance * part / total;
        if new.count_ones() <= room {
            fill(draws, reply | new, room - new.count_ones(), chance, odds)?;
        } else if reply == 0 {
            let each = chance * f64::from(room) / f64::from(new.count_ones());
            bits(new).for_each(|at| odds[at] += each);
        } else {
            return None;
        }
    }
    Some(())
}

fn build(tree: &Tree, down: u8) -> SteeringWorld {
    let mut world = SteeringWorld::new();
    for name in (0..5).map(|at| format!("e{at}")) {
        world = world.endpoint(&name, "eu");
    }
    for (at, (steering, members)) in tree.iter().enumerate() {
        let name = if at + 1 == tree.len() { "p".to_owned() } else { format!("q{at}") };
        let member = |(to, weight): &(usize, u32)| match to.checked_sub(5) {
            Some(pool) => format!("q{pool}:{weight}"),
            None => format!("e{to}:{weight}"),
        };
        world = world.pool(&name, *steering, &members.iter().map(member).collect::<Vec<_>>().join(" "));
    }
    let out: Vec<String> = bits(down).map(|at| format!("e{at}")).collect();
    world.down(&out.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn probabilities_are_those_of_draws_member_by_member(
        tree in any_tree(), down in 0_u8..32, answers in prop::option::of(1_usize..5)
    ) {
        let drawn = draws(&tree, 5 + tree.len() - 1, down);
        prop_assume!(!drawn.is_empty());
        let mut expected = [0.0; 5];
        match answers {
            None => {
                for (set, chance) in &drawn {
                    bits(*set).for_each(|at| expected[at] += chance);
                }
            }
            Some(answers) => {
                let is_known = fill(&drawn, 0, answers as u32, 1.0, &mut expected);
                prop_assume!(is_known.is_some());
            }
        }
        let world = build(&tree, down);
        let world = if let Some(answers) = answers { world.answers(answers) } else { world };
        let found = odds_of(&world, Facet::V4);
        for (at, expected) in expected.iter().enumerate() {
            let own = found.get(&format!("e{at}")).copied().unwrap_or(0.0);
            prop_assert!((own - expected).abs() < 1e-9, "e{}: {}, expected {}", at, own, expected);
        }
    }

    #[test]
    fn srv_weights_are_the_parts_of_one_draw(tree in any_tree(), down in 0_u8..32) {
        let drawn = draws(&tree, 5 + tree.len() - 1, down);
        prop_assume!(!drawn.is_empty());
        let mut expected = [0.0; 5];
        for (set, chance) in &drawn {
            let each = chance / f64::from(set.count_ones());
            bits(*set).for_each(|at| expected[at] += each);
        }
        let world = build(&tree, down);
        let decision = world.decide("eu", Facet::Srv, None);
        let AnswerSource::Endpoints(given) = &decision.source else { panic!("nothing is given") };
        let shares = || given.tiers[0].shares.iter();
        let total: f64 = shares().map(|share| share.weight).sum();
        let all: Vec<_> = shares().flat_map(|share| share.endpoints.clone()).collect();
        prop_assert_eq!(all.len(), expected.iter().filter(|part| **part > 0.0).count(), "each once");
        for share in shares() {
            for endpoint in &share.endpoints {
                let own = share.weight / total / share.endpoints.len() as f64;
                prop_assert!((own - expected[endpoint.0 as usize]).abs() < 1e-9);
            }
        }
    }
}
