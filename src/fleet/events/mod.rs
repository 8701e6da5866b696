//! The events of the fleet: each server writes its numbered events into one stream of JetStream, and every server reads
//! the stream. The log of a server is the source; the stream follows it. Pure.
//!
//! - [`CloudEvent`] is the form of an event in the stream.
//! - [`EventOutbox`] decides what a server writes next, and which number its next event has.
//! - [`EventArchive`] is what a server has read: the last events of all nodes, and where a client resumes.

mod archive;
mod cloud_event;
mod cursor;
mod outbox;
mod override_data;
#[cfg(test)]
mod tests;

pub use archive::{ArchivedEvent, EventArchive, LostEvents, MissedEvents, NodeEvents};
pub use cloud_event::{
    BATCH, CheckedEvent, CloudEvent, EventData, EventId, EventKind, EventRefusal, MAX_NUMBER, ONE, SOURCE_PREFIX,
    SPEC_VERSION, events_of, message_of, rfc3339, source_of,
};
pub use cursor::EventCursor;
pub use outbox::{EventOutbox, LogRange, OutboxStep, StoredEvent};
pub use override_data::OverrideData;

/// The stream discards events that are older, in seconds: a week (judgment: an outage is looked into within days).
pub const MAX_AGE_SECS: u64 = 7 * 24 * 3600;
/// Most octets of the stream: some 150,000 events of 400 octets each (judgment).
pub const MAX_STREAM_OCTETS: u64 = 64 << 20;
/// Most messages of the stream; a message has one event or more (judgment).
pub const MAX_STREAM_MESSAGES: u64 = 200_000;
/// Most events of one message. Each message waits for its reply, which takes half a second over continents: so the
/// 2,000 events of the death of a region are in the stream within seconds.
pub const MAX_IN_MESSAGE: usize = 200;
/// A gap in the numbers of a node that no events have filled: the node began anew with numbers from the time, because
/// it had lost its log and could not read the stream.
pub const NEW_NUMBERING: u64 = 1 << 30;
/// Largest message, in octets: well under the payload of 1 MiB that a NATS server accepts by default.
pub const MAX_MESSAGE: usize = 256 << 10;
