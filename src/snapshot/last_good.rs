//! What `on_empty = "last_good"` remembers: the decision before, and over a reload the last good answers of the
//! generation before, in the ids of the new one. A name is the same name when its owner is; an endpoint when its zone and its name are.

use std::collections::HashMap;

use crate::model::{ClassId, EndpointId, Facet, Model, PolicyId, RegionId};
use crate::snapshot::Snapshot;
use crate::steering::{Distribution, Given, Share, Tier};
use crate::wire::Name;

/// What was last given to this class while something was eligible.
pub(crate) fn last_good(from: &Snapshot, policy: PolicyId, class: ClassId, facet: Facet) -> Option<&Distribution> {
    match &from.cell(policy, class, facet)?.decision().given {
        Given::Endpoints(distribution) => Some(distribution),
        Given::Static | Given::Nodata => None,
    }
}

/// From ids of a new model to what the snapshot before it gave.
pub(crate) struct Heritage<'a> {
    from: &'a Snapshot,
    policies: HashMap<PolicyId, PolicyId>,
    classes: Vec<Option<ClassId>>,
    endpoints: HashMap<EndpointId, EndpointId>,
}

impl<'a> Heritage<'a> {
    pub(crate) fn between(from: &'a Snapshot, to: &Model) -> Heritage<'a> {
        Heritage {
            from,
            policies: policies(&from.model, to),
            classes: classes(&from.model, to),
            endpoints: endpoints(&from.model, to),
        }
    }

    /// What was last good for a policy, class and facet of the new model, less the endpoints that are gone.
    pub(crate) fn last_good(&self, policy: PolicyId, class: ClassId, facet: Facet) -> Option<Distribution> {
        let class = self.classes[usize::from(class.0)]?;
        let old = last_good(self.from, *self.policies.get(&policy)?, class, facet)?;
        let share = |share: &Share| {
            let endpoints: Vec<_> = share.endpoints.iter().filter_map(|id| self.endpoints.get(id).copied()).collect();
            (!endpoints.is_empty()).then(|| Share { endpoints, ..share.clone() })
        };
        let tier = |tier: &Tier| Tier { shares: tier.shares.iter().filter_map(share).collect() };
        let tiers: Vec<Tier> = old.tiers.iter().map(tier).filter(|tier| !tier.shares.is_empty()).collect();
        (!tiers.is_empty()).then_some(Distribution { tiers, draws: old.draws, limit: old.limit })
    }
}

/// New policy to the old one of a name with the same owner.
fn policies(from: &Model, to: &Model) -> HashMap<PolicyId, PolicyId> {
    let steered = |model: &Model| -> Vec<(Name, PolicyId)> {
        model.zones.iter().flat_map(|zone| &zone.steered).map(|name| (name.owner.clone(), name.policy)).collect()
    };
    let old: HashMap<Name, PolicyId> = steered(from).into_iter().collect();
    steered(to).into_iter().filter_map(|(owner, policy)| Some((policy, *old.get(&owner)?))).collect()
}

/// New class to the old one of the same region's name.
fn classes(from: &Model, to: &Model) -> Vec<Option<ClassId>> {
    let name_in = |model: &Model, region: Option<RegionId>| region.map(|id| model.region(id).name.clone());
    let old: Vec<_> = from.clients.classes.iter().map(|class| name_in(from, class.region)).collect();
    let of = |region| old.iter().position(|o| *o == name_in(to, region)).map(|at| ClassId(at as u16));
    to.clients.classes.iter().map(|class| of(class.region)).collect()
}

/// Old endpoint to the new one of the same zone and name.
fn endpoints(from: &Model, to: &Model) -> HashMap<EndpointId, EndpointId> {
    let named = |model: &Model| -> Vec<((Name, String), EndpointId)> {
        let ids = (0..model.endpoints.len() as u32).map(EndpointId);
        ids.map(|id| {
            let endpoint = model.endpoint(id);
            ((model.zone(endpoint.zone).apex.clone(), endpoint.name.clone()), id)
        })
        .collect()
    };
    let new: HashMap<_, _> = named(to).into_iter().collect();
    named(from).into_iter().filter_map(|(key, id)| Some((id, *new.get(&key)?))).collect()
}
