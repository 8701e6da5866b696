//! Which endpoints a client can get at all, whatever the world is: a `geo` pool has for a client the members whose
//! `when` holds for it. A client that can get nothing has no candidate: its answer is empty, and `on_empty` does not
//! count. `last_good` is only of what a client can get.

use std::collections::HashSet;

use crate::model::{EndpointId, Member, MemberRef, Pool};
use crate::steering::Scene;

/// What is below a member for these clients.
pub(super) struct Reach {
    /// The endpoints.
    pub(super) endpoints: HashSet<EndpointId>,
    /// Whether every client, of whatever class, can get one at least.
    pub(super) is_for_everyone: bool,
}

/// Which of `candidates` below `root` the clients of `scene` can get.
pub(super) fn reach(scene: &Scene, root: MemberRef, candidates: &[EndpointId]) -> Reach {
    let (endpoints, _) = scene.client.apart(|| below(scene, root, candidates, Whom::Client));
    let is_for_everyone = !below(scene, root, candidates, Whom::Everyone).is_empty();
    Reach { endpoints, is_for_everyone }
}

/// Through which members the walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Members without `when`, and those whose `when` holds for the client.
    Client,
    /// Members without `when`.
    Everyone,
}

fn below(scene: &Scene, root: MemberRef, candidates: &[EndpointId], whom: Whom) -> HashSet<EndpointId> {
    let is_selected = |when| whom == Whom::Client && scene.client.is_selected(when);
    let is_open = |pool: &Pool, member: &Member| pool.selector(member).is_none_or(is_selected);
    let below = scene.model.below_where([root], is_open).filter_map(MemberRef::endpoint);
    below.filter(|endpoint| candidates.contains(endpoint)).collect()
}
