//! Metrics of the files: which version of each zone is served, and whether the system reports changes.

use crate::config::{VersionStatus, ZoneState};
use crate::control::ReloadStatus;
use crate::telemetry::families::{Family, LOAD_RUNNING, NOTICED, ZONE_CURRENT, ZONE_REMOVAL, ZONE_SINCE};
use crate::telemetry::text::Exposition;

/// Writes these metrics. `now` is in Unix seconds.
pub(super) fn write(text: &mut Exposition, reload: &ReloadStatus, now: f64) {
    let running = reload.running_since.map_or(0.0, |since| (now - since).max(0.0));
    text.single(&LOAD_RUNNING, running);
    text.single(&NOTICED, u8::from(reload.unnoticed.load().is_none()));
    let mut each = |family: &'static Family, value: &dyn Fn(&ZoneState) -> Option<f64>| {
        let mut samples = text.family(family);
        for zone in reload.zones.iter() {
            if let Some(value) = value(zone) {
                samples.sample(&[&zone.apex.to_string()], value);
            }
        }
    };
    each(&ZONE_CURRENT, &|zone| Some(f64::from(u8::from(matches!(zone.status, VersionStatus::Current)))));
    each(&ZONE_SINCE, &|zone| match zone.status {
        VersionStatus::Current | VersionStatus::LastGood | VersionStatus::Vanished(_, _) => {
            Some(zone.version.as_ref()?.since)
        }
        VersionStatus::Unserved => None,
    });
    each(&ZONE_REMOVAL, &|zone| match zone.status {
        VersionStatus::Vanished(_, until) => Some(until),
        VersionStatus::Current | VersionStatus::LastGood | VersionStatus::Unserved => None,
    });
}
