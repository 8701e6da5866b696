//! The act of choosing. Pure: a policy, a world view and a client class in, a [`Decision`] out. It never probes,
//! never picks (chance belongs to the packet path) and knows nothing of packets. `snapshot::compile` calls it.
//!
//! The stages run in the order of CONTRACT 4.1 and each says what it dropped: [`sieve`] does candidates, [`fence`],
//! state (the word of the [`operator`]) and health; [`pool`] walks the pools, with [`rank`] and [`band`] where distance
//! counts, [`geo`] where the client does, [`resist`] where a choice stays for a while, and [`ramp`] where weight comes back
//! by and by; [`on_empty`] has the word
//! when nothing is left; [`closing`] tells what a reply can hold and for how long.

mod affinity;
mod band;
mod closing;
pub mod decision;
mod fence;
mod geo;
mod interest;
mod on_empty;
mod operator;
mod pool;
mod probability;
mod ramp;
mod rank;
mod resist;
mod service;
mod sieve;
mod tiers;
mod up;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod cases_client;
#[cfg(test)]
mod cases_operator;
#[cfg(test)]
mod cases_ramp;
#[cfg(test)]
mod cases_time;
#[cfg(test)]
mod cases_worlds;
#[cfg(test)]
mod world;
#[cfg(test)]
mod world_told;

pub use decision::{Challenger, Decision, Distribution, Given, Memory, Reason, Share, Stage, Standing, Step, Tier};
pub use interest::{Interest, interest};
pub(crate) use tiers::key_of;

use std::collections::HashSet;
use std::time::Duration;

use crate::model::{
    Answerable, CheckView, ClientClass, EndpointId, Facet, Fence, MAX_ANSWERS, MemberRef, Model, Moment, OnEmpty,
    Policy, PolicyId, Pool, PoolId, Steering, WorldView,
};

/// Decides what `policy` answers clients of `class` who ask for `facet`, as the world is in `view`, at `view.at`.
/// `memory` is what the decision before hands down for the same policy, class and facet.
///
/// `looks_at_client` of the result depends on the policy and on who is eligible, never on the class: one decision
/// that didn't look holds for all classes. An empty `given` never is [`Given::Endpoints`].
pub fn decide(
    model: &Model,
    policy: PolicyId,
    view: &WorldView,
    class: &ClientClass,
    facet: Facet,
    memory: Memory<'_>,
) -> Decision {
    let policy = model.policy(policy);
    let scene = Scene { model, view, policy, class, facet, standings: memory.standings };
    let sieved = sieve::sieve(&scene, policy.root);
    let mut decision = Decision {
        facet,
        given: Given::Nodata,
        ttl: 0,
        stale: false,
        looks_at_client: sieved.looks_at_client,
        affinity: None,
        standings: Vec::new(),
        hints: Vec::new(),
        stages: Vec::new(),
    };
    let mut prospects = Prospects { considered: sieved.considered.clone(), dues: Vec::new(), ramps: Vec::new() };
    if sieved.candidates.is_empty() {
        decision.stages = sieved.stages;
    } else {
        let mut choice = pool::choose(&scene, policy.root, &sieved);
        let stages = choice.stages(&scene, &sieved.eligible);
        decision.stages.reserve(sieved.stages.len() + stages.len() + 3);
        decision.stages.extend(sieved.stages.iter().cloned());
        decision.stages.extend(stages);
        let tiers = choice.hand_over(&mut decision, &mut prospects);
        if tiers.is_empty() {
            on_empty::fill(&scene, &sieved.eligible, memory.last_good, &mut decision, &mut prospects);
        } else {
            decision.given = Given::Endpoints(distribution(policy, tiers));
            if let OnEmpty::Other(other) = policy.on_empty {
                pool::remember(&scene, other, &mut decision);
            }
        }
    }
    decision.standings.sort_by_key(|standing| standing.pool);
    if let Given::Endpoints(distribution) = &mut decision.given {
        match facet {
            Facet::Srv => decision.stages.extend(service::all_of(&scene, distribution)),
            Facet::V4 | Facet::V6 | Facet::Alias | Facet::Https | Facet::Svcb => {
                let picked = closing::pick_and_limit(&scene, distribution);
                decision.affinity = picked.affinity;
                decision.stages.extend(picked.stages);
            }
        }
        decision.hints = service::hints(&scene, distribution);
    }
    let given = decision.stages.last().map_or(0, |stage| stage.left);
    let (ttl, stage) = closing::ttl(&scene, &prospects, given);
    decision.ttl = ttl;
    decision.stages.push(stage);
    decision
}

/// What a decision is about.
#[derive(Clone, Copy)]
struct Scene<'a> {
    model: &'a Model,
    view: &'a WorldView,
    policy: &'a Policy,
    class: &'a ClientClass,
    facet: Facet,
    /// What the decision before hands down.
    standings: &'a [Standing],
}

