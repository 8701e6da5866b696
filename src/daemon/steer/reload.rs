//! Makes the next generation from changed files in four steps: read the files, probe the new checks, compile, publish.
//! A request that comes during a load gets the result of the load after it. A load that is overdue, because a file does
//! not answer, is reported, and requests are refused until it has ended. Then what it has read is served.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Interval;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::clock;
use crate::config::{self, InForce, LoadOptions, Loaded, Settings, VersionStatus};
use crate::control::{JournalEvent, ReloadStatus};
use crate::daemon::changes::{Cause, WatchedFiles};
use crate::daemon::fleet::{CheckHashes, hashes_of};
use crate::daemon::steer::Steer;
use crate::daemon::steer::compiling::{ComingGeneration, CompiledRound, Compiling};
use crate::daemon::steer::reload_events::ReloadEvents;
use crate::daemon::steer::removal::with_removals_moved;
use crate::daemon::vantages::plan_of;
use crate::fleet::events::EventKind;
use crate::health::{Plan, check_rights};
use crate::model::Moment;
use crate::source::{self, Problem, Severity, limit_comparisons, reading};
use crate::telemetry::log;
use crate::telemetry::traces::{WORK, number};

/// Requests to load the files, and whether to load them again.
pub(crate) struct Reloads {
    /// Requests that came before the present load began: its result is their reply.
    requests: Vec<oneshot::Sender<Arc<ReloadStatus>>>,
    /// Requests that came since then. The next load is for them.
    pub(super) waiting: Vec<oneshot::Sender<Arc<ReloadStatus>>>,
    /// Why to load again after the present load. A load is never cancelled: otherwise files that change faster than
    /// they can be loaded would never be served.
    pub(super) again: Option<Cause>,
    /// Whether a request confirmed the removal of zones that disappeared.
    pub(super) confirm_removal: bool,
    /// The last load had to remove the zones whose time ended by this moment, Unix seconds by the clock of all ends.
    removed_until: f64,
    /// When the last load ended, by the same clock.
    ended_at: f64,
    /// By how many seconds the wall clock was set since the present load began.
    pub(super) clock_set_by: f64,
    /// When the present load began, Unix seconds.
    begun_at: Option<f64>,
    /// The span of the present load. Its steps are below it.
    pub(super) span: Span,
    /// Why the last load was refused; `None`: it was not. The same reason is no event again.
    refusal: Option<String>,
    /// Which loads have an event of their own.
    events: ReloadEvents,
}

impl Reloads {
    /// When a load has to remove what is served `until` then.
    fn removal_due(&self, until: f64) -> f64 {
        if until > self.removed_until { until } else { until.max(self.ended_at + PAUSE_SECS) }
    }
}

impl Default for Reloads {
    /// No load, and no request.
    fn default() -> Reloads {
        Reloads {
            requests: Vec::new(),
            waiting: Vec::new(),
            again: None,
            confirm_removal: false,
            removed_until: 0.0,
            ended_at: 0.0,
            clock_set_by: 0.0,
            begun_at: None,
            span: Span::none(),
            refusal: None,
            events: ReloadEvents::default(),
        }
    }
}

/// Seconds after which a load is tried again that should have removed a zone and could not (judgment).
const PAUSE_SECS: f64 = 5.0;

/// The state of the load of the next generation.
pub(super) enum NextGeneration {
    Nothing,
    /// The files are being read, on a thread that may block for ever.
    Loading(Loading),
    /// They are valid; the first probe round of new checks is under way.
    Probing(Box<ComingGeneration>),
    /// The new checks have been probed; the snapshot is being compiled.
    Compiling(Box<Compiling>),
}

pub(super) struct Loading {
    cause: Cause,
    running: JoinHandle<Result<ReadFiles, Vec<Problem>>>,
    begun: Moment,
    looks: Interval,
    /// Whether the load was reported because it lasts too long.
    is_overdue: bool,
    /// The file to name if no single file holds the load up.
    settings_file: PathBuf,
}

/// What was read.
pub(super) struct ReadFiles {
    loaded: Loaded,
    watched: WatchedFiles,
    /// To probe what it and the served generation have.
    plan: Plan,
    /// What identifies its new checks in the messages of a fleet.
    hashes: CheckHashes,
}

