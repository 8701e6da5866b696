//! The only list of metric names, and what publishes them. Counts live elsewhere (the packet threads' own counters, the
//! snapshot) or in [`Metrics`]; all of them are published whole when `/metrics` is asked for, so that it is exact at
//! once and a series whose endpoint went with a reload is gone from the next scrape. Never a label with a query name.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_util::MetricKindMask;

use crate::answer::Transport;
use crate::control::ReloadStatus;
use crate::control::status::evidence;
use crate::model::{Endpoint, EndpointId, Health, Hold, Model, VantageState, WorldView};
use crate::server::Totals;
use crate::snapshot::{Snapshot, TallyTable, Transition};
use crate::telemetry::files;

/// How often [`Metrics::upkeep`] is to be called: samples of histograms wait in memory until then.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Upper bounds of a probe's duration in seconds: from loopback to the longest sensible timeout.
const PROBE_BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// A series that was not published in this scrape is dropped from it: the shortest time the recorder knows.
const GONE_AFTER: Duration = Duration::from_nanos(1);

const QUERIES: &str = "portolan_queries_total";
const DROPPED: &str = "portolan_dropped_total";
const ENDPOINT_UP: &str = "portolan_endpoint_up";
const RTT: &str = "portolan_rtt_seconds";
const PROBE_SECONDS: &str = "portolan_probe_seconds";
const PROBES: &str = "portolan_probes_total";
const TRANSITIONS: &str = "portolan_transitions_total";
const ANSWERS: &str = "portolan_answers_total";
const GENERATION: &str = "portolan_generation";
const LAST_RELOAD_OK: &str = "portolan_last_reload_ok";
const LAST_RELOAD_AT: &str = "portolan_last_reload_timestamp_seconds";
const RELOADS: &str = "portolan_reloads_total";
const HEALTH_KEPT: &str = "portolan_health_writes_total";
const OVERRIDDEN: &str = "portolan_endpoint_overridden";
const VANTAGE_UP: &str = "portolan_vantage_up";
const VANTAGE_BLIND: &str = "portolan_vantage_blind";
const HELD: &str = "portolan_held_connections";
const SLIPPED: &str = "portolan_slipped_total";
const RECV_QUEUE_DROPS: &str = "portolan_recv_queue_drops_total";

/// Shown from the start, so that a rate over them has a beginning; the others appear with their first query.
const ALWAYS_SHOWN: [Transport; 2] = [Transport::Udp, Transport::Tcp];

static METADATA: Metadata<'static> = Metadata::new("portolan", Level::INFO, Some(module_path!()));

/// How a probe ended, for its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeResult {
    /// As expected.
    Success,
    /// Not.
    Failure,
}

impl ProbeResult {
    /// The word for it on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeResult::Success => "success",
            ProbeResult::Failure => "failure",
        }
    }
}

/// All metrics of this process.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// Also held while rendering: what one scrape publishes is dropped by no other.
    counted: Mutex<Counted>,
}

