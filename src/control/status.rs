//! `/v1/status`: the health of every endpoint as each vantage reports it, as plain data. The command line reads the
//! same types back.

mod files;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::ZoneState;
use crate::control::fleet::{FleetReport, SpreadReports};
use crate::control::follow::FollowReport;
use crate::control::leases::{LeaseReport, leases};
use crate::control::overrides::OverrideReport;
use crate::control::regions::{PlaceReport, RegionReport, basis_text, millis, regions};
use crate::control::server::ServerReport;
use crate::control::sources::SourceReport;
use crate::control::unsaved::{DiskState, UnsavedFile};
use crate::drill::DrillStatus;
use crate::model::{
    AdminState, AnswerRdata, Answerable, CheckId, Endpoint, EndpointId, Evidence, Model, Moment, VantageState,
    WorldView,
};
use crate::sinks::SinkReport;
use crate::snapshot::Snapshot;
use crate::source::{Label, Problem};
use crate::wire::Name;

pub use files::FilesStatus;

/// The response of `/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// How many times the files were loaded without an error.
    pub generation: u64,
    /// The zones in the order of the model.
    pub zones: Vec<ZoneStatus>,
    /// Every known vantage.
    pub vantages: Vec<VantageStatus>,
    /// The sources of endpoints that come and go, in the order of the model.
    #[serde(default)]
    pub sources: Vec<SourceReport>,
    /// The last attempt to load the files.
    pub reload: ReloadReport,
    /// The files of the state directory that are not on the disk as they should be; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsaved: Vec<UnsavedFile>,
    /// The fleet that this node belongs to; absent if it is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetReport>,
    /// The sinks of events, in the order of the settings; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkReport>,
    /// The streams that are followed, in the order of the settings; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<FollowReport>,
    /// This server. Only in the response of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerReport>,
    /// The regions, in the order of the settings.
    #[serde(default)]
    pub regions: Vec<PlaceReport>,
    /// The drill that runs; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillStatus>,
    /// Overrides that count for no endpoint, at most 100; absent if all count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle_overrides: Vec<crate::control::idle::IdleOverride>,
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ZoneStatus {
    /// The name, with the final dot.
    pub zone: String,
    /// The steered names, as the policy file writes them.
    pub names: Vec<String>,
    /// The exclusive names, with their leases; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusive: Vec<LeaseReport>,
    /// The endpoints, in the order of the file.
    pub endpoints: Vec<EndpointStatus>,
    /// Which version of its files is served.
    #[serde(default)]
    pub files: FilesStatus,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// Its region, where it has one.
    pub region: Option<String>,
    /// `up`, `down` or `unknown`: up while any address is up.
    pub health: String,
    /// What each vantage reports of each address; empty without a monitor.
    pub verdicts: Vec<CheckReport>,
    /// The addresses that came back recently and have a part of their weight; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ramps: Vec<RampReport>,
    /// The endpoint as each region sees it that measured it, in the order of the regions; absent if none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionReport>,
    /// Present while the health is only the last one that is known: `last_verdicts` if all vantages that report are
    /// blind, `static` if none reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// `drain` or `disabled`, if the policy file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The source that lists it: `discover.NAME`; absent for an endpoint of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The override that counts for the endpoint.
    #[serde(rename = "override")]
    pub overridden: Option<OverrideReport>,
}

/// An address whose weight grows after it came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RampReport {
    /// The endpoint.
    pub endpoint: String,
    /// The address; for a cname the probed one.
    pub address: String,
    /// The part of its weight that it has now, over 0 and under 1.
    pub share: f64,
    /// When it has its whole weight, in milliseconds from now.
    pub full_in_ms: u64,
}

/// What one vantage reports of one address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// The vantage's name.
    pub vantage: String,
    /// The region of the vantage.
    pub region: String,
    /// The address; for a cname the probed one.
    pub address: String,
    /// The monitor, if it belongs to a name; absent if it is the endpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// The smoothed RTT in milliseconds, after a probe succeeded.
    pub rtt_ms: Option<f64>,
    /// How long ago the last probe ended, in milliseconds; absent before the first.
    pub age_ms: Option<u64>,
    /// Why the address is down, or why its last probe failed; absent while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The state of the held connection; absent without `hold = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// One vantage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VantageStatus {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// `up`, `blind` or `stale`.
    pub state: String,
    /// Why it is blind; only while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long ago its last report arrived, in milliseconds; only while it is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// Why the server polls the files for changes; `None` where the operating system reports changes. The thread that
/// watches the files sets it.
pub type Unnoticed = Arc<ArcSwapOption<String>>;

