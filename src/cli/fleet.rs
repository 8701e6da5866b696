//! What `portolan status` shows of the fleet.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::text;
use crate::control::fleet::{FleetReport, NatsReport};

/// A line about the connection, and one for each thing that needs attention.
pub(super) fn human(fleet: &FleetReport) -> String {
    let FleetReport { cluster, nats } = fleet;
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
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

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
        };
        assert_eq!(human(&fleet), "\nfleet prod: connected to NATS at nats1 for 90 s\n");
        fleet.nats.state = NatsReport::AWAY.into();
        fleet.nats.problem = Some("authorization violation".into());
        assert_eq!(
            human(&fleet),
            "\nfleet prod: NO CONNECTION TO NATS for 90 s; this node goes on alone until there is one\n\
             NATS: authorization violation\n"
        );
    }
}
