//! Logs, metrics and traces of this process. [`families`] is the only list of metric names.

pub mod families;
mod files;
mod fleet;
mod follows;
mod leases;
pub mod log;
pub mod metrics;
mod names;
mod process;
mod recorder;
mod rooms;
mod sinks;
mod sources;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod traces;
mod traffic;
mod world;

pub use metrics::{Metrics, Scrape};
pub use recorder::ProbeResult;
pub use rooms::ListenerRoom;
