//! The names and client classes for which nothing is eligible.

use std::collections::{BTreeMap, HashSet};

use crate::control::explain::class_name;
use crate::control::simulate::load::{self, ZoneFileRecords};
use crate::control::simulate::report::{EmptyAnswer, EmptyClass};
use crate::control::simulate::weights::{Weights, asked_facets};
use crate::model::{ClassId, Facet, MemberRef, Model, OnEmpty, Policy, PolicyId};
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{Decision, Given};

/// Most entries of `empty`; more are counted only. A person acts on the first, and a script on there being any.
const MAX_EMPTY: usize = 10_000;

/// Where nothing is eligible, and how many more there are; `already` holds those of before.
pub(super) fn empty_classes(
    snapshot: &Snapshot,
    weights: &Weights,
    already: &HashSet<(String, String, String)>,
) -> (Vec<EmptyClass>, usize) {
    let model = &*snapshot.model;
    let mut defaults = ZoneFileRecords::of(model);
    let (mut found, mut left_out) = (Vec::new(), 0);
    for policy in (0..model.policies.len() as u32).map(PolicyId) {
        let of_policy = model.policy(policy);
        for (class, clients) in empty_clients(snapshot, policy) {
            for name in weights.names(policy) {
                if found.len() >= MAX_EMPTY {
                    left_out += 1;
                    continue;
                }
                let zone = model.zone(name.0);
                let (zone, name, given) = (
                    zone.apex.to_string(),
                    zone.steered[name.1].label.clone(),
                    given(&clients.decisions, |facet| defaults.has(*name, facet)),
                );
                found.push(EmptyClass {
                    already: already.contains(&(zone.clone(), name.clone(), class.clone())),
                    class: class.clone(),
                    on_empty: on_empty(model, of_policy),
                    given,
                    fence: clients.fence.clone(),
                    types: clients.decisions.iter().map(|(facet, _)| facet.as_str().to_owned()).collect(),
                    partly: clients.partly,
                    zone,
                    name,
                });
            }
        }
    }
    (found, left_out)
}

/// Clients that people call by one name, for some of whom nothing is eligible.
#[derive(Default)]
struct EmptyClients<'a> {
    /// Of one class of those, by type.
    decisions: Vec<(Facet, &'a Decision)>,
    fence: Option<String>,
    /// For others of that name something is.
    partly: bool,
}

/// For whom `on_empty` spoke, or nobody did; by the name of the clients' class.
fn empty_clients(snapshot: &Snapshot, policy: PolicyId) -> BTreeMap<String, EmptyClients<'_>> {
    let mut decisions: BTreeMap<LocalClass, Vec<(Facet, &Decision)>> = BTreeMap::new();
    for facet in asked_facets(snapshot.model.policy(policy)) {
        for (class, decision) in load::served(snapshot, policy, facet) {
            if is_empty(decision) {
                decisions.entry(class).or_default().push((facet, decision));
            }
        }
    }
    let mut clients: BTreeMap<String, EmptyClients<'_>> = BTreeMap::new();
    if decisions.is_empty() {
        return clients;
    }
    let all = (0..snapshot.model.clients.classes.len() as u16).map(ClassId);
    let (empty, others): (Vec<ClassId>, Vec<ClassId>) =
        all.partition(|class| decisions.contains_key(&snapshot.local(policy, *class)));
    for class in empty {
        let of_name = clients.entry(class_name(&snapshot.model, class)).or_default();
        of_name.fence = of_name.fence.take().or_else(|| fence(&snapshot.model, snapshot.model.policy(policy), class));
        if of_name.decisions.is_empty() {
            of_name.decisions = decisions[&snapshot.local(policy, class)].clone();
        }
    }
    for class in others {
        if let Some(of_name) = clients.get_mut(&class_name(&snapshot.model, class)) {
            of_name.partly = true;
        }
    }
    clients
}

fn is_empty(decision: &Decision) -> bool {
    let gives = matches!(decision.given, Given::Endpoints(_));
    !gives || decision.is_on_empty()
}

/// The worst of what is given for the types.
fn given(decisions: &[(Facet, &Decision)], mut is_static: impl FnMut(Facet) -> bool) -> EmptyAnswer {
    let each = decisions.iter().map(|(facet, decision)| match &decision.given {
        Given::Nodata => EmptyAnswer::Nothing,
        Given::Static if is_static(*facet) => EmptyAnswer::Static,
        Given::Static => EmptyAnswer::Nothing,
        Given::Endpoints(_) if decision.stale => EmptyAnswer::Stale,
        Given::Endpoints(_) => EmptyAnswer::Fallback,
    });
    let each: Vec<EmptyAnswer> = each.collect();
    let worst =
        [EmptyAnswer::Nothing, EmptyAnswer::Stale, EmptyAnswer::Static].into_iter().find(|given| each.contains(given));
    worst.unwrap_or(EmptyAnswer::Fallback)
}

/// As the policy file has it.
fn on_empty(model: &Model, policy: &Policy) -> String {
    let entry = |entry: &OnEmpty| match entry {
        OnEmpty::LastGood => "last_good".to_owned(),
        OnEmpty::All => "all".to_owned(),
        OnEmpty::Static => "static".to_owned(),
        OnEmpty::Nodata => "nodata".to_owned(),
        OnEmpty::Other(MemberRef::Endpoint(id)) => model.endpoint(*id).name.clone(),
        OnEmpty::Other(MemberRef::Pool(id)) => model.pool(*id).name.clone(),
    };
    policy.on_empty.iter().map(entry).collect::<Vec<_>>().join(", ")
}

fn fence(model: &Model, policy: &Policy, class: ClassId) -> Option<String> {
    let fence = model.fence(policy.fence?);
    let is_held = model.clients.classes[usize::from(class.0)].is_selected(fence.clients);
    is_held.then(|| fence.name.clone())
}
