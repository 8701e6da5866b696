//! Decides what a server writes into the stream next.
//!
//! The stream itself has the number of the last event that it took from this node, so nothing about it is saved here: a
//! server that starts, or that does not know whether a message was stored, reads that number first. Each message is
//! written only over the last message of the node that the server knows (`Nats-Expected-Last-Subject-Sequence`). So the
//! stream has the events of a node in their order and each once, also when replies are lost.

use crate::fleet::events::NEW_NUMBERING;

/// What the log of a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// The log has no event with this number or a lower one any more.
    pub floor: u64,
    /// The number of the last event.
    pub last: u64,
    /// The stream would discard the events up to this number at once: they are too old for it.
    pub expired: u64,
}

/// The last message of a node in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredEvent {
    /// The number of its last event.
    pub number: u64,
    /// Its sequence in the stream.
    pub sequence: u64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxStep {
    /// Read the last message of this node from the stream, and call [`EventOutbox::learned`].
    Read,
    /// Write that the numbers from the first to the second one are lost; `expected` is the sequence of the last message
    /// of this node. Then call [`EventOutbox::stored_lost`].
    SendLost((u64, u64), u64),
    /// Write events of the log after this number, in their order. Then call [`EventOutbox::stored`] with the number of
    /// the last one of them.
    Send {
        /// The number before the first event.
        after: u64,
        /// The sequence of the last message of this node; 0 without one.
        expected: u64,
    },
    /// Wait for the next event.
    Wait,
}

/// Where a server is with its events.
#[derive(Debug, Default)]
pub struct EventOutbox {
    /// The last message of this node; `None`: unknown.
    stored: Option<StoredEvent>,
    /// The number of the last event that is known to be in the stream, or that will never come into it.
    acknowledged: u64,
    lost: u64,
}

impl EventOutbox {
    /// What to do.
    pub fn next(&self, log: LogRange) -> OutboxStep {
        match self.stored {
            None => OutboxStep::Read,
            Some(StoredEvent { number, .. }) if number >= log.last => OutboxStep::Wait,
            Some(StoredEvent { number, sequence }) if number < log.floor && log.floor - number < NEW_NUMBERING => {
                OutboxStep::SendLost((number + 1, log.floor), sequence)
            }
            Some(StoredEvent { number, sequence }) => OutboxStep::Send { after: number, expected: sequence },
        }
    }

    /// The last message of this node in the stream was read; `None`: there is none. A result is the number after which
    /// the node has to continue, because the stream is ahead of the log: the state directory was lost, or is an old
    /// copy.
    pub fn learned(&mut self, found: Option<StoredEvent>, log: LogRange) -> Option<u64> {
        // Without a message: the stream is new, or has discarded the events of this node because they are too old.
        let without = || StoredEvent { number: log.floor.max(log.expired).min(log.last), sequence: 0 };
        let stored = found.unwrap_or_else(without);
        self.stored = Some(stored);
        self.acknowledged = stored.number;
        (stored.number > log.last).then_some(stored.number)
    }

    /// A message was stored with this sequence; `number` is that of its last event.
    pub fn stored(&mut self, number: u64, sequence: u64) {
        self.stored = Some(StoredEvent { number, sequence });
        self.acknowledged = number;
    }

    /// The numbers of this range are in the stream as lost.
    pub fn stored_lost(&mut self, (first, last): (u64, u64), sequence: u64) {
        self.lost = self.lost.saturating_add(last - first + 1);
        self.stored(last, sequence);
    }

    /// Another message of this node is the last one, or it is unknown whether a message was stored.
    pub fn unknown(&mut self) {
        self.stored = None;
    }

    /// The number of the last event that is known to be in the stream.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How many events the log no longer had when the stream could be written again.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
