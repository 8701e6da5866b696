//! What a server reports of a drill: in `/v1/status`, and as messages to the client that began it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::drill::DrillKind;

/// A drill that runs, or that has just ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrillStatus {
    /// Its number, from 1. One that is interrupted has the number of the process before.
    pub id: u64,
    /// What it loses.
    pub drill: DrillKind,
    /// The name of the region, endpoint or vantage; empty for `lose-fleet`.
    pub target: String,
    /// Who began it: the name of the token.
    pub who: String,
    /// `lost`, `restoring`, `restored`, `failed` or `aborted`.
    pub phase: String,
    /// When the loss began, in Unix seconds.
    pub injected_at: f64,
    /// When it ends at the latest, in Unix seconds.
    pub ends_at: f64,
    /// From the loss to the verdict of a vantage on every lost endpoint, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_ms: Option<f64>,
    /// From the loss to the agreement that every lost endpoint is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decide_ms: Option<f64>,
    /// From the loss to the first snapshot without the lost endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_ms: Option<f64>,
    /// Why it was aborted; it begins with `interrupted` if the server ended in the middle of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<String>,
    /// When everything was served as before, in Unix seconds; absent if something was not: `left` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<f64>,
    /// The endpoints that were not agreed to be down when the loss ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unnoticed: Vec<String>,
    /// What was not restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl DrillStatus {
    /// The loss is in force.
    pub const LOST: &'static str = "lost";
    /// The loss has ended, and the answers are not those from before yet.
    pub const RESTORING: &'static str = "restoring";
    /// The drill lasted its time, and everything is as before.
    pub const RESTORED: &'static str = "restored";
    /// The drill lasted its time, and something is not as before: `left` has it.
    pub const FAILED: &'static str = "failed";
    /// The drill ended early, and everything is as before as far as the drill changed it.
    pub const ABORTED: &'static str = "aborted";

    /// A drill of `who` whose loss begins now and lasts `lasting` seconds at most.
    pub fn begun(
        id: u64,
        (drill, target): (DrillKind, &str),
        who: &str,
        injected_at: f64,
        lasting: f64,
    ) -> DrillStatus {
        DrillStatus {
            id,
            drill,
            target: target.to_owned(),
            who: who.to_owned(),
            phase: DrillStatus::LOST.to_owned(),
            injected_at,
            ends_at: injected_at + lasting,
            detect_ms: None,
            decide_ms: None,
            publish_ms: None,
            aborted: None,
            restored_at: None,
            unnoticed: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        [DrillStatus::RESTORED, DrillStatus::FAILED, DrillStatus::ABORTED].contains(&self.phase.as_str())
    }
}
