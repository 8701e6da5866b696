//! Streams of events of a small world, read to their ends.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use crate::control::events::{EventsQuery, LAST_EVENT_ID};
use crate::control::fleet_events::FleetEvents;
use crate::control::state::{ApiState, Readiness};
use crate::control::test_world::{transition, world};
use crate::control::{Journal, JournalEvent};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn respond(state: &ApiState, client: IpAddr, headers: &HeaderMap) -> Response {
    super::respond(state, client, headers, &EventsQuery::default())
}

/// The response to a query without headers.
fn ask(state: &ApiState, query: &str) -> Response {
    let uri = format!("/v1/events?{query}").parse().unwrap();
    let axum::extract::Query(query) = axum::extract::Query::<EventsQuery>::try_from_uri(&uri).unwrap();
    super::respond(state, CLIENT, &HeaderMap::new(), &query)
}

/// The ids that a client gets, and the whole text.
async fn ids(response: Response) -> (Vec<String>, String) {
    assert_eq!(response.status(), StatusCode::OK);
    let text = body(response).await;
    (text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect(), text)
}

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
async fn an_id_may_be_whatever_since_may_be_and_nothing_is_missed_in_silence() {
    let world = world();
    for _ in 0..3 {
        world.journal.append(JournalEvent::from(&transition()));
    }
    let uri = "/v1/events?follow=false".parse().unwrap();
    let axum::extract::Query(query) = axum::extract::Query::<EventsQuery>::try_from_uri(&uri).unwrap();
    let ask = |id: &str| super::respond(&world.state, CLIENT, &after(id), &query);
    for (id, expected) in [
        ("1", vec!["ns1/2", "ns1/3"]),
        (" 3 ", vec![]),
        ("oldest", vec!["ns1/1", "ns1/2", "ns1/3"]),
        ("0", vec!["ns1/1", "ns1/2", "ns1/3"]),
    ] {
        let (found, text) = ids(ask(id)).await;
        assert!(found == expected && !text.contains("event: "), "{id}: {text}");
    }
    for id in ["999", "ns1/999", "other/x"] {
        let (found, text) = ids(ask(id)).await;
        assert!(found.len() == 3 && text.contains("event: unknown\ndata: {\"last\":3}"), "{id}: {text}");
    }
    assert_eq!(ask("zzz").status(), StatusCode::BAD_REQUEST);
    let odd = HeaderMap::from_iter([(LAST_EVENT_ID.parse().unwrap(), HeaderValue::from_bytes(b"\xff").unwrap())]);
    assert_eq!(super::respond(&world.state, CLIENT, &odd, &query).status(), StatusCode::BAD_REQUEST);
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
    let mut open: Vec<Response> =
        (0..world.state.room.streams.capacity()).map(|_| respond(&world.state, CLIENT, &HeaderMap::new())).collect();
    let other = respond(&world.state, "192.0.2.1".parse().unwrap(), &HeaderMap::new());
    assert_eq!(other.status(), StatusCode::OK);
    let first = body(open.remove(0)).await;
    assert!(first.contains("retry: 30000") && first.contains(": another client needs this stream"), "{first}");
    assert_eq!(respond(&world.state, CLIENT, &HeaderMap::new()).status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_query_begins_where_it_wants_and_may_end_with_the_last_event() {
    let world = world();
    for _ in 0..3 {
        world.journal.append(JournalEvent::from(&transition()));
    }
    for (query, expected) in [
        ("since=oldest&follow=false", vec!["ns1/1", "ns1/2", "ns1/3"]),
        ("since=1&follow=false", vec!["ns1/2", "ns1/3"]),
        ("since=ns1/2&follow=false", vec!["ns1/3"]),
        ("since=3&follow=false", vec![]),
        ("follow=false", vec![]),
    ] {
        let (found, text) = ids(ask(&world.state, query)).await;
        assert!(found == expected && !text.contains("event: "), "{query}: {text}");
    }
    let (found, text) = ids(ask(&world.state, "since=9&follow=false")).await;
    assert!(found.len() == 3 && text.contains("event: unknown\ndata: {\"last\":3}"), "{text}");
    for query in ["since=x", "since=-1", "fleet=true&since=7"] {
        assert_eq!(ask(&world.state, query).status(), StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(ask(&world.state, "fleet=true").status(), StatusCode::NOT_FOUND, "it is in no fleet");
}

#[tokio::test]
async fn what_the_log_no_longer_has_is_named() {
    let world = world();
    let state = ApiState { journal: Arc::new(Journal::new("ns1", 4, 7)), ..world.state };
    state.journal.append(JournalEvent::from(&transition()));
    let (found, text) = ids(ask(&state, "since=5&follow=false")).await;
    assert_eq!(found, ["ns1/8"]);
    assert!(text.contains("event: lagged\ndata: {\"first\":6,\"last\":7,\"missed\":2}"), "{text}");
}

#[tokio::test]
async fn events_of_the_fleet_have_an_id_that_every_server_resumes() {
    let world = world();
    let servers = [FleetEvents::default(), FleetEvents::default()].map(Arc::new);
    let message = |node: &str, number: u64| {
        let event = JournalEvent { id: format!("{node}/{number}"), ..JournalEvent::from(&transition()) };
        serde_json::to_vec(&event.to_cloud_event().unwrap()).unwrap()
    };
    let unread = ApiState { fleet_events: Some(servers[0].clone()), ..world.state.clone() };
    assert_eq!(ask(&unread, "fleet=true&follow=false").status(), StatusCode::SERVICE_UNAVAILABLE);
    for (at, server) in servers.iter().enumerate() {
        server.note_read(None);
        // Both servers have all events; the second one read them in another order.
        let order = if at == 0 { [("ns1", 1), ("ns.2", 5), ("ns1", 2)] } else { [("ns.2", 5), ("ns1", 1), ("ns1", 2)] };
        order.into_iter().for_each(|(node, number)| server.take(node, &message(node, number)));
    }
    let [first, second] = servers.map(|events| ApiState { fleet_events: Some(events), ..world.state.clone() });
    let (found, text) = ids(ask(&first, "fleet=true&since=oldest&follow=false")).await;
    assert_eq!(found, ["ns1/1", "ns=2E2/5,ns1/1", "ns=2E2/5,ns1/2"], "{text}");
    assert!(text.contains("\"id\":\"ns.2/5\""), "{text}");
    for (cursor, expected) in [("ns1/1", vec!["ns=2E2/5,ns1/1", "ns=2E2/5,ns1/2"]), (&*found[1], vec![&*found[2]])] {
        let (found, text) = ids(ask(&second, &format!("fleet=true&since={cursor}&follow=false"))).await;
        assert!(found == expected && !text.contains("lagged"), "{cursor}: {text}");
    }
    let (found, text) = ids(ask(&first, "fleet=true&since=ns.2/1,ns1/2&follow=false")).await;
    let lost = "{\"missed\":3,\"nodes\":{\"ns.2\":{\"first\":2,\"last\":4}}}";
    assert!(found.len() == 1 && text.contains(lost), "{text}");
    assert_eq!(ask(&first, "fleet=true&since=ns1/1,ns1/2").status(), StatusCode::BAD_REQUEST);
    unread.fleet_events.as_ref().unwrap().note_read(Some("no connection"));
    let (found, text) = ids(ask(&first, "fleet=true&since=oldest&follow=false")).await;
    assert!(found.len() == 3 && text.contains("event: away\ndata: {\"why\":\"no connection\"}"), "{text}");
}
