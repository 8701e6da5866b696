//! This server in the JSON of the API: its name, its version, how long it runs, and its queries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::history::TrafficReport;

/// The server that responds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerReport {
    /// The name of the node.
    pub node: String,
    /// The version of the program.
    pub version: String,
    /// Its time now, in Unix seconds.
    pub at: f64,
    /// Since when it runs, in Unix seconds.
    pub started: f64,
    /// How long it runs, in seconds.
    pub uptime_s: u64,
    /// Its queries; absent on a node that answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficReport>,
}
