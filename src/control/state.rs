//! What the handlers of the HTTP API share: the snapshot that is being served, the journal of events, and the channel
//! for commands. The daemon makes one [`ApiState`] and passes it to [`super::router`].

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::control::access::ApiAccess;
use crate::control::command::{Command, LeaseOrder};
use crate::control::compression::SharedText;
use crate::control::connections::ApiRoom;
use crate::control::costly::{CallLimits, Costly};
use crate::control::drill::DrillBoard;
use crate::control::fleet::{ReadFleet, RelayBeat, SpreadReports};
use crate::control::fleet_events::FleetEvents;
use crate::control::follow::FollowBoard;
use crate::control::heartbeat::gate::BeatGate;
use crate::control::history::History;
use crate::control::journal::Journal;
use crate::control::names::cache::NameStateCache;
use crate::control::overrides::Book;
use crate::control::sources::SourceBoard;
use crate::control::status::{ReloadStatus, Status};
use crate::control::unsaved::DiskState;
use crate::health::BeatSender;
use crate::model::{Model, Moment};
use crate::sinks::SinkBoard;
use crate::snapshot::Snapshot;

/// What the HTTP handlers read. Cheap to clone; all clones share the same data.
#[derive(Clone)]
pub struct ApiState {
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) readiness: watch::Receiver<Readiness>,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) metrics: RenderMetrics,
    pub(crate) controls: Controls,
    pub(crate) names: Arc<NameStateCache>,
    pub(crate) room: ApiRoom,
    /// Reads the state of the fleet; `None`: this node is in no fleet.
    pub(crate) fleet: Option<ReadFleet>,
    /// The events of all servers; `None`: this node is no server of a fleet.
    pub(crate) fleet_events: Option<Arc<FleetEvents>>,
    pub(crate) history: Arc<History>,
    /// The sinks of events; `None`: there are none.
    pub(crate) sinks: Option<Arc<SinkBoard>>,
    /// The streams that are followed; `None`: there are none.
    pub(crate) follows: Option<Arc<FollowBoard>>,
    pub(crate) sources: Arc<SourceBoard>,
    /// When this process began to serve the API: on the monotonic clock, and in Unix seconds.
    pub(super) began: (Moment, f64),
    pub(super) costly: Costly,
    pub(super) simulations: Costly,
    pub(super) beat_gate: Arc<BeatGate>,
    /// The texts that are the same for every client.
    pub(super) texts: Arc<SharedTexts>,
}

/// Texts that all clients get that wait for them.
#[derive(Debug, Default)]
pub(super) struct SharedTexts {
    /// `/metrics`.
    pub(super) metrics: SharedText,
    /// `/v1/status`.
    pub(super) status: SharedText,
    /// The status page.
    pub(super) page: SharedText,
}

/// What the calls need that change something.
#[derive(Clone)]
pub struct Controls {
    /// Where commands are sent; `None`: a vantage, which has no zones.
    pub commands: Option<mpsc::Sender<Command>>,
    /// Who may call, under which host, and how often.
    pub access: Arc<ApiAccess>,
    /// The overrides in force.
    pub book: Arc<ArcSwap<Book>>,
    /// What of the state directory is not on the disk.
    pub disk: Arc<DiskState>,
    /// Adds to reports of overrides which servers have them; `None`: this node is in no fleet.
    pub spread: Option<SpreadReports>,
    /// Where heartbeats are sent.
    pub beats: BeatSender,
    /// Passes them on to the other servers of the fleet; `None`: this node is in no fleet.
    pub relay: Option<RelayBeat>,
    /// The drills.
    pub drill: Arc<DrillBoard>,
    /// Where orders for exclusive names are sent; `None`: this node is in no fleet.
    pub leases: Option<mpsc::Sender<LeaseOrder>>,
}

/// Renders all of `/metrics` as Prometheus text, with the values of this moment. With many names this takes long, so
/// the caller runs it on a thread that may block.
pub type RenderMetrics = Arc<dyn Fn(&NameStateCache) -> String + Send + Sync>;

/// Whether this process answers queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// Not yet: the first probe round has not ended.
    #[default]
    Starting,
    /// Yes.
    Serving,
    /// No longer: the process is stopping. Event streams end.
    Stopping,
}

impl ApiState {
    /// A state over these parts.
    pub fn new(
        snapshots: Arc<ArcSwap<Snapshot>>,
        journal: Arc<Journal>,
        readiness: watch::Receiver<Readiness>,
        reload: Arc<ArcSwap<ReloadStatus>>,
        metrics: RenderMetrics,
        controls: Controls,
    ) -> ApiState {
        let names = Arc::new(NameStateCache::default());
        let room = ApiRoom::default();
        let simulations = Costly::with(CallLimits::SIMULATIONS);
        let (costly, texts) = Default::default();
        let (fleet, fleet_events) = (None, None);
        ApiState {
            snapshots,
            journal,
            readiness,
            reload,
            metrics,
            controls,
            names,
            room,
            fleet,
            fleet_events,
            history: Arc::default(),
            sinks: None,
            follows: None,
            sources: Arc::default(),
            began: (clock::now(), clock::unix_seconds()),
            costly,
            simulations,
            beat_gate: Arc::default(),
            texts,
        }
    }

    /// The same with the calls that cost much on these threads. Without this they run on those of the caller's runtime
    /// that may block.
    pub fn with_costly_calls_on(self, threads: Handle) -> ApiState {
        let (costly, simulations) = (self.costly.on(threads.clone()), self.simulations.on(threads));
        ApiState { costly, simulations, ..self }
    }

    /// The same for a node of a fleet.
    pub fn with_fleet(self, fleet: Option<ReadFleet>) -> ApiState {
        ApiState { fleet, ..self }
    }

    /// The same for a server of a fleet.
    pub fn with_fleet_events(self, fleet_events: Option<Arc<FleetEvents>>) -> ApiState {
        ApiState { fleet_events, ..self }
    }

    /// The same with the numbers of the last hour that a task adds to.
    pub fn with_history(self, history: Arc<History>) -> ApiState {
        ApiState { history, ..self }
    }

    /// The same with sinks of events.
    pub fn with_sinks(self, sinks: Option<Arc<SinkBoard>>) -> ApiState {
        ApiState { sinks, ..self }
    }

    /// The same with streams that are followed.
    pub fn with_follows(self, follows: Option<Arc<FollowBoard>>) -> ApiState {
        ApiState { follows, ..self }
    }

    /// The same with the sources of endpoints that come and go.
    pub fn with_sources(self, sources: Arc<SourceBoard>) -> ApiState {
        ApiState { sources, ..self }
    }

    /// The same with room for other numbers of connections and octets.
    pub fn with_room(self, room: ApiRoom) -> ApiState {
        ApiState { room, ..self }
    }

    /// Adds the sources, the sinks and the streams that are followed to a status.
    pub(super) fn add_feeds(&self, status: &mut Status, model: &Model, now: Moment) {
        status.sources = self.sources.reports(model, now);
        status.sinks = self.sinks.as_ref().map(|board| board.reports()).unwrap_or_default();
        status.follows = self.follows.as_ref().map(|board| board.reports()).unwrap_or_default();
    }
}
