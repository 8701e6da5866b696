//! `heartbeat`: nothing is sent, the service reports that it is alive.

use std::time::Duration;

use crate::config::keys::{KeyGroup as _, boolean, duration, integer, keys};
use crate::config::monitor::probing::hold_down;
use crate::config::monitor::quorum::QuorumKeys;
use crate::config::monitor::{Body, Definition, Group, PortRule, quorum};
use crate::model::heartbeat::{DEFAULT_BEAT, MAX_BEAT, MAX_PHI, MIN_BEAT};
use crate::model::monitor::bounds::MAX_RUN;
use crate::model::{HeartbeatSpec, Monitor, ProbeKind};

keys! {
    /// The keys of a heartbeat, without `quorum`.
    HeartbeatKeys {
        /// how long a beat without a `ttl` of its own counts, and the longest `ttl` that a beat may have; 100 ms to 1
        /// h. `rto` is computed with it
        ttl: Duration = duration(MIN_BEAT..=MAX_BEAT, "\"5s\""), note "`\"5s\"`; a beat may then have up to `\"1h\"`";
        /// ends a beat before its ttl when the next one is overdue; a higher number waits longer, 1 to 16; see below
        phi: u32 = integer(1..=MAX_PHI.into());
        /// the endpoint is up again after this many beats in a row, each within the ttl of the one before
        rise: u32 = integer(1..=MAX_RUN.into()), default 1;
        /// as above
        hold_down: Duration = hold_down(), default Duration::ZERO;
        /// as above, with a third of `ttl` as the interval: when beats stop twice within about 6 ttls, the endpoint is
        /// held down. A goodbye doesn't count, so a planned restart has no penalty
        damping: bool = boolean(), default true;
    }
}

keys! {
    /// The quorum of a heartbeat.
    QuorumKey {
        /// how many vantages must see the endpoint as down, where there are several (with one it has no effect, which
        /// `check` notes); see [below](#several-vantages)
        quorum: QuorumKeys = quorum::kind(), note "majorities";
    }
}

/// Keys of probes, and why a heartbeat has none of them.
const OF_PROBES: [(&str, &str); 5] = [
    ("port", "nothing is sent"),
    ("interval", "the service decides how often it beats"),
    ("timeout", "how long a beat lasts is `ttl`"),
    ("fall", "the end of one ttl is down at once"),
    ("hold", "there is no connection"),
];

pub(super) const HEARTBEAT: Definition = Definition {
    groups: &[Group::of::<HeartbeatKeys>(), Group::of::<QuorumKey>()],
    port: PortRule::Without,
    can_hold: false,
    read: |fields, problems| {
        let keys = HeartbeatKeys::take(fields, problems);
        let quorum = quorum::rule(QuorumKey::take(fields, problems).quorum);
        let (ttl, phi) = (keys.ttl.map(|ttl| ttl.value), keys.phi.map(|phi| phi.value));
        let longest = ttl.unwrap_or(MAX_BEAT);
        let ttl = ttl.unwrap_or(DEFAULT_BEAT);
        let (rise, hold_down, damping) = (*keys.rise, *keys.hold_down, *keys.damping);
        let spec = HeartbeatSpec { zone: String::new(), endpoint: String::new(), ttl, longest, phi };
        let (interval, timeout, fall) = (longest, longest, 1);
        let monitor = Monitor::new(ProbeKind::Heartbeat(spec));
        Some(Body::Probe(Monitor { interval, timeout, fall, rise, hold_down, damping, quorum, ..monitor }.into(), None))
    },
    refuse: |key| {
        let (_, why) = OF_PROBES.iter().find(|(known, _)| *known == key)?;
        Some(("which heartbeat monitors don't have".to_owned(), format!("leave it out: {why}")))
    },
};
