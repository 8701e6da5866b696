//! Whom a client can be led to at all, however the world is: `geo` pools let a client into the members whose `when` holds
//! for it. What lies in another client's branch was never a candidate of this one, so it is not given for want of
//! anything better either.

use std::collections::HashSet;

use crate::model::{EndpointId, MemberRef, PoolId, Steering};
use crate::steering::Scene;

/// What is below a member for these clients.
pub(super) struct Reach {
    /// The endpoints.
    pub(super) endpoints: HashSet<EndpointId>,
    /// Whether clients of another class could be led to others of `candidates`.
    pub(super) looks_at_client: bool,
}

/// What `scene`'s clients are led to below `root`.
pub(super) fn reach(scene: &Scene, root: MemberRef, candidates: &[EndpointId]) -> Reach {
    let mut walk = Walk {
        scene: *scene,
        candidates,
        pools: HashSet::new(),
        reach: Reach { endpoints: HashSet::new(), looks_at_client: false },
    };
    walk.member(root);
    walk.reach.looks_at_client = looks(scene, root, candidates);
    walk.reach
}

struct Walk<'a> {
    scene: Scene<'a>,
    candidates: &'a [EndpointId],
    pools: HashSet<PoolId>,
    reach: Reach,
}

impl Walk<'_> {
    fn member(&mut self, member: MemberRef) {
        let id = match member {
            MemberRef::Endpoint(id) => {
                if self.candidates.contains(&id) {
                    self.reach.endpoints.insert(id);
                }
                return;
            }
            MemberRef::Pool(id) => id,
        };
        if !self.pools.insert(id) {
            return;
        }
        let scene = self.scene;
        let pool = scene.model.pool(id);
        let is_open =
            |when: Option<_>| pool.steering != Steering::Geo || when.is_none_or(|w| scene.class.is_selected(w));
        pool.members.iter().filter(|member| is_open(member.when)).for_each(|member| self.member(member.to));
    }
}

/// Whether any `when` below `root` decides about a candidate: the same for every class.
fn looks(scene: &Scene, root: MemberRef, candidates: &[EndpointId]) -> bool {
    let (mut open, mut seen) = (vec![root], HashSet::new());
    while let Some(member) = open.pop() {
        let MemberRef::Pool(id) = member else { continue };
        if !seen.insert(id) {
            continue;
        }
        let pool = scene.model.pool(id);
        let decides = |to| scene.endpoints_below(to).iter().any(|endpoint| candidates.contains(endpoint));
        let mut selective = pool.members.iter().filter(|member| member.when.is_some());
        if pool.steering == Steering::Geo && selective.any(|member| decides(member.to)) {
            return true;
        }
        open.extend(pool.members.iter().map(|member| member.to));
    }
    false
}
