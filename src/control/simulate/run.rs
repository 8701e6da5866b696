//! Runs a simulation: changes the world, lets the snapshot be decided anew, and reports the difference.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::simulate::change::WorldChange;
use crate::control::simulate::report::SimulationReport;
use crate::control::simulate::request::{Bounds, SimulationError, SimulationRequest};
use crate::control::simulate::result::{Baseline, Comparison, report};
use crate::control::simulate::weights::Weights;
use crate::control::simulate::{load, pairs};
use crate::model::{Moment, WorldView};
use crate::snapshot::Snapshot;
use crate::snapshot::compile::refresh;
use crate::steering::after_promotions;

/// The result of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SimulationResult {
    /// All changes at once.
    One(Box<SimulationReport>),
    /// One report for each pair of regions.
    Pairs(Vec<SimulationReport>),
}

impl SimulationResult {
    /// Every report in it.
    pub fn reports(&self) -> &[SimulationReport] {
        match self {
            SimulationResult::One(report) => std::slice::from_ref(report),
            SimulationResult::Pairs(reports) => reports,
        }
    }
}

/// Simulates `request`.
///
/// `before` is what is served. `next` is what would be served if nothing were lost: `before` itself, or a snapshot of
/// other policies that was compiled as the successor of `before`.
pub fn simulate(
    before: &Snapshot,
    next: &Snapshot,
    request: &SimulationRequest,
    bounds: Bounds,
) -> Result<SimulationResult, SimulationError> {
    bounds.check_targets(request)?;
    let change = WorldChange::read(&next.model, &next.view, request)?;
    let losses = if request.pairs { pairs::of(&next.model)? } else { Vec::new() };
    check_size(bounds, before, next, losses.len().max(1))?;
    let weights = Weights::of(next, request)?;
    // The demand was valid for `next`. A name that the model of `before` lacks is the only possible error here.
    let weights_before = if std::ptr::eq(before, next) { None } else { Weights::of(before, request).ok() };
    let comparison = Comparison { before, next, weights, weights_before };
    let baseline = Baseline::of(before, comparison.weights_before());
    let run = |change: &WorldChange| {
        let after = settled(next, change.apply(&next.model, &next.view));
        report(&baseline, &comparison, &after, change)
    };
    if losses.is_empty() {
        return Ok(SimulationResult::One(Box::new(run(&change))));
    }
    let runs = losses.into_iter().map(|lost| run(&change.and_lose(&next.model, lost)));
    Ok(SimulationResult::Pairs(runs.collect()))
}

fn check_size(bounds: Bounds, before: &Snapshot, next: &Snapshot, runs: usize) -> Result<(), SimulationError> {
    let decisions = (load::decisions(before) + load::decisions(next)).saturating_mul(runs);
    bounds.check(decisions, next.model.endpoints.len().saturating_mul(runs))
}

/// The report shows the time this long after the change. By then choices that resist a change for a moment (`band`)
/// have changed; choices that wait for minutes (`failback`) have not.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Most further decisions in that time. One pool's change can start the wait of another; chains of more than four
/// pools are not expected.
const MAX_ROUNDS: usize = 4;

/// What is served in `view`, after every choice that changes within [`SETTLED_AFTER`] has changed.
pub(super) fn settled(from: &Snapshot, view: WorldView) -> Snapshot {
    let end = view.at + SETTLED_AFTER;
    // The hooks of exclusive names are expected to succeed.
    let view = WorldView { leases: after_promotions(&from.model, &view), ..view };
    let mut snapshot = refresh(from, view.into());
    for _ in 0..MAX_ROUNDS {
        let Some(at) = next_due(&snapshot).filter(|due| *due <= end) else { break };
        let view = WorldView { at, ..WorldView::clone(&snapshot.view) };
        snapshot = refresh(&snapshot, view.into());
    }
    snapshot
}

/// What is served after the promotions that a snapshot calls for; `None`: it calls for none. The hooks of exclusive
/// names are expected to succeed.
pub(crate) fn promoted(snapshot: &Snapshot) -> Option<Snapshot> {
    let leases = after_promotions(&snapshot.model, &snapshot.view);
    let is_changed = !Arc::ptr_eq(&leases, &snapshot.view.leases);
    is_changed.then(|| refresh(snapshot, WorldView { leases, ..WorldView::clone(&snapshot.view) }.into()))
}

/// The earliest time after the snapshot's own at which a waiting choice changes.
fn next_due(snapshot: &Snapshot) -> Option<Moment> {
    let standings = snapshot.decisions().flat_map(|decision| &decision.standings);
    let dues = standings.filter_map(|standing| standing.challenger.as_ref()?.due);
    dues.filter(|due| *due > snapshot.view.at).min()
}
