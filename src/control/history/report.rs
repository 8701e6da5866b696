//! The history in the JSON of the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The response of `/v1/history`. All series have the same length; the last value is that of `end`, and the values are
/// `step_s` apart. A value that is missing is `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryReport {
    /// When the last sample was made, in Unix seconds; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// Seconds between two samples.
    pub step_s: u64,
    /// Queries a second of this server.
    pub qps: Vec<Option<f32>>,
    /// The series of endpoints, or of regions.
    pub series: Vec<SeriesReport>,
    /// How many series there are in addition that the limit of the request left out.
    pub left_out: usize,
    /// How many series the server has no room for.
    pub not_stored: usize,
}

/// One series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeriesReport {
    /// `answers`: how often the endpoint was in a reply, a second. `rtt`: milliseconds.
    pub kind: String,
    /// The zone, with the final dot; absent for a region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The endpoint; absent for a region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region of the endpoint; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// For an RTT: the region that measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The values, the oldest first.
    pub values: Vec<Option<f32>>,
}

/// The queries of the last minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrafficReport {
    /// Replies since the start.
    pub queries: u64,
    /// Queries a second, in the last second.
    pub qps: f32,
    /// Queries a second of the last minute, one value for each second, the oldest first.
    pub recent: Vec<f32>,
}
