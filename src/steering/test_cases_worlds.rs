//! What holds in every world: properties over worlds of any shape. A failure prints the world itself, minimal, which
//! is more than a seed.

use proptest::prelude::*;

use super::test_cases::notes;
use super::test_world::SteeringWorld;
use super::{AnswerSource, Decision, Distribution, Memory, interest};
use crate::model::AdminState::{Disabled, Drain};
use crate::model::{
    EndpointId, Facet, Failback, Member, MemberRef, Model, OnEmpty, OverrideState, PolicyId, Pool, Steering, WorldView,
};

/// Region, state, RTT, whether it is an alias, override, and the ramp of one that came up at the start.
type AnyEndpoint = (usize, u8, Option<u64>, bool, Option<OverrideState>, Option<u64>);
/// Steering, members (which, weight, selector), min_up in tenths, whether it has a band.
type AnyPool = (Steering, Vec<(usize, u32, Option<bool>)>, u8, bool);
/// Answers, on_empty, endpoints inside the fence, failback, whether the name has affinity.
type AnyPolicy = (Option<usize>, usize, Option<Vec<bool>>, u64, bool);

/// Worlds of any shape: six endpoints, three layers of pools over them, some policy.
pub(super) fn any_world() -> impl Strategy<Value = SteeringWorld> {
    let steering = prop::sample::select(Steering::ALL).prop_map(|(_, steering)| steering);
    let overrides = prop::sample::select(vec![OverrideState::Drain, OverrideState::Up, OverrideState::Down]);
    let state = prop::option::weighted(0.2, overrides);
    let endpoint = (
        0_usize..4,
        0_u8..9,
        prop::option::of(1_u64..5),
        prop::bool::weighted(0.2),
        state,
        prop::option::of(1_u64..40),
    );
    let member = (0_usize..64, 0_u32..4, prop::option::of(any::<bool>()));
    let pool = (steering, prop::collection::vec(member, 1..5), 0_u8..8, any::<bool>());
    let fence = prop::option::of(prop::collection::vec(any::<bool>(), 6));
    let policy = (prop::option::of(1_usize..4), 0_usize..6, fence, 0_u64..9, prop::bool::weighted(0.3));
    let endpoints = prop::collection::vec(endpoint, 6);
    (endpoints, prop::collection::vec(pool, 1..4), policy).prop_map(build)
}

/// The model and the view of a world of any shape, for tests of what is made of decisions.
pub(crate) fn any_model() -> impl Strategy<Value = (Model, WorldView)> {
    any_world().prop_map(|world| (world.whole_model(), world.view))
}

fn build((endpoints, pools, policy): (Vec<AnyEndpoint>, Vec<AnyPool>, AnyPolicy)) -> SteeringWorld {
    let mut world = SteeringWorld::new().selector("north", "NO").selector("held", "DE");
    let overrides: Vec<Option<OverrideState>> = endpoints.iter().map(|endpoint| endpoint.4).collect();
    for (at, (region, state, rtt, alias, _, ramp)) in endpoints.into_iter().enumerate() {
        let (name, region) = (format!("e{at}"), ["eu", "us", "ap", "moon"][region]);
        world = if alias { world.alias(&name, region) } else { world.endpoint(&name, region) };
        world = match state {
            0 | 1 => world.down(&name),
            2 => world.state(&name, Drain),
            3 => world.state(&name, Disabled),
            4 => world.out_of_reach(&name, "eu").regional_view(),
            5 => world.out_of_reach(&name, "us moon").regional_view(),
            _ => world,
        };
        world = if let Some(rtt) = rtt { world.rtt(&name, region, rtt) } else { world };
        world = if let Some(ramp) = ramp { world.ramp(&name, ramp).came_up(&name, None, 0) } else { world };
    }
    for (at, state) in overrides.into_iter().enumerate() {
        world = if let Some(state) = state { world.overridden(&format!("e{at}"), state) } else { world };
    }
    let last = pools.len() - 1;
    for (at, (steering, members, least, band)) in pools.into_iter().enumerate() {
        let name = if at == last { "p".to_owned() } else { format!("q{at}") };
        let member = |(pick, weight, when): (usize, u32, Option<bool>)| {
            let pick = pick % (6 + at);
            let to = if pick < 6 { format!("e{pick}") } else { format!("q{}", pick - 6) };
            let when = when.map_or("", |north| if north { "@north" } else { "@held" });
            format!("{to}:{weight}{when}")
        };
        let members: Vec<String> = members.into_iter().map(member).collect();
        world = world.pool(&name, steering, &members.join(" ")).min_up(&name, f64::from(least.saturating_sub(3)) / 5.0);
        world = if band { world.band(&name, 1, 0) } else { world };
    }
    with_policy(world, policy)
}

