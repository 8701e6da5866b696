//! The last good answers of a snapshot by name: what a restart restores for `on_empty = "last_good"`. Without it a
//! restart in the middle of an outage would change the answers.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::model::{EndpointId, Facet, MAX_ENDPOINTS, Model, OnEmpty, PolicyId};
use crate::snapshot::Snapshot;
use crate::snapshot::remap::{Map, Names, PolicySet, endpoints_by_name};
use crate::steering::{AnswerSource, Decision, Distribution, PathStep, Share, Tier};
use crate::wire::Name;

/// The last good answer of one name, facet and class of clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedAnswer {
    /// The zone, with its final dot.
    pub zone: String,
    /// The name as the policy file writes it.
    pub name: String,
    /// Which question it answers: `A`, `AAAA`, `CNAME` and so on.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Which clients it is for: `any`, or the words of their class.
    pub class: String,
    /// Best first.
    pub tiers: Vec<Vec<NamedShare>>,
}

/// What one draw gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedShare {
    /// The endpoints, at least one.
    pub endpoints: Vec<String>,
    /// Its weight relative to the other shares of the tier.
    pub weight: f64,
    /// The members that lead to it, by the hashes of their names; left out where no pool chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<NamedStep>,
}

/// A member on the way to a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedStep {
    /// The hash of its name, hexadecimal.
    pub member: String,
    /// Whether the client's net decides.
    pub by_net: bool,
}

impl NamedShare {
    fn of(share: &Share, model: &Model) -> NamedShare {
        let step = |step: &PathStep| NamedStep { member: format!("{:016x}", step.member), by_net: step.by_net };
        NamedShare {
            endpoints: share.endpoints.iter().map(|id| model.endpoint(*id).name.clone()).collect(),
            weight: share.weight,
            path: share.path.iter().map(step).collect(),
        }
    }

    fn path(&self) -> Option<Vec<PathStep>> {
        let step = |step: &NamedStep| {
            Some(PathStep { member: u64::from_str_radix(&step.member, 16).ok()?, by_net: step.by_net })
        };
        self.path.iter().map(step).collect()
    }
}

impl Snapshot {
    /// The last good answers of all names that may need them, in the order of the files. An exclusive name needs none.
    pub fn last_good_by_name(&self) -> Vec<NamedAnswer> {
        let mut answers = Vec::new();
        let may_need_it = |policy: PolicyId| {
            let policy = self.model.policy(policy);
            policy.exclusive.is_none() && policy.on_empty.contains(&OnEmpty::LastGood)
        };
        let tier = |tier: &Tier| -> Vec<NamedShare> {
            tier.shares.iter().map(|share| NamedShare::of(share, &self.model)).collect()
        };
        self.each_named_cell(may_need_it, |zone, name, facet, class, decision| {
            answers.extend(last_good(decision).map(|good| NamedAnswer {
                zone: zone.apex.to_string(),
                name: name.label.clone(),
                rtype: facet.as_str().to_owned(),
                class: class.to_owned(),
                tiers: good.tiers.iter().map(tier).collect(),
            }));
        });
        answers
    }

    /// Whether `before` has the same last good answers. It may be false where they are the same, never true where they
    /// differ.
    pub fn has_last_good_of(&self, before: &Snapshot) -> bool {
        self.generation == before.generation && self.policies.is_same(&before.policies)
    }
}

/// What a decision leaves as the last good answer.
pub(crate) fn last_good(decision: &Decision) -> Option<&Distribution> {
    match &decision.source {
        AnswerSource::Endpoints(distribution) if decision.is_good => Some(distribution),
        AnswerSource::Endpoints(_) | AnswerSource::Static | AnswerSource::Nodata => decision.last_good.as_ref(),
    }
}

/// Last good answers by policy and facet, in the ids of a model, each with the words of the class that it is for. What
/// the model doesn't have, and what can't be right, is left out.
pub(crate) fn in_ids(answers: &[NamedAnswer], model: &Model) -> Map<(PolicyId, Facet), Vec<(String, Distribution)>> {
    let mut found: Map<(PolicyId, Facet), Vec<(String, Distribution)>> = Map::default();
    if answers.is_empty() {
        return found;
    }
    let (names, endpoints) = (Names::of(model, &PolicySet::All), endpoints_by_name(model));
    for answer in answers {
        let known = names.policy(&answer.zone, &answer.name).and_then(|(apex, policy)| {
            let facet = model.policy(policy).decided_facets().find(|facet| facet.as_str() == answer.rtype)?;
            Some(((policy, facet), distribution(answer, apex, &endpoints)?))
        });
        let Some((key, good)) = known else { continue };
        let of_facet = found.entry(key).or_default();
        // Names that share a policy have a row each.
        if !of_facet.iter().any(|(of, _)| *of == answer.class) {
            of_facet.push((answer.class.clone(), good));
        }
    }
    found
}

fn distribution(answer: &NamedAnswer, apex: &Name, endpoints: &Map<(&Name, &str), EndpointId>) -> Option<Distribution> {
    let share = |share: &NamedShare, better: &HashSet<EndpointId>| {
        let known = share.endpoints.iter().filter_map(|name| endpoints.get(&(apex, name.as_str())).copied());
        let mut seen: HashSet<EndpointId> = HashSet::new();
        let known: Vec<EndpointId> = known.filter(|id| !better.contains(id) && seen.insert(*id)).collect();
        let is_sound = !known.is_empty() && share.weight.is_finite() && share.weight > 0.0;
        Some(Share { endpoints: known, weight: share.weight, path: share.path()? }).filter(|_| is_sound)
    };
    let mut tiers: Vec<Tier> = Vec::new();
    let mut better: HashSet<EndpointId> = HashSet::new();
    for tier in &answer.tiers {
        let shares: Vec<Share> = tier.iter().filter_map(|of| share(of, &better)).take(MAX_ENDPOINTS).collect();
        better.extend(shares.iter().flat_map(|share| &share.endpoints));
        if !shares.is_empty() {
            tiers.push(Tier { shares });
        }
    }
    (!tiers.is_empty()).then_some(Distribution { tiers, draws: 1, limit: 1, blanks: Vec::new() })
}
