//! Adds up what the decisions of a snapshot give, over all names and classes. A question for a name counts for each
//! of its types in equal parts, and a reply with several records counts for each of them in equal parts.

use std::collections::{HashMap, HashSet};

use crate::control::simulate::weights::{NameAt, Weights, queried_facets};
use crate::model::{Answerable, EndpointId, Facet, Model, OverrideState, PolicyId, ZoneId};
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{AnswerSource, Decision, Distribution, Share};
use crate::wire::Name;

/// How much each endpoint is answered with, in the unit of the weights.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// By endpoint.
    pub(super) endpoints: Vec<f64>,
    /// By endpoint: the part that is given although the endpoint is down.
    pub(super) down: Vec<f64>,
    /// Answered with the records of zone files.
    pub(super) fixed: f64,
    /// Not answered (NODATA).
    pub(super) nothing: f64,
    /// The part of the endpoints' load that is the last good answer.
    pub(super) stale: f64,
}

/// The part of each endpoint in a decision, 0 to 1. The parts add up to 1; the list is empty if the decision has no
/// endpoint. Of SRV records a client uses those of the first priority, in proportion to weight (RFC 2782). Where a
/// reply has fewer than these, each that is drawn counts for an equal part.
pub(in crate::control) fn parts(model: &Model, decision: &Decision) -> Vec<(EndpointId, f64)> {
    let AnswerSource::Endpoints(distribution) = &decision.source else { return Vec::new() };
    match (decision.facet, distribution.tiers.first()) {
        (Facet::Srv, Some(tier)) => {
            let first = Distribution { tiers: vec![tier.clone()], ..distribution.clone() };
            if !first.fits() {
                return first.parts(|_| false);
            }
            let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
            let of_share = |share: &Share| {
                let each = share.weight / total / share.endpoints.len() as f64;
                share.endpoints.iter().map(|endpoint| (*endpoint, each)).collect::<Vec<_>>()
            };
            tier.shares.iter().flat_map(of_share).collect()
        }
        (facet, _) => distribution.parts(|endpoint| model.endpoint(endpoint).stands_alone(facet)),
    }
}

/// Rounds to nine digits, which removes the noise of adding up.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

/// How many decisions a snapshot has.
pub(super) fn decisions(snapshot: &Snapshot) -> usize {
    let policies = (0..snapshot.model.policies.len() as u32).map(PolicyId);
    let each = policies.map(|id| queried_facets(snapshot.model.policy(id)).len() * snapshot.local_classes(id).len());
    each.sum()
}

/// The decision for each class that asks for `facet`.
pub(in crate::control) fn served(
    snapshot: &Snapshot,
    policy: PolicyId,
    facet: Facet,
) -> impl Iterator<Item = (LocalClass, &Decision)> {
    let all = (0..snapshot.local_classes(policy).len() as u16).map(LocalClass);
    all.filter_map(move |class| Some((class, snapshot.cell(policy, class, facet)?.decision())))
}

/// The load of a snapshot under a demand.
pub(super) fn load(snapshot: &Snapshot, weights: &Weights) -> Load {
    let model = &*snapshot.model;
    let mut load =
        Load { endpoints: vec![0.0; model.endpoints.len()], down: vec![0.0; model.endpoints.len()], ..Load::default() };
    let mut defaults = ZoneFileRecords::of(model);
    for policy in (0..model.policies.len() as u32).map(PolicyId) {
        if weights.names(policy).is_empty() {
            continue;
        }
        let by_class = weights.of_policy(snapshot, policy);
        let facets = queried_facets(model.policy(policy));
        for facet in &facets {
            let part = 1.0 / facets.len() as f64;
            for (decision, classes) in distinct_decisions(snapshot, policy, *facet) {
                let weight: f64 = classes.iter().map(|class| by_class[usize::from(class.0)]).sum::<f64>() * part;
                match &decision.source {
                    AnswerSource::Nodata => load.nothing += weight,
                    AnswerSource::Static => {
                        let fixed = defaults.part(snapshot, weights, policy, *facet, &classes) * part;
                        load.fixed += fixed;
                        load.nothing += (weight - fixed).max(0.0);
                    }
                    AnswerSource::Endpoints(_) => load.add(snapshot, policy, decision, weight),
                }
            }
        }
    }
    load
}

