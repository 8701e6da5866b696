//! The tasks of a node that belongs to a fleet. They have threads of their own, so that no amount of messages holds up
//! anything else, and nothing waits for them: without NATS the node goes on alone.
//!
//! | task | in | what |
//! |---|---|---|
//! | `targets` | both | reads what is to be probed; a server writes what its zones need |
//! | `reports` | both | sends the reports of this node's vantage |
//! | | server | receives those of the others, for the agreement |
//! | `overrides` | server | shares the operators' overrides |
//! | `beats` | server | passes heartbeats on, and receives those of other servers |
//! | `events` | server | writes the events of this server into the stream, and reads those of all servers |

mod beats;
mod board;
mod events;
mod merge;
mod overrides;
mod reports;
mod targets;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Settings;
use crate::control::BeatGate;
use crate::control::fleet::{FleetReport, NatsReport, ReadFleet, RelayBeat};
use crate::control::{FleetEvents, Journal};
use crate::daemon::overrides::Sharing;
use crate::daemon::runtimes::{FLEET, OwnRuntime};
use crate::fleet::exchange::RemoteReports;
use crate::fleet::nats::{LeaseStore, Nats, NatsUse};
use crate::fleet::targets::TargetPlan;
use crate::fleet::{Collector, Received, Vantage, VantageReporter};
use crate::health::BeatSender;
use crate::snapshot::Snapshot;

use beats::BeatTask;
use board::Board;
use events::{EventBoard, ReadEvents, WriteEvents};
use overrides::OverrideTask;
use reports::{ReceiveTask, SendTask};
use targets::{TargetTask, TargetWriter};

pub(crate) use merge::{CheckHashes, PlanMerge, hashes_of};
pub(crate) use reports::ProbedChecks;

/// How long the end of a node waits for its goodbye (judgment: that is written within a second, or not at all).
const GOODBYE_WITHIN: Duration = Duration::from_millis(1500);

/// The connection to the fleet and its tasks.
pub(crate) struct Fleet {
    nats: Nats,
    /// A server's connection for the reports of other vantages.
    feed: Option<Nats>,
    cluster: Arc<str>,
    vantage: Vantage,
    board: Arc<Board>,
    boot: u64,
    stop: CancellationToken,
    /// Makes this node's vantage say that it stops.
    goodbye: CancellationToken,
    /// The task that sends reports, once it runs.
    sending: Option<JoinHandle<()>>,
    plan: watch::Receiver<Arc<TargetPlan>>,
    /// Used by the task that `begin` starts.
    plan_sender: Option<watch::Sender<Arc<TargetPlan>>>,
    allowed: Vec<String>,
    /// Of a server.
    events: Option<EventParts>,
    /// The overrides of a server.
    sharing: Option<Arc<Sharing>>,
    /// Dropped last: the tasks run on its threads.
    threads: OwnRuntime,
}

/// The events of a server of the fleet.
#[derive(Clone)]
struct EventParts {
    journal: Arc<Journal>,
    events: Arc<FleetEvents>,
    board: Arc<EventBoard>,
}

/// What the tasks of a vantage need.
pub(crate) struct VantageSide {
    /// The latest reports of the vantages of this process.
    pub(crate) local: watch::Receiver<Vec<Received>>,
    /// What it probes.
    pub(crate) probed: watch::Receiver<ProbedChecks>,
}

/// What the tasks of a server need in addition.
pub(crate) struct ServerSide {
    /// Where the reports of remote vantages go.
    pub(crate) remote: RemoteReports,
    /// Where the heartbeats of other servers go.
    pub(crate) beats: BeatSender,
    /// What is being served.
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    /// The overrides that it shares.
    pub(crate) overrides: Option<Arc<Sharing>>,
}

impl Fleet {
    /// Begins to connect; waits for nothing. `None` without `[fleet]`. `journal` is that of a server, without one the
    /// node is only a vantage. An error is the system's.
    pub(crate) async fn start(settings: &Settings, journal: Option<&Arc<Journal>>) -> io::Result<Option<Fleet>> {
        let Some(fleet) = &settings.fleet else { return Ok(None) };
        let threads = OwnRuntime::start(FLEET)?;
        let connect = async |for_what: NatsUse| -> io::Result<Nats> {
            let (of_task, node) = (fleet.clone(), settings.node.clone());
            let nats = threads.spawn(async move { Nats::connect(&of_task, &node, for_what).await }).await;
            nats.map_err(io::Error::other)?.map_err(io::Error::other)
        };
        let nats = connect(NatsUse::Control).await?;
        let feed = match journal {
            Some(_) => Some(connect(NatsUse::Reports).await?),
            None => None,
        };
        let vantage = Vantage { name: settings.node.as_str().into(), region: settings.region.as_str().into() };
        let boot = u64::from_ne_bytes(clock::secret()?);
        let collector = journal.is_some().then(|| Collector::new(vec![(vantage.clone(), boot)]));
        let (plan_sender, plan) = watch::channel(Arc::new(TargetPlan::default()));
        Ok(Some(Fleet {
            nats,
            feed,
            cluster: fleet.cluster.as_str().into(),
            vantage,
            board: Arc::new(Board::new(collector)),
            boot,
            stop: CancellationToken::new(),
            goodbye: CancellationToken::new(),
            sending: None,
            plan,
            plan_sender: Some(plan_sender),
            allowed: settings.exec.clone(),
            events: journal.map(|journal| EventParts {
                journal: journal.clone(),
                events: Arc::default(),
                board: Arc::default(),
            }),
            sharing: None,
            threads,
        }))
    }

