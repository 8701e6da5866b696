//! From the reports of the vantages to the verdicts that they agree on. Agreement is pure.

pub mod agreement;
pub mod ballots;
pub mod collector;
mod composite;
pub mod events;
pub mod exchange;
pub mod flood;
pub mod lease;
pub mod message;
pub mod nats;
pub mod overrides;
pub mod quorum;
pub mod report;
pub mod reporter;
pub mod targets;
#[cfg(test)]
mod test_checks;

pub use agreement::{Agreement, agree};
pub use ballots::Ballots;
pub use collector::{Collector, RefusedBurst, RefusedMessages, RemoteVantage, Unaccepted};
pub use exchange::{Exchange, RemoteReports, ReportSender};
pub use flood::{FloodChange, FloodGuard, ReportSubjects};
pub use message::{Ask, BeatMessage, CheckHash, ReportMessage};
pub use report::{Extent, Received, Report, Vantage};
pub use reporter::VantageReporter;
