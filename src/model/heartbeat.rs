//! Heartbeat monitors: nothing is sent; the service says that it lives, for so long each time.

use std::time::Duration;

/// Shortest time that a beat may last. Judgment: below it, the way of the beat itself would be the news.
pub const MIN_BEAT: Duration = Duration::from_millis(100);
/// Longest time that a beat may last (judgment: who is silent for longer than that is not watched at all).
pub const MAX_BEAT: Duration = Duration::from_secs(3600);
/// How long a beat lasts that doesn't say, where the monitor has no `ttl`.
pub const DEFAULT_BEAT: Duration = Duration::from_secs(5);

/// Greatest threshold of the phi-accrual detector (judgment: at 16 a beat that is late has one chance in 10^16 to come; no
/// rhythm is that normal).
pub const MAX_PHI: u32 = 16;

/// What a heartbeat monitor hears and expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeartbeatSpec {
    /// The zone of the endpoint that beats, as its policy file names it.
    pub zone: String,
    /// The endpoint that beats.
    pub endpoint: String,
    /// How long a beat lasts that doesn't say; the first one is waited for as long.
    pub ttl: Duration,
    /// The longest that a beat may last.
    pub longest: Duration,
    /// How suspicious silence must be to end a beat before its ttl does, 1 to [`MAX_PHI`]; `None`: only the ttl ends it.
    pub phi: Option<u32>,
}

impl HeartbeatSpec {
    /// Who beats: the zone and the endpoint in it.
    pub fn service(&self) -> (&str, &str) {
        (&self.zone, &self.endpoint)
    }
}
