//! A running server: its sockets, its vantages, and the steering task. It starts completely or not at all.

mod hand_over;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admission::{Seats, WaitingOctets};
use crate::clock;
use crate::config::Limits;
use crate::control::command::MAX_WAITING;
use crate::control::drill::DrillBoard;
use crate::control::names::NameStateCache;
use crate::control::sources::SourceBoard;
use crate::control::{self, ApiAccess, Controls, History, Journal, JournalEvent, JournalStart, MAX_BEHIND};
use crate::control::{Readiness, ReloadStatus};
use crate::daemon::StartError;
use crate::daemon::certificate;
use crate::daemon::changes::Changes;
use crate::daemon::clocks::Now;
use crate::daemon::discovery::{self, HubParts, OverrideLinks};
use crate::daemon::drill::Drills;
use crate::daemon::event_log::write_events;
use crate::daemon::event_number;
use crate::daemon::exclusive::{ExclusiveNames, NodeParts, restored_leases};
use crate::daemon::fleet::{Fleet, PlanMerge, ServerSide, VantageSide};
use crate::daemon::follow::Follows;
use crate::daemon::health_file::write_reports;
use crate::daemon::history;
use crate::daemon::identity::Identities;
use crate::daemon::last_good::write_last_good;
use crate::daemon::overrides::Sharing;
use crate::daemon::prepare::{NodeSpec, Prepared, SavedState};
use crate::daemon::runtimes::Runtimes;
use crate::daemon::scrape::Sources;
use crate::daemon::sinks::Sinks;
use crate::daemon::sockets::Sockets;
use crate::daemon::state::{StateDir, Unsaved};
use crate::daemon::steer::{Drafting, Reloads, Steer};
use crate::daemon::systemd::{Pulse, Systemd};
use crate::daemon::takeover::{PauseRequest, Taken};
use crate::daemon::vantages::{Vantages, plan_of};
use crate::daemon::versions::Versions;
use crate::fleet::Received;
use crate::model::WorldView;
use crate::server::{Counters, Encrypted, Server, StreamLimits};
use crate::snapshot::compile::compile;
use crate::snapshot::{Publisher, Snapshot};
use crate::telemetry::{ListenerRoom, Metrics, log, traces};
use crate::wire::cookie::SECRET_LEN;

/// How long a server that takes another's place waits for the first probe round of what is new in its files. Judgment:
/// the other one answers meanwhile, but does not steer.
const LONGEST_ROUND: Duration = Duration::from_secs(2);

/// A running server with its vantages.
pub struct RunningNode {
    dns: Vec<SocketAddr>,
    http: SocketAddr,
    encrypted: Vec<(Encrypted, Vec<SocketAddr>)>,
    server: Server,
    snapshots: Arc<ArcSwap<Snapshot>>,
    journal: Arc<Journal>,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    state_dir: StateDir,
    fleet: Option<Fleet>,
    sinks: Option<Sinks>,
    follows: Option<Follows>,
    counters: Arc<Counters>,
    /// The listener of the API, for another process.
    api_socket: std::net::TcpListener,
    /// The secret of cookies, where the settings have none.
    own_secret: [u8; SECRET_LEN],
    /// The latest reports of the vantages of this process.
    reports: watch::Receiver<Vec<Received>>,
    pulse: Arc<Pulse>,
    /// Pauses the steering task.
    pauses: mpsc::Sender<PauseRequest>,
    /// Another process has this one's place: the steering task stays paused.
    given_up: Option<oneshot::Sender<()>>,
    /// The connection to the process whose place this one took: if that is only stopped, it learns so when it goes on.
    _taken: Option<Taken>,
    /// Dropped last: all of it runs on their threads.
    runtimes: Runtimes,
}

impl RunningNode {
    /// Binds, probes the first round, and only then answers. Nothing is left running on an error.
    pub async fn start(spec: NodeSpec) -> Result<RunningNode, StartError> {
        RunningNode::run(Prepared::of(spec)?).await
    }

