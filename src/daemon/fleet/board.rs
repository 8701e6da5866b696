//! What the tasks of the fleet know, for the API, metrics and each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::control::fleet::{DifferingReport, TargetsReport, VantageTraffic};
use crate::fleet::Collector;
use crate::fleet::targets::{TargetBook, TargetPlan};
use crate::model::quorum::STALE_AFTER;
use crate::printable::escaped;

/// Whether the targets can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum TargetState {
    /// They were not read yet.
    #[default]
    Waiting,
    /// They are read.
    Current,
    /// They can't be read now: why.
    Away(Arc<str>),
}

/// Shared by the tasks of the fleet.
#[derive(Debug, Default)]
pub(super) struct Board {
    targets: Mutex<Targets>,
    /// The remote vantages; of a server only.
    pub(super) collector: Option<Mutex<Collector>>,
    /// Whether the plan has the targets of the bucket.
    pub(super) has_plan: AtomicBool,
    /// Reports that were published.
    pub(super) sent: AtomicU64,
    /// Heartbeats of other servers that could not be used.
    pub(super) refused_beats: AtomicU64,
}

#[derive(Debug, Default)]
struct Targets {
    state: TargetState,
    write_problem: Option<String>,
    zones: usize,
    plan: PlanNumbers,
    refused_values: u64,
    last_refused: Option<String>,
    differing: Vec<DifferingReport>,
}

#[derive(Debug, Default, Clone, Copy)]
struct PlanNumbers {
    checks: usize,
    not_allowed: usize,
    refused: usize,
    why: Option<&'static str>,
}

impl Board {
    /// Of a server, which collects reports, or of a vantage.
    pub(super) fn new(collector: Option<Collector>) -> Board {
        Board { collector: collector.map(Mutex::new), ..Board::default() }
    }

    fn targets(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The collector of a server.
    pub(super) fn collector(&self) -> Option<MutexGuard<'_, Collector>> {
        self.collector.as_ref().map(|collector| collector.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_targets(&self, state: TargetState) {
        self.targets().state = state;
    }

    pub(super) fn set_write_problem(&self, problem: Option<String>) {
        let mut targets = self.targets();
        if targets.write_problem != problem {
            if let Some(problem) = &problem {
                tracing::warn!(problem, "the targets of the fleet can't be written");
            }
            targets.write_problem = problem;
        }
    }

    /// Takes over what the bucket has.
    pub(super) fn note_book(&self, book: &TargetBook) {
        let differing = book.differences().iter().flat_map(|(node, zones)| {
            zones.iter().map(|zone| DifferingReport {
                node: escaped(node).into_owned(),
                zone: escaped(&zone.zone).into_owned(),
                serial: zone.serial,
                fleet_serial: zone.fleet,
            })
        });
        let refused = book.refused();
        let mut targets = self.targets();
        targets.differing = differing.take(MAX_DIFFERING).collect();
        targets.zones = book.zones();
        if targets.refused_values != refused.values {
            targets.refused_values = refused.values;
            targets.last_refused = refused.last.as_ref().map(|(key, why)| format!("{}: {why}", escaped(key)));
            let last = targets.last_refused.as_deref().unwrap_or_default();
            tracing::warn!(last, "a target of the fleet can't be used");
        }
    }

    pub(super) fn note_plan(&self, plan: &TargetPlan) {
        let TargetPlan { targets, not_allowed, refused, why } = plan;
        self.targets().plan =
            PlanNumbers { checks: targets.len(), not_allowed: *not_allowed, refused: *refused, why: *why };
    }

    /// Whether a node reports at present. A vantage does not know.
    pub(super) fn is_live(&self, node: &str) -> bool {
        let now = clock::now();
        self.collector().is_some_and(|collector| {
            let found = collector.vantages().find(|(name, _)| ***name == *node);
            found.is_some_and(|(_, vantage)| now.since(vantage.received_at()) <= STALE_AFTER)
        })
    }

    /// The targets, for the API. Nodes that differ and do not report any more are left out.
    pub(super) fn targets_report(&self, own: &str) -> TargetsReport {
        let live = |node: &str| node == own || self.is_live(node);
        let Targets { state, write_problem, zones, plan, refused_values, last_refused, differing } = &*self.targets();
        let PlanNumbers { checks, not_allowed, refused, why } = *plan;
        let away = match state {
            TargetState::Away(why) => Some(why.to_string()),
            TargetState::Waiting | TargetState::Current => None,
        };
        TargetsReport {
            state: match state {
                TargetState::Waiting => "waiting",
                TargetState::Current => "current",
                TargetState::Away(_) => "away",
            }
            .to_owned(),
            problem: away.or_else(|| write_problem.clone()).map(|why| escaped(&why).into_owned()),
            zones: *zones,
            checks,
            not_allowed,
            refused: refused + *refused_values as usize,
            refused_why: why.map(str::to_owned).or_else(|| last_refused.clone()),
            differing: differing.iter().filter(|differing| live(&differing.node)).cloned().collect(),
        }
    }

    /// The messages of each remote vantage, sorted by name; and of those that no vantage is known for.
    pub(super) fn traffic(&self) -> (Vec<VantageTraffic>, Vec<(String, u64)>) {
        let Some(collector) = self.collector() else { return Default::default() };
        let reasons = |refused: &crate::fleet::RefusedMessages| {
            let all = refused.by_reason().filter(|(_, count)| *count > 0);
            all.map(|(why, count)| (why.as_str().to_owned(), count)).collect::<Vec<_>>()
        };
        let mut all: Vec<VantageTraffic> = collector
            .vantages()
            .map(|(name, vantage)| {
                let (messages, octets) = vantage.traffic();
                VantageTraffic {
                    name: name.to_string(),
                    region: vantage.region().to_owned(),
                    checks: vantage.observed(),
                    messages,
                    octets,
                    gaps: vantage.gaps(),
                    refused: reasons(vantage.refused()).into_iter().collect(),
                }
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        (all, reasons(collector.strangers()))
    }

    /// Counts a report that was published.
    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// Most differences that are shown (judgment).
const MAX_DIFFERING: usize = 1000;
