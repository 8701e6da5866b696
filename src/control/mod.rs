//! The operator's side: the HTTP API, the status page, `explain`, `simulate` and overrides.
//!
//! The daemon makes an [`ApiState`] and calls [`serve`]. The handlers read the snapshot that is being served. They
//! send each change to the daemon as a [`Command`].

mod access;
mod caller;
pub mod command;
mod compression;
mod connections;
mod costly;
pub mod drill;
mod events;
pub mod explain;
pub mod failback;
pub mod feeds;
pub mod fleet;
mod fleet_events;
pub mod follow;
mod gate;
mod heartbeat;
pub mod history;
mod http;
pub mod idle;
mod journal;
mod json;
pub mod leases;
pub mod moved;
pub mod names;
mod openapi;
mod operate;
pub mod overrides;
mod page;
mod patient;
mod problem;
pub mod regions;
pub mod removal;
mod request;
mod request_log;
mod router;
mod sending;
mod serve;
pub mod server;
pub mod simulate;
pub mod sources;
mod state;
pub mod status;
pub mod target;
#[cfg(test)]
pub(crate) mod test_world;
#[cfg(test)]
mod tests;
pub mod unanswered;
pub mod unsaved;

pub use access::{ApiAccess, HostNames, Refusal, RefusalCounters};
pub use command::{Command, ReloadResponse};
pub use connections::ApiRoom;
pub use fleet::RelayBeat;
pub use fleet_events::FleetEvents;
pub(crate) use fleet_events::Reading;
pub(crate) use heartbeat::gate::{BeatGate, EndpointIndex, heartbeats};
pub use heartbeat::{HeartbeatResponse, PutHeartbeat};
pub use history::{BEAT, History, STEP};
pub use journal::{Journal, JournalEvent, JournalStart, MAX_BEHIND, MAX_EVENTS, RECENT_TRANSITIONS};
pub use openapi::document::document as openapi_document;
pub use problem::ProblemDetails;
pub use router::router;
pub use serve::{ApiRoutes, serve};
pub use state::{ApiState, Controls, Readiness, RenderMetrics};
pub use status::{ReloadStatus, Unnoticed};
