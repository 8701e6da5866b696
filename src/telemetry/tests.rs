//! The text of `/metrics` for a small world.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::{Seats, WaitingOctets};
use crate::answer::Transport;
use crate::control::drill::DrillCounts;
use crate::control::fleet::{DifferingReport, EventsReport, FleetReport, LeftOutReport, NatsReport, NodeEventsReport};
use crate::control::fleet::{OverridesReport, TakenReport, TargetsReport, VantageTraffic};
use crate::control::follow::FollowReport;
use crate::control::names::NameStateCache;
use crate::control::test_world::{model, snapshot, transition};
use crate::control::unsaved::UnsavedFile;
use crate::control::{Refusal, RefusalCounters, ReloadStatus};
use crate::model::{Doubt, Hold};
use crate::server::{DropReason, HandshakeResult, QueryLogState, TimeTotals, Totals};
use crate::sinks::SinkReport;
use crate::snapshot::Snapshot;
use crate::telemetry::families::{self, Family};
use crate::telemetry::{ListenerRoom, Metrics, ProbeResult, Scrape};

fn totals() -> Totals {
    Totals {
        queries: vec![(Transport::Udp, 0, 90), (Transport::Tcp, 3, 2)],
        dropped: vec![(DropReason::TooLong, 4)],
        picks: vec![0, 3, 7, 73, 7],
        queue_drops: 5,
        slipped: 6,
        truncated: vec![(Transport::Udp, 8)],
        connections: vec![(Transport::Tls, 9, 2)],
        handshakes: vec![(Transport::Tls, HandshakeResult::Refused, 11)],
        answer_times: vec![(Transport::Udp, TimeTotals::default())],
    }
}

fn scraped(metrics: &Metrics, snapshot: &Snapshot) -> Vec<String> {
    let reload = ReloadStatus { ok: true, at: 1600.25, ..ReloadStatus::default() };
    let refusals = RefusalCounters::default();
    refusals.count(Refusal::Token);
    let (names, totals) = (NameStateCache::default().states(snapshot), totals());
    let unsaved = [UnsavedFile {
        file: "overrides.json".into(),
        content: "the operators' overrides".into(),
        since: 1700.5,
        error: None,
    }];
    let text = metrics.render(&Scrape {
        snapshot,
        names: &names,
        totals: &totals,
        reload: &reload,
        certificate_ends_at: Some(2_000_000_000),
        state_writes: [3, 1],
        rooms: &[ListenerRoom { listener: "dns", seats: Seats::new(512), octets: Some(WaitingOctets::new(1000)) }],
        refusals: &refusals,
        unsaved: &unsaved,
        query_log: Some(&QueryLogState::default()),
        fleet: Some(&fleet()),
        sinks: &[SinkReport { name: "audit".into(), lost: 3, ..SinkReport::default() }],
        follows: &[FollowReport { name: "primary".into(), missed: 2, ..FollowReport::default() }],
        sources: &[],
        drill: None,
        drills: DrillCounts::default(),
    });
    text.lines().map(str::to_owned).collect()
}

