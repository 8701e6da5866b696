//! Simulation: what the answers would be in a changed world.
//!
//! [`run`] changes a copy of the WorldView and lets the server's own [`crate::snapshot::compile::refresh`] and
//! [`crate::steering::decide`] decide in it. [`load`] adds up what those decisions give, over all names and client
//! classes. There is no second implementation of steering here. Everything but [`http`] is pure; the API and the
//! command line call [`simulate`].

mod change;
pub(super) mod compare;
mod demand;
mod empty;
mod http;
pub(super) mod load;
mod lost_vantages;
mod measured;
mod pairs;
pub(super) mod report;
mod request;
mod result;
mod run;
#[cfg(test)]
mod tests;
mod trial;
pub(super) mod weights;

pub use demand::{DemandLine, MAX_LINES, parse as parse_demand};
pub use measured::as_measured;
pub use report::{EmptyAnswer, EmptyClass, EndpointReport, OverloadedEndpoint, ShareChange, SimulationReport};
pub use request::{Bounds, SimulationError, SimulationRequest, TrialOverride};
pub use run::{SimulationResult, simulate};

pub(crate) use compare::losses;
pub(super) use http::respond;
pub(crate) use run::promoted;
