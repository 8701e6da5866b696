//! Metrics and logs: [`log`] is the only place that sets up logging.

pub mod log;
