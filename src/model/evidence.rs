//! What each vantage reports of each check, for people: it explains a verdict and never makes one. A view does not hold
//! it, because it changes with every probe; it holds where to get it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{CheckId, Doubt, Health, Hold, Model, Moment, RegionId};

/// What one vantage reports of one check.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The vantage's name.
    pub vantage: Arc<str>,
    /// Its region.
    pub region: RegionId,
    /// Its verdict.
    pub health: Health,
    /// Smoothed RTT, where a probe ever succeeded.
    pub rtt: Option<Duration>,
    /// When the verdict's last probe ended; `None` before the first.
    pub probed_at: Option<Moment>,
    /// The reason of the last failure, while it matters; and why other vantages were believed, where they were.
    pub why: Option<Arc<str>>,
    /// The held connection; `None` where the monitor has none.
    pub hold: Option<Hold>,
    /// Whether the verdict differs from the last probes.
    pub doubt: Doubt,
    /// Whether it was counted: a vantage that has no vote is not, as long as another one has.
    pub is_counted: bool,
}

/// Gives the evidence on checks.
pub trait EvidenceSource: Debug + Send + Sync {
    /// What each vantage reported of a check of `model`, as it is at `now`, in the order of their first reports.
    fn evidence(&self, model: &Model, check: CheckId, now: Moment) -> Vec<Evidence>;
}

/// The evidence of a view.
#[derive(Debug, Clone)]
pub enum EvidenceBook {
    /// A list for each check, by [`CheckId`]: of views that no agreement made.
    Listed(Vec<Vec<Evidence>>),
    /// What vantages reported.
    Reported(Arc<dyn EvidenceSource>),
}

impl Default for EvidenceBook {
    /// None.
    fn default() -> EvidenceBook {
        EvidenceBook::Listed(Vec::new())
    }
}

impl EvidenceBook {
    /// That on one check.
    pub fn of(&self, model: &Model, check: CheckId, now: Moment) -> Vec<Evidence> {
        match self {
            EvidenceBook::Listed(all) => all.get(check.0 as usize).cloned().unwrap_or_default(),
            EvidenceBook::Reported(source) => source.evidence(model, check, now),
        }
    }

    /// Changes the list of a check. What was reported is not in it.
    pub fn change(&mut self, check: usize, change: impl FnOnce(&mut Vec<Evidence>)) {
        let mut all = match std::mem::take(self) {
            EvidenceBook::Listed(all) => all,
            EvidenceBook::Reported(_) => Vec::new(),
        };
        all.resize(all.len().max(check + 1), Vec::new());
        change(&mut all[check]);
        *self = EvidenceBook::Listed(all);
    }
}