fn with_policy(
    mut world: SteeringWorld,
    (answers, on_empty, fence, failback, has_affinity): AnyPolicy,
) -> SteeringWorld {
    world = if let Some(answers) = answers { world.answers(answers) } else { world };
    world = if has_affinity { world.affinity(24, 56) } else { world };
    if let Some(inside) = fence {
        let inside: Vec<String> =
            inside.iter().enumerate().filter(|(_, inside)| **inside).map(|(at, _)| format!("e{at}")).collect();
        world = world.fence("f", "held", &inside.join(" "));
    }
    world = world.failback(match failback {
        0..3 => Failback::Auto,
        3..6 => Failback::Manual,
        seconds => Failback::After(std::time::Duration::from_secs(seconds)),
    });
    match on_empty {
        4 => world.or_else("e0"),
        5 => world.or_else_first(),
        at => world.on_empty([OnEmpty::LastGood, OnEmpty::All, OnEmpty::Static, OnEmpty::Nodata][at]),
    }
}

pub(crate) fn any_facet() -> impl Strategy<Value = Facet> {
    prop::sample::select(vec![Facet::V4, Facet::V6, Facet::Alias])
}

const CLIENTS: [&str; 6] = ["eu", "us+north", "ap+held", "moon+north+held", "-", "-+held"];

/// What happens to endpoints between decisions: which, and whether it is up.
fn any_story() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0_usize..6, any::<bool>()), 0..6)
}

fn change(world: SteeringWorld, (endpoint, up): (usize, bool)) -> SteeringWorld {
    let name = format!("e{endpoint}");
    if up { world.up(&name) } else { world.down(&name) }
}

pub(super) fn endpoints(decision: &Decision) -> Vec<EndpointId> {
    match &decision.source {
        AnswerSource::Endpoints(given) => {
            given.tiers.iter().flat_map(|tier| &tier.shares).flat_map(|share| share.endpoints.clone()).collect()
        }
        AnswerSource::Static | AnswerSource::Nodata => Vec::new(),
    }
}

/// What a decision hands down to the next one.
fn handed_down(before: Option<&Decision>) -> Memory<'_> {
    Memory { last_good: before.and_then(last_good), standings: before.map_or(&[], |decision| &decision.standings) }
}

/// Lets the events of a story happen, one every three seconds. `check` gets the world before the first one and after
/// each, with what each of [`CLIENTS`] gets.
fn live_through(
    mut world: SteeringWorld,
    facet: Facet,
    story: Vec<(usize, bool)>,
    check: impl Fn(&SteeringWorld, &[Decision]) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut memory: Option<Decision> = None;
    for (step, event) in std::iter::once(None).chain(story.into_iter().map(Some)).enumerate() {
        world = if let Some(event) = event { change(world, event) } else { world }.at(3 * step as u64);
        let decisions = CLIENTS.map(|client| world.decide_after(client, facet, handed_down(memory.as_ref())));
        check(&world, &decisions)?;
        memory = Some(decisions[step % CLIENTS.len()].clone());
    }
    Ok(())
}

fn last_good(decision: &Decision) -> Option<&Distribution> {
    match &decision.source {
        AnswerSource::Endpoints(given) => Some(given),
        AnswerSource::Static | AnswerSource::Nodata => None,
    }
}

/// A decision without its texts, and without what follows from the order of ids.
fn without_texts(world: &SteeringWorld, decision: &Decision) -> String {
    let stages = decision.stages.iter().map(|stage| (stage.name, stage.entered, stage.left));
    let mut standings: Vec<String> = decision
        .standings
        .iter()
        .map(|standing| {
            let names = |members: &[_]| members.iter().map(|m| world.name_of(*m).to_owned()).collect::<Vec<_>>();
            let challenger = standing.challenger.as_ref().map(|c| (names(&c.members), c.since, c.due));
            format!("{} {:?} {challenger:?}", world.model.pool(standing.pool).name, names(&standing.incumbents))
        })
        .collect();
    standings.sort();
    let (ttl, looks, affinity) = (decision.ttl, decision.looks_at_client, decision.affinity);
    format!("{} {ttl} {looks} {affinity:?} {standings:?} {:?}", world.render(decision), stages.collect::<Vec<_>>())
}

