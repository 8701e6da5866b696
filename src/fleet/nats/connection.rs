//! The connection of a node to the NATS servers of its fleet: a [`NatsLink`], with the names of the fleet.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::FleetSettings;
use crate::fleet::nats::link::{ConnectError, LinkSettings, NatsLink};
use crate::fleet::nats::{NatsUse, Subjects};

/// A connection to the NATS servers of a fleet. Clones share it.
#[derive(Clone)]
pub struct Nats {
    link: NatsLink,
    node: Arc<str>,
    subjects: Arc<Subjects>,
    replicas: Option<u32>,
    servers: usize,
    /// Counts the writes of this node into buckets.
    written: Arc<watch::Sender<u64>>,
}

impl Deref for Nats {
    type Target = NatsLink;

    /// The connection itself.
    fn deref(&self) -> &NatsLink {
        &self.link
    }
}

impl Nats {
    /// Begins to connect. Must be called within a tokio runtime, on whose threads the connection runs. An error is one
    /// of the settings.
    pub async fn connect(settings: &FleetSettings, node: &str, for_what: NatsUse) -> Result<Nats, ConnectError> {
        let subjects = Subjects::of(&settings.cluster);
        let (servers, name, inbox) = (&settings.nats, for_what.name(node), subjects.inbox(node));
        let link = NatsLink::open(LinkSettings { servers, name, inbox, for_what }).await;
        Ok(Nats {
            link: link.map_err(|ConnectError(why)| ConnectError(format!("[fleet]: {why}")))?,
            node: node.into(),
            subjects: Arc::new(subjects),
            replicas: settings.replicas,
            servers: settings.nats.urls.len(),
            written: Arc::new(watch::channel(0).0),
        })
    }

    /// The names of the fleet.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Changes with each write of this node into a bucket, which no message announces to the node itself.
    pub(super) fn own_writes(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    pub(super) fn note_own_write(&self) {
        self.written.send_modify(|count| *count += 1);
    }

    /// `[fleet] replicas`.
    pub(super) fn replicas(&self) -> Option<u32> {
        self.replicas
    }

    /// How many NATS servers there are as far as it is known: those of the settings, or those that the connected one
    /// names.
    pub(super) fn known_servers(&self) -> usize {
        self.link.named_servers().max(self.servers)
    }
}
