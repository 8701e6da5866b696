//! All metrics of this process. Some counts are in [`Metrics`], the others in the counters of the packet threads and in
//! the snapshot. Each request for `/metrics` writes all of them anew, so that the values are exact, and series of zones
//! and endpoints that a reload removed are gone.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::control::drill::DrillCounts;
use crate::control::fleet::FleetReport;
use crate::control::follow::FollowReport;
use crate::control::names::NameState;
use crate::control::sources::SourceReport;
use crate::control::unsaved::UnsavedFile;
use crate::control::{RefusalCounters, ReloadStatus};
use crate::drill::DrillStatus;
use crate::model::{Health, Model};
use crate::server::{QueryLogState, Totals};
use crate::sinks::SinkReport;
use crate::snapshot::{Snapshot, Transition};
use crate::telemetry::families as family;
use crate::telemetry::recorder::{EventRecorder, ProbeResult};
use crate::telemetry::rooms::ListenerRoom;
use crate::telemetry::text::Exposition;
use crate::telemetry::{
    files, fleet, follows as of_follows, leases, names, process, rooms, sinks as of_sinks, sources as source_metrics,
    traffic, world,
};

/// The counts that no other module has. Threads that probe and steer count here, and a scrape runs with a lower
/// priority than they do: so it copies the transitions under the lock, and writes them without it.
#[derive(Debug, Default)]
pub struct Metrics {
    events: EventRecorder,
    /// Writes of the last known health: successes and failures.
    health_written: [AtomicU64; 2],
    /// A scrape has another reference to the table while it writes.
    transitions: Mutex<Arc<TransitionCounts>>,
}

/// By zone and endpoint; there is no entry without a transition.
type TransitionCounts = HashMap<Arc<str>, HashMap<Arc<str>, [u64; HEALTHS.len()]>>;

/// The order of [`TransitionCounts`].
const HEALTHS: [Health; 3] = [Health::Up, Health::Down, Health::Unknown];

/// The values that a scrape reads besides [`Metrics`], all of one moment.
pub struct Scrape<'a> {
    /// What is being served.
    pub snapshot: &'a Snapshot,
    /// The state of the steered names by policy, from `control::names`.
    pub names: &'a [NameState],
    /// The sums of the counters of packet threads and streams.
    pub totals: &'a Totals,
    /// The last attempt to load the files.
    pub reload: &'a ReloadStatus,
    /// When the certificate expires, in Unix seconds; `None` without one.
    pub certificate_ends_at: Option<i64>,
    /// Writes of files in the state directory: successes and failures. The last known health is not included: it is
    /// counted in [`Metrics`].
    pub state_writes: [u64; 2],
    /// The seats and the waiting octets of each group of listeners.
    pub rooms: &'a [ListenerRoom],
    /// What the API refused.
    pub refusals: &'a RefusalCounters,
    /// The files of the state directory that are not on the disk as they should be.
    pub unsaved: &'a [UnsavedFile],
    /// The query log; `None`: there is none.
    pub query_log: Option<&'a QueryLogState>,
    /// The state of the fleet; `None`: this node is alone.
    pub fleet: Option<&'a FleetReport>,
    /// The sinks of events.
    pub sinks: &'a [SinkReport],
    /// The streams that are followed.
    pub follows: &'a [FollowReport],
    /// The sources of endpoints that come and go.
    pub sources: &'a [SourceReport],
    /// The drill that runs.
    pub drill: Option<&'a DrillStatus>,
    /// The drills that ended.
    pub drills: DrillCounts,
}

impl Metrics {
    /// Counts that are all zero.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Counts a probe of `kind` by `vantage` that took `took`.
    pub fn probe_ended(&self, vantage: &str, kind: &'static str, result: ProbeResult, took: Duration) {
        self.events.probe_ended(vantage, kind, result, took);
    }

    /// Counts a transition of an endpoint's own health.
    pub fn transition(&self, transition: &Transition) {
        if transition.monitor.is_some() {
            return;
        }
        let mut transitions = self.transitions();
        let of_zone = entry(Arc::make_mut(&mut transitions), &transition.zone);
        let counts = entry(of_zone, &transition.endpoint);
        counts.iter_mut().zip(HEALTHS).filter(|(_, to)| *to == transition.to).for_each(|(count, _)| *count += 1);
    }

    /// Counts a reload of the files.
    pub fn reload_ended(&self, ok: bool) {
        self.events.reload_ended(ok);
    }

    /// Counts a write of the last known health.
    pub fn health_written(&self, ok: bool) {
        self.health_written[usize::from(!ok)].fetch_add(1, Relaxed);
    }

    /// Writes of the last known health: successes and failures.
    pub fn health_writes(&self) -> [u64; 2] {
        [0, 1].map(|result: usize| self.health_written[result].load(Relaxed))
    }

