//! What a change of overrides does to the answers: each endpoint's share before and after, from the decisions that were
//! served before and after it. Every steered name that could give an endpoint concerned counts alike; so does every class
//! of clients that the name tells apart.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::model::{EndpointId, Facet, PolicyId};
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{Decision, Given};

/// Shares nearer than this are the same: a probability has nine digits.
const SAME: f64 = 1e-9;

/// How answers moved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Of the answers of the names concerned, the part that is given by somebody else now, 0 to 1.
    pub share: f64,
    /// Whose share changed, in the order of the names.
    pub endpoints: Vec<Share>,
}

/// An endpoint's share of the answers of the names concerned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its name.
    pub endpoint: String,
    /// 0 to 1.
    pub before: f64,
    /// 0 to 1.
    pub after: f64,
}

/// What changed between two snapshots of one model for the names that could give one of `concerned`.
pub fn moved(before: &Snapshot, after: &Snapshot, concerned: &HashSet<EndpointId>) -> Moved {
    let model = &before.model;
    let mut shares: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    let (mut names, mut share) = (0.0, 0.0);
    let steered = model.zones.iter().flat_map(|zone| &zone.steered);
    let mut of_policy = BTreeMap::new();
    for name in steered {
        *of_policy.entry(name.policy).or_insert(0.0) += 1.0;
    }
    for (id, count) in of_policy {
        let policy = model.policy(id);
        let gives = |facet: Facet| {
            let could = |id: &&EndpointId| concerned.contains(id) && model.endpoint(**id).answerable(facet).is_some();
            policy.endpoints.iter().any(|id| could(&id))
        };
        let facets: Vec<Facet> = policy.facets.iter().copied().filter(|facet| gives(*facet)).collect();
        if facets.is_empty() {
            continue;
        }
        names += count;
        for facet in &facets {
            let pairs = pairs(before, after, id, *facet);
            let classes: usize = pairs.iter().map(|(_, _, alike)| alike).sum();
            for (old, new, alike) in pairs {
                let weight = count / facets.len() as f64 * alike as f64 / classes as f64;
                share += weight * compare(before, old, new, weight, &mut shares);
            }
        }
    }
    if names == 0.0 {
        return Moved::default();
    }
    let changed = shares.into_iter().filter(|(_, [before, after])| (before - after).abs() / names > SAME);
    let each = |(name, [before, after]): (&str, [f64; 2])| Share {
        endpoint: name.to_owned(),
        before: before / names,
        after: after / names,
    };
    Moved { share: share / names, endpoints: changed.map(each).collect() }
}

/// What each class of clients was given and is given, and how many classes are alike in that.
fn pairs<'s>(
    before: &'s Snapshot,
    after: &'s Snapshot,
    policy: PolicyId,
    facet: Facet,
) -> Vec<(&'s Decision, &'s Decision, usize)> {
    let mut pairs: Vec<(&Decision, &Decision, usize)> = Vec::new();
    for class in (0..before.local_classes(policy).len()).map(|at| LocalClass(at as u16)) {
        let of = |snapshot: &'s Snapshot| snapshot.cell(policy, class, facet).map(|cell| cell.decision());
        let (Some(old), Some(new)) = (of(before), of(after)) else { continue };
        match pairs.iter_mut().find(|(a, b, _)| std::ptr::eq(*a, old) && std::ptr::eq(*b, new)) {
            Some((_, _, alike)) => *alike += 1,
            None => pairs.push((old, new, 1)),
        }
    }
    pairs
}

/// Adds both decisions' shares, each times `weight`; gives the part of the answers that moved.
fn compare<'m>(
    snapshot: &'m Snapshot,
    old: &Decision,
    new: &Decision,
    weight: f64,
    shares: &mut BTreeMap<&'m str, [f64; 2]>,
) -> f64 {
    let mut differences: BTreeMap<Option<EndpointId>, f64> = BTreeMap::new();
    for (at, sign, decision) in [(0, 1.0, old), (1, -1.0, new)] {
        for (endpoint, part) in parts(snapshot, decision) {
            *differences.entry(endpoint).or_default() += sign * part;
            if let Some(endpoint) = endpoint {
                shares.entry(&snapshot.model.endpoint(endpoint).name).or_default()[at] += weight * part;
            }
        }
    }
    differences.into_values().filter(|lost| *lost > 0.0).sum()
}

/// Each endpoint's part of what a decision gives; they add up to 1. `None` stands for what no endpoint gives.
fn parts(snapshot: &Snapshot, decision: &Decision) -> Vec<(Option<EndpointId>, f64)> {
    let Given::Endpoints(distribution) = &decision.given else { return vec![(None, 1.0)] };
    let parts = distribution.parts(|id| snapshot.model.endpoint(id).stands_alone(decision.facet));
    parts.into_iter().map(|(id, part)| (Some(id), part)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::control::fixture;
    use crate::model::{Health, Member, MemberRef, Model, Pool, PoolId, Steering, WorldView};
    use crate::snapshot::{Identity, compile};

    /// `www` gives `fra1` and `plain` alike; a name beside it only `plain`.
    fn model() -> Model {
        let mut model = fixture::model();
        let member = |id| Member::new(MemberRef::Endpoint(EndpointId(id)), 1);
        model.pools = vec![Pool::new("web", Steering::Weighted, vec![member(0), member(2)])];
        model.policies[0].root = MemberRef::Pool(PoolId(0));
        model.policies[0].endpoints = vec![EndpointId(0), EndpointId(2)];
        model.policies[0].facets = vec![Facet::V4];
        model
    }

    fn snapshot(model: &Arc<Model>, view: WorldView) -> Snapshot {
        compile::compile(model.clone(), Arc::new(view), Arc::new(Identity::default()), 2, None)
    }

    #[test]
    fn half_of_the_answers_move_when_one_of_two_goes() {
        let model = Arc::new(model());
        let mut gone = fixture::view();
        gone.checks[0].health = Health::Down;
        let (before, after) = (snapshot(&model, fixture::view()), snapshot(&model, gone));
        let fra1 = HashSet::from([EndpointId(0)]);
        let share = |endpoint: &str, before, after| Share { endpoint: endpoint.into(), before, after };
        let endpoints = vec![share("fra1", 0.5, 0.0), share("plain", 0.5, 1.0)];
        assert_eq!(moved(&before, &after, &fra1), Moved { share: 0.5, endpoints });
        assert_eq!(moved(&before, &before, &fra1), Moved::default(), "nothing changed");
        let elsewhere = HashSet::from([EndpointId(1)]);
        assert_eq!(moved(&before, &after, &elsewhere), Moved::default(), "no name could give it");
    }
}