/// What is counted here.
#[derive(Default)]
struct Counted {
    /// By vantage, kind and result.
    probes: BTreeMap<(String, &'static str, ProbeResult), u64>,
    /// By zone, endpoint and health after.
    transitions: BTreeMap<(String, String, Health), u64>,
    /// Loadings since the start that went well, and that did not.
    reloads: [u64; 2],
    /// Writings of the last known health that went well, and that did not.
    health_kept: [u64; 2],
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Metrics {
        let recorder = PrometheusBuilder::new()
            .idle_timeout(MetricKindMask::COUNTER | MetricKindMask::GAUGE, Some(GONE_AFTER))
            .set_buckets_for_metric(Matcher::Full(PROBE_SECONDS.to_owned()), &PROBE_BUCKETS)
            .expect("the buckets are not empty")
            .build_recorder();
        describe(&recorder);
        Metrics { handle: recorder.handle(), recorder, counted: Mutex::default() }
    }

    /// Counts a probe of `kind` by `vantage` that took `took`.
    pub fn probe_ended(&self, vantage: &str, kind: &'static str, result: ProbeResult, took: Duration) {
        let labels = [("vantage", vantage), ("kind", kind)];
        self.recorder.register_histogram(&key(PROBE_SECONDS, &labels), &METADATA).record(took.as_secs_f64());
        *self.counted().probes.entry((vantage.to_owned(), kind, result)).or_default() += 1;
    }

    /// Counts a transition of an endpoint's own health.
    pub fn transition(&self, transition: &Transition) {
        if transition.monitor.is_some() {
            return;
        }
        let labels = (transition.zone.clone(), transition.endpoint.clone(), transition.to);
        *self.counted().transitions.entry(labels).or_default() += 1;
    }

    /// Counts a loading of the files after the first.
    pub fn reload_ended(&self, ok: bool) {
        self.counted().reloads[usize::from(!ok)] += 1;
    }

    /// Counts a writing of the last known health.
    pub fn health_kept(&self, ok: bool) {
        self.counted().health_kept[usize::from(!ok)] += 1;
    }

    /// How often that went well, and how often not.
    pub fn health_writes(&self) -> [u64; 2] {
        self.counted().health_kept
    }

    /// To be called every [`UPKEEP_EVERY`].
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The whole as Prometheus text, with what the packet threads counted and the snapshot says at this moment.
    pub fn render(&self, snapshot: &Snapshot, totals: &Totals, reload: &ReloadStatus) -> String {
        let mut counted = self.counted();
        self.publish_traffic(totals, &snapshot.tallies, &snapshot.model);
        self.publish_world(snapshot);
        self.publish_counted(&mut counted, &snapshot.model);
        self.gauge(GENERATION, &[], snapshot.generation as f64);
        self.gauge(LAST_RELOAD_OK, &[], f64::from(u8::from(reload.ok)));
        self.gauge(LAST_RELOAD_AT, &[], reload.at);
        for (name, zone, value) in files::gauges(reload) {
            match &zone {
                Some(zone) => self.gauge(name, &[("zone", zone)], value),
                None => self.gauge(name, &[], value),
            }
        }
        for (result, count) in [("success", counted.reloads[0]), ("failure", counted.reloads[1])] {
            self.counter(RELOADS, &[("result", result)], count);
        }
        for (result, count) in [("success", counted.health_kept[0]), ("failure", counted.health_kept[1])] {
            self.counter(HEALTH_KEPT, &[("result", result)], count);
        }
        self.handle.render()
    }

    fn publish_traffic(&self, totals: &Totals, tallies: &TallyTable, model: &Model) {
        for transport in ALWAYS_SHOWN {
            self.counter(QUERIES, &[("transport", transport.as_str()), ("rcode", rcode_name(0))], 0);
        }
        for &(transport, rcode, count) in &totals.queries {
            self.counter(QUERIES, &[("transport", transport.as_str()), ("rcode", rcode_name(rcode))], count);
        }
        for &(reason, count) in &totals.dropped {
            self.counter(DROPPED, &[("reason", reason.as_str())], count);
        }
        self.counter(SLIPPED, &[], totals.slipped);
        self.counter(RECV_QUEUE_DROPS, &[], totals.queue_drops);
        for ((zone, name, endpoint), count) in answers(totals, tallies, model) {
            self.counter(ANSWERS, &[("zone", zone), ("name", name), ("endpoint", endpoint)], count);
        }
    }

    fn publish_world(&self, snapshot: &Snapshot) {
        let (model, view) = (&*snapshot.model, &*snapshot.view);
        for (id, endpoint) in (0..).map(EndpointId).zip(&model.endpoints) {
            let zone = model.zone(endpoint.zone).apex.to_string();
            if let Some(said) = view.override_of(id) {
                let labels = [("zone", &*zone), ("endpoint", &endpoint.name), ("state", said.state.as_str())];
                self.gauge(OVERRIDDEN, &labels, 1.0);
            }
            let region = endpoint.region.map_or("", |region| &model.region(region).name);
            let up = f64::from(u8::from(view.endpoint(endpoint) == Health::Up));
            self.gauge(ENDPOINT_UP, &[("zone", &zone), ("endpoint", &endpoint.name), ("region", region)], up);
            for (vantage, rtt) in rtts(endpoint, snapshot) {
                let labels = [("vantage", vantage), ("zone", &zone), ("endpoint", &endpoint.name)];
                self.gauge(RTT, &labels, rtt.as_secs_f64());
            }
        }
        for vantage in &view.vantages {
            let up = f64::from(u8::from(vantage.state == VantageState::Up));
            let labels = [("vantage", &*vantage.name), ("region", &model.region(vantage.region).name)];
            self.gauge(VANTAGE_UP, &labels, up);
            let blind = f64::from(u8::from(vantage.state == VantageState::Blind));
            self.gauge(VANTAGE_BLIND, &labels, blind);
            self.gauge(HELD, &[("vantage", &vantage.name)], held_by(&vantage.name, view) as f64);
        }
    }

    /// What is counted here; transitions of endpoints that are gone are forgotten, so that the table stays bounded.
    fn publish_counted(&self, counted: &mut Counted, model: &Model) {
        for ((vantage, kind, result), count) in &counted.probes {
            let labels = [("vantage", vantage.as_str()), ("kind", kind), ("result", result.as_str())];
            self.counter(PROBES, &labels, *count);
        }
        let mut known = BTreeMap::new();
        for endpoint in &model.endpoints {
            let zone = model.zone(endpoint.zone).apex.to_string();
            for to in [Health::Up, Health::Down, Health::Unknown] {
                let labels = (zone.clone(), endpoint.name.clone(), to);
                let count = counted.transitions.remove(&labels).unwrap_or(0);
                self.counter(TRANSITIONS, &[("zone", &zone), ("endpoint", &endpoint.name), ("to", to.as_str())], count);
                known.insert(labels, count);
            }
        }
        counted.transitions = known;
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)], value: u64) {
        self.recorder.register_counter(&key(name, labels), &METADATA).absolute(value);
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.recorder.register_gauge(&key(name, labels), &METADATA).set(value);
    }
}

