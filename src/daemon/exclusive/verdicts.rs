//! What the quorum and the operators decide about the members of an exclusive name, read from what is served.

use crate::fleet::lease::{LeaseSituation, MemberState, MemberVerdict};
use crate::model::{
    AdminState, Basis, CheckView, EndpointId, Failback, Health, Model, OverrideState, Policy, VantageState, WorldView,
};
use crate::snapshot::Snapshot;

/// The members of a policy, with what is decided about them in the view of `snapshot`.
pub(super) fn situation(snapshot: &Snapshot, policy: &Policy) -> LeaseSituation {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let has_majority = has_majority(view);
    let member = |id: EndpointId| MemberState {
        endpoint: model.endpoint(id).name.as_str().into(),
        verdict: verdict(model, policy, view, id, has_majority),
    };
    LeaseSituation {
        at: view.at,
        members: policy.members_in_order(model).into_iter().map(member).collect(),
        failback: policy.exclusive.as_ref().map_or(Failback::Manual, |exclusive| exclusive.failback),
    }
}

/// Whether more than half of the vantages that are known have a vote: a part that is cut off from the rest must not
/// promote.
fn has_majority(view: &WorldView) -> bool {
    let votes = view.vantages.iter().filter(|vantage| vantage.state == VantageState::Up).count();
    votes * 2 > view.vantages.len()
}

fn verdict(model: &Model, policy: &Policy, view: &WorldView, id: EndpointId, has_majority: bool) -> MemberVerdict {
    let endpoint = model.endpoint(id);
    match (endpoint.state, view.override_of(id).map(|entry| entry.state)) {
        (AdminState::Disabled, _)
        | (AdminState::Drain, None)
        | (AdminState::Enabled | AdminState::Drain, Some(OverrideState::Drain | OverrideState::Down)) => {
            return MemberVerdict::OutOfService;
        }
        (AdminState::Enabled | AdminState::Drain, Some(OverrideState::Up)) => return MemberVerdict::Up,
        (AdminState::Enabled, None) => {}
    }
    let answering = policy.facets.iter().flat_map(|facet| endpoint.answering(*facet));
    let checks: Vec<Option<&CheckView>> =
        answering.map(|side| policy.check_of(id, side).map(|check| view.check(check))).collect();
    let all = |health: Health| checks.iter().flatten().all(|check| check.health == health);
    let any_up = checks.iter().any(|check| check.is_none_or(|check| check.health == Health::Up && is_agreed(check)));
    if any_up {
        MemberVerdict::Up
    } else if has_majority && !checks.is_empty() && all(Health::Down) && checks.iter().flatten().all(|of| is_agreed(of))
    {
        MemberVerdict::Down
    } else {
        MemberVerdict::Unsure
    }
}

/// Whether vantages that have a vote agreed on it now: a last known verdict does not promote.
fn is_agreed(check: &CheckView) -> bool {
    check.basis == Basis::Votes
}
