//! The events of all servers of the fleet, as this server has read them from the stream: the daemon adds them, the
//! clients of `/v1/events?fleet=true` follow them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::control::journal::MAX_BEHIND;
use crate::fleet::events::{ArchivedEvent, EventArchive, EventCursor, LostEvents};

/// The events of the fleet.
#[derive(Debug)]
pub struct FleetEvents {
    archive: Mutex<EventArchive>,
    reading: Mutex<Reading>,
    sender: broadcast::Sender<Arc<ArchivedEvent>>,
}

/// Whether the stream can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Whether it was read to its end at some time.
    pub(crate) has_read: bool,
    /// Why it can't be read now.
    pub(crate) problem: Option<String>,
}

/// What a client receives that connects.
pub(super) struct FleetSubscription {
    /// Events after its cursor that can't be had any more.
    pub(super) lost: LostEvents,
    /// Nodes whose last events, with these numbers, are before its cursor.
    pub(super) unknown: BTreeMap<Arc<str>, u64>,
    /// Where the client is before the first event.
    pub(super) cursor: EventCursor,
    /// The events after its cursor.
    pub(super) missed: Vec<Arc<ArchivedEvent>>,
    /// All later events.
    pub(super) incoming: broadcast::Receiver<Arc<ArchivedEvent>>,
}

impl Default for FleetEvents {
    fn default() -> FleetEvents {
        FleetEvents { archive: Mutex::default(), reading: Mutex::default(), sender: broadcast::channel(MAX_BEHIND).0 }
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
                FleetSubscription { lost, unknown: BTreeMap::new(), cursor, missed: Vec::new(), incoming }
            }
            Some(mut cursor) => {
                // While the stream can't be read, the client may have newer events from another server.
                let is_current = self.reading().problem.is_none();
                let unknown = if is_current { archive.correct(&mut cursor) } else { BTreeMap::new() };
                let missed = archive.after(&cursor);
                FleetSubscription { lost: missed.lost, unknown, cursor, missed: missed.events, incoming }
            }
        }
    }

    /// Takes over how a read of the stream ended. Returns whether the problem is a new one.
    pub(crate) fn note_read(&self, problem: Option<&str>) -> bool {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = problem.is_some() && reading.problem.as_deref() != problem;
        reading.problem = problem.map(str::to_owned);
        reading.has_read |= problem.is_none();
        is_new
    }

    /// Whether the stream can be read.
    pub(crate) fn reading(&self) -> Reading {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was read, for the status.
    pub(crate) fn archive(&self) -> MutexGuard<'_, EventArchive> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
