//! From what each vantage believes to what all agree on. Reports are whole and periodic; agreement is pure.

mod composite;
pub mod exchange;
pub mod quorum;
pub mod report;

pub use exchange::{Exchange, Seat};
pub use quorum::agree;
pub use report::{Received, Report, Vantage};
