//! The request of a simulation, its bounds, and its errors.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::json;
use crate::control::openapi::schemas;
use crate::control::simulate::demand::DemandLine;
use crate::source::did_you_mean;

/// What to simulate: the body of `POST /v1/simulate`. An empty one gives a report of what is served.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationRequest {
    /// What is lost: `vantage:NAME`, or any TARGET of an override.
    pub lose: Vec<String>,
    /// Overrides to try.
    #[serde(rename = "override", deserialize_with = "json::objects")]
    pub overrides: Vec<TrialOverride>,
    /// How much each net asks. Empty: all client classes ask the same.
    #[serde(deserialize_with = "json::objects")]
    pub demand: Vec<DemandLine>,
    /// Queries a second of all clients together, for a request without `demand`.
    pub qps: Option<f64>,
    /// Simulate the loss of each pair of regions, in addition to the other changes.
    pub pairs: bool,
}

/// An override to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialOverride {
    /// The TARGET: an endpoint, a glob of endpoints, `pool:NAME`, `region:NAME` or `zone:NAME`.
    pub target: String,
    /// `drain`, `up` or `down`.
    #[schema(schema_with = schemas::override_state)]
    pub state: String,
}

/// Why nothing was simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimulationError {
    /// The request can't be understood, or it names something that does not exist.
    Refused(String),
    /// The request is larger than the bounds allow.
    TooMuch(String),
}

impl SimulationError {
    /// There is no `what` called `name`. The message suggests a similar name of `known`.
    pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> SimulationError {
        let known: BTreeSet<&str> = known.collect();
        let hint = did_you_mean(name, known).map_or_else(String::new, |hint| format!("; {hint}"));
        SimulationError::Refused(format!("no {what} is called `{name}`{hint}"))
    }
}

impl std::fmt::Display for SimulationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SimulationError::Refused(why) | SimulationError::TooMuch(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SimulationError {}

/// How large a simulation may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most decisions to read, over all runs: names times classes times types.
    pub decisions: usize,
    /// Most rows of endpoints in the result, over all pairs.
    pub rows: usize,
    /// Most targets that are lost or overridden. Each may match all endpoints.
    pub targets: usize,
}

impl Bounds {
    /// For a server, which answers queries at the same time: a few seconds of one core, and a response of about 50 MB
    /// (judgment).
    pub const OF_SERVER: Bounds = Bounds { decisions: 4_000_000, rows: 250_000, targets: 1000 };
    /// For a command, which delays nobody else.
    pub const NONE: Bounds = Bounds { decisions: usize::MAX, rows: usize::MAX, targets: usize::MAX };

    /// Refuses a request with more targets.
    pub(super) fn check_targets(self, request: &SimulationRequest) -> Result<(), SimulationError> {
        let targets = request.lose.len().saturating_add(request.overrides.len());
        if targets <= self.targets {
            return Ok(());
        }
        let why = format!(
            "the simulation has {targets} targets, and a server allows at most {}: use a glob, a pool, a region or a \
             zone, or run it elsewhere with --config FILE",
            self.targets
        );
        Err(SimulationError::TooMuch(why))
    }

    /// Refuses a simulation of more decisions or rows.
    pub(super) fn check(self, decisions: usize, rows: usize) -> Result<(), SimulationError> {
        if decisions <= self.decisions && rows <= self.rows {
            return Ok(());
        }
        let why = format!(
            "the simulation needs {decisions} decisions and {rows} rows of endpoints; a server that answers queries \
             allows at most {} and {}. Run it elsewhere with --config FILE",
            self.decisions, self.rows
        );
        Err(SimulationError::TooMuch(why))
    }
}
