//! Tests of the history: bounds, rates, missing steps, selection.

use std::sync::Arc;
use std::time::Duration;

use super::query::HistoryQuery;
use super::series::SeriesTable;
use super::{History, MAX_SERIES, SAMPLES, STEP};
use crate::answer::Transport;
use crate::control::test_world;
use crate::model::{CheckView, Moment, RegionId, WorldView};
use crate::server::Totals;
use crate::snapshot::Snapshot;

const START: Moment = Moment::from_start(Duration::from_secs(1000));

/// The test world in which eu-west has measured fra1 in 10 ms.
fn snapshot() -> Snapshot {
    let measured = test_world::snapshot(test_world::model());
    let mut view = WorldView::clone(&measured.view);
    let mut checks: Vec<CheckView> = (0..3).map(|id| view.check(crate::model::CheckId(id)).clone()).collect();
    checks[0].rtts = vec![(RegionId(0), Duration::from_millis(10))];
    view.checks = checks.into_iter().collect();
    Snapshot { view: Arc::new(view), ..measured }
}

/// `www` has six counters: those of plain, nyc and fra1, and those of fra1, nyc and plain.
fn totals(queries: u64, picks: [u64; 6]) -> Totals {
    Totals { queries: vec![(Transport::Udp, 0, queries)], picks: picks.to_vec(), ..Totals::default() }
}

fn query(text: &str) -> HistoryQuery {
    serde_json::from_str(text).unwrap()
}

fn last(values: &[Option<f32>]) -> Option<f32> {
    *values.last().unwrap()
}

#[test]
fn rates_are_those_of_the_time_between_two_samples() {
    let (history, snapshot) = (History::default(), snapshot());
    history.sample(&snapshot, totals(100, [1, 0, 0, 5, 0, 0]), START, 1700.0);
    history.sample(&snapshot, totals(200, [2, 0, 0, 35, 0, 0]), START + STEP, 1710.0);
    let report = history.report(&HistoryQuery::default());
    assert_eq!((report.end, report.step_s, report.qps.len()), (Some(1710.0), 10, SAMPLES));
    assert_eq!(last(&report.qps), Some(10.0));
    let of = |kind: &str, endpoint: &str| {
        let found = report.series.iter().find(|s| s.kind == kind && s.endpoint.as_deref() == Some(endpoint));
        found.unwrap_or_else(|| panic!("no {kind} of {endpoint} in {:?}", report.series))
    };
    assert_eq!(last(&of("answers", "fra1").values), Some(3.0), "both runs of counters count");
    assert_eq!(last(&of("answers", "plain").values), Some(0.1));
    assert_eq!(of("rtt", "fra1").values[SAMPLES - 3..], [None, Some(10.0), Some(10.0)]);
    assert_eq!(of("rtt", "fra1").from.as_deref(), Some("eu-west"));
}

