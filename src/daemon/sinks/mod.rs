//! The sinks of events: a task for each, on threads of their own. They read the log of events, and nothing waits for
//! them. See [`crate::sinks`].

mod positions;
mod sink_task;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{
    KafkaSinkSettings, NatsServers, NatsSinkSettings, Settings, SinkReceiver, SinkSettings, WebhookSettings,
};
use crate::control::Journal;
use crate::daemon::runtimes::{OwnRuntime, sink_threads};
use crate::daemon::state::StateDir;
use crate::fleet::nats::{NatsUse, Subjects, own_inbox};
use crate::sinks::{NatsRoute, Outlet, SinkBoard, SinkReport};

use positions::SinkPositions;
pub(crate) use positions::{SinksFile, load};
use sink_task::SinkTask;

/// How long the tries that are under way have to end when the server stops, or another process takes its place
/// (judgment: receivers reply within a second; what is broken off is sent again).
const END_WAIT: Duration = Duration::from_secs(2);

/// The running sinks.
pub(crate) struct Sinks {
    board: Arc<SinkBoard>,
    prepared: Vec<SinkTask>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    /// Whether nothing is sent: another process takes this one's place.
    held: watch::Sender<bool>,
    /// How many tasks have stopped sending.
    resting: Arc<watch::Sender<usize>>,
    /// Dropped last: the tasks run on its threads.
    threads: OwnRuntime,
}

/// How many connections the sinks may have.
pub(crate) fn connections(settings: &Settings) -> u64 {
    settings.sinks.iter().map(|sink| sink.connections() as u64).sum()
}

impl Sinks {
    /// Starts the threads. Nothing is sent before [`Sinks::begin`]. An error is the system's.
    pub(crate) fn prepare(
        settings: &Settings,
        journal: &Arc<Journal>,
        state: &StateDir,
        loaded: SinksFile,
    ) -> io::Result<Option<Sinks>> {
        if settings.sinks.is_empty() {
            return Ok(None);
        }
        let threads = OwnRuntime::start(sink_threads(settings.sinks.len()))?;
        let names: Vec<&str> = settings.sinks.iter().map(|sink| sink.name.as_str()).collect();
        let positions = SinkPositions::of(state.clone(), loaded, &names);
        let board = Arc::new(SinkBoard::of(settings.sinks.iter().map(|sink| report_of(sink, settings))));
        let task = |(at, sink): (usize, &SinkSettings)| {
            let outlet = Outlet::new(sink, |to| route_of(&sink.name, to, settings));
            SinkTask::new(sink, outlet, at, (journal.clone(), positions.clone(), board.clone()))
        };
        let prepared = settings.sinks.iter().enumerate().map(task).collect();
        let ((held, _), (resting, _)) = (watch::channel(false), watch::channel(0));
        let stop = CancellationToken::new();
        Ok(Some(Sinks { board, prepared, tasks: Vec::new(), stop, held, resting: Arc::new(resting), threads }))
    }

    /// Starts the tasks.
    pub(crate) fn begin(&mut self) {
        for task in std::mem::take(&mut self.prepared) {
            let running = task.run(self.held.subscribe(), self.resting.clone(), self.stop.clone());
            self.tasks.push(self.threads.spawn(running));
        }
    }

    /// What is known of each.
    pub(crate) fn board(&self) -> Arc<SinkBoard> {
        self.board.clone()
    }

    /// Sends nothing from now on: the tries that are under way end, and the positions are put into the
    /// state directory.
    pub(crate) async fn hold(&self) {
        self.held.send_replace(true);
        let (all, mut resting) = (self.tasks.len(), self.resting.subscribe());
        // A task breaks off its tries after a while.
        let _ = tokio::time::timeout(END_WAIT * 2, resting.wait_for(|count| *count >= all)).await;
    }

    /// Whether nothing is sent. `false` ends [`Sinks::hold`].
    pub(crate) fn held(&self) -> watch::Sender<bool> {
        self.held.clone()
    }

    /// Ends the tasks, with the positions put into the state directory.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // An error is a panic, which has been printed.
            let _ = task.await;
        }
        self.threads.stop().await;
    }
}

/// The way to a subject of NATS.
fn route_of(sink: &str, to: &NatsSinkSettings, settings: &Settings) -> NatsRoute {
    let (servers, inbox) = connection_of(to.servers.as_ref(), settings);
    let name = format!("{} {sink}", NatsUse::Sink.name(&settings.node));
    NatsRoute { servers, subject: to.subject.clone(), name, inbox }
}

/// The NATS servers of a sink or of a stream that is followed, and the beginning of the subjects of replies. Without
/// servers of its own, it uses those of the fleet, with the rights of the node there.
pub(crate) fn connection_of(own: Option<&NatsServers>, settings: &Settings) -> (NatsServers, String) {
    let node = &settings.node;
    match (own, &settings.fleet) {
        (Some(servers), _) => (servers.clone(), own_inbox(node)),
        (None, Some(fleet)) => (fleet.nats.clone(), Subjects::of(&fleet.cluster).inbox(node)),
        // The settings are refused then.
        (None, None) => (NatsServers::default(), own_inbox(node)),
    }
}

fn report_of(sink: &SinkSettings, settings: &Settings) -> SinkReport {
    let (kind, to) = match &sink.to {
        SinkReceiver::Webhook(WebhookSettings { url, .. }) => {
            // The query may have a secret.
            ("webhook", format!("{}{}", url.origin().ascii_serialization(), url.path()))
        }
        SinkReceiver::Nats(to) => {
            let servers = &route_of(&sink.name, to, settings).servers;
            ("nats", format!("{} on {}", to.subject, servers.shown()))
        }
        SinkReceiver::Kafka(KafkaSinkSettings { cluster, topic }) => {
            ("kafka", format!("{topic} on {}", cluster.shown()))
        }
    };
    SinkReport { name: sink.name.clone(), kind: kind.to_owned(), to, ..SinkReport::default() }
}
