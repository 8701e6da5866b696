//! The operator's side: HTTP API, status page, explain. Reads the snapshot that is being served and changes nothing.
//! The daemon fills a [`State`] and calls [`serve`]; everything here is a view of that state.

mod events;
pub mod explain;
#[cfg(test)]
pub(crate) mod fixture;
mod http;
mod page;
mod problem;
mod serve;
pub mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::config::Problem;
use crate::snapshot::{Snapshot, Transition};

pub use events::{Event, RECENT_TRANSITIONS};
pub use http::router;
pub use problem::ProblemDetails;
pub use serve::serve;

/// What the HTTP side reads. Cheap to clone; all clones share the same things.
#[derive(Clone)]
pub struct State {
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) transitions: broadcast::Sender<Transition>,
    pub(crate) readiness: watch::Receiver<Readiness>,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) metrics: RenderMetrics,
    pub(crate) recent: Arc<Mutex<events::Recent>>,
    pub(crate) streams: Arc<Semaphore>,
}

/// Gives the whole of `/metrics` as Prometheus text, exact at the moment of the call.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

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
    /// Whether the files as they were then are served; when not, the generation before goes on.
    pub ok: bool,
    /// When, in Unix seconds.
    pub at: f64,
    /// What was wrong with them; warnings too, also when it went well.
    pub problems: Vec<Problem>,
}

impl State {
    /// A state that reads these. The last transitions are remembered from here on, as many as the channel holds and
    /// [`RECENT_TRANSITIONS`] at most.
    pub fn new(
        snapshots: Arc<ArcSwap<Snapshot>>,
        transitions: broadcast::Sender<Transition>,
        readiness: watch::Receiver<Readiness>,
        reload: Arc<ArcSwap<ReloadStatus>>,
        metrics: RenderMetrics,
    ) -> State {
        let recent = Arc::new(Mutex::new(events::Recent::following(&transitions)));
        let streams = Arc::new(Semaphore::new(events::MAX_STREAMS));
        State { snapshots, transitions, readiness, reload, metrics, recent, streams }
    }
}
