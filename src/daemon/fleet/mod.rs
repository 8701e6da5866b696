//! The tasks of a node that belongs to a fleet. They have threads of their own, so that no amount of messages holds up
//! anything else, and nothing waits for them: without NATS the node goes on alone.

use std::io;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::clock;
use crate::config::FleetSettings;
use crate::control::fleet::{FleetReport, NatsReport, ReadFleet};
use crate::daemon::runtimes::{FLEET, OwnRuntime};
use crate::fleet::nats::{LeaseStore, Nats};

/// The connection to the fleet and its tasks.
pub(crate) struct Fleet {
    nats: Nats,
    cluster: Arc<str>,
    /// Dropped last: the tasks run on its threads.
    threads: OwnRuntime,
}

impl Fleet {
    /// Begins to connect; waits for nothing. An error is the system's, or one of the settings.
    pub(crate) async fn start(settings: &FleetSettings, node: &str) -> io::Result<Fleet> {
        let threads = OwnRuntime::start(FLEET)?;
        let (of_task, name) = (settings.clone(), node.to_owned());
        let nats = threads.spawn(async move { Nats::connect(&of_task, &name).await }).await;
        let nats = nats.map_err(io::Error::other)?.map_err(io::Error::other)?;
        Ok(Fleet { nats, cluster: settings.cluster.as_str().into(), threads })
    }

    /// Reads the state of the fleet, for the API and metrics.
    pub(crate) fn reader(&self) -> ReadFleet {
        let (nats, cluster) = (self.nats.clone(), Arc::clone(&self.cluster));
        Arc::new(move || FleetReport { cluster: cluster.to_string(), nats: report(&nats) })
    }

    /// The leases of exclusive names.
    pub(crate) fn leases(&self) -> LeaseStore {
        LeaseStore::of(&self.nats)
    }

    /// Runs a task on the threads of the fleet.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.threads.spawn(task)
    }

    /// Ends the connection and all tasks.
    pub(crate) async fn stop(self) {
        self.threads.stop().await;
    }
}

fn report(nats: &Nats) -> NatsReport {
    let status = nats.status();
    NatsReport {
        state: if status.is_connected { NatsReport::CONNECTED } else { NatsReport::AWAY }.to_owned(),
        for_ms: clock::now().since(status.since).as_millis() as u64,
        server: nats.server(),
        connections: status.connections,
        problem: status.problem.map(|why| why.to_string()),
        dropped: nats.dropped(),
        missed: status.missed,
    }
}
