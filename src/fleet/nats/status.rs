//! What is known of the connection to NATS: from the events of the library, and by comparison with the connection.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event};
use tokio::sync::watch;

use crate::clock;
use crate::model::Moment;
use crate::printable::{cut, escaped};

/// How often the status is compared with the connection itself: the library drops events if many come at once.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// Longest reason that is stored, in octets: the text comes from a NATS server.
const MAX_REASON: usize = 256;

/// What a connection is for. A flood on one connection delays no other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatsUse {
    /// Everything but the reports of other vantages: leases, buckets, own reports, heartbeats.
    Control,
    /// The reports of other vantages, in a server.
    Reports,
    /// Events for a sink.
    Sink,
    /// A stream that is followed.
    Follow,
}

impl NatsUse {
    /// The name of such a connection in the lists of a NATS server.
    pub fn name(self, node: &str) -> String {
        match self {
            NatsUse::Control => format!("portolan {node}"),
            NatsUse::Reports => format!("portolan {node} reports"),
            NatsUse::Sink => format!("portolan {node} sink"),
            NatsUse::Follow => format!("portolan {node} follow"),
        }
    }

    /// The longest delay between two attempts to connect. Judgment: a node is back within seconds of its NATS server; a
    /// standby must follow within a second of it.
    pub(super) fn longest_delay(self) -> Duration {
        match self {
            NatsUse::Control | NatsUse::Reports | NatsUse::Sink => Duration::from_secs(5),
            NatsUse::Follow => Duration::from_millis(500),
        }
    }

    /// Most messages of one subscription that wait to be read; more are dropped and counted. Each has at most the
    /// `max_payload` of the NATS server. Judgment: a bucket's values come in one burst; 50 vantages send 500 reports in
    /// ten seconds.
    pub(super) fn max_incoming(self) -> usize {
        match self {
            NatsUse::Control => 4096,
            NatsUse::Reports => 512,
            // Replies come one by one.
            NatsUse::Sink => 512,
            // A read has up to 256, and an announced message only says that there is something to read.
            NatsUse::Follow => 1024,
        }
    }
}

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionStatus {
    /// What the connection is for.
    pub for_what: NatsUse,
    /// Whether a NATS server answers.
    pub is_connected: bool,
    /// Since when it is so.
    pub since: Moment,
    /// How often the connection was made.
    pub connections: u64,
    /// The last error: why there is no connection, or what the NATS server refused.
    pub problem: Option<Arc<str>>,
    /// Messages that this node was too slow for.
    pub missed: u64,
}

/// What the library names the failure of our own credentials. [`note_credentials`] has the reason.
const NO_CREDENTIALS: &str = "failed signing nonce";
/// What it names a connection that fails, or a handshake of TLS.
const NO_CONNECTION: &str = "IO error";
/// The same for people, of a connection with TLS.
const NO_TLS: &str = "no connection, or the TLS handshake failed: `ca` must have the authority of the NATS server's \
                      certificate, which names the host of the address; the server must accept `cert`";

/// Takes the reason why the credentials can't be sent into the status, and logs it if it is new.
pub(super) fn note_credentials(status: &watch::Sender<ConnectionStatus>, why: &str) {
    let why = bounded(why);
    if status.borrow().problem.as_ref() != Some(&why) {
        tracing::warn!(problem = &*why, "NATS");
        status.send_modify(|status| status.problem = Some(why));
    }
}

/// Takes an event of the connection into the status, and logs what is new. `has_tls`: the settings ask for TLS.
pub(super) fn note(status: &watch::Sender<ConnectionStatus>, event: &Event, has_tls: bool) {
    let before = status.borrow().clone();
    status.send_modify(|status| apply(status, event, has_tls, clock::now()));
    let after = status.borrow().clone();
    let problem = after.problem.as_deref().unwrap_or("the connection ended");
    match (before.is_connected, after.is_connected) {
        (false, true) => match after.for_what {
            NatsUse::Control => tracing::info!(connections = after.connections, "connected to NATS"),
            NatsUse::Reports => tracing::info!("the connection for the reports of vantages is there"),
            NatsUse::Sink | NatsUse::Follow => tracing::debug!("a connection to NATS is there"),
        },
        (true, false) => match after.for_what {
            NatsUse::Control => tracing::warn!("no connection to NATS: this node goes on alone until there is one"),
            NatsUse::Reports => tracing::warn!("the connection for the reports of vantages is lost"),
            // Who uses it reports what that means.
            NatsUse::Sink | NatsUse::Follow => tracing::debug!("a connection to NATS is lost"),
        },
        _ if before.problem != after.problem && after.problem.is_some() => tracing::warn!(problem, "NATS"),
        _ if after.missed > before.missed => {
            tracing::debug!(missed = after.missed, "messages of NATS came faster than they were read");
        }
        _ => {}
    }
}

