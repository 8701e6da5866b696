//! Whether what is served is what the policy prefers. A policy *prefers* what it would give to the same clients for the
//! same question if every endpoint were up, nothing were overridden and no failover pool remembered another choice.
//! `state` of the file, fences and distances count as they are. `control::names` calls it, the packet path never does.

use crate::model::{CheckId, CheckView, ClientClass, EndpointId, Facet, Health, Model, PolicyId, WorldView};
use crate::steering::exclusive::active_member;
use crate::steering::given::{is_eligible, is_out_of_service, may_be_given};
use crate::steering::{AnswerSource, Decision, Memory, Reason, Stage, StageName, Standing, Tier, decide};

/// A world in which every check is up and nothing is overridden. Distances are those of `view`.
pub fn ideal(view: &WorldView) -> WorldView {
    let up = |check: &CheckView| CheckView {
        health: Health::Up,
        tried: true,
        rtts: check.rtts.clone(),
        ..CheckView::default()
    };
    WorldView { at: view.at, checks: view.checks.iter().map(up).collect(), ..WorldView::default() }
}

/// What `policy` prefers to give where `served` is given; `ideal` is [`ideal`] of `view`, in which `served` was
/// decided.
pub fn preferred(
    model: &Model,
    policy: PolicyId,
    [view, ideal]: [&WorldView; 2],
    class: &ClientClass,
    served: &Decision,
) -> Decision {
    // While nothing is down, a latency pool may stay with the members of its band, as the policy wants.
    let standings: Vec<Standing> = match is_whole(model, policy, view) {
        true => served.standings.iter().filter(|standing| is_of_band(model, standing)).cloned().collect(),
        false => Vec::new(),
    };
    decide(model, policy, ideal, class, served.facet, Memory { last_good: None, standings: &standings })
}

/// Whether `served` is what `policy` prefers: `on_empty` does not answer, no endpoint is given that is out of service,
/// and all that are given are among those of `preferred`.
pub fn is_preferred(model: &Model, view: &WorldView, served: &Decision, preferred: &Decision) -> bool {
    if served.is_on_empty() {
        return false;
    }
    match (served.given_first(model), preferred.given_first(model)) {
        (Some(served), Some(preferred)) => {
            served.iter().all(|endpoint| preferred.contains(endpoint) && !is_out_of_service(model, view, *endpoint))
        }
        (None, None) => served.source == preferred.source,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether `served` is certainly what `policy` prefers, without a second decision: nothing is down, and no failover
/// pool stays with another member.
pub fn is_plainly_preferred(model: &Model, policy: PolicyId, view: &WorldView, served: &Decision) -> bool {
    let is_moved = |standing: &Standing| standing.challenger.is_some() && !is_of_band(model, standing);
    // The first member of an exclusive name is not the active one by itself.
    let is_exclusive = model.policy(policy).exclusive.is_some();
    !is_exclusive && is_whole(model, policy, view) && !served.is_on_empty() && !served.standings.iter().any(is_moved)
}

/// Whether it is the band of a pool that ranks, rather than `failback`, which resists change.
fn is_of_band(model: &Model, standing: &Standing) -> bool {
    model.pool(standing.pool).steering.ranked_by().is_some()
}

/// Whether every side of every endpoint that the policy could name is up for every region, and nothing is overridden.
fn is_whole(model: &Model, policy: PolicyId, view: &WorldView) -> bool {
    let policy = model.policy(policy);
    let is_near = |check: Option<CheckId>| check.is_none_or(|check| view.check(check).unreachable_from.is_empty());
    let is_up = |check: Option<CheckId>| is_eligible(view, check) && is_near(check);
    let is_whole = |id: EndpointId| model.endpoint(id).answerables.iter().all(|side| is_up(policy.check_of(id, side)));
    let is_stated = |id: &EndpointId| view.stated.contains_key(id);
    policy.endpoints.iter().all(|id| view.override_of(*id).is_none() && !is_stated(id) && is_whole(*id))
}

/// How many endpoints of the name's own pool may be answered with now, to whichever clients and for whichever of its
/// types; those of `on_empty` don't count. It is 0 if the lease of an exclusive name has an endpoint that is not in the
/// files, or is not known yet.
pub fn eligible(model: &Model, policy: PolicyId, view: &WorldView) -> usize {
    let policy = model.policy(policy);
    if active_member(model, policy, view).is_some_and(|active| active.id.is_none()) {
        return 0;
    }
    model.endpoints_below(policy.root).into_iter().filter(|id| may_be_given(model, policy, view, *id)).count()
}

impl Decision {
    /// Whether it is `on_empty` that gives this.
    pub fn is_on_empty(&self) -> bool {
        self.stage(StageName::OnEmpty).is_some()
    }

    /// The stage of this name, where there is one.
    pub fn stage(&self, name: StageName) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// Why an endpoint is not given, where a stage says so.
    pub fn why_not(&self, endpoint: EndpointId) -> Option<&Reason> {
        let mut dropped = self.stages.iter().rev().flat_map(|stage| &stage.dropped);
        dropped.find(|reason| reason.endpoint == endpoint)
    }

    /// The endpoints that clients go to first: all that a reply may name; of SRV records those of the first priority.
    /// `None` where no endpoints are given.
    pub fn given_first(&self, model: &Model) -> Option<Vec<EndpointId>> {
        let AnswerSource::Endpoints(distribution) = &self.source else { return None };
        let is_alias = |endpoint: &EndpointId| model.endpoint(*endpoint).stands_alone(self.facet);
        let mut first: Vec<EndpointId> = Vec::new();
        let mut records = 0;
        for (at, tier) in distribution.tiers.iter().enumerate() {
            let is_reached = match (self.facet, at) {
                (_, 0) => true,
                (Facet::Srv, _) => false,
                (Facet::V4 | Facet::V6 | Facet::Alias | Facet::Https | Facet::Svcb, _) => {
                    records < distribution.limit && (distribution.draws > 1 || records == 0)
                }
            };
            if !is_reached {
                break;
            }
            // Behind the first draw there is no room for what stands alone.
            let given = Tier::endpoints(tier).filter(|endpoint| at == 0 || !is_alias(endpoint));
            first.extend(given);
            records = first.iter().filter(|endpoint| !is_alias(endpoint)).count();
        }
        Some(first)
    }
}
