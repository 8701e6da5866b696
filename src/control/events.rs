//! Transitions for people: a stream of server-sent events, and the last few for `portolan status`. Both only read the
//! channel that the publisher sends into. A client that reads too slowly is told how many it missed and let go; its
//! browser connects again by itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use crate::control::problem::problem;
use crate::control::{Readiness, State};
use crate::snapshot::Transition;

/// Most transitions that are remembered: a screen or two; judgment, history belongs to the log and to Prometheus.
pub const RECENT_TRANSITIONS: usize = 64;

/// Most event streams at a time. Each holds a connection, of which [`super::serve`] allows 256: the rest stay for requests.
pub(super) const MAX_STREAMS: usize = 64;

/// A comment line this often shows a quiet connection alive, to us and to proxies that cut after 30 or 60 s of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Something that happened to an endpoint, as the API tells it: a transition, or a change of its override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in Unix seconds.
    pub at: f64,
    /// The endpoint.
    pub endpoint: String,
    /// Its health before: `up`, `down` or `unknown`; while it is overridden, `drained`, `forced-up` or `forced-down`.
    pub from: String,
    /// The same since.
    pub to: String,
    /// Why, in words.
    pub why: String,
    /// The generation that was being served.
    pub generation: u64,
    /// The monitor, where it is that of a name: the endpoint's own health is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// The endpoint's region, for those in this process.
    #[serde(skip)]
    pub region: Option<String>,
}

impl From<&Transition> for Event {
    fn from(transition: &Transition) -> Event {
        Event {
            at: transition.at,
            endpoint: transition.endpoint.clone(),
            from: transition.from.as_str().to_owned(),
            to: transition.to.as_str().to_owned(),
            why: transition.why.clone(),
            generation: transition.generation,
            region: transition.region.clone(),
            monitor: transition.monitor.clone(),
        }
    }
}

/// The last transitions. Reads its end of the channel only when it is asked, so it needs no task of its own.
pub(crate) struct Recent {
    incoming: broadcast::Receiver<Event>,
    last: VecDeque<Event>,
}

impl Recent {
    /// Remembers what is sent from now on.
    pub(super) fn following(events: &broadcast::Sender<Event>) -> Recent {
        Recent { incoming: events.subscribe(), last: VecDeque::new() }
    }

    /// The last ones, newest first, [`RECENT_TRANSITIONS`] at most.
    pub(super) fn newest_first(&mut self) -> Vec<Event> {
        loop {
            match self.incoming.try_recv() {
                Ok(event) => self.remember(event),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.last.iter().rev().cloned().collect()
    }

    fn remember(&mut self, event: Event) {
        if self.last.len() == RECENT_TRANSITIONS {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }
}

/// `GET /v1/events`: one event a transition, until the client leaves, lags or we stop.
pub(super) fn respond(state: &State) -> Response {
    let Ok(permit) = state.streams.clone().try_acquire_owned() else {
        let detail = format!("{MAX_STREAMS} clients are listening already, which is the most; try again later");
        return problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    };
    let listener = Listener { incoming: state.events.subscribe(), readiness: state.readiness.clone(), _permit: permit };
    Sse::new(listener.into_stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One client of the stream.
struct Listener {
    incoming: broadcast::Receiver<Event>,
    readiness: watch::Receiver<Readiness>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    fn into_stream(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        // `None` as the state ends the stream after a last word.
        let opening = sse::Event::default().comment("transitions follow");
        let rest = stream::unfold(Some(self), async |listener| {
            let mut listener = listener?;
            match listener.next().await? {
                Heard::Event(event) => Some((Ok(event), Some(listener))),
                Heard::Lagged(event) => Some((Ok(event), None)),
            }
        });
        stream::StreamExt::chain(stream::iter([Ok(opening)]), rest)
    }

    /// The next thing to tell; `None` when we stop.
    async fn next(&mut self) -> Option<Heard> {
        let stopping = self.readiness.wait_for(|readiness| *readiness == Readiness::Stopping);
        tokio::select! {
            heard = self.incoming.recv() => match heard {
                Ok(event) => Some(Heard::Event(sse::Event::default().data(json(&event)))),
                Err(RecvError::Lagged(missed)) => Some(Heard::Lagged(lagged_event(missed))),
                Err(RecvError::Closed) => None,
            },
            _ = stopping => None,
        }
    }
}

enum Heard {
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
    use crate::control::fixture::{transition, world};

    #[tokio::test]
    async fn a_client_that_lags_is_told_and_let_go() {
        let world = world();
        let response = respond(&world.state);
        for _ in 0..9 {
            world.events.send(Event::from(&transition())).unwrap();
        }
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let told = String::from_utf8(body.to_vec()).unwrap();
        assert!(told.contains("event: lagged\ndata: {\"missed\":5}"), "{told}");
        assert!(!told.contains("fra1"), "what it missed is not half told: {told}");
    }

    #[tokio::test]
    async fn one_client_too_many_is_refused_until_another_leaves() {
        let world = world();
        let mut open: Vec<Response> = (0..MAX_STREAMS).map(|_| respond(&world.state)).collect();
        assert_eq!(respond(&world.state).status(), StatusCode::SERVICE_UNAVAILABLE);
        open.pop();
        assert_eq!(respond(&world.state).status(), StatusCode::OK);
    }
}
