//! Transitions for people as a stream of server-sent events, read from the [`Journal`]. A client that reads too slowly
//! is sent the number of events that it missed, and let go; a browser connects again by itself, with the id of the last event
//! that it has, and goes on from there.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use crate::control::journal::{JournalEvent, Subscription};
use crate::control::problem::problem;
use crate::control::state::{ApiState, MAX_STREAMS, Readiness};

/// The header with which a client goes on after the last event that it has (WHATWG HTML, server-sent events).
const LAST_EVENT_ID: &str = "last-event-id";

/// A comment line this often shows a quiet connection alive, to us and to proxies that cut after 30 or 60 s of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /v1/events`: one event a transition, until the client leaves, lags or we stop. With `Last-Event-ID` those that
/// came after it are sent first.
pub(super) fn respond(state: &ApiState, headers: &HeaderMap) -> Response {
    let Ok(permit) = state.streams.clone().try_acquire_owned() else {
        let detail = format!("{MAX_STREAMS} clients are listening already, which is the most; try again later");
        return problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    };
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let Subscription { lost, missed, incoming } = state.journal.follow(last);
    let listener =
        StreamClient { missed: missed.into(), incoming, readiness: state.readiness.clone(), _permit: permit };
    let opening = sse::Event::default().comment("transitions follow");
    let lost = (lost > 0).then(|| lagged_event(lost));
    let opening = std::iter::once(opening).chain(lost);
    Sse::new(listener.into_stream(opening)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One client of the stream.
struct StreamClient {
    /// What it missed, to be sent first.
    missed: VecDeque<JournalEvent>,
    incoming: broadcast::Receiver<JournalEvent>,
    readiness: watch::Receiver<Readiness>,
    _permit: OwnedSemaphorePermit,
}

impl StreamClient {
    fn into_stream(
        self,
        opening: impl Iterator<Item = sse::Event>,
    ) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        // `None` as the state ends the stream after a last event.
        let rest = stream::unfold(Some(self), async |listener| {
            let mut listener = listener?;
            match listener.next().await? {
                Outgoing::Event(event) => Some((Ok(event), Some(listener))),
                Outgoing::Lagged(event) => Some((Ok(event), None)),
            }
        });
        stream::StreamExt::chain(stream::iter(opening.map(Ok)), rest)
    }

    /// The next thing to send; `None` when we stop.
    async fn next(&mut self) -> Option<Outgoing> {
        if let Some(event) = self.missed.pop_front() {
            return Some(Outgoing::Event(sent(&event)));
        }
        let stopping = self.readiness.wait_for(|readiness| *readiness == Readiness::Stopping);
        tokio::select! {
            heard = self.incoming.recv() => match heard {
                Ok(event) => Some(Outgoing::Event(sent(&event))),
                Err(RecvError::Lagged(missed)) => Some(Outgoing::Lagged(lagged_event(missed))),
                Err(RecvError::Closed) => None,
            },
            _ = stopping => None,
        }
    }
}

/// An event as it is sent: a browser remembers its id.
fn sent(event: &JournalEvent) -> sse::Event {
    sse::Event::default().id(&event.id).data(json(event))
}

enum Outgoing {
    Event(sse::Event),
    Lagged(sse::Event),
}

fn lagged_event(missed: u64) -> sse::Event {
    sse::Event::default().event("lagged").data(json(&serde_json::json!({ "missed": missed })))
}

/// JSON on one line. Plain data can't fail to serialise; an empty object would stand for it.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world::{transition, world};

    /// What a client that sends `last` is sent until the stream ends.
    async fn body(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn after(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(LAST_EVENT_ID.parse().unwrap(), id.parse().unwrap())])
    }

    #[tokio::test]
    async fn a_client_that_lags_is_told_and_let_go() {
        let world = world();
        let response = respond(&world.state, &HeaderMap::new());
        for _ in 0..9 {
            world.journal.tell(JournalEvent::from(&transition()));
        }
        let told = body(response).await;
        assert!(told.contains("event: lagged\ndata: {\"missed\":5}"), "{told}");
        assert!(!told.contains("fra1"), "what it missed is not half told: {told}");
    }

    #[tokio::test]
    async fn who_comes_back_with_an_id_gets_what_came_after_it() {
        let world = world();
        for _ in 0..3 {
            world.journal.tell(JournalEvent::from(&transition()));
        }
        let responses = ["ns1/1", "ns1/3", "elsewhere/2", ""].map(|id| respond(&world.state, &after(id)));
        world.journal.tell(JournalEvent::from(&transition()));
        world.readiness.send_replace(Readiness::Stopping);
        let mut ids = Vec::new();
        for response in responses {
            let text = body(response).await;
            let each = text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned);
            ids.push(each.collect::<Vec<_>>().join(" "));
        }
        // Whether the last one is sent before the end is chance: stopping goes on at once.
        let expected = ["ns1/2 ns1/3", "", "ns1/1 ns1/2 ns1/3", ""];
        for (ids, expected) in ids.iter().zip(expected) {
            assert_eq!(ids.trim_end_matches("ns1/4").trim_end(), expected, "{ids:?}");
        }
    }

    #[tokio::test]
    async fn one_client_too_many_is_refused_until_another_leaves() {
        let world = world();
        let respond = || respond(&world.state, &HeaderMap::new());
        let mut open: Vec<Response> = (0..MAX_STREAMS).map(|_| respond()).collect();
        assert_eq!(respond().status(), StatusCode::SERVICE_UNAVAILABLE);
        open.pop();
        assert_eq!(respond().status(), StatusCode::OK);
    }
}
