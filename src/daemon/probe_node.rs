//! A vantage without a server, for `portolan probe`: it probes what the fleet probes and reports it. It has no zones,
//! no sockets of DNS and no state directory. Its API is that of a server with no zones.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{self, Flags, FleetSettings, Settings};
use crate::control::names::NameStateCache;
use crate::control::overrides::Book;
use crate::control::unsaved::DiskState;
use crate::control::{self, ApiAccess, Controls, Journal, MAX_BEHIND, Readiness, ReloadStatus};
use crate::daemon::fleet::{Fleet, PlanMerge, VantageSide};
use crate::daemon::identity::Identities;
use crate::daemon::limits::{Shares, System};
use crate::daemon::prepare::{survive_signals, trust_stores};
use crate::daemon::privileges::{self, FileNeed, Needs, Want};
use crate::daemon::runtimes::Runtimes;
use crate::daemon::scrape::Sources;
use crate::daemon::state::StateWrites;
use crate::daemon::vantages::{VantageSpec, Vantages};
use crate::daemon::{StartError, stop_signal};
use crate::health::{Plan, SourceAddresses};
use crate::model::{Model, WorldView};
use crate::server::{BindError, Counters};
use crate::snapshot::Publisher;
use crate::snapshot::compile::compile;
use crate::source::{Problem, Severity, reading};
use crate::telemetry::{ListenerRoom, Metrics, log, traces};

/// A vantage that has its settings and its socket: nothing in it is a thread or a task.
pub struct PreparedVantage {
    settings: Arc<Settings>,
    warnings: Vec<Problem>,
    shares: Shares,
    api: TcpListener,
}

impl PreparedVantage {
    /// Reads the settings, binds the socket of the API, and drops the rights that a vantage does not need.
    pub fn load(settings_file: PathBuf, flags: Flags) -> Result<PreparedVantage, StartError> {
        survive_signals();
        let file = settings_file.clone();
        let read = move || {
            log::choose(config::log_format(Some(&file), &flags));
            config::settings_alone(Some(&file), &flags)
        };
        let read = reading::within(settings_file.clone(), read);
        let (settings, warnings) =
            read.map_err(|problem| StartError::Problems(vec![*problem]))?.map_err(StartError::Problems)?;
        let Some(fleet) = &settings.fleet else {
            let message = "a vantage needs a fleet, and there is no [fleet]: it has nobody to report to".to_owned();
            let hint = Some("add [fleet] with `nats` and `cluster`, or run `portolan serve`".to_owned());
            let problem = Problem { hint, ..Problem::of_file(settings_file, Severity::Error, message) };
            return Err(StartError::Problems(vec![problem]));
        };
        let (files, has_file_rules) = (needs(&settings, fleet, settings_file), settings.has_file_rules);
        let needs = Needs { files, has_file_rules, ..Needs::default() };
        let shares = System::raise_and_read().share(settings.limits, 1, 1);
        if let Some(warning) = &shares.warning {
            tracing::warn!("{warning}");
        }
        let address = settings.listen.http;
        let api = TcpListener::bind(address).and_then(|api| api.set_nonblocking(true).map(|()| api));
        let api = api.map_err(|error| StartError::Bind("http", BindError::of_tcp(error, address)))?;
        privileges::reduce(settings.user.as_deref(), &needs)?;
        Ok(PreparedVantage { settings: Arc::new(settings), warnings, shares, api })
    }
}

/// The files that are used later.
fn needs(settings: &Settings, fleet: &FleetSettings, settings_file: PathBuf) -> Vec<FileNeed> {
    let read = fleet.nats.files().chain([settings_file]).map(|path| FileNeed { path, want: Want::Read });
    let programs = settings.exec.iter().map(|path| FileNeed { path: path.into(), want: Want::Run });
    read.chain(trust_stores()).chain(programs).collect()
}

/// Runs `portolan probe`: connects, prints the ready line on standard output once it probes, and reports until SIGTERM
/// or SIGINT.
pub async fn probe(prepared: PreparedVantage) -> Result<(), StartError> {
    let stop = stop_signal();
    tokio::pin!(stop);
    let mut hangup = signal(SignalKind::hangup()).map_err(StartError::System)?;
    let mut vantage = ProbeNode::start(prepared).await?;
    let refuse_reloads = async {
        while hangup.recv().await.is_some() {
            tracing::warn!("SIGHUP: a vantage reads its settings when it starts, so restart it to apply a change");
        }
    };
    tokio::select! {
        () = async { tokio::join!(vantage.run(), refuse_reloads); } => {}
        () = &mut stop => {}
    }
    tracing::info!("stopping");
    vantage.stop().await;
    Ok(())
}

/// A running vantage.
struct ProbeNode {
    settings: Arc<Settings>,
    http: SocketAddr,
    model: Arc<Model>,
    vantages: Vantages,
    publisher: Publisher,
    fleet: Fleet,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
    /// Dropped last: all of it runs on their threads.
    runtimes: Runtimes,
}

