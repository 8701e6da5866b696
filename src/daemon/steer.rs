//! The task that keeps what is served true: reports become a view, a view becomes a snapshot; what operators say is in it
//! at once; files that changed become the next generation, or a complaint. It owns the one [`Publisher`] and waits for
//! nothing but its next event.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{
    self, Flags, InForce, LoadOptions, Loaded, Problem, Settings, Severity, Tokens, VersionStatus, ZoneState,
};
use crate::control::command::{AppliedChange, AppliedFailback, OverrideChange};
use crate::control::failback;
use crate::control::overrides::OverrideError;
use crate::control::simulate::losses;
use crate::control::{Command, Journal, JournalEvent, ReloadStatus};
use crate::daemon::changes::{Cause, Changes, Watched};
use crate::daemon::difference::Difference;
use crate::daemon::identity::Identities;
use crate::daemon::overrides::{Overrides, Resolved, Turn, events};
use crate::daemon::ramps::Ramps;
use crate::daemon::standings::Standings;
use crate::daemon::store::Store;
use crate::daemon::vantages::Vantages;
use crate::daemon::versions::Versions;
use crate::health::{Round, check_rights};
use crate::model::{Model, WorldView};
use crate::snapshot::{Identity, Publisher, Snapshot, Transition};
use crate::telemetry::{Metrics, log};

/// Everything that the steering task owns.
pub(crate) struct Steer {
    pub(crate) publisher: Publisher,
    pub(crate) vantages: Vantages,
    pub(crate) changes: Changes,
    pub(crate) settings_file: Option<PathBuf>,
    pub(crate) flags: Flags,
    /// The settings as they were at the start: some keys can't change in a running process.
    pub(crate) started_with: Arc<Settings>,
    /// The settings in force.
    pub(crate) settings: Arc<Settings>,
    /// How each zone of what is served stands.
    pub(crate) zones: Arc<[ZoneState]>,
    pub(crate) versions: Versions,
    pub(crate) identities: Identities,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) overrides: Overrides,
    pub(crate) standings: Standings,
    pub(crate) ramps: Ramps,
    pub(crate) tokens: Arc<ArcSwapOption<Tokens>>,
    pub(crate) store: Store,
    pub(crate) reloads: Reloads,
}

/// Who waits for files to be loaded, and whether they are to be loaded again.
#[derive(Default)]
pub(crate) struct Reloads {
    /// Those who asked before what is under way was begun: it is the answer to them.
    asked: Vec<oneshot::Sender<Arc<ReloadStatus>>>,
    /// Those who asked since.
    waiting: Vec<oneshot::Sender<Arc<ReloadStatus>>>,
    /// Why to load again when what is under way has ended. It is never broken off: files that change faster than they
    /// can be loaded would never be served.
    again: Option<Cause>,
    /// Whether one of those who asked confirmed that what disappeared is to go.
    confirm_removal: bool,
    /// When the last one ended, Unix seconds.
    ended_at: f64,
}

/// An override's end is looked at again after this at the latest: the clock of the wall may be set meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A load that was to remove something and could not is tried again after so many seconds (judgment).
const PAUSE_SECS: f64 = 5.0;

/// What is under way towards the next generation.
enum Next {
    Nothing,
    /// The files are being read, on a thread that may block.
    Loading(Cause, JoinHandle<Result<Loaded, Vec<Problem>>>),
    /// They are valid; what is new in them is having its first probe round.
    Probing(Box<Coming>),
}

struct Coming {
    cause: Cause,
    model: Arc<Model>,
    settings: Arc<Settings>,
    zones: Arc<[ZoneState]>,
    identity: Arc<Identity>,
    watched: Watched,
    refused: Vec<Problem>,
    warnings: Vec<Problem>,
    rounds: Vec<Round>,
}

/// What came of waiting for [`Next`].
enum Progress {
    Loaded(Cause, Box<Result<Loaded, Vec<Problem>>>),
    BrokeOff(Cause, JoinError),
    Probed,
}

impl Next {
    /// Waits for progress; nothing is lost when this is dropped and called again.
    async fn progress(&mut self) -> Progress {
        match self {
            Next::Nothing => std::future::pending().await,
            Next::Loading(cause, reading) => match reading.await {
                Ok(read) => Progress::Loaded(*cause, Box::new(read)),
                Err(error) => Progress::BrokeOff(*cause, error),
            },
            Next::Probing(coming) => {
                while let Some(round) = coming.rounds.last_mut() {
                    round.wait().await;
                    coming.rounds.pop();
                }
                Progress::Probed
            }
        }
    }
}

