//! Sinks: where events go that other systems follow. Each sink gets every event of this server at least once, those of
//! one endpoint in their order. A sink that is away holds up nobody: its events stay in the log of events, and are sent
//! when it is back.
//!
//! - [`Delivery`] decides which event is sent next. Pure.
//! - [`SendFailure`] is why an event was not taken, and `backoff` how long to wait then. Pure.
//! - [`SinkNotices`] decides what the log says. Pure.
//! - [`Webhook`] is the connection to an HTTP receiver.
//!
//! The daemon has a task for each sink, which reads the log and stores the position.

mod backoff;
mod delivery;
mod failure;
mod notices;
mod report;
mod webhook;

pub use delivery::{Delivery, DeliveryLimits, EndedTry, HeldUp, LostNumbers, SinkPosition};
pub use failure::{FailureKind, SendFailure};
pub use notices::{SinkNotice, SinkNotices, SinkSummary};
pub use report::{DeadLetter, LostRange, SinkBoard, SinkError, SinkReport, SinkState, WaitingEvents};
#[cfg(test)]
pub(crate) use webhook::test_receiver;
pub use webhook::{OutgoingEvent, Webhook};
