//! The events of all servers of the fleet, as this server has read them from the stream: the daemon adds them, the
//! clients of `/v1/events?fleet=true` follow them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::control::journal::MAX_BEHIND;
use crate::fleet::events::{ArchivedEvent, EventArchive, EventCursor, LostEvents};

/// The events of the fleet.
#[derive(Debug)]
pub struct FleetEvents {
    archive: Mutex<EventArchive>,
    sender: broadcast::Sender<Arc<ArchivedEvent>>,
}

/// What a client receives that connects.
pub(super) struct FleetSubscription {
    /// Events after its cursor that can't be had any more.
    pub(super) lost: LostEvents,
    /// Where the client is before the first event.
    pub(super) cursor: EventCursor,
    /// The events after its cursor.
    pub(super) missed: Vec<Arc<ArchivedEvent>>,
    /// All later events.
    pub(super) incoming: broadcast::Receiver<Arc<ArchivedEvent>>,
}

impl Default for FleetEvents {
    fn default() -> FleetEvents {
        FleetEvents { archive: Mutex::default(), sender: broadcast::channel(MAX_BEHIND).0 }
    }
}

impl FleetEvents {
    /// Takes a message of the stream, which `node` has written as its subject says.
    pub(crate) fn take(&self, node: &str, payload: &[u8]) {
        let mut archive = self.archive();
        for event in archive.take(node, payload) {
            // Sending fails if nobody subscribes, which is no error.
            let _ = self.sender.send(event);
        }
    }

    /// The events after a cursor, or without one those after this call.
    pub(super) fn follow(&self, cursor: Option<EventCursor>) -> FleetSubscription {
        let archive = self.archive();
        let incoming = self.sender.subscribe();
        match cursor {
            None => {
                let (lost, cursor) = (LostEvents::default(), archive.cursor());
                FleetSubscription { lost, cursor, missed: Vec::new(), incoming }
            }
            Some(cursor) => {
                let missed = archive.after(&cursor);
                FleetSubscription { lost: missed.lost, cursor, missed: missed.events, incoming }
            }
        }
    }

    /// What was read, for the status.
    pub(crate) fn archive(&self) -> MutexGuard<'_, EventArchive> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