impl ProbeNode {
    async fn start(prepared: PreparedVantage) -> Result<ProbeNode, StartError> {
        let PreparedVantage { settings, warnings, shares, api } = prepared;
        let http = api.local_addr().map_err(StartError::System)?;
        log::write_apart().map_err(StartError::System)?;
        warnings.iter().for_each(log::problem);
        let runtimes = Runtimes::start().map_err(StartError::System)?;
        let metrics = Arc::new(Metrics::new());
        let spec = VantageSpec {
            name: settings.node.as_str().into(),
            region: settings.region.as_str().into(),
            sources: SourceAddresses::default(),
        };
        let mut vantages = Vantages::start(&[spec], &settings.control, shares.probe_descriptors, &metrics)
            .map_err(StartError::System)?;
        let model = Arc::new(Model { regions: settings.regions.clone(), ..Model::default() });
        let identity = Arc::new(Identities::new(None).map_err(StartError::System)?.of(&settings));
        let view = Arc::new(vantages.view(&model));
        let publisher = Publisher::new(compile(model.clone(), view, identity, 1, None));
        let snapshots = publisher.snapshots();
        let fleet = Fleet::start(&settings, None).await.map_err(StartError::System)?;
        let mut fleet = fleet.ok_or_else(|| StartError::System(std::io::Error::other("no [fleet]")))?;
        let merge = PlanMerge::new(fleet.plan());
        let side = VantageSide { local: vantages.reports(), probed: merge.probed() };
        vantages.follow(merge);
        fleet.begin(side, None);

        let access = ApiAccess::of(&settings);
        let disk = Arc::new(DiskState::default());
        let controls = Controls {
            commands: None,
            access: access.clone(),
            book: Arc::new(ArcSwap::from_pointee(Book::default())),
            disk: disk.clone(),
            spread: None,
            beats: vantages.beats(),
            relay: None,
            drill: Arc::default(),
            leases: None,
        };
        let (readiness, is_ready) = watch::channel(Readiness::Starting);
        let reload = ReloadStatus {
            ok: true,
            at: clock::unix_seconds(),
            generation: 1,
            problems: warnings,
            ..ReloadStatus::default()
        };
        let reload = Arc::new(ArcSwap::from_pointee(reload));
        let room = control::ApiRoom::new(shares.connections.api_connections, shares.waiting_octets);
        let rooms = vec![
            ListenerRoom { listener: "api", seats: room.seats().clone(), octets: Some(room.octets().clone()) },
            ListenerRoom { listener: "events", seats: room.stream_seats().clone(), octets: None },
        ];
        let sources = Sources {
            sources: Arc::default(),
            rooms,
            metrics,
            snapshots: snapshots.clone(),
            reload: reload.clone(),
            counters: Arc::new(Counters::new()),
            certificates: None,
            writes: Arc::new(StateWrites::default()),
            access,
            disk,
            fleet: Some(fleet.reader()),
            sinks: None,
            follows: None,
            query_log: None,
            drill: Arc::default(),
        };
        let render = Arc::new(move |board: &NameStateCache| sources.render(board));
        let journal = Arc::new(Journal::new(&settings.node, MAX_BEHIND, 0));
        let state = control::ApiState::new(snapshots, journal, is_ready, reload, render, controls);
        let state = state.with_room(room).with_fleet(Some(fleet.reader()));
        let state = state.with_costly_calls_on(runtimes.report.handle().clone());
        let stop = CancellationToken::new();
        let api = runtimes.control.within(|| tokio::net::TcpListener::from_std(api)).map_err(StartError::System)?;
        runtimes.control.spawn(control::serve(api, control::router(state), stop.clone()));
        runtimes.control.spawn(traces::send(settings.node.clone(), stop.clone()));
        Ok(ProbeNode { settings, http, model, vantages, publisher, fleet, readiness, stop, runtimes })
    }

    /// Probes what the fleet probes. The ready line comes once the targets were read and each had its first round.
    async fn run(&mut self) {
        let mut targets = self.fleet.plan();
        // Until then there is nothing to probe, and a view each second shows the vantage in its own status.
        while !self.fleet.has_targets() {
            tokio::select! {
                view = self.vantages.next_view(&self.model) => self.observe(view),
                // An error means that the task has ended, which only the end of this process does.
                Ok(()) = targets.changed() => {}
            }
        }
        let rounds = self.vantages.begin(Plan::default());
        for mut round in rounds {
            loop {
                tokio::select! {
                    () = round.wait() => break,
                    view = self.vantages.next_view(&self.model) => self.observe(view),
                }
            }
        }
        self.readiness.send_replace(Readiness::Serving);
        let Settings { node, region, .. } = &*self.settings;
        let line = format!("ready vantage={node} region={region} http={}", self.http);
        if let Err(error) = writeln!(std::io::stdout(), "{line}") {
            tracing::warn!(%error, "the ready line could not be written to standard output");
        }
        loop {
            let view = self.vantages.next_view(&self.model).await;
            self.observe(view);
        }
    }

    fn observe(&mut self, view: WorldView) {
        // It has no endpoints, so nothing changes but the state of the vantage itself.
        self.publisher.observe(view, clock::unix_seconds());
    }

    async fn stop(self) {
        self.readiness.send_replace(Readiness::Stopping);
        self.fleet.stop(false).await;
        self.vantages.stop().await;
        self.stop.cancel();
        self.runtimes.stop().await;
    }
}
