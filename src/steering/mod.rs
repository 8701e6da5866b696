//! Decisions: from a policy, a `WorldView` and a client class to a [`Decision`]. Pure: it does not probe, and does not
//! draw (the packet path draws from the decision). `snapshot::compile` calls it.
//!
//! The stages run in a fixed order. Each notes its reasons as data ([`why`]):
//!
//! 1. [`sieve`]: candidates, [`fence`], the lease of an [`exclusive`] name, state (by [`operator`]) and health.
//! 2. [`pool`] walks the pools, with its state in [`chooser`]; a file of [`kinds`] for each kind of steering says what
//!    a pool gives. They share [`ranking`] (distance), [`resist`] (choices that stay for a while) and [`ramp`] (weight
//!    that grows after an outage, by [`growth`]).
//! 3. [`on_empty`] decides when nothing is left.
//! 4. [`mixed`]: alias or addresses, once for all types, where a name can be either. This is the stage `kind`.
//! 5. [`closing`]: what a reply can hold and how long it may be cached.
//!
//! [`given`] says whether an endpoint may be answered with at all, without a decision. [`preference`] compares a
//! decision with the one that the policy prefers. Whether a decision depends on the client follows from what was read
//! through [`client`].

mod affinity;
mod choice;
mod chooser;
mod client;
mod closing;
pub mod decision;
mod exclusive;
mod fence;
mod given;
mod growth;
mod interest;
mod kinds;
mod mixed;
mod on_empty;
mod operator;
mod overlap;
mod pool;
pub mod preference;
mod probability;
mod ramp;
mod ranking;
mod reach;
mod resist;
mod service;
mod sieve;
mod spread;
mod tiers;
mod up;
pub mod why;

#[cfg(test)]
mod test_cases;
#[cfg(test)]
mod test_cases_client;
#[cfg(test)]
mod test_cases_double;
#[cfg(test)]
mod test_cases_empty;
#[cfg(test)]
mod test_cases_mixed;
#[cfg(test)]
mod test_cases_operator;
#[cfg(test)]
mod test_cases_preference;
#[cfg(test)]
mod test_cases_ramp;
#[cfg(test)]
mod test_cases_reach;
#[cfg(test)]
mod test_cases_time;
#[cfg(test)]
pub(crate) mod test_cases_worlds;
#[cfg(test)]
mod test_decisions;
#[cfg(test)]
mod test_world;

pub use decision::{
    AnswerSource, Challenger, Decision, Distribution, Memory, NameKind, PathStep, Reason, Share, Stage, StageName,
    Standing, Tier, Waiting,
};
pub use exclusive::{ActiveMember, PromotionBlock, active_member, after_promotions, promotion_block};
pub use interest::{Interest, interest};
pub(crate) use kinds::HOLD_DOWN;
pub(crate) use mixed::holds_for_all;
pub use mixed::{decide_after, settle};
pub(crate) use tiers::key_of;
pub use why::{Note, Why};

use client::ClientReader;
use sieve::{Admit, Sieved};
use std::time::Duration;
use why::{OutOfService, Unhealthy};

use crate::model::{
    Answerable, CheckView, ClientClass, EndpointId, Facet, Fence, MAX_ANSWERS, Model, Moment, OnEmpty, Policy,
    PolicyId, Pool, PoolId, RegionId, WorldView,
};

/// Decides what `policy` answers clients of `class` who ask for `facet`, in the world `view` at `view.at`. `memory` is
/// what the previous decision for the same policy, class and facet left.
///
/// `looks_at_client` of the result depends on the policy and on who is eligible, never on the class: a decision that
/// did not read the client holds for all classes. [`AnswerSource::Endpoints`] is never empty. For a mixed policy,
/// [`Facet::Alias`] is what [`settle`] gives.
pub fn decide(
    model: &Model,
    policy: PolicyId,
    view: &WorldView,
    class: &ClientClass,
    facet: Facet,
    memory: Memory<'_>,
) -> Decision {
    if model.policy(policy).is_mixed {
        let settled = settle(model, policy, view, class, memory);
        return decide_after(model, policy, view, class, facet, memory, &settled);
    }
    let policy = model.policy(policy);
    let client = &ClientReader::new(class);
    let scene = Scene { model, view, policy, client, facet, sides: Sides::OfFacet, standings: memory.standings };
    scene.decide(memory.last_good)
}

