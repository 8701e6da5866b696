//! The keys of a heartbeat monitor. Nothing is sent, so most keys of the others mean nothing here and are refused.

use std::time::Duration;

use crate::config::fields::Fields;
use crate::config::problem::Problems;
use crate::config::source::{At, Place};
use crate::config::spec::MonitorSpec;
use crate::model::heartbeat::{DEFAULT_BEAT, MAX_BEAT, MAX_PHI, MIN_BEAT};

/// What a heartbeat monitor says of its beats.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct HeartbeatKeys {
    /// How long a beat lasts that doesn't say.
    pub(in crate::config) ttl: Duration,
    /// The longest that a beat may last.
    pub(in crate::config) longest: Duration,
    /// The threshold of suspicion, where the rhythm counts.
    pub(in crate::config) phi: Option<u32>,
}

/// Keys that are about probes, and why a heartbeat has none of them.
const OF_PROBES: [(&str, &str); 5] = [
    ("port", "nothing is sent"),
    ("interval", "the service decides how often it beats"),
    ("timeout", "how long a beat lasts is `ttl`"),
    ("fall", "the end of one ttl is down at once"),
    ("hold", "there is no connection"),
];

/// What is written of heartbeats and of probes.
pub(super) struct Written {
    ttl: Option<At<Duration>>,
    phi: Option<At<i64>>,
    of_probes: Vec<(&'static str, &'static str, Place)>,
    has_rise: bool,
}

/// To be called before the keys of probes are read.
pub(super) fn read(fields: &mut Fields, problems: &mut Problems) -> Written {
    let of_probes = OF_PROBES.into_iter().filter_map(|(key, why)| Some((key, why, fields.place_of(key)?))).collect();
    let has_rise = fields.has("rise");
    let ttl = fields.duration("ttl", MIN_BEAT..=MAX_BEAT, "\"5s\"", problems);
    let phi = fields.integer("phi", 1..=i64::from(MAX_PHI), problems);
    Written { ttl, phi, of_probes, has_rise }
}

impl Written {
    /// For a heartbeat monitor.
    pub(super) fn of_heartbeat(&self, what: &str, problems: &mut Problems) -> HeartbeatKeys {
        for (key, why, place) in &self.of_probes {
            let problem = problems.error(place, format!("{what} has `{key}`, which heartbeat monitors don't have"));
            problem.hint(format!("leave it out: {why}"));
        }
        let ttl = self.ttl.as_ref().map(|ttl| ttl.value);
        let phi = self.phi.as_ref().map(|phi| phi.value as u32);
        HeartbeatKeys { ttl: ttl.unwrap_or(DEFAULT_BEAT), longest: ttl.unwrap_or(MAX_BEAT), phi }
    }

    /// For a monitor of another type.
    pub(super) fn of_other(&self, what: &str, problems: &mut Problems) {
        let places = [("ttl", self.ttl.as_ref().map(|at| &at.place)), ("phi", self.phi.as_ref().map(|at| &at.place))];
        for (key, place) in places.into_iter().filter_map(|(key, place)| Some((key, place?))) {
            problems.error(place, format!("{what} has `{key}`, which only heartbeat monitors have"));
        }
    }

    /// Gives a heartbeat monitor the numbers that follow from its ttl, and 1 as the default of `rise`.
    pub(super) fn shape(&self, mut monitor: MonitorSpec) -> MonitorSpec {
        if let Some(longest) = monitor.heartbeat().map(|keys| keys.longest) {
            (monitor.interval, monitor.timeout, monitor.fall) = (longest, longest, 1);
            monitor.rise = if self.has_rise { monitor.rise } else { 1 };
        }
        monitor
    }
}
