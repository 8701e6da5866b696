//! What would become of the answers: the served decisions beside those of a changed world, which the server's own
//! [`refresh`] and [`crate::steering::decide`] make. It has no arithmetic of steering of its own: it only adds up what
//! the decisions give over names and clients. Pure; the API and the command line call [`simulate`].

mod change;
mod compare;
mod demand;
mod http;
mod load;
mod measured;
mod pairs;
mod report;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::WorldView;
use crate::snapshot::Snapshot;
use crate::snapshot::compile::refresh;

pub use demand::{DemandLine, MAX_LINES, parse as parse_demand};
pub use measured::as_measured;
pub use report::{EmptyAnswer, EmptyClass, EndpointReport, OverloadedEndpoint, ShareChange, SimulationReport};

pub(crate) use compare::losses;
pub(super) use compare::{AnswerDiff, difference};
pub(super) use http::{AT_A_TIME, respond};

use change::WorldChange;
use demand::Weights;

/// What is to be simulated: the body of `POST /v1/simulate`. Empty, it is a report of what is served.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationRequest {
    /// What is lost: `vantage:NAME`, or what an override can be of.
    pub lose: Vec<String>,
    /// What the operator says.
    #[serde(rename = "override")]
    pub overrides: Vec<TrialOverride>,
    /// Who asks how much; empty: all client classes the same.
    pub demand: Vec<DemandLine>,
    /// Queries a second of all clients together, where no demand is given.
    pub qps: Option<f64>,
    /// Every pair of regions lost together, each on top of the rest.
    pub pairs: bool,
}

/// An override that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialOverride {
    /// An endpoint, a glob of endpoints, `pool:NAME`, `region:NAME` or `zone:NAME`.
    pub target: String,
    /// `drain`, `up` or `down`.
    pub state: String,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SimulationResult {
    /// Of everything at once.
    One(Box<SimulationReport>),
    /// One a pair of regions.
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

/// Why nothing was simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimulationError {
    /// It can't be understood, or names what is not there.
    Refused(String),
    /// It is more than one may ask for.
    TooMuch(String),
}

impl std::fmt::Display for SimulationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SimulationError::Refused(why) | SimulationError::TooMuch(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SimulationError {}

/// How much may be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most decisions that are looked at, over all runs: names times classes times types.
    pub decisions: usize,
    /// Most rows of endpoints in the result, over all pairs.
    pub rows: usize,
}

impl Bounds {
    /// Of a server, which has answers to give meanwhile: a few seconds of one core, and a reply of some 50 MB (judgment).
    pub const OF_SERVER: Bounds = Bounds { decisions: 4_000_000, rows: 250_000 };
    /// Of a command, which nobody else waits for.
    pub const NONE: Bounds = Bounds { decisions: usize::MAX, rows: usize::MAX };
}

/// Simulates `ask`. `before` is what is served; `next` what would be served if nothing were lost: the same, or the
/// snapshot of other policies that was compiled with `before` as the one it replaces.
pub fn simulate(
    before: &Snapshot,
    next: &Snapshot,
    ask: &SimulationRequest,
    bounds: Bounds,
) -> Result<SimulationResult, SimulationError> {
    let changes = WorldChange::read(&next.model, &next.view, ask)?;
    let losses = if ask.pairs { pairs::of(&next.model)? } else { Vec::new() };
    bounds.hold(before, next, losses.len().max(1))?;
    let weights = Weights::of(next, ask)?;
    // Read once already, so it can be read: only the model is another.
    let of_before = if std::ptr::eq(before, next) { None } else { Weights::of(before, ask).ok() };
    let scene = Comparison { before, next, weights, of_before };
    let base = report::Baseline::of(before, scene.of_before());
    if losses.is_empty() {
        return Ok(SimulationResult::One(Box::new(scene.run(&base, &changes))));
    }
    let runs = losses.into_iter().map(|lost| scene.run(&base, &changes.and_lose(&next.model, lost)));
    Ok(SimulationResult::Pairs(runs.collect()))
}

impl Bounds {
    fn hold(self, before: &Snapshot, next: &Snapshot, runs: usize) -> Result<(), SimulationError> {
        let decisions = (load::decisions(before) + load::decisions(next)).saturating_mul(runs);
        let rows = next.model.endpoints.len().saturating_mul(runs);
        if decisions <= self.decisions && rows <= self.rows {
            return Ok(());
        }
        let why = format!(
            "that is {decisions} decisions and {rows} endpoints to report, and at most {} and {} are asked of a server \
             that is answering; --config FILE does it elsewhere",
            self.decisions, self.rows
        );
        Err(SimulationError::TooMuch(why))
    }
}

/// What all runs of one call share.
struct Comparison<'a> {
    before: &'a Snapshot,
    next: &'a Snapshot,
    weights: Weights,
    /// On the model of `before`, where that is another.
    of_before: Option<Weights>,
}

impl Comparison<'_> {
    fn is_same(&self) -> bool {
        std::ptr::eq(self.before, self.next)
    }

    fn of_before(&self) -> &Weights {
        self.of_before.as_ref().unwrap_or(&self.weights)
    }

    fn run(&self, base: &report::Baseline, changes: &WorldChange) -> SimulationReport {
        let after = settled(self.next, changes.apply(&self.next.model, &self.next.view));
        report::report(base, self, &after, changes)
    }
}

/// How long after the change the report is of: choices that resist change for a moment (`band`) have given way by then,
/// those that wait for minutes (`failback`) have not.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// More rounds than pools that could wait for each other in that time.
const MOST_ROUNDS: usize = 4;

/// What is served in `view`, once what it sets off has happened.
fn settled(from: &Snapshot, view: WorldView) -> Snapshot {
    let ends = view.at + SETTLED_AFTER;
    let mut snapshot = refresh(from, view.into());
    for _ in 0..MOST_ROUNDS {
        let due = |snapshot: &Snapshot| {
            let standings = snapshot.decisions().flat_map(|decision| &decision.standings);
            let dues = standings.filter_map(|standing| standing.challenger.as_ref()?.due);
            dues.filter(|due| *due <= ends && *due > snapshot.view.at).min()
        };
        let Some(at) = due(&snapshot) else { break };
        let view = WorldView { at, ..WorldView::clone(&snapshot.view) };
        snapshot = refresh(&snapshot, view.into());
    }
    snapshot
}
