//! What a sink sends to: one of the types of receivers.

use crate::config::{NatsSinkSettings, SinkReceiver, SinkSettings};
use crate::sinks::nats::{NatsRoute, NatsSink};
use crate::sinks::webhook::Webhook;
use crate::sinks::{OutgoingEvent, SendFailure};

/// A receiver with its connections.
pub enum Outlet {
    /// An HTTP server.
    Webhook(Box<Webhook>),
    /// A stream of JetStream.
    Nats(Box<NatsSink>),
}

impl Outlet {
    /// Opens nothing yet. `route` makes the way to a subject of NATS.
    pub fn new(settings: &SinkSettings, route: impl FnOnce(&NatsSinkSettings) -> NatsRoute) -> Outlet {
        let timeout = settings.timeout;
        match &settings.to {
            SinkReceiver::Webhook(to) => Outlet::Webhook(Box::new(Webhook::new(to, timeout, settings.concurrency))),
            SinkReceiver::Nats(to) => Outlet::Nats(Box::new(NatsSink::new(route(to), timeout))),
        }
    }

    /// Sends one event. Ends within twice the time-out.
    pub async fn send(&self, event: &OutgoingEvent) -> Result<(), SendFailure> {
        match self {
            Outlet::Webhook(webhook) => webhook.send(event).await,
            Outlet::Nats(nats) => nats.send(event).await,
        }
    }

    /// Waits until the receiver is known to be there again, after it was away. For ever where only a try shows that.
    pub async fn is_back(&self) {
        match self {
            Outlet::Webhook(_) => std::future::pending().await,
            Outlet::Nats(nats) => nats.connected_again().await,
        }
    }
}
