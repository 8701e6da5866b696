//! What one vantage believes about its checks. A report is whole or a part; both update what the receiver has, so that
//! reports of local probers and messages of remote vantages have one way into the agreement.

use std::sync::Arc;

use crate::health::Observation;
use crate::model::{CheckKey, Moment};

/// An observer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vantage {
    /// Its name, unique in the fleet: the node's.
    pub name: Arc<str>,
    /// The name of its region.
    pub region: Arc<str>,
}

/// Whether a report has all checks of its vantage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    /// It has all: what is missing in it is not observed any more.
    #[default]
    Whole,
    /// It has some: of the others the observations of earlier reports hold. Without any it is a sign of life.
    Part,
    /// It has some, after a silence, and others are missing that changed meanwhile. It is no sign of life: a vantage
    /// that was stale or blind has no vote until everything is known again.
    Behind,
    /// It has none, because the vantage has stopped in order.
    End,
}

/// What one vantage believes about its checks at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// The vantage.
    pub vantage: Vantage,
    /// When it was made, on this process's clock.
    pub made_at: Moment,
    /// Why it is blind, if it is. Then it has no vote, and its observations of the regions from which it receives
    /// nothing are older.
    pub blind: Option<Arc<str>>,
    /// Whether it has all checks.
    pub extent: Extent,
    /// Each check at most once. A whole report has one for each check of the vantage's plan. A disabled endpoint has no
    /// checks.
    pub observations: Vec<Observation>,
    /// Checks that the vantage does not observe any more. It counts after the observations; a whole report needs none.
    pub removed: Vec<Arc<CheckKey>>,
}

impl Report {
    /// A whole report.
    pub fn whole(vantage: Vantage, made_at: Moment, observations: Vec<Observation>) -> Report {
        Report { vantage, made_at, blind: None, extent: Extent::Whole, observations, removed: Vec::new() }
    }

    /// A part; without observations it is a sign of life.
    pub fn part(vantage: Vantage, made_at: Moment, observations: Vec<Observation>) -> Report {
        Report { extent: Extent::Part, ..Report::whole(vantage, made_at, observations) }
    }

    /// The vantage has stopped in order.
    pub fn end(vantage: Vantage, made_at: Moment) -> Report {
        Report { extent: Extent::End, ..Report::whole(vantage, made_at, Vec::new()) }
    }
}

/// A report with the time of its arrival. Its age counts from then: the clocks of two hosts are never compared.
#[derive(Debug, Clone)]
pub struct Received {
    /// The report.
    pub report: Arc<Report>,
    /// When it arrived, on this process's clock.
    pub received_at: Moment,
}
