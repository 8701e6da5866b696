//! What an operator can have done, in the words that the API, the command line and the tests share. The HTTP side sends a
//! [`Command`]; the daemon's steering task does it and answers when it is being served.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::control::failback::FailbackError;
use crate::control::moved::MovedAnswers;
use crate::control::overrides::{OverrideError, OverrideReport};
use crate::control::status::{ReloadReport, ReloadStatus};
use crate::model::{Override, OverrideState, PolicyId};
use crate::snapshot::Snapshot;

/// Commands that wait at a time; further ones wait outside (judgment: operators, not traffic).
pub const MAX_WAITING: usize = 64;

/// One thing to do, and whom to tell.
#[derive(Debug)]
pub enum Command {
    /// Change the overrides.
    Override(OverrideChange, oneshot::Sender<Result<AppliedChange, OverrideError>>),
    /// Hand a name whose failback is manual back to the first member that is up.
    Failback {
        /// The name.
        name: String,
        /// Whom to answer.
        reply: oneshot::Sender<Result<AppliedFailback, FailbackError>>,
    },
    /// Load the files as they are now.
    Reload {
        /// Whether zones and names that disappeared from the files are to go at once.
        confirm_removal: bool,
        /// Whom to tell when it has ended.
        reply: oneshot::Sender<Arc<ReloadStatus>>,
    },
}

/// A change of the overrides: all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum OverrideChange {
    /// These are to be.
    Put {
        /// Each of another target; at least one.
        overrides: Vec<Override>,
        /// Also where some clients get no answer any more.
        confirmed: bool,
    },
    /// The overrides of these targets are over.
    Clear {
        /// Each of them once; at least one.
        targets: Vec<String>,
        /// Who ends them: the name of the token.
        who: String,
    },
}

impl OverrideChange {
    /// Whether it has to be confirmed where some clients get no answer any more: what takes something out, unless it is
    /// confirmed already.
    pub fn needs_confirmation(&self) -> bool {
        let takes_out = |said: &Override| match said.state {
            OverrideState::Drain | OverrideState::Down => true,
            OverrideState::Up => false,
        };
        match self {
            OverrideChange::Put { overrides, confirmed } => !confirmed && overrides.iter().any(takes_out),
            OverrideChange::Clear { .. } => false,
        }
    }
}

/// A change that is being served.
#[derive(Debug)]
pub struct AppliedChange {
    /// What became of each target, in the order of the change.
    pub turns: Vec<TargetChange>,
    /// What was served before the change, and with it.
    pub served: [Arc<Snapshot>; 2],
    /// Tells once whether it will survive a restart; an error says why not.
    pub kept: oneshot::Receiver<Result<(), String>>,
}

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

/// A name that was handed back, if there was anything to do.
#[derive(Debug)]
pub struct AppliedFailback {
    /// Its policy.
    pub policy: PolicyId,
    /// The name, whole.
    pub name: String,
    /// What was served before it, and with it.
    pub served: [Arc<Snapshot>; 2],
    /// Tells once whether it will survive a restart; an error says why not. `None` where there is nothing to keep.
    pub kept: Option<oneshot::Receiver<Result<(), String>>>,
}

/// The body of `PUT /v1/overrides/TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutOverride {
    /// `drain`, `up` or `down`.
    pub state: String,
    /// For how long: `2h`; without, until it is cleared.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Why: one line.
    pub why: String,
    /// Also where some clients get no answer any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

/// The body of `POST /v1/reload`, which may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostReload {
    /// Whether zones and names that disappeared from the files are to go at once.
    #[serde(default)]
    pub confirm_removal: bool,
}

/// The answer to `PUT` and `DELETE /v1/overrides/TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideResponse {
    /// What is said now; `null` where it was cleared.
    #[serde(rename = "override")]
    pub now: Option<OverrideReport>,
    /// What had been said.
    pub before: Option<OverrideReport>,
    /// What it did to the answers.
    pub moved: MovedAnswers,
    /// What an operator must know: that it would not survive a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The answer to `PUT` and `DELETE /v1/overrides?target=TARGET&target=TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverridesResponse {
    /// What became of each target, in the order of the call.
    pub overrides: Vec<TargetOverride>,
    /// What all of it together did to the answers.
    pub moved: MovedAnswers,
    /// As in [`OverrideResponse`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// One target's part of [`OverridesResponse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadResponse {
    /// The generation that is served.
    pub generation: u64,
    /// The time, and the warnings.
    #[serde(flatten)]
    pub report: ReloadReport,
}
