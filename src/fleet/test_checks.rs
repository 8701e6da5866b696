//! Checks and observations for the tests of reports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::message::CheckHash;
use crate::health::Observation;
use crate::model::{CheckKey, Doubt, Health, Moment, Monitor, ProbeKind, ProbeTarget};
use crate::placing::mix;

/// A boot id.
pub(crate) const BOOT: u64 = 7;

/// The check of the nth endpoint: a TCP handshake.
pub(crate) fn key(nth: usize) -> Arc<CheckKey> {
    let [_, _, high, low] = (nth as u32 % 65_536).to_be_bytes();
    let port = 80 + (nth / 65_536) as u16;
    let target = ProbeTarget::Socket(SocketAddr::from(([10, 0, high, low], port)));
    Arc::new(CheckKey { monitor: Monitor::new(ProbeKind::Tcp).into(), target })
}

/// Its hash: the numbers are spread as random ones.
pub(crate) fn hash(nth: usize) -> CheckHash {
    CheckHash(mix(nth as u64))
}

/// The first `count` checks.
pub(crate) fn plan(count: usize) -> Vec<(CheckHash, Arc<CheckKey>)> {
    (0..count).map(|nth| (hash(nth), key(nth))).collect()
}

/// What a prober observes of a check: 40 ms away if it is up.
pub(crate) fn observation(key: &Arc<CheckKey>, health: Health, now: Moment) -> Observation {
    let is_up = health == Health::Up;
    Observation {
        key: Arc::clone(key),
        health,
        tried: true,
        srtt: is_up.then_some(Duration::from_micros(40_123)),
        rttvar: is_up.then_some(Duration::from_millis(2)),
        probed_at: Some(now - Duration::from_millis(500).min(now.from_first())),
        may_change_in: Duration::from_millis(2500),
        why: (!is_up).then(|| "no answer within 500 ms".into()),
        hold: None,
        doubt: Doubt::None,
        state: None,
    }
}
