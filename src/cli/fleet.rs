//! What `portolan status` shows of the fleet.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::text;
use crate::control::fleet::{DifferingReport, EventsReport, FleetReport, LeftOutReport, NatsReport, NodeEventsReport};
use crate::control::fleet::{OverridesReport, TargetsReport, VantageTraffic};
use crate::control::status::VantageStatus;

/// A line about the connection, one about what is probed, and one for each thing that needs attention. `counted` are
/// the vantages that the server counts.
pub(super) fn human(fleet: &FleetReport, counted: &[VantageStatus]) -> String {
    let FleetReport { cluster, nats, targets, overrides, vantages, events, .. } = fleet;
    let NatsReport { for_ms, server, problem, .. } = nats;
    let since = text::span(Duration::from_millis(*for_ms));
    let mut shown = match (nats.is_connected(), server) {
        (true, Some(server)) => format!("\nfleet {cluster}: connected to NATS at {server} for {since}\n"),
        (true, None) => format!("\nfleet {cluster}: connected to NATS for {since}\n"),
        (false, _) => {
            format!(
                "\nfleet {cluster}: NO CONNECTION TO NATS for {since}; this node goes on alone until there is one\n"
            )
        }
    };
    if let Some(problem) = problem {
        let _ = writeln!(shown, "NATS: {problem}");
    }
    shown.push_str(&of_targets(targets));
    overrides.iter().for_each(|overrides| shown.push_str(&of_overrides(overrides, nats.is_connected())));
    shown.push_str(&events.as_ref().map_or(String::new(), of_events));
    for vantage in vantages.iter().filter(|vantage| counted.iter().all(|counted| counted.name != vantage.name)) {
        let VantageTraffic { name, region, .. } = vantage;
        let _ = writeln!(shown, "{name} IS NOT COUNTED: this server has no [regions.{region}]");
    }
    shown
}

fn of_targets(targets: &TargetsReport) -> String {
    let TargetsReport { state, problem, zones, checks, not_allowed, refused, refused_why, differing, .. } = targets;
    let mut shown = match state.as_str() {
        TargetsReport::WAITING => "the fleet's targets were not read yet\n".to_owned(),
        _ => format!("the fleet probes {checks} checks of {zones} zones\n"),
    };
    if let Some(problem) = problem {
        let _ = writeln!(shown, "TARGETS: {problem}");
    }
    if *not_allowed > 0 {
        let _ = writeln!(shown, "{not_allowed} checks need programs that [vantage] exec does not list");
    }
    for LeftOutReport { zone, checks, why } in &targets.left_out_zones {
        let _ = writeln!(shown, "vantages do NOT probe {checks} checks of {zone}: {why}");
    }
    if *refused > 0 {
        let why = refused_why.as_deref().unwrap_or("unknown");
        let _ = writeln!(shown, "{refused} targets can't be used here, such as: {why}");
    }
    for DifferingReport { node, zone, serial, fleet_serial, missing } in differing {
        let how = match (*missing, serial == fleet_serial) {
            (true, _) => format!("does not have it, the fleet probes serial {fleet_serial}"),
            (false, true) => format!("has other checks with the same serial {serial}: its policy files differ"),
            (false, false) => format!("has serial {serial}, the fleet probes {fleet_serial}"),
        };
        let _ = writeln!(shown, "{node} DIFFERS in {zone}: {how}");
    }
    shown
}

/// Nothing if all events are in the stream, and all of it was read.
fn of_events(events: &EventsReport) -> String {
    let EventsReport { state: _, problem, last: _, acknowledged, waiting, lost, nodes, refused } = events;
    let mut shown = String::new();
    if *waiting > 0 {
        let _ = writeln!(shown, "{waiting} events wait for the fleet's stream, which has them up to {acknowledged}");
    }
    if let Some(problem) = problem {
        let _ = writeln!(shown, "EVENTS: {problem}");
    }
    if *lost > 0 {
        let _ = writeln!(shown, "{lost} events never came into the fleet's stream: the log no longer had them");
    }
    for NodeEventsReport { node, missing, .. } in nodes.iter().filter(|of| of.missing > 0) {
        let _ = writeln!(shown, "{missing} events of {node} are missing in the fleet's stream");
    }
    let refused: u64 = refused.values().sum();
    if refused > 0 {
        let _ = writeln!(shown, "{refused} events of the fleet's stream can't be used here");
    }
    shown
}

