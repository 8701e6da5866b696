//! The commands of an operator, and the JSON bodies of their requests and responses. The API, the command line and
//! the tests share them. An HTTP handler sends a [`Command`]; the daemon's steering task executes it and replies when
//! the result is being served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::control::drill::DrillOrder;
use crate::control::failback::FailbackError;
use crate::control::moved::MovedAnswers;
use crate::control::openapi::schemas;
use crate::control::overrides::{OverrideError, OverrideReport};
use crate::control::removal::RemovalReport;
use crate::control::status::{ReloadReport, ReloadStatus};
use crate::model::{ActiveEndpoint, Override, OverrideState, PolicyId};
use crate::snapshot::Snapshot;
use crate::wire::Name;

/// Most commands in the queue. A sender waits while the queue is full (judgment: operators send them, not clients).
pub const MAX_WAITING: usize = 64;

/// One command, with the channel for its reply.
#[derive(Debug)]
pub enum Command {
    /// Change the overrides.
    Override(OverrideChange, oneshot::Sender<Result<AppliedChange, OverrideError>>),
    /// Move a name whose failback is manual back to the first member that is up.
    Failback {
        /// The name.
        name: String,
        /// The zones of the token; `None`: all.
        zones: Option<Arc<[Name]>>,
        /// Receives the reply.
        reply: oneshot::Sender<Result<AppliedFailback, FailbackError>>,
    },
    /// Begin a drill.
    Drill(Box<DrillOrder>),
    /// Load the files as they are now.
    Reload {
        /// Whether to remove at once the zones and names that disappeared from the files.
        confirm_removal: bool,
        /// Receives the result of the load.
        reply: oneshot::Sender<Arc<ReloadStatus>>,
    },
}

/// Moves an exclusive name back to the first member that is up. The task of the leases executes it.
#[derive(Debug)]
pub struct LeaseOrder {
    /// The name.
    pub owner: Name,
    /// The operator: the name of the token.
    pub who: Arc<str>,
    /// Receives the active endpoint when it is served; or why nothing was changed.
    pub reply: oneshot::Sender<Result<ActiveEndpoint, String>>,
}

/// A change of the overrides. Either all of it is applied, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum OverrideChange {
    /// Set these overrides.
    Put {
        /// Each has another target. There is at least one.
        overrides: Vec<Override>,
        /// After which time they end, counted from the change; `None`: as each says.
        lasting: Option<Duration>,
        /// Whether the operator accepts that some clients get no answer any more.
        confirmed: bool,
    },
    /// End the overrides of these targets.
    Clear {
        /// Each target once. There is at least one.
        targets: Vec<String>,
        /// The operator: the name of the token.
        who: String,
        /// The zones of the token; `None`: all. Targets that match endpoints of other zones are refused.
        zones: Option<Arc<[Name]>>,
    },
    /// The overrides of a source become these: those of it that are missing here end, and others are set. What is as it
    /// was is no change.
    State {
        /// The source: `discover.primary (etcd)`.
        who: String,
        /// The zone whose policy declares the source. Its overrides count there only.
        zone: Name,
        /// What it states.
        wanted: Vec<StatedTarget>,
        /// Receives the targets whose overrides were not made, because there are too many.
        unmade: UnmadeTargets,
    },
    /// Events of a stream that is followed. An event that wants what is in force is no change. A change that can't be
    /// made does not prevent the others.
    Followed {
        /// The stream: `follow.primary (nats)`.
        who: String,
        /// What the events change, the oldest first.
        changes: Vec<FollowedChange>,
        /// Whether somebody has confirmed that some clients may get no answer any more.
        confirmed: bool,
        /// Receives the changes that were not made.
        refused: RefusedChanges,
    },
}

/// What an event changes.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowedChange {
    /// The TARGET.
    pub target: String,
    /// The override that is made; `None`: that of the stream ends.
    pub state: Option<OverrideState>,
    /// Why: one line.
    pub why: String,
    /// When it ends by itself, Unix seconds.
    pub until: Option<f64>,
    /// The zones in which it counts; `None`: all.
    pub zones: Option<Arc<[Name]>>,
}

