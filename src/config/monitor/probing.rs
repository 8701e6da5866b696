//! The keys that all probes have, and the two types without other keys: `icmp` and `tcp`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::fields::Fields;
use crate::config::keys::{KeyGroup as _, KeyKind as _, boolean, custom, duration, integer, keys};
use crate::config::monitor::quorum::QuorumKeys;
use crate::config::monitor::{Body, Definition, Group, PortRule, quorum};
use crate::config::node::{Kind, Node};
use crate::model::monitor::DEFAULT_TIMEOUT;
use crate::model::monitor::bounds::{MAX_HOLD_DOWN, MAX_INTERVAL, MAX_RUN, MIN_INTERVAL, MIN_TIMEOUT};
use crate::model::timing::adaptive_ceiling;
use crate::model::{Monitor, ProbeKind};
use crate::source::{At, Problems};

keys! {
    /// The keys of everything that probes.
    Probing {
        /// the probed port. tcp and grpc need one, here or in the endpoint's `probe`; an exec program gets it in its
        /// environment; icmp has none
        port: u16 = integer(1..=65_535), note "80 for http, 443 for https and tls, 53 for dns";
        /// from one probe's start to the next, 50 ms to a day
        interval: Duration = duration(MIN_INTERVAL..=MAX_INTERVAL, "\"1s\""), default Duration::from_secs(1);
        /// a probe that takes longer has failed. `"adaptive"`: follows the measured round-trip time, see below
        timeout: Timeout = custom(timeout, timeout_schema).shown_as(|_| json!("500ms")),
            default Timeout::Fixed(DEFAULT_TIMEOUT);
        /// the endpoint is down after this many failures, unless `rise` successes in a row come between them; 1 to
        /// 100. After the first failure, the probes that verify it follow at once
        fall: u32 = integer(1..=MAX_RUN.into()), default 3;
        /// the endpoint is up again after this many successes in a row; 1 to 100
        rise: u32 = integer(1..=MAX_RUN.into()), default 2;
        /// a check that goes up and down repeatedly is held down, see below
        damping: bool = boolean(), default true;
        /// the endpoint stays up or down for at least this time before it changes again, up to an hour. Failures and
        /// successes are counted in this time too
        hold_down: Duration = hold_down(), default Duration::ZERO;
        /// tcp, tls, http and https: keep an idle connection open; when it ends, probes verify at once whether the
        /// endpoint is down; see [below](#held-connections)
        hold: bool = boolean(), default false;
        /// how many vantages must see the endpoint as down, where there are several (with one it has no effect, which
        /// `check` notes); see [below](#several-vantages)
        quorum: QuorumKeys = quorum::kind(), note "majorities";
    }
}

/// How long a probe may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum Timeout {
    Fixed(Duration),
    Adaptive,
}

/// `hold_down` of a type of monitor.
pub(super) fn hold_down() -> impl crate::config::keys::KeyKind<Value = Duration> {
    duration(Duration::ZERO..=MAX_HOLD_DOWN, "\"10s\"")
}

pub(super) const ICMP: Definition = Definition {
    port: PortRule::Without,
    ..Definition::probe(&[Group::of::<Probing>()], |fields, problems| {
        let body = body(fields, Some(ProbeKind::Icmp), problems);
        if let Some(Body::Probe(_, Some(port))) = &body {
            let message = format!("{} has `port`, which icmp monitors don't have", fields.head().what());
            problems.error(&port.place, message).hint("leave it out");
        }
        body
    })
};

pub(super) const TCP: Definition = Definition {
    can_hold: true,
    ..Definition::probe(&[Group::of::<Probing>()], |fields, problems| body(fields, Some(ProbeKind::Tcp), problems))
};

/// Reads the keys of a probe of this kind.
pub(super) fn body(fields: &mut Fields, kind: Option<ProbeKind>, problems: &mut Problems) -> Option<Body> {
    let keys = Probing::take(fields, problems);
    let interval = *keys.interval;
    let (timeout, adaptive) = match *keys.timeout {
        Timeout::Fixed(timeout) => (timeout, false),
        Timeout::Adaptive => (adaptive_ceiling(interval), true),
    };
    if let Some(place) = keys.timeout.place.as_ref().filter(|_| !adaptive && timeout > interval) {
        let [long, short] = [timeout, interval].map(humantime::format_duration);
        let problem = problems.warning(place, format!("`timeout` ({long}) is longer than `interval` ({short})"));
        if let Some(place) = &keys.interval.place {
            problem.label(place, "`interval`");
        }
        problem.hint("the next probe is then due before this one has ended: shorten `timeout`");
    }
    let (fall, rise, hold_down) = (*keys.fall, *keys.rise, *keys.hold_down);
    let (damping, hold, quorum) = (*keys.damping, *keys.hold, quorum::rule(keys.quorum));
    let monitor = Monitor { kind: kind?, interval, timeout, adaptive, fall, rise, hold_down, damping, hold, quorum };
    Some(Body::Probe(monitor.into(), keys.port))
}

fn timeout_schema() -> Json {
    json!({ "anyOf": [{ "type": "string", "enum": ["adaptive"] }, length().schema()] })
}

fn length() -> impl crate::config::keys::KeyKind<Value = Duration> {
    duration(MIN_TIMEOUT..=MAX_INTERVAL, "\"500ms\"")
}

fn timeout(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Timeout> {
    if matches!(&node.kind, Kind::Text(word) if word == "adaptive") {
        return Some(Timeout::Adaptive);
    }
    length().read(key, node, problems).map(Timeout::Fixed)
}
