//! `health.json`: the last reports of the vantages of this process, with the verdicts, the state they rest on, and
//! round-trip times. A start restores what is young enough, and the first probe round confirms or refutes it. The
//! file is a cache: a start does without it, and it has to outlive the process, not the machine.

mod write;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::daemon::clocks::Now;
use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile, WriteOutcome};
use crate::fleet::{Received, Report};
use crate::health::{CheckState, DetectorState, Flaps, HeartbeatState, Observation, RetainedCheck, Rtt, Sign};
use crate::model::heartbeat::MAX_BEAT;
use crate::model::{CheckKey, Doubt, Health, Model};
use crate::source::Problem;

pub(crate) use write::write_reports;

pub(crate) const FILE: StateFile<HealthFile> = StateFile::new(FileInfo {
    name: "health.json",
    version: 1,
    content: "the last known health",
    durability: Durability::Process,
    // It has a metric of its own, which is added to theirs.
    is_counted: false,
});

/// A round-trip time over this in the file is nonsense (judgment: no time-out is longer).
const MAX_RTT: Duration = Duration::from_secs(3600);

/// The last report of each vantage.
#[derive(Debug, Default)]
pub(crate) struct LastReports(Vec<VantageRow>);

/// The content of the file. It is written by [`text`], with a line for each check.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthFile {
    #[expect(dead_code, reason = "`StateFile` has compared it")]
    version: u32,
    vantages: Vec<VantageRow>,
}

/// The report of one vantage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VantageRow {
    name: String,
    /// When, Unix seconds.
    at: f64,
    checks: Vec<CheckRow>,
}

/// Which check it is: kind and target for people, and a hash of the monitor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct CheckName {
    kind: String,
    target: String,
    monitor: String,
}

