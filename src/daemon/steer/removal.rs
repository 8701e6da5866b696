//! The times at which zones are removed that disappeared from the files.

use std::sync::Arc;

use crate::config::{VersionStatus, ZoneState};

/// The zones with the times of their removal moved by so many seconds.
pub(super) fn with_removals_moved(zones: &Arc<[ZoneState]>, by: f64) -> Arc<[ZoneState]> {
    if by == 0.0 {
        return zones.clone();
    }
    let moved = |zone: &ZoneState| match zone.status {
        VersionStatus::Vanished(what, until) => {
            ZoneState { status: VersionStatus::Vanished(what, until + by), ..zone.clone() }
        }
        VersionStatus::Current | VersionStatus::LastGood | VersionStatus::Unserved => zone.clone(),
    };
    zones.iter().map(moved).collect()
}