#[test]
fn steps_that_were_missed_have_no_value() {
    let (history, snapshot) = (History::default(), snapshot());
    history.sample(&snapshot, totals(0, [0; 6]), START, 0.0);
    history.sample(&snapshot, totals(90, [0; 6]), START + 3 * STEP, 0.0);
    let report = history.report(&query(r#"{"kind": "rtt"}"#));
    let [.., first, second, third, fourth] = report.series[0].values[..] else { panic!("no values") };
    assert_eq!((first, second, third, fourth), (Some(10.0), None, None, Some(10.0)));
    assert_eq!(last(&report.qps), Some(3.0));
    history.sample(&snapshot, totals(90, [0; 6]), START + 1_000_000 * STEP, 0.0);
    assert_eq!(history.report(&HistoryQuery::default()).qps.len(), SAMPLES, "a machine that slept for months");
}

#[test]
fn a_query_selects_and_joins() {
    let (history, snapshot) = (History::default(), snapshot());
    history.sample(&snapshot, totals(0, [0; 6]), START, 0.0);
    history.sample(&snapshot, totals(0, [10, 20, 30, 0, 0, 0]), START + STEP, 0.0);
    let count = |text: &str| history.report(&query(text)).series.len();
    assert_eq!(count("{}"), 4);
    assert_eq!(count(r#"{"kind": "answers"}"#), 3);
    assert_eq!(count(r#"{"endpoint": "fra1"}"#), 2);
    assert_eq!(count(r#"{"region": "us-east"}"#), 1);
    assert_eq!(count(r#"{"zone": "svc.example"}"#), 4);
    assert_eq!(count(r#"{"zone": "other.example"}"#), 0);
    let regions = history.report(&query(r#"{"kind": "answers", "by": "region"}"#)).series;
    let shares: Vec<_> = regions.iter().map(|s| (s.region.as_deref(), last(&s.values))).collect();
    assert_eq!(shares, [(None, Some(1.0)), (Some("eu-west"), Some(3.0)), (Some("us-east"), Some(2.0))]);
    let bounded = history.report(&query(r#"{"limit": 1}"#));
    assert_eq!((bounded.series.len(), bounded.left_out), (1, 3));
    for wrong in [r#"{"kind": "x"}"#, r#"{"by": "x"}"#, r#"{"limit": 401}"#] {
        assert!(query(wrong).check().is_err(), "{wrong}");
    }
}

#[test]
fn an_endpoint_that_is_gone_leaves_with_its_last_value() {
    let mut table = SeriesTable::default();
    let (before, mut model) = (snapshot(), test_world::model());
    model.endpoints.truncate(2);
    let after = Snapshot { model: Arc::new(model), ..snapshot() };
    table.sample(&before, &[0, 0, 7], 1, None);
    table.sample(&before, &[0, 0, 8], 1, Some(STEP));
    let plain = |table: &SeriesTable| table.sorted().iter().any(|(key, _)| &*key.endpoint == "plain");
    for _ in 0..SAMPLES {
        assert!(plain(&table), "its values are less than an hour old");
        table.sample(&after, &[0; 6], 1, Some(STEP));
    }
    assert!(!plain(&table));
}

#[test]
fn series_have_a_bound() {
    let mut model = test_world::model();
    let endpoint = model.endpoints[2].clone();
    model.endpoints =
        (0..MAX_SERIES + 5).map(|at| crate::model::Endpoint { name: format!("e{at}"), ..endpoint.clone() }).collect();
    let endpoints = model.endpoints.iter().map(|endpoint| endpoint.name.as_str().into()).collect();
    let mut tallies = crate::snapshot::TallyTable::default();
    tallies.run(crate::snapshot::TallyRun { zone: "svc.example.".into(), name: "www".into(), endpoints });
    let many = Snapshot { model: Arc::new(model), tallies: Arc::new(tallies), ..snapshot() };
    let mut table = SeriesTable::default();
    table.sample(&many, &[], 1, None);
    assert_eq!((table.sorted().len(), table.left_out), (MAX_SERIES, 5));
}

#[test]
fn the_traffic_of_the_last_minute_is_a_value_for_each_second() {
    let history = History::default();
    assert_eq!(history.traffic(), None);
    for second in 0..100 {
        history.beat(second * 7, START + Duration::from_secs(second));
    }
    let traffic = history.traffic().unwrap();
    assert_eq!((traffic.queries, traffic.qps, traffic.recent.len()), (693, 7.0, 60));
}

#[test]
fn the_measured_split_is_that_of_the_last_minutes() {
    let (history, snapshot) = (History::default(), snapshot());
    assert_eq!(history.split().time(), None);
    for step in 0..100u32 {
        let count = u64::from(step);
        history.sample(&snapshot, totals(0, [0, 0, 100 + count, 3 * count, 0, 0]), START + step * STEP, 0.0);
    }
    let split = history.split();
    let steps = split.time().unwrap().as_secs() / 10;
    assert!((12..=24).contains(&steps), "{steps} steps");
    assert_eq!(split.counted(2, 3), [steps, 3 * steps, 0]);
    assert_eq!(split.counted(100, 2), [0, 0], "counters that came later");
}
