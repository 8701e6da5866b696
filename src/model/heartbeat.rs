//! Heartbeat monitors: nothing is sent; the service reports that it is alive, each time for a limited time.

use std::time::Duration;

/// Shortest time that a beat may last. Judgment: below it, the travel time of the beat would matter more.
pub const MIN_BEAT: Duration = Duration::from_millis(100);
/// Longest time that a beat may last (judgment: a service that is silent for longer is not monitored).
pub const MAX_BEAT: Duration = Duration::from_secs(3600);
/// How long a beat without a time lasts, where the monitor has no `ttl`.
pub const DEFAULT_BEAT: Duration = Duration::from_secs(5);

/// Greatest threshold of the phi-accrual detector. Judgment: at 16 a late beat comes with a probability of 10^-16,
/// which no real rhythm supports.
pub const MAX_PHI: u32 = 16;

/// What a heartbeat monitor receives and expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeartbeatSpec {
    /// The zone of the endpoint that beats, as its policy file names it.
    pub zone: String,
    /// The endpoint that beats.
    pub endpoint: String,
    /// How long a beat without a time lasts; the first beat is waited for as long.
    pub ttl: Duration,
    /// The longest that a beat may last.
    pub longest: Duration,
    /// The threshold phi at which silence ends a beat before its ttl, 1 to [`MAX_PHI`]; `None`: only the ttl ends it.
    pub phi: Option<u32>,
}

impl HeartbeatSpec {
    /// The zone and the endpoint that beats.
    pub fn service(&self) -> (&str, &str) {
        (&self.zone, &self.endpoint)
    }
}
