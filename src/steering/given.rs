//! Whether an endpoint may be answered with, whoever the client is: by its state, overrides, its source and its checks.
//! What else decides for one class of clients is in the stages.

use crate::model::{AdminState, CheckId, EndpointId, Model, OverrideState, Policy, Stated, WorldView};

/// Whether a side with this check may be answered with. A side without a check always may.
pub(super) fn is_eligible(view: &WorldView, check: Option<CheckId>) -> bool {
    check.is_none_or(|check| view.check(check).is_eligible())
}

/// Whether an operator, the file or its source took an endpoint out of service.
pub(super) fn is_out_of_service(model: &Model, view: &WorldView, id: EndpointId) -> bool {
    if let Some(Stated::Withdrawn { .. }) = view.stated.get(&id) {
        return true;
    }
    match (model.endpoint(id).state, view.override_of(id).map(|over| over.state)) {
        (AdminState::Disabled, _) => true,
        (AdminState::Enabled | AdminState::Drain, Some(OverrideState::Drain | OverrideState::Down)) => true,
        (AdminState::Enabled | AdminState::Drain, Some(OverrideState::Up)) => false,
        (AdminState::Drain, None) => true,
        (AdminState::Enabled, None) => false,
    }
}

/// Whether an endpoint may be answered with now, to whichever clients and for whichever type of the policy.
pub(super) fn may_be_given(model: &Model, policy: &Policy, view: &WorldView, id: EndpointId) -> bool {
    let endpoint = model.endpoint(id);
    let forced = view.override_of(id).is_some_and(|over| over.state == OverrideState::Up);
    let mut sides = policy.facets.iter().flat_map(|facet| endpoint.answering(*facet));
    !is_out_of_service(model, view, id) && sides.any(|side| forced || is_eligible(view, policy.check_of(id, side)))
}
