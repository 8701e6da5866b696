//! DoH (RFC 8484) over HTTP/2: GET and POST on `/dns-query`, with the DNS message as body. A request that is no DNS
//! query gets the HTTP status for its error. hyper handles the connection; this file decides when an idle or displaced
//! connection is closed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hickory_proto::op::{Message, ResponseCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::accept::NewConnection;
use super::{AT_ONCE, IDLE, LONGEST, MESSAGE, StreamContext, WRITE, tls};
use crate::answer::Transport;
use crate::clock;
use crate::server::counters::DropReason;

/// The path that clients assume (RFC 8484, 4.1.1).
const PATH: &str = "/dns-query";

/// The one media type (RFC 8484, 6).
const DNS_MESSAGE: &str = "application/dns-message";

/// Header fields of one request, octets: room for a query of some kilobytes in a GET; real ones are far shorter.
const MAX_HEADERS: u32 = 16 << 10;

/// Octets that a client may send ahead, of one message and of all: a whole message, and two.
const WINDOW: u32 = 64 << 10;

/// Serves one connection until it ends, is idle, is displaced, or `stop`.
pub(super) async fn connection(
    accepted: NewConnection,
    acceptor: TlsAcceptor,
    context: StreamContext,
    stop: CancellationToken,
) {
    let Some(accepted) = tls::shake_hands(accepted, &acceptor, &context).await else { return };
    converse(accepted, context, stop).await;
}

async fn converse<S>(accepted: NewConnection<S>, context: StreamContext, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let NewConnection { stream, source, seat } = accepted;
    let was_used = Arc::new(Notify::new());
    let service = {
        let (context, was_used) = (context.clone(), was_used.clone());
        service_fn(move |request| {
            let (context, was_used) = (context.clone(), was_used.clone());
            async move {
                let response = respond(request, source, &context).await;
                was_used.notify_one();
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(AT_ONCE)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW);
    let mut talking = pin!(http.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            // An error is the client's, and HTTP/2 has reported it to the client.
            _ = &mut talking => return,
            why = seat.displaced() => return context.count_displaced(why),
            () = stop.cancelled() => break,
            used = timeout(IDLE, was_used.notified()) => match used {
                Ok(()) => seat.mark_used(clock::now()),
                Err(_) => break,
            },
        }
    }
    talking.as_mut().graceful_shutdown();
    tokio::select! {
        ended = timeout(WRITE, talking) => if ended.is_err() {
            context.counters.dropped(DropReason::Stalled, 1);
        },
        why = seat.displaced() => context.count_displaced(why),
    }
}

async fn respond(request: Request<Incoming>, source: SocketAddr, context: &StreamContext) -> Response<Full<Bytes>> {
    let message = match message_of(request).await {
        Ok(message) => message,
        Err(status) => return refusal(status),
    };
    let reply = context.answer(&message, source, Transport::Https, Bytes::copy_from_slice);
    // HTTP needs a response also where other transports send none: the message was no query.
    let Some(reply) = reply else { return refusal(StatusCode::BAD_REQUEST) };
    let freshness = freshness_secs(&reply);
    let mut response = Response::new(Full::new(reply));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(DNS_MESSAGE));
    // Private: other clients of a shared cache may need another answer.
    if let Ok(value) = HeaderValue::try_from(format!("private, max-age={freshness}")) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let why = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// The DNS message in a request (RFC 8484, 4.1), or the status that refuses it.
async fn message_of(request: Request<Incoming>) -> Result<Bytes, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET => in_query(request.uri().query().unwrap_or_default()).ok_or(StatusCode::BAD_REQUEST),
        Method::POST if !is_dns_message(request.headers().get(CONTENT_TYPE)) => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        Method::POST => {
            let body = timeout(MESSAGE, Limited::new(request.into_body(), LONGEST).collect()).await;
            match body {
                Ok(Ok(body)) => Ok(body.to_bytes()),
                Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
                Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
                Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
            }
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// The message in `dns=`, base64url without padding (RFC 8484, 4.1). Padding that some clients add is accepted.
fn in_query(query: &str) -> Option<Bytes> {
    let written = query.split('&').find_map(|pair| pair.strip_prefix("dns="))?;
    BASE64URL_NOPAD.decode(written.trim_end_matches('=').as_bytes()).ok().map(Bytes::from)
}

fn is_dns_message(content_type: Option<&HeaderValue>) -> bool {
    let written = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = written.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(DNS_MESSAGE)
}

/// How long HTTP may cache a reply, seconds: the shortest TTL of its answers, or of the negative answer (RFC 8484,
/// 5.1). Errors are not cached.
fn freshness_secs(reply: &[u8]) -> u32 {
    let Ok(message) = Message::from_vec(reply) else { return 0 };
    if !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return 0;
    }
    let decisive = if message.answers.is_empty() { &message.authorities } else { &message.answers };
    decisive.iter().map(|record| record.ttl).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record};
    use hyper::client::conn::http2::handshake;
    use tokio::io::duplex;
    use tokio::time::sleep;

    use super::*;
    use crate::answer::{Outcome, RawQuery, Reply, Tallies};
    use crate::server::Counters;

    fn echo(ask: &RawQuery<'_>, out: &mut [u8]) -> Outcome {
        out[..ask.packet.len()].copy_from_slice(ask.packet);
        Outcome::Reply(Reply {
            len: ask.packet.len(),
            rcode: 0,
            tallies: Tallies::default(),
            has_valid_cookie: false,
            subject: 0,
            ..Reply::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
        let (client, server) = duplex(1 << 16);
        let (counters, source) = (Counters::new(), SocketAddr::from(([192, 0, 2, 1], 4242)));
        let context = StreamContext::new(Arc::new(echo), counters.shared());
        let seat = context.seats.admit(source.ip(), clock::now());
        let accepted = NewConnection { stream: server, source, seat };
        let serving_it = tokio::spawn(converse(accepted, context, CancellationToken::new()));
        let (mut send, connection) = handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        let talking = tokio::spawn(connection);
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
            assert_eq!(in_query(query).as_deref(), Some(&header[..]), "{query}");
        }
        assert_eq!(in_query("dns=AA==").as_deref(), Some(&[0][..]));
        for query in ["", "dns", "DNS=AAAA", "dns=A", "dns=A+/=", "xdns=AAAA"] {
            assert_eq!(in_query(query), None, "{query}");
        }
    }

    #[test]
    fn the_media_type_is_recognised_in_any_case_and_with_parameters() {
        let is = |text: &'static str| is_dns_message(Some(&HeaderValue::from_static(text)));
        assert!(is(DNS_MESSAGE) && is("Application/DNS-Message; charset=x"));
        assert!(!is("application/dns-json") && !is("") && !is_dns_message(None));
    }
}