/// The state of one check. Times in Unix seconds.
#[derive(Debug, Serialize, Deserialize)]
struct CheckRow {
    #[serde(flatten)]
    name: CheckName,
    health: RowHealth,
    /// When the last probe ended, or the last beat came.
    #[serde(rename = "heard_at", default, skip_serializing_if = "Option::is_none")]
    observed_at: Option<f64>,
    /// The ttl of the last beat; none: the service sent a goodbye.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<f64>,
    /// What was left of the ttl.
    #[serde(default, skip_serializing_if = "is_default")]
    alive_for_ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "is_default")]
    failures: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    run: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    srtt_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rttvar_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    held_for_ms: f64,
    #[serde(default, skip_serializing_if = "is_default")]
    flaps: FlapsRow,
    /// Whether its probes succeed and only damping holds it down.
    #[serde(default, skip_serializing_if = "is_default")]
    well: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RowHealth {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct FlapsRow {
    penalty: f64,
    falls: u32,
    held: bool,
}

impl FlapsRow {
    fn of(flaps: &Flaps) -> FlapsRow {
        FlapsRow { penalty: flaps.penalty, falls: flaps.falls, held: flaps.is_damped }
    }
}

impl LastReports {
    /// Reads the file. One that can't be read is reported in `warnings`.
    pub(crate) fn load(state: &StateDir, warnings: &mut Vec<Problem>) -> LastReports {
        let file = state.load_or_set_aside(&FILE, "every endpoint begins unknown", warnings);
        LastReports(file.map_or(Vec::new(), |file| file.vantages))
    }

    /// What a vantage observed of the checks of `model`, as far as it still counts.
    pub(crate) fn of(&self, vantage: &str, model: &Model, now: Now) -> Vec<RetainedCheck> {
        let Some(report) = self.0.iter().find(|report| report.name == vantage) else { return Vec::new() };
        let Some(at) = now.moment_of(report.at) else { return Vec::new() };
        let rows: HashMap<&CheckName, &CheckRow> = report.checks.iter().map(|check| (&check.name, check)).collect();
        let retained = model.checks.iter().filter_map(|check| {
            let observation = rows.get(&CheckName::of(&check.key)?)?.observation(&check.key, now)?;
            Some(RetainedCheck { observation, at, until: at + check.key.monitor.quorum.stale_after })
        });
        let may_count = |check: &RetainedCheck| {
            // The sign of a service has a time of its own.
            now.moment < check.until || check.observation.key.monitor.kind.heartbeat().is_some()
        };
        let retained: Vec<RetainedCheck> = retained.filter(may_count).collect();
        if !retained.is_empty() {
            let age_secs = now.moment.since(at).as_secs();
            tracing::info!(vantage, checks = retained.len(), age_secs, "the last known health is used");
        }
        retained
    }
}

impl CheckName {
    /// The name of a check that has a state of its own; `None` for a composite, whose verdict comes from its parts.
    fn of(key: &CheckKey) -> Option<CheckName> {
        let kind = &key.monitor.kind;
        let mut hasher = SipHasher13::new();
        let target = match kind.heartbeat() {
            // It is the same service whatever monitor judges it.
            Some(spec) => {
                spec.service().hash(&mut hasher);
                format!("{} of {}", spec.endpoint, spec.zone)
            }
            None if kind.is_probed() => {
                key.monitor.hash(&mut hasher);
                key.target.to_string()
            }
            None => return None,
        };
        let monitor = format!("{:016x}", hasher.finish());
        Some(CheckName { kind: kind.as_str().to_owned(), target, monitor })
    }
}

impl CheckRow {
    /// The row of an observation; `None` where nothing is known, or where it was only restored.
    fn of(observation: &Observation, now: Now) -> Option<CheckRow> {
        // While a drill counts a check as lost, `state` is still what was measured, and `health` is not.
        let real = match observation.state? {
            CheckState::Probed(state) => state.health,
            CheckState::Heartbeat(state) => state.health,
        };
        let health = match real {
            Health::Up => RowHealth::Up,
            Health::Down => RowHealth::Down,
            Health::Unknown => return None,
        };
        let empty = CheckRow {
            name: CheckName::of(&observation.key)?,
            health,
            observed_at: observation.probed_at.map(|at| now.unix_of(at)),
            ttl_ms: None,
            alive_for_ms: 0.0,
            why: None,
            failures: 0,
            run: 0,
            srtt_ms: None,
            rttvar_ms: None,
            held_for_ms: 0.0,
            flaps: FlapsRow::default(),
            well: false,
        };
        Some(match observation.state? {
            CheckState::Probed(DetectorState {
                health: _,
                failures,
                run,
                rtt,
                hold_down_left,
                flaps,
                is_up_but_damped,
            }) => {
                CheckRow {
                    // Otherwise it is about damping or suspicion, which are worked out again.
                    why: observation.why.clone().filter(|_| health == RowHealth::Down && !flaps.is_damped),
                    failures,
                    run,
                    srtt_ms: rtt.srtt().map(millis),
                    rttvar_ms: rtt.rttvar().map(millis),
                    held_for_ms: millis(hold_down_left),
                    flaps: FlapsRow::of(&flaps),
                    well: is_up_but_damped,
                    ..empty
                }
            }
            CheckState::Heartbeat(HeartbeatState { health: _, run, last, alive_for, hold_down_left, flaps }) => {
                let ttl = last.and_then(|(_, sign)| match sign {
                    Sign::Alive { ttl } => Some(ttl),
                    Sign::Goodbye => None,
                });
                CheckRow {
                    run,
                    ttl_ms: ttl.map(millis),
                    alive_for_ms: millis(alive_for),
                    held_for_ms: millis(hold_down_left),
                    flaps: FlapsRow::of(&flaps),
                    ..empty
                }
            }
        })
    }

    /// The observation of a row; `None` where the row has an impossible value.
    fn observation(&self, key: &Arc<CheckKey>, now: Now) -> Option<Observation> {
        let health = match self.health {
            RowHealth::Up => Health::Up,
            RowHealth::Down => Health::Down,
        };
        let observed_at = match self.observed_at {
            Some(at) => Some(now.moment_of(at)?),
            None => None,
        };
        let hold_down_left = duration(self.held_for_ms)?;
        let rtt = match (self.srtt_ms, self.rttvar_ms) {
            (Some(srtt), Some(rttvar)) => Rtt::of(rtt(srtt)?, rtt(rttvar)?),
            _ => Rtt::default(),
        };
        let FlapsRow { penalty, falls, held } = self.flaps;
        let flaps = Flaps { penalty, falls, is_damped: held };
        let state = match key.monitor.kind.heartbeat() {
            Some(_) => {
                let sign = match self.ttl_ms {
                    Some(ttl) => Sign::Alive { ttl: duration(ttl)?.min(MAX_BEAT) },
                    None => Sign::Goodbye,
                };
                let (last, alive_for) = (observed_at.map(|at| (at, sign)), duration(self.alive_for_ms)?);
                CheckState::Heartbeat(HeartbeatState { health, run: self.run, last, alive_for, hold_down_left, flaps })
            }
            None => {
                let (failures, run, is_up_but_damped) = (self.failures, self.run, self.well && held);
                CheckState::Probed(DetectorState {
                    health,
                    failures,
                    run,
                    rtt,
                    hold_down_left,
                    flaps,
                    is_up_but_damped,
                })
            }
        };
        let is_measured = key.monitor.kind.measures_rtt();
        Some(Observation {
            key: Arc::clone(key),
            health,
            tried: true,
            srtt: rtt.srtt().filter(|_| is_measured),
            rttvar: rtt.rttvar().filter(|_| is_measured),
            probed_at: observed_at,
            may_change_in: Duration::ZERO,
            why: self.why.clone(),
            hold: None,
            doubt: Doubt::None,
            state: Some(state),
        })
    }
}

/// Has these reports written.
pub(crate) fn put(reports: &[Received], state: &StateDir) -> WriteOutcome {
    state.put_text(&FILE, text(reports, Now::read()))
}

/// The hash by which the file knows a monitor.
#[cfg(test)]
pub(crate) fn monitor_hash(key: &CheckKey) -> String {
    CheckName::of(key).map_or_else(String::new, |name| name.monitor)
}

/// The file's text: JSON with a line for each check.
fn text(reports: &[Received], now: Now) -> String {
    let vantages: Vec<String> = reports.iter().map(|received| text_of(received, now)).collect();
    format!("{{\"version\":{},\"vantages\":[\n{}\n]}}\n", FILE.info.version, vantages.join(",\n"))
}

fn text_of(received: &Received, now: Now) -> String {
    let Report { vantage, observations, .. } = &*received.report;
    let rows = observations.iter().filter_map(|observation| CheckRow::of(observation, now));
    // Plain data can't fail to serialise.
    let lines: Vec<String> = rows.map(|check| serde_json::to_string(&check).unwrap_or_default()).collect();
    let name = serde_json::to_string(&*vantage.name).unwrap_or_default();
    let at = now.unix_of(received.received_at);
    format!("{{\"name\":{name},\"at\":{at},\"checks\":[\n{}\n]}}", lines.join(",\n"))
}

/// Milliseconds to the nanosecond.
fn millis(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

fn duration(millis: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(millis / 1e3).ok()
}

fn rtt(millis: f64) -> Option<Duration> {
    duration(millis).filter(|rtt| *rtt <= MAX_RTT)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
