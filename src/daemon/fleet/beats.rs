//! The task of heartbeats between servers. A service sends its heartbeat to one server, which passes it on; the ttl
//! counts on each server from the moment when that one receives it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::{BeatGate, EndpointIndex, RelayBeat, heartbeats};
use crate::daemon::fleet::board::Board;
use crate::fleet::BeatMessage;
use crate::fleet::nats::Nats;
use crate::health::{Beat, BeatSender, Sign};
use crate::model::{CheckKey, HeartbeatSpec, Model, Moment};
use crate::snapshot::Snapshot;

/// Passes the heartbeats that this server receives on to the others.
pub(super) fn relay(nats: &Nats) -> RelayBeat {
    let nats = nats.clone();
    Arc::new(move |beat: &Beat| {
        let Some(spec) = beat.key.monitor.kind.heartbeat() else { return };
        let message = BeatMessage { zone: spec.zone.clone(), endpoint: spec.endpoint.clone(), sign: beat.sign };
        if let Some(octets) = message.encode() {
            nats.publish(nats.subjects().beat(), octets.into());
        }
    })
}

/// Receives the heartbeats of other servers. NATS does not send a server its own ones (`no_echo`).
pub(super) struct BeatTask {
    pub(super) nats: Nats,
    pub(super) beats: BeatSender,
    pub(super) snapshots: Arc<ArcSwap<Snapshot>>,
    pub(super) board: Arc<Board>,
    pub(super) gate: BeatGate,
}

impl BeatTask {
    pub(super) async fn run(self, stop: CancellationToken) {
        let Some(mut messages) = self.nats.subscribe(self.nats.subjects().beat()).await else { return };
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = messages.next() => message,
            };
            let Some(message) = message else { return };
            let is_used = BeatMessage::decode(&message.payload).is_ok_and(|beat| self.take(&beat));
            if !is_used {
                self.board.refused_beats.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Passes a heartbeat to the checks of its endpoint. `false`: there is none, its ttl is over the longest, or the
    /// endpoint beats too often.
    fn take(&self, message: &BeatMessage) -> bool {
        let snapshot = self.snapshots.load();
        let index = self.gate.index(&snapshot.model);
        let checks = checks_for(&snapshot.model, &index, message, clock::now());
        // Where too many wait, the service sends the next one soon.
        let sent = checks.into_iter().map(|key| self.beats.send(&Beat { key, sign: message.sign }));
        sent.filter(Result::is_ok).count() > 0
    }
}

/// The checks that a heartbeat of another server is for. It counts once for its endpoint.
fn checks_for(model: &Model, index: &EndpointIndex, message: &BeatMessage, now: Moment) -> Vec<Arc<CheckKey>> {
    let is_for = |spec: &HeartbeatSpec| {
        let is_short = match message.sign {
            Sign::Alive { ttl } => ttl <= spec.longest,
            Sign::Goodbye => true,
        };
        is_short && spec.zone == message.zone
    };
    let mut all = Vec::new();
    for (position, endpoint) in index.named(model, &message.endpoint) {
        let checks = heartbeats(model, endpoint).into_iter().filter(|(_, spec)| is_for(spec));
        let checks: Vec<Arc<CheckKey>> = checks.map(|(key, _)| Arc::clone(key)).collect();
        if !checks.is_empty() && index.take(position, &message.sign, now).is_ok() {
            all.extend(checks);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::test_world;
    use crate::model::{Check, Digested, Monitor, ProbeKind, ProbeTarget};

    #[test]
    fn a_heartbeat_counts_for_each_check_that_allows_its_ttl() {
        // fra1 has two heartbeat checks: one of at most 5 s, and one of at most a minute.
        let check = |secs| {
            let longest = Duration::from_secs(secs);
            let (zone, endpoint) = ("svc.example.".to_owned(), "fra1".to_owned());
            let spec = HeartbeatSpec { zone, endpoint, ttl: longest, longest, phi: None };
            let monitor = Digested::new(Monitor::new(ProbeKind::Heartbeat(spec)));
            Check::new(Arc::new(CheckKey { monitor, target: ProbeTarget::Nowhere }))
        };
        let mut model = test_world::model();
        (model.checks[0], model.checks[1]) = (check(5), check(60));
        let model = Arc::new(model);
        let index = BeatGate::default().index(&model);
        let checks = |zone: &str, sign| {
            let message = BeatMessage { zone: zone.to_owned(), endpoint: "fra1".to_owned(), sign };
            checks_for(&model, &index, &message, Moment::START).len()
        };
        let alive = |secs| Sign::Alive { ttl: Duration::from_secs(secs) };
        for (sign, count) in [(alive(5), 2), (alive(60), 1), (alive(61), 0), (Sign::Goodbye, 2)] {
            assert_eq!(checks("svc.example.", sign), count, "{sign:?}");
        }
        assert_eq!(checks("other.example.", alive(5)), 0);
    }
}
