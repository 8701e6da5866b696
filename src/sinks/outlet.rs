//! What a sink sends to: one of the types of receivers.

use crate::config::{NatsSinkSettings, SinkReceiver, SinkSettings};
#[cfg(feature = "kafka")]
use crate::sinks::kafka::KafkaSink;
use crate::sinks::nats::{NatsRoute, NatsSink};
use crate::sinks::webhook::Webhook;
use crate::sinks::{OutgoingEvent, SendFailure};

/// A receiver with its connections.
pub enum Outlet {
    /// An HTTP server.
    Webhook(Box<Webhook>),
    /// A stream of JetStream.
    Nats(Box<NatsSink>),
    /// A topic of Kafka.
    #[cfg(feature = "kafka")]
    Kafka(Box<KafkaSink>),
    /// A receiver that this program was built without. `config` refuses its type, so no sink has it.
    #[cfg(not(feature = "kafka"))]
    NotBuilt,
}

impl Outlet {
    /// Opens nothing yet. `route` makes the way to a subject of NATS.
    pub fn new(settings: &SinkSettings, route: impl FnOnce(&NatsSinkSettings) -> NatsRoute) -> Outlet {
        let timeout = settings.timeout;
        match &settings.to {
            SinkReceiver::Webhook(to) => Outlet::Webhook(Box::new(Webhook::new(to, timeout, settings.concurrency))),
            SinkReceiver::Nats(to) => Outlet::Nats(Box::new(NatsSink::new(route(to), timeout))),
            #[cfg(feature = "kafka")]
            SinkReceiver::Kafka(to) => Outlet::Kafka(Box::new(KafkaSink::new(to, timeout))),
            #[cfg(not(feature = "kafka"))]
            SinkReceiver::Kafka(_) => Outlet::NotBuilt,
        }
    }

    /// Sends one event. Ends within twice the time-out.
    pub async fn send(&self, event: &OutgoingEvent) -> Result<(), SendFailure> {
        match self {
            Outlet::Webhook(webhook) => webhook.send(event).await,
            Outlet::Nats(nats) => nats.send(event).await,
            #[cfg(feature = "kafka")]
            Outlet::Kafka(kafka) => kafka.send(event).await,
            #[cfg(not(feature = "kafka"))]
            Outlet::NotBuilt => Err(SendFailure::away("this program was built without it", "use another build")),
        }
    }

    /// Waits until the receiver is known to be there again, after it was away. For ever where only a try shows that.
    pub async fn is_back(&self) {
        match self {
            Outlet::Webhook(_) => std::future::pending().await,
            #[cfg(feature = "kafka")]
            Outlet::Kafka(_) => std::future::pending().await,
            #[cfg(not(feature = "kafka"))]
            Outlet::NotBuilt => std::future::pending().await,
            Outlet::Nats(nats) => nats.connected_again().await,
        }
    }
}
