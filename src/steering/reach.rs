//! Which endpoints a client can get in any world: of a `geo` pool, a client can get the members whose `when` holds for
//! it. A client that can get none has no candidate: its answer is empty, and `on_empty` does not count. `last_good`
//! has only endpoints that the client can get.

use std::collections::HashSet;

use crate::model::{EndpointId, Member, MemberRef, Pool};
use crate::steering::Scene;

/// What is below a member for these clients.
pub(super) struct Reach {
    /// The endpoints.
    pub(super) endpoints: HashSet<EndpointId>,
    /// Whether clients of every class can get at least one.
    pub(super) is_for_everyone: bool,
}

/// Which of `candidates` below `root` the clients of `scene` can get.
pub(super) fn reach(scene: &Scene, root: MemberRef, candidates: &[EndpointId]) -> Reach {
    let (endpoints, _) = scene.client.apart(|| below(scene, root, candidates, WalkBranches::OfClient));
    let is_for_everyone = !below(scene, root, candidates, WalkBranches::ForEveryone).is_empty();
    Reach { endpoints, is_for_everyone }
}

/// The members that the walk follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WalkBranches {
    /// Members without `when`, and those whose `when` holds for the client.
    OfClient,
    /// Members without `when`.
    ForEveryone,
}

fn below(scene: &Scene, root: MemberRef, candidates: &[EndpointId], branches: WalkBranches) -> HashSet<EndpointId> {
    let is_selected = |when| branches == WalkBranches::OfClient && scene.client.is_selected(when);
    let is_open = |pool: &Pool, member: &Member| pool.selector(member).is_none_or(is_selected);
    let below = scene.model.below_where([root], is_open).filter_map(MemberRef::endpoint);
    below.filter(|endpoint| candidates.contains(endpoint)).collect()
}
