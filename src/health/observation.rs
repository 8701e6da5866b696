//! What one prober believes of one check: the only thing that leaves this module.

use std::sync::Arc;
use std::time::Duration;

use crate::health::{DetectorState, HeartbeatState};
use crate::model::{CheckKey, Doubt, Health, Hold, Moment};

/// What one prober believes of one check at one moment.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Of what.
    pub key: Arc<CheckKey>,
    /// The detector's verdict.
    pub health: Health,
    /// Whether a probe has had its chance: the first one, with its verification, has ended.
    pub tried: bool,
    /// Smoothed RTT of the successes (RFC 6298, 2, alpha 1/8), where there was one.
    pub srtt: Option<Duration>,
    /// Its mean deviation (RFC 6298, 2, beta 1/4).
    pub rttvar: Option<Duration>,
    /// When the last probe ended; `None` before the first.
    pub probed_at: Option<Moment>,
    /// The least time until the verdict could change, given what the detector has counted.
    pub may_change_in: Duration,
    /// That and why it is held down, or is suspect; else why the last failure failed, until the next success.
    pub why: Option<Arc<str>>,
    /// What became of the held connection; `None` where none is wanted.
    pub hold: Option<Hold>,
    /// Whether the verdict is other than the last probes say.
    pub doubt: Doubt,
    /// What the verdict rests on, from which another prober can continue; `None` while it is restored and not confirmed.
    pub state: Option<CheckState>,
}

/// What a verdict rests on, as a value that outlives the prober.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CheckState {
    /// Of a check that is probed.
    Probed(DetectorState),
    /// Of a service that sends heartbeats.
    Heartbeat(HeartbeatState),
}