impl Load {
    /// Adds a decision that gives endpoints.
    fn add(&mut self, snapshot: &Snapshot, policy: PolicyId, decision: &Decision, weight: f64) {
        self.stale += if decision.stale { weight } else { 0.0 };
        for (endpoint, part) in parts(&snapshot.model, decision) {
            self.endpoints[endpoint.0 as usize] += weight * part;
            if is_down(snapshot, policy, decision.facet, endpoint) {
                self.down[endpoint.0 as usize] += weight * part;
            }
        }
    }
}

/// Whether all addresses of an endpoint that answer `facet` are down for a policy, and no operator forced it up.
fn is_down(snapshot: &Snapshot, policy: PolicyId, facet: Facet, id: EndpointId) -> bool {
    if snapshot.view.override_of(id).is_some_and(|entry| entry.state == OverrideState::Up) {
        return false;
    }
    let (model, view) = (&*snapshot.model, &snapshot.view);
    let policy = model.policy(policy);
    let mut sides = model.endpoint(id).answerables.iter().filter(|side| facet.is_answered_by(side.facet)).peekable();
    let is_out = |side: &Answerable| policy.check_of(id, side).is_some_and(|check| !view.check(check).is_eligible());
    sides.peek().is_some() && sides.all(is_out)
}

/// The distinct decisions of a policy, each with the classes that get it.
fn distinct_decisions(snapshot: &Snapshot, policy: PolicyId, facet: Facet) -> Vec<(&Decision, Vec<LocalClass>)> {
    let mut found: Vec<(&Decision, Vec<LocalClass>)> = Vec::new();
    let mut positions: HashMap<*const Decision, usize> = HashMap::new();
    for (class, decision) in served(snapshot, policy, facet) {
        let at = *positions.entry(std::ptr::from_ref(decision)).or_insert_with(|| {
            found.push((decision, Vec::new()));
            found.len() - 1
        });
        found[at].1.push(class);
    }
    found
}

/// The records of zone files that answer a steered name when its policy gives nothing.
pub(super) struct ZoneFileRecords<'a> {
    model: &'a Model,
    owners: Option<HashSet<(ZoneId, &'a Name, u16)>>,
}

impl<'a> ZoneFileRecords<'a> {
    pub(super) fn of(model: &'a Model) -> ZoneFileRecords<'a> {
        ZoneFileRecords { model, owners: None }
    }

    /// Whether the zone file has records of `facet` at a name.
    pub(super) fn has(&mut self, name: NameAt, facet: Facet) -> bool {
        let model = self.model;
        let owners = self.owners.get_or_insert_with(|| {
            let zones = model.zones.iter().enumerate();
            let of = zones.flat_map(|(at, zone)| {
                zone.rrsets.iter().map(move |rrset| (ZoneId(at as u32), &rrset.owner, rrset.rtype))
            });
            of.collect()
        });
        let owner = &model.zone(name.0).steered[name.1].owner;
        owners.contains(&(name.0, owner, facet.rtype()))
    }

    /// The weight of these classes on the names of a policy for which the zone file has records.
    fn part(
        &mut self,
        of: &Snapshot,
        weights: &Weights,
        policy: PolicyId,
        facet: Facet,
        classes: &[LocalClass],
    ) -> f64 {
        let mut sum = 0.0;
        for name in weights.names(policy) {
            if self.has(*name, facet) {
                let row = weights.of_name(of, policy, *name);
                sum += classes.iter().map(|class| row[usize::from(class.0)]).sum::<f64>();
            }
        }
        sum
    }
}
