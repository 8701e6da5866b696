//! The metrics of the fleet.

use crate::control::fleet::{EventsReport, FleetReport, OverridesReport};
use crate::telemetry::families as family;
use crate::telemetry::text::Exposition;

/// Writes what this node knows of its fleet.
pub(super) fn write(text: &mut Exposition, fleet: &FleetReport) {
    let FleetReport { nats, targets, overrides, vantages, refused_strangers, .. } = fleet;
    text.single(&family::FLEET_CONNECTED, u8::from(nats.is_connected()));
    text.single(&family::FLEET_CONNECTIONS, nats.connections);
    let mut dropped = text.family(&family::FLEET_DROPPED);
    dropped.sample(&["out"], nats.dropped);
    dropped.sample(&["in"], nats.missed);
    dropped.sample(&["overtaken"], fleet.reports_overtaken);
    text.single(&family::FLEET_TARGETS_CURRENT, u8::from(targets.is_current()));
    let mut checks = text.family(&family::FLEET_TARGETS);
    checks.sample(&["probed"], targets.checks);
    checks.sample(&["not_allowed"], targets.not_allowed);
    checks.sample(&["refused"], targets.refused);
    checks.sample(&["left_out"], targets.left_out);
    let mut left_out = text.family(&family::FLEET_LEFT_OUT);
    for of in &targets.left_out_zones {
        left_out.sample(&[&of.zone], of.checks);
    }
    text.single(&family::FLEET_DIFFERING, targets.differing.len());
    if let Some(overrides) = overrides {
        write_overrides(text, overrides);
    }
    text.single(&family::FLEET_REPORTS_SENT, fleet.reports_sent);
    let mut messages = text.family(&family::FLEET_REPORTS);
    for vantage in vantages {
        messages.sample(&[&vantage.name, &vantage.region], vantage.messages);
    }
    let mut octets = text.family(&family::FLEET_REPORT_OCTETS);
    for vantage in vantages {
        octets.sample(&[&vantage.name, &vantage.region], vantage.octets);
    }
    let mut gaps = text.family(&family::FLEET_GAPS);
    for vantage in vantages {
        gaps.sample(&[&vantage.name, &vantage.region], vantage.gaps);
    }
    let mut refused = text.family(&family::FLEET_REFUSED);
    for vantage in vantages {
        for (reason, count) in &vantage.refused {
            refused.sample(&[&vantage.name, reason], count);
        }
    }
    // An unknown name could be any text, so it is no label.
    for (reason, count) in refused_strangers {
        refused.sample(&["", reason], count);
    }
    text.single(&family::FLEET_REFUSED_BEATS, fleet.refused_beats);
    if let Some(events) = &fleet.events {
        write_events(text, events);
    }
}

fn write_events(text: &mut Exposition, events: &EventsReport) {
    text.single(&family::FLEET_EVENTS_WAITING, events.waiting);
    text.single(&family::FLEET_EVENTS_ACKNOWLEDGED, events.acknowledged);
    text.single(&family::FLEET_EVENTS_LOST, events.lost);
    let mut last = text.family(&family::FLEET_EVENTS_LAST);
    for node in &events.nodes {
        last.sample(&[&node.node], node.last);
    }
    let mut missing = text.family(&family::FLEET_EVENTS_MISSING);
    for node in &events.nodes {
        missing.sample(&[&node.node], node.missing);
    }
    let mut refused = text.family(&family::FLEET_EVENTS_REFUSED);
    for (reason, count) in &events.refused {
        refused.sample(&[reason], count);
    }
}

fn write_overrides(text: &mut Exposition, overrides: &OverridesReport) {
    text.single(&family::FLEET_OVERRIDES_CURRENT, u8::from(overrides.state == "current"));
    text.single(&family::FLEET_OVERRIDES_PENDING, overrides.pending);
    text.single(&family::FLEET_OVERRIDES_REVISION, overrides.revision);
    text.single(&family::FLEET_OVERRIDES_REFUSED, overrides.refused);
    let mut servers = text.family(&family::FLEET_OVERRIDES_SERVERS);
    for state in ["current", "behind", "silent"] {
        servers.sample(&[state], overrides.servers.iter().filter(|server| server.state == state).count());
    }
}