/// The result of waiting for [`NextGeneration`].
pub(super) enum LoadProgress {
    Loaded(Cause, Box<Result<ReadFiles, Vec<Problem>>>),
    BrokeOff(Cause, JoinError),
    /// The load lasts too long, and goes on. Comes once in a load.
    Overdue(Problem),
    Probed,
    Compiled(Option<Box<CompiledRound>>),
}

impl NextGeneration {
    /// Waits for progress. Nothing is lost when this is dropped and called again.
    pub(super) async fn progress(&mut self) -> LoadProgress {
        match self {
            NextGeneration::Nothing => std::future::pending().await,
            NextGeneration::Loading(loading) => loading.progress().await,
            NextGeneration::Probing(coming) => {
                while let Some(round) = coming.rounds.last_mut() {
                    round.wait().await;
                    coming.rounds.pop();
                }
                LoadProgress::Probed
            }
            NextGeneration::Compiling(compiling) => LoadProgress::Compiled(compiling.round().await.map(Box::new)),
        }
    }
}

impl Loading {
    async fn progress(&mut self) -> LoadProgress {
        loop {
            tokio::select! {
                read = &mut self.running => return match read {
                    Ok(read) => LoadProgress::Loaded(self.cause, Box::new(read)),
                    Err(error) => LoadProgress::BrokeOff(self.cause, error),
                },
                _ = self.looks.tick(), if !self.is_overdue => {
                    if let Some(problem) = reading::overdue(self.begun, clock::now(), self.settings_file.clone()) {
                        self.is_overdue = true;
                        return LoadProgress::Overdue(problem);
                    }
                }
            }
        }
    }
}

impl Steer {
    /// Loads the files now, or after the present load.
    pub(super) fn want(&mut self, next: NextGeneration, cause: Cause) -> NextGeneration {
        match next {
            NextGeneration::Nothing => self.load(cause),
            NextGeneration::Loading(Loading { is_overdue: true, .. }) => {
                self.reloads.again = Some(cause);
                self.refuse_requests();
                next
            }
            NextGeneration::Loading(_) | NextGeneration::Probing(_) | NextGeneration::Compiling(_) => {
                self.reloads.again = Some(cause);
                next
            }
        }
    }

    /// Reads the files on another thread. Meanwhile this task goes on with reports and commands.
    pub(super) fn load(&mut self, cause: Cause) -> NextGeneration {
        let Reloads {
            requests,
            waiting,
            again,
            confirm_removal,
            clock_set_by,
            begun_at,
            span,
            removed_until: _,
            ended_at: _,
            refusal: _,
            events: _,
        } = &mut self.reloads;
        requests.append(waiting);
        *again = None;
        *clock_set_by = 0.0;
        *begun_at = Some(clock::unix_seconds());
        tracing::debug!(cause = cause.as_str(), "reading the files");
        *span =
            info_span!(target: WORK, parent: None, "reload", cause = cause.as_str(), ok = Empty, generation = Empty);
        let step = info_span!(target: WORK, parent: &*span, "read files");
        let confirm_removal = std::mem::take(confirm_removal);
        let (file, flags, poll) = (self.settings_file.clone(), self.flags.clone(), self.changes.poll());
        let in_force = InForce { settings: self.settings.clone(), model: self.model(), zones: self.zones.clone() };
        let (now, is_in_fleet) = (self.overrides.unix_now(), self.vantages.is_in_fleet());
        self.reloads.removed_until = now;
        let discovered = self.discovery.begin(clock::now());
        let read = move || {
            let _step = step.entered();
            limit_comparisons();
            poll.will_be_read(clock::now);
            let settings_file = file.as_deref();
            let loaded = config::again(
                LoadOptions { settings_file, flags: &flags, now, confirm_removal, discovered },
                &in_force,
            )?;
            let watched = WatchedFiles::of(&loaded, settings_file);
            let plan = plan_of(&[&in_force.model, &loaded.model]);
            let hashes = if is_in_fleet { hashes_of(&plan, &in_force.model) } else { CheckHashes::new() };
            Ok(ReadFiles { loaded, watched, plan, hashes })
        };
        self.reload.store(Arc::new(ReloadStatus {
            running_since: self.reloads.begun_at,
            ..ReloadStatus::clone(&self.reload.load())
        }));
        let (begun, settings_file) = (clock::now(), self.settings_path());
        let (running, looks) = (self.low.spawn_blocking(read), tokio::time::interval(reading::LOOK_EVERY));
        NextGeneration::Loading(Loading { cause, running, begun, looks, is_overdue: false, settings_file })
    }

