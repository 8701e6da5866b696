//! What a policy can ever read of a client: whether its region matters, and which selectors do. Classes that agree on
//! it are one class to the policy, so a snapshot decides once for all of them.

use crate::model::{EndpointId, Model, OnEmpty, Policy, PolicyId, SelectorId};

/// What of a client class can matter to one policy, however the world is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Interest {
    /// Whether the client's region matters: a pool below ranks by distance, or an endpoint may be out of reach for a
    /// region.
    pub region: bool,
    /// Whether the region matters only where an endpoint is out of reach for it.
    pub is_by_reach: bool,
    /// The selectors that matter, in the order of their ids, each once: of geo members and of the fence.
    pub selectors: Vec<SelectorId>,
}

impl Interest {
    /// Whether all clients are alike to the policy.
    pub fn is_none(&self) -> bool {
        !self.region && self.selectors.is_empty()
    }
}

/// What matters to `policy`, below its root and below the pools of its `on_empty`. Two classes that agree on it get the
/// same decisions from the same view and memory; only the reasons may differ.
pub fn interest(model: &Model, policy: PolicyId) -> Interest {
    of(model, model.policy(policy))
}

/// As [`interest`].
pub(super) fn of(model: &Model, policy: &Policy) -> Interest {
    let mut interest = Interest::default();
    for pool in model.pools_below(policy.roots()).map(|id| model.pool(id)) {
        interest.region |= pool.steering.ranked_by().is_some() && pool.members.len() > 1;
        interest.selectors.extend(pool.members.iter().filter_map(|member| pool.selector(member)));
    }
    interest.is_by_reach = !interest.region && model.regional_view && has_several_monitored(model, policy);
    interest.region |= interest.is_by_reach;
    interest.selectors.extend(fence_of(model, policy));
    interest.selectors.sort_unstable();
    interest.selectors.dedup();
    interest
}

/// Whether an endpoint may be out of reach for a region, and there are others for its clients.
fn has_several_monitored(model: &Model, policy: &Policy) -> bool {
    let sides = |id: &EndpointId| model.endpoint(*id).answerables.iter();
    let is_monitored = |id: &EndpointId| sides(id).any(|side| policy.check_of(*id, side).is_some());
    !policy.has_one_for_all() && policy.endpoints.iter().any(is_monitored)
}

/// The selector of the fence, if the fence can make a difference: an endpoint is outside, or `on_empty` may give the
/// zone file's records, of which it is not known whether they are inside.
fn fence_of(model: &Model, policy: &Policy) -> Option<SelectorId> {
    let fence = model.fence(policy.fence?);
    let outside = policy.endpoints.iter().any(|endpoint| !fence.holds(*endpoint));
    (outside || policy.on_empty.contains(&OnEmpty::Static)).then_some(fence.clients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Steering::{Failover, Geo, Latency, Nearest, Weighted};
    use crate::steering::test_world::SteeringWorld;

    /// What matters: `region`, and the places of the selectors.
    #[track_caller]
    fn check(sentence: &str, world: SteeringWorld, expected: &str) {
        let interest = interest(&world.whole_model(), PolicyId(0));
        let selectors = interest.selectors.iter().map(|selector| selector.0.to_string());
        let region = interest.region.then(|| "region".to_owned());
        assert_eq!(region.into_iter().chain(selectors).collect::<Vec<_>>().join(" "), expected, "{sentence}");
    }

    #[test]
    fn a_policy_asks_of_a_client_only_what_can_matter() {
        let world = || {
            let endpoints = SteeringWorld::new().endpoint("a", "eu").endpoint("b", "us").endpoint("c", "ap");
            endpoints.selector("north", "NO SE").selector("east", "JP").selector("held", "DE")
        };
        check("weights are the same for all", world().pool("p", Weighted, "a b"), "");
        check("an endpoint alone too", SteeringWorld::new().endpoint("a", "eu"), "");
        check("latency asks for the region", world().pool("p", Latency, "a b"), "region");
        let fleet = |world: SteeringWorld| world.regional_view();
        check("in a fleet all do", fleet(world().pool("p", Weighted, "a b")), "region");
        check("but for an endpoint alone", fleet(SteeringWorld::new().endpoint("a", "eu")), "");
        check("so does nearest", world().pool("p", Nearest, "a b"), "region");
        check("one member is the nearest to all", world().pool("p", Latency, "a"), "");
        let deep = world().pool("x", Latency, "a b").pool("y", Failover, "c x").pool("p", Weighted, "y c");
        check("however deep it lies", deep, "region");
        let other = world().pool("x", Nearest, "a b").pool("p", Weighted, "c");
        check("in another name's pool it doesn't matter", other.clone(), "");
        check("in the one to fall back on it does", other.or_else("x"), "region");
        check("geo asks for each when, once, sorted", world().pool("p", Geo, "c@east a@north b@east c"), "0 1");
        let both = world().pool("x", Latency, "a b").pool("p", Geo, "x@north c");
        check("geo over latency asks for both", both, "region 0");
        check("a when means nothing elsewhere", world().pool("p", Weighted, "a@north b"), "");
        check("a fence asks for those it holds", world().pool("p", Weighted, "a b c").fence("f", "held", "a"), "2");
        let all_inside = world().pool("p", Weighted, "a b c").fence("f", "held", "a b c");
        check("but not one that everything is inside of", all_inside.clone(), "");
        check("unless the zone file has the last word", all_inside.on_empty(OnEmpty::Static), "2");
    }
}
