//! Whom a client can be led to at all, however the world is: `geo` pools let a client into the members whose `when` holds
//! for it. Who can be led to nothing has no candidate, so the answer is empty and `on_empty` is not asked; and `last_good` is
//! only of what a client could be led to.

use std::collections::HashSet;

use crate::model::{EndpointId, Member, MemberRef, Pool};
use crate::steering::Scene;

/// What is below a member for these clients.
pub(super) struct Reach {
    /// The endpoints.
    pub(super) endpoints: HashSet<EndpointId>,
    /// Whether every client, of whatever class, is led to one at least.
    pub(super) is_for_everyone: bool,
}

/// Which of `candidates` the clients of `scene` are led to below `root`.
pub(super) fn reach(scene: &Scene, root: MemberRef, candidates: &[EndpointId]) -> Reach {
    let endpoints = below(scene, root, candidates, Whom::Client);
    let is_for_everyone = !below(scene, root, candidates, Whom::Everyone).is_empty();
    Reach { endpoints, is_for_everyone }
}

/// Whose way down is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// That of the clients who ask: members without `when`, and those whose `when` holds.
    Client,
    /// That which is open to all: members without `when`.
    Everyone,
}

fn below(scene: &Scene, root: MemberRef, candidates: &[EndpointId], whom: Whom) -> HashSet<EndpointId> {
    let is_selected = |when| whom == Whom::Client && scene.class.is_selected(when);
    let is_open = |pool: &Pool, member: &Member| pool.selector(member).is_none_or(is_selected);
    let below = scene.model.below_where([root], is_open).filter_map(MemberRef::endpoint);
    below.filter(|endpoint| candidates.contains(endpoint)).collect()
}
