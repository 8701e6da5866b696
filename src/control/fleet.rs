//! The part of `/v1/status` about the fleet, as plain data. The daemon makes it; metrics and the command line read it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Reads the state of the fleet at this moment. Must not block.
pub type ReadFleet = Arc<dyn Fn() -> FleetReport + Send + Sync>;

/// The fleet as this node knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetReport {
    /// Its name.
    pub cluster: String,
    /// The connection to its NATS servers.
    pub nats: NatsReport,
}

/// The connection to the NATS servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NatsReport {
    /// `connected` or `away`.
    pub state: String,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// The NATS server; absent without a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// How often the connection was made since the start.
    pub connections: u64,
    /// Why there is no connection, or what the NATS server refused last; absent if nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Messages that were not sent, because there was no connection or it was too slow.
    pub dropped: u64,
    /// Messages that came faster than they were read.
    pub missed: u64,
}

impl NatsReport {
    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.state == NatsReport::CONNECTED
    }

    /// The state with a connection.
    pub const CONNECTED: &'static str = "connected";
    /// The state without one.
    pub const AWAY: &'static str = "away";
}
