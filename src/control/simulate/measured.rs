//! The measurements of a running server for a model that was loaded elsewhere: its status is read as reports, and the
//! vantages agree on them again. Endpoints are matched by zone, name and address.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::control::overrides::{OverrideReport, state_of, zones_of};
use crate::control::status::{CheckReport, EndpointStatus, Status, VantageStatus, judged_address};
use crate::fleet::{Received, Report, Vantage, agree};
use crate::health::Observation;
use crate::model::quorum::MAX_STALE_AFTER;
use crate::model::{Doubt, Endpoint, EndpointId, Health, Model, Moment, Override, WorldView};

/// The world of `status`, for `model`. An endpoint that `status` lacks counts as up. A vantage counts only if `model`
/// declares its region.
pub fn as_measured(model: &Model, status: &Status) -> WorldView {
    // The time of a report that is older than any `stale_after` must still be after the start of the clock.
    let now = Moment::from_start(2 * MAX_STALE_AFTER);
    let seen = by_name(status);
    let of =
        |endpoint: &Endpoint| seen.get(&(model.zone(endpoint.zone).apex.to_string(), endpoint.name.clone())).copied();
    let report = |vantage: &VantageStatus| {
        let endpoints = model.endpoints.iter();
        let observations = endpoints.flat_map(|e| observations(model, e, of(e), &vantage.name, now)).collect();
        let name = Vantage { name: vantage.name.as_str().into(), region: vantage.region.as_str().into() };
        Report { blind: vantage.why.as_deref().map(Arc::from), ..Report::whole(name, now, observations) }
    };
    let received = |vantage: &VantageStatus| Received {
        report: Arc::new(report(vantage)),
        received_at: now - vantage.age_ms.map_or(Duration::ZERO, Duration::from_millis),
    };
    let reports: Vec<Received> = status.vantages.iter().map(received).collect();
    let overrides = (0..)
        .map(EndpointId)
        .zip(&model.endpoints)
        .filter_map(|(id, endpoint)| Some((id, Arc::new(overridden(of(endpoint)?.overridden.as_ref()?)?))));
    WorldView { overrides: Arc::new(overrides.collect()), ..agree(model, &reports, now) }
}

fn by_name(status: &Status) -> HashMap<(String, String), &EndpointStatus> {
    let zones = status.zones.iter();
    let all = zones.flat_map(|zone| zone.endpoints.iter().map(|e| ((zone.zone.clone(), e.name.clone()), e)));
    all.collect()
}

/// What a vantage reports of the addresses of an endpoint.
fn observations(
    model: &Model,
    endpoint: &Endpoint,
    seen: Option<&EndpointStatus>,
    vantage: &str,
    now: Moment,
) -> Vec<Observation> {
    let sides = endpoint.answerables.iter();
    let all = sides.flat_map(|side| side.named_checks().map(move |(monitor, check)| (side, monitor, check)));
    let observations = all.filter_map(|(side, monitor, check)| {
        let address = judged_address(model, side, Some(check));
        let check = &model.checks[check.0 as usize];
        let is_of = |v: &&CheckReport| v.vantage == vantage && v.address == address && v.monitor.as_deref() == monitor;
        let report = seen?.verdicts.iter().find(is_of)?;
        let health = [Health::Up, Health::Down].into_iter().find(|health| health.as_str() == report.health);
        Some(Observation {
            key: check.key.clone(),
            health: health.unwrap_or_default(),
            tried: health.is_some() || report.age_ms.is_some(),
            srtt: report.rtt_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()),
            rttvar: None,
            probed_at: report.age_ms.map(|age| now - Duration::from_millis(age)),
            may_change_in: Duration::ZERO,
            why: None,
            hold: None,
            doubt: Doubt::None,
            state: None,
        })
    });
    observations.collect()
}

fn overridden(entry: &OverrideReport) -> Option<Override> {
    let zones = zones_of(entry).ok()?;
    let OverrideReport { target, state, why, who, until, zones: _, on_disk: _, fleet: _ } = entry.clone();
    Some(Override { target, state: state_of(&state).ok()?, why, who, until, zones })
}