    /// What the fleet probes. The first change comes when it was read.
    pub(crate) fn plan(&self) -> watch::Receiver<Arc<TargetPlan>> {
        self.plan.clone()
    }

    /// Whether the targets were read, and are in the plan.
    pub(crate) fn has_targets(&self) -> bool {
        self.board.has_plan.load(Ordering::Relaxed)
    }

    /// Starts the tasks; those of a server if `server` is there.
    pub(crate) fn begin(&mut self, vantage: VantageSide, server: Option<ServerSide>) {
        let VantageSide { local, probed } = vantage;
        let Some(plan) = self.plan_sender.take() else { return };
        let writer = server
            .as_ref()
            .map(|server| TargetWriter { node: self.vantage.name.clone(), snapshots: server.snapshots.clone() });
        let targets = TargetTask {
            nats: self.nats.clone(),
            allowed: self.allowed.clone(),
            writer,
            plan,
            board: self.board.clone(),
        };
        self.threads.spawn(targets.run(self.stop.clone()));
        let sending = SendTask {
            nats: self.nats.clone(),
            vantage: self.vantage.clone(),
            local,
            probed: probed.clone(),
            reporter: VantageReporter::new(self.boot, clock::now()),
            board: self.board.clone(),
        };
        self.sending = Some(self.threads.spawn(sending.run(self.stop.clone(), self.goodbye.clone())));
        let Some(ServerSide { remote, beats, snapshots, overrides }) = server else { return };
        if let Some(feed) = self.feed.clone() {
            let (nats, board) = (self.nats.clone(), self.board.clone());
            let receiving = ReceiveTask { nats, feed, probed, reports: remote, board };
            self.threads.spawn(receiving.run(self.stop.clone()));
        }
        if let Some(sharing) = overrides {
            self.sharing = Some(sharing.clone());
            let task = OverrideTask { nats: self.nats.clone(), sharing };
            self.threads.spawn(task.run(self.stop.clone()));
        }
        let (nats, board) = (self.nats.clone(), self.board.clone());
        let beating = BeatTask { nats, beats, snapshots, board, gate: BeatGate::default() };
        self.threads.spawn(beating.run(self.stop.clone()));
        if let Some(EventParts { journal, events, board }) = self.events.clone() {
            let nats = self.nats.clone();
            let reading = ReadEvents { nats: nats.clone(), events: events.clone(), board: board.clone() };
            self.threads.spawn(reading.run(self.stop.clone()));
            self.threads.spawn(WriteEvents { nats, journal, events, board }.run(self.stop.clone()));
        }
    }

    /// The events of all servers, as this one has read them; `None` in a vantage.
    pub(crate) fn events(&self) -> Option<Arc<FleetEvents>> {
        self.events.as_ref().map(|parts| parts.events.clone())
    }

    /// The leases of exclusive names.
    pub(crate) fn leases(&self) -> LeaseStore {
        LeaseStore::of(&self.nats)
    }

    /// Runs a task on the threads of the fleet.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.threads.spawn(task)
    }

    /// Passes heartbeats on to the other servers.
    pub(crate) fn relay(&self) -> RelayBeat {
        beats::relay(&self.nats)
    }

    /// Reads the state of the fleet, for the API and metrics.
    pub(crate) fn reader(&self) -> ReadFleet {
        let (nats, feed, cluster) = (self.nats.clone(), self.feed.clone(), Arc::clone(&self.cluster));
        let (board, own) = (Arc::clone(&self.board), Arc::clone(&self.vantage.name));
        let events = self.events.clone();
        let sharing = self.sharing.clone();
        Arc::new(move || {
            let (vantages, strangers) = board.traffic();
            FleetReport {
                cluster: cluster.to_string(),
                nats: report(&nats, feed.as_ref()),
                targets: board.targets_report(&own),
                overrides: sharing.as_ref().map(|sharing| sharing.report()),
                reports_sent: board.sent.load(Ordering::Relaxed),
                vantages,
                refused_strangers: strangers.into_iter().collect(),
                refused_beats: board.refused_beats.load(Ordering::Relaxed),
                events: events.as_ref().map(|parts| parts.board.report(&parts.journal, &parts.events)),
                reports_overtaken: board.overtaken.load(Ordering::Relaxed),
            }
        })
    }

    /// Ends the connection and all tasks. The other nodes learn that the vantage stops, unless another process has its
    /// place.
    pub(crate) async fn stop(self, is_replaced: bool) {
        if let (false, Some(sending)) = (is_replaced, self.sending) {
            self.goodbye.cancel();
            // Too late: without a goodbye the vantage becomes stale.
            let _ = tokio::time::timeout(GOODBYE_WITHIN, sending).await;
        }
        self.stop.cancel();
        self.threads.stop().await;
    }
}

/// The state of the connections. That for reports counts where it is worse.
fn report(nats: &Nats, feed: Option<&Nats>) -> NatsReport {
    let (control, feed) = (nats.status(), feed.map(|feed| feed.status()));
    let missed = control.missed + feed.as_ref().map_or(0, |feed| feed.missed);
    let status = match feed {
        Some(feed) if control.is_connected && !feed.is_connected => feed,
        Some(_) | None => control,
    };
    NatsReport {
        state: if status.is_connected { NatsReport::CONNECTED } else { NatsReport::AWAY }.to_owned(),
        for_ms: clock::now().since(status.since).as_millis() as u64,
        server: nats.server(),
        connections: status.connections,
        problem: status.problem.map(|why| why.to_string()),
        dropped: nats.dropped(),
        missed,
    }
}