    /// All metrics in the text format of Prometheus.
    pub fn render(&self, scrape: &Scrape<'_>) -> String {
        let Scrape {
            snapshot,
            names,
            totals,
            reload,
            certificate_ends_at,
            state_writes,
            rooms,
            refusals,
            unsaved,
            query_log,
            fleet,
            sinks,
            follows,
            sources,
            drill,
            drills,
        } = *scrape;
        let mut text = Exposition::default();
        text.family(&family::BUILD_INFO).sample(&[env!("CARGO_PKG_VERSION")], 1);
        text.single(&family::GENERATION, snapshot.generation);
        text.single(&family::LAST_RELOAD_OK, u8::from(reload.ok));
        text.single(&family::LAST_RELOAD_AT, reload.at);
        files::write(&mut text, reload, clock::unix_seconds());
        names::write(&mut text, &snapshot.model, names);
        source_metrics::write(&mut text, sources);
        let mut samples = text.family(&family::DRILL);
        if let Some(drill) = drill {
            samples.sample(&[drill.drill.as_str(), &drill.target], 1);
        }
        let mut samples = text.family(&family::DRILLS);
        samples.sample(&[DrillStatus::RESTORED], drills.restored);
        samples.sample(&[DrillStatus::FAILED], drills.failed);
        samples.sample(&[DrillStatus::ABORTED], drills.aborted);
        leases::write(&mut text, snapshot);
        world::write(&mut text, snapshot);
        traffic::write(&mut text, totals, snapshot);
        if let Some(log) = query_log {
            traffic::write_query_log(&mut text, log);
        }
        rooms::write(&mut text, rooms);
        if let Some(end) = certificate_ends_at {
            text.single(&family::CERT_EXPIRY, end);
        }
        let health_writes = self.health_writes();
        let [of_state, of_health] = [state_writes, health_writes];
        write_outcomes(&mut text, &family::STATE_WRITES, [of_state[0] + of_health[0], of_state[1] + of_health[1]]);
        write_outcomes(&mut text, &family::HEALTH_WRITES, health_writes);
        text.append(&self.events.text());
        self.write_transitions(&mut text, &snapshot.model);
        let mut refused = text.family(&family::API_REFUSED);
        for (refusal, count) in refusals.all() {
            refused.sample(&[refusal.as_str()], count);
        }
        let mut samples = text.family(&family::STATE_UNSAVED);
        for file in unsaved {
            samples.sample(&[&file.file], file.since);
        }
        if let Some(fleet) = fleet {
            fleet::write(&mut text, fleet);
        }
        of_sinks::write(&mut text, sinks);
        of_follows::write(&mut text, follows);
        process::write(&mut text);
        text.finish()
    }

    /// Also removes the transitions of endpoints that are not in the model, so that the table stays bounded.
    fn write_transitions(&self, text: &mut Exposition, model: &Model) {
        let transitions = self.transitions().clone();
        let mut samples = text.family(&family::TRANSITIONS);
        let zones: Vec<String> = model.zones.iter().map(|zone| zone.apex.to_string()).collect();
        let mut found = 0;
        for endpoint in &model.endpoints {
            let zone = zones[endpoint.zone.0 as usize].as_str();
            let counts = transitions.get(zone).and_then(|of_zone| of_zone.get(endpoint.name.as_str()));
            found += usize::from(counts.is_some());
            for (to, count) in HEALTHS.into_iter().zip(counts.copied().unwrap_or_default()) {
                samples.sample(&[zone, &endpoint.name, to.as_str()], count);
            }
        }
        if transitions.values().map(HashMap::len).sum::<usize>() == found {
            return;
        }
        drop(transitions);
        let is_known: HashSet<(&str, &str)> = model
            .endpoints
            .iter()
            .map(|endpoint| (zones[endpoint.zone.0 as usize].as_str(), endpoint.name.as_str()))
            .collect();
        let mut transitions = self.transitions();
        Arc::make_mut(&mut transitions).retain(|zone, of_zone| {
            of_zone.retain(|endpoint, _| is_known.contains(&(&**zone, &**endpoint)));
            !of_zone.is_empty()
        });
    }

    fn transitions(&self) -> MutexGuard<'_, Arc<TransitionCounts>> {
        self.transitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value of a key, which is added where it is new.
fn entry<'t, T: Default>(table: &'t mut HashMap<Arc<str>, T>, key: &str) -> &'t mut T {
    table.entry(key.into()).or_default()
}

/// Writes a counter of successes and failures.
fn write_outcomes(text: &mut Exposition, family: &'static family::Family, [successes, failures]: [u64; 2]) {
    let mut samples = text.family(family);
    samples.sample(&["success"], successes);
    samples.sample(&["failure"], failures);
}
