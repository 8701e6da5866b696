//! The first part of a start, which comes before any thread: the files are loaded, the state directory is opened, the
//! sockets are bound. Rights and capabilities belong to a thread in Linux, and threads inherit them, so the process
//! can drop them between this part and the next one, `RunningNode::run`. Files are read on a thread that has ended when
//! the next step begins.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGXFSZ};

use crate::clock;
use crate::config::{self, Dnstap, Flags, FollowSettings, LoadOptions, Loaded, Settings, SinkSettings, ZoneState};
use crate::daemon::changes::WatchedFiles;
use crate::daemon::clocks::Now;
use crate::daemon::discovery::{self, DiscoveryFile};
use crate::daemon::drill_file;
use crate::daemon::event_log::{self, LoadedEvents};
use crate::daemon::event_number;
use crate::daemon::exclusive;
use crate::daemon::follow::{self, FollowsFile};
use crate::daemon::health_file::LastReports;
use crate::daemon::limits::{self, Shares, System};
use crate::daemon::overrides::Overrides;
use crate::daemon::privileges::{self, FileNeed, Needs, Want};
use crate::daemon::retained::SteeringFiles;
use crate::daemon::sinks::{self, SinksFile};
use crate::daemon::sockets::Sockets;
use crate::daemon::state::StateDir;
use crate::daemon::systemd::{self, Systemd};
use crate::daemon::takeover::Taken;
use crate::daemon::vantages::VantageSpec;
use crate::daemon::{StartError, versions};
use crate::drill::DrillStatus;
use crate::health::{SourceAddresses, check_rights};
use crate::model::{ActiveEndpoint, Model, ProbeKind};
use crate::server::InheritedSockets;
use crate::source::{Problem, Severity, calls, reading};
use crate::telemetry::log;
use crate::wire::Name;

/// Environment variables that name certificate authorities (OpenSSL): probes over TLS read them.
const TRUST_STORES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a node is started from.
pub struct NodeSpec {
    /// The loaded files.
    pub loaded: Loaded,
    /// The settings file, read again on a reload.
    pub settings_file: Option<PathBuf>,
    /// Flags, which count on a reload too.
    pub flags: Flags,
    /// The vantages of this process: at least one.
    pub vantages: Vec<VantageSpec>,
}

/// The place of the server that ran before with the same state directory.
enum Place {
    /// This process takes it.
    Taken(Box<Taken>),
    /// That server has ended, maybe a moment ago: the system may still be closing its files.
    Left,
    /// None is to be taken: a server that uses the directory refuses this start.
    Free,
}

/// A node that has everything that it needs to run: nothing in it is a thread or a task.
pub struct Prepared {
    pub(super) settings: Arc<Settings>,
    pub(super) model: Model,
    pub(super) zones: Arc<[ZoneState]>,
    pub(super) refused: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) settings_file: Option<PathBuf>,
    pub(super) flags: Flags,
    pub(super) vantages: Vec<VantageSpec>,
    pub(super) watched: WatchedFiles,
    pub(super) state_dir: StateDir,
    pub(super) saved: SavedState,
    pub(super) sockets: Sockets,
    pub(super) shares: Shares,
    /// The server whose place this one takes.
    pub(super) taken: Option<Taken>,
}

