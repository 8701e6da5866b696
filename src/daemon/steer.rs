//! The steering task, which keeps the snapshot up to date. It makes a view of the reports and a snapshot of the view,
//! applies overrides at once, and makes files that changed the next generation or reports what is wrong with them. It
//! owns the one [`Publisher`], and waits for nothing but its next event.

mod compiling;
mod drafting;
mod drill;
mod operate;
mod reload;
mod reload_events;
mod removal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::info_span;

use crate::clock;
use crate::config::{Flags, Settings, ZoneState};
use crate::control::{ApiAccess, Command, Journal, JournalEvent, ReloadStatus};
use crate::daemon::changes::{Cause, Changes};
use crate::daemon::discovery::Following;
use crate::daemon::drill::Drills;
use crate::daemon::exclusive::Leases;
use crate::daemon::identity::Identities;
use crate::daemon::overrides::Overrides;
use crate::daemon::retained::SteeringFiles;
use crate::daemon::state::{StateDir, WriteOutcome};
use crate::daemon::systemd::Pulse;
use crate::daemon::takeover::PauseRequest;
use crate::daemon::vantages::Vantages;
use crate::daemon::versions::Versions;
use crate::model::{Model, WorldView};
use crate::snapshot::{Publisher, Snapshot, Transition};
use crate::source::Severity;
use crate::telemetry::Metrics;
use crate::telemetry::traces::{WORK, number};
use crate::timer;
use drafting::WantedChange;
use reload::{LoadProgress, NextGeneration};

pub(crate) use drafting::Drafting;
pub(crate) use reload::Reloads;

/// Everything that the steering task owns.
pub(crate) struct Steer {
    pub(crate) publisher: Publisher,
    pub(crate) vantages: Vantages,
    pub(crate) changes: Changes,
    pub(crate) settings_file: Option<PathBuf>,
    pub(crate) flags: Flags,
    /// The settings in force. Keys that only a restart can change have the values of the start.
    pub(crate) settings: Arc<Settings>,
    /// Each zone with its version that is served.
    pub(crate) zones: Arc<[ZoneState]>,
    pub(crate) versions: Versions,
    pub(crate) identities: Identities,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Another process takes this server's place.
    pub(crate) pauses: mpsc::Receiver<PauseRequest>,
    /// Beats with each round.
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) overrides: Overrides,
    /// The leases of exclusive names, as the fleet knows them.
    pub(crate) leases: watch::Receiver<Leases>,
    /// Changes when overrides of the fleet have arrived; ended without a fleet.
    pub(crate) shared: watch::Receiver<()>,
    /// Changes with each snapshot that is published.
    pub(crate) published: watch::Sender<()>,
    pub(crate) steering_files: SteeringFiles,
    pub(crate) access: Arc<ApiAccess>,
    pub(crate) state_dir: StateDir,
    pub(crate) reloads: Reloads,
    pub(crate) drafting: Drafting,
    pub(crate) drills: Drills,
    /// The sources of endpoints.
    pub(crate) discovery: Following,
    /// Threads of low priority: for what takes long and nobody waits for.
    pub(crate) low: Handle,
}

/// How often the steering task looks whether the wall clock was set. Judgment: an operator who sets it sees the
/// consequence at once, and a look costs nothing.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