    /// The load lasts too long: reports why. It goes on, because a thread that waits for a file can't be ended, and
    /// another thread would wait for the same file.
    pub(super) fn overdue(&mut self, problem: Problem) {
        let generation = self.publisher.snapshots().load().generation;
        log::problem(&problem);
        tracing::error!(generation, "the files can't be loaded at present; this generation is still served");
        self.ended(false, vec![problem], self.reloads.begun_at);
        self.refuse_requests();
    }

    /// Replies to the requests that wait, with what is known: the present load is overdue. What they confirmed is
    /// forgotten: they were refused.
    fn refuse_requests(&mut self) {
        self.reloads.confirm_removal = false;
        let status = self.reload.load_full();
        for request in self.reloads.waiting.drain(..) {
            // The sender of the request may have gone.
            let _ = request.send(status.clone());
        }
    }

    /// When to remove the next zone that disappeared from the files: at the end of its time, which may be shorter than
    /// any pause; later after a load that should have removed it and failed.
    pub(super) fn next_removal(&self) -> Option<f64> {
        let ends = self.zones.iter().filter_map(|zone| match zone.status {
            VersionStatus::Vanished(_, until) => Some(until),
            VersionStatus::Current | VersionStatus::LastGood | VersionStatus::Unserved => None,
        });
        ends.map(|until| self.reloads.removal_due(until)).min_by(f64::total_cmp)
    }

    /// The wall clock was set by so many seconds: vanished zones are served for as long as before.
    pub(super) fn move_removals(&mut self, by: f64) {
        self.reloads.clock_set_by += by;
        self.reloads.ended_at += by;
        self.reloads.removed_until += by;
        self.zones = with_removals_moved(&self.zones, by);
        let status = ReloadStatus { zones: self.zones.clone(), ..ReloadStatus::clone(&self.reload.load()) };
        self.reload.store(Arc::new(status));
    }

    /// Starts the first probe round of the new checks. Answers change only after it. The old checks are still probed.
    pub(super) fn begin(
        &mut self,
        ReadFiles { loaded, watched, plan, hashes }: ReadFiles,
        cause: Cause,
    ) -> NextGeneration {
        let Loaded { settings, model, warnings, refused, zones, files: _, is_news } = loaded;
        if let Err(error) = check_rights(model.checks.iter().map(|check| &*check.key)) {
            self.adopt_tokens(&settings);
            return self.refuse(cause, vec![self.problem(Severity::Error, error.to_string())]);
        }
        tracing::debug!(checks = model.checks.len(), "probing what the files say before it is served");
        log::choose(settings.log);
        if !is_news {
            self.zones = with_removals_moved(&zones, self.reloads.clock_set_by);
            self.changes.turn_to(watched);
            // Freeing a large model takes long.
            self.low.spawn_blocking(move || drop(model));
            return self.nothing_new(cause, [refused, warnings].concat());
        }
        if cause != Cause::Discovery {
            refused.iter().chain(&warnings).for_each(log::problem);
        }
        self.vantages.learn(hashes);
        let rounds = self.vantages.begin(plan);
        let identity = Arc::new(self.identities.of(&settings));
        let (model, settings) = (Arc::new(model), Arc::new(settings));
        let probing = info_span!(target: WORK, parent: &self.reloads.span, "probe new checks");
        let coming =
            ComingGeneration { probing, cause, model, settings, zones, identity, watched, refused, warnings, rounds };
        NextGeneration::Probing(Box::new(coming))
    }

    /// Uses the tokens of a load that is refused, if they are of the file in force: it is a part of its own.
    fn adopt_tokens(&mut self, loaded: &Settings) {
        if loaded.operators.token_file == self.settings.operators.token_file {
            let mut settings = Settings::clone(&self.settings);
            settings.operators = loaded.operators.with_rest_of(&settings.operators);
            self.settings = Arc::new(settings);
            self.access.adopt(&self.settings);
        }
    }

    /// Nothing could be loaded: reports why. The served generation stays.
    pub(super) fn refuse(&mut self, cause: Cause, problems: Vec<Problem>) -> NextGeneration {
        self.changes.rearm();
        self.nothing_new(cause, problems)
    }