/// How the last attempt to load the files ended.
#[derive(Debug, Clone, Default)]
pub struct ReloadStatus {
    /// Whether all files are served as they were at that time.
    pub ok: bool,
    /// When, in Unix seconds.
    pub at: f64,
    /// The generation that is served since then.
    pub generation: u64,
    /// The errors and warnings. Warnings are also there when `ok` is true.
    pub problems: Vec<Problem>,
    /// Which version of each zone is served since then.
    pub zones: Arc<[ZoneState]>,
    /// Since when the next load is running, in Unix seconds; `None` if none is.
    pub running_since: Option<f64>,
    /// Why the server polls the files for changes, if it does.
    pub unnoticed: Unnoticed,
}

impl ReloadStatus {
    /// The status in the JSON of the API.
    pub(crate) fn report(&self) -> ReloadReport {
        ReloadReport {
            ok: self.ok,
            at: self.at,
            problems: self.problems.iter().map(ProblemReport::from).collect(),
            running_since: self.running_since,
            unnoticed: self.unnoticed.load().as_deref().cloned(),
        }
    }
}

/// [`ReloadStatus`] in the JSON of the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReloadReport {
    /// Whether all files are served as they were at that time.
    pub ok: bool,
    /// When, in Unix seconds.
    pub at: f64,
    /// What was wrong.
    pub problems: Vec<ProblemReport>,
    /// Since when the next load is running, in Unix seconds; absent if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<f64>,
    /// Why the server polls the files for changes; absent if the operating system reports changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnoticed: Option<String>,
}

/// One problem of the files, as `check --format json` prints it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemReport {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// `error` or `warning`.
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// What to do, if there is something to say.
    pub hint: Option<String>,
    /// The line on which it ends, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    /// The column after its last character on that line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// The other places that are part of the problem.
    #[serde(default)]
    pub labels: Vec<LabelReport>,
    /// The section of the manual.
    #[serde(default)]
    pub section: Option<String>,
}

/// Another place that is part of a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LabelReport {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What this place has to do with the problem.
    pub message: String,
}

impl From<&Label> for LabelReport {
    fn from(Label { file, line, column, message }: &Label) -> LabelReport {
        let file = file.display().to_string();
        LabelReport { file, line: *line, column: *column, message: message.clone() }
    }
}

impl From<&Problem> for ProblemReport {
    fn from(problem: &Problem) -> ProblemReport {
        ProblemReport {
            file: problem.file.display().to_string(),
            line: problem.line,
            column: problem.column,
            severity: problem.severity.as_str().to_owned(),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
            end_line: problem.end_line,
            end_column: problem.end_column,
            labels: problem.labels.iter().map(LabelReport::from).collect(),
            section: problem.section.map(str::to_owned),
        }
    }
}

impl Status {
    /// The override of each endpoint that has one, and those that count for none.
    fn overrides(&mut self) -> impl Iterator<Item = &mut OverrideReport> {
        let endpoints = self.zones.iter_mut().flat_map(|zone| &mut zone.endpoints);
        let idle = self.idle_overrides.iter_mut().map(|idle| &mut idle.entry);
        endpoints.filter_map(|endpoint| endpoint.overridden.as_mut()).chain(idle)
    }

    /// Adds what is not on the disk, and which servers of the fleet have the overrides.
    pub(crate) fn complete(&mut self, disk: &DiskState, spread: Option<&SpreadReports>, now: Moment) {
        self.unsaved = disk.unsaved(now);
        disk.complete(self.overrides());
        if let Some(spread) = spread {
            spread(&mut self.overrides());
        }
    }
}

/// The status of a snapshot at `now`.
pub fn status(snapshot: &Snapshot, reload: &ReloadStatus, now: Moment) -> Status {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let zone_states: HashMap<&Name, &ZoneState> = reload.zones.iter().map(|zone| (&zone.apex, zone)).collect();
    let mut by_zone: Vec<Vec<EndpointStatus>> = model.zones.iter().map(|_| Vec::new()).collect();
    for (id, endpoint) in (0..).map(EndpointId).zip(&model.endpoints) {
        by_zone[endpoint.zone.0 as usize].push(endpoint_status(model, view, id, endpoint, now));
    }
    let zone = |(at, endpoints): (usize, Vec<EndpointStatus>)| {
        let zone = &model.zones[at];
        ZoneStatus {
            zone: zone.apex.to_string(),
            names: zone.steered.iter().map(|name| name.label.clone()).collect(),
            exclusive: leases(snapshot, zone),
            endpoints,
            files: files::status_of(zone_states.get(&zone.apex).copied()),
        }
    };
    Status {
        generation: snapshot.generation,
        zones: by_zone.into_iter().enumerate().map(zone).collect(),
        vantages: vantages(model, view, now),
        sources: Vec::new(),
        reload: reload.report(),
        unsaved: Vec::new(),
        fleet: None,
        sinks: Vec::new(),
        follows: Vec::new(),
        server: None,
        regions: model.regions.iter().map(PlaceReport::of).collect(),
        drill: None,
        idle_overrides: Vec::new(),
    }
}

