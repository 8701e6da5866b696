//! Exclusive names: only the active endpoint may be given, whatever else is up. `fleet::lease` decides which one is
//! active, and this stage obeys. An active endpoint that is down is still given, by `on_empty`: another one would be a
//! second master.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{ActiveEndpoint, EndpointId, LeaseView, Model, Policy, WorldView};
use crate::steering::given::{is_out_of_service, may_be_given};
use crate::steering::{Reason, Scene, Stage, StageName, Why};
use crate::wire::Name;

/// The leases of a view.
type Leases = Arc<HashMap<Name, LeaseView>>;

/// The active endpoint of an exclusive name, as one server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveMember {
    /// Its name; `None`: not known yet, so no endpoint may be given.
    pub endpoint: Option<Arc<str>>,
    /// `None`: the policy does not have it. The files of two servers may differ for a while.
    pub id: Option<EndpointId>,
    /// Its epoch; `None`: there is no lease, and it is the first member, or it is not known yet.
    pub epoch: Option<u64>,
}

/// The active endpoint of a policy; `None` if it is not exclusive.
pub fn active_member(model: &Model, policy: &Policy, view: &WorldView) -> Option<ActiveMember> {
    let exclusive = policy.exclusive.as_ref()?;
    let members = policy.members_in_order(model);
    match view.leases.get(&exclusive.owner).map(|lease| &lease.active) {
        Some(None) => Some(ActiveMember { endpoint: None, id: None, epoch: None }),
        Some(Some(active)) => Some(ActiveMember {
            endpoint: Some(active.endpoint.clone()),
            id: members.into_iter().find(|id| *model.endpoint(*id).name == *active.endpoint),
            epoch: Some(active.epoch),
        }),
        None => {
            let id = members.first().copied()?;
            let endpoint = Some(model.endpoint(id).name.as_str().into());
            Some(ActiveMember { endpoint, id: Some(id), epoch: None })
        }
    }
}

/// Why no other endpoint is promoted although the active one is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromotionBlock {
    /// Which endpoint is active is not known yet: the store was never read.
    ActiveUnknown,
    /// The lease can't be written: the store is away, or has no quorum.
    NoStore,
    /// Not more than half of the known vantages have a vote.
    TooFewVotes {
        /// Those that have one.
        votes: usize,
        /// Those that are known.
        known: usize,
    },
}

/// What blocks the promotion that an exclusive name needs; `None`: nothing, or its active endpoint may be given.
pub fn promotion_block(model: &Model, policy: &Policy, view: &WorldView) -> Option<PromotionBlock> {
    let active = active_member(model, policy, view)?;
    if active.id.is_some_and(|id| may_be_given(model, policy, view, id)) {
        return None;
    }
    let lease = policy.exclusive.as_ref().and_then(|exclusive| view.leases.get(&exclusive.owner));
    if active.endpoint.is_none() {
        return Some(PromotionBlock::ActiveUnknown);
    }
    if lease.is_some_and(|lease| lease.holder.is_none()) {
        return Some(PromotionBlock::NoStore);
    }
    // An operator's override needs no vote, and without any vantage nothing is measured: a simulation from files.
    let by_operator = active.id.is_none_or(|id| is_out_of_service(model, view, id));
    let (votes, known) = view.votes();
    (!by_operator && known > 0 && !view.has_majority()).then_some(PromotionBlock::TooFewVotes { votes, known })
}

/// The leases after the promotions that `view` calls for, as a simulation expects them: of each exclusive name whose
/// active endpoint is out, and whose promotion nothing blocks, the first member that is up becomes active.
pub fn after_promotions(model: &Model, view: &WorldView) -> Leases {
    let mut leases = view.leases.clone();
    for policy in &model.policies {
        let (Some(exclusive), Some(active)) = (&policy.exclusive, active_member(model, policy, view)) else { continue };
        let is_in = active.id.is_some_and(|id| may_be_given(model, policy, view, id));
        if is_in || promotion_block(model, policy, view).is_some() {
            continue;
        }
        let members = policy.members_in_order(model);
        let Some(next) = members.into_iter().find(|id| may_be_given(model, policy, view, *id)) else { continue };
        let epoch = active.epoch.unwrap_or(0) + 1;
        let active = ActiveEndpoint { endpoint: model.endpoint(next).name.as_str().into(), epoch, highest: epoch };
        let holder = view.leases.get(&exclusive.owner).and_then(|lease| lease.holder.clone());
        let lease = LeaseView { active: Some(active), holder, is_holder: false, promoting: None };
        Arc::make_mut(&mut leases).insert(exclusive.owner.clone(), lease);
    }
    leases
}

/// Whether the name is exclusive, and its active endpoint not known yet.
pub(super) fn is_active_unknown(scene: &Scene) -> bool {
    active_member(scene.model, scene.policy, scene.view).is_some_and(|active| active.endpoint.is_none())
}

/// Of the candidates inside the fence the active one, and the stage; `None` if the policy is not exclusive.
pub(super) fn by_lease(scene: &Scene, inside: &[EndpointId]) -> Option<(Vec<EndpointId>, Stage)> {
    let active = active_member(scene.model, scene.policy, scene.view)?;
    let (given, others): (Vec<EndpointId>, Vec<EndpointId>) =
        inside.iter().partition(|endpoint| Some(**endpoint) == active.id);
    let not_active = || Why::NotActive { active: active.endpoint.clone(), epoch: active.epoch };
    let dropped = others.into_iter().map(|endpoint| Reason::new(endpoint, not_active())).collect();
    let mut stage = Stage::new(StageName::Lease, inside.len(), dropped);
    stage.passed = given.iter().map(|endpoint| Reason::new(*endpoint, Why::Active(active.epoch))).collect();
    Some((given, stage))
}
