//! The task of heartbeats between servers. A service sends its heartbeat to one server, which passes it on; the ttl
//! counts on each server from the moment when that one receives it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::{BeatGate, RelayBeat};
use crate::daemon::fleet::board::Board;
use crate::fleet::BeatMessage;
use crate::fleet::nats::Nats;
use crate::health::{Beat, BeatSender, Sign};
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
        let mut is_used = false;
        for (position, endpoint) in index.named(&message.endpoint) {
            let checks = index.heartbeats(endpoint).into_iter().filter(|(_, spec)| spec.zone == message.zone);
            for (nth, (key, spec)) in checks.enumerate() {
                let is_short = match message.sign {
                    Sign::Alive { ttl } => ttl <= spec.longest,
                    Sign::Goodbye => true,
                };
                // One message counts once for all checks of its endpoint.
                if !is_short || (nth == 0 && index.take(position, clock::now()).is_err()) {
                    break;
                }
                // Where too many wait, the service sends the next one soon.
                is_used |= self.beats.send(&Beat { key: Arc::clone(key), sign: message.sign }).is_ok();
            }
        }
        is_used
    }
}
