//! Sinks: where events go that other systems follow. Each sink gets every event of this server at least once, those of
//! one endpoint in their order. A sink that is away holds up nobody: its events stay in the log of events, and are sent
//! when it is back.
//!
//! - [`Delivery`] decides which event is sent next. Pure.
//! - [`SendFailure`] is why an event was not taken, and `backoff` how long to wait then. Pure.
//! - [`SinkNotices`] decides what the log says. Pure.
//! - [`Outlet`] is the receiver: [`Webhook`] has the connections to an HTTP server, [`NatsSink`] that to NATS, and
//!   `KafkaSink` that to Kafka.
//!
//! The daemon has a task for each sink, which reads the log and stores the position.

mod backoff;
mod delivery;
mod failure;
#[cfg(feature = "kafka")]
mod kafka;
mod nats;
mod notices;
mod outlet;
mod report;
mod webhook;

use bytes::Bytes;

pub use delivery::{Delivery, DeliveryLimits, EndedTry, HeldUp, LostNumbers, SinkPosition};
pub use failure::{FailureKind, SendFailure};
pub use nats::{NatsRoute, NatsSink};
pub use notices::{SinkNotice, SinkNotices, SinkSummary};
pub use outlet::Outlet;
pub use report::{DeadLetter, LostRange, SinkBoard, SinkError, SinkReport, SinkState, WaitingEvents};
pub use webhook::Webhook;
#[cfg(test)]
pub(crate) use webhook::test_receiver;

/// An event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingEvent {
    /// What is the same for all tries, and different for all events of a node: NODE/NUMBER without dots.
    pub id: String,
    /// The endpoint that it is about; empty: none.
    pub subject: String,
    /// When it was, in Unix milliseconds: a node that has lost its log begins again with its numbers.
    pub at_millis: u64,
    /// The CloudEvent in JSON.
    pub body: Bytes,
}
