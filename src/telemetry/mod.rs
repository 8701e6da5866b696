//! Metrics and logs: [`metrics`] is the only list of metric names, [`log`] the only place that sets up logging.

pub mod log;
pub mod metrics;

pub use metrics::{Metrics, ProbeResult};
