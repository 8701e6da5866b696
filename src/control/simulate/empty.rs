//! The names and client classes for which nothing is eligible.

use std::collections::{BTreeMap, HashSet};

use crate::control::explain::class_name;
use crate::control::simulate::load::{self, ZoneFileRecords};
use crate::control::simulate::report::{EmptyAnswer, EmptyClass};
use crate::control::simulate::weights::{Weights, queried_facets};
use crate::model::{ClassId, Facet, MemberRef, Model, OnEmpty, Policy, PolicyId};
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{AnswerSource, Decision};

/// Most entries in the list; more are only counted. A person reads the first ones, and a script needs to know only
/// whether there are any.
const MAX_EMPTY: usize = 10_000;

/// A question for which nothing is eligible: zone, name, class of clients, type.
pub(super) type EmptyQuestion = (String, String, String, String);

/// The classes for which nothing is eligible, and how many more there are. `already` has the questions of the snapshot
/// before. Types with the same answer, and for the same time, are one entry.
pub(super) fn empty_classes(
    snapshot: &Snapshot,
    weights: &Weights,
    already: &HashSet<EmptyQuestion>,
) -> (Vec<EmptyClass>, usize) {
    let model = &*snapshot.model;
    let mut defaults = ZoneFileRecords::of(model);
    let (mut found, mut left_out) = (Vec::new(), 0);
    for policy in (0..model.policies.len() as u32).map(PolicyId) {
        let of_policy = model.policy(policy);
        for (class, clients) in empty_clients(snapshot, policy) {
            for name in weights.names(policy) {
                let of_zone = model.zone(name.0);
                let (zone, label) = (of_zone.apex.to_string(), of_zone.steered[name.1].label.clone());
                let answer = |facet: Facet, decision: &Decision| {
                    let question = (zone.clone(), label.clone(), class.clone(), facet.as_str().to_owned());
                    (answer_of(decision, || defaults.has(*name, facet)), already.contains(&question))
                };
                for ((answer, already), types) in types_by_answer(&clients.decisions, answer) {
                    if found.len() >= MAX_EMPTY {
                        left_out += 1;
                        continue;
                    }
                    found.push(EmptyClass {
                        already,
                        class: class.clone(),
                        on_empty: on_empty(model, of_policy),
                        answer,
                        fence: clients.fence.clone(),
                        types,
                        partly: clients.partly,
                        zone: zone.clone(),
                        name: label.clone(),
                    });
                }
            }
        }
    }
    (found, left_out)
}

/// The types with the same answer, and for the same time, in the order of the decisions.
fn types_by_answer(
    decisions: &[(Facet, &Decision)],
    mut answer: impl FnMut(Facet, &Decision) -> (EmptyAnswer, bool),
) -> Vec<((EmptyAnswer, bool), Vec<String>)> {
    let mut groups: Vec<((EmptyAnswer, bool), Vec<String>)> = Vec::new();
    for (facet, decision) in decisions {
        let (key, rtype) = (answer(*facet, decision), facet.as_str().to_owned());
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, types)) => types.push(rtype),
            None => groups.push((key, vec![rtype])),
        }
    }
    groups
}

/// The clients of one class name. Nothing is eligible for some of them.
#[derive(Default)]
struct EmptyClients<'a> {
    /// The decisions for one of their classes, by type.
    decisions: Vec<(Facet, &'a Decision)>,
    fence: Option<String>,
    /// Whether something is eligible for other clients of that class name.
    partly: bool,
}

/// The clients of a policy for which nothing is eligible, by the name of their class.
fn empty_clients(snapshot: &Snapshot, policy: PolicyId) -> BTreeMap<String, EmptyClients<'_>> {
    let mut decisions: BTreeMap<LocalClass, Vec<(Facet, &Decision)>> = BTreeMap::new();
    for facet in queried_facets(snapshot.model.policy(policy)) {
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
        let same_name = clients.entry(class_name(&snapshot.model, class)).or_default();
        same_name.fence =
            same_name.fence.take().or_else(|| fence(&snapshot.model, snapshot.model.policy(policy), class));
        if same_name.decisions.is_empty() {
            same_name.decisions = decisions[&snapshot.local(policy, class)].clone();
        }
    }
    for class in others {
        if let Some(same_name) = clients.get_mut(&class_name(&snapshot.model, class)) {
            same_name.partly = true;
        }
    }
    clients
}

fn is_empty(decision: &Decision) -> bool {
    let gives = matches!(decision.source, AnswerSource::Endpoints(_));
    !gives || decision.is_on_empty()
}

/// What is answered instead.
fn answer_of(decision: &Decision, is_static: impl FnOnce() -> bool) -> EmptyAnswer {
    match &decision.source {
        AnswerSource::Nodata => EmptyAnswer::Nothing,
        AnswerSource::Static if is_static() => EmptyAnswer::Static,
        AnswerSource::Static => EmptyAnswer::Nothing,
        AnswerSource::Endpoints(_) if decision.stale => EmptyAnswer::Stale,
        AnswerSource::Endpoints(_) => EmptyAnswer::Fallback,
    }
}

/// The `on_empty` of a policy, as the policy file writes it.
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
    let is_fenced = model.clients.classes[usize::from(class.0)].is_selected(fence.clients);
    is_fenced.then(|| fence.name.clone())
}
