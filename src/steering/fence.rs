//! The fence: which endpoints the clients that it holds may have at all. It comes before everything else and nothing
//! that follows lets an endpoint back in: not `on_empty`, not an override.

use std::sync::Arc;

use crate::model::EndpointId;
use crate::steering::{Note, Reason, Scene, Stage, StageName, Why};

/// What is left of `candidates` for these clients, with the stage. `None` where the policy has no fence. The client is
/// read where something is outside.
pub(super) fn fence(scene: &Scene, candidates: &[EndpointId]) -> Option<(Vec<EndpointId>, Stage)> {
    let fence = scene.model.fence(scene.policy.fence?);
    let (inside, outside): (Vec<EndpointId>, Vec<EndpointId>) =
        candidates.iter().copied().partition(|endpoint| fence.holds(*endpoint));
    let stage = |dropped, note| Stage { note: Some(note), ..Stage::new(StageName::Fence, candidates.len(), dropped) };
    if outside.is_empty() {
        return Some((inside, stage(Vec::new(), Note::AllInside)));
    }
    if scene.held_by().is_none() {
        return Some((candidates.to_vec(), stage(Vec::new(), Note::FenceNotApplied)));
    }
    let named: Arc<[EndpointId]> = inside.as_slice().into();
    let why = || Why::OutsideFence(named.clone());
    let dropped = outside.into_iter().map(|endpoint| Reason::new(endpoint, why())).collect();
    Some((inside, stage(dropped, Note::FenceApplied)))
}
