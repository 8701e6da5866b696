//! The connection to the NATS servers. It is made in the background and made again for ever, so that neither the start
//! nor anything else waits for it. What changes is logged once, and is in [`Nats::status`].
//!
//! Publishing never waits: while there is no connection a message is dropped and counted. A report that waited would be
//! old when it arrives, and the next one makes up for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{AuthError, Client, ConnectOptions, HeaderMap, Message, ServerAddr, StatusCode};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;

use crate::clock;
use crate::config::{NatsServers, NatsTls};
use crate::fleet::nats::status::{NatsUse, bounded, compare, note, note_credentials};
use crate::fleet::nats::{ConnectionStatus, Credentials};

/// How long one NATS server has for a connection with TLS (judgment: ten round trips around the world).
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// After two pings without a reply the connection is made again: so a silent cut is noticed within 6 s, and reports
/// arrive again before those of the other nodes are stale (10 s by default).
const PING_EVERY: Duration = Duration::from_secs(2);
/// How long a request waits for its reply (judgment: a quorum over continents takes half a second).
const REPLY_WITHIN: Duration = Duration::from_secs(3);
/// How long all replies of a request may take (judgment: a read of 8 MiB over a slow line).
const REPLIES_WITHIN: Duration = Duration::from_secs(12);
/// How long a node that stops waits for its last message (judgment: a connection that works takes milliseconds).
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// The first delay between two attempts to connect; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Why a request has no reply, without a connection or after it was lost.
const NO_CONNECTION: &str = "no connection to NATS";
/// Most messages that wait to be written (judgment: some seconds of a busy server).
const MAX_OUTGOING: usize = 2048;

/// A connection to NATS servers. Clones share it.
#[derive(Clone)]
pub struct NatsLink {
    client: Client,
    state: watch::Receiver<ConnectionStatus>,
    lost: Arc<AtomicU64>,
}

/// Who connects, for what, and where.
pub struct LinkSettings<'s> {
    /// The servers, and the credentials for them.
    pub servers: &'s NatsServers,
    /// The name in the lists of the NATS servers.
    pub name: String,
    /// The beginning of the subjects on which replies arrive. Permissions can keep others from reading them.
    pub inbox: String,
    /// What it is for.
    pub for_what: NatsUse,
}

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoReply {
    /// There is no connection: why, where that is known.
    NoConnection(Option<Arc<str>>),
    /// Nobody receives requests on this subject.
    NoResponder,
    /// It takes too long: a server without a quorum, or one that does not permit it.
    TooLate,
    /// Something else.
    Other(String),
}

impl std::fmt::Display for NoReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoReply::NoConnection(_) => f.write_str(NO_CONNECTION),
            NoReply::NoResponder => f.write_str("no JetStream there"),
            NoReply::TooLate => f.write_str("no reply from JetStream, or no permission"),
            NoReply::Other(why) => f.write_str(why),
        }
    }
}

/// Why no connection is even tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError(pub(super) String);

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}

/// A message of a subscription.
#[derive(Debug, Clone)]
pub struct NatsMessage {
    /// The subject that it was published on.
    pub subject: String,
    /// Its content.
    pub payload: Bytes,
}

impl From<Message> for NatsMessage {
    fn from(message: Message) -> NatsMessage {
        let Message { subject, payload, .. } = message;
        NatsMessage { subject: subject.to_string(), payload }
    }
}

/// The messages of a subject, or of several with `*` and `>`. It lasts over reconnections. Unsubscribes when dropped.
pub struct NatsSubscription(async_nats::Subscriber);

impl NatsSubscription {
    /// The next message; `None` after the end of the connection.
    pub async fn next(&mut self) -> Option<NatsMessage> {
        self.0.next().await.map(NatsMessage::from)
    }

    pub(super) fn into_inner(self) -> async_nats::Subscriber {
        self.0
    }
}

