//! Compiles the next generation on a thread of low priority, while the steering task goes on with the one that is
//! served. With a large model that takes seconds. What changed meanwhile is decided again before the new generation is
//! published: on the same thread as long as that takes long, then by the steering task.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{Span, info_span};

use crate::clock;
use crate::config::{Settings, ZoneState};
use crate::control::overrides::Book;
use crate::daemon::changes::{Cause, WatchedFiles};
use crate::daemon::clocks::WallClock;
use crate::daemon::difference::Difference;
use crate::daemon::exclusive::Leases;
use crate::daemon::overrides::ResolvedBook;
use crate::daemon::steer::Steer;
use crate::daemon::steer::removal::with_removals_moved;
use crate::daemon::vantages::plan_of;
use crate::discovery::Stating;
use crate::fleet::{Agreement, Ballots};
use crate::health::{Plan, Round};
use crate::model::{Model, WorldView};
use crate::snapshot::{ComingSnapshot, Identity, Snapshot};
use crate::source::{Problem, Severity};
use crate::telemetry::traces::WORK;

/// When a round took less, the steering task does the next one: the changes of so short a time take it no longer than
/// a normal view does (judgment).
const SHORT_ROUND: Duration = Duration::from_millis(50);

/// Most rounds. Each decides what changed during the one before it, so three are enough unless most endpoints change
/// all the time (judgment).
const MOST_ROUNDS: usize = 4;

/// What was loaded, until it is served.
pub(super) struct ComingGeneration {
    /// The span of the first round of the new checks.
    pub(super) probing: Span,
    pub(super) cause: Cause,
    pub(super) model: Arc<Model>,
    pub(super) settings: Arc<Settings>,
    pub(super) zones: Arc<[ZoneState]>,
    pub(super) identity: Arc<Identity>,
    pub(super) watched: WatchedFiles,
    pub(super) refused: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// The first round of the new checks at each vantage.
    pub(super) rounds: Vec<Round>,
}

/// A generation that is being compiled.
pub(super) struct Compiling {
    coming: ComingGeneration,
    rounds: usize,
    running: JoinHandle<CompiledRound>,
}

/// The result of a round.
pub(super) struct CompiledRound {
    snapshot: ComingSnapshot,
    /// To probe what the generation has.
    plan: Plan,
    /// The overrides of the view.
    book: ResolvedBook,
    took: Duration,
}

/// The newest ballots, overrides, leases and snapshot, for another thread.
struct NewestWorld {
    snapshots: Arc<ArcSwap<Snapshot>>,
    ballots: Ballots,
    book: Arc<ArcSwap<Book>>,
    /// The clock of the ends of overrides.
    clock: WallClock,
    leases: watch::Receiver<Leases>,
    /// What sources state.
    stating: Arc<Stating>,
}

impl NewestWorld {
    /// What is agreed on at this moment, with the overrides in force, in the ids of `model`. `known` is what an earlier
    /// round has found.
    fn view(&self, model: &Model, known: Option<ResolvedBook>) -> (WorldView, ResolvedBook) {
        let (book, now) = (self.book.load_full(), clock::now());
        let is_same = |known: &ResolvedBook| Arc::ptr_eq(known.book(), &book);
        let book = known.filter(is_same).unwrap_or_else(|| ResolvedBook::of(book.clone(), model));
        let (overrides, leases) = (book.resolved(), self.leases.borrow().clone());
        let agreed = Agreement::after(&self.ballots, model).view(model, now);
        let stated = Arc::new(self.stating.over(model, &agreed.checks));
        (WorldView { overrides, leases, stated, at_unix: Some(self.clock.unix(now)), ..agreed }, book)
    }
}

impl Compiling {
    /// Waits for the round that is running; `None`: it panicked. Nothing is lost when this is dropped and called again.
    pub(super) async fn round(&mut self) -> Option<CompiledRound> {
        (&mut self.running).await.ok()
    }
}

