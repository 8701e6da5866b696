//! `/v1/status`: every endpoint as each vantage sees it, as plain data. The keys are the contract's; the CLI reads the
//! same types back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Label, Problem, VersionStatus, ZoneState};
use crate::control::overrides::OverrideReport;
use crate::model::{
    AdminState, AnswerRdata, Answerable, CheckId, Endpoint, EndpointId, Evidence, Model, Moment, VantageState,
    WorldView, ZoneId,
};
use crate::snapshot::Snapshot;
use crate::wire::Name;

/// Everything that is believed, and whether the files are served as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// How many times the files were loaded with success.
    pub generation: u64,
    /// Zones in the order of the model.
    pub zones: Vec<ZoneStatus>,
    /// Every vantage that is known of.
    pub vantages: Vec<VantageStatus>,
    /// The last attempt to load the files.
    pub reload: ReloadReport,
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Its name, with the final dot.
    pub zone: String,
    /// Its steered names, as the policy file writes them.
    pub names: Vec<String>,
    /// Its endpoints, in the order of the file.
    pub endpoints: Vec<EndpointStatus>,
    /// What of its files is served.
    #[serde(default)]
    pub files: FilesStatus,
}

/// What is served of a zone, held against its files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FilesStatus {
    /// `current`; `kept`, the last good version, for the files have errors; `unserved`, for there is no good version; or
    /// `vanished`, the last good version, for the zone or all of its steered names disappeared from the files.
    pub state: String,
    /// When this version was first loaded, in Unix seconds; none where nothing is served.
    pub since: Option<f64>,
    /// Until when what disappeared is served on, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// Its region, where it has one.
    pub region: Option<String>,
    /// `up`, `down` or `unknown`: up while any address is.
    pub health: String,
    /// What each vantage says of each address; none without a monitor.
    pub verdicts: Vec<CheckReport>,
    /// Of each address that came back a moment ago, how much of its weight it has; left out where none has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ramps: Vec<RampReport>,
    /// `drain` or `disabled`, where the policy file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The operator's word over measured health, where there is one.
    #[serde(rename = "override")]
    pub overridden: Option<OverrideReport>,
}

/// An address that has a part of its endpoint's weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RampReport {
    /// The endpoint's name.
    pub endpoint: String,
    /// The address; the probed one where the endpoint is a cname.
    pub address: String,
    /// The part of its weight that it has, over 0 and under 1.
    pub share: f64,
    /// When it has all of it, in milliseconds from now.
    pub full_in_ms: u64,
}

/// What one vantage says of one address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The vantage's name.
    pub vantage: String,
    /// The region it observes from.
    pub region: String,
    /// The address that is judged; the probed one where the endpoint is a cname.
    pub address: String,
    /// The monitor, where it is that of a name; left out where it is the endpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Smoothed RTT in milliseconds, where a probe ever succeeded.
    pub rtt_ms: Option<f64>,
    /// How long ago the last probe ended, in milliseconds; none before the first.
    pub age_ms: Option<u64>,
    /// Why it is held down, or why its last probe failed; left out while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What became of the connection that `hold = true` keeps open; none where none is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// One vantage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VantageStatus {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// `up`, `blind` or `stale`.
    pub state: String,
    /// Why it is blind, in words; only while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long ago its last report came, in milliseconds; only while it is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

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
    /// Why the server polls the files for changes; `None` where the operating system reports changes.
    pub unnoticed: Option<String>,
}

/// [`ReloadStatus`] as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Whether the files as they were then are served.
    pub ok: bool,
    /// When, in Unix seconds.
    pub at: f64,
    /// What was wrong.
    pub problems: Vec<ProblemReport>,
    /// Why changes of the files are only seen every few seconds; left out where the system gives notice of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnoticed: Option<String>,
}

/// One problem of the files, as `check --format json` gives it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What to do, where there is something to say.
    pub hint: Option<String>,
    /// The line that it ends on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    /// The column past its last character there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// The other places that are involved.
    #[serde(default)]
    pub labels: Vec<LabelReport>,
    /// The section of the manual.
    #[serde(default)]
    pub section: Option<String>,
}

/// Another place that is involved in a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelReport {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is there.
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

