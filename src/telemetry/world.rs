//! Gauges of endpoints and vantages.

use std::time::Duration;

use crate::control::status::evidence;
use crate::model::{
    Answerable, Doubt, Endpoint, EndpointId, Health, Hold, Model, VantageState, VantageView, WorldView,
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
    for (family, doubt) in [(&family::HELD_DOWN, Doubt::HeldDown), (&family::SUSPECT, Doubt::Suspect)] {
        let mut samples = text.family(family);
        for endpoint in &model.endpoints {
            let checks = endpoint.answerables.iter().flat_map(Answerable::checks);
            let mut seen = checks.flat_map(|check| evidence(Some(check), view));
            samples.sample(&[zone_of(endpoint), &endpoint.name], u8::from(seen.any(|seen| seen.doubt == doubt)));
        }
    }
    let mut samples = text.family(&family::RTT);
    let mut rtts = Vec::new();
    for endpoint in &model.endpoints {
        find_rtts(&mut rtts, endpoint, view);
        for (vantage, rtt) in &rtts {
            samples.sample(&[vantage, zone_of(endpoint), &endpoint.name], rtt.as_secs_f64());
        }
    }
    write_vantages(text, model, view);
}

fn write_vantages(text: &mut Exposition, model: &Model, view: &WorldView) {
    for (family, state) in [(&family::VANTAGE_UP, VantageState::Up), (&family::VANTAGE_BLIND, VantageState::Blind)] {
        let mut samples = text.family(family);
        for VantageView { name, region, state: is, .. } in &view.vantages {
            samples.sample(&[name, &model.region(*region).name], u8::from(*is == state));
        }
    }
    let mut samples = text.family(&family::HELD);
    for vantage in &view.vantages {
        samples.sample(&[&vantage.name], held_by(&vantage.name, view));
    }
}

/// Sets `rtts` to the smoothed RTT from each vantage to an endpoint: that of the endpoint's first address that has one.
fn find_rtts<'a>(rtts: &mut Vec<(&'a str, Duration)>, endpoint: &Endpoint, view: &'a WorldView) {
    rtts.clear();
    for seen in endpoint.answerables.iter().flat_map(Answerable::checks).flat_map(|check| evidence(Some(check), view)) {
        if let Some(rtt) = seen.rtt.filter(|_| rtts.iter().all(|(vantage, _)| *vantage != &*seen.vantage)) {
            rtts.push((&*seen.vantage, rtt));
        }
    }
}

/// How many held connections a vantage has (`hold = true`).
fn held_by(vantage: &str, view: &WorldView) -> usize {
    let seen = view.checks.iter().flat_map(|check| &check.evidence);
    seen.filter(|seen| &*seen.vantage == vantage && seen.hold == Some(Hold::Open)).count()
}