impl Prepared {
    /// For `portolan serve`. When `is_strict`, an error in any file is an error of the start. When `is_takeover`, it
    /// takes the place of the server that uses the same state directory. At the end the process has dropped the rights
    /// that it no longer needs.
    pub fn load(
        settings_file: Option<PathBuf>,
        flags: Flags,
        is_strict: bool,
        is_takeover: bool,
    ) -> Result<Prepared, StartError> {
        let mut inherited = systemd::inherited();
        survive_signals();
        let (file, given) = (settings_file.clone(), flags.clone());
        let read = move || {
            log::choose(config::log_format(file.as_deref(), &given));
            let (settings_file, now) = (file.as_deref(), clock::unix_seconds());
            let how =
                LoadOptions { settings_file, flags: &given, now, confirm_removal: false, discovered: Arc::default() };
            let last_good = |settings: &Settings| {
                let dir = settings.operators.state_dir.as_deref();
                (versions::load(dir), discovery::endpoints_in(dir))
            };
            config::start(how, last_good)
        };
        let loaded = within(settings_file.as_deref(), read)?.map_err(StartError::Problems)?;
        if is_strict && loaded.refused.iter().any(|problem| problem.severity == Severity::Error) {
            let Loaded { refused, warnings, .. } = loaded;
            return Err(StartError::Problems([refused, warnings].concat()));
        }
        let vantage = VantageSpec {
            name: loaded.settings.node.as_str().into(),
            region: loaded.settings.region.as_str().into(),
            sources: SourceAddresses::default(),
        };
        let state = loaded.settings.operators.state_dir.clone();
        let is_state_new = match state.clone() {
            None => false,
            Some(dir) => within(state.as_deref(), move || calls::listed(&dir, || privileges::is_unused(&dir)))?,
        };
        let mut place = Place::Free;
        if let Some(dir) = state.as_deref().filter(|_| is_takeover) {
            place = Taken::begin(dir)?.map_or(Place::Left, |taken| Place::Taken(Box::new(taken)));
        }
        if let Place::Taken(taken) = &mut place {
            inherited = taken.sockets();
        }
        let spec = NodeSpec { loaded, settings_file, flags, vantages: vec![vantage] };
        let prepared = Prepared::with(spec, place, inherited)?;
        let zones = prepared.settings.zones_dir.clone();
        let query_log = match &prepared.settings.dnstap {
            Some(Dnstap::File(file)) => Some(file.clone()),
            Some(Dnstap::Socket(_)) | None => None,
        };
        let has_file_rules = prepared.settings.has_file_rules;
        let needs = Needs { files: prepared.needs(), zones, state, is_state_new, query_log, has_file_rules };
        privileges::reduce(prepared.settings.user.as_deref(), &needs)?;
        Ok(prepared)
    }

    /// The files that are used later: those that a reload reads, the secrets and certificates of connections, the
    /// programs of exec monitors, and the hook.
    fn needs(&self) -> Vec<FileNeed> {
        let to_read = |path: PathBuf| FileNeed { path, want: Want::Read };
        let read = self.watched.all_read().into_iter().map(to_read);
        let kinds = self.model.checks.iter().map(|check| &check.key.monitor.kind);
        let programs = kinds.filter_map(ProbeKind::program);
        let programs = programs.map(|path| FileNeed { path: path.into(), want: Want::Run });
        let fleet = self.settings.fleet.iter();
        let of_fleet = fleet.clone().flat_map(|fleet| fleet.nats.files());
        let hooks = fleet.filter_map(|fleet| fleet.on_promote.first());
        let allowed = self.settings.exec.iter().chain(hooks);
        let allowed = allowed.map(|path| FileNeed { path: path.into(), want: Want::Run });
        let of_sinks = self.settings.sinks.iter().flat_map(SinkSettings::files);
        let of_follows = self.settings.follows.iter().flat_map(FollowSettings::files);
        let of_sources = self.model.sources.iter().flat_map(|source| source.files().cloned());
        let named = of_fleet.chain(of_sinks).chain(of_follows).chain(of_sources).map(to_read);
        read.chain(trust_stores()).chain(programs).chain(named).chain(allowed).collect()
    }

    /// A node from files that were loaded. Keeps all rights of the process.
    pub fn of(spec: NodeSpec) -> Result<Prepared, StartError> {
        Prepared::with(spec, Place::Free, InheritedSockets::default())
    }

