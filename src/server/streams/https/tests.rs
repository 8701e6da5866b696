//! DoH over a pipe, and what a request and a response mean.

use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record};
use hyper::client::conn::http2::{SendRequest, handshake};
use tokio::io::duplex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::clock;
use crate::server::streams::carrier::Abort;
use crate::server::streams::octets::WAITING;
use crate::server::streams::tests::echo;
use crate::server::{Counters, StreamLimits};

/// A client's side of a connection.
struct Connected {
    send: SendRequest<Full<Bytes>>,
    talking: JoinHandle<hyper::Result<()>>,
    serving_it: JoinHandle<()>,
    counters: Counters,
}

async fn connected() -> Connected {
    let (client, server) = duplex(1 << 16);
    let (counters, source) = (Counters::new(), SocketAddr::from(([192, 0, 2, 1], 4242)));
    let context = StreamContext::new(Arc::new(echo), counters.shared(), &StreamLimits::default(), None);
    let seat = context.seats.admit(source.ip(), clock::now());
    let accepted = NewConnection { stream: server, source, seat, abort: Abort::default() };
    let serving_it = tokio::spawn(converse(accepted, context, CancellationToken::new()));
    let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    Connected { send, talking: tokio::spawn(connection), serving_it, counters }
}

/// RFC 9110, 9.3.1: the content of a GET has no meaning. The query of RFC 8484, 4.1 is in the path.
#[tokio::test(start_paused = true)]
async fn the_body_of_a_get_is_no_part_of_the_message() {
    let Connected { mut send, .. } = connected().await;
    let request = Request::get("https://ns1.example/dns-query?dns=AAABAAAAAAAAAAAA");
    let response = send.send_request(request.body(Full::new(Bytes::from_static(b"body"))).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let Connected { mut send, talking, serving_it, counters } = connected().await;
    for _ in 0..5 {
        sleep(IDLE * 9 / 10).await;
        let request = Request::get("https://ns1.example/dns-query?dns=AAABAAAAAAAAAAAA");
        let response = send.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
    }
    sleep(IDLE * 9 / 10).await;
    assert!(!serving_it.is_finished());
    timeout(IDLE, serving_it).await.expect("closed by the server").unwrap();
    talking.await.unwrap().unwrap();
    assert!(counters.totals().dropped.iter().all(|(_, count)| *count == 0));
}

#[test]
fn http_caches_a_reply_no_longer_than_dns_caches_the_shortest_of_its_answers() {
    let record = |ttl| Record::from_rdata(Name::root(), ttl, RData::A(A::new(192, 0, 2, 1)));
    let reply = |rcode, answers: &[u32], authorities: &[u32]| {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.response_code = rcode;
        message.answers.extend(answers.iter().map(|ttl| record(*ttl)));
        message.authorities.extend(authorities.iter().map(|ttl| record(*ttl)));
        freshness_secs(&message.to_vec().unwrap())
    };
    assert_eq!(reply(ResponseCode::NoError, &[30, 20, 60], &[5]), 20);
    assert_eq!(reply(ResponseCode::NXDomain, &[], &[30]), 30);
    assert_eq!(reply(ResponseCode::NoError, &[], &[]), 0);
    assert_eq!(reply(ResponseCode::Refused, &[], &[30]), 0);
    assert_eq!(freshness_secs(&[0; 5]), 0);
}

#[test]
fn the_message_in_a_query_is_found_among_other_parameters() {
    // The example of RFC 8484, 4.1.1, cut to its header.
    let header = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for query in ["dns=AAABAAABAAAAAAAA", "ct&dns=AAABAAABAAAAAAAA", "a=b&dns=AAABAAABAAAAAAAA&c=d"] {
        assert_eq!(in_query(query).as_deref(), Ok(&header[..]), "{query}");
    }
    for query in ["dns=AA==", "dns=%41A", "d%6Es=A%41%3D%3d"] {
        assert_eq!(in_query(query).as_deref(), Ok(&[0][..]), "{query}");
    }
    for query in ["", "dns", "dns=", "DNS=AAAA", "xdns=AAAA"] {
        assert_eq!(in_query(query), Err(NO_MESSAGE), "{query}");
    }
    for query in ["dns=A", "dns=A+/=", "dns=%", "dns=%zz", "dns=%ff%fe"] {
        assert_eq!(in_query(query), Err(NO_BASE64), "{query}");
    }
}

#[test]
fn the_media_type_is_recognised_in_any_case_and_with_parameters() {
    let is = |text: &'static str| is_dns_message(Some(&HeaderValue::from_static(text)));
    assert!(is(DNS_MESSAGE) && is("Application/DNS-Message; charset=x"));
    assert!(!is("application/dns-json") && !is("") && !is_dns_message(None));
}

/// A connection whose room for requests is all taken, with its client.
fn crowded() -> (Arc<Client>, Reservation) {
    let (counters, source) = (Counters::new(), SocketAddr::from(([192, 0, 2, 1], 4242)));
    let context = StreamContext::new(Arc::new(echo), counters.shared(), &StreamLimits::default(), None);
    let seat = context.seats.admit(source.ip(), clock::now());
    let client = Arc::new(Client::new(source, context, &seat));
    let all = client.octets.requests.try_reserve(1 << 20).unwrap();
    (client, all)
}

#[tokio::test(start_paused = true)]
async fn few_requests_wait_for_room_and_a_client_that_sends_more_loses_its_connection() {
    let (client, all) = crowded();
    let requested = || Requested { message: Ok(vec![0; 12]), rest: None, is_head: false };
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.respond(requested()).await.status() })
        })
        .collect();
    tokio::task::yield_now().await;
    for _ in 0..BARE {
        assert_eq!(client.respond(requested()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(!client.starved.is_cancelled() && waiting.iter().all(|task| !task.is_finished()));
    client.respond(requested()).await;
    assert!(client.starved.is_cancelled());
    drop(all);
    for task in waiting {
        assert_eq!(task.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(client.octets.requests.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_message_without_room_is_refused_at_once() {
    let (client, _all) = crowded();
    let requested = Requested { message: Ok(vec![0; LONG_REQUEST + 1]), rest: None, is_head: false };
    assert_eq!(client.respond(requested).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.octets.waiting.available_permits(), WAITING);
}
