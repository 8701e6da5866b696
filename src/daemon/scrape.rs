//! What a scrape of `/metrics` reads, from wherever it is counted; in the thread of whoever scrapes.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::control::ReloadStatus;
use crate::control::names::NameStateCache;
use crate::daemon::store::Writes;
use crate::server::{Certificates, Counters};
use crate::snapshot::Snapshot;
use crate::telemetry::{Metrics, Scrape};

/// Where everything is.
pub(crate) struct Sources {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) writes: Arc<Writes>,
}

impl Sources {
    /// The whole text.
    pub(crate) fn render(&self, board: &NameStateCache) -> String {
        // Held for as long as the text is made, while the next ones are published.
        let snapshot = self.snapshots.load_full();
        self.metrics.render(&Scrape {
            snapshot: &snapshot,
            names: &board.states(&snapshot),
            totals: &self.counters.totals(),
            reload: &self.reload.load(),
            certificate_ends_at: self.certificates.as_ref().and_then(|certificates| certificates.ends_at()),
            state_writes: self.writes.counts(),
        })
    }
}
