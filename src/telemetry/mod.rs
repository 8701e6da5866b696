//! Metrics and logs: [`metrics`] is the only list of metric names, [`log`] the only place that sets up logging.

mod files;
pub mod log;
pub mod metrics;

pub use metrics::{Metrics, ProbeResult};