impl Steer {
    /// Starts to compile a generation whose new checks have been probed.
    pub(super) fn compile(&mut self, mut coming: ComingGeneration) -> Compiling {
        // The round has ended, and its span with it.
        coming.probing = Span::none();
        let step = info_span!(target: WORK, parent: &self.reloads.span, "compile");
        let (world, model, identity) = (self.newest(), coming.model.clone(), coming.identity.clone());
        let running = self.low.spawn_blocking(move || {
            let _step = step.entered();
            let begun = clock::now();
            let (view, book) = world.view(&model, None);
            let snapshot = ComingSnapshot::compile(world.snapshots.load_full(), model, view, identity);
            let plan = plan_of(&[&snapshot.model()]);
            CompiledRound { snapshot, plan, book, took: clock::now().since(begun) }
        });
        Compiling { coming, rounds: 1, running }
    }

    /// Continues after a round: with the next one, or by serving the generation; then nothing is left to do.
    pub(super) fn compiled(&mut self, compiling: Compiling, round: Option<Box<CompiledRound>>) -> Option<Compiling> {
        let Compiling { coming, rounds, .. } = compiling;
        let Some(CompiledRound { mut snapshot, plan, book, took }) = round.map(|round| *round) else {
            let problem = self.problem(Severity::Error, "compiling the files broke off".to_owned());
            self.refuse(coming.cause, vec![problem]);
            return None;
        };
        let is_of_book = Arc::ptr_eq(book.book(), &self.overrides.book().load_full());
        if (took < SHORT_ROUND && is_of_book) || rounds >= MOST_ROUNDS {
            self.adopt(coming, snapshot, plan, book);
            return None;
        }
        let (world, model) = (self.newest(), coming.model.clone());
        let step = info_span!(target: WORK, parent: &self.reloads.span, "compile what changed meanwhile");
        let running = self.low.spawn_blocking(move || {
            let _step = step.entered();
            let begun = clock::now();
            let (view, book) = world.view(&model, Some(book));
            snapshot.catch_up(&world.snapshots.load_full(), view);
            CompiledRound { snapshot, plan, book, took: clock::now().since(begun) }
        });
        Some(Compiling { coming, rounds: rounds + 1, running })
    }

    fn newest(&mut self) -> NewestWorld {
        NewestWorld {
            snapshots: self.publisher.snapshots(),
            ballots: self.vantages.ballots(),
            book: self.overrides.book(),
            clock: self.overrides.clock(),
            leases: self.leases.clone(),
            stating: self.discovery.stating(),
        }
    }

    /// Serves the new generation, and stops probing checks that only the old one had.
    fn adopt(&mut self, mut coming: ComingGeneration, snapshot: ComingSnapshot, plan: Plan, book: ResolvedBook) {
        let _step = info_span!(target: WORK, parent: &self.reloads.span, "publish").entered();
        for warning in self.overrides.adopt(book, &coming.model, &self.state_dir) {
            tracing::warn!("{warning}");
            coming.warnings.push(warning);
        }
        let view = self.vantages.view(&coming.model);
        let view = self.completed(view, &coming.model);
        let before = self.publisher.snapshots().load_full();
        let transitions = self.publisher.publish_coming(snapshot, view, clock::unix_seconds());
        // A failure is in the log.
        drop(self.save_steering(&before));
        self.vantages.begin(plan);
        self.report_generation(before.generation, coming.cause, coming.refused.len());
        let generation = self.publisher.snapshots().load().generation;
        coming.zones = with_removals_moved(&coming.zones, self.reloads.clock_set_by);
        let (model, zones) = (coming.model.clone(), coming.zones.clone());
        let (old, cause) = (self.zones.clone(), coming.cause.as_str());
        // Comparing many records takes long.
        self.low.spawn_blocking(move || {
            let changed = Difference::between((&before.model, &old), (&model, &zones));
            tracing::info!(generation, cause, %changed, "a new generation is served");
        });
        self.discovery.ended(&coming.model, clock::now());
        self.access.adopt(&coming.settings);
        (self.settings, self.zones) = (coming.settings, coming.zones);
        self.changes.turn_to(coming.watched);
        self.report_transitions(&transitions);
        self.ended(coming.refused.is_empty(), [coming.refused, coming.warnings].concat(), None);
    }
}
