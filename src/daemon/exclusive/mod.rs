//! The exclusive names of a running server. [`keeper`] connects the machines of `fleet::lease` with the store, the
//! verdicts, the hook ([`hook`], below [`guard`]) and the steering task; [`file`] outlives a restart.

mod agenda;
mod file;
mod guard;
mod held_name;
mod hook;
mod keeper;
mod resign;
mod store_leader;
mod verdicts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::FleetSettings;
use crate::control::Journal;
use crate::control::command::{LeaseOrder, MAX_WAITING};
use crate::daemon::fleet::Fleet;
use crate::daemon::state::StateDir;
use crate::model::{ActiveEndpoint, LeaseView, Model};
use crate::snapshot::Snapshot;
use crate::wire::Name;

use keeper::{Keeper, KeeperSettings};
use store_leader::LeaderKeeper;

pub(crate) use file::{LEASES, load};
pub(crate) use guard::guard;

/// The leases of all exclusive names, for the views of the steering task.
pub(crate) type Leases = Arc<HashMap<Name, LeaseView>>;

/// How long a start waits for the leases, before it answers with what this server knew before. Judgment: a connection
/// and a read take less, and an endpoint that was replaced while this server was away must not be answered.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// What a node has for its exclusive names.
pub(crate) struct ExclusiveNames {
    /// For the steering task: the leases.
    pub(crate) leases: watch::Receiver<Leases>,
    /// Changes with each snapshot that is published.
    pub(crate) published: watch::Sender<()>,
    /// Where the API sends orders; `None`: there is no fleet.
    pub(crate) orders: Option<mpsc::Sender<LeaseOrder>>,
    /// The task of the leases.
    pub(crate) task: Option<JoinHandle<()>>,
}

/// Parts of the node that the task uses.
pub(crate) struct NodeParts<'a> {
    pub(crate) node: &'a str,
    pub(crate) region: &'a str,
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) state_dir: StateDir,
    pub(crate) stop: CancellationToken,
}

/// The leases as the state directory has them.
pub(crate) fn restored_leases(restored: &HashMap<Name, ActiveEndpoint>) -> Leases {
    let view = |active: &ActiveEndpoint| LeaseView {
        active: Some(active.clone()),
        holder: None,
        is_holder: false,
        promoting: None,
    };
    Arc::new(restored.iter().map(|(name, active)| (name.clone(), view(active))).collect())
}

impl ExclusiveNames {
    /// Starts the task in a node of a fleet. `restored` is what the state directory has.
    pub(crate) fn start(
        fleet: Option<(&Fleet, &FleetSettings)>,
        restored: HashMap<Name, ActiveEndpoint>,
        node: NodeParts<'_>,
    ) -> ExclusiveNames {
        let (sender, leases) = watch::channel(restored_leases(&restored));
        let (published, changes) = watch::channel(());
        let Some((fleet, settings)) = fleet else {
            return ExclusiveNames { leases, published, orders: None, task: None };
        };
        let (orders, receiver) = mpsc::channel(MAX_WAITING);
        let leader = LeaderKeeper {
            region: node.region.into(),
            store: fleet.leases(),
            snapshots: node.snapshots.clone(),
            leases: leases.clone(),
        };
        drop(fleet.spawn(leader.run(node.stop.clone())));
        let keeper = Keeper::new(KeeperSettings {
            node: node.node.into(),
            program: settings.on_promote.clone().into(),
            hook_timeout: settings.hook_timeout,
            store: fleet.leases(),
            snapshots: node.snapshots,
            published: changes,
            journal: node.journal,
            state_dir: node.state_dir,
            orders: receiver,
            restored,
            leases: sender,
        });
        let task = fleet.spawn(keeper.run(node.stop));
        ExclusiveNames { leases, published, orders: Some(orders), task: Some(task) }
    }

    /// Returns when the store has shown the lease of each exclusive name of `model`, or after some seconds.
    pub(crate) async fn known(&mut self, model: &Model) {
        let exclusive = model.policies.iter().filter_map(|policy| policy.exclusive.as_ref());
        let names: Vec<&Name> = exclusive.map(|exclusive| &exclusive.owner).collect();
        if names.is_empty() || self.task.is_none() {
            return;
        }
        let is_known =
            |leases: &Leases| names.iter().all(|name| leases.get(*name).is_some_and(|lease| lease.holder.is_some()));
        if tokio::time::timeout(KNOWN_WITHIN, self.leases.wait_for(is_known)).await.is_err() {
            tracing::warn!(
                "the store of leases is not reached yet: exclusive names are answered as before, those without a \
                 lease have no answer"
            );
        }
    }
}
