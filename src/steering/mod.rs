//! The act of choosing. Pure: a policy, a world view and a client class in, a [`Decision`] out. It never probes,
//! never picks (chance belongs to the packet path) and knows nothing of packets. `snapshot::compile` calls it.
//!
//! The stages run in the order of CONTRACT 4.1 and each says what it dropped: [`sieve`] does candidates, state and
//! health; [`pool`] walks the pools, with [`rank`] where distance counts; [`on_empty`] has the word when nothing is
//! left; [`closing`] tells what a reply can hold and for how long.

mod closing;
pub mod decision;
mod interest;
mod on_empty;
mod pool;
mod probability;
mod rank;
mod service;
mod sieve;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod world;

pub use decision::{Challenger, Decision, Distribution, Given, Memory, Reason, Share, Stage, Standing, Step, Tier};
pub use interest::{Interest, interest};
pub(crate) use pool::key_of;

use std::time::Duration;

use crate::model::{
    AffinityNet, Answerable, CheckView, ClientClass, EndpointId, Facet, MAX_ANSWERS, MemberRef, Model, Policy,
    PolicyId, WorldView,
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
    let scene = Scene { model, view, policy, class, facet };
    let sieved = sieve::sieve(&scene, policy.root);
    let mut decision = Decision {
        facet,
        given: Given::Nodata,
        ttl: 0,
        stale: false,
        looks_at_client: false,
        affinity: None,
        standings: Vec::new(),
        hints: Vec::new(),
        stages: sieved.stages,
    };
    let mut considered = sieved.considered;
    if !sieved.candidates.is_empty() {
        let choice = pool::choose(&scene, policy.root, &sieved.eligible);
        decision.looks_at_client = choice.looks_at_client;
        decision.stages.extend(choice.stages(&scene, &sieved.eligible));
        if choice.tiers.is_empty() {
            considered.extend(on_empty::fill(&scene, policy, memory.last_good, &mut decision));
        } else {
            decision.given = Given::Endpoints(distribution(policy, choice.tiers));
        }
    }
    if let Given::Endpoints(distribution) = &mut decision.given {
        decision.stages.extend(match facet {
            Facet::Srv => service::all_of(&scene, distribution),
            Facet::V4 | Facet::V6 | Facet::Alias | Facet::Https | Facet::Svcb => {
                closing::pick_and_limit(&scene, policy, distribution)
            }
        });
        decision.hints = service::hints(&scene, distribution);
        decision.affinity = affinity(policy, distribution);
    }
    let given = decision.stages.last().map_or(0, |stage| stage.left);
    let (ttl, stage) = closing::ttl(&scene, policy.ttl, &considered, given);
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
}

impl<'a> Scene<'a> {
    fn answerable(&self, endpoint: EndpointId) -> Option<&'a Answerable> {
        self.model.endpoint(endpoint).answerable(self.facet)
    }

    /// What is believed of an endpoint; `None` without a monitor. Of a service it is the address that does best.
    fn check(&self, endpoint: EndpointId) -> Option<&'a CheckView> {
        let sides = self.model.endpoint(endpoint).answering(self.facet);
        let views = sides.map(|side| side.check.map(|check| self.view.check(check)));
        views.min_by_key(|view| view.map_or(0, |view| if view.is_eligible() { 1 } else { 2 })).flatten()
    }

    /// The least time in which an endpoint's health could change.
    fn may_change_in(&self, endpoint: EndpointId) -> Option<Duration> {
        let checks = self.model.endpoint(endpoint).answering(self.facet).filter_map(|side| side.check);
        checks.filter_map(|check| self.view.check(check).may_change_in).min()
    }

    /// Whether an endpoint's record stands alone in a reply.
    fn is_alias(&self, endpoint: EndpointId) -> bool {
        self.model.endpoint(endpoint).stands_alone(self.facet)
    }

    fn name(&self, member: MemberRef) -> &'a str {
        match member {
            MemberRef::Endpoint(id) => &self.model.endpoint(id).name,
            MemberRef::Pool(id) => &self.model.pool(id).name,
        }
    }

    /// Every endpoint below a member, each once, in listed order.
    fn endpoints_below(&self, member: MemberRef) -> Vec<EndpointId> {
        fn gather(model: &Model, member: MemberRef, found: &mut Vec<EndpointId>) {
            match member {
                MemberRef::Endpoint(id) => found.push(id),
                MemberRef::Pool(id) => model.pool(id).members.iter().for_each(|m| gather(model, m.to, found)),
            }
        }
        let mut found = Vec::new();
        gather(self.model, member, &mut found);
        let mut seen = std::collections::HashSet::new();
        found.retain(|endpoint| seen.insert(*endpoint));
        found
    }
}

fn distribution(policy: &Policy, tiers: Vec<Tier>) -> Distribution {
    Distribution { tiers, draws: policy.answers.unwrap_or(1), limit: policy.answers.unwrap_or(MAX_ANSWERS) }
}

/// How much of the client's address a draw looks at, where a sticky step may tell shares of a tier apart.
fn affinity(policy: &Policy, distribution: &Distribution) -> Option<AffinityNet> {
    let is_sticky = |share: &Share| share.path.iter().any(|step| step.sticky);
    let is_tied = |tier: &Tier| tier.shares.len() > 1 && tier.shares.iter().any(is_sticky);
    distribution.tiers.iter().any(is_tied).then(|| policy.affinity.unwrap_or_default())
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