    /// The same with the sockets of a process before this one.
    fn with(spec: NodeSpec, mut place: Place, mut inherited: InheritedSockets) -> Result<Prepared, StartError> {
        let NodeSpec { loaded, settings_file, flags, vantages } = spec;
        let watched = WatchedFiles::of(&loaded, settings_file.as_deref());
        let Loaded { settings, model, mut warnings, refused, zones, files: _, is_news: _ } = loaded;
        let listening =
            limits::listening(&settings.listen) + sinks::connections(&settings) + settings.follows.len() as u64;
        let shares = System::raise_and_read().share(settings.limits, listening, vantages.len());
        if let Some(warning) = &shares.warning {
            tracing::warn!("{warning}");
        }
        if let Some(note) = &shares.note {
            tracing::info!("{note}");
        }
        let (state, node) = (settings.operators.state_dir.clone(), settings.node.clone());
        let lock = match &mut place {
            Place::Taken(taken) if taken.is_frozen() => Some(taken.lock()),
            Place::Taken(_) | Place::Left | Place::Free => None,
        };
        let is_left = !matches!(place, Place::Free);
        let (state_dir, saved, model, mut warnings) = within(state.clone().as_deref(), move || {
            let dir = state.clone().unwrap_or_default();
            let state_dir = calls::listed(&dir, || match lock {
                Some(lock) => StateDir::shared(dir.clone(), lock),
                None if is_left => StateDir::open_after(state),
                None => StateDir::open(state),
            })?;
            let saved = SavedState::load(&state_dir, &node, &model, &mut warnings)?;
            Ok::<_, StartError>((state_dir, saved, model, warnings))
        })??;
        let all = saved.overrides.book().load().all();
        let file = settings_file.as_deref().unwrap_or(Path::new("portolan.toml"));
        warnings.extend(follow::overrides_left(&all, &settings.follows, file));
        check_rights(model.checks.iter().map(|check| &*check.key)).map_err(|e| StartError::Rights(e.to_string()))?;
        let sockets = match is_left && inherited.is_empty() {
            true => Sockets::bind_after(&settings)?,
            false => Sockets::bind(&settings, &mut inherited)?,
        };
        Systemd::of_environment().discard(&inherited);
        Ok(Prepared {
            settings: Arc::new(settings),
            model,
            zones,
            refused,
            warnings,
            settings_file,
            flags,
            vantages,
            watched,
            state_dir,
            saved,
            sockets,
            shares,
            taken: match place {
                Place::Taken(taken) => Some(*taken),
                Place::Left | Place::Free => None,
            },
        })
    }
}

/// Runs `read` on a thread, which has ended when this returns, or reports which file does not answer. The start must
/// not wait for ever. `path` is named if no single file holds it up.
fn within<T: Send + 'static>(path: Option<&Path>, read: impl FnOnce() -> T + Send + 'static) -> Result<T, StartError> {
    let path = path.map_or_else(|| "portolan.toml".into(), Path::to_path_buf);
    reading::within(path, read).map_err(|problem| StartError::Problems(vec![*problem]))
}

/// What the state directory has from before the start.
pub(super) struct SavedState {
    pub(super) overrides: Overrides,
    pub(super) leases: HashMap<Name, ActiveEndpoint>,
    pub(super) last_reports: LastReports,
    pub(super) steering_files: SteeringFiles,
    /// The number of the last event before the start.
    pub(super) last_event: u64,
    pub(super) events: LoadedEvents,
    /// Where the sinks of events were.
    pub(super) sinks: SinksFile,
    /// Up to where streams were followed.
    pub(super) follows: FollowsFile,
    /// What sources listed last.
    pub(super) discovery: DiscoveryFile,
    /// The drill in the middle of which the last process ended.
    pub(super) drill: Option<DrillStatus>,
}

impl SavedState {
    /// Reads all files. What is wrong with a file that the server can do without is added to `warnings`.
    fn load(
        state: &StateDir,
        node: &str,
        model: &Model,
        warnings: &mut Vec<Problem>,
    ) -> Result<SavedState, StartError> {
        let mut overrides = Overrides::load(state)?;
        warnings.extend(overrides.resolve(model, state));
        let events = event_log::load(state, node, warnings);
        Ok(SavedState {
            overrides,
            leases: exclusive::load(state)?,
            last_reports: LastReports::load(state, warnings),
            steering_files: SteeringFiles::load(state, Now::read(), warnings)?,
            last_event: event_number::load(state, events.last, warnings),
            events,
            sinks: sinks::load(state, warnings),
            follows: follow::load(state, warnings),
            discovery: discovery::load(state, warnings),
            drill: drill_file::load(state, warnings),
        })
    }
}

/// The certificate authorities of the system, as files that are used later.
pub(super) fn trust_stores() -> impl Iterator<Item = FileNeed> {
    let stores = TRUST_STORES.into_iter().filter_map(std::env::var_os);
    stores.map(|path| FileNeed { path: path.into(), want: Want::ReadAuthorities })
}

/// From now on two signals do not end the process, which is their default action. Programs that rotate logs or renew
/// certificates may send SIGHUP during the start: the files are read in any case, and later changes are noticed.
/// SIGXFSZ comes with a write beyond the limit of a file's size, which then fails as on a full disk.
pub(super) fn survive_signals() {
    for (signal, when) in [(SIGHUP, "a SIGHUP during the start"), (SIGXFSZ, "a file that is too long")] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::default()) {
            tracing::warn!(%error, "{when} would end this process");
        }
    }
}
