//! One steered name as plain data. The server writes it as JSON; the command line reads it back.

use serde::{Deserialize, Serialize};

use crate::control::explain::AnswerReport;

/// One steered name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NameReport {
    /// Its zone, with the final dot.
    pub zone: String,
    /// The name as the policy file writes it.
    pub name: String,
    /// How many endpoints of its own pool may be answered with now.
    pub eligible: usize,
    /// Whether `on_empty` answers some client now.
    pub on_empty: bool,
    /// Whether every client gets what the policy prefers: what it would give if every endpoint were up, nothing were
    /// overridden and no failover pool stayed with another choice.
    pub preferred: bool,
    /// What each class of clients gets, for each type that the policy answers.
    pub classes: Vec<ClassReport>,
    /// Why it is not what the policy prefers, in sentences; empty while it is.
    pub notes: Vec<String>,
}

/// What one class of clients gets for one type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// `any` where all clients get the same; else the region (`unknown` without one) and what else the policy asks
    /// about them; `others` for those of whom none of it holds.
    pub class: String,
    /// The type of the records.
    #[serde(rename = "type")]
    pub rtype: String,
    /// `endpoints`, `static` (the zone file's records) or `nodata`.
    pub gives: String,
    /// Where that comes from: the name's own pool or endpoint, or `on_empty`.
    pub from: String,
    /// The records that a reply may hold, each with its probability.
    pub answers: Vec<AnswerReport>,
    /// Seconds.
    pub ttl: u32,
    /// Whether `on_empty` answers.
    pub on_empty: bool,
    /// Whether it is what the policy prefers.
    pub preferred: bool,
    /// The endpoints that the policy prefers, where it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefers: Vec<String>,
}
