//! The sources of `/metrics`. A scrape reads them in the thread of its request.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock;
use crate::control::drill::DrillBoard;
use crate::control::fleet::ReadFleet;
use crate::control::follow::FollowBoard;
use crate::control::names::NameStateCache;
use crate::control::sources::SourceBoard;
use crate::control::unsaved::DiskState;
use crate::control::{ApiAccess, ReloadStatus};
use crate::daemon::state::StateWrites;
use crate::server::{Certificates, Counters, QueryLogState};
use crate::sinks::SinkBoard;
use crate::snapshot::Snapshot;
use crate::telemetry::{ListenerRoom, Metrics, Scrape};

/// Everything that is read.
pub(crate) struct Sources {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) writes: Arc<StateWrites>,
    pub(crate) rooms: Vec<ListenerRoom>,
    pub(crate) access: Arc<ApiAccess>,
    pub(crate) disk: Arc<DiskState>,
    pub(crate) fleet: Option<ReadFleet>,
    /// The sinks of events; `None`: there are none.
    pub(crate) sinks: Option<Arc<SinkBoard>>,
    /// The streams that are followed; `None`: there are none.
    pub(crate) follows: Option<Arc<FollowBoard>>,
    pub(crate) query_log: Option<Arc<QueryLogState>>,
    pub(crate) drill: Arc<DrillBoard>,
    /// The sources of endpoints that come and go.
    pub(crate) sources: Arc<SourceBoard>,
}

impl Sources {
    /// The whole text.
    pub(crate) fn render(&self, board: &NameStateCache) -> String {
        // This snapshot lives as long as the text is made; newer ones can be published meanwhile.
        let snapshot = self.snapshots.load_full();
        self.metrics.render(&Scrape {
            snapshot: &snapshot,
            names: &board.states(&snapshot),
            totals: &self.counters.totals(),
            reload: &self.reload.load(),
            certificate_ends_at: self.certificates.as_ref().and_then(|certificates| certificates.ends_at()),
            state_writes: self.writes.counts(),
            rooms: &self.rooms,
            refusals: &self.access.refusals,
            unsaved: &self.disk.unsaved(clock::now()),
            query_log: self.query_log.as_deref(),
            fleet: self.fleet.as_ref().map(|read| read()).as_ref(),
            sinks: &self.sinks.as_ref().map(|board| board.reports()).unwrap_or_default(),
            follows: &self.follows.as_ref().map(|board| board.reports()).unwrap_or_default(),
            sources: &self.sources.reports(&snapshot.model, clock::now()),
            drill: self.drill.running().as_deref(),
            drills: self.drill.counts(),
        })
    }
}
