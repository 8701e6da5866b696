//! The report of a drill as plain data.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::drill::{DrillKind, LostEndpoint, ShareMove};

/// The result of a drill. Moments (`_at`) are Unix seconds: `restored_at` by the server's clock, the others by the
/// client's. Durations count from the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    /// What it lost.
    pub drill: DrillKind,
    /// The name of the region, endpoint or vantage; empty for `lose-fleet`.
    pub target: String,
    /// Whether it lasted its time, every answer recovered within the rto, nothing broke, and everything was restored.
    pub ok: bool,
    /// What was wrong, a sentence each; empty if it is ok.
    pub problems: Vec<String>,
    /// Why it ended early.
    pub aborted: Option<String>,
    /// Who began it: the name of the token.
    pub who: String,
    /// When the loss began, Unix seconds.
    pub injected_at: f64,
    /// When the last stale answer of a server came, Unix seconds; null if there was none.
    pub last_stale_at: Option<f64>,
    /// When everything was served as before, Unix seconds; null if that is not known.
    pub restored_at: Option<f64>,
    /// From the loss to the last stale answer of a server, in milliseconds; null if there was none.
    pub recovery_ms: Option<f64>,
    /// From the loss to the verdict of a vantage on every lost endpoint.
    pub detect_ms: Option<f64>,
    /// From the loss to the agreement that all of them are down.
    pub decide_ms: Option<f64>,
    /// From the loss to the first snapshot without them, on the server that ran the drill.
    pub publish_ms: Option<f64>,
    /// The longest recovery that is accepted, in milliseconds: that of the strictest name.
    pub rto_ms: f64,
    /// Whether every answer recovered within it; null if that was not measured, because the drill was aborted.
    pub within_rto: Option<bool>,
    /// How long the drill was to last, in seconds.
    pub for_secs: f64,
    /// The generation that was served.
    pub generation: u64,
    /// The lost endpoints.
    pub lost: Vec<LostEndpoint>,
    /// The vantages whose reports were lost.
    pub lost_vantages: Vec<String>,
    /// The endpoints whose share of the answers changed.
    pub moves: Vec<ShareMove>,
    /// What was measured at each server and resolver.
    pub servers: Vec<DrilledServer>,
    /// Notes for people.
    pub notes: Vec<String>,
}

/// What was measured at one server, or through one resolver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrilledServer {
    /// Its address.
    pub server: String,
    /// Whether it is a resolver: its answers are as old as the TTL allows.
    pub resolver: bool,
    /// From the loss to the last stale answer, in milliseconds; null if there was none, or if the recovery of a
    /// question was not measured.
    pub recovery_ms: Option<f64>,
    /// When the last stale answer came, Unix seconds.
    pub last_stale_at: Option<f64>,
    /// When the first answer came after which all questions had answers without lost endpoints, Unix seconds.
    pub fresh_at: Option<f64>,
    /// By question.
    pub questions: Vec<QuestionReport>,
}

impl DrilledServer {
    /// Whether the recovery of each question was measured.
    pub fn is_measured(&self) -> bool {
        self.questions.iter().all(|question| question.recovered.is_some())
    }
}

/// What was measured for one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuestionReport {
    /// The full name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The address for which the client asked; absent: its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The class of these clients.
    pub class: String,
    /// Questions sent.
    pub sent: u64,
    /// Questions without an answer in time.
    pub timed_out: u64,
    /// Answers with a lost endpoint during the loss.
    pub stale: u64,
    /// From the loss to the last of them, in milliseconds; null if there was none, or if the recovery was not measured.
    pub recovery_ms: Option<f64>,
    /// The longest recovery that is accepted, in milliseconds.
    pub rto_ms: f64,
    /// Whether answers without lost endpoints followed; null if that was not measured, because the drill was aborted
    /// before.
    pub recovered: Option<bool>,
    /// Answers without records during the loss.
    pub empty: u64,
    /// Records that the fence of these clients forbids.
    pub outside_fence: u64,
    /// From the end of the loss to the first answer with a lost endpoint, in milliseconds; null if none came.
    pub back_ms: Option<f64>,
}
