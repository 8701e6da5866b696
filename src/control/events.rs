//! `GET /v1/events`: the events of the [`crate::control::Journal`] as a stream of server-sent events (WHATWG HTML).
//! With `fleet=true` they are those of all servers of the fleet.
//!
//! A client that reads too slowly receives the number of events that it missed, and the stream ends. A browser then
//! connects again with the id of the last event that it has, and receives the events after it.

mod query;
mod stream_client;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::admission::Seat;
use crate::clock;
use crate::control::access::Refusal;
use crate::control::fleet_events::{FleetEvents, FleetSubscription, Reading};
use crate::control::journal::{JournalEvent, Since, Subscription};
use crate::control::json::line;
use crate::control::problem::{problem, retry_after};
use crate::control::request::{ErrorResponse, bad_request};
use crate::control::state::ApiState;
use crate::fleet::events::{ArchivedEvent, EventCursor};
use crate::printable::escaped;

pub(super) use query::EventsQuery;
use stream_client::StreamClient;

/// The header that carries the id of the last event that the client has (WHATWG HTML, server-sent events).
const LAST_EVENT_ID: &str = "last-event-id";

/// Interval of the comment lines on an idle stream. They show both ends that the connection works. Proxies close a
/// connection after 30 or 60 s of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// When a client may open a stream again that was refused or displaced. Judgment: long enough that many such clients
/// cost nothing.
const RETRY: Duration = Duration::from_secs(30);

/// When a client may ask again for the events of a fleet that were not read yet (judgment: that takes a second).
const UNREAD_RETRY: Duration = Duration::from_secs(2);

/// Streams one event for each change until the client leaves, the client lags, or the server stops; with
/// `follow=false` until the last event of this moment. With `Last-Event-ID` or `since` the events after that one are
/// sent first.
pub(super) fn respond(state: &ApiState, client: IpAddr, headers: &HeaderMap, query: &EventsQuery) -> Response {
    stream(state, client, headers, query).unwrap_or_else(|refused| *refused)
}

fn stream(
    state: &ApiState,
    client: IpAddr,
    headers: &HeaderMap,
    query: &EventsQuery,
) -> Result<Response, ErrorResponse> {
    // Without the id the stream would leave events out, and the client would not know.
    let unreadable = |_| {
        bad_request("Last-Event-ID is a number, NODE/NUMBER or `oldest`; found characters that no id has".to_owned())
    };
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().map_err(unreadable)).transpose()?;
    if !query.fleet {
        let since = query.local_start(last).map_err(bad_request)?;
        return Ok(local(state, seat(state, client)?, &since, query.follow));
    }
    let start = query.fleet_start(last).map_err(bad_request)?;
    let Some(events) = &state.fleet_events else {
        let detail = "this node is no server of a fleet: leave out fleet=true";
        return Err(Box::new(problem(StatusCode::NOT_FOUND, detail)));
    };
    let Reading { has_read, problem: away } = events.reading();
    if !has_read {
        let why = away.map_or(String::new(), |why| format!(": {}", escaped(&why)));
        let detail = format!("this server has not read the events of the fleet yet{why}; try again soon");
        return Err(Box::new(retry_after(problem(StatusCode::SERVICE_UNAVAILABLE, detail), UNREAD_RETRY)));
    }
    // A request that is refused must not displace a stream.
    Ok(of_fleet(state, seat(state, client)?, (events, away), start, query.follow))
}

fn seat(state: &ApiState, client: IpAddr) -> Result<Arc<Seat>, ErrorResponse> {
    state.room.streams.admit(client, clock::now()).ok_or_else(|| {
        state.controls.access.refusals.count(Refusal::Streams);
        let most = state.room.streams.capacity();
        let detail = format!("{most} clients are listening already, which is the most; try again later");
        Box::new(retry_after(problem(StatusCode::SERVICE_UNAVAILABLE, detail), RETRY))
    })
}

fn local(state: &ApiState, seat: Arc<Seat>, since: &Since, follows: bool) -> Response {
    let Subscription { lost, is_unknown, last, missed, incoming } = state.journal.follow(since);
    let mut opening = Vec::new();
    if is_unknown {
        opening.push(sse::Event::default().event("unknown").data(line(&json!({ "last": last }))));
    }
    for (first, last) in lost {
        let data = json!({ "missed": last - first + 1, "first": first, "last": last });
        opening.push(sse::Event::default().event("lagged").data(line(&data)));
    }
    let client = StreamClient::new(state, seat, (missed, incoming), follows);
    respond_with(opening, client, |event: &JournalEvent| Some(sse::Event::default().id(&event.id).data(line(event))))
}

fn of_fleet(
    state: &ApiState,
    seat: Arc<Seat>,
    (events, away): (&FleetEvents, Option<String>),
    start: Option<EventCursor>,
    follows: bool,
) -> Response {
    let FleetSubscription { lost, unknown, mut cursor, missed, incoming } = events.follow(start);
    let mut opening = Vec::new();
    if let Some(why) = away {
        opening.push(sse::Event::default().event("away").data(line(&json!({ "why": escaped(&why) }))));
    }
    if let Some(last) = unknown.values().max() {
        opening.push(sse::Event::default().event("unknown").data(line(&json!({ "last": last, "nodes": unknown }))));
    }
    if !lost.is_empty() {
        let missed: u64 = lost.values().map(|(first, last)| last - first + 1).sum();
        let of = |(first, last): &(u64, u64)| json!({ "first": first, "last": last });
        let nodes: serde_json::Map<_, _> = lost.iter().map(|(node, range)| (node.to_string(), of(range))).collect();
        opening.push(sse::Event::default().event("lagged").data(line(&json!({ "missed": missed, "nodes": nodes }))));
    }
    let client = StreamClient::new(state, seat, (missed, incoming), follows);
    // The id has the last number of each node, so that any server can resume the stream. An override is the event of
    // the server where it was made. Those of the servers that took it over are left out.
    respond_with(opening, client, move |event: &ArchivedEvent| {
        cursor.advance(&event.id);
        let show = || sse::Event::default().id(cursor.to_string()).data(line(&JournalEvent::from(event)));
        (!event.event.data.relayed).then(show)
    })
}

fn respond_with<T: Send + Sync + 'static>(
    opening: Vec<sse::Event>,
    client: StreamClient<T>,
    show: impl FnMut(&T) -> Option<sse::Event> + Send + 'static,
) -> Response {
    let opening = std::iter::once(sse::Event::default().comment("transitions follow")).chain(opening);
    let stream = client.into_stream(opening, show);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
