//! Overrides that a source states: makes the statements of its keys the overrides of this server, and reports what
//! can't be made. The steering task changes the overrides, as for an operator; nothing is sent that has not changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::control::command::{Command, OverrideChange, StatedTarget, UnmadeTargets};
use crate::control::overrides::MAX_WHY;
use crate::control::target::named_in;
use crate::discovery::etcd::{StatedOverrides, Statement, Statements, TargetStatement};
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
        let (who, zone, unmade) = (who_of(spec), spec.zone.clone(), UnmadeTargets::default());
        let change = OverrideChange::State { who, zone, wanted: Vec::new(), unmade };
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
        let (mut is_sent, mut made) = (false, MadeStatements::new());
        loop {
            let stated = self.stated.borrow_and_update().clone();
            let model = self.links.snapshots.load().model.clone();
            let unknown = match &stated.statements {
                Some(statements) => {
                    let (wanted, mut now, refused) = targets_of(statements, &made, &self.spec, &model);
                    if (!is_sent || now != made)
                        && let Some(unmade) = self.change(wanted).await
                    {
                        now.retain(|_, (_, target)| !unmade.contains(target));
                        (is_sent, made) = (true, now);
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

    /// Has the steering task make these the overrides of this source. Returns the targets that have none, because there
    /// are too many. `None`: nothing was changed.
    async fn change(&self, wanted: Vec<StatedTarget>) -> Option<Vec<String>> {
        let (reply, done) = oneshot::channel();
        let (who, zone) = (who_of(&self.spec), self.spec.zone.clone());
        let unmade = UnmadeTargets::default();
        let change = OverrideChange::State { who, zone, wanted, unmade: unmade.clone() };
        self.links.commands.send(Command::Override(change, reply)).await.ok()?;
        match done.await {
            Ok(Err(error)) => {
                tracing::warn!(source = self.spec.shown(), %error, "the overrides of a source can't be made");
                None
            }
            // Without a reply there was nothing to change.
            Ok(Ok(_)) | Err(_) => Some(unmade.take()),
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

/// Statements that were made overrides, with their TARGET, by the name in the key.
type MadeStatements = BTreeMap<String, (TargetStatement, String)>;

/// The targets of statements in the zone of a source, and what is made when these are. Targets that match nothing are
/// refused. Only what is not in `made` is new.
fn targets_of(
    statements: &Statements,
    made: &MadeStatements,
    spec: &DiscoveredPool,
    model: &Model,
) -> (Vec<StatedTarget>, MadeStatements, RefusedInstances) {
    let (mut targets, mut now, mut refused) = (Vec::new(), MadeStatements::new(), RefusedInstances::default());
    for (name, stated) in &statements.by_target {
        let (state, word) = match stated.statement {
            Statement::Down => (Some(OverrideState::Down), "down"),
            Statement::Drain => (Some(OverrideState::Drain), "drain"),
            Statement::Unreadable => (None, ""),
        };
        let why: String = escaped(&format!("{} is {word}", key_of(spec, name))).chars().take(MAX_WHY).collect();
        match named_in(name, &spec.zone, model) {
            Ok(target) => {
                let own = (*stated, target.clone());
                targets.push(StatedTarget { target, state, is_new: made.get(name) != Some(&own), why });
                now.insert(name.clone(), own);
            }
            // An override that it had stays, as where a file no longer has an endpoint.
            Err(unknown) => {
                refused.add(name, &unknown);
                now.extend(made.get(name).map(|before| (name.clone(), before.clone())));
                targets.push(StatedTarget { target: name.clone(), state: None, is_new: false, why });
            }
        }
    }
    (targets, now, refused)
}

/// The key that states something about a target.
fn key_of(spec: &DiscoveredPool, target: &str) -> String {
    match &spec.source {
        SourceSpec::Etcd(etcd) => etcd.overrides.as_deref().unwrap_or_default().replace("{target}", target),
        SourceSpec::Consul(_) | SourceSpec::Dns(_) | SourceSpec::Http(_) | SourceSpec::Kubernetes(_) => String::new(),
    }
}