impl NatsLink {
    /// Begins to connect. Must be called within a tokio runtime, on whose threads the connection runs. An error is one
    /// of the settings.
    pub async fn open(settings: LinkSettings<'_>) -> Result<NatsLink, ConnectError> {
        let LinkSettings { servers, name, inbox, for_what } = settings;
        let start = ConnectionStatus {
            for_what,
            is_connected: false,
            since: clock::now(),
            connections: 0,
            problem: None,
            missed: 0,
        };
        let (status, state) = watch::channel(start);
        let status = Arc::new(status);
        let credentials = Credentials::of(servers.credentials.clone(), &servers.urls);
        let has_tls = servers.tls.is_some() || servers.urls.iter().any(|url| url.scheme() == "tls");
        let answer = {
            let status = Arc::clone(&status);
            move |nonce| {
                let (status, credentials) = (Arc::clone(&status), credentials.clone());
                async move {
                    let answer = credentials.answer(nonce).await;
                    answer.inspect_err(|why| note_credentials(&status, why)).map_err(AuthError::new)
                }
            }
        };
        let options = ConnectOptions::with_auth_callback(answer)
            .name(name)
            .custom_inbox_prefix(inbox)
            .retry_on_initial_connect()
            // A node knows what it published itself, and when.
            .no_echo()
            .max_reconnects(None)
            // The nearest NATS server first: behind one that is far away, a node loses the fleet with that region.
            .retain_servers_order()
            .connection_timeout(CONNECT_WITHIN)
            .request_timeout(Some(REPLY_WITHIN))
            .ping_interval(PING_EVERY)
            .client_capacity(MAX_OUTGOING)
            .subscription_capacity(for_what.max_incoming())
            .reconnect_delay_callback(move |attempts| delay(attempts, for_what.longest_delay(), clock::entropy()))
            .event_callback({
                let status = Arc::clone(&status);
                move |event| {
                    let status = Arc::clone(&status);
                    async move { note(&status, &event, has_tls) }
                }
            });
        let options = with_tls(options, servers.tls.as_ref());
        let addresses = servers.urls.iter().map(|url| ServerAddr::from_url(without_user(url)));
        let addresses: Vec<ServerAddr> =
            addresses.collect::<Result<_, _>>().map_err(|error| ConnectError(error.to_string()))?;
        let client = options.connect(addresses).await.map_err(|error| ConnectError(error.to_string()))?;
        tokio::spawn(compare(client.clone(), status));
        Ok(NatsLink { client, state, lost: Arc::default() })
    }

    /// How many servers the connected one names.
    pub(super) fn named_servers(&self) -> usize {
        self.client.try_server_info().map_or(0, |info| info.connect_urls.len())
    }

    /// Makes the connection again, with the same subscriptions. What the NATS server has not yet sent over this one is
    /// lost.
    pub async fn reconnect(&self) {
        // It fails where the connection has ended, which its status says.
        let _ = self.client.force_reconnect().await;
    }

    /// The name of the connected server; empty without one.
    pub(super) fn server_name(&self) -> String {
        self.client.try_server_info().map_or_else(String::new, |info| info.server_name)
    }

    /// The largest message that the connected server accepts, in octets; `None` without one.
    pub fn max_payload(&self) -> Option<usize> {
        self.client.try_server_info().map(|info| info.max_payload)
    }

    /// Whether there is a connection, and why not.
    pub fn status(&self) -> ConnectionStatus {
        self.state.borrow().clone()
    }

    /// The same, for a reader that waits for changes.
    pub fn changes(&self) -> watch::Receiver<ConnectionStatus> {
        self.state.clone()
    }

    /// Waits until the connection is made again; `seen`: how often it had been made. `None`: it has ended. A message
    /// that NATS refuses changes the status too, and is not reported here.
    pub async fn connected_again(status: &mut watch::Receiver<ConnectionStatus>, seen: &mut u64) -> Option<()> {
        loop {
            status.changed().await.ok()?;
            let now = status.borrow_and_update().clone();
            if now.is_connected && now.connections != *seen {
                *seen = now.connections;
                return Some(());
            }
        }
    }

    /// The NATS server that this node is connected to: its name or `HOST:PORT`.
    pub fn server(&self) -> Option<String> {
        let info = self.client.try_server_info().filter(|_| self.state.borrow().is_connected)?;
        let name = if info.server_name.is_empty() || info.server_name == info.server_id {
            format!("{}:{}", info.host, info.port)
        } else {
            info.server_name
        };
        Some(bounded(&name).to_string())
    }

