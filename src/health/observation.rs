//! The observation of one check by one prober: the only result that leaves this module.

use std::sync::Arc;
use std::time::Duration;

use crate::health::{DetectorState, HeartbeatState};
use crate::model::{CheckKey, Doubt, Health, Hold, Moment};

/// What one prober observed of one check at one moment.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The check.
    pub key: Arc<CheckKey>,
    /// The health that is reported.
    pub health: Health,
    /// Whether the first probe and its verification have ended.
    pub tried: bool,
    /// The smoothed RTT of the successes: [`Rtt::path`](crate::health::rtt::Rtt::path). `None` before the first.
    pub srtt: Option<Duration>,
    /// Its mean deviation (RFC 6298, 2, beta 1/4).
    pub rttvar: Option<Duration>,
    /// When the last probe ended. `None` before the first.
    pub probed_at: Option<Moment>,
    /// The least time until the verdict can change.
    pub may_change_in: Duration,
    /// The reason why it is damped or suspect, or of the last failure until the next success.
    pub why: Option<Arc<str>>,
    /// The status of the held connection. `None` if the monitor wants none.
    pub hold: Option<Hold>,
    /// Whether the verdict differs from the last probes.
    pub doubt: Doubt,
    /// What the verdict rests on, from which another prober can continue; `None` while it is restored and not
    /// confirmed.
    pub state: Option<CheckState>,
}

/// The last observation of a check by an earlier prober, which a new prober restores the check from.
#[derive(Debug, Clone)]
pub struct RetainedCheck {
    /// The observation, with the state of its check.
    pub observation: Observation,
    /// When it was made.
    pub at: Moment,
    /// It counts until then, unless a probe or a beat gives new evidence.
    pub until: Moment,
}

/// What a verdict rests on, as a value that outlives the prober.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CheckState {
    /// Of a check that is probed.
    Probed(DetectorState),
    /// Of a service that sends heartbeats.
    Heartbeat(HeartbeatState),
}
