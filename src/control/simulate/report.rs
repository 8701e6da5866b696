//! The result as plain data: the contract's keys first. The server writes it as JSON, the command line reads it back.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::control::explain::class_name;
use crate::control::simulate::Comparison;
use crate::control::simulate::change::WorldChange;
use crate::control::simulate::compare;
use crate::control::simulate::demand::Weights;
use crate::control::simulate::load::{self, Load, ZoneFileRecords, load, rounded};
use crate::control::unanswered::UnansweredQuestions;
use crate::model::{ClassId, Endpoint, Facet, MemberRef, Model, OnEmpty, Policy, PolicyId};
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{self, Decision};

/// Most entries of `empty`; more are counted only. A person acts on the first, and a script on there being any.
const MAX_EMPTY: usize = 10_000;

/// What would become of the answers. Shares are of all questions, 0 to 1: those of all endpoints, `static` and `nodata`
/// add up to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulationReport {
    /// Every endpoint, in the order of the files.
    pub endpoints: Vec<EndpointReport>,
    /// Those that would get more than they can take; none where queries a second are not known.
    pub exceeded: Vec<OverloadedEndpoint>,
    /// Clients of a name for whom nothing would be eligible.
    pub empty: Vec<EmptyClass>,
    /// How many more of those there are.
    pub empty_left_out: usize,
    /// Who has an answer now and would have none.
    #[serde(flatten)]
    pub unanswered: UnansweredQuestions,
    /// The share of all questions that would be answered by somebody else; none where another policy is compared.
    pub moved: Option<f64>,
    /// What was lost.
    pub lost: Vec<String>,
    /// What was said, as `TARGET=STATE`.
    #[serde(rename = "override")]
    pub said: Vec<String>,
    /// The demand, in words.
    pub demand: String,
    /// Queries a second; none where they are not known.
    pub qps: Option<f64>,
    /// The share that is answered with the zone file's records.
    #[serde(rename = "static")]
    pub fixed: ShareChange,
    /// The share that gets an empty answer.
    pub nodata: ShareChange,
    /// The share that gets what was last good: part of what endpoints get.
    pub stale: ShareChange,
    /// The generation of the files that is served.
    pub generation: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A share of all questions before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShareChange {
    /// As things are.
    pub before: f64,
    /// As they would be.
    pub after: f64,
}

/// One endpoint's share of the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// Its name.
    pub endpoint: String,
    /// Its share as things are, 0 to 1.
    pub before: f64,
    /// Its share as it would be.
    pub after: f64,
    /// Its zone.
    pub zone: String,
    /// Its region.
    pub region: Option<String>,
    /// Answers a second that it can take.
    pub capacity: Option<u64>,
    /// Queries a second that it gets as things are, where they are known.
    pub qps_before: Option<f64>,
    /// Queries a second that it would get.
    pub qps_after: Option<f64>,
}

/// An endpoint that would get more than it can take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverloadedEndpoint {
    /// Its name.
    pub endpoint: String,
    /// Queries a second that it would get.
    pub qps: f64,
    /// What it can take.
    pub capacity: u64,
    /// Its zone.
    pub zone: String,
}

/// Clients of one class, for whom nothing is eligible at a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmptyClass {
    /// The name as the policy file has it.
    pub name: String,
    /// The class of the clients.
    pub class: String,
    /// What the policy says for this case.
    pub on_empty: String,
    /// What they get.
    pub given: EmptyAnswer,
    /// The fence that holds them, where there is one.
    pub fence: Option<String>,
    /// For which types: `A`, `AAAA`, `CNAME`, `SRV`, `HTTPS`, `SVCB`.
    pub types: Vec<String>,
    /// The name's zone.
    pub zone: String,
    /// Whether it is so already.
    pub already: bool,
    /// Whether it is so for some of these clients only.
    pub partly: bool,
}

/// What is answered where nothing is eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyAnswer {
    /// An empty answer.
    Nothing,
    /// What was last good.
    Stale,
    /// The zone file's records.
    Static,
    /// Every endpoint, or another pool.
    Fallback,
}

/// As things are.
pub(super) struct Baseline {
    load: Load,
    total: f64,
    places: HashMap<(String, String), usize>,
    empty: HashSet<(String, String, String)>,
    endpoints: Vec<(EndpointReport, f64)>,
}