/// Changes of events that were not made: their places in the list, and why.
pub type RefusedChanges = Unmade<(usize, String)>;

/// Targets of a source whose overrides were not made.
pub type UnmadeTargets = Unmade<String>;

/// The parts of a command that were not made, for its sender.
#[derive(Debug, Clone, Default)]
pub struct Unmade<T>(Arc<Mutex<Vec<T>>>);

impl<T> PartialEq for Unmade<T> {
    /// They are no part of what is wanted.
    fn eq(&self, _: &Unmade<T>) -> bool {
        true
    }
}

impl<T> Unmade<T> {
    /// Replaces them.
    pub fn set(&self, parts: Vec<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = parts;
    }

    /// Takes them out.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a source states about a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedTarget {
    /// The TARGET.
    pub target: String,
    /// The override that it wants; `None`: the override that the source has of a target with this name stays.
    pub state: Option<OverrideState>,
    /// Whether this was stated since the last change. What was stated before and has no override any more was cleared
    /// by an operator, and stays so.
    pub is_new: bool,
    /// Why: one line.
    pub why: String,
}

impl OverrideChange {
    /// Whether the operator has to confirm it if some clients get no answer any more. True for an unconfirmed change
    /// that takes endpoints out of service.
    pub fn needs_confirmation(&self) -> bool {
        let takes_out = |entry: &Override| match entry.state {
            OverrideState::Drain | OverrideState::Down => true,
            OverrideState::Up => false,
        };
        match self {
            OverrideChange::Put { overrides, confirmed, lasting: _ } => !confirmed && overrides.iter().any(takes_out),
            // Whoever writes the statements of a source has no prompt to confirm anything.
            OverrideChange::Clear { .. } | OverrideChange::State { .. } => false,
            OverrideChange::Followed { changes, confirmed, .. } => {
                let takes_out = |change: &FollowedChange| match change.state {
                    Some(OverrideState::Drain | OverrideState::Down) => true,
                    Some(OverrideState::Up) | None => false,
                };
                !confirmed && changes.iter().any(takes_out)
            }
        }
    }

    /// What it does: `set`, `clear`, `state` for the statements of a source, or `follow` for events.
    pub fn action(&self) -> &'static str {
        match self {
            OverrideChange::Put { .. } => "set",
            OverrideChange::Clear { .. } => "clear",
            OverrideChange::State { .. } => "state",
            OverrideChange::Followed { .. } => "follow",
        }
    }

    /// Who makes it: the name of a token, or a source.
    pub fn who(&self) -> &str {
        match self {
            OverrideChange::Put { overrides, .. } => overrides.first().map_or("", |entry| &entry.who),
            OverrideChange::Clear { who, .. }
            | OverrideChange::State { who, .. }
            | OverrideChange::Followed { who, .. } => who,
        }
    }

    /// How many targets it has.
    pub fn targets(&self) -> usize {
        match self {
            OverrideChange::Put { overrides, .. } => overrides.len(),
            OverrideChange::Clear { targets, .. } => targets.len(),
            OverrideChange::State { wanted, .. } => wanted.len(),
            OverrideChange::Followed { changes, .. } => changes.len(),
        }
    }

    /// The first target, as it was written.
    pub fn first_target(&self) -> &str {
        let first = match self {
            OverrideChange::Put { overrides, .. } => overrides.first().map(|entry| &*entry.target),
            OverrideChange::Clear { targets, .. } => targets.first().map(|target| &**target),
            OverrideChange::State { wanted, .. } => wanted.first().map(|stated| &*stated.target),
            OverrideChange::Followed { changes, .. } => changes.first().map(|change| &*change.target),
        };
        first.unwrap_or_default()
    }
}

