//! Makes the report of a simulation from the snapshots before and after it.

use std::collections::{HashMap, HashSet};

use crate::control::simulate::change::WorldChange;
use crate::control::simulate::compare;
use crate::control::simulate::empty::{EmptyQuestion, empty_classes};
use crate::control::simulate::load::{Load, load, rounded};
use crate::control::simulate::report::{EmptyClass, EndpointReport, OverloadedEndpoint, ShareChange, SimulationReport};
use crate::control::simulate::weights::Weights;
use crate::model::{Endpoint, Model};
use crate::snapshot::Snapshot;

/// What all runs of one request share.
pub(super) struct Comparison<'a> {
    pub(super) before: &'a Snapshot,
    pub(super) next: &'a Snapshot,
    /// The demand on the model of `next`.
    pub(super) weights: Weights,
    /// The demand on the model of `before`, if that is another model.
    pub(super) weights_before: Option<Weights>,
}

impl Comparison<'_> {
    fn is_one_model(&self) -> bool {
        std::ptr::eq(self.before, self.next)
    }

    pub(super) fn weights_before(&self) -> &Weights {
        self.weights_before.as_ref().unwrap_or(&self.weights)
    }
}

/// The snapshot before, added up once for all runs of a request.
pub(super) struct Baseline {
    load: Load,
    total: f64,
    positions: HashMap<(String, String), usize>,
    empty: HashSet<EmptyQuestion>,
    endpoints: Vec<(EndpointReport, f64)>,
}

impl Baseline {
    pub(super) fn of(snapshot: &Snapshot, weights: &Weights) -> Baseline {
        let model = &*snapshot.model;
        let load = load(snapshot, weights);
        let endpoints: Vec<(EndpointReport, f64)> =
            model.endpoints.iter().zip(&load.endpoints).map(|(e, load)| (without_load(model, e), *load)).collect();
        let positions = endpoints.iter().enumerate().map(|(at, (e, _))| ((e.zone.clone(), e.endpoint.clone()), at));
        let empty = empty_classes(snapshot, weights, &HashSet::new()).0;
        Baseline {
            positions: positions.collect(),
            empty: empty.into_iter().flat_map(questions).collect(),
            total: weights.total,
            load,
            endpoints,
        }
    }
}

fn questions(empty: EmptyClass) -> impl Iterator<Item = EmptyQuestion> {
    let EmptyClass { zone, name, class, types, .. } = empty;
    types.into_iter().map(move |rtype| (zone.clone(), name.clone(), class.clone(), rtype))
}

/// Reports the comparison of `after` with `base`. `after` is `comparison.next` after `change`.
pub(super) fn report(
    base: &Baseline,
    comparison: &Comparison,
    after: &Snapshot,
    change: &WorldChange,
) -> SimulationReport {
    let (before, next, weights) = (comparison.before, comparison.next, &comparison.weights);
    let model = &*after.model;
    let loaded = load(after, weights);
    let split = |of: fn(&Load) -> f64| ShareChange {
        before: share(of(&base.load), base.total),
        after: share(of(&loaded), weights.total),
    };
    let endpoints = endpoint_rows(base, model, &loaded, weights);
    let (empty, empty_left_out) = empty_classes(after, weights, &base.empty);
    SimulationReport {
        exceeded: endpoints.iter().filter_map(overload).collect(),
        endpoints,
        empty,
        empty_left_out,
        unanswered: compare::unanswered(before, after, comparison.weights_before(), weights),
        moved: comparison.is_one_model().then(|| share(compare::moved(before, after, weights), weights.total)),
        lost: change.lost.clone(),
        overrides: change.overrides.clone(),
        demand: weights.description.clone(),
        qps: weights.is_rate.then_some(weights.total),
        fixed: split(|load| load.fixed),
        nodata: split(|load| load.nothing),
        stale: split(|load| load.stale),
        generation: next.generation,
        notes: change.notes.clone(),
    }
}

/// The endpoints before and after: those of `base` in their order, then those that only the new model has.
fn endpoint_rows(base: &Baseline, model: &Model, loaded: &Load, weights: &Weights) -> Vec<EndpointReport> {
    let mut rows: Vec<(EndpointReport, f64, f64)> =
        base.endpoints.iter().map(|(endpoint, load)| (endpoint.clone(), *load, 0.0)).collect();
    for (endpoint, load) in model.endpoints.iter().zip(&loaded.endpoints) {
        let new = without_load(model, endpoint);
        match base.positions.get(&(new.zone.clone(), new.endpoint.clone())) {
            Some(at) => rows[*at] = (new, rows[*at].1, *load),
            None => rows.push((new, 0.0, *load)),
        }
    }
    let rate = |weight: f64| weights.is_rate.then(|| rounded(weight));
    let reports = rows.into_iter().map(|(endpoint, before, after)| EndpointReport {
        before: share(before, base.total),
        after: share(after, weights.total),
        qps_before: rate(before),
        qps_after: rate(after),
        ..endpoint
    });
    reports.collect()
}

fn share(weight: f64, total: f64) -> f64 {
    if total > 0.0 { rounded(weight / total) } else { 0.0 }
}

/// The report of an endpoint, still without its load.
fn without_load(model: &Model, endpoint: &Endpoint) -> EndpointReport {
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

fn overload(endpoint: &EndpointReport) -> Option<OverloadedEndpoint> {
    let (qps, capacity) = (endpoint.qps_after?, endpoint.capacity?);
    (qps > capacity as f64).then(|| OverloadedEndpoint {
        endpoint: endpoint.endpoint.clone(),
        qps,
        capacity,
        zone: endpoint.zone.clone(),
    })
}