/// What a decision is about.
#[derive(Clone, Copy)]
struct Scene<'a> {
    model: &'a Model,
    view: &'a WorldView,
    policy: &'a Policy,
    client: &'a ClientReader<'a>,
    facet: Facet,
    sides: Sides,
    /// What the previous decision left.
    standings: &'a [Standing],
}

/// Which sides of an endpoint count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sides {
    /// Those that answer the facet.
    OfFacet,
    /// All that the name can give: an endpoint is up while one of them is.
    Whole,
    /// Those that answer the facet and are addresses: the name is no alias now.
    Addresses,
}

/// What could change the answer. The TTL ends before the first of it.
struct Prospects {
    /// Endpoints whose health counts.
    considered: Vec<EndpointId>,
    /// Endpoints whose overrides count.
    inside: Vec<EndpointId>,
    /// When pools will choose other members.
    dues: Vec<(Moment, PoolId)>,
    /// When endpoints that came back will have more of their weight.
    ramps: Vec<(Moment, EndpointId)>,
}

impl<'a> Scene<'a> {
    fn decide(&self, last_good: Option<&Distribution>) -> Decision {
        let sieved = sieve::sieve(self, self.policy.root, Admit::Up);
        let mut decision = Decision {
            facet: self.facet,
            source: AnswerSource::Nodata,
            ttl: 0,
            stale: false,
            looks_at_client: false,
            affinity: None,
            is_good: false,
            last_good: None,
            standings: Vec::new(),
            kind: None,
            hints: Vec::new(),
            stages: Vec::new(),
        };
        let mut prospects = Prospects::of(&sieved);
        if sieved.candidates.is_empty() {
            decision.stages = sieved.stages;
        } else if self.policy.exclusive.is_some() && sieved.inside.is_empty() {
            // No other endpoint may answer in its place, so `on_empty` has nothing to decide.
            decision.stages = sieved.stages;
            if let Some(last) = decision.stages.last_mut() {
                last.note = Some(Note::ActiveHasNone);
            }
        } else {
            self.choose(&sieved, last_good, &mut decision, &mut prospects);
        }
        decision.standings.sort_by_key(|standing| standing.pool);
        if self.sides == Sides::Whole {
            mixed::settle_on(self, &mut decision);
        }
        self.close(&mut decision);
        let given = decision.stages.last().map_or(0, |stage| stage.left);
        let (ttl, stage) = closing::ttl(self, &prospects, given);
        decision.ttl = ttl;
        decision.looks_at_client = self.client.was_read();
        decision.stages.push(stage);
        decision
    }

    /// Fills in what the pools give of the endpoints that are up and in service; if that is nothing, of those that are
    /// up or drained; if that is nothing, what `on_empty` gives.
    fn choose(
        &self,
        sieved: &Sieved,
        last_good: Option<&Distribution>,
        decision: &mut Decision,
        prospects: &mut Prospects,
    ) {
        let root = self.policy.root;
        if let Some((stages, tiers)) = self.choose_within_reach(sieved, decision, prospects) {
            decision.stages = stages;
            return self.give(tiers, decision);
        }
        let mut choice = choice::choose(self, root, sieved);
        let mut stages = [sieved.stages.clone(), choice.stages(self, &sieved.eligible)].concat();
        let mut tiers = choice.hand_over(decision, prospects);
        let mut is_up = !tiers.is_empty();
        if !is_up {
            let drained = sieve::sieve(self, root, Admit::UpOrDrained);
            if drained.eligible.len() > sieved.eligible.len() {
                let mut choice = choice::choose(self, root, &drained);
                let of_drained = [drained.stages.clone(), choice.stages(self, &drained.eligible)].concat();
                tiers = choice.hand_over(decision, prospects);
                prospects.considered.extend(drained.considered);
                is_up = !tiers.is_empty();
                stages = if is_up { of_drained } else { stages };
            }
        }
        decision.stages = stages;
        if !is_up {
            decision.last_good = last_good.cloned();
            return on_empty::fill(self, sieved, last_good, decision, prospects);
        }
        self.give(tiers, decision);
    }

