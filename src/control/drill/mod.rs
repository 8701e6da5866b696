//! Drills in the API: `POST /v1/drill` plans a drill or runs it, and the response to that call is the stream of its
//! status; when the client goes, the drill ends. The steering task runs it (`daemon::drill`).

mod board;
mod http;
mod plan;
mod questions;
mod session;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::control::json;
use crate::control::openapi::schemas;
use crate::control::simulate::DemandLine;
use crate::drill::{DrillKind, DrillPlan, DrillStatus, LostSet};

pub use board::{DrillBoard, DrillCounts};
pub(super) use http::{begin, renew, show, stop};
pub(crate) use plan::not_now;

/// The shortest drill. Judgment: nothing is detected in less.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest drill. Judgment: what is longer is no rehearsal; `force-down` is for that.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Most messages of a drill that wait for its client: there are fewer than ten in a drill.
pub const MAX_STATUSES: usize = 64;

/// The body of `POST /v1/drill`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostDrill {
    /// What it loses.
    pub drill: DrillKind,
    /// The name of the region, endpoint or vantage; left out for `lose-fleet`.
    #[serde(default)]
    pub target: String,
    /// For how long, such as `60s`.
    #[serde(rename = "for")]
    #[schema(schema_with = schemas::short_time)]
    pub lasting: String,
    /// Only plan it: the response is the plan.
    #[serde(default)]
    pub dry_run: bool,
    /// Queries a second of all clients together. Without this and without `demand`, those that the server answers now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qps: Option<f64>,
    /// How much each net asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "json::objects")]
    pub demand: Vec<DemandLine>,
}

/// The response to `GET /v1/drill`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrillShown {
    /// The drill that runs, or the last one of this process; null if there was none.
    pub drill: Option<DrillStatus>,
    /// Where this server answers DNS.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<SocketAddr>,
}

/// An order to begin a drill. The steering task executes it.
#[derive(Debug)]
pub struct DrillOrder {
    /// The plan.
    pub plan: Arc<DrillPlan>,
    /// What is lost, in the ids of the model of the plan.
    pub lost: LostSet,
    /// How long it lasts.
    pub lasting: Duration,
    /// The operator: the name of the token.
    pub who: Arc<str>,
    /// Cancelled when the client goes.
    pub client: CancellationToken,
    /// Receives the status at each change.
    pub statuses: mpsc::Sender<DrillStatus>,
    /// Receives the status when the loss is in force; or why the drill can't begin.
    pub reply: oneshot::Sender<Result<DrillStatus, String>>,
}