/// The status of a snapshot at `now`.
pub fn status(snapshot: &Snapshot, reload: &ReloadStatus, now: Moment) -> Status {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let problems = reload.problems.iter().map(ProblemReport::from).collect();
    let standings: HashMap<&Name, &ZoneState> = reload.zones.iter().map(|zone| (&zone.apex, zone)).collect();
    let zone = |at: usize| {
        let files = files_status(standings.get(&model.zones[at].apex).copied());
        zone_status(model, view, ZoneId(at as u32), files, now)
    };
    Status {
        generation: snapshot.generation,
        zones: (0..model.zones.len()).map(zone).collect(),
        vantages: vantages(model, view, now),
        reload: ReloadReport { ok: reload.ok, at: reload.at, problems, unnoticed: reload.unnoticed.clone() },
    }
}

/// What the vantages report of a check; nothing where there is none.
pub(crate) fn evidence(check: Option<CheckId>, view: &WorldView) -> &[Evidence] {
    let seen = check.and_then(|check| view.checks.get(check.0 as usize));
    seen.map_or(&[], |seen| &seen.evidence)
}

fn files_status(zone: Option<&ZoneState>) -> FilesStatus {
    // A model that was made without files is what it is.
    let Some(zone) = zone else { return FilesStatus { state: "current".to_owned(), ..FilesStatus::default() } };
    let since = zone.version.as_ref().map(|version| version.since);
    let (since, until) = match zone.status {
        VersionStatus::Current | VersionStatus::LastGood => (since, None),
        VersionStatus::Unserved => (None, None),
        VersionStatus::Vanished(_, until) => (since, Some(until)),
    };
    FilesStatus { state: zone.status.as_str().to_owned(), since, until }
}

fn zone_status(model: &Model, view: &WorldView, id: ZoneId, files: FilesStatus, now: Moment) -> ZoneStatus {
    let zone = model.zone(id);
    let endpoints = (0..).map(EndpointId).zip(&model.endpoints).filter(|(_, endpoint)| endpoint.zone == id);
    ZoneStatus {
        zone: zone.apex.to_string(),
        names: zone.steered.iter().map(|name| name.label.clone()).collect(),
        endpoints: endpoints.map(|(id, endpoint)| endpoint_status(model, view, id, endpoint, now)).collect(),
        files,
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
            let said = evidence(Some(check), view).iter();
            said.map(move |said| CheckReport {
                monitor: monitor.map(str::to_owned),
                ..verdict(model, said, &address, now)
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
        health: view.endpoint(endpoint).as_str().to_owned(),
        verdicts: verdicts.collect(),
        ramps: ramps.collect(),
        state: match endpoint.state {
            AdminState::Enabled => None,
            AdminState::Drain => Some("drain".to_owned()),
            AdminState::Disabled => Some("disabled".to_owned()),
        },
        overridden: view.override_of(id).map(|over| OverrideReport::from(&**over)),
    }
}

/// How far a side of an endpoint that a check judges has come in its ramp.
pub(super) fn ramp(
    model: &Model,
    view: &WorldView,
    (id, side, check): (EndpointId, &Answerable, Option<CheckId>),
    now: Moment,
) -> Option<RampReport> {
    let endpoint = model.endpoint(id);
    // What is served is as of the view; only the time that is left goes on.
    let growth = view.growth(id, endpoint, check, view.at)?;
    Some(RampReport {
        endpoint: endpoint.name.clone(),
        address: judged_address(model, side, check),
        share: growth.share,
        full_in_ms: growth.full.since(now).as_millis() as u64,
    })
}

fn verdict(model: &Model, said: &Evidence, address: &str, now: Moment) -> CheckReport {
    CheckReport {
        vantage: said.vantage.to_string(),
        region: model.region(said.region).name.clone(),
        monitor: None,
        address: address.to_owned(),
        health: said.health.as_str().to_owned(),
        rtt_ms: said.rtt.map(millis),
        age_ms: said.probed_at.map(|at| now.since(at).as_millis() as u64),
        why: said.why.as_deref().map(str::to_owned),
        hold: said.hold.map(|hold| hold.as_str().to_owned()),
    }
}

/// The address of a side of an endpoint, or that of its check where it is a cname; empty where there is none.
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

/// Milliseconds with three decimals: microseconds are as fine as an RTT is measured.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn vantages(model: &Model, view: &WorldView, now: Moment) -> Vec<VantageStatus> {
    let each = view.vantages.iter().map(|vantage| VantageStatus {
        name: vantage.name.to_string(),
        region: model.region(vantage.region).name.clone(),
        state: vantage.state.as_str().to_owned(),
        why: vantage.why.as_deref().map(str::to_owned),
        age_ms: (vantage.state == VantageState::Stale).then(|| now.since(vantage.heard_at).as_millis() as u64),
    });
    each.collect()
}