/// Corrects the status where the event of a change was dropped; ends with the last reader of the status.
pub(super) async fn compare(client: Client, status: Arc<watch::Sender<ConnectionStatus>>) {
    let mut differed = false;
    while status.receiver_count() > 0 {
        tokio::time::sleep(COMPARE_EVERY).await;
        let missing = missing_event(&status.borrow(), &client.connection_state());
        // An event may be under way. If it still is after a second look, it does not come.
        match missing {
            Some(event) if differed => {
                note(&status, &event, false);
                differed = false;
            }
            Some(_) => differed = true,
            None => differed = false,
        }
    }
}

/// The event that would make the status what the connection is.
fn missing_event(status: &ConnectionStatus, state: &State) -> Option<Event> {
    match (status.is_connected, state) {
        (false, State::Connected) => Some(Event::Connected),
        (true, State::Disconnected | State::Pending) => Some(Event::Disconnected),
        (true, State::Connected) | (false, State::Disconnected | State::Pending) => None,
    }
}

fn apply(status: &mut ConnectionStatus, event: &Event, has_tls: bool, now: Moment) {
    let connected = |status: &mut ConnectionStatus, is: bool| {
        if status.is_connected != is {
            (status.is_connected, status.since) = (is, now);
        }
    };
    match event {
        Event::Connected => {
            connected(status, true);
            status.connections += 1;
            status.problem = None;
        }
        Event::Disconnected | Event::Closed => connected(status, false),
        // The server is about to stop, and the library goes to another one.
        Event::LameDuckMode | Event::Draining => {}
        Event::SlowConsumer(_) => status.missed += 1,
        Event::ServerError(error) => status.problem = Some(bounded(&error.to_string())),
        Event::ClientError(error) => {
            let text = error.to_string();
            match text.strip_prefix("nats: ").unwrap_or(&text) {
                NO_CREDENTIALS => {}
                NO_CONNECTION if has_tls => status.problem = Some(NO_TLS.into()),
                // What a lost connection leads to is no news while there is none.
                text => status.problem = Some(bounded(text)),
            }
        }
    }
}

/// A text of a NATS server, printable and bounded.
pub(super) fn bounded(text: &str) -> Arc<str> {
    escaped(cut(text, MAX_REASON)).to_string().into()
}

#[cfg(test)]
mod tests {
    use async_nats::{ClientError, ServerError};

    use super::*;

    #[test]
    fn the_status_has_whether_there_is_a_connection_and_the_last_problem() {
        let at = |secs| Moment::from_start(Duration::from_secs(secs));
        let mut status = ConnectionStatus {
            for_what: NatsUse::Control,
            is_connected: false,
            since: at(0),
            connections: 0,
            problem: None,
            missed: 0,
        };
        let refused = Event::ClientError(ClientError::Other("authorization violation".into()));
        apply(&mut status, &refused, false, at(1));
        assert_eq!((status.problem.as_deref(), status.since), (Some("authorization violation"), at(0)));
        let failed = |text: &str| Event::ClientError(ClientError::Other(text.into()));
        apply(&mut status, &failed(NO_CREDENTIALS), false, at(1));
        assert_eq!(status.problem.as_deref(), Some("authorization violation"), "the reason is noted apart");
        for (has_tls, expected) in [(false, NO_CONNECTION), (true, NO_TLS)] {
            apply(&mut status, &failed(NO_CONNECTION), has_tls, at(1));
            assert_eq!(status.problem.as_deref(), Some(expected));
        }
        apply(&mut status, &Event::Connected, false, at(2));
        let (connected, since) = (status.is_connected, status.since);
        assert_eq!((connected, since, status.connections, &status.problem), (true, at(2), 1, &None));
        let denied = ServerError::Other("Permissions Violation for Publish to \"x\u{1b}\"".into());
        apply(&mut status, &Event::ServerError(denied), false, at(3));
        assert!(status.problem.as_deref().is_some_and(|why| why.contains("Permissions") && !why.contains('\u{1b}')));
        apply(&mut status, &Event::Disconnected, false, at(4));
        apply(&mut status, &Event::Disconnected, false, at(5));
        assert_eq!((status.is_connected, status.since), (false, at(4)));
    }

    #[test]
    fn a_change_whose_event_was_dropped_is_noticed() {
        let now = Moment::from_start(Duration::from_secs(9));
        let mut status = ConnectionStatus {
            for_what: NatsUse::Control,
            is_connected: false,
            since: now,
            connections: 0,
            problem: None,
            missed: 0,
        };
        for (state, is_connected) in [
            (State::Pending, false),
            (State::Connected, true),
            (State::Connected, true),
            (State::Disconnected, false),
            (State::Connected, true),
            (State::Pending, false),
        ] {
            if let Some(event) = missing_event(&status, &state) {
                apply(&mut status, &event, false, now);
            }
            assert_eq!(status.is_connected, is_connected, "{state}");
            assert!(missing_event(&status, &state).is_none());
        }
        assert_eq!(status.connections, 2);
    }

    #[test]
    fn a_long_text_of_a_server_is_cut_at_a_character() {
        assert_eq!(&*bounded("short"), "short");
        let long = bounded(&"é".repeat(1000));
        assert!(long.len() <= MAX_REASON + 1 && long.chars().all(|c| c == 'é'), "{}", long.len());
    }
}