    /// What the pools give of the endpoints within reach of the client's region, with the stages. `None` where that is
    /// nothing, or all that are eligible are within reach.
    fn choose_within_reach(
        &self,
        sieved: &Sieved,
        decision: &mut Decision,
        prospects: &mut Prospects,
    ) -> Option<(Vec<Stage>, Vec<Tier>)> {
        if !self.has_one_out_of_reach(sieved) {
            return None;
        }
        let near = sieve::sieve(self, self.policy.root, Admit::WithinReach);
        let choice = choice::choose(self, self.policy.root, &near);
        if choice.tiers.is_empty() {
            return None;
        }
        // What a pool stays on is chosen without regard to reach: a choice that one region had to make must not outlast
        // the reason for it, nor become that of all clients.
        choice::choose(self, self.policy.root, sieved).hand_over(decision, prospects);
        let stages = [near.stages, choice.stages(self, &near.eligible)].concat();
        Some((stages, choice.for_now(prospects)))
    }

    /// Gives what is up.
    fn give(&self, tiers: Vec<Tier>, decision: &mut Decision) {
        decision.is_good = true;
        decision.source = AnswerSource::Endpoints(distribution(self.policy, tiers));
        for other in self.policy.on_empty.iter().filter_map(OnEmpty::other) {
            choice::remember(self, other, decision);
        }
    }

    /// The stages after the choice, and what follows from them.
    fn close(&self, decision: &mut Decision) {
        let AnswerSource::Endpoints(distribution) = &mut decision.source else { return };
        match self.facet {
            Facet::Srv if service::is_whole(self, distribution) => {
                decision.stages.extend(service::all_of(self, distribution));
            }
            Facet::V4 | Facet::V6 | Facet::Alias | Facet::Srv | Facet::Https | Facet::Svcb => {
                let picked = closing::pick_and_limit(self, distribution);
                decision.affinity = picked.affinity;
                decision.stages.extend(picked.stages);
            }
        }
        decision.hints = service::hints(self, distribution);
    }

