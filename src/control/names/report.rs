//! One steered name as plain data. The server writes it as JSON; the command line reads it back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::explain::AnswerReport;

/// One steered name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NameReport {
    /// The zone, with the final dot.
    pub zone: String,
    /// The name as the policy file writes it.
    pub name: String,
    /// How many endpoints of its own pool are eligible now.
    pub eligible: usize,
    /// Whether `on_empty` answers any client now.
    pub on_empty: bool,
    /// Whether every client gets what the policy prefers: what it would give if every endpoint were up, no override
    /// were in force, and no failover pool stayed on another choice.
    pub preferred: bool,
    /// What each class of clients gets, for each type that the policy answers.
    pub classes: Vec<ClassReport>,
    /// Why some clients do not get what the policy prefers, in sentences; empty while all do.
    pub notes: Vec<String>,
    /// How often each endpoint was in a reply in the last minutes; absent before that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredSplit>,
}

/// How often each endpoint was in a reply for a name, to all clients and for all types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MeasuredSplit {
    /// The measured time in seconds.
    pub over_s: u64,
    /// The endpoints that were in a reply, with how often.
    pub answers: Vec<MeasuredEndpoint>,
}

/// One endpoint of a [`MeasuredSplit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MeasuredEndpoint {
    /// The endpoint.
    pub endpoint: String,
    /// How many replies it was in.
    pub count: u64,
}

/// What one class of clients gets for one type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassReport {
    /// `any` if all clients get the same; else the region (`unknown` without one) and the other properties that the
    /// policy looks at; `others` for clients with none of them.
    pub class: String,
    /// The type of the records.
    #[serde(rename = "type")]
    pub rtype: String,
    /// `endpoints`, `static` (the records of the zone file) or `nodata`.
    pub gives: String,
    /// Where the answer comes from: the name's own pool or endpoint, or `on_empty`.
    pub from: String,
    /// The records that a reply may contain, each with its probability.
    pub answers: Vec<AnswerReport>,
    /// The TTL in seconds.
    pub ttl: u32,
    /// Whether `on_empty` answers.
    pub on_empty: bool,
    /// Whether the policy prefers this answer.
    pub preferred: bool,
    /// The endpoints that the policy prefers, if it prefers others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefers: Vec<String>,
}
