//! From the ids of one model to those of the next. A name is the same where its owner is, an endpoint or a pool where
//! its zone and its name are, and a class of clients where its policy describes it in the same words. Pure.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use crate::model::{EndpointId, Facet, Model, PolicyId, PoolId};
use crate::snapshot::classes::PolicyClasses;
use crate::snapshot::{ClassGroup, LocalClass, Snapshot};
use crate::steering::{Decision, Distribution, Share, Tier};
use crate::wire::Name;

/// Keys are from our own files, so a fast hash without a secret is enough.
pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// The class of what holds for every client.
pub(crate) const ANY: &str = "any";

/// Policies of a model.
#[derive(Debug)]
pub(crate) enum PolicySet {
    /// All of them.
    All,
    /// These.
    Some(HashSet<PolicyId>),
}

impl PolicySet {
    pub(crate) fn has(&self, policy: PolicyId) -> bool {
        match self {
            PolicySet::All => true,
            PolicySet::Some(set) => set.contains(&policy),
        }
    }

    pub(crate) fn iter(&self, model: &Model) -> Box<dyn Iterator<Item = PolicyId> + '_> {
        match self {
            PolicySet::All => Box::new((0..model.policies.len() as u32).map(PolicyId)),
            PolicySet::Some(set) => Box::new(set.iter().copied()),
        }
    }
}

/// The endpoints of a model by zone and name.
pub(crate) fn endpoints_by_name(model: &Model) -> Map<(&Name, &str), EndpointId> {
    let endpoints = model.endpoints.iter().zip(0..);
    endpoints.map(|(endpoint, id)| ((&model.zone(endpoint.zone).apex, &*endpoint.name), EndpointId(id))).collect()
}

/// The steered names and pools of a model, by the text of their zone and their own name.
pub(crate) struct Names<'m> {
    zones: Map<String, &'m Name>,
    policies: Map<(&'m Name, &'m str), PolicyId>,
    pools: Map<(&'m Name, &'m str), PoolId>,
}

impl<'m> Names<'m> {
    /// Those whose policy is in `wanted`.
    pub(crate) fn of(model: &'m Model, wanted: &PolicySet) -> Names<'m> {
        let (mut zones, mut policies) = (Map::default(), Map::default());
        for zone in &model.zones {
            let mut names = zone.steered.iter().filter(|name| wanted.has(name.policy)).peekable();
            if names.peek().is_some() {
                zones.insert(zone.apex.to_string(), &zone.apex);
            }
            policies.extend(names.map(|name| ((&zone.apex, name.label.as_str()), name.policy)));
        }
        Names { zones, policies, pools: pools_by_name(model, wanted) }
    }

    /// The apex of a zone, and the policy of a name in it.
    pub(crate) fn policy(&self, zone: &str, name: &str) -> Option<(&'m Name, PolicyId)> {
        let apex = *self.zones.get(zone)?;
        Some((apex, *self.policies.get(&(apex, name))?))
    }

    /// The policy of a name, and one of the pools of its zone.
    pub(crate) fn policy_and_pool(&self, zone: &str, name: &str, pool: &str) -> Option<(PolicyId, PoolId)> {
        let (apex, policy) = self.policy(zone, name)?;
        Some((policy, *self.pools.get(&(apex, pool))?))
    }
}

/// Every pool that one of these policies uses, by its zone, which is its policy's, and its name.
fn pools_by_name<'m>(model: &'m Model, wanted: &PolicySet) -> Map<(&'m Name, &'m str), PoolId> {
    let (mut named, mut seen) = (Map::default(), HashSet::<PoolId, FixedState>::default());
    for policy in wanted.iter(model).map(|id| model.policy(id)) {
        for id in model.pools_below(policy.roots()).filter(|id| seen.insert(*id)) {
            named.insert((&model.zone(policy.zone).apex, model.pool(id).name.as_str()), id);
        }
    }
    named
}

/// From the ids of a model to those of the next one. It holds for all snapshots of the first model.
#[derive(Debug)]
pub(crate) struct Remap {
    /// New policy to old, and the group of the new one.
    policies: Map<PolicyId, (PolicyId, ClassGroup)>,
    /// For an old group and a new one: by new class, the old class with the same words.
    classes: Map<(ClassGroup, ClassGroup), Vec<Option<LocalClass>>>,
    /// Old to new.
    endpoints: Map<EndpointId, EndpointId>,
}

impl Remap {
    /// From the model of `from` to `to`.
    pub(crate) fn between(from: &Snapshot, to: &Model, new_classes: &PolicyClasses) -> Remap {
        let policies: Map<PolicyId, (PolicyId, ClassGroup)> =
            policies(&from.model, to).map(|(new, old)| (new, (old, new_classes.group(new)))).collect();
        let mut classes = Map::default();
        for (&new, &(old, group)) in &policies {
            classes.entry((from.group(old), group)).or_insert_with(|| {
                let old = from.classes.locals(old);
                new_classes.locals(new).labels.iter().map(|label| old.with_label(label)).collect()
            });
        }
        let new = endpoints_by_name(to);
        let old = endpoints_by_name(&from.model).into_iter();
        let endpoints = old.filter_map(|(name, id)| Some((id, *new.get(&name)?))).collect();
        Remap { policies, classes, endpoints }
    }

    /// The decision of `from` for the same clients. Where one decision held for all clients, it held for these.
    pub(crate) fn decision<'a>(
        &self,
        from: &'a Snapshot,
        policy: PolicyId,
        facet: Facet,
        class: LocalClass,
    ) -> Option<&'a Decision> {
        let &(old, group) = self.policies.get(&policy)?;
        let facet = from.policies.get(old)?.iter().find(|of| of.facet == facet)?;
        let same = self.classes.get(&(from.group(old), group))?.get(usize::from(class.0)).copied().flatten();
        let cell = match same {
            Some(class) => facet.cell(class),
            None => facet.cells.first().filter(|_| facet.cells.len() == 1),
        };
        cell.map(|cell| cell.decision())
    }

    /// An old distribution in the new ids, without the endpoints that are gone; `None` where all are.
    pub(crate) fn distribution(&self, old: &Distribution) -> Option<Distribution> {
        let share = |share: &Share| {
            let endpoints: Vec<_> = share.endpoints.iter().filter_map(|id| self.endpoints.get(id).copied()).collect();
            (!endpoints.is_empty()).then(|| Share { endpoints, ..share.clone() })
        };
        let tier = |tier: &Tier| Tier { shares: tier.shares.iter().filter_map(share).collect() };
        let tiers: Vec<Tier> = old.tiers.iter().map(tier).filter(|tier| !tier.shares.is_empty()).collect();
        (!tiers.is_empty()).then_some(Distribution { tiers, blanks: Vec::new(), ..*old })
    }
}

/// New policies, each with the old one of a name with the same owner. Names that share a policy give an item each.
pub(crate) fn policies<'m>(from: &'m Model, to: &'m Model) -> impl Iterator<Item = (PolicyId, PolicyId)> {
    fn steered(model: &Model) -> impl Iterator<Item = (&Name, PolicyId)> {
        model.zones.iter().flat_map(|zone| &zone.steered).map(|name| (&name.owner, name.policy))
    }
    let old: Map<&Name, PolicyId> = steered(from).collect();
    steered(to).filter_map(move |(owner, policy)| Some((policy, *old.get(owner)?)))
}
