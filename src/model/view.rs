//! What is believed of the world: agreed health, and round-trip times by region. Built by `fleet`, read by `steering`;
//! the one place where the two meet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Answerable, CheckId, Endpoint, EndpointId, Growth, Moment, Recovery, RegionId};

/// Health of a check, and of what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Health {
    /// Answering as expected.
    Up,
    /// Not.
    Down,
    /// Not known: counts as down once a probe has had its chance, as up before.
    #[default]
    Unknown,
}

impl Health {
    /// The word for it in files, JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Down => "down",
            Health::Unknown => "unknown",
        }
    }
}

/// Agreed health and measured distances of one moment.
#[derive(Debug, Clone, Default)]
pub struct WorldView {
    /// When it was agreed.
    pub at: Moment,
    /// The same in Unix seconds, where the ends of overrides are to be told from it.
    pub at_unix: Option<f64>,
    /// One a check of the model, indexed by [`CheckId`].
    pub checks: Vec<CheckView>,
    /// Every vantage that is known of.
    pub vantages: Vec<VantageView>,
    /// The operator's word, by endpoint; it goes before measured health.
    pub overrides: Arc<HashMap<EndpointId, Arc<Override>>>,
}

/// The operator's word over measured health, kept apart from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// What it was said of: an endpoint's name, or `region:NAME`.
    pub target: String,
    /// What is to be.
    pub state: OverrideState,
    /// Why, in the operator's words.
    pub why: String,
    /// Who said so: the name of the token.
    pub who: String,
    /// When it ends by itself, Unix seconds; `None`: when it is cleared.
    pub until: Option<f64>,
}

/// What an override makes of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverrideState {
    /// No new answers, still probed: as `state = "drain"` in the file.
    Drain,
    /// As if it were Up, whatever is measured; `state = "drain"` in the file too is overruled, `disabled` is not.
    Up,
    /// As if it were Down.
    Down,
}

impl OverrideState {
    /// The word for it in the API: `drain`, `up`, `down`.
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
    /// Why it is blind, in words, while it says so.
    pub why: Option<Arc<str>>,
    /// When its last report came.
    pub heard_at: Moment,
}

/// Whether a vantage's reports count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VantageState {
    /// They do.
    Up,
    /// It has trouble of its own and has frozen its verdicts.
    Blind,
    /// Nothing has come from it for longer than [`STALE_AFTER`](crate::model::quorum::STALE_AFTER), whatever single monitors say of
    /// their own checks.
    Stale,
}

impl VantageState {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            VantageState::Up => "up",
            VantageState::Blind => "blind",
            VantageState::Stale => "stale",
        }
    }
}

/// What is believed of one check.
#[derive(Debug, Clone, Default)]
pub struct CheckView {
    /// The verdict.
    pub health: Health,
    /// Whether a probe has had its chance: until then Unknown counts as up.
    pub tried: bool,
    /// Whether it was down before; told by the publisher, which knows the view before this one.
    pub recovery: Recovery,
    /// The least time until the verdict could change; `None` when it never does. Holds the TTL (CONTRACT 4.5).
    pub may_change_in: Option<Duration>,
    /// Smoothed RTT by region of the vantages that measured it, the mean where a region has several; each region once.
    pub rtts: Vec<(RegionId, Duration)>,
    /// What each vantage said, for people: the decision never looks here.
    pub evidence: Vec<Evidence>,
}

/// What became of the connection that `hold = true` keeps open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Not open now: it is being opened, or the endpoint is down.
    NotOpen,
    /// Open: its end will be noticed at once.
    Open,
    /// The server ends it while it is well: only the probes tell, until it is tried again.
    ClosedByServer,
    /// The server sends without being asked, and more than anyone should read: as before.
    ServerTalks,
    /// This vantage holds as many connections as it may: as before.
    NoRoom,
}

impl Hold {
    /// The words for it in `status` and JSON.
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

/// Whether a vantage's verdict is other than its last probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doubt {
    /// It is not.
    #[default]
    None,
    /// Up, with failures that are not enough to call it down.
    Suspect,
    /// Down, because it flaps.
    HeldDown,
}

/// What one vantage said of one check.
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
    /// The last failure's reason in words, while it matters; and why others were believed, where they were.
    pub why: Option<Arc<str>>,
    /// What became of the held connection; `None` where none is wanted.
    pub hold: Option<Hold>,
    /// Whether the verdict is other than the last probes say.
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
    /// How long from `at` an override still holds; `None` where it holds until it is cleared.
    pub fn holds_for(&self, said: &Override) -> Option<Duration> {
        let left = said.until? - self.at_unix?;
        Some(Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// The operator's word on an endpoint.
    pub fn override_of(&self, id: EndpointId) -> Option<&Arc<Override>> {
        self.overrides.get(&id)
    }

    /// What is believed of a check; panics when the id is of another model.
    pub fn check(&self, id: CheckId) -> &CheckView {
        &self.checks[id.0 as usize]
    }

    /// How far a side of an endpoint that `check` judges has come in its ramp at `now`, where one is under way. What is
    /// forced up has its full weight: the operator wants it at once.
    pub fn growth(&self, id: EndpointId, endpoint: &Endpoint, check: Option<CheckId>, now: Moment) -> Option<Growth> {
        let is_forced = self.override_of(id).is_some_and(|said| said.state == OverrideState::Up);
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
