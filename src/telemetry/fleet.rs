//! The metrics of the fleet.

use crate::control::fleet::FleetReport;
use crate::telemetry::families as family;
use crate::telemetry::text::Exposition;

/// Writes what this node knows of its fleet.
pub(super) fn write(text: &mut Exposition, fleet: &FleetReport) {
    let nats = &fleet.nats;
    text.single(&family::FLEET_CONNECTED, u8::from(nats.is_connected()));
    text.single(&family::FLEET_CONNECTIONS, nats.connections);
    let mut dropped = text.family(&family::FLEET_DROPPED);
    dropped.sample(&["out"], nats.dropped);
    dropped.sample(&["in"], nats.missed);
}
