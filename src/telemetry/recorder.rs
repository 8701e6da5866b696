//! Counts of what ends now and then: probes and reloads. They are recorded through the `metrics` facade, and its
//! exporter writes them. What the packet threads count, and what a snapshot shows, is written without it: those values
//! have a place of their own already, and a copy of each would be late.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use metrics::{Counter, Histogram, Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::telemetry::families::{self as family, Family};

/// Upper bounds of a probe's duration in seconds: from loopback to the longest sensible timeout.
const PROBE_BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The exporter stores each duration until somebody reads them. After so many they are put into their buckets, so that
/// memory is bounded without a reader: 32 KiB.
const MOST_STORED: u32 = 4096;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The result of a probe, for its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeResult {
    /// The endpoint answered as the monitor expects.
    Success,
    /// Anything else.
    Failure,
}

impl ProbeResult {
    /// Its name on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeResult::Success => "success",
            ProbeResult::Failure => "failure",
        }
    }
}

/// The recorder of one server: a process can have several, as the demo does.
#[derive(Debug)]
pub(super) struct EventRecorder {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    stored: AtomicU32,
}

impl Default for EventRecorder {
    fn default() -> EventRecorder {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Full(family::PROBE_SECONDS.name.into()), &PROBE_BUCKETS);
        // The only error is an empty list of buckets.
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        for family in [&family::PROBES, &family::RELOADS] {
            recorder.describe_counter(KeyName::from(family.name), None, SharedString::from(family.help));
        }
        let times = &family::PROBE_SECONDS;
        recorder.describe_histogram(KeyName::from(times.name), None, SharedString::from(times.help));
        let handle = recorder.handle();
        let recorder = EventRecorder { recorder, handle, stored: AtomicU32::new(0) };
        // A rate is right from the first reload on.
        ["success", "failure"].into_iter().for_each(|result| recorder.counter(&family::RELOADS, [result]).absolute(0));
        recorder
    }
}

impl EventRecorder {
    /// Counts a probe of `kind` by `vantage` that took `took`.
    pub(super) fn probe_ended(&self, vantage: &str, kind: &'static str, result: ProbeResult, took: Duration) {
        self.counter(&family::PROBES, [vantage, kind, result.as_str()]).increment(1);
        self.histogram(&family::PROBE_SECONDS, [vantage, kind]).record(took);
        if self.stored.fetch_add(1, Relaxed) >= MOST_STORED {
            self.stored.store(0, Relaxed);
            self.handle.run_upkeep();
        }
    }

    /// Counts a reload of the files.
    pub(super) fn reload_ended(&self, ok: bool) {
        self.counter(&family::RELOADS, [if ok { "success" } else { "failure" }]).increment(1);
    }

    /// All of it in the text format of Prometheus.
    pub(super) fn text(&self) -> String {
        self.handle.render()
    }

    fn counter<const N: usize>(&self, family: &'static Family, values: [&str; N]) -> Counter {
        self.recorder.register_counter(&key(family, values), &METADATA)
    }

    fn histogram<const N: usize>(&self, family: &'static Family, values: [&str; N]) -> Histogram {
        self.recorder.register_histogram(&key(family, values), &METADATA)
    }
}

/// The series of a family with these values of its labels.
fn key<const N: usize>(family: &'static Family, values: [&str; N]) -> Key {
    debug_assert_eq!(family.labels.len(), N, "{}", family.name);
    let labels = family.labels.iter().zip(values).map(|(label, value)| Label::new(*label, value.to_owned()));
    Key::from_parts(family.name, labels.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_their_buckets_however_many_there_are() {
        let recorder = EventRecorder::default();
        let count = u64::from(MOST_STORED) * 2 + 7;
        for _ in 0..count {
            recorder.probe_ended("ns1", "tcp", ProbeResult::Failure, Duration::from_millis(3));
        }
        assert!(recorder.stored.load(Relaxed) < MOST_STORED);
        let text = recorder.text();
        for expected in [
            format!("portolan_probes_total{{vantage=\"ns1\",kind=\"tcp\",result=\"failure\"}} {count}"),
            "portolan_probe_seconds_bucket{vantage=\"ns1\",kind=\"tcp\",le=\"0.0025\"} 0".to_owned(),
            format!("portolan_probe_seconds_bucket{{vantage=\"ns1\",kind=\"tcp\",le=\"0.005\"}} {count}"),
            format!("portolan_probe_seconds_count{{vantage=\"ns1\",kind=\"tcp\"}} {count}"),
            "portolan_reloads_total{result=\"success\"} 0".to_owned(),
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn recorders_of_two_servers_share_nothing() {
        let [one, other] = [EventRecorder::default(), EventRecorder::default()];
        one.reload_ended(true);
        assert!(one.text().contains("portolan_reloads_total{result=\"success\"} 1"));
        assert!(other.text().contains("portolan_reloads_total{result=\"success\"} 0"));
    }
}