fn fleet() -> FleetReport {
    let nats = NatsReport {
        state: NatsReport::CONNECTED.into(),
        for_ms: 1000,
        server: None,
        connections: 3,
        problem: None,
        dropped: 5,
        missed: 7,
    };
    let of_nyc = VantageTraffic {
        name: "nyc1".into(),
        region: "us-east".into(),
        checks: 2,
        messages: 11,
        octets: 1200,
        gaps: 1,
        refused: [("malformed".to_owned(), 2)].into(),
    };
    let differing =
        DifferingReport { node: "ns2".into(), zone: "svc.example.".into(), serial: 1, fleet_serial: 2, missing: false };
    let targets = TargetsReport {
        state: "current".into(),
        zones: 1,
        checks: 3,
        not_allowed: 4,
        refused: 5,
        left_out: 6,
        left_out_zones: vec![LeftOutReport { zone: "big.example.".into(), checks: 6, why: "too many checks".into() }],
        differing: vec![differing],
        ..TargetsReport::default()
    };
    let server = |state: &str| TakenReport { node: "ns2".into(), state: state.into(), pending: 0, age_ms: 1 };
    let overrides = OverridesReport {
        state: "current".into(),
        pending: 12,
        revision: 34,
        refused: 56,
        servers: vec![server("behind"), server("silent"), server("silent")],
        ..OverridesReport::default()
    };
    FleetReport {
        cluster: "prod".into(),
        nats,
        targets,
        overrides: Some(overrides),
        reports_sent: 9,
        vantages: vec![of_nyc],
        refused_strangers: [("rate".to_owned(), 6)].into(),
        refused_beats: 8,
        events: Some(EventsReport {
            last: 30,
            acknowledged: 21,
            waiting: 9,
            lost: 4,
            nodes: vec![NodeEventsReport { node: "ns2".into(), last: 17, missing: 2 }],
            refused: [("malformed".to_owned(), 3)].into(),
            ..EventsReport::default()
        }),
        reports_overtaken: 9,
    }
}

#[test]
fn every_metric_is_there_with_its_labels() {
    let metrics = Metrics::new();
    metrics.probe_ended("ns1", "tcp", ProbeResult::Success, Duration::from_millis(3));
    metrics.transition(&transition());
    metrics.reload_ended(false);
    metrics.health_written(true);
    let mut snapshot = snapshot(model());
    let evidence = &mut Arc::make_mut(&mut snapshot.view).evidence;
    evidence.change(0, |all| (all[0].hold, all[0].doubt) = (Some(Hold::Open), Doubt::Suspect));
    evidence.change(1, |all| (all[0].hold, all[0].doubt) = (Some(Hold::NotOpen), Doubt::HeldDown));
    let lines = scraped(&metrics, &snapshot);
    for expected in [
        "portolan_fleet_connected 1",
        "portolan_fleet_connections_total 3",
        r#"portolan_fleet_dropped_total{direction="out"} 5"#,
        r#"portolan_fleet_dropped_total{direction="in"} 7"#,
        r#"portolan_fleet_dropped_total{direction="overtaken"} 9"#,
        "portolan_fleet_targets_current 1",
        r#"portolan_fleet_targets{state="probed"} 3"#,
        r#"portolan_fleet_targets{state="not_allowed"} 4"#,
        r#"portolan_fleet_targets{state="refused"} 5"#,
        r#"portolan_fleet_targets{state="left_out"} 6"#,
        r#"portolan_fleet_left_out_checks{zone="big.example."} 6"#,
        "portolan_fleet_zones_differing 1",
        "portolan_fleet_overrides_current 1",
        "portolan_fleet_overrides_pending 12",
        "portolan_fleet_overrides_revision 34",
        "portolan_fleet_overrides_refused_total 56",
        r#"portolan_fleet_overrides_servers{state="behind"} 1"#,
        r#"portolan_fleet_overrides_servers{state="silent"} 2"#,
        "portolan_fleet_reports_sent_total 9",
        r#"portolan_fleet_reports_total{vantage="nyc1",region="us-east"} 11"#,
        r#"portolan_fleet_report_octets_total{vantage="nyc1",region="us-east"} 1200"#,
        r#"portolan_fleet_report_gaps_total{vantage="nyc1",region="us-east"} 1"#,
        r#"portolan_fleet_reports_refused_total{vantage="nyc1",reason="malformed"} 2"#,
        r#"portolan_fleet_reports_refused_total{vantage="",reason="rate"} 6"#,
        "portolan_fleet_beats_refused_total 8",
        "portolan_fleet_events_waiting 9",
        "portolan_fleet_events_acknowledged_number 21",
        "portolan_fleet_events_lost_total 4",
        r#"portolan_fleet_events_last_number{node="ns2"} 17"#,
        r#"portolan_fleet_events_missing_total{node="ns2"} 2"#,
        r#"portolan_fleet_events_refused_total{reason="malformed"} 3"#,
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
        r#"portolan_truncated_total{transport="udp"} 8"#,
        r#"portolan_connections_total{transport="tls"} 9"#,
        r#"portolan_open_connections{transport="tls"} 2"#,
        r#"portolan_handshakes_total{transport="tls",result="refused"} 11"#,
        r#"portolan_seats_taken{listener="dns"} 0"#,
        r#"portolan_seats{listener="dns"} 512"#,
        r#"portolan_waiting_bytes{listener="dns"} 0"#,
        r#"portolan_waiting_bytes_limit{listener="dns"} 1000"#,
        r#"portolan_zone_queries_total{zone="svc.example."} 73"#,
        "portolan_cert_expiry_seconds 2000000000",
        r#"portolan_state_writes_total{result="success"} 4"#,
        r#"portolan_state_writes_total{result="failure"} 1"#,
        r#"portolan_api_refused_total{reason="token"} 1"#,
        r#"portolan_api_refused_total{reason="host"} 0"#,
        r#"portolan_state_unsaved_since_timestamp_seconds{file="overrides.json"} 1700.5"#,
        r#"portolan_endpoint_held_down{zone="svc.example.",endpoint="fra1"} 1"#,
        r#"portolan_endpoint_held_down{zone="svc.example.",endpoint="nyc"} 0"#,
        r#"portolan_endpoint_suspect{zone="svc.example.",endpoint="fra1"} 1"#,
        r#"portolan_endpoint_suspect{zone="svc.example.",endpoint="plain"} 0"#,
        r#"portolan_name_eligible{zone="svc.example.",name="www"} 0"#,
        r#"portolan_name_on_empty{zone="svc.example.",name="www"} 0"#,
        r#"portolan_name_preferred{zone="svc.example.",name="www"} 1"#,
        concat!("portolan_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "# TYPE portolan_probe_seconds histogram",
        "# TYPE portolan_rtt_seconds gauge",
        "# TYPE portolan_answers_total counter",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in\n{}", lines.join("\n"));
    }
    for of_process in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
        let name = format!("process_{of_process} ");
        let value = lines.iter().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
        assert!(
            value.parse::<f64>().is_ok_and(|value| value > 0.0 || of_process == "cpu_seconds_total"),
            "{name}{value}"
        );
    }
}

