//! The task that keeps what is served true: reports become a view, a view becomes a snapshot; files that changed become
//! the next generation, or a complaint. It owns the one [`Publisher`] and waits for nothing but its next event.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::broadcast;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{self, Flags, Listen, Loaded, Problem, Tls};
use crate::control::ReloadStatus;
use crate::daemon::changes::{Cause, Changes};
use crate::daemon::identity::Identities;
use crate::daemon::vantages::Vantages;
use crate::health::{Round, check_rights};
use crate::model::Model;
use crate::snapshot::{Identity, Publisher, Transition};
use crate::telemetry::Metrics;

/// Everything that the steering task owns.
pub(crate) struct Steer {
    pub(crate) publisher: Publisher,
    pub(crate) vantages: Vantages,
    pub(crate) changes: Changes,
    pub(crate) settings_file: Option<PathBuf>,
    pub(crate) flags: Flags,
    pub(crate) listen: Listen,
    /// The files of the certificate and its key.
    pub(crate) tls_files: Option<[PathBuf; 2]>,
    pub(crate) identities: Identities,
    pub(crate) reload: Arc<ArcSwap<ReloadStatus>>,
    pub(crate) transitions: broadcast::Sender<Transition>,
    pub(crate) metrics: Arc<Metrics>,
}

/// What is under way towards the next generation. A later reason to load replaces an earlier one.
enum Next {
    Nothing,
    /// The files are being read, on a thread that may block.
    Loading(Cause, JoinHandle<Result<Loaded, Vec<Problem>>>),
    /// They are valid; what is new in them is having its first probe round.
    Probing(Coming),
}

struct Coming {
    model: Arc<Model>,
    identity: Arc<Identity>,
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
            tokio::select! {
                () = stop.cancelled() => break,
                view = self.vantages.next_view(&model) => {
                    let transitions = self.publisher.observe(view, clock::unix_seconds());
                    self.tell(&transitions);
                }
                cause = self.changes.next() => next = Next::Loading(cause, self.load()),
                progress = next.progress() => next = match (progress, next) {
                    (Progress::Loaded(cause, read), _) => match *read {
                        Ok(loaded) => self.begin(loaded, cause),
                        Err(problems) => self.refuse(cause, problems),
                    },
                    (Progress::BrokeOff(cause, error), _) => {
                        tracing::error!(%error, cause = cause.as_str(), "loading broke off; the generation before goes on");
                        self.refuse(cause, Vec::new())
                    }
                    (Progress::Probed, Next::Probing(coming)) => self.adopt(coming),
                    (Progress::Probed, other) => other,
                },
            }
        }
        self.vantages.stop().await;
    }

    fn model(&self) -> Arc<Model> {
        self.publisher.snapshots().load().model.clone()
    }

    /// Reads the files again, away from this task: answers follow the world meanwhile.
    fn load(&self) -> JoinHandle<Result<Loaded, Vec<Problem>>> {
        let (file, flags) = (self.settings_file.clone(), self.flags.clone());
        tokio::task::spawn_blocking(move || config::load(file.as_deref(), &flags))
    }

    /// Has the new checks probed before anybody is answered from them. The old ones are probed on meanwhile.
    fn begin(&mut self, loaded: Loaded, cause: Cause) -> Next {
        let Loaded { settings, model, warnings, files: _ } = loaded;
        if let Err(error) = check_rights(model.checks.iter().map(|check| &*check.key)) {
            tracing::error!("{error}");
            return self.refuse(cause, Vec::new());
        }
        if settings.listen != self.listen {
            tracing::warn!("[listen] changed: that takes a restart");
        }
        if settings.tls.as_ref().map(Tls::files) != self.tls_files {
            tracing::warn!("[tls] names other files: that takes a restart");
        }
        let rounds = self.vantages.begin(&[&self.model(), &model]);
        let identity = Arc::new(self.identities.of(&settings));
        Next::Probing(Coming { model: Arc::new(model), identity, warnings, rounds })
    }

    /// What is served stays; log, metrics and status say so.
    fn refuse(&self, cause: Cause, problems: Vec<Problem>) -> Next {
        let generation = self.publisher.snapshots().load().generation;
        for problem in &problems {
            tracing::error!("{problem}");
        }
        tracing::error!(cause = cause.as_str(), generation, "the files were not loaded; this generation goes on");
        self.reload.store(Arc::new(ReloadStatus { ok: false, at: clock::unix_seconds(), problems }));
        Next::Nothing
    }

    /// Serves the new generation, and stops probing what only the old one had.
    fn adopt(&mut self, coming: Coming) -> Next {
        let view = self.vantages.view(&coming.model);
        let transitions = self.publisher.adopt(coming.model.clone(), view, coming.identity, clock::unix_seconds());
        self.vantages.begin(&[&coming.model]);
        let generation = self.publisher.snapshots().load().generation;
        tracing::info!(generation, "a new generation is served");
        self.reload.store(Arc::new(ReloadStatus { ok: true, at: clock::unix_seconds(), problems: coming.warnings }));
        self.tell(&transitions);
        Next::Nothing
    }

    fn tell(&self, transitions: &[Transition]) {
        for transition in transitions {
            let Transition { zone, endpoint, from, to, why, generation, .. } = transition;
            tracing::info!(zone, endpoint, from = from.as_str(), to = to.as_str(), why, generation, "transition");
            self.metrics.transition(transition);
            // Nobody need be listening.
            let _ = self.transitions.send(transition.clone());
        }
    }
}
