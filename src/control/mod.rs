//! The operator's side: HTTP API, status page, explain, overrides. Reads the snapshot that is being served; what is to be
//! changed goes to the daemon as a [`Command`]. The daemon fills a [`ApiState`] and calls [`serve`]; all else here is a view
//! of that state.

mod access;
pub mod command;
mod events;
pub mod explain;
pub mod failback;
mod heartbeat;
mod http;
mod journal;
pub mod moved;
pub mod names;
mod operate;
pub mod overrides;
mod page;
mod problem;
mod requests;
mod serve;
pub mod simulate;
pub mod status;
pub mod target;
#[cfg(test)]
pub(crate) mod test_world;
#[cfg(test)]
mod tests;
pub mod unanswered;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::{Problem, Tokens, ZoneState};
use crate::control::names::NameStateCache;
use crate::control::overrides::Book;
use crate::control::status::ReloadReport;
use crate::health::BeatSender;
use crate::snapshot::Snapshot;

pub use command::Command;
pub use events::JournalEvent;
pub use heartbeat::{HeartbeatResponse, PutHeartbeat};
pub use http::router;
pub use journal::{Journal, KEPT_EVENTS, RECENT_TRANSITIONS};
pub use problem::ProblemDetails;
pub use serve::serve;

/// What the HTTP side reads. Cheap to clone; all clones share the same things.
#[derive(Clone)]
pub struct ApiState {
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) readiness: watch::Receiver<Readiness>,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) metrics: RenderMetrics,
    pub(crate) controls: Controls,
    pub(crate) names: Arc<NameStateCache>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) simulations: Arc<Semaphore>,
}

/// What the calls that change something need.
#[derive(Debug, Clone)]
pub struct Controls {
    /// Where commands go.
    pub commands: mpsc::Sender<Command>,
    /// Who may call; none: all of those calls are off.
    pub tokens: Arc<ArcSwapOption<Tokens>>,
    /// The overrides that hold.
    pub book: Arc<ArcSwap<Book>>,
    /// Where heartbeats go.
    pub beats: BeatSender,
}

/// Gives the whole of `/metrics` as Prometheus text, exact at the moment of the call; may take a while where there are many
/// names, so it is called where blocking is no harm.
pub type RenderMetrics = Arc<dyn Fn(&NameStateCache) -> String + Send + Sync>;

/// Whether this process answers queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// Not yet: the first probe round has not ended.
    #[default]
    Starting,
    /// It does.
    Serving,
    /// No longer: it is on its way out. Ends event streams.
    Stopping,
}

/// How the last attempt to load the files ended.
#[derive(Debug, Clone, Default)]
pub struct ReloadStatus {
    /// Whether the files as they were then are served, all of them.
    pub ok: bool,
    /// When, in Unix seconds.
    pub at: f64,
    /// What is served since.
    pub generation: u64,
    /// What was wrong with them; warnings too, also when it went well.
    pub problems: Vec<Problem>,
    /// How each zone stands since.
    pub zones: Arc<[ZoneState]>,
    /// Why changes of the files are only seen every few seconds; `None` where the system gives notice of them.
    pub unnoticed: Option<String>,
}

/// The answer to `POST /v1/reload`: the files as they are now are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadResponse {
    /// What is served.
    pub generation: u64,
    /// When, and the warnings.
    #[serde(flatten)]
    pub report: ReloadReport,
}

impl ApiState {
    /// A state that reads these.
    pub fn new(
        snapshots: Arc<ArcSwap<Snapshot>>,
        journal: Arc<Journal>,
        readiness: watch::Receiver<Readiness>,
        reload: Arc<ArcSwap<ReloadStatus>>,
        metrics: RenderMetrics,
        controls: Controls,
    ) -> ApiState {
        let names = Arc::new(NameStateCache::default());
        let streams = Arc::new(Semaphore::new(events::MAX_STREAMS));
        let simulations = Arc::new(Semaphore::new(simulate::AT_A_TIME));
        ApiState { snapshots, journal, readiness, reload, metrics, controls, names, streams, simulations }
    }
}