#[test]
fn every_sample_is_of_a_listed_family_and_stands_below_its_head() {
    let metrics = Metrics::new();
    metrics.probe_ended("ns1", "tcp", ProbeResult::Success, Duration::from_millis(3));
    let lines = scraped(&metrics, &snapshot(model()));
    let mut family: Option<&Family> = None;
    for line in &lines {
        if let Some(head) = line.strip_prefix("# HELP ") {
            let next = families::ALL.iter().find(|family| head == format!("{} {}", family.name, family.help));
            assert!(next.is_some(), "{line} is not listed");
            family = next;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let of = family.map(|family| format!("{} {}", family.name, family.kind.as_str()));
            assert_eq!(Some(kind.to_owned()), of, "every family once, with its kind");
        } else {
            let (name, _) = line.split_once(['{', ' ']).unwrap();
            let of = family.map_or("", |family| family.name);
            assert!(
                name == of || ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{of}{end}")),
                "{line}"
            );
        }
    }
}

#[test]
fn the_list_names_each_family_once_and_says_what_it_means() {
    let mut names: Vec<&str> = families::ALL.iter().map(|family| family.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    for Family { name, kind, labels, help } in families::ALL {
        assert!(name.starts_with("portolan_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == families::MetricKind::Counter, "{name}");
        assert!(help.ends_with('.') && !labels.contains(&"le"), "{name}");
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
    assert_eq!((of_plain(&all), of_plain(&left)), (7, 0), "{}", left.join("\n"));
    assert_eq!(left.len(), all.len() - 7);
}
