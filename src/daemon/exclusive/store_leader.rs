//! Keeps the leader of the store of leases out of the region of the active endpoint. The holder of the first exclusive
//! name does it, so that two holders never move it back and forth.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::daemon::exclusive::Leases;
use crate::fleet::nats::LeaseStore;
use crate::model::{LeaseView, Model, Moment};
use crate::snapshot::Snapshot;

/// How often the leader is looked at. Judgment: one small request; the next fault may come soon after a repair.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The least time between two moves. Judgment: each stops writes for a moment, and a store that refuses a move is not
/// asked all the time.
const MOVE_EVERY: Duration = Duration::from_secs(10);

/// What the task needs.
pub(super) struct LeaderKeeper {
    /// The region of this node.
    pub(super) region: Arc<str>,
    pub(super) store: LeaseStore,
    pub(super) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(super) leases: watch::Receiver<Leases>,
}

impl LeaderKeeper {
    /// Runs until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut moved_at: Option<Moment> = None;
        while tokio::time::timeout(LOOK_EVERY, stop.cancelled()).await.is_err() {
            let leases = self.leases.borrow().clone();
            let Some(is_active_here) = is_active_here(&leases, &self.snapshots.load().model, &self.region) else {
                continue;
            };
            if moved_at.is_some_and(|at| clock::now().since(at) < MOVE_EVERY) {
                continue;
            }
            // Without a reply there is nothing to move: the store says so elsewhere.
            let Ok(Some(leadership)) = self.store.leadership().await else { continue };
            let Some(wanted) = leadership.wanted_move(is_active_here) else { continue };
            moved_at = Some(clock::now());
            match self.store.move_leader(&wanted).await {
                Ok(()) => tracing::info!(
                    from = leadership.leader,
                    "the leader of the store of leases moves out of the region of the active endpoint"
                ),
                Err(why) => tracing::debug!(why, from = leadership.leader, "the leader of the store of leases stays"),
            }
        }
    }
}

/// Whether the active endpoint of the first exclusive name is in this region; `None` where this server does not hold
/// its lease, or its endpoint has no region, or it is being promoted.
fn is_active_here(leases: &Leases, model: &Model, region: &str) -> Option<bool> {
    let known = model.policies.iter().filter_map(|policy| {
        let owner = &policy.exclusive.as_ref()?.owner;
        Some((owner, policy, leases.get(owner)?))
    });
    let (_, policy, lease) = known.min_by_key(|(owner, ..)| owner.to_string())?;
    let LeaseView { active: Some(active), is_holder: true, promoting: None, .. } = lease else { return None };
    let mut members = policy.members_in_order(model).into_iter().map(|id| model.endpoint(id));
    let endpoint = members.find(|endpoint| endpoint.name == *active.endpoint)?;
    Some(&*model.regions[endpoint.region?.0 as usize].name == region)
}
