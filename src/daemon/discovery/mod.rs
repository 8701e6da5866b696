//! The sources of endpoints in the running server. The [`hub`] runs a driver for each source of the model that is
//! served and applies its updates; [`Following`] is the side of the steering task. The file `discovery.json` has what
//! the sources listed last.

mod drivers;
mod file;
mod followed;
mod following;
mod hub;
mod keeper;
mod listing;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control::Journal;
use crate::control::sources::SourceBoard;
use crate::daemon::state::StateDir;
use crate::discovery::Stating;
use crate::model::Model;
use crate::source::Problem;

pub(crate) use file::{DiscoveryFile, FILE, endpoints_in};
pub(crate) use following::Following;
use following::WantedSources;
use hub::Hub;

pub(crate) use keeper::OverrideLinks;

/// What the hub needs of the server.
pub(crate) struct HubParts {
    pub(crate) board: Arc<SourceBoard>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) state_dir: StateDir,
    /// How overrides that sources state reach the steering task.
    pub(crate) links: OverrideLinks,
    /// What was listed before the start.
    pub(crate) restored: DiscoveryFile,
}

/// Reads what the sources listed before the start.
pub(crate) fn load(state: &StateDir, warnings: &mut Vec<Problem>) -> DiscoveryFile {
    let loss = "the endpoints of each source are missing until it answers";
    state.load_or_set_aside(&FILE, loss, warnings).unwrap_or_default()
}

/// Starts to follow the sources of `model`, on the runtime of the caller.
pub(crate) fn start(parts: HubParts, model: &Model, stop: CancellationToken) -> (Following, JoinHandle<()>) {
    let (want, wanted) = watch::channel(WantedSources::of(model));
    let (confirm, confirmed) = mpsc::channel(1);
    let (state, stating) = watch::channel(Arc::<Stating>::default());
    let hub = Hub::new(parts, wanted, confirmed, state);
    let following = Following::new(stating, want, confirm, model);
    (following, tokio::spawn(hub.run(stop)))
}
