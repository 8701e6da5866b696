//! The loss that a drill rehearses: probes of these checks count as silence, whatever they find. What they really find
//! is judged too, by a second state of each check, which continues when the loss ends. So the end of a drill leaves no
//! trace in the detectors.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::CheckKey;

/// Called with the check and the cause when a check that counts as lost is really down.
pub type OnRealFailure = Arc<dyn Fn(&CheckKey, &str) + Send + Sync>;

/// The checks that count as lost. Cheap to clone.
#[derive(Clone)]
pub struct Injection {
    /// The checks.
    pub checks: Arc<HashSet<Arc<CheckKey>>>,
    /// The reason that operators read, which names the drill.
    pub why: Arc<str>,
    /// Called for a real failure. Must not block.
    pub on_failure: OnRealFailure,
}

impl std::fmt::Debug for Injection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Injection({} checks: {})", self.checks.len(), self.why)
    }
}