/// Whether anything of the name's own pool is up, in service, inside the fence and in a branch for this client.
fn is_any_living(world: &SteeringWorld, client: &str, facet: Facet) -> bool {
    let (model, class) = (world.whole_model(), world.class(client));
    let policy = model.policy(PolicyId(0));
    let is_open = |pool: &Pool, member: &Member| pool.selector(member).is_none_or(|when| class.is_selected(when));
    let is_living = |id: EndpointId| {
        let endpoint = model.endpoint(id);
        let answers = |facet: &Facet| endpoint.answerables.iter().any(|side| facet.is_answered_by(side.facet));
        let requested = if policy.is_mixed { policy.facets.as_slice() } else { &[facet] };
        let by = world.view.override_of(id).map(|by| by.state);
        let is_up = endpoint.answerables.iter().any(|side| world.view.check(side.check.unwrap()).is_eligible());
        let fence = policy.fence.map(|fence| model.fence(fence));
        requested.iter().any(answers)
            && fence.is_none_or(|fence| !class.is_selected(fence.clients) || fence.holds(id))
            && match (endpoint.state, by) {
                (Disabled, _) | (_, Some(OverrideState::Drain | OverrideState::Down)) | (Drain, None) => false,
                (_, Some(OverrideState::Up)) => true,
                (_, None) => is_up,
            }
    };
    model.below_where([policy.root], is_open).filter_map(MemberRef::endpoint).any(is_living)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_sound(world in any_world(), facet in any_facet(), story in any_story()) {
        live_through(world, facet, story, |world, decisions| {
            for decision in decisions {
                prop_assert_eq!(world.flaw(decision), None);
                prop_assert_eq!(decision.looks_at_client, decisions[0].looks_at_client);
                if !decision.looks_at_client {
                    prop_assert_eq!(decision, &decisions[0]);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_is_up_goes_before_on_empty(world in any_world(), facet in any_facet(), story in any_story()) {
        let is_mixed = world.whole_model().policy(PolicyId(0)).is_mixed;
        let facet = if is_mixed { Facet::Alias } else { facet };
        live_through(world, facet, story, |world, decisions| {
            for (client, decision) in CLIENTS.iter().zip(decisions) {
                let is_living = is_any_living(world, client, facet);
                prop_assert!(!(is_living && decision.is_on_empty()), "{}: {}", client, world.render(decision));
                prop_assert!(!is_living || decision.is_good, "{}: {}", client, world.render(decision));
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_answer_is_outside_the_fence_ever(
        world in any_world(),
        inside in prop::collection::vec(any::<bool>(), 6),
        facet in any_facet(),
        story in any_story(),
    ) {
        let names: Vec<String> = (0..6).filter(|at| inside[*at]).map(|at| format!("e{at}")).collect();
        let mut world = world.fence("g", "held", &names.join(" "));
        let mut memory: Option<Decision> = None;
        for event in std::iter::once(None).chain(story.into_iter().map(Some)) {
            world = if let Some(event) = event { change(world, event) } else { world };
            let handed_down = handed_down(memory.as_ref());
            for client in CLIENTS.iter().filter(|client| client.contains("held")) {
                let decision = world.decide_after(client, facet, handed_down);
                prop_assert!(decision.source != AnswerSource::Static, "static for {}", client);
                let outside = endpoints(&decision).into_iter().find(|id| !inside[id.0 as usize]);
                prop_assert_eq!(outside, None);
            }
            // The memory of clients that the fence does not hold, which is the worst there can be.
            memory = Some(world.decide_after("eu", facet, handed_down));
        }
    }

    #[test]
    fn classes_that_agree_on_the_interest_get_equal_decisions(world in any_world(), facet in any_facet()) {
        let interest = interest(&world.whole_model(), PolicyId(0));
        let answers = CLIENTS.map(|client| {
            let class = world.class(client);
            let selected: Vec<bool> = interest.selectors.iter().map(|selector| class.is_selected(*selector)).collect();
            let region = interest.region.then_some(class.region);
            (region, selected, without_texts(&world, &world.decide(client, facet, None)))
        });
        for a in &answers {
            for b in answers.iter().filter(|b| (a.0, &a.1) == (b.0, &b.1)) {
                prop_assert_eq!(&a.2, &b.2);
            }
        }
        let decision = world.decide("eu", facet, None);
        prop_assert!(!(interest.is_none() && decision.looks_at_client), "it read what can't matter");
    }

    #[test]
    fn the_order_of_declarations_does_not_matter(world in any_world(), facet in any_facet(), story in any_story()) {
        let (mut world, mut backwards) = (world.clone(), world.backwards());
        let (mut standings, mut other) = (Vec::new(), Vec::new());
        for (step, event) in std::iter::once(None).chain(story.into_iter().map(Some)).enumerate() {
            let next = |world: SteeringWorld| {
                let world = if let Some(event) = event { change(world, event) } else { world };
                world.at(3 * step as u64)
            };
            (world, backwards) = (next(world), next(backwards));
            for client in CLIENTS {
                let memory = |standings| Memory { last_good: None, standings };
                let a = world.decide_after(client, facet, memory(&standings));
                let b = backwards.decide_after(client, facet, memory(&other));
                prop_assert_eq!(without_texts(&world, &a), without_texts(&backwards, &b));
                prop_assert_eq!(notes(&world, &a), notes(&backwards, &b));
                (standings, other) = (a.standings, b.standings);
            }
        }
    }
}
