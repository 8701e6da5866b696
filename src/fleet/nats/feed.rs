//! A set of subscriptions that changes, read as one.

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;

use crate::fleet::nats::{Nats, NatsMessage};

/// The messages of some subjects.
pub struct NatsFeed {
    nats: Nats,
    subscriptions: SelectAll<Subscriber>,
}

impl NatsFeed {
    /// A feed without subjects.
    pub fn new(nats: Nats) -> NatsFeed {
        NatsFeed { nats, subscriptions: SelectAll::new() }
    }

    /// Reads these subjects, and no longer those from before. What has arrived and was not read is lost. `None` after
    /// the end of the connection.
    pub async fn subscribe(&mut self, subjects: Vec<String>) -> Option<()> {
        self.subscriptions = SelectAll::new();
        for subject in subjects {
            self.subscriptions.push(self.nats.subscribe(subject).await?.into_inner());
        }
        Some(())
    }

    /// The next message. Waits for ever while there are no subjects. `None` after the end of the connection.
    pub async fn next(&mut self) -> Option<NatsMessage> {
        if self.subscriptions.is_empty() {
            return std::future::pending().await;
        }
        self.subscriptions.next().await.map(NatsMessage::from)
    }
}
