//! What an operator can have done, in the words that the API, the command line and the tests share. The HTTP side sends a
//! [`Command`]; the daemon's steering task does it and answers when it is being served.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::control::ReloadStatus;
use crate::control::moved::Moved;
use crate::control::overrides::{Refusal, Said};
use crate::model::Override;
use crate::snapshot::Snapshot;

/// Commands that wait at a time; further ones wait outside (judgment: operators, not traffic).
pub const MAX_WAITING: usize = 64;

/// One thing to do, and whom to tell.
#[derive(Debug)]
pub enum Command {
    /// Say something of an endpoint or region, or take it back.
    Override(Change, oneshot::Sender<Result<Applied, Refusal>>),
    /// Load the files as they are now.
    Reload(oneshot::Sender<Arc<ReloadStatus>>),
}

/// A change of the overrides.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// This is to be.
    Put(Override),
    /// What was said of the target is over.
    Clear {
        /// An endpoint's name, or `region:NAME`.
        target: String,
        /// Who says so: the name of the token.
        who: String,
    },
}

/// A change that is being served.
#[derive(Debug)]
pub struct Applied {
    /// What had been said of the target.
    pub before: Option<Arc<Override>>,
    /// What is said of it now.
    pub now: Option<Arc<Override>>,
    /// What was served before the change, and with it.
    pub served: [Arc<Snapshot>; 2],
    /// Tells once whether it will survive a restart; an error says why not.
    pub kept: oneshot::Receiver<Result<(), String>>,
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
}

/// The answer to `PUT` and `DELETE /v1/overrides/TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// What is said now; `null` where it was cleared.
    #[serde(rename = "override")]
    pub now: Option<Said>,
    /// What had been said.
    pub before: Option<Said>,
    /// What it did to the answers.
    pub moved: Moved,
    /// What an operator must know: that it would not survive a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}