/// How often each endpoint was in a reply, by (zone, name, endpoint): counters of equal labels added up, those of names
/// and endpoints that the model no longer has left out.
fn answers<'a>(totals: &Totals, tallies: &'a TallyTable, model: &Model) -> BTreeMap<(&'a str, &'a str, &'a str), u64> {
    let apexes: Vec<String> = model.zones.iter().map(|zone| zone.apex.to_string()).collect();
    let known = answerable_labels(model, &apexes);
    let mut sums = BTreeMap::new();
    for id in 0..tallies.len() as u32 {
        let Some(labels) = tallies.labels(id) else { continue };
        if known.contains(&(labels.zone, labels.name, labels.endpoint)) {
            *sums.entry((labels.zone, labels.name, labels.endpoint)).or_default() +=
                totals.picks.get(id as usize).copied().unwrap_or(0);
        }
    }
    sums
}

/// Every (zone, name, endpoint) that can be answered.
fn answerable_labels<'a>(model: &'a Model, apexes: &'a [String]) -> HashSet<(&'a str, &'a str, &'a str)> {
    let mut known = HashSet::new();
    for (zone, apex) in model.zones.iter().zip(apexes) {
        for steered in &zone.steered {
            for endpoint in &model.policy(steered.policy).endpoints {
                known.insert((apex.as_str(), steered.label.as_str(), model.endpoint(*endpoint).name.as_str()));
            }
        }
    }
    known
}

