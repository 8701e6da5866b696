//! Gauges of the leases of exclusive names.

use crate::control::leases::{LeaseReport, leases};
use crate::snapshot::Snapshot;
use crate::telemetry::families as family;
use crate::telemetry::text::Exposition;

/// Writes these metrics.
pub(super) fn write(text: &mut Exposition, snapshot: &Snapshot) {
    let zones = snapshot.model.zones.iter().map(|zone| (zone.apex.to_string(), leases(snapshot, zone)));
    let zones: Vec<(String, Vec<LeaseReport>)> = zones.filter(|(_, leases)| !leases.is_empty()).collect();
    let all = || zones.iter().flat_map(|(zone, leases)| leases.iter().map(move |lease| (zone.as_str(), lease)));
    let mut samples = text.family(&family::LEASE_EPOCH);
    for (zone, lease) in all() {
        if let Some(epoch) = lease.epoch {
            samples.sample(&[zone, &lease.name], epoch);
        }
    }
    let mut samples = text.family(&family::LEASE_ACTIVE);
    for (zone, lease) in all().filter(|(_, lease)| !lease.endpoint.is_empty()) {
        samples.sample(&[zone, &lease.name, &lease.endpoint], 1);
    }
    let mut samples = text.family(&family::LEASE_HOLDER);
    all().for_each(|(zone, lease)| samples.sample(&[zone, &lease.name], u8::from(lease.is_holder)));
    let mut samples = text.family(&family::LEASE_STORE_UP);
    all().for_each(|(zone, lease)| samples.sample(&[zone, &lease.name], u8::from(lease.holder.is_some())));
}