    /// What is served stays; log, metrics and status say why.
    fn nothing_new(&mut self, cause: Cause, problems: Vec<Problem>) -> NextGeneration {
        let generation = self.publisher.snapshots().load().generation;
        self.discovery.ended(&self.publisher.snapshots().load().model, clock::now());
        if cause == Cause::Discovery {
            // The load that found these problems has reported them.
            self.ended(false, problems, None);
            return NextGeneration::Nothing;
        }
        problems.iter().for_each(log::problem);
        tracing::error!(cause = cause.as_str(), generation, "no change was loaded; this generation is still served");
        let first = problems.iter().find(|problem| problem.severity == Severity::Error).or(problems.first());
        let refusal =
            first.map_or_else(|| "nothing new".to_owned(), |first| source::to_human(std::slice::from_ref(first)));
        let refusal = refusal.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        if self.reloads.refusal.as_ref() != Some(&refusal) {
            let why = format!("{}, no change was loaded: {}", cause.as_str(), refusal.trim_end());
            if self.append_reload((generation, generation), why) {
                self.reloads.refusal = Some(refusal);
            }
        }
        self.ended(false, problems, None);
        NextGeneration::Nothing
    }

    /// Appends the event of a load to the journal, with the generations that were served before and after it. Returns
    /// false where too many loads had one.
    fn append_reload(&mut self, (from, to): (u64, u64), why: String) -> bool {
        let Some(without) = self.reloads.events.note(clock::now()) else { return false };
        let why = match without {
            0 => why,
            1 => format!("{why}; 1 load before this one has no event"),
            count => format!("{why}; {count} loads before this one have no event"),
        };
        let at = clock::unix_seconds();
        let (from, generation, to) = (from.to_string(), to, to.to_string());
        self.journal.append(JournalEvent {
            at,
            kind: EventKind::Reload,
            from,
            to,
            why,
            generation,
            ..JournalEvent::default()
        });
        true
    }

    /// A new generation is served instead of the generation `before`; `refused` is the number of problems of what is
    /// not of it.
    pub(super) fn report_generation(&mut self, before: u64, cause: Cause, refused: usize) {
        self.reloads.refusal = None;
        if cause == Cause::Discovery {
            return;
        }
        let generation = self.publisher.snapshots().load().generation;
        let but = match refused {
            0 => String::new(),
            1 => "; not taken: 1 problem".to_owned(),
            more => format!("; not taken: {more} problems"),
        };
        self.append_reload((before, generation), format!("{}, a new generation is served{but}", cause.as_str()));
    }

    /// A load ended, or is overdue and has been running since `running_since`: updates status and metrics, and replies
    /// to the requests.
    pub(super) fn ended(&mut self, ok: bool, problems: Vec<Problem>, running_since: Option<f64>) {
        self.metrics.reload_ended(ok);
        self.end_span(ok);
        let at = clock::unix_seconds();
        self.reloads.ended_at = self.overrides.unix_now();
        self.reloads.begun_at = running_since;
        let status = Arc::new(ReloadStatus {
            ok,
            at,
            generation: self.publisher.snapshots().load().generation,
            problems,
            zones: self.zones.clone(),
            running_since,
            unnoticed: self.changes.unnoticed(),
        });
        self.reload.store(status.clone());
        self.versions.turn_to(self.zones.clone());
        for request in self.reloads.requests.drain(..) {
            // The sender of the request may have gone.
            let _ = request.send(status.clone());
        }
    }

    /// The present load ended, or is overdue.
    fn end_span(&mut self, ok: bool) {
        let span = std::mem::replace(&mut self.reloads.span, Span::none());
        span.record("ok", ok);
        span.record("generation", number(self.publisher.snapshots().load().generation));
    }

    /// A problem of the settings as a whole.
    pub(super) fn problem(&self, severity: Severity, message: String) -> Problem {
        Problem::of_file(self.settings_path(), severity, message)
    }

    fn settings_path(&self) -> PathBuf {
        self.settings_file.clone().unwrap_or_else(|| "portolan.toml".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_due_at_its_time_and_only_after_a_load_that_failed_to_remove_it_later() {
        let reloads = Reloads { removed_until: 100.0, ended_at: 101.5, ..Reloads::default() };
        // The load found at 100 that a zone disappeared, and its delay is 2 s.
        assert_eq!(reloads.removal_due(102.0), 102.0);
        assert_eq!(reloads.removal_due(100.5), 100.5, "it ended during the load");
        assert_eq!(reloads.removal_due(99.0), 101.5 + PAUSE_SECS);
    }
}