/// The smoothed RTT that each vantage measured to an endpoint: of its first address that has one.
fn rtts<'a>(endpoint: &Endpoint, snapshot: &'a Snapshot) -> BTreeMap<&'a str, Duration> {
    let mut first = BTreeMap::new();
    for answerable in &endpoint.answerables {
        for said in answerable.checks().flat_map(|check| evidence(Some(check), &snapshot.view)) {
            if let Some(rtt) = said.rtt {
                first.entry(&*said.vantage).or_insert(rtt);
            }
        }
    }
    first
}

/// How many connections a vantage holds open (`hold = true`).
fn held_by(vantage: &str, view: &WorldView) -> usize {
    let said = view.checks.iter().flat_map(|check| &check.evidence);
    said.filter(|said| &*said.vantage == vantage && said.hold == Some(Hold::Open)).count()
}

/// The mnemonic of a response code (IANA, DNS RCODEs).
fn rcode_name(rcode: u16) -> &'static str {
    match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        23 => "BADCOOKIE",
        _ => "OTHER",
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}

fn describe(recorder: &PrometheusRecorder) {
    let text = |words: &'static str| SharedString::const_str(words);
    let name = |name: &'static str| KeyName::from_const_str(name);
    for (counter, words) in [
        (QUERIES, "Queries answered."),
        (DROPPED, "Packets that got no answer."),
        (PROBES, "Probes that ended."),
        (TRANSITIONS, "Changes of an endpoint's health."),
        (ANSWERS, "Replies that an endpoint was in."),
        (SLIPPED, "Replies over the rate limit that went out truncated, so that their client asks over TCP."),
        (RELOADS, "Times the files were loaded again, by how it ended."),
        (HEALTH_KEPT, "Times the last known health was written to the state directory, by how it ended."),
        (RECV_QUEUE_DROPS, "Datagrams that the kernel dropped because a receive queue was full."),
    ] {
        recorder.describe_counter(name(counter), None, text(words));
    }
    for (gauge, words) in [
        (ENDPOINT_UP, "Whether an endpoint is up: 1 while any of its addresses is."),
        (RTT, "Smoothed round-trip time from a vantage to an endpoint."),
        (GENERATION, "How many times the files were loaded with success."),
        (LAST_RELOAD_OK, "Whether the files as they were at the last attempt are served."),
        (LAST_RELOAD_AT, "When the files were last loaded, or were to be, in Unix seconds."),
        (OVERRIDDEN, "1 while an operator's override holds for an endpoint."),
        (VANTAGE_UP, "Whether a vantage's reports count."),
        (HELD, "Idle connections that a vantage holds open, one to each address whose monitor says so."),
        (VANTAGE_BLIND, "Whether a vantage is cut off itself and has frozen its verdicts."),
    ]
    .into_iter()
    .chain(files::GAUGES)
    {
        recorder.describe_gauge(name(gauge), None, text(words));
    }
    recorder.describe_histogram(name(PROBE_SECONDS), None, text("How long a probe took, failed ones too."));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::control::fixture::{model, snapshot, transition};
    use crate::server::Dropped;

    fn totals() -> Totals {
        Totals {
            queries: vec![(Transport::Udp, 0, 90), (Transport::Tcp, 3, 2)],
            dropped: vec![(Dropped::TooLong, 4)],
            picks: vec![0, 3, 7, 73, 7],
            queue_drops: 5,
            slipped: 6,
        }
    }

    fn scraped(metrics: &Metrics, snapshot: &Snapshot) -> Vec<String> {
        metrics
            .render(snapshot, &totals(), &ReloadStatus { ok: true, at: 1600.25, ..ReloadStatus::default() })
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_metric_of_the_contract_is_there_with_its_labels() {
        let metrics = Metrics::new();
        metrics.probe_ended("ns1", "tcp", ProbeResult::Success, Duration::from_millis(3));
        metrics.transition(&transition());
        metrics.reload_ended(false);
        metrics.health_kept(true);
        let mut snapshot = snapshot(model());
        Arc::make_mut(&mut snapshot.view).checks[0].evidence[0].hold = Some(Hold::Open);
        Arc::make_mut(&mut snapshot.view).checks[1].evidence[0].hold = Some(Hold::NotOpen);
        let lines = scraped(&metrics, &snapshot);
        for expected in [
            r#"portolan_queries_total{transport="udp",rcode="NOERROR"} 90"#,
            r#"portolan_queries_total{transport="tcp",rcode="NXDOMAIN"} 2"#,
            r#"portolan_queries_total{transport="tcp",rcode="NOERROR"} 0"#,
            r#"portolan_dropped_total{reason="too_long"} 4"#,
            r#"portolan_endpoint_up{zone="svc.example.",endpoint="fra1",region="eu-west"} 1"#,
            r#"portolan_endpoint_up{zone="svc.example.",endpoint="nyc",region="us-east"} 0"#,
            r#"portolan_endpoint_up{zone="svc.example.",endpoint="plain",region=""} 1"#,
            r#"portolan_rtt_seconds{vantage="ns1",zone="svc.example.",endpoint="fra1"} 0.00125"#,
            r#"portolan_probe_seconds_bucket{vantage="ns1",kind="tcp",le="0.0025"} 0"#,
            r#"portolan_probe_seconds_bucket{vantage="ns1",kind="tcp",le="0.005"} 1"#,
            r#"portolan_probes_total{vantage="ns1",kind="tcp",result="success"} 1"#,
            r#"portolan_transitions_total{zone="svc.example.",endpoint="fra1",to="down"} 1"#,
            r#"portolan_transitions_total{zone="svc.example.",endpoint="fra1",to="up"} 0"#,
            r#"portolan_answers_total{zone="svc.example.",name="www",endpoint="fra1"} 80"#,
            r#"portolan_answers_total{zone="svc.example.",name="www",endpoint="nyc"} 10"#,
            r#"portolan_answers_total{zone="svc.example.",name="www",endpoint="plain"} 0"#,
            "portolan_generation 2",
            "portolan_last_reload_ok 1",
            "portolan_last_reload_timestamp_seconds 1600.25",
            r#"portolan_reloads_total{result="success"} 0"#,
            r#"portolan_reloads_total{result="failure"} 1"#,
            r#"portolan_health_writes_total{result="success"} 1"#,
            r#"portolan_health_writes_total{result="failure"} 0"#,
            r#"portolan_vantage_up{vantage="ns1",region="eu-west"} 1"#,
            r#"portolan_vantage_blind{vantage="ns1",region="eu-west"} 0"#,
            r#"portolan_held_connections{vantage="ns1"} 1"#,
            "portolan_recv_queue_drops_total 5",
            "portolan_slipped_total 6",
            "# TYPE portolan_probe_seconds histogram",
            "# TYPE portolan_rtt_seconds gauge",
            "# TYPE portolan_answers_total counter",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} is not in\n{}", lines.join("\n"));
        }
        for metric in lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = metric.split(' ').next().unwrap();
            assert!(lines.iter().any(|line| line.starts_with(&format!("# HELP {name} "))), "{name} is not described");
        }
    }

    #[test]
    fn series_of_an_endpoint_that_went_are_gone_and_the_others_stay() {
        let metrics = Metrics::new();
        metrics.transition(&transition());
        let all = scraped(&metrics, &snapshot(model()));
        assert_eq!(scraped(&metrics, &snapshot(model())).len(), all.len(), "nothing changed");
        let mut smaller = model();
        smaller.endpoints.pop();
        smaller.policies[0].endpoints.pop();
        let left = scraped(&metrics, &snapshot(smaller));
        let of_plain = |lines: &[String]| lines.iter().filter(|line| line.contains("\"plain\"")).count();
        assert_eq!((of_plain(&all), of_plain(&left)), (5, 0), "{}", left.join("\n"));
        assert_eq!(left.len(), all.len() - 5);
    }
}