    /// Messages that were dropped because there was no connection, or it was too slow.
    pub fn dropped(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Publishes a message, without waiting. `false`: it was dropped and counted.
    pub fn publish(&self, subject: String, payload: Bytes) -> bool {
        let sent = self.state.borrow().is_connected
            && matches!(self.client.publish(subject, payload).now_or_never(), Some(Ok(())));
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Waits until what was published is written to the connection, for a second at most.
    pub async fn flush(&self) {
        // An error: there is no connection, or it is too slow.
        let _ = tokio::time::timeout(FLUSH_WITHIN, self.client.flush()).await;
    }

    /// Subscribes to a subject. `None` after the end of the connection.
    pub async fn subscribe(&self, subject: String) -> Option<NatsSubscription> {
        self.client.subscribe(subject).await.ok().map(NatsSubscription)
    }

    /// Sends a request and waits for its reply: three seconds from when it is written, six in all.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Bytes, String> {
        self.request_within(REPLY_WITHIN, subject, headers, payload).await.map_err(|why| why.to_string())
    }

    /// The same with another time for the reply.
    pub(super) async fn request_within(
        &self,
        within: Duration,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Bytes, NoReply> {
        let status = self.status();
        if !status.is_connected {
            return Err(NoReply::NoConnection(status.problem));
        }
        let request = async_nats::Request::new().payload(payload).timeout(Some(within));
        let request = match headers {
            Some(headers) => request.headers(headers),
            None => request,
        };
        let sent = self.client.send_request(subject, request);
        // The time-out of the request begins when it is written, which waits for the connection.
        let ended = tokio::select! {
            ended = tokio::time::timeout(within * 2, sent) => ended,
            () = self.connection_lost(status.connections) => return Err(NoReply::NoConnection(self.status().problem)),
        };
        match ended {
            Ok(Ok(reply)) => match reply.status {
                None | Some(StatusCode::OK) => Ok(reply.payload),
                Some(status) => Err(NoReply::Other(format!("status {status}"))),
            },
            Ok(Err(error)) => Err(match error.kind() {
                async_nats::RequestErrorKind::TimedOut => NoReply::TooLate,
                async_nats::RequestErrorKind::NoResponders => NoReply::NoResponder,
                _ => NoReply::Other(error.to_string()),
            }),
            Err(_) => Err(NoReply::Other("no reply".to_owned())),
        }
    }

    /// Sends a request that has several replies. `take` gets each, and returns whether another one follows.
    pub(super) async fn request_many(
        &self,
        subject: String,
        payload: Bytes,
        mut take: impl FnMut(Message) -> bool,
    ) -> Result<(), String> {
        let ConnectionStatus { is_connected, connections, .. } = self.status();
        if !is_connected {
            return Err(NO_CONNECTION.to_owned());
        }
        let inbox = self.client.new_inbox();
        let exchange = async {
            let mut replies = self.client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
            let sent = self.client.publish_with_reply(subject, inbox, payload).await;
            sent.map_err(|error| error.to_string())?;
            loop {
                match tokio::time::timeout(REPLY_WITHIN, replies.next()).await {
                    Ok(Some(reply)) if take(reply.clone()) => {}
                    Ok(Some(_)) => return Ok(()),
                    Ok(None) => return Err("the connection ended".to_owned()),
                    Err(_) => return Err("no reply from JetStream, or no permission".to_owned()),
                }
            }
        };
        tokio::select! {
            ended = tokio::time::timeout(REPLIES_WITHIN, exchange) => {
                ended.unwrap_or_else(|_| Err("the reply is too slow".to_owned()))
            }
            () = self.connection_lost(connections) => Err(NO_CONNECTION.to_owned()),
        }
    }

    /// Waits until the connection that was the `connections`th one is lost: no reply comes over it any more.
    async fn connection_lost(&self, connections: u64) {
        let is_lost = |status: &ConnectionStatus| !status.is_connected || status.connections != connections;
        // An error is the end of all connections.
        let _ = self.state.clone().wait_for(is_lost).await;
    }
}

/// The user and the password are sent by [`Credentials`], and an address may be logged.
fn without_user(url: &url::Url) -> url::Url {
    let mut url = url.clone();
    // They fail for addresses without a host, which the settings refuse.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

fn with_tls(options: ConnectOptions, tls: Option<&NatsTls>) -> ConnectOptions {
    let Some(NatsTls { ca, own }) = tls else { return options };
    let options = options.require_tls(true);
    let options = match ca {
        Some(ca) => options.add_root_certificates(ca.clone()),
        None => options,
    };
    match own {
        Some((cert, key)) => options.add_client_certificate(cert.clone(), key.clone()),
        None => options,
    }
}

/// The delay before an attempt to connect, `attempts` from 1: between half and the whole of a time that doubles; before
/// the first attempt half of it at most. Chance spreads the nodes of a fleet that all lost the same NATS server.
fn delay(attempts: usize, longest: Duration, chance: u64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let whole = FIRST_DELAY.saturating_mul(1 << doublings).min(longest);
    let share = 0.5 + 0.5 * (chance >> 11) as f64 / (1u64 << 53) as f64;
    if attempts <= 1 { whole.mul_f64(share - 0.5) } else { whole.mul_f64(share) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_soon_at_first_and_never_rarer_than_every_five_seconds() {
        let longest = NatsUse::Control.longest_delay();
        for chance in [0, 1 << 63, u64::MAX] {
            assert!(delay(1, longest, chance) <= FIRST_DELAY / 2);
            for attempts in 2..200 {
                let wait = delay(attempts, longest, chance);
                assert!(wait >= FIRST_DELAY && wait <= longest, "attempt {attempts}: {wait:?}");
            }
            assert!(delay(usize::MAX, longest, chance) >= longest / 2);
        }
    }
}
