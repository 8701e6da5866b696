//! What the vantages see of the endpoints of a name.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::explain::{Explanation, ReasonReport, region_name, report};
use crate::control::regions::{basis_text, basis_why, millis};
use crate::control::sources::SourceBoard;
use crate::control::status::{self, RampReport};
use crate::discovery::SourceState;
use crate::model::{EndpointId, Facet, Moment, Policy, Stated};
use crate::snapshot::Snapshot;
use crate::wire::Name;

/// The observation of one vantage for one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceReport {
    /// The endpoint.
    pub endpoint: String,
    /// The address whose health this is; for a cname, the probed address.
    pub address: String,
    /// The vantage.
    pub vantage: String,
    /// The vantage's region.
    pub region: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Smoothed round-trip time in milliseconds, if it was measured.
    pub rtt_ms: Option<f64>,
    /// How long ago the last probe ended, in milliseconds; none before the first.
    pub age_ms: Option<u64>,
    /// The reason of the last failure, while the endpoint is down or suspect.
    pub why: Option<String>,
}

/// The source of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OriginReport {
    /// The endpoint.
    pub endpoint: String,
    /// The source that lists it: `discover.NAME`.
    pub source: String,
    /// Since when, in Unix seconds. Only in the response of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// How old the list is that has it, in milliseconds; 0 while changes are followed. Only in the response of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// The state of the source, if it is not `ok`: `away`, `kept` or `bad`. Only in the response of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Whether the source does not list it any more, and it stays until another one is up.
    #[serde(default)]
    pub withdrawn: bool,
}

impl Explanation {
    /// Adds since when each endpoint that a source lists is listed, and how old the list is at `now`.
    pub(crate) fn add_lists(&mut self, board: &SourceBoard, now: Moment) {
        let Ok(zone) = Name::parse(&self.zone) else { return };
        let (stating, entries) = (board.stating.load(), board.entries.load());
        for origin in &mut self.sources {
            let entry = entries.iter().find(|of| of.report.name == origin.source && of.report.zone == self.zone);
            origin.age_ms = entry.and_then(|of| of.age_ms(now));
            origin.state = entry.filter(|of| of.state != SourceState::Ok).map(|of| of.state.as_str().to_owned());
            let name = origin.source.strip_prefix("discover.").unwrap_or(&origin.source);
            let source = stating.by_source.get(&(zone.clone(), name.to_owned()));
            origin.since = source.and_then(|source| source.since.get(&origin.endpoint).copied());
        }
    }
}

pub(super) fn origins(snapshot: &Snapshot, policy: &Policy) -> Vec<OriginReport> {
    let model = &snapshot.model;
    let origin = |id: &EndpointId| {
        let endpoint = model.endpoint(*id);
        let source = model.sources.get(endpoint.discovered.as_ref()?.source as usize)?.shown();
        let withdrawn = matches!(snapshot.view.stated.get(id), Some(Stated::Leaving { .. }));
        let (endpoint, since, age_ms, state) = (endpoint.name.clone(), None, None, None);
        Some(OriginReport { endpoint, source, since, age_ms, state, withdrawn })
    };
    policy.endpoints.iter().filter_map(origin).collect()
}

pub(super) fn ramps(snapshot: &Snapshot, policy: &Policy, facet: Facet, now: Moment) -> Vec<RampReport> {
    let (model, view) = (&snapshot.model, &snapshot.view);
    let sides =
        policy.endpoints.iter().flat_map(|id| model.endpoint(*id).answering(facet).map(move |side| (*id, side)));
    sides.filter_map(|(id, side)| status::ramp(model, view, (id, side, policy.check_of(id, side)), now)).collect()
}

pub(super) fn last_verdicts(snapshot: &Snapshot, policy: &Policy, facet: Facet) -> Vec<ReasonReport> {
    let model = &snapshot.model;
    let why = |id: &EndpointId| {
        let checks = model.endpoint(*id).answering(facet).filter_map(|side| policy.check_of(*id, side));
        let basis = checks.map(|check| snapshot.view.check(check).basis).max().and_then(basis_text)?;
        Some(report(model, *id, basis_why(basis).to_owned()))
    };
    policy.endpoints.iter().filter_map(why).collect()
}

pub(super) fn evidence(snapshot: &Snapshot, policy: &Policy, facet: Facet, now: Moment) -> Vec<EvidenceReport> {
    let model = &snapshot.model;
    let reports = policy.endpoints.iter().flat_map(|endpoint| {
        let judged = model.endpoint(*endpoint).answering(facet);
        let evidence = judged.flat_map(|side| {
            let check = policy.check_of(*endpoint, side);
            let all = check.map_or_else(Vec::new, |check| snapshot.view.evidence.of(model, check, now));
            all.into_iter().map(move |one| (status::judged_address(model, side, check), one))
        });
        evidence.map(move |(address, one)| EvidenceReport {
            endpoint: model.endpoint(*endpoint).name.clone(),
            address,
            vantage: one.vantage.to_string(),
            region: region_name(model, one.region),
            health: one.health.as_str().to_owned(),
            rtt_ms: one.rtt.map(millis),
            age_ms: one.probed_at.map(|at| now.since(at).as_millis() as u64),
            why: one.why.as_deref().map(str::to_owned),
        })
    });
    reports.collect()
}
