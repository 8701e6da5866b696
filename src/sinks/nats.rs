//! A stream of JetStream: each event is a message with one CloudEvent, which a stream confirms when it has stored it.
//! The id of a message is that of its event, with its time, so that a stream stores an event once that is sent again.

use std::time::Duration;

use tokio::sync::OnceCell;

use crate::config::NatsServers;
use crate::fleet::events::ONE;
use crate::fleet::nats::{ConnectError, LinkSettings, NatsLink, NatsUse, OutgoingMessage, Unstored};
use crate::sinks::{FailureKind, OutgoingEvent, SendFailure};

/// How long a try waits for a connection (judgment: a server that works accepts one in less).
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

/// The way to a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsRoute {
    /// The NATS servers.
    pub servers: NatsServers,
    /// The subject that a stream has.
    pub subject: String,
    /// The name of the connection in the lists of the NATS servers.
    pub name: String,
    /// The beginning of the subjects on which replies arrive.
    pub inbox: String,
}

/// The connection to the NATS servers of one sink.
pub struct NatsSink {
    route: NatsRoute,
    timeout: Duration,
    /// It is opened for the first event.
    link: OnceCell<NatsLink>,
}

impl NatsSink {
    /// Opens nothing yet.
    pub fn new(route: NatsRoute, timeout: Duration) -> NatsSink {
        NatsSink { route, timeout, link: OnceCell::new() }
    }

    /// Sends one event, and waits until a stream has it. Ends within twice the time-out.
    pub async fn send(&self, event: &OutgoingEvent) -> Result<(), SendFailure> {
        let link = self
            .link()
            .await
            .map_err(|error| SendFailure::away(error.to_string(), "correct `servers`, and restart the server"))?;
        self.wait_connected(link).await;
        let message = OutgoingMessage {
            subject: self.route.subject.clone(),
            id: format!("{}/{}", event.id, event.at_millis),
            media_type: ONE,
            payload: event.body.clone(),
        };
        link.store(message, self.timeout).await.map_err(|unstored| self.failure(unstored))
    }

    /// Waits until the connection is made again that was lost. Without one it waits for ever.
    pub async fn connected_again(&self) {
        let connected = async {
            let link = self.link.get()?;
            let mut changes = link.changes();
            let mut seen = link.status().connections;
            NatsLink::connected_again(&mut changes, &mut seen).await
        };
        if connected.await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    async fn link(&self) -> Result<&NatsLink, ConnectError> {
        let NatsRoute { servers, name, inbox, .. } = &self.route;
        let settings = || LinkSettings { servers, name: name.clone(), inbox: inbox.clone(), for_what: NatsUse::Sink };
        self.link.get_or_try_init(|| NatsLink::open(settings())).await
    }

    async fn wait_connected(&self, link: &NatsLink) {
        let mut changes = link.changes();
        let within = CONNECTED_WITHIN.min(self.timeout);
        // Without a connection the message is not sent, and the reason is known there.
        let _ = tokio::time::timeout(within, changes.wait_for(|status| status.is_connected)).await;
    }

    fn failure(&self, unstored: Unstored) -> SendFailure {
        let subject = &self.route.subject;
        match unstored {
            Unstored::NoConnection(problem) => {
                let why = problem.map_or_else(String::new, |problem| format!(": {problem}"));
                let hint = "look whether the NATS server works, and compare servers and credentials";
                SendFailure::away(format!("no connection to NATS{why}"), hint)
            }
            Unstored::NoStream => {
                let hint = "make a stream with this subject: nats stream add EVENTS --subjects SUBJECT";
                SendFailure::away(format!("no stream of JetStream has the subject {subject}"), hint)
            }
            Unstored::NoReply => {
                let hint = "the user needs the right to publish on this subject, and to subscribe to its inbox";
                SendFailure::away("no reply from JetStream in time, or no permission", hint)
            }
            Unstored::Message(why) => SendFailure {
                kind: FailureKind::Refused,
                retry_after: None,
                why,
                hint: "raise max_msg_size of the stream, or max_payload of the NATS server",
            },
            Unstored::Stream(why) => {
                SendFailure::away(why, "look at the limits of the stream, and at the NATS servers")
            }
        }
    }
}