fn endpoint_status(
    model: &Model,
    view: &WorldView,
    id: EndpointId,
    endpoint: &Endpoint,
    now: Moment,
) -> EndpointStatus {
    let verdicts = endpoint.answerables.iter().flat_map(|answerable| {
        answerable.named_checks().flat_map(move |(monitor, check)| {
            let address = judged_address(model, answerable, Some(check));
            view.evidence.of(model, check, now).into_iter().map(move |seen| CheckReport {
                monitor: monitor.map(str::to_owned),
                ..check_report(model, &seen, &address, now)
            })
        })
    });
    let ramps = endpoint
        .answerables
        .iter()
        .flat_map(|side| side.checks().filter_map(move |check| ramp(model, view, (id, side, Some(check)), now)));
    EndpointStatus {
        name: endpoint.name.clone(),
        region: endpoint.region.map(|region| model.region(region).name.clone()),
        health: view.health_of(id, endpoint).as_str().to_owned(),
        verdicts: verdicts.collect(),
        ramps: ramps.collect(),
        regions: regions(model, view, endpoint),
        basis: basis_text(view.basis_of(endpoint)).map(str::to_owned),
        state: match endpoint.state {
            AdminState::Enabled => None,
            AdminState::Drain => Some("drain".to_owned()),
            AdminState::Disabled => Some("disabled".to_owned()),
        },
        source: endpoint.discovered.as_ref().and_then(|of| Some(model.sources.get(of.source as usize)?.shown())),
        overridden: view.override_of(id).map(|over| OverrideReport::from(&**over)),
    }
}

/// The ramp of one address of an endpoint, judged by `check`; `None` if it has its whole weight.
pub(super) fn ramp(
    model: &Model,
    view: &WorldView,
    (id, side, check): (EndpointId, &Answerable, Option<CheckId>),
    now: Moment,
) -> Option<RampReport> {
    let endpoint = model.endpoint(id);
    // The served share is that of the view. Only the remaining time continues to `now`.
    let growth = view.growth(id, endpoint, check, view.at)?;
    Some(RampReport {
        endpoint: endpoint.name.clone(),
        address: judged_address(model, side, check),
        share: growth.share,
        full_in_ms: growth.full.since(now).as_millis() as u64,
    })
}

fn check_report(model: &Model, seen: &Evidence, address: &str, now: Moment) -> CheckReport {
    CheckReport {
        vantage: seen.vantage.to_string(),
        region: model.region(seen.region).name.clone(),
        monitor: None,
        address: address.to_owned(),
        health: seen.health.as_str().to_owned(),
        rtt_ms: seen.rtt.map(millis),
        age_ms: seen.probed_at.map(|at| now.since(at).as_millis() as u64),
        why: seen.why.as_deref().map(str::to_owned),
        hold: seen.hold.map(|hold| hold.as_str().to_owned()),
    }
}

/// The address of one side of an endpoint; for a cname the address of its check. Empty if there is none.
pub(super) fn judged_address(model: &Model, answerable: &Answerable, check: Option<CheckId>) -> String {
    match (&answerable.rdata, check) {
        (AnswerRdata::Address(ip), _) => ip.to_string(),
        (AnswerRdata::Cname(_), Some(check)) => {
            let ip = model.checks[check.0 as usize].key.target.ip();
            ip.map(|ip| ip.to_string()).unwrap_or_default()
        }
        (AnswerRdata::Cname(_), None) => String::new(),
    }
}

fn vantages(model: &Model, view: &WorldView, now: Moment) -> Vec<VantageStatus> {
    let each = view.vantages.iter().map(|vantage| VantageStatus {
        name: vantage.name.to_string(),
        region: model.region(vantage.region).name.clone(),
        state: vantage.state.as_str().to_owned(),
        why: vantage.why.as_deref().map(str::to_owned),
        age_ms: (vantage.state == VantageState::Stale).then(|| now.since(vantage.reported_at).as_millis() as u64),
    });
    each.collect()
}
