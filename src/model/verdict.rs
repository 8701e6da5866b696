//! What is known of one check: the verdict, and what comes with it.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Health, RegionId};

/// What is known of one check.
#[derive(Debug, Clone, Default)]
pub struct CheckView {
    /// The verdict.
    pub health: Health,
    /// Whether probes could have found out: until then Unknown counts as up.
    pub tried: bool,
    /// What the verdict rests on.
    pub basis: Basis,
    /// The least time until the verdict could change; `None` when it never does. It bounds the TTL.
    pub may_change_in: Option<Duration>,
    /// Smoothed RTT by region of the vantages that measured it, the median where a region has several; each region
    /// once.
    pub rtts: Vec<(RegionId, Duration)>,
    /// The regions from which it is out of reach although it is Up, in order. Empty unless the model has
    /// [`regional_view`](crate::model::Model::regional_view).
    pub unreachable_from: Arc<[RegionId]>,
    /// The reason of a verdict other than Up, and the vantage that reported it.
    pub cause: Option<(Arc<str>, Arc<str>)>,
}

impl CheckView {
    /// Whether what this check stands for may be answered with.
    pub fn is_eligible(&self) -> bool {
        match self.health {
            Health::Up => true,
            Health::Down => false,
            Health::Unknown => !self.tried,
        }
    }

    /// Smoothed RTT as measured from `region`.
    pub fn rtt_from(&self, region: RegionId) -> Option<Duration> {
        self.rtts.iter().find(|(r, _)| *r == region).map(|(_, rtt)| *rtt)
    }
}

/// What a verdict rests on. Also that a verdict is only the last one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Basis {
    /// The votes of vantages that see and report; or nothing at all, while it is Unknown.
    #[default]
    Votes,
    /// No vantage that has a vote has a verdict: the last verdicts of the others stay. Some of them report, but are
    /// blind.
    LastVerdicts,
    /// The same, and all reports are older than the monitor's `stale_after`: the answers stay as they are until
    /// vantages report again.
    Static,
}

impl Basis {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Basis::Votes => "votes",
            Basis::LastVerdicts => "last_verdicts",
            Basis::Static => "static",
        }
    }
}

/// The state of a held connection (`hold = true`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Not open: it is being opened, or the endpoint is down.
    NotOpen,
    /// Open: its end will be noticed at once.
    Open,
    /// The server closes it although it is up: only probes count, until it is tried again.
    ClosedByServer,
    /// The server sends too much without a request: only probes count.
    ServerTalks,
    /// This vantage has as many held connections as it may have: only probes count.
    NoRoom,
}

impl Hold {
    /// Its text in `status` and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Hold::NotOpen => "not open",
            Hold::Open => "open",
            Hold::ClosedByServer => "closed by server: interval probing",
            Hold::ServerTalks => "server talks: interval probing",
            Hold::NoRoom => "too many connections: interval probing",
        }
    }
}

/// Whether a vantage's verdict differs from its last probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doubt {
    /// It does not.
    #[default]
    None,
    /// Up, with failures that are not enough for Down.
    Suspect,
    /// Down, because it flaps.
    HeldDown,
}
