//! The fence: which endpoints clients that it holds may have at all. It comes before everything else and nothing that
//! follows lets an endpoint back in: not `on_empty`, not an override.

use crate::model::EndpointId;
use crate::steering::{Reason, Scene, Stage};

/// Most endpoints that a reason names as allowed. Judgment: a person reads a handful; `explain` has the rest.
const MOST_NAMED: usize = 6;

/// What is left of `candidates` for these clients, with the stage, and whether clients of another class could be left
/// with something else. `None` where the policy has no fence.
pub(super) fn fence(scene: &Scene, candidates: &[EndpointId]) -> Option<(Vec<EndpointId>, Stage, bool)> {
    let fence = scene.model.fence(scene.policy.fence?);
    let (inside, outside): (Vec<EndpointId>, Vec<EndpointId>) =
        candidates.iter().copied().partition(|endpoint| fence.holds(*endpoint));
    let name = &fence.name;
    let mut stage = Stage::new("fence", candidates.len(), Vec::new());
    if outside.is_empty() {
        stage.note = Some(format!("everything is inside \"{name}\""));
        return Some((inside, stage, false));
    }
    if scene.held_by().is_none() {
        stage.note = Some(format!("\"{name}\" does not hold this client"));
        return Some((candidates.to_vec(), stage, true));
    }
    let why = format!("outside the fence \"{name}\", which leaves this client {}", named(scene, &inside));
    let dropped = outside.into_iter().map(|endpoint| Reason::new(endpoint, why.as_str())).collect();
    stage = Stage::new("fence", candidates.len(), dropped);
    stage.note = Some(format!("\"{name}\" holds this client"));
    Some((inside, stage, true))
}

/// `fra1, ams1 and 3 more`.
fn named(scene: &Scene, inside: &[EndpointId]) -> String {
    let names = inside.iter().take(MOST_NAMED).map(|id| scene.model.endpoint(*id).name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    match inside.len() {
        0 => "nothing of this pool".to_owned(),
        n if n > MOST_NAMED => format!("{names} and {} more", n - MOST_NAMED),
        _ => names,
    }
}
