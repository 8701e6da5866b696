//! The WorldView: agreed health, and round-trip times by region. Built by `fleet`, read by `steering`, which meet only
//! here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Answerable, CheckId, Endpoint, EndpointId, Growth, Health, LeaseView, Moment, Recovery, RegionId};
use crate::wire::Name;

/// Agreed health and measured distances of one moment.
#[derive(Debug, Clone, Default)]
pub struct WorldView {
    /// When it was agreed.
    pub at: Moment,
    /// The same in Unix seconds, where it is needed for the ends of overrides.
    pub at_unix: Option<f64>,
    /// One for each check of the model, indexed by [`CheckId`].
    pub checks: Vec<CheckView>,
    /// Every known vantage.
    pub vantages: Vec<VantageView>,
    /// Overrides by endpoint; they go before measured health.
    pub overrides: Arc<HashMap<EndpointId, Arc<Override>>>,
    /// The leases of exclusive names, by the name; none where no lease was ever known here.
    pub leases: Arc<HashMap<Name, LeaseView>>,
}

/// An operator's decision that goes before measured health and is separate from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// What it is for, as it was written: an endpoint, a glob, `pool:NAME`, `region:NAME` or `zone:NAME`.
    pub target: String,
    /// What it makes of the endpoints.
    pub state: OverrideState,
    /// The operator's reason.
    pub why: String,
    /// Who set it: the name of the token.
    pub who: String,
    /// When it ends by itself, Unix seconds; `None`: when it is cleared.
    pub until: Option<f64>,
    /// The zones in which it counts: those of the operator's token; `None`: all.
    pub zones: Option<Arc<[Name]>>,
}

/// What an override makes of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverrideState {
    /// No new answers, still probed: as `state = "drain"` in the file.
    Drain,
    /// As if it were Up, whatever is measured. It also overrules `state = "drain"` in the file, but not `disabled`.
    Up,
    /// Never answered with, not even by `on_empty`.
    Down,
}

impl OverrideState {
    /// Its name in the API: `drain`, `up`, `down`.
    pub fn as_str(self) -> &'static str {
        match self {
            OverrideState::Drain => "drain",
            OverrideState::Up => "up",
            OverrideState::Down => "down",
        }
    }
}

/// One vantage as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VantageView {
    /// Its name, unique in the fleet.
    pub name: Arc<str>,
    /// The region it observes from.
    pub region: RegionId,
    /// Whether its reports count.
    pub state: VantageState,
    /// Why it is blind, while it is.
    pub why: Option<Arc<str>>,
    /// When its last report was received.
    pub reported_at: Moment,
}

/// Whether a vantage's reports count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VantageState {
    /// They count.
    Up,
    /// It receives nothing from most of the world, and does not change its verdicts.
    Blind,
    /// Nothing was received from it for longer than [`STALE_AFTER`](crate::model::quorum::STALE_AFTER). The
    /// `stale_after` of monitors has no effect on this.
    Stale,
}

impl VantageState {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            VantageState::Up => "up",
            VantageState::Blind => "blind",
            VantageState::Stale => "stale",
        }
    }
}

/// What is known of one check.
#[derive(Debug, Clone, Default)]
pub struct CheckView {
    /// The verdict.
    pub health: Health,
    /// Whether probes could have found out: until then Unknown counts as up.
    pub tried: bool,
    /// What the verdict rests on.
    pub basis: Basis,
    /// Whether it was down before; set when the view is published, from the view before it.
    pub recovery: Recovery,
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
    /// What each vantage reports. It explains a decision and never changes it.
    pub evidence: Vec<Evidence>,
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

/// What one vantage reports of one check.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The vantage's name.
    pub vantage: Arc<str>,
    /// Its region.
    pub region: RegionId,
    /// Its verdict.
    pub health: Health,
    /// Smoothed RTT, where a probe ever succeeded.
    pub rtt: Option<Duration>,
    /// When the verdict's last probe ended; `None` before the first.
    pub probed_at: Option<Moment>,
    /// The reason of the last failure, while it matters; and why other vantages were believed, where they were.
    pub why: Option<Arc<str>>,
    /// The held connection; `None` where the monitor has none.
    pub hold: Option<Hold>,
    /// Whether the verdict differs from the last probes.
    pub doubt: Doubt,
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

impl WorldView {
    /// How long after `at` an override ends; `None` where it holds until it is cleared.
    pub fn override_ends_in(&self, entry: &Override) -> Option<Duration> {
        let left = entry.until? - self.at_unix?;
        Some(Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// The override of an endpoint.
    pub fn override_of(&self, id: EndpointId) -> Option<&Arc<Override>> {
        self.overrides.get(&id)
    }

    /// What is known of a check; panics when the id is of another model.
    pub fn check(&self, id: CheckId) -> &CheckView {
        &self.checks[id.0 as usize]
    }

    /// The growth of a side of an endpoint that `check` judges at `now`, where its ramp is under way. An endpoint that
    /// is forced up has its full weight at once.
    pub fn growth(&self, id: EndpointId, endpoint: &Endpoint, check: Option<CheckId>, now: Moment) -> Option<Growth> {
        let is_forced = self.override_of(id).is_some_and(|entry| entry.state == OverrideState::Up);
        if is_forced { None } else { Growth::of(endpoint.ramp, self.check(check?).recovery, now) }
    }

    /// Health of an endpoint: Up while any of its answerables is (one without a check always is), else Down if any is.
    pub fn endpoint(&self, endpoint: &Endpoint) -> Health {
        let health = |a: &Answerable| a.check.map_or(Health::Up, |id| self.check(id).health);
        let of_all: Vec<Health> = endpoint.answerables.iter().map(health).collect();
        let first = [Health::Up, Health::Down].into_iter().find(|h| of_all.contains(h));
        first.unwrap_or(Health::Unknown)
    }
}