    /// The same for a node whose files are loaded and whose sockets are bound.
    pub(crate) async fn run(prepared: Prepared) -> Result<RunningNode, StartError> {
        let Prepared { settings, model, zones, refused, warnings, settings_file, flags, .. } = prepared;
        let Prepared { vantages, watched, state_dir, saved, sockets, shares, taken, .. } = prepared;
        let SavedState { mut overrides, leases: restored, last_reports, steering_files, .. } = saved;
        let SavedState { last_event, mut events, sinks, follows, discovery: discovered, drill, .. } = saved;
        let Sockets { mut server, certificates, encrypted, query_log, api, is_continued } = sockets;
        let Limits { connections, quic_connections, api_connections } = shares.connections;
        let [connections, quic_connections] = [connections, quic_connections].map(Seats::new);
        let octets = WaitingOctets::new(shares.waiting_octets);
        let room = control::ApiRoom::new(api_connections, shares.waiting_octets);
        let rooms = [
            ListenerRoom { listener: "dns", seats: connections.clone(), octets: Some(octets.clone()) },
            ListenerRoom { listener: "quic", seats: quic_connections.clone(), octets: None },
            ListenerRoom { listener: "api", seats: room.seats().clone(), octets: Some(room.octets().clone()) },
            ListenerRoom { listener: "events", seats: room.stream_seats().clone(), octets: None },
        ];
        server.limit_streams(StreamLimits { connections, quic_connections, octets });
        let http = api.local_addr().map_err(StartError::System)?;
        let api_socket = api.try_clone().map_err(StartError::System)?;
        log::write_apart().map_err(StartError::System)?;
        let runtimes = Runtimes::start().map_err(StartError::System)?;
        runtimes.steer.within(|| state_dir.begin());
        let changes = runtimes.low.within(|| Changes::watch(watched)).map_err(StartError::System)?;

        refused.iter().chain(&warnings).for_each(log::problem);

        let metrics = Arc::new(Metrics::new());
        let mut vantages = Vantages::start(&vantages, &settings.control, shares.probe_descriptors, &metrics)
            .map_err(StartError::System)?;
        let model = Arc::new(model);
        let sharing = settings.fleet.is_some().then(|| {
            let (sharing, warnings) = overrides.share(&settings.node, &model, &state_dir);
            warnings.iter().for_each(log::problem);
            sharing
        });
        let now = Now::read();
        let restored_checks = vantages.restore(|vantage| last_reports.of(vantage, &model, now), now.moment);
        let identities = Identities::new(taken.as_ref().and_then(Taken::cookies)).map_err(StartError::System)?;
        let own_secret = identities.own_secret();
        let identity = Arc::new(identities.of(&settings));
        let leases = restored_leases(&restored);
        let unmeasured = Arc::new(WorldView { leases, ..overrides.over(vantages.view(&model)) });
        let mut publisher = Publisher::new(compile(model.clone(), unmeasured, identity, 1, None));
        let snapshots = publisher.snapshots();

        let start = JournalStart {
            last: last_event,
            events: std::mem::take(&mut events.events),
            is_written: state_dir.is_there(),
            is_held: settings.fleet.is_some(),
        };
        let journal = Arc::new(Journal::from(&settings.node, MAX_BEHIND, start));
        let mut sinks = Sinks::prepare(&settings, &journal, &state_dir, sinks).map_err(StartError::System)?;
        let sink_board = sinks.as_ref().map(Sinks::board);
        let mut fleet = Fleet::start(&settings, Some(&journal)).await.map_err(StartError::System)?;
        if let Some(fleet) = &mut fleet {
            let merge = PlanMerge::new(fleet.plan());
            let side = VantageSide { local: vantages.reports(), probed: merge.probed() };
            vantages.follow(merge);
            let (remote, beats) = (vantages.remote(), vantages.beats());
            let overrides = sharing.clone();
            fleet.begin(side, Some(ServerSide { remote, beats, snapshots: snapshots.clone(), overrides }));
        }

        let counters = Arc::new(Counters::new());
        let drill_board: Arc<DrillBoard> = Arc::default();
        let counted = counters.clone();
        drill_board.serve(server.addresses().to_vec(), move || counted.replies());
        let stop = CancellationToken::new();
        let parts = NodeParts {
            node: &settings.node,
            region: &settings.region,
            snapshots: snapshots.clone(),
            journal: journal.clone(),
            state_dir: state_dir.clone(),
            stop: stop.clone(),
        };
        let mut exclusive = ExclusiveNames::start(fleet.as_ref().zip(settings.fleet.as_ref()), restored, parts);
        let (sender, commands) = mpsc::channel(MAX_WAITING);
        let mut follows = Follows::prepare(&settings, &sender, &state_dir, follows).map_err(StartError::System)?;
        let follow_board = follows.as_ref().map(Follows::board);
        let links = OverrideLinks {
            commands: sender.clone(),
            snapshots: snapshots.clone(),
            published: exclusive.published.subscribe(),
        };
        let access = ApiAccess::of(&settings);
        let controls = Controls {
            commands: Some(sender),
            access: access.clone(),
            book: overrides.book(),
            disk: state_dir.disk(),
            spread: sharing.clone().map(Sharing::spreader),
            beats: vantages.beats(),
            leases: exclusive.orders.take(),
            relay: fleet.as_ref().map(Fleet::relay),
            drill: drill_board.clone(),
        };
        let (readiness, is_ready) = watch::channel(Readiness::Starting);
        let loaded = ReloadStatus {
            ok: refused.is_empty(),
            at: clock::unix_seconds(),
            generation: 1,
            problems: [refused, warnings].concat(),
            zones: zones.clone(),
            running_since: None,
            unnoticed: changes.unnoticed(),
        };
        let reload = Arc::new(ArcSwap::from_pointee(loaded));
        let read_fleet = fleet.as_ref().map(Fleet::reader);
        let sources_board = Arc::<SourceBoard>::default();
        let sources = Sources {
            fleet: read_fleet.clone(),
            sinks: sink_board.clone(),
            follows: follow_board.clone(),
            metrics: metrics.clone(),
            snapshots: snapshots.clone(),
            reload: reload.clone(),
            counters: counters.clone(),
            certificates: certificates.clone(),
            writes: state_dir.writes(),
            rooms: rooms.to_vec(),
            access: access.clone(),
            disk: state_dir.disk(),
            query_log,
            drill: drill_board.clone(),
            sources: sources_board.clone(),
        };
        let render = Arc::new(move |board: &NameStateCache| sources.render(board));
        let state =
            control::ApiState::new(snapshots.clone(), journal.clone(), is_ready, reload.clone(), render, controls);
        let state = state.with_fleet_events(fleet.as_ref().and_then(Fleet::events));
        let history = Arc::new(History::default());
        let state = state.with_history(history.clone()).with_sinks(sink_board).with_follows(follow_board);
        let state = state.with_sources(sources_board.clone());
        let state = state.with_room(room).with_fleet(read_fleet).with_costly_calls_on(runtimes.report.handle().clone());
        let api = runtimes.control.within(|| TcpListener::from_std(api)).map_err(StartError::System)?;
        let api = runtimes.control.spawn(control::serve(api, control::router(state), stop.clone()));

        let probed = model.checks.iter().filter(|check| check.key.monitor.kind.composite().is_none()).count();
        match is_continued {
            // Clients wait: what is known has to do, and the round follows.
            true if restored_checks >= probed => drop(vantages.begin(plan_of(&[&model]))),
            true => drop(tokio::time::timeout(LONGEST_ROUND, vantages.adopt(&model)).await),
            false => vantages.adopt(&model).await,
        }
        let low = runtimes.low.handle().clone();
        let discarding = low.clone();
        publisher.discard_with(move |unused| drop(discarding.spawn_blocking(move || drop(unused))));
        let shared_read = async {
            if let Some(sharing) = &sharing {
                sharing.read_soon().await;
            }
        };
        tokio::join!(exclusive.known(&model), shared_read);
        if sharing.is_some() {
            overrides.follow_fleet(&model, &state_dir).iter().for_each(log::problem);
            // A failure is in the log.
            drop(overrides.save(&state_dir));
        }
        let leases = exclusive.leases.borrow().clone();
        let view = WorldView { leases, ..overrides.over(vantages.view(&model)) };
        publisher.begin(view, steering_files.retained());
        server.start(snapshots.clone(), &counters, runtimes.answer.handle()).map_err(StartError::System)?;
        if let Some(taken) = &taken
            && let Err(error) = taken.complete()
        {
            server.stop().await;
            return Err(error);
        }
        state_dir.release();
        readiness.send_replace(Readiness::Serving);
        let writing_versions = || Versions::write(&state_dir, zones.clone());
        let versions = runtimes.low.within(writing_versions);
        let (pauses, pausing) = mpsc::channel(1);
        let pulse = Arc::<Pulse>::default();
        let reports = vantages.reports();
        let parts = HubParts {
            board: sources_board,
            journal: journal.clone(),
            state_dir: state_dir.clone(),
            links,
            restored: discovered,
        };
        let (discovery, following) = runtimes.control.within(|| discovery::start(parts, &model, stop.clone()));
        let steer = Steer {
            pauses: pausing,
            pulse: pulse.clone(),
            publisher,
            vantages,
            changes,
            settings_file,
            flags,
            versions,
            settings: settings.clone(),
            zones,
            identities,
            reload,
            journal: journal.clone(),
            metrics: metrics.clone(),
            commands,
            overrides,
            leases: exclusive.leases,
            shared: sharing.as_deref().map_or_else(|| watch::channel(()).1, Sharing::arrived),
            published: exclusive.published,
            steering_files,
            access,
            state_dir: state_dir.clone(),
            reloads: Reloads::default(),
            drafting: Drafting::on(runtimes.control.handle().clone()),
            drills: Drills::new(drill_board.clone(), counters.clone(), (state_dir.clone(), drill), &journal),
            discovery,
            low,
        };
        let mut tasks = vec![api, following];
        tasks.extend(exclusive.task);
        if state_dir.is_there() {
            let (reports, state) = (reports.clone(), state_dir.clone());
            tasks.push(runtimes.low.spawn(write_reports(reports, state, metrics.clone(), stop.clone())));
            let writing = write_last_good(snapshots.clone(), drill_board, state_dir.clone(), stop.clone());
            tasks.push(runtimes.low.spawn(writing));
            let writing = event_number::write_changes(journal.clone(), state_dir.clone(), last_event, stop.clone());
            tasks.push(runtimes.low.spawn(writing));
            tasks.push(runtimes.low.spawn(write_events(journal.clone(), state_dir.clone(), events, stop.clone())));
        }
        sinks.iter_mut().for_each(Sinks::begin);
        follows.iter_mut().for_each(Follows::begin);
        let sampling = history::sample(history, snapshots.clone(), counters.clone(), stop.clone());
        tasks.push(runtimes.low.spawn(sampling));
        tasks.push(runtimes.steer.spawn(steer.run(stop.clone())));
        tasks.push(runtimes.control.spawn(traces::send(settings.node.clone(), stop.clone())));
        if let (Some(tls), Some(certificates)) = (settings.tls.clone(), certificates) {
            tasks.push(runtimes.low.spawn(certificate::keep(tls, certificates, stop.clone())));
        }
        let dns = server.addresses().to_vec();
        Ok(RunningNode {
            dns,
            http,
            encrypted,
            server,
            snapshots,
            journal,
            readiness,
            stop,
            tasks,
            state_dir,
            fleet,
            sinks,
            follows,
            counters,
            api_socket,
            own_secret,
            reports,
            pulse,
            pauses,
            given_up: None,
            _taken: taken,
            runtimes,
        })
    }