/// A change of the overrides that is being served.
#[derive(Debug)]
pub struct AppliedChange {
    /// The change of each target, in the order of the command.
    pub targets: Vec<TargetChange>,
    /// The snapshots before and after the change, each with the promotions of exclusive names that it calls for: they
    /// follow in a moment.
    pub compared: [Arc<Snapshot>; 2],
    /// Whether it was written to the state directory; an error says why not.
    pub saved: oneshot::Receiver<Result<(), String>>,
    /// Whether the other servers of the fleet have it; `None` without a fleet.
    pub shared: Option<SharedOutcome>,
}

/// Receives that the bucket of the fleet has a change, or why it does not yet.
pub type SharedOutcome = oneshot::Receiver<Result<(), String>>;

/// One target's override before and after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetChange {
    /// The target, as it was written.
    pub target: String,
    /// The override that it had.
    pub before: Option<Arc<Override>>,
    /// The override that it has now.
    pub now: Option<Arc<Override>>,
}

/// A failback that is being served.
#[derive(Debug)]
pub struct AppliedFailback {
    /// The policy of the name.
    pub policy: PolicyId,
    /// The full name.
    pub name: String,
    /// The snapshots before and after it.
    pub served: [Arc<Snapshot>; 2],
    /// Whether it was written to the state directory; an error says why not. `None` if there was nothing to write.
    pub saved: Option<oneshot::Receiver<Result<(), String>>>,
}

/// The body of `PUT /v1/overrides/TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutOverride {
    /// `drain`, `up` or `down`.
    #[schema(schema_with = schemas::override_state)]
    pub state: String,
    /// For how long, such as `2h`. Without it, until the override is cleared.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::length_of_time, required = false)]
    pub duration: Option<String>,
    /// Why: one line.
    #[schema(min_length = 1, max_length = 256)]
    pub why: String,
    /// Whether the operator accepts that some clients get no answer any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

/// The body of `POST /v1/reload`. It may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostReload {
    /// Whether to remove at once the zones and names that disappeared from the files.
    #[serde(default)]
    pub confirm_removal: bool,
}

/// The response to `PUT` and `DELETE /v1/overrides/TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverrideResponse {
    /// The override now; `null` after it was cleared.
    #[serde(rename = "override")]
    pub now: Option<OverrideReport>,
    /// The override before.
    pub before: Option<OverrideReport>,
    /// How the answers changed.
    pub moved: MovedAnswers,
    /// Whether the change is on the disk. If not, it is in force all the same, and a restart could lose it.
    #[serde(default)]
    pub on_disk: bool,
    /// Why the change is not on the disk yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Whether the fleet has the change, so that all servers serve it; absent without a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// Why the fleet does not have the change yet. It gets it as soon as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_shared: Option<String>,
}

/// The response to `PUT` and `DELETE /v1/overrides?target=TARGET&target=TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverridesResponse {
    /// The change of each target, in the order of the request.
    pub overrides: Vec<TargetOverride>,
    /// How the answers changed through all of it.
    pub moved: MovedAnswers,
    /// As in [`OverrideResponse`].
    #[serde(default)]
    pub on_disk: bool,
    /// As in [`OverrideResponse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// As in [`OverrideResponse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// As in [`OverrideResponse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_shared: Option<String>,
}

/// One target's part of [`OverridesResponse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetOverride {
    /// The target, as it was written.
    pub target: String,
    /// Its override now; `null` where it was cleared.
    #[serde(rename = "override")]
    pub now: Option<OverrideReport>,
    /// The override that it had.
    pub before: Option<OverrideReport>,
}

/// The response to `POST /v1/reload`: the files are served as they are now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReloadResponse {
    /// The generation that is served.
    pub generation: u64,
    /// The time, and the warnings.
    #[serde(flatten)]
    pub report: ReloadReport,
    /// What is served although files or sources no longer have it; `confirm_removal` removes it. Absent if there is
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removals: Option<RemovalReport>,
    /// With `confirm_removal`: what is no longer served; absent if that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<RemovalReport>,
}
