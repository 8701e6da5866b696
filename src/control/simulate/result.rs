//! Makes the report of a simulation from the snapshots before and after it.

use std::collections::{HashMap, HashSet};

use crate::control::simulate::change::WorldChange;
use crate::control::simulate::compare;
use crate::control::simulate::empty::empty_classes;
use crate::control::simulate::load::{Load, load, rounded};
use crate::control::simulate::report::{EndpointReport, OverloadedEndpoint, ShareChange, SimulationReport};
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
        let empty = empty_classes(snapshot, weights, &HashSet::new()).0;
        Baseline {
            places: places.collect(),
            empty: empty.into_iter().map(|e| (e.zone, e.name, e.class)).collect(),
            total: weights.total,
            load,
            endpoints,
        }
    }
}

/// The report of `after`, which came of `comparison.next`, beside `base`.
pub(super) fn report(
    base: &Baseline,
    comparison: &Comparison,
    after: &Snapshot,
    changes: &WorldChange,
) -> SimulationReport {
    let (before, next, weights) = (comparison.before, comparison.next, &comparison.weights);
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
    let (empty, empty_left_out) = empty_classes(after, weights, &base.empty);
    SimulationReport {
        exceeded: endpoints.iter().filter_map(exceeded).collect(),
        endpoints,
        empty,
        empty_left_out,
        unanswered: compare::unanswered(before, after, comparison.weights_before(), weights),
        moved: comparison.is_one_model().then(|| share(compare::moved(before, after, weights), weights.total)),
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
