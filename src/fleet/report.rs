//! What one vantage believes about all its checks. A report is always whole, never a difference, so that the next one
//! makes up for one that was lost.

use std::sync::Arc;

use crate::health::Observation;
use crate::model::Moment;

/// An observer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vantage {
    /// Its name, unique in the fleet: the node's.
    pub name: Arc<str>,
    /// The name of its region.
    pub region: Arc<str>,
}

/// What one vantage believes about all its checks at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vantage.
    pub vantage: Vantage,
    /// When it was made.
    pub made_at: Moment,
    /// Why it is blind, if it is. Then it has no vote, and its observations of the regions from which it receives
    /// nothing are older.
    pub blind: Option<Arc<str>>,
    /// One for each check of its plan. A disabled endpoint has no checks.
    pub observations: Vec<Observation>,
}

/// A report with the time of its arrival. Its age counts from then: the clocks of two hosts are never compared.
#[derive(Debug, Clone)]
pub struct Received {
    /// The report.
    pub report: Arc<Report>,
    /// When it arrived, on this process's clock.
    pub received_at: Moment,
}
