//! Adding up: what the served decisions of a snapshot give to whom, over all names and classes. A question for a name
//! is for each of its address types in equal parts, and a reply of several records is a part for each of them.

use std::collections::{HashMap, HashSet};

use crate::control::simulate::demand::{NameAt, Weights};
use crate::model::{Facet, Model, Policy, PolicyId, ZoneId};
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{Decision, Given};
use crate::wire::Name;

/// Who gets how much, in the unit of the weights.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    /// By endpoint.
    pub(super) endpoints: Vec<f64>,
    /// Answered with the zone file's records.
    pub(super) fixed: f64,
    /// Not answered: NODATA.
    pub(super) nothing: f64,
    /// Of what endpoints get: answered with what was last good.
    pub(super) stale: f64,
}

/// The types that clients of a policy's names ask for: addresses, or the alias where it has nothing else. What is only
/// a service (SRV, HTTPS, SVCB) is not counted: who asks for it asks for an address next.
pub(super) fn asked_facets(policy: &Policy) -> Vec<Facet> {
    let is_address = |facet: &Facet| match facet {
        Facet::V4 | Facet::V6 => true,
        Facet::Alias | Facet::Srv | Facet::Https | Facet::Svcb => false,
    };
    let addresses: Vec<Facet> = policy.facets.iter().copied().filter(is_address).collect();
    let alias = policy.facets.iter().copied().filter(|facet| *facet == Facet::Alias);
    if addresses.is_empty() { alias.collect() } else { addresses }
}

/// How many decisions there are to look at.
pub(super) fn decisions(snapshot: &Snapshot) -> usize {
    let policies = (0..snapshot.model.policies.len() as u32).map(PolicyId);
    let each = policies.map(|id| asked_facets(snapshot.model.policy(id)).len() * snapshot.local_classes(id).len());
    each.sum()
}

/// What a policy gives each class that asks for `facet`.
pub(super) fn served(
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
    let mut load = Load { endpoints: vec![0.0; model.endpoints.len()], ..Load::default() };
    let mut defaults = Defaults::of(model);
    for policy in (0..model.policies.len() as u32).map(PolicyId) {
        if weights.names(policy).is_empty() {
            continue;
        }
        let by_class = weights.of_policy(snapshot, policy);
        let facets = asked_facets(model.policy(policy));
        for facet in &facets {
            let part = 1.0 / facets.len() as f64;
            for (decision, classes) in alike(snapshot, policy, *facet) {
                let weight: f64 = classes.iter().map(|class| by_class[usize::from(class.0)]).sum::<f64>() * part;
                match &decision.given {
                    Given::Nodata => load.nothing += weight,
                    Given::Static => {
                        let fixed = defaults.part(snapshot, weights, policy, *facet, &classes) * part;
                        load.fixed += fixed;
                        load.nothing += (weight - fixed).max(0.0);
                    }
                    Given::Endpoints(distribution) => {
                        load.stale += if decision.stale { weight } else { 0.0 };
                        for (endpoint, part) in
                            distribution.parts(|endpoint| model.endpoint(endpoint).stands_alone(*facet))
                        {
                            load.endpoints[endpoint.0 as usize] += weight * part;
                        }
                    }
                }
            }
        }
    }
    load
}

/// The decisions of a policy, each once, with the classes that get it.
fn alike(snapshot: &Snapshot, policy: PolicyId, facet: Facet) -> Vec<(&Decision, Vec<LocalClass>)> {
    let mut found: Vec<(&Decision, Vec<LocalClass>)> = Vec::new();
    let mut places: HashMap<*const Decision, usize> = HashMap::new();
    for (class, decision) in served(snapshot, policy, facet) {
        let at = *places.entry(std::ptr::from_ref(decision)).or_insert_with(|| {
            found.push((decision, Vec::new()));
            found.len() - 1
        });
        found[at].1.push(class);
    }
    found
}

/// Which names have a record in the zone file to fall back on.
pub(super) struct Defaults<'a> {
    model: &'a Model,
    owners: Option<HashSet<(ZoneId, &'a Name, u16)>>,
}

impl<'a> Defaults<'a> {
    pub(super) fn of(model: &'a Model) -> Defaults<'a> {
        Defaults { model, owners: None }
    }

    /// Whether the zone file answers `facet` for a name.
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

    /// How much of what these classes ask of a policy's names the zone file answers.
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
