//! What the vantages of this process last believed, kept over a restart in `health.json`: verdicts, what they rest on,
//! and round-trip times. A start goes on from what is young enough, and the first probe round confirms or refutes it. It
//! is a cache: a file that can't be read is told of and left, and it needs to outlive the process, not the machine.

mod keep;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::clock;
use crate::config::{Problem, Severity};
use crate::daemon::store::{KeptFile, Store, Unreadable};
use crate::fleet::{Received, Report};
use crate::health::{CheckState, DetectorState, Flaps, HeartbeatState, Observation, RetainedCheck, Rtt, Sign};
use crate::model::heartbeat::MAX_BEAT;
use crate::model::{CheckKey, Doubt, Health, Model, Moment};

pub(crate) use keep::keep;

/// The file in the state directory.
const FILE: KeptFile = KeptFile { name: "health.json", version: 1, holds: "the last known health" };

/// A round-trip time over this in the file is nonsense (judgment: no time-out is longer).
const MAX_RTT: Duration = Duration::from_secs(3600);

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) moment: Moment,
    pub(crate) unix: f64,
}

/// The last report of each vantage that was kept.
#[derive(Debug, Default)]
pub(crate) struct LastReports(Vec<KeptReport>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[expect(dead_code, reason = "the store has looked at it")]
    version: u32,
    vantages: Vec<KeptReport>,
}

/// What one vantage believed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptReport {
    name: String,
    /// When, Unix seconds.
    at: f64,
    checks: Vec<KeptCheck>,
}

/// Which check it is: the kind and the target for people, and what tells one monitor from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct CheckName {
    kind: String,
    target: String,
    monitor: String,
}