/// What could change the answer: the TTL ends before the soonest of it.
struct Prospects {
    /// Endpoints whose health counts.
    considered: Vec<EndpointId>,
    /// When pools that were asked will choose otherwise.
    dues: Vec<(Moment, PoolId)>,
    /// When endpoints that came back will have more of their weight.
    ramps: Vec<(Moment, EndpointId)>,
}

impl<'a> Scene<'a> {
    fn answerable(&self, endpoint: EndpointId) -> Option<&'a Answerable> {
        self.model.endpoint(endpoint).answerable(self.facet)
    }

    /// What is believed of a side of an endpoint, by the monitor that counts for this name; `None` without one.
    fn check_of(&self, endpoint: EndpointId, side: &Answerable) -> Option<&'a CheckView> {
        self.policy.check_of(endpoint, side).map(|check| self.view.check(check))
    }

    /// Whether a side of an endpoint may be answered with.
    fn is_side_up(&self, endpoint: EndpointId, side: &Answerable) -> bool {
        self.check_of(endpoint, side).is_none_or(CheckView::is_eligible)
    }

    /// What is believed of an endpoint; `None` without a monitor. Of a service it is the address that does best.
    fn check(&self, endpoint: EndpointId) -> Option<&'a CheckView> {
        let sides = self.model.endpoint(endpoint).answering(self.facet);
        let views = sides.map(|side| self.check_of(endpoint, side));
        views.min_by_key(|view| view.map_or(0, |view| if view.is_eligible() { 1 } else { 2 })).flatten()
    }

    /// The least time in which an endpoint's health could change.
    fn may_change_in(&self, endpoint: EndpointId) -> Option<Duration> {
        let sides = self.model.endpoint(endpoint).answering(self.facet);
        sides.filter_map(|side| self.check_of(endpoint, side)?.may_change_in).min()
    }

    /// Whether an endpoint's record stands alone in a reply.
    fn is_alias(&self, endpoint: EndpointId) -> bool {
        self.model.endpoint(endpoint).stands_alone(self.facet)
    }

    /// The fence that holds these clients.
    fn held_by(&self) -> Option<&'a Fence> {
        let fence = self.model.fence(self.policy.fence?);
        self.class.is_selected(fence.clients).then_some(fence)
    }

    /// Whether the client's net, rather than chance, decides among a pool's members.
    fn is_sticky(&self, pool: &Pool) -> bool {
        pool.steering == Steering::Affinity || self.policy.affinity.is_some()
    }

    fn standing(&self, pool: PoolId) -> Option<&'a Standing> {
        self.standings.iter().find(|standing| standing.pool == pool)
    }

    fn name(&self, member: MemberRef) -> &'a str {
        match member {
            MemberRef::Endpoint(id) => &self.model.endpoint(id).name,
            MemberRef::Pool(id) => &self.model.pool(id).name,
        }
    }

    /// Every endpoint below a member, each once, in listed order.
    fn endpoints_below(&self, member: MemberRef) -> Vec<EndpointId> {
        let mut below = Below { model: self.model, pools: HashSet::new(), endpoints: Vec::new() };
        below.gather(member);
        tiers::each_once(&mut below.endpoints);
        below.endpoints
    }
}

/// A walk over what is below a member. A pool that is met again adds nothing, however often the files nest it.
struct Below<'a> {
    model: &'a Model,
    pools: HashSet<PoolId>,
    endpoints: Vec<EndpointId>,
}

impl Below<'_> {
    fn gather(&mut self, member: MemberRef) {
        let id = match member {
            MemberRef::Endpoint(id) => return self.endpoints.push(id),
            MemberRef::Pool(id) => id,
        };
        if self.pools.insert(id) {
            let model = self.model;
            model.pool(id).members.iter().for_each(|member| self.gather(member.to));
        }
    }
}

fn distribution(policy: &Policy, tiers: Vec<Tier>) -> Distribution {
    Distribution { tiers, draws: policy.answers.unwrap_or(1), limit: policy.answers.unwrap_or(MAX_ANSWERS) }
}

impl Stage {
    /// A stage that all of `entered` go through, but for those in `dropped`.
    fn new(name: &'static str, entered: usize, dropped: Vec<Reason>) -> Stage {
        Stage { name, entered, left: entered - dropped.len(), dropped, kept: Vec::new(), note: None }
    }
}

impl Reason {
    fn new(endpoint: EndpointId, why: impl Into<String>) -> Reason {
        Reason { endpoint, why: why.into() }
    }
}

impl Tier {
    fn endpoints(&self) -> impl Iterator<Item = EndpointId> {
        self.shares.iter().flat_map(|share| share.endpoints.iter().copied())
    }
}