/// A line for each thing that needs attention.
fn of_overrides(overrides: &OverridesReport, is_connected: bool) -> String {
    let OverridesReport { problem, pending, refused, refused_why, servers, .. } = overrides;
    let mut shown = String::new();
    // Without a connection the line about NATS has it already.
    if let Some(problem) = problem.as_ref().filter(|_| is_connected) {
        let _ = writeln!(shown, "OVERRIDES: {problem}");
    }
    if *pending > 0 {
        let _ = writeln!(shown, "{pending} changes of overrides are NOT YET SHARED: other servers don't have them");
    }
    for server in servers {
        let _ = match server.state.as_str() {
            "behind" => writeln!(shown, "{} DOES NOT HAVE the newest overrides yet", server.node),
            "silent" => {
                let since = text::span(Duration::from_millis(server.age_ms));
                writeln!(
                    shown,
                    "the server {} is SILENT for {since}: it may not have the newest overrides",
                    server.node
                )
            }
            _ => Ok(()),
        };
    }
    if *refused > 0 {
        let why = refused_why.as_deref().unwrap_or("a message of a server");
        let _ = writeln!(shown, "{refused} overrides of the fleet can't be used here, such as: {why}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fleet::TakenReport;

    #[test]
    fn overrides_that_are_not_everywhere_are_shown() {
        let server = |node: &str, state: &str| TakenReport {
            node: node.into(),
            state: state.into(),
            pending: 0,
            age_ms: 60_000,
        };
        let quiet = OverridesReport { servers: vec![server("ns2", "current")], ..OverridesReport::default() };
        assert_eq!(of_overrides(&quiet, true), "");
        let loud = OverridesReport {
            problem: Some("no quorum".into()),
            pending: 2,
            refused: 3,
            refused_why: Some("00: version 2".into()),
            servers: vec![server("ns2", "behind"), server("ns3", "silent")],
            ..quiet
        };
        assert_eq!(
            of_overrides(&loud, true),
            "OVERRIDES: no quorum\n\
             2 changes of overrides are NOT YET SHARED: other servers don't have them\n\
             ns2 DOES NOT HAVE the newest overrides yet\n\
             the server ns3 is SILENT for 60 s: it may not have the newest overrides\n\
             3 overrides of the fleet can't be used here, such as: 00: version 2\n"
        );
        assert!(!of_overrides(&loud, false).contains("no quorum"));
    }

    #[test]
    fn a_vantage_of_an_unknown_region_is_shown() {
        let traffic = |name: &str| VantageTraffic {
            name: name.into(),
            region: "mars".into(),
            checks: 1,
            messages: 1,
            octets: 1,
            gaps: 0,
            refused: Default::default(),
        };
        let nats = NatsReport {
            state: NatsReport::CONNECTED.into(),
            for_ms: 1000,
            server: None,
            connections: 1,
            problem: None,
            dropped: 0,
            missed: 0,
        };
        let fleet = FleetReport {
            cluster: "prod".into(),
            nats,
            targets: TargetsReport { state: "current".into(), ..TargetsReport::default() },
            overrides: None,
            reports_sent: 0,
            vantages: vec![traffic("m1"), traffic("m2")],
            refused_strangers: Default::default(),
            refused_beats: 0,
            events: None,
            reports_overtaken: 0,
        };
        let counted =
            VantageStatus { name: "m2".into(), region: "mars".into(), state: "up".into(), why: None, age_ms: None };
        let shown = human(&fleet, &[counted]);
        assert!(shown.ends_with("m1 IS NOT COUNTED: this server has no [regions.mars]\n"), "{shown}");
        assert!(!shown.contains("m2"), "{shown}");
    }

    #[test]
    fn who_differs_and_what_is_not_probed_is_shown() {
        let differing = |serial, fleet_serial| DifferingReport {
            node: "ns2".into(),
            zone: "svc.example.".into(),
            serial,
            fleet_serial,
            missing: serial == 0,
        };
        let targets = TargetsReport {
            state: "away".into(),
            problem: Some("no reply".into()),
            zones: 1,
            checks: 3,
            not_allowed: 2,
            left_out: 4,
            left_out_zones: vec![LeftOutReport {
                zone: "big.example.".into(),
                checks: 4,
                why: "too many checks".into(),
            }],
            refused: 1,
            refused_why: Some("a key that this release does not have".into()),
            differing: vec![differing(4, 5), differing(5, 5), differing(0, 5)],
        };
        assert_eq!(
            of_targets(&targets),
            "the fleet probes 3 checks of 1 zones
TARGETS: no reply
2 checks need programs that [vantage] exec does not list
vantages do NOT probe 4 checks of big.example.: too many checks
1 targets can't be used here, such as: a key that this release does not have
ns2 DIFFERS in svc.example.: has serial 4, the fleet probes 5
ns2 DIFFERS in svc.example.: has other checks with the same serial 5: its policy files differ
ns2 DIFFERS in svc.example.: does not have it, the fleet probes serial 5
"
        );
        assert_eq!(
            of_targets(&TargetsReport { state: "waiting".into(), ..TargetsReport::default() }),
            "the fleet's targets were not read yet\n"
        );
    }

    #[test]
    fn events_are_shown_only_if_something_is_behind() {
        let mut events = EventsReport { state: "current".into(), last: 9, acknowledged: 9, ..EventsReport::default() };
        assert_eq!(of_events(&events), "");
        events.nodes = vec![NodeEventsReport { node: "ns2".into(), last: 7, missing: 3 }];
        (events.waiting, events.acknowledged, events.lost) = (4, 5, 2);
        events.problem = Some("no connection to NATS".into());
        events.refused = [("malformed".to_owned(), 6)].into();
        assert_eq!(
            of_events(&events),
            "4 events wait for the fleet's stream, which has them up to 5
EVENTS: no connection to NATS
2 events never came into the fleet's stream: the log no longer had them
3 events of ns2 are missing in the fleet's stream
6 events of the fleet's stream can't be used here
"
        );
    }

    #[test]
    fn the_connection_is_one_line_and_a_problem_another() {
        let mut fleet = FleetReport {
            cluster: "prod".into(),
            nats: NatsReport {
                state: NatsReport::CONNECTED.into(),
                for_ms: 90_000,
                server: Some("nats1".into()),
                connections: 1,
                problem: None,
                dropped: 0,
                missed: 0,
            },
            targets: TargetsReport { state: "current".into(), zones: 2, checks: 7, ..TargetsReport::default() },
            overrides: None,
            reports_sent: 0,
            vantages: vec![],
            refused_strangers: Default::default(),
            refused_beats: 0,
            events: None,
            reports_overtaken: 0,
        };
        assert_eq!(
            human(&fleet, &[]),
            "\nfleet prod: connected to NATS at nats1 for 90 s\nthe fleet probes 7 checks of 2 zones\n"
        );
        fleet.nats.state = NatsReport::AWAY.into();
        fleet.nats.problem = Some("authorization violation".into());
        assert_eq!(
            human(&fleet, &[]),
            "\nfleet prod: NO CONNECTION TO NATS for 90 s; this node goes on alone until there is one\n\
             NATS: authorization violation\nthe fleet probes 7 checks of 2 zones\n"
        );
    }
}
