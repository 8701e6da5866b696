//! From the reports of the vantages to the verdicts that they agree on. Agreement is pure.

mod composite;
pub mod exchange;
pub mod nats;
pub mod quorum;
pub mod report;

pub use exchange::{Exchange, ReportSender};
pub use quorum::agree;
pub use report::{Received, Report, Vantage};