impl Baseline {
    pub(super) fn of(snapshot: &Snapshot, weights: &Weights) -> Baseline {
        let model = &*snapshot.model;
        let load = load(snapshot, weights);
        let endpoints: Vec<(EndpointReport, f64)> =
            model.endpoints.iter().zip(&load.endpoints).map(|(e, load)| (unloaded(model, e), *load)).collect();
        let places = endpoints.iter().enumerate().map(|(at, (e, _))| ((e.zone.clone(), e.endpoint.clone()), at));
        let empty = empties(snapshot, weights, &HashSet::new()).0;
        Baseline {
            places: places.collect(),
            empty: empty.into_iter().map(|e| (e.zone, e.name, e.class)).collect(),
            total: weights.total,
            load,
            endpoints,
        }
    }
}

/// The report of `after`, which came of `scene.next`, beside `base`.
pub(super) fn report(base: &Baseline, scene: &Comparison, after: &Snapshot, changes: &WorldChange) -> SimulationReport {
    let (before, next, weights) = (scene.before, scene.next, &scene.weights);
    let model = &*after.model;
    let loaded = load(after, weights);
    let share = |weight: f64, total: f64| if total > 0.0 { rounded(weight / total) } else { 0.0 };
    let split = |of: fn(&Load) -> f64| ShareChange {
        before: share(of(&base.load), base.total),
        after: share(of(&loaded), weights.total),
    };
    let rate = |weight: f64| weights.is_rate.then(|| rounded(weight));

    let mut rows: Vec<(EndpointReport, f64, f64)> =
        base.endpoints.iter().map(|(endpoint, load)| (endpoint.clone(), *load, 0.0)).collect();
    for (endpoint, load) in model.endpoints.iter().zip(&loaded.endpoints) {
        let new = unloaded(model, endpoint);
        match base.places.get(&(new.zone.clone(), new.endpoint.clone())) {
            Some(at) => rows[*at] = (new, rows[*at].1, *load),
            None => rows.push((new, 0.0, *load)),
        }
    }
    let endpoints: Vec<EndpointReport> = rows
        .into_iter()
        .map(|(endpoint, before, after)| EndpointReport {
            before: share(before, base.total),
            after: share(after, weights.total),
            qps_before: rate(before),
            qps_after: rate(after),
            ..endpoint
        })
        .collect();
    let (empty, empty_left_out) = empties(after, weights, &base.empty);
    SimulationReport {
        exceeded: endpoints.iter().filter_map(exceeded).collect(),
        endpoints,
        empty,
        empty_left_out,
        unanswered: compare::unanswered(before, after, scene.of_before(), weights),
        moved: scene.is_same().then(|| share(compare::moved(before, after, weights), weights.total)),
        lost: changes.lost.clone(),
        said: changes.said.clone(),
        demand: weights.told.clone(),
        qps: weights.is_rate.then_some(weights.total),
        fixed: split(|load| load.fixed),
        nodata: split(|load| load.nothing),
        stale: split(|load| load.stale),
        generation: next.generation,
        notes: changes.notes.clone(),
    }
}

fn unloaded(model: &Model, endpoint: &Endpoint) -> EndpointReport {
    EndpointReport {
        endpoint: endpoint.name.clone(),
        zone: model.zone(endpoint.zone).apex.to_string(),
        region: endpoint.region.map(|region| model.region(region).name.clone()),
        capacity: endpoint.capacity,
        before: 0.0,
        after: 0.0,
        qps_before: None,
        qps_after: None,
    }
}

fn exceeded(endpoint: &EndpointReport) -> Option<OverloadedEndpoint> {
    let (qps, capacity) = (endpoint.qps_after?, endpoint.capacity?);
    (qps > capacity as f64).then(|| OverloadedEndpoint {
        endpoint: endpoint.endpoint.clone(),
        qps,
        capacity,
        zone: endpoint.zone.clone(),
    })
}

/// Where nothing is eligible, and how many more there are; `already` holds those of before.
fn empties(
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
    for facet in load::asked_facets(snapshot.model.policy(policy)) {
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
    let gives = matches!(decision.given, steering::Given::Endpoints(_));
    !gives || decision.is_on_empty()
}

/// The worst of what is given for the types.
fn given(decisions: &[(Facet, &Decision)], mut is_static: impl FnMut(Facet) -> bool) -> EmptyAnswer {
    let each = decisions.iter().map(|(facet, decision)| match &decision.given {
        steering::Given::Nodata => EmptyAnswer::Nothing,
        steering::Given::Static if is_static(*facet) => EmptyAnswer::Static,
        steering::Given::Static => EmptyAnswer::Nothing,
        steering::Given::Endpoints(_) if decision.stale => EmptyAnswer::Stale,
        steering::Given::Endpoints(_) => EmptyAnswer::Fallback,
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
