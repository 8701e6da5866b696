//! Endpoints as each region sees them: the matrix of round-trip times, and who is out of reach for whom; and what a
//! verdict rests on.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Basis, Endpoint, Model, Region, RegionId, WorldView};

/// An endpoint as the vantages of one region see it, by its own monitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RegionReport {
    /// The region.
    pub region: String,
    /// The round-trip time in milliseconds: the median of the region's vantages, to the endpoint's first address that
    /// they measured.
    pub rtt_ms: Option<f64>,
    /// `false` while the endpoint is up and most of the region's vantages can't reach it: it is not given to the
    /// clients of that region, while there is something else for them.
    pub reachable: bool,
}

/// A region and its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlaceReport {
    /// Its name.
    pub name: String,
    /// Latitude, -90 to 90, and longitude, -180 to 180; absent if the settings have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<[f64; 2]>,
}

impl PlaceReport {
    pub(super) fn of(region: &Region) -> PlaceReport {
        let location = region.location.map(|at| [at.latitude, at.longitude]);
        PlaceReport { name: region.name.clone(), location }
    }
}

/// Of each region that measured an endpoint or can't reach it.
pub(super) fn regions(model: &Model, view: &WorldView, endpoint: &Endpoint) -> Vec<RegionReport> {
    let (rtts, unreachable) = (view.rtts_of(endpoint), view.unreachable_from(endpoint));
    let regions: BTreeSet<RegionId> = rtts.iter().map(|(region, _)| *region).chain(unreachable.clone()).collect();
    let report = |region: RegionId| RegionReport {
        region: model.region(region).name.clone(),
        rtt_ms: rtts.iter().find(|(of, _)| *of == region).map(|(_, rtt)| millis(*rtt)),
        reachable: !unreachable.contains(&region),
    };
    regions.into_iter().map(report).collect()
}

/// The word for what a verdict rests on; `None` for votes.
pub(super) fn basis_text(basis: Basis) -> Option<&'static str> {
    match basis {
        Basis::Votes => None,
        Basis::LastVerdicts | Basis::Static => Some(basis.as_str()),
    }
}

/// Why a verdict is only the last one that is known, by the word of [`basis_text`].
pub fn basis_why(basis: &str) -> &'static str {
    match basis == Basis::LastVerdicts.as_str() {
        true => "the last verdict: all vantages that report are blind",
        false => "the last verdict: no vantage reports",
    }
}

/// Milliseconds with three decimals: an RTT is measured in microseconds.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
