//! What one vantage believes of every check it knows: whole, never a difference, so that a lost report is healed by
//! the next.

use std::sync::Arc;

use crate::health::Observation;
use crate::model::Moment;

/// Who observes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vantage {
    /// Its name, unique in the fleet: the node's.
    pub name: Arc<str>,
    /// The name of the region it stands in.
    pub region: Arc<str>,
}

/// Everything that one vantage believes at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// Whose it is.
    pub vantage: Vantage,
    /// When it was made.
    pub made_at: Moment,
    /// Why it is blind, if it is: it has no vote then, and of the regions from which it hears nothing its
    /// observations are those from before.
    pub blind: Option<Arc<str>>,
    /// One an (enabled) check.
    pub observations: Vec<Observation>,
}

/// A report as it arrived. Clocks of two hosts are never compared: its age is counted from here.
#[derive(Debug, Clone)]
pub struct Received {
    /// What was reported.
    pub report: Arc<Report>,
    /// When it came, on this process's clock.
    pub received_at: Moment,
}