impl Steer {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut next = NextGeneration::Nothing;
        loop {
            self.pulse.beat();
            let model = self.model();
            self.follow_clock();
            let removal = self.next_removal();
            let [expiry, removal_due, countdown] =
                [self.overrides.next_end(), removal, self.overrides.next_countdown(longest_ttl(&model))]
                    .map(|at| self.left_until(at));
            let stated_due = self.discovery.due().map(|at| at.since(clock::now()));
            tokio::select! {
                () = stop.cancelled() => break,
                view = self.vantages.next_view(&model) => {
                    self.observe(view);
                }
                Some(command) = self.commands.recv(), if self.drafting.has_room() => match command {
                    Command::Override(change, reply) => {
                        self.want_change(WantedChange::Operators(change, reply), &model);
                    }
                    Command::Failback { name, zones, reply } => {
                        // Whoever waited may have gone; the name has moved all the same.
                        let _ = reply.send(self.fail_back(&name, zones.as_deref(), &model));
                    }
                    Command::Drill(order) => self.begin_drill(*order),
                    Command::Reload { confirm_removal, reply } => {
                        self.reloads.waiting.push(reply);
                        self.reloads.confirm_removal |= confirm_removal;
                        if confirm_removal {
                            self.discovery.confirm();
                        }
                        next = self.want(next, Cause::Request);
                    }
                },
                Some(PauseRequest { paused, end }) = self.pauses.recv(), if !self.drafting.is_busy() => {
                    if let Some(why) = self.drills.hinder() {
                        // The hand-over has waited too long then, and was given up.
                        let _ = paused.send(Err(why));
                        continue;
                    }
                    self.steering_files.save_now(&self.publisher.snapshots().load_full(), &self.state_dir);
                    if paused.send(Ok(())).is_ok() {
                        tokio::select! {
                            _ = end => {}
                            () = stop.cancelled() => break,
                        }
                    }
                }
                wake = self.drills.next() => self.wake_drill(wake),
                draft = self.drafting.drafted() => self.drafted(draft, &model),
                () = timer::after(expiry), if self.drafting.may_expire(clock::now()) => {
                    self.want_change(WantedChange::Expiry, &model);
                }
                () = timer::after(removal_due), if matches!(next, NextGeneration::Nothing) => {
                    if removal.is_some_and(|at| at <= self.overrides.unix_now()) {
                        next = self.want(next, Cause::Removal);
                    }
                }
                () = timer::after(countdown) => self.serve_again(),
                Ok(()) = self.leases.changed() => self.serve_again(),
                () = self.discovery.changed() => self.serve_again(),
                () = timer::after(stated_due), if matches!(next, NextGeneration::Nothing) => {
                    next = self.load(Cause::Discovery);
                }
                Ok(()) = self.shared.changed(), if self.drafting.has_room() => self.want_fleet(&model),
                // Only to look at the clock.
                () = tokio::time::sleep(CLOCK_EVERY) => {}
                cause = self.changes.next() => next = self.want(next, cause),
                progress = next.progress() => next = match (progress, next) {
                    (LoadProgress::Loaded(cause, read), _) => match *read {
                        Ok(loaded) => self.begin(loaded, cause),
                        Err(problems) => self.refuse(cause, problems),
                    },
                    (LoadProgress::BrokeOff(cause, error), _) => {
                        self.refuse(cause, vec![self.problem(Severity::Error, format!("loading broke off: {error}"))])
                    }
                    (LoadProgress::Overdue(problem), loading) => {
                        self.overdue(problem);
                        loading
                    }
                    (LoadProgress::Probed, NextGeneration::Probing(coming)) => {
                        NextGeneration::Compiling(Box::new(self.compile(*coming)))
                    }
                    (LoadProgress::Compiled(round), NextGeneration::Compiling(compiling)) => {
                        match self.compiled(*compiling, round) {
                            Some(compiling) => NextGeneration::Compiling(Box::new(compiling)),
                            None => NextGeneration::Nothing,
                        }
                    }
                    (LoadProgress::Probed | LoadProgress::Compiled(_), other) => other,
                },
            }
            if let (NextGeneration::Nothing, Some(cause)) = (&next, self.reloads.again) {
                next = self.load(cause);
            }
        }
        self.vantages.stop().await;
        self.versions.close().await;
    }

    /// The time until `at`, in Unix seconds by the clock of all ends. One that is too far away for a [`Duration`] is
    /// the longest one.
    fn left_until(&self, at: Option<f64>) -> Option<Duration> {
        let left = at? - self.overrides.unix_now();
        Some(Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX))
    }

    fn model(&self) -> Arc<Model> {
        self.publisher.snapshots().load().model.clone()
    }

    /// Publishes the same measurements with the present overrides and leases.
    fn serve_again(&mut self) {
        let served = self.publisher.snapshots().load_full();
        self.observe(WorldView { at: clock::now(), ..WorldView::clone(&served.view) });
    }

    /// Adds the present overrides and leases to a view of `model`, and what sources state.
    fn completed(&mut self, view: WorldView, model: &Arc<Model>) -> WorldView {
        let stated = self.discovery.stated(model, &view.checks);
        WorldView { leases: self.leases.borrow_and_update().clone(), stated, ..self.overrides.over(view) }
    }

    /// Publishes a new view, with the overrides and leases.
    fn observe(&mut self, view: WorldView) {
        let span = info_span!(target: WORK, "publish", generation = Empty, transitions = Empty).entered();
        let before = self.publisher.snapshots().load_full();
        let view = self.completed(view, &before.model);
        let drill = self.drills.observe(&before.model, &view, &before, &mut self.vantages);
        let transitions = self.publisher.observe(view, clock::unix_seconds());
        self.drills.published();
        // A failure is in the log.
        drop(self.save_steering(&before));
        self.report_transitions(&transitions);
        span.record("generation", number(before.generation)).record("transitions", number(transitions.len()));
        self.finish_drill(drill);
    }

    /// Announces the present snapshot, and saves what a restart restores of it; `before` was served before it. The
    /// outcome is that of `standings.json`, if it has to be written.
    fn save_steering(&mut self, before: &Snapshot) -> Option<WriteOutcome> {
        self.published.send_replace(());
        let served = self.publisher.snapshots().load_full();
        // What a drill changes is not for the next start. The end of the drill writes what is left of it.
        if self.drills.hinder().is_some() {
            return None;
        }
        self.steering_files.follow(before, &served, &self.state_dir)
    }

    fn report_transitions(&self, transitions: &[Transition]) {
        for transition in transitions {
            let Transition { zone, endpoint, from, to, why, generation, monitor, .. } = transition;
            let (from, to) = (from.as_str(), to.as_str());
            tracing::info!(zone, endpoint, from, to, why, generation, monitor = monitor.as_deref(), "transition");
            self.metrics.transition(transition);
            self.journal.append(JournalEvent::from(transition));
        }
    }
}

/// The longest TTL that any name may have.
fn longest_ttl(model: &Model) -> Duration {
    model.policies.iter().map(|policy| policy.ttl.max).max().unwrap_or_default()
}
