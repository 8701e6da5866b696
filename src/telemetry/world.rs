//! Gauges of endpoints and vantages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Answerable, Check, CheckId, Doubt, Endpoint, EndpointId, Health, Hold, Model, VantageState, VantageView, WorldView,
};
use crate::snapshot::Snapshot;
use crate::telemetry::families as family;
use crate::telemetry::text::Exposition;

/// Writes these metrics.
pub(super) fn write(text: &mut Exposition, snapshot: &Snapshot) {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let zones: Vec<String> = model.zones.iter().map(|zone| zone.apex.to_string()).collect();
    let zone_of = |endpoint: &Endpoint| zones[endpoint.zone.0 as usize].as_str();
    let mut samples = text.family(&family::ENDPOINT_UP);
    for endpoint in &model.endpoints {
        let region = endpoint.region.map_or("", |region| &model.region(region).name);
        let up = view.endpoint(endpoint) == Health::Up;
        samples.sample(&[zone_of(endpoint), &endpoint.name, region], u8::from(up));
    }
    let mut samples = text.family(&family::OVERRIDDEN);
    for (id, endpoint) in (0..).map(EndpointId).zip(&model.endpoints) {
        if let Some(over) = view.override_of(id) {
            samples.sample(&[zone_of(endpoint), &endpoint.name, over.state.as_str()], 1);
        }
    }
    let seen = Seen::of(model, view);
    for (family, doubt) in [(&family::HELD_DOWN, Doubt::HeldDown), (&family::SUSPECT, Doubt::Suspect)] {
        let mut samples = text.family(family);
        for (endpoint, seen) in model.endpoints.iter().zip(&seen.endpoints) {
            samples.sample(&[zone_of(endpoint), &endpoint.name], u8::from(seen.doubts.contains(&doubt)));
        }
    }
    let mut samples = text.family(&family::RTT);
    let is_shown = view.vantages.len() * model.endpoints.len() <= MAX_RTTS;
    for (endpoint, seen) in model.endpoints.iter().zip(&seen.endpoints).filter(|_| is_shown) {
        for (vantage, rtt) in &seen.rtts {
            samples.sample(&[vantage, zone_of(endpoint), &endpoint.name], rtt.as_secs_f64());
        }
    }
    let mut samples = text.family(&family::REGION_RTT);
    for endpoint in &model.endpoints {
        for (region, rtt) in view.rtts_of(endpoint) {
            let region = &model.region(region).name;
            samples.sample(&[region, zone_of(endpoint), &endpoint.name], rtt.as_secs_f64());
        }
    }
    let mut samples = text.family(&family::REGION_UNREACHABLE);
    for endpoint in &model.endpoints {
        for region in view.unreachable_from(endpoint) {
            samples.sample(&[&model.region(region).name, zone_of(endpoint), &endpoint.name], 1);
        }
    }
    write_vantages(text, model, view, &seen);
}

fn write_vantages(text: &mut Exposition, model: &Model, view: &WorldView, seen: &Seen) {
    for (family, state) in [(&family::VANTAGE_UP, VantageState::Up), (&family::VANTAGE_BLIND, VantageState::Blind)] {
        let mut samples = text.family(family);
        for VantageView { name, region, state: is, .. } in &view.vantages {
            samples.sample(&[name, &model.region(*region).name], u8::from(*is == state));
        }
    }
    let mut samples = text.family(&family::HELD);
    for vantage in &view.vantages {
        samples.sample(&[&vantage.name], seen.held.get(&vantage.name).copied().unwrap_or_default());
    }
}

/// Most round-trip times by vantage; where there may be more, those by region have to do. Judgment: 10 MB of text. A
/// scrape of 50 vantages with 10,000 endpoints would have 50 MB, from every server.
const MAX_RTTS: usize = 100_000;

/// What the vantages report, as far as there are metrics of it.
struct Seen {
    /// By endpoint.
    endpoints: Vec<SeenChecks>,
    /// How many held connections a vantage has (`hold = true`).
    held: HashMap<Arc<str>, usize>,
}

#[derive(Default)]
struct SeenChecks {
    doubts: Vec<Doubt>,
    /// The smoothed RTT from each vantage: that of the first check that has one.
    rtts: Vec<(Arc<str>, Duration)>,
}

impl Seen {
    fn of(model: &Model, view: &WorldView) -> Seen {
        let mut held: HashMap<Arc<str>, usize> = HashMap::new();
        let check = |(check, id): (&Check, u32)| {
            let mut of_check = SeenChecks::default();
            for seen in view.evidence.of(model, CheckId(id), view.at) {
                // A composite has the connections of its parts.
                if seen.hold == Some(Hold::Open) && check.parts.is_empty() {
                    *held.entry(seen.vantage.clone()).or_default() += 1;
                }
                of_check.add([seen.doubt], seen.rtt.map(|rtt| (seen.vantage, rtt)));
            }
            of_check
        };
        let checks: Vec<SeenChecks> = model.checks.iter().zip(0..).map(check).collect();
        let endpoint = |endpoint: &Endpoint| {
            let mut of_endpoint = SeenChecks::default();
            for check in endpoint.answerables.iter().flat_map(Answerable::checks) {
                let SeenChecks { doubts, rtts } = &checks[check.0 as usize];
                of_endpoint.add(doubts.iter().copied(), rtts.iter().cloned());
            }
            of_endpoint
        };
        Seen { endpoints: model.endpoints.iter().map(endpoint).collect(), held }
    }
}

impl SeenChecks {
    fn add(&mut self, doubts: impl IntoIterator<Item = Doubt>, rtts: impl IntoIterator<Item = (Arc<str>, Duration)>) {
        for doubt in doubts {
            if !self.doubts.contains(&doubt) {
                self.doubts.push(doubt);
            }
        }
        for (vantage, rtt) in rtts {
            if self.rtts.iter().all(|(known, _)| *known != vantage) {
                self.rtts.push((vantage, rtt));
            }
        }
    }
}
