//! Adds to the history of the page: queries each second, and a sample of everything each ten seconds.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::{BEAT, History, STEP};
use crate::server::Counters;
use crate::snapshot::Snapshot;

/// Samples until `stop`.
pub(crate) async fn sample(
    history: Arc<History>,
    snapshots: Arc<ArcSwap<Snapshot>>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let mut beats = interval(BEAT);
    let mut steps = interval(STEP);
    // After a machine slept, the time that it slept is one long step.
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beats.tick() => history.beat(counters.replies(), clock::now()),
            _ = steps.tick() => {
                let snapshot = snapshots.load_full();
                history.sample(&snapshot, counters.totals(), clock::now(), clock::unix_seconds());
            }
            () = stop.cancelled() => return,
        }
    }
}