    /// What an endpoint can answer with here.
    fn sides(&self, endpoint: EndpointId) -> impl Iterator<Item = &'a Answerable> {
        let (sides, policy, facet) = (self.sides, self.policy, self.facet);
        self.model.endpoint(endpoint).answerables.iter().filter(move |side| match sides {
            Sides::OfFacet => facet.is_answered_by(side.facet),
            Sides::Addresses => facet.is_answered_by(side.facet) && side.facet != Facet::Alias,
            Sides::Whole => policy.facets.iter().any(|facet| facet.is_answered_by(side.facet)),
        })
    }

    fn is_cname(&self, endpoint: EndpointId) -> bool {
        self.model.endpoint(endpoint).answerables.iter().any(|side| side.facet == Facet::Alias)
    }

    /// The verdict on a side of an endpoint, by the monitor that counts for this name; `None` without one.
    /// What a source states goes before it.
    fn check_of(&self, endpoint: EndpointId, side: &Answerable) -> Option<&'a CheckView> {
        let measured = || self.policy.check_of(endpoint, side).map(|check| self.view.check(check));
        self.view.stated_view(endpoint).or_else(measured)
    }

    /// Whether a side of an endpoint may be answered with.
    fn is_side_up(&self, endpoint: EndpointId, side: &Answerable) -> bool {
        self.check_of(endpoint, side).is_none_or(CheckView::is_eligible)
    }

    /// The client's region, if an endpoint that is up is out of reach for it: for every side that is up. The client is
    /// read only if some region can't reach them, and the policy has other endpoints. An exclusive name has one active
    /// endpoint for all.
    fn out_of_reach(&self, endpoint: EndpointId) -> Option<RegionId> {
        let sides = || self.sides(endpoint).map(|side| self.check_of(endpoint, side));
        let up = || sides().filter(|view| view.is_none_or(CheckView::is_eligible));
        let is_anywhere = up().all(|view| view.is_some_and(|view| !view.unreachable_from.is_empty()));
        if !is_anywhere || up().next().is_none() || self.policy.has_one_for_all() {
            return None;
        }
        let region = self.client.region()?;
        up().flatten().all(|view| view.unreachable_from.contains(&region)).then_some(region)
    }

    /// Whether an endpoint that is eligible, and not because it is forced up, is out of reach for the client's region.
    fn has_one_out_of_reach(&self, sieved: &Sieved) -> bool {
        let measured = sieved.eligible.iter().filter(|endpoint| sieved.considered.contains(endpoint));
        // All are looked at: whether a decision depends on the client must not depend on the class.
        measured.filter(|endpoint| self.out_of_reach(**endpoint).is_some()).count() > 0
    }

    /// The verdict on an endpoint; `None` without a monitor. For a service it is the best of its addresses.
    fn check(&self, endpoint: EndpointId) -> Option<&'a CheckView> {
        let views = self.sides(endpoint).map(|side| self.check_of(endpoint, side));
        views.min_by_key(|view| view.map_or(0, |view| if view.is_eligible() { 1 } else { 2 })).flatten()
    }

    /// The least time in which an endpoint's health could change.
    fn may_change_in(&self, endpoint: EndpointId) -> Option<Duration> {
        self.sides(endpoint).filter_map(|side| self.check_of(endpoint, side)?.may_change_in).min()
    }

    /// Whether an endpoint's record is alone in a reply.
    fn is_alias(&self, endpoint: EndpointId) -> bool {
        match self.sides {
            Sides::OfFacet => self.model.endpoint(endpoint).stands_alone(self.facet),
            Sides::Whole | Sides::Addresses => self.is_cname(endpoint),
        }
    }

    /// The fence that holds these clients.
    fn held_by(&self) -> Option<&'a Fence> {
        let fence = self.model.fence(self.policy.fence?);
        self.client.is_selected(fence.clients).then_some(fence)
    }

    /// Whether the client's net, rather than chance, decides among a pool's members.
    fn is_by_net(&self, pool: &Pool) -> bool {
        pool.steering.is_by_net() || self.policy.affinity.is_some()
    }

    fn standing(&self, pool: PoolId) -> Option<&'a Standing> {
        self.standings.iter().find(|standing| standing.pool == pool)
    }
}

fn distribution(policy: &Policy, tiers: Vec<Tier>) -> Distribution {
    let (draws, limit) = (policy.answers.unwrap_or(1), policy.answers.unwrap_or(MAX_ANSWERS));
    Distribution { tiers, draws, limit, blanks: Vec::new() }
}

impl Prospects {
    fn of(sieved: &Sieved) -> Prospects {
        Prospects {
            considered: sieved.considered.clone(),
            inside: sieved.inside.clone(),
            dues: Vec::new(),
            ramps: Vec::new(),
        }
    }
}

impl Stage {
    /// A stage that drops `dropped` of `entered` endpoints.
    fn new(name: StageName, entered: usize, dropped: Vec<Reason>) -> Stage {
        Stage { name, entered, left: entered - dropped.len(), dropped, passed: Vec::new(), note: None }
    }
}

impl Reason {
    fn new(endpoint: EndpointId, why: Why) -> Reason {
        Reason { endpoint, why }
    }
}