/// What was believed of one check. Times in Unix seconds.
#[derive(Debug, Serialize, Deserialize)]
struct KeptCheck {
    #[serde(flatten)]
    name: CheckName,
    health: KeptHealth,
    /// When the last probe ended, or the last beat came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard_at: Option<f64>,
    /// How long the last beat was for; none: the service said goodbye.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<f64>,
    /// What was left of that.
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
    flaps: KeptFlaps,
    /// Whether its probes say up, and it is only held down for flapping.
    #[serde(default, skip_serializing_if = "is_default")]
    well: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeptHealth {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct KeptFlaps {
    penalty: f64,
    falls: u32,
    held: bool,
}

impl KeptFlaps {
    fn of(flaps: &Flaps) -> KeptFlaps {
        KeptFlaps { penalty: flaps.penalty, falls: flaps.falls, held: flaps.is_damped }
    }
}

impl Now {
    /// What both clocks say now.
    pub(crate) fn read() -> Now {
        Now { moment: clock::now(), unix: clock::unix_seconds() }
    }

    /// A moment as Unix seconds, to the millisecond.
    pub(crate) fn unix_of(self, moment: Moment) -> f64 {
        let unix = self.unix - self.moment.since(moment).as_secs_f64() + moment.since(self.moment).as_secs_f64();
        (unix * 1e3).round() / 1e3
    }

    /// The moment of a Unix time; `None` where that is still to come, as the wall's clock was set meanwhile.
    pub(crate) fn moment_of(self, unix: f64) -> Option<Moment> {
        Duration::try_from_secs_f64(self.unix - unix).ok().map(|age| self.moment - age)
    }
}

impl LastReports {
    /// Reads what was kept; what is wrong with it is added to `warnings`.
    pub(crate) fn load(store: &Store, warnings: &mut Vec<Problem>) -> LastReports {
        match store.load::<Kept>(&FILE) {
            Ok(kept) => LastReports(kept.map_or(Vec::new(), |kept| kept.vantages)),
            Err(Unreadable { path, why, holds }) => {
                let message = format!("{why}; {holds} is lost with it, and every endpoint begins unknown");
                warnings.push(Problem::of_file(path, Severity::Warning, message));
                LastReports::default()
            }
        }
    }

    /// What a vantage knew of the checks of `model`, as far as that may still count for something.
    pub(crate) fn of(&self, vantage: &str, model: &Model, now: Now) -> Vec<RetainedCheck> {
        let Some(report) = self.0.iter().find(|report| report.name == vantage) else { return Vec::new() };
        let Some(at) = now.moment_of(report.at) else { return Vec::new() };
        let kept: HashMap<&CheckName, &KeptCheck> = report.checks.iter().map(|check| (&check.name, check)).collect();
        let known = model.checks.iter().filter_map(|check| {
            let observation = kept.get(&CheckName::of(&check.key)?)?.observation(&check.key, now)?;
            Some(RetainedCheck { observation, at, until: at + check.key.monitor.quorum.stale_after })
        });
        let may_count = |known: &RetainedCheck| {
            // What a service said of itself has its own time.
            now.moment < known.until || known.observation.key.monitor.kind.heartbeat().is_some()
        };
        let known: Vec<RetainedCheck> = known.filter(may_count).collect();
        if !known.is_empty() {
            let age_secs = now.moment.since(at).as_secs();
            tracing::info!(vantage, checks = known.len(), age_secs, "the last known health is used");
        }
        known
    }
}

impl CheckName {
    /// Of a check of which something can be kept: a composite's verdict is made of those.
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

impl KeptCheck {
    /// What is kept of an observation; nothing of what isn't known, or was itself only taken over.
    fn of(observation: &Observation, now: Now) -> Option<KeptCheck> {
        let health = match observation.health {
            Health::Up => KeptHealth::Up,
            Health::Down => KeptHealth::Down,
            Health::Unknown => return None,
        };
        let empty = KeptCheck {
            name: CheckName::of(&observation.key)?,
            health,
            heard_at: observation.probed_at.map(|at| now.unix_of(at)),
            ttl_ms: None,
            alive_for_ms: 0.0,
            why: None,
            failures: 0,
            run: 0,
            srtt_ms: None,
            rttvar_ms: None,
            held_for_ms: 0.0,
            flaps: KeptFlaps::default(),
            well: false,
        };
        Some(match observation.state? {
            CheckState::Probed(DetectorState { health: _, failures, run, rtt, held_for, flaps, is_well }) => {
                KeptCheck {
                    // Else it tells how long it is held, or that it is suspect: that is found anew.
                    why: observation.why.clone().filter(|_| health == KeptHealth::Down && !flaps.is_damped),
                    failures,
                    run,
                    srtt_ms: rtt.srtt().map(millis),
                    rttvar_ms: rtt.rttvar().map(millis),
                    held_for_ms: millis(held_for),
                    flaps: KeptFlaps::of(&flaps),
                    well: is_well,
                    ..empty
                }
            }
            CheckState::Heartbeat(HeartbeatState { health: _, run, last, alive_for, held_for, flaps }) => {
                let ttl = last.and_then(|(_, sign)| match sign {
                    Sign::Alive { ttl } => Some(ttl),
                    Sign::Goodbye => None,
                });
                KeptCheck {
                    run,
                    ttl_ms: ttl.map(millis),
                    alive_for_ms: millis(alive_for),
                    held_for_ms: millis(held_for),
                    flaps: KeptFlaps::of(&flaps),
                    ..empty
                }
            }
        })
    }

    /// The same as it was observed; `None` where the file says what can't be.
    fn observation(&self, key: &Arc<CheckKey>, now: Now) -> Option<Observation> {
        let health = match self.health {
            KeptHealth::Up => Health::Up,
            KeptHealth::Down => Health::Down,
        };
        let heard_at = match self.heard_at {
            Some(at) => Some(now.moment_of(at)?),
            None => None,
        };
        let held_for = duration(self.held_for_ms)?;
        let rtt = match (self.srtt_ms, self.rttvar_ms) {
            (Some(srtt), Some(rttvar)) => Rtt::of(rtt(srtt)?, rtt(rttvar)?),
            _ => Rtt::default(),
        };
        let KeptFlaps { penalty, falls, held } = self.flaps;
        let flaps = Flaps { penalty, falls, is_damped: held };
        let state = match key.monitor.kind.heartbeat() {
            Some(_) => {
                let sign = match self.ttl_ms {
                    Some(ttl) => Sign::Alive { ttl: duration(ttl)?.min(MAX_BEAT) },
                    None => Sign::Goodbye,
                };
                let (last, alive_for) = (heard_at.map(|at| (at, sign)), duration(self.alive_for_ms)?);
                CheckState::Heartbeat(HeartbeatState { health, run: self.run, last, alive_for, held_for, flaps })
            }
            None => {
                let (failures, run, is_well) = (self.failures, self.run, self.well && held);
                CheckState::Probed(DetectorState { health, failures, run, rtt, held_for, flaps, is_well })
            }
        };
        let is_measured = key.monitor.kind.measures_rtt();
        Some(Observation {
            key: Arc::clone(key),
            health,
            tried: true,
            srtt: rtt.srtt().filter(|_| is_measured),
            rttvar: rtt.rttvar().filter(|_| is_measured),
            probed_at: heard_at,
            may_change_in: Duration::ZERO,
            why: self.why.clone(),
            hold: None,
            doubt: Doubt::None,
            state: Some(state),
        })
    }
}

/// The file's text: JSON with a line for each check.
fn text(reports: &[Received], now: Now) -> String {
    let vantages: Vec<String> = reports.iter().map(|received| text_of(received, now)).collect();
    format!("{{\"version\":{},\"vantages\":[\n{}\n]}}\n", FILE.version, vantages.join(",\n"))
}

fn text_of(received: &Received, now: Now) -> String {
    let Report { vantage, observations, .. } = &*received.report;
    let kept = observations.iter().filter_map(|observation| KeptCheck::of(observation, now));
    // Plain data can't fail to serialise.
    let lines: Vec<String> = kept.map(|check| serde_json::to_string(&check).unwrap_or_default()).collect();
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
