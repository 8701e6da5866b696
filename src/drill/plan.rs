//! The plan of a drill, as the server makes it from a simulation. Plain data.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::drill::DrillKind;

/// Most questions that a client repeats at each server. Judgment: with twenty a second of each that is under 200
/// queries a second.
pub const MAX_QUESTIONS: usize = 8;

/// What a drill will do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrillPlan {
    /// What it loses.
    pub drill: DrillKind,
    /// The name of the region, endpoint or vantage; empty for `lose-fleet`.
    pub target: String,
    /// How long it lasts, in seconds.
    pub for_secs: f64,
    /// The generation that is served.
    pub generation: u64,
    /// The endpoints that are lost.
    pub lost: Vec<LostEndpoint>,
    /// The vantages whose reports are lost.
    pub lost_vantages: Vec<String>,
    /// The endpoints whose share of the answers changes.
    pub moves: Vec<ShareMove>,
    /// What the client repeats at each server.
    pub questions: Vec<DrillQuestion>,
    /// Where this server answers DNS.
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<SocketAddr>,
    /// Queries a second of the simulation, if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qps: Option<f64>,
    /// The demand as text.
    pub demand: String,
    /// Notes for people.
    pub notes: Vec<String>,
}

/// An endpoint that is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LostEndpoint {
    /// Its name.
    pub endpoint: String,
    /// Its zone.
    pub zone: String,
    /// Its region.
    pub region: Option<String>,
}

/// The share of one endpoint before and during the drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShareMove {
    /// Its name.
    pub endpoint: String,
    /// Its zone.
    pub zone: String,
    /// Its share of all questions now, 0 to 1.
    pub before: f64,
    /// Its share during the drill.
    pub after: f64,
    /// Queries a second that it would get, if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qps: Option<f64>,
    /// Answers a second that it can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// A question whose answer has a lost endpoint before the drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrillQuestion {
    /// The full name.
    pub name: String,
    /// The type: `A`, `AAAA` or `CNAME`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The address for which the client asks, by ECS; absent: its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// The class of these clients.
    pub class: String,
    /// The probability that a lost endpoint is in a reply, 0 to 1.
    pub probability: f64,
    /// The `rto` of the name, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_ms: Option<f64>,
    /// The records of the lost endpoints: addresses, or names of aliases.
    pub lost: Vec<String>,
    /// The records that the fence of these clients allows; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
}