impl Steer {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut next = Next::Nothing;
        loop {
            let model = self.model();
            let removal = self.next_removal();
            tokio::select! {
                () = stop.cancelled() => break,
                view = self.vantages.next_view(&model) => {
                    self.observe(view);
                }
                Some(command) = self.commands.recv() => match command {
                    Command::Override(change, reply) => {
                        // Whoever asked may have gone; what was asked for is done.
                        let _ = reply.send(self.change(change, &model));
                    }
                    Command::Failback { name, reply } => {
                        let _ = reply.send(self.fail_back(&name, &model));
                    }
                    Command::Reload { confirm_removal, reply } => {
                        self.reloads.waiting.push(reply);
                        self.reloads.confirm_removal |= confirm_removal;
                        next = self.want(next, Cause::Request);
                    }
                },
                () = until(self.overrides.next_end()) => self.expire(&model),
                () = until(removal), if matches!(next, Next::Nothing) => {
                    if removal.is_some_and(|at| at <= clock::unix_seconds()) {
                        next = self.want(next, Cause::Removal);
                    }
                }
                () = until(self.overrides.next_countdown(longest_ttl(&model))) => self.serve_overrides(),
                cause = self.changes.next() => next = self.want(next, cause),
                progress = next.progress() => next = match (progress, next) {
                    (Progress::Loaded(cause, read), _) => match *read {
                        Ok(loaded) => self.begin(loaded, cause),
                        Err(problems) => self.refuse(cause, problems),
                    },
                    (Progress::BrokeOff(cause, error), _) => {
                        self.refuse(cause, vec![self.problem(Severity::Error, format!("loading broke off: {error}"))])
                    }
                    (Progress::Probed, Next::Probing(coming)) => self.adopt(*coming),
                    (Progress::Probed, other) => other,
                },
            }
            if let (Next::Nothing, Some(cause)) = (&next, self.reloads.again) {
                next = self.load(cause);
            }
        }
        self.vantages.stop().await;
        self.store.close().await;
        self.versions.close().await;
    }

    fn model(&self) -> Arc<Model> {
        self.publisher.snapshots().load().model.clone()
    }

    /// There is a reason to load the files: now, or after what is under way.
    fn want(&mut self, next: Next, cause: Cause) -> Next {
        match next {
            Next::Nothing => self.load(cause),
            Next::Loading(..) | Next::Probing(_) => {
                self.reloads.again = Some(cause);
                next
            }
        }
    }

    /// Reads the files again, away from this task: answers follow the world meanwhile.
    fn load(&mut self, cause: Cause) -> Next {
        let Reloads { asked, waiting, again, confirm_removal, ended_at: _ } = &mut self.reloads;
        asked.append(waiting);
        *again = None;
        tracing::debug!(cause = cause.as_str(), "reading the files");
        let confirm_removal = std::mem::take(confirm_removal);
        let (file, flags, sight) = (self.settings_file.clone(), self.flags.clone(), self.changes.sight());
        let in_force = InForce { settings: self.settings.clone(), model: self.model(), zones: self.zones.clone() };
        let reading = move || {
            sight.will_be_read(clock::now);
            let (settings_file, now) = (file.as_deref(), clock::unix_seconds());
            config::again(LoadOptions { settings_file, flags: &flags, now, confirm_removal }, &in_force)
        };
        Next::Loading(cause, tokio::task::spawn_blocking(reading))
    }

    /// When what disappeared from the files is to go at last; not at once after a load that it did not go with.
    fn next_removal(&self) -> Option<f64> {
        let ends = self.zones.iter().filter_map(|zone| match zone.status {
            VersionStatus::Vanished(_, until) => Some(until),
            VersionStatus::Current | VersionStatus::LastGood | VersionStatus::Unserved => None,
        });
        ends.min_by(f64::total_cmp).map(|until| until.max(self.reloads.ended_at + PAUSE_SECS))
    }

    /// Has the new checks probed before anybody is answered from them. The old ones are probed on meanwhile.
    fn begin(&mut self, loaded: Loaded, cause: Cause) -> Next {
        let watched = Watched::of(&loaded, self.settings_file.as_deref());
        let Loaded { settings, model, mut warnings, refused, zones, files: _, is_news } = loaded;
        if let Err(error) = check_rights(model.checks.iter().map(|check| &*check.key)) {
            return self.refuse(cause, vec![self.problem(Severity::Error, error.to_string())]);
        }
        tracing::debug!(checks = model.checks.len(), "probing what the files say before it is served");
        log::choose(settings.log);
        for key in settings.needs_restart(&self.started_with) {
            warnings.push(self.problem(Severity::Warning, format!("{key} changed: that takes a restart")));
        }
        if !is_news {
            self.zones = zones;
            self.changes.turn_to(watched);
            return self.nothing_new(cause, [refused, warnings].concat());
        }
        refused.iter().chain(&warnings).for_each(log::problem);
        let rounds = self.vantages.begin(&[&self.model(), &model]);
        let identity = Arc::new(self.identities.of(&settings));
        let (model, settings) = (Arc::new(model), Arc::new(settings));
        let coming = Coming { cause, model, settings, zones, identity, watched, refused, warnings, rounds };
        Next::Probing(Box::new(coming))
    }

    /// Nothing could be loaded: what is served stays.
    fn refuse(&mut self, cause: Cause, problems: Vec<Problem>) -> Next {
        self.changes.rearm();
        self.nothing_new(cause, problems)
    }

    /// What is served stays; log, metrics and status say why.
    fn nothing_new(&mut self, cause: Cause, problems: Vec<Problem>) -> Next {
        let generation = self.publisher.snapshots().load().generation;
        problems.iter().for_each(log::problem);
        tracing::error!(cause = cause.as_str(), generation, "no change was loaded; this generation is still served");
        self.ended(false, problems);
        Next::Nothing
    }

    /// A loading ended: for status and metrics, and for those who asked for it.
    fn ended(&mut self, ok: bool, problems: Vec<Problem>) {
        self.metrics.reload_ended(ok);
        let at = clock::unix_seconds();
        self.reloads.ended_at = at;
        let status = Arc::new(ReloadStatus {
            ok,
            at,
            generation: self.publisher.snapshots().load().generation,
            problems,
            zones: self.zones.clone(),
            unnoticed: self.changes.unnoticed().map(str::to_owned),
        });
        self.reload.store(status.clone());
        self.versions.turn_to(self.zones.clone());
        for asked in self.reloads.asked.drain(..) {
            // Whoever asked may have gone.
            let _ = asked.send(status.clone());
        }
    }

    /// A problem of the settings as a whole.
    fn problem(&self, severity: Severity, message: String) -> Problem {
        let file = self.settings_file.clone().unwrap_or_else(|| "portolan.toml".into());
        Problem::of_file(file, severity, message)
    }

    /// Serves the new generation, and stops probing what only the old one had.
    fn adopt(&mut self, mut coming: Coming) -> Next {
        for warning in self.overrides.resolve(&coming.model, &self.store) {
            tracing::warn!("{warning}");
            coming.warnings.push(warning);
        }
        let view = self.overrides.over(self.vantages.view(&coming.model));
        let before = self.publisher.snapshots().load_full();
        let transitions = self.publisher.adopt(coming.model.clone(), view, coming.identity, clock::unix_seconds());
        // Told in the log when it fails.
        drop(self.remember(&before));
        self.vantages.begin(&[&coming.model]);
        let generation = self.publisher.snapshots().load().generation;
        let (model, zones) = (coming.model.clone(), coming.zones.clone());
        let (old, cause) = (self.zones.clone(), coming.cause.as_str());
        // Comparing many records takes long.
        tokio::task::spawn_blocking(move || {
            let changed = Difference::between((&before.model, &old), (&model, &zones));
            tracing::info!(generation, cause, %changed, "a new generation is served");
        });
        self.tokens.store(coming.settings.operators.tokens.clone());
        (self.settings, self.zones) = (coming.settings, coming.zones);
        self.changes.turn_to(coming.watched);
        self.tell(&transitions);
        self.ended(coming.refused.is_empty(), [coming.refused, coming.warnings].concat());
        Next::Nothing
    }

    /// Makes a change of the overrides; it is being served when this returns. Nothing else is published between the look
    /// at what it would do and the change.
    fn change(&mut self, change: OverrideChange, model: &Arc<Model>) -> Result<AppliedChange, OverrideError> {
        let needs_confirmation = change.needs_confirmation();
        let draft = self.overrides.draft(change, model)?;
        let before = self.publisher.snapshots().load_full();
        let next = self.publisher.preview(draft.over(WorldView { at: clock::now(), ..WorldView::clone(&before.view) }));
        if let Some(unanswered) = losses(&before, &next).filter(|_| needs_confirmation) {
            return Err(OverrideError::Unconfirmed(Box::new(unanswered)));
        }
        let resolved = self.overrides.resolved();
        let turns = self.overrides.take(draft);
        let transitions = self.publisher.show(next, clock::unix_seconds());
        // Told in the log when it fails.
        drop(self.remember(&before));
        self.tell(&transitions);
        let kept = self.overrides.keep(&self.store);
        self.tell_turns(&turns, &resolved);
        let served = [before, self.publisher.snapshots().load_full()];
        Ok(AppliedChange { turns: turns.into_iter().map(Turn::into_turned).collect(), served, kept })
    }

    /// Hands a name back to the first member that is up; it is being served when this returns.
    fn fail_back(&mut self, name: &str, model: &Model) -> Result<AppliedFailback, failback::FailbackError> {
        let (policy, name) = failback::policy_of(model, name)?;
        let before = self.publisher.snapshots().load_full();
        let now = WorldView { at: clock::now(), ..WorldView::clone(&before.view) };
        let next = self.publisher.preview_failback(now, policy);
        let transitions = self.publisher.show(next, clock::unix_seconds());
        let kept = self.remember(&before);
        self.tell(&transitions);
        let served = [before, self.publisher.snapshots().load_full()];
        Ok(AppliedFailback { policy, name, served, kept })
    }

    /// Ends the overrides whose time is over.
    fn expire(&mut self, model: &Arc<Model>) {
        let resolved = self.overrides.resolved();
        let turns = self.overrides.expire(clock::unix_seconds(), model);
        if turns.is_empty() {
            return;
        }
        self.serve_overrides();
        // Told in the log when it fails; it would be over after a restart too.
        drop(self.overrides.keep(&self.store));
        self.tell_turns(&turns, &resolved);
    }

    /// Publishes the world as it was, with what operators say now.
    fn serve_overrides(&mut self) {
        let served = self.publisher.snapshots().load_full();
        self.observe(WorldView { at: clock::now(), ..WorldView::clone(&served.view) });
    }

    /// Publishes the world as it is seen, with what operators say.
    fn observe(&mut self, view: WorldView) {
        let before = self.publisher.snapshots().load_full();
        let transitions = self.publisher.observe(self.overrides.over(view), clock::unix_seconds());
        // Told in the log when it fails.
        drop(self.remember(&before));
        self.tell(&transitions);
    }

    /// Keeps what a restart is not to forget of what is served now; `before` was served before it. What comes back tells
    /// once how it went with the choices that resist change, where there are new ones.
    fn remember(&mut self, before: &Snapshot) -> Option<oneshot::Receiver<Result<(), String>>> {
        let served = self.publisher.snapshots().load_full();
        self.ramps.follow(&served, &self.store);
        self.standings.follow(before, &served, &self.store)
    }

    /// Tells of a change of the overrides; `before` is what was said of each endpoint.
    fn tell_turns(&self, turns: &[Turn], before: &Resolved) {
        let snapshot = self.publisher.snapshots().load_full();
        let (at, generation) = (clock::unix_seconds(), snapshot.generation);
        turns.iter().for_each(|turn| turn.log(generation));
        let after = self.overrides.resolved();
        for event in events(&snapshot.model, &snapshot.view, before, &after, turns, (at, generation)) {
            self.journal.tell(event);
        }
    }

    fn tell(&self, transitions: &[Transition]) {
        for transition in transitions {
            let Transition { zone, endpoint, from, to, why, generation, monitor, .. } = transition;
            let (from, to) = (from.as_str(), to.as_str());
            tracing::info!(zone, endpoint, from, to, why, generation, monitor = monitor.as_deref(), "transition");
            self.metrics.transition(transition);
            self.journal.tell(JournalEvent::from(transition));
        }
    }
}

/// The longest TTL that any name may have.
fn longest_ttl(model: &Model) -> Duration {
    model.policies.iter().map(|policy| policy.ttl.max).max().unwrap_or_default()
}

/// Waits until `at`, Unix seconds, or a while; for ever without.
async fn until(at: Option<f64>) {
    let Some(at) = at else { return std::future::pending().await };
    let left = Duration::try_from_secs_f64(at - clock::unix_seconds()).unwrap_or_default();
    tokio::time::sleep(left.min(LONGEST_WAIT)).await;
}