    /// Where DNS is answered, with the real ports.
    pub fn dns(&self) -> &[SocketAddr] {
        &self.dns
    }

    /// Where the API is.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// What is being served.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.load_full()
    }

    /// Every event from now on, of whatever kind.
    pub fn events(&self) -> broadcast::Receiver<Arc<JournalEvent>> {
        self.journal.subscribe()
    }

    /// `ready dns=ADDR,... http=ADDR generation=N`, then ` tls=ADDR,...` and so on for what else is listened on.
    pub fn ready_line(&self) -> String {
        let joined = |all: &[SocketAddr]| all.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let mut line =
            format!("ready dns={} http={} generation={}", joined(&self.dns), self.http, self.snapshot().generation);
        for (what, addresses) in &self.encrypted {
            line.push_str(&format!(" {}={}", what.as_str(), joined(addresses)));
        }
        line
    }

    /// Reports to systemd that this server lives, on the threads of the steering task.
    pub(crate) fn watch_with(&self, systemd: &Arc<Systemd>) {
        self.runtimes.steer.spawn(systemd.clone().watch(self.pulse.clone(), self.stop.clone()));
    }

    /// Stops in order: `/readyz` reports it, queries that were received are answered, then the rest ends.
    /// An error names what of the state directory is not on the disk.
    pub async fn stop(self) -> Result<(), Unsaved> {
        self.readiness.send_replace(Readiness::Stopping);
        self.server.stop().await;
        // With it the port would stay open, and nobody serves it.
        drop(self.api_socket);
        self.stop.cancel();
        for task in self.tasks {
            // An error is a panic, which has been printed.
            let _ = task.await;
        }
        if let Some(follows) = self.follows {
            follows.stop().await;
        }
        if let Some(sinks) = self.sinks {
            sinks.stop().await;
        }
        if let Some(fleet) = self.fleet {
            fleet.stop(self.given_up.is_some()).await;
        }
        let saved = self.state_dir.close().await;
        self.runtimes.stop().await;
        saved
    }
}
