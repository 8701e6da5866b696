//! From the reports of the vantages to the verdicts that they agree on. Agreement is pure.

pub mod agreement;
pub mod ballots;
mod composite;
pub mod exchange;
pub mod lease;
pub mod nats;
pub mod quorum;
pub mod report;

pub use agreement::{Agreement, agree};
pub use ballots::Ballots;
pub use exchange::{Exchange, ReportSender};
pub use report::{Extent, Received, Report, Vantage};
