//! `GET /v1/events`: the events of the [`crate::control::Journal`] as a stream of server-sent events (WHATWG HTML).
//!
//! A client that reads too slowly receives the number of events that it missed, and the stream ends. A browser then
//! connects again with the id of the last event that it has, and receives the events after it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::coop::consume_budget;

use crate::admission::Seat;
use crate::clock;
use crate::control::access::{ApiAccess, Refusal};
use crate::control::journal::{JournalEvent, Subscription};
use crate::control::problem::{problem, retry_after};
use crate::control::state::{ApiState, Readiness};

/// The header that carries the id of the last event that the client has (WHATWG HTML, server-sent events).
const LAST_EVENT_ID: &str = "last-event-id";

/// Interval of the comment lines on an idle stream. They show both ends that the connection works. Proxies close a
/// connection after 30 or 60 s of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// When a client may open a stream again that was refused or displaced. Judgment: long enough that many such clients
/// cost nothing.
const RETRY: Duration = Duration::from_secs(30);

/// Streams one event for each change until the client leaves, the client lags, or the server stops. With
/// `Last-Event-ID` the events after that one are sent first.
pub(super) fn respond(state: &ApiState, client: IpAddr, headers: &HeaderMap) -> Response {
    let access = &state.controls.access;
    let Some(seat) = state.room.streams.admit(client, clock::now()) else {
        access.refusals.count(Refusal::Streams);
        let most = state.room.streams.capacity();
        let detail = format!("{most} clients are listening already, which is the most; try again later");
        return retry_after(problem(StatusCode::SERVICE_UNAVAILABLE, detail), RETRY);
    };
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let Subscription { lost, missed, incoming } = state.journal.follow(last);
    let client = StreamClient {
        missed: missed.into(),
        incoming,
        readiness: state.readiness.clone(),
        seat,
        access: access.clone(),
    };
    let opening = sse::Event::default().comment("transitions follow");
    let lost = (lost > 0).then(|| lagged_event(lost));
    let opening = std::iter::once(opening).chain(lost);
    Sse::new(client.into_stream(opening)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One client of the stream.
struct StreamClient {
    /// The events that it missed. They are sent first.
    missed: VecDeque<Arc<JournalEvent>>,
    incoming: broadcast::Receiver<Arc<JournalEvent>>,
    readiness: watch::Receiver<Readiness>,
    seat: Arc<Seat>,
    access: Arc<ApiAccess>,
}

impl StreamClient {
    fn into_stream(
        self,
        opening: impl Iterator<Item = sse::Event>,
    ) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        // The state `None` ends the stream after the last event.
        let rest = stream::unfold(Some(self), async |client| {
            let mut client = client?;
            match client.next().await? {
                Outgoing::Event(event) => Some((Ok(event), Some(client))),
                Outgoing::Last(event) => Some((Ok(event), None)),
            }
        });
        stream::StreamExt::chain(stream::iter(opening.map(Ok)), rest)
    }

    /// The next item to send; `None` when the server stops.
    async fn next(&mut self) -> Option<Outgoing> {
        if let Some(event) = self.missed.pop_front() {
            // Thousands of them are no reason for others to wait.
            consume_budget().await;
            return Some(Outgoing::Event(to_sse(&event)));
        }
        let stopping = self.readiness.wait_for(|readiness| *readiness == Readiness::Stopping);
        tokio::select! {
            received = self.incoming.recv() => match received {
                Ok(event) => Some(Outgoing::Event(to_sse(&event))),
                Err(RecvError::Lagged(missed)) => Some(Outgoing::Last(lagged_event(missed))),
                Err(RecvError::Closed) => None,
            },
            _ = self.seat.displaced() => {
                self.access.refusals.count(Refusal::Streams);
                Some(Outgoing::Last(sse::Event::default().retry(RETRY).comment("another client needs this stream")))
            }
            _ = stopping => None,
        }
    }
}

/// An event in the form in which it is sent. A browser remembers its id.
fn to_sse(event: &JournalEvent) -> sse::Event {
    sse::Event::default().id(&event.id).data(json(event))
}

enum Outgoing {
    Event(sse::Event),
    /// The stream ends after it.
    Last(sse::Event),
}

fn lagged_event(missed: u64) -> sse::Event {
    sse::Event::default().event("lagged").data(json(&serde_json::json!({ "missed": missed })))
}

/// JSON on one line. Plain data always serialises; the empty object is never used.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world::{transition, world};

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Everything that the client receives until the stream ends.
    async fn body(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn after(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(LAST_EVENT_ID.parse().unwrap(), id.parse().unwrap())])
    }

    #[tokio::test]
    async fn a_client_that_lags_gets_the_number_of_missed_events_and_the_stream_ends() {
        let world = world();
        let response = respond(&world.state, CLIENT, &HeaderMap::new());
        for _ in 0..9 {
            world.journal.append(JournalEvent::from(&transition()));
        }
        let text = body(response).await;
        assert!(text.contains("event: lagged\ndata: {\"missed\":5}"), "{text}");
        assert!(!text.contains("fra1"), "no part of the missed events is sent: {text}");
    }

    #[tokio::test]
    async fn a_client_with_an_id_gets_the_events_after_it() {
        let world = world();
        for _ in 0..3 {
            world.journal.append(JournalEvent::from(&transition()));
        }
        let responses = ["ns1/1", "ns1/3", "elsewhere/2", ""].map(|id| respond(&world.state, CLIENT, &after(id)));
        world.journal.append(JournalEvent::from(&transition()));
        world.readiness.send_replace(Readiness::Stopping);
        let mut ids = Vec::new();
        for response in responses {
            let text = body(response).await;
            let each = text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned);
            ids.push(each.collect::<Vec<_>>().join(" "));
        }
        // The last event may be missing: stopping does not wait for it.
        let expected = ["ns1/2 ns1/3", "", "ns1/1 ns1/2 ns1/3", ""];
        for (ids, expected) in ids.iter().zip(expected) {
            assert_eq!(ids.trim_end_matches("ns1/4").trim_end(), expected, "{ids:?}");
        }
    }

    #[tokio::test]
    async fn one_client_too_many_is_refused_until_another_leaves() {
        let world = world();
        let respond = || respond(&world.state, CLIENT, &HeaderMap::new());
        let mut open: Vec<Response> = (0..world.state.room.streams.capacity()).map(|_| respond()).collect();
        assert_eq!(respond().status(), StatusCode::SERVICE_UNAVAILABLE);
        open.pop();
        assert_eq!(respond().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_client_of_another_net_displaces_a_stream_which_ends_with_a_time_to_wait() {
        let world = world();
        let mut open: Vec<Response> = (0..world.state.room.streams.capacity())
            .map(|_| respond(&world.state, CLIENT, &HeaderMap::new()))
            .collect();
        let other = respond(&world.state, "192.0.2.1".parse().unwrap(), &HeaderMap::new());
        assert_eq!(other.status(), StatusCode::OK);
        let first = body(open.remove(0)).await;
        assert!(first.contains("retry: 30000") && first.contains(": another client needs this stream"), "{first}");
        assert_eq!(respond(&world.state, CLIENT, &HeaderMap::new()).status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
