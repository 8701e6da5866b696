//! Overrides that a source states: makes the statements of its keys the overrides of this server, and reports what
//! can't be made. The steering task changes the overrides, as for an operator; nothing is sent that has not changed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::control::command::{Command, OverrideChange, StatedTarget};
use crate::control::overrides::MAX_WHY;
use crate::control::target::named_in;
use crate::discovery::etcd::{StatedOverrides, Statement, Statements};
use crate::discovery::{RefusedInstances, Trouble};
use crate::model::{DiscoveredPool, Model, OverrideState, SourceSpec};
use crate::printable::escaped;
use crate::snapshot::Snapshot;

/// How the keepers of overrides reach the steering task.
#[derive(Clone)]
pub(crate) struct OverrideLinks {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    /// Changes with each snapshot that is published.
    pub(crate) published: watch::Receiver<()>,
}

impl OverrideLinks {
    /// Ends the overrides of a source that is no longer followed.
    pub(super) fn end(&self, spec: &DiscoveredPool) {
        if !states_overrides(spec) {
            return;
        }
        let change = OverrideChange::State { who: who_of(spec), zone: spec.zone.clone(), wanted: Vec::new() };
        let commands = self.commands.clone();
        // Nobody waits for the reply. An error is the end of the server.
        tokio::spawn(async move { drop(commands.send(Command::Override(change, oneshot::channel().0)).await) });
    }
}

/// Whether a source states overrides.
pub(super) fn states_overrides(spec: &DiscoveredPool) -> bool {
    matches!(&spec.source, SourceSpec::Etcd(etcd) if etcd.overrides.is_some())
}

/// The problem of a source's overrides; `None`: none.
pub(super) type OverrideProblem = Option<Trouble>;

/// Makes the statements of one source overrides.
pub(super) struct OverrideKeeper {
    pub(super) spec: Arc<DiscoveredPool>,
    pub(super) stated: watch::Receiver<StatedOverrides>,
    pub(super) links: OverrideLinks,
    /// Receives the problem when it is another one.
    pub(super) problem: watch::Sender<OverrideProblem>,
}

impl OverrideKeeper {
    /// Runs until `stop`, or until the server stops.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut sent: Option<Vec<StatedTarget>> = None;
        loop {
            let stated = self.stated.borrow_and_update().clone();
            let model = self.links.snapshots.load().model.clone();
            let unknown = match &stated.statements {
                Some(statements) => {
                    let (wanted, refused) = targets_of(statements, &self.spec, &model);
                    if sent.as_ref() != Some(&wanted) && self.change(wanted.clone()).await {
                        sent = Some(wanted);
                    }
                    refused.shown()
                }
                None => None,
            };
            self.report(&stated, unknown);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = self.stated.changed() => {}
                () = another_model(&mut self.links, &model) => {}
            }
        }
    }

    /// Has the steering task make these the overrides of this source. `false`: the server stops.
    async fn change(&self, wanted: Vec<StatedTarget>) -> bool {
        let (reply, done) = oneshot::channel();
        let (who, zone) = (who_of(&self.spec), self.spec.zone.clone());
        let change = OverrideChange::State { who, zone, wanted };
        if self.links.commands.send(Command::Override(change, reply)).await.is_err() {
            return false;
        }
        match done.await {
            Ok(Err(error)) => {
                tracing::warn!(source = self.spec.shown(), %error, "the overrides of a source can't be made");
                true
            }
            // Without a reply there was nothing to change.
            Ok(Ok(_)) | Err(_) => true,
        }
    }

    fn report(&self, stated: &StatedOverrides, unknown: Option<String>) {
        let refused = stated.statements.as_ref().and_then(|statements| statements.refusals.shown());
        let in_keys: Vec<String> = [refused, unknown].into_iter().flatten().collect();
        let of_keys = || {
            let problem = format!("overrides: {}", in_keys.join("; "));
            (!in_keys.is_empty()).then(|| Trouble::bad(problem))
        };
        let problem = stated.trouble.clone().or_else(of_keys);
        self.problem.send_if_modified(|before| {
            let is_change = *before != problem;
            *before = problem;
            is_change
        });
    }
}

/// Who makes the overrides of a source: `discover.primary (etcd)`.
pub(super) fn who_of(spec: &DiscoveredPool) -> String {
    format!("{} ({})", spec.shown(), spec.source.as_str())
}

/// Waits until the snapshot has another model than `known`.
async fn another_model(links: &mut OverrideLinks, known: &Arc<Model>) {
    loop {
        let now = links.snapshots.load().model.clone();
        if !Arc::ptr_eq(known, &now) {
            return;
        }
        if links.published.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The targets of statements in the zone of a source. Those that match nothing are refused.
fn targets_of(statements: &Statements, spec: &DiscoveredPool, model: &Model) -> (Vec<StatedTarget>, RefusedInstances) {
    let (mut targets, mut refused) = (Vec::new(), RefusedInstances::default());
    for (name, statement) in &statements.by_target {
        let (state, word) = match statement {
            Statement::Down => (Some(OverrideState::Down), "down"),
            Statement::Drain => (Some(OverrideState::Drain), "drain"),
            Statement::Unreadable => (None, ""),
        };
        let why: String = escaped(&format!("{} is {word}", key_of(spec, name))).chars().take(MAX_WHY).collect();
        match named_in(name, &spec.zone, model) {
            Ok(target) => targets.push(StatedTarget { target, state, why }),
            // An override that it had stays, as where a file no longer has an endpoint.
            Err(unknown) => {
                refused.add(name, &unknown);
                targets.push(StatedTarget { target: name.clone(), state: None, why });
            }
        }
    }
    (targets, refused)
}

/// The key that states something about a target.
fn key_of(spec: &DiscoveredPool, target: &str) -> String {
    match &spec.source {
        SourceSpec::Etcd(etcd) => etcd.overrides.as_deref().unwrap_or_default().replace("{target}", target),
        SourceSpec::Consul(_) | SourceSpec::Dns(_) | SourceSpec::Http(_) => String::new(),
    }
}
