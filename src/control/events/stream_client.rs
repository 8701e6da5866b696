//! One client of an event stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::coop::consume_budget;

use crate::admission::Seat;
use crate::control::access::{ApiAccess, Refusal};
use crate::control::events::RETRY;
use crate::control::json::line;
use crate::control::state::{ApiState, Readiness};

/// A client that receives events of type `T`.
pub(super) struct StreamClient<T> {
    /// The events that it missed. They are sent first.
    missed: VecDeque<Arc<T>>,
    incoming: broadcast::Receiver<Arc<T>>,
    /// Whether the stream goes on after them.
    follows: bool,
    readiness: watch::Receiver<Readiness>,
    seat: Arc<Seat>,
    access: Arc<ApiAccess>,
}

enum Outgoing<T> {
    Event(Arc<T>),
    /// The stream ends after it.
    Last(sse::Event),
}

impl<T: Send + Sync + 'static> StreamClient<T> {
    pub(super) fn new(
        state: &ApiState,
        seat: Arc<Seat>,
        (missed, incoming): (Vec<Arc<T>>, broadcast::Receiver<Arc<T>>),
        follows: bool,
    ) -> StreamClient<T> {
        let (readiness, access) = (state.readiness.clone(), state.controls.access.clone());
        StreamClient { missed: missed.into(), incoming, follows, readiness, seat, access }
    }

    /// The messages for the client. `show` gives that of an event, or leaves the event out.
    pub(super) fn into_stream(
        self,
        opening: impl Iterator<Item = sse::Event> + Send,
        mut show: impl FnMut(&T) -> Option<sse::Event> + Send,
    ) -> impl Stream<Item = Result<sse::Event, Infallible>> + Send {
        // The state `None` ends the stream after the last event.
        let rest = stream::unfold(Some(self), async |client| {
            let mut client = client?;
            match client.next().await? {
                Outgoing::Event(event) => Some((Outgoing::Event(event), Some(client))),
                Outgoing::Last(event) => Some((Outgoing::Last(event), None)),
            }
        });
        let rest = rest.filter_map(move |outgoing| {
            std::future::ready(match outgoing {
                Outgoing::Event(event) => show(&event),
                Outgoing::Last(event) => Some(event),
            })
        });
        stream::iter(opening).chain(rest).map(Ok)
    }

    /// The next item to send; `None` at the end.
    async fn next(&mut self) -> Option<Outgoing<T>> {
        if let Some(event) = self.missed.pop_front() {
            // Thousands of them are no reason for others to wait.
            consume_budget().await;
            return Some(Outgoing::Event(event));
        }
        if !self.follows {
            return None;
        }
        let stopping = self.readiness.wait_for(|readiness| *readiness == Readiness::Stopping);
        tokio::select! {
            received = self.incoming.recv() => match received {
                Ok(event) => Some(Outgoing::Event(event)),
                Err(RecvError::Lagged(missed)) => {
                    let data = line(&serde_json::json!({ "missed": missed }));
                    Some(Outgoing::Last(sse::Event::default().event("lagged").data(data)))
                }
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
