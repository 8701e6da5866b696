//! DoH (RFC 8484) over HTTP/2: GET and POST on `/dns-query`, with the DNS message as body. A request that is no DNS
//! query gets the HTTP status for its error. hyper handles the connection; this file decides which requests have room,
//! and when a connection is closed that is idle, displaced, or takes no replies.
//!
//! A decoded head takes ten times its octets on the wire, and one of 100 streams of each connection may have trailers
//! too. So nothing of a head is in memory while a request waits, and a request that may have trailers does not wait.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use hickory_proto::op::{Message, ResponseCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::accept::NewConnection;
use super::fields::Watched;
use super::octets::{LONG_REQUEST, Octets, Progress, REPLIES, STREAM, Starved, TICK};
use super::{AT_ONCE, IDLE, LONGEST, MESSAGE, StreamContext, WRITE, reason_of, tls};
use crate::admission::{Reservation, Seat};
use crate::answer::Transport;
use crate::server::counters::DropReason;

/// The path that clients assume (RFC 8484, 4.1.1).
const PATH: &str = "/dns-query";

/// The one media type (RFC 8484, 6).
const DNS_MESSAGE: &str = "application/dns-message";

/// Header fields of one request, octets as HTTP/2 counts them (32 more for each field; RFC 9113, 6.5.2). The longest
/// useful query has about 800 octets, 1,100 in base64url: the longest name, and options padded to 468 octets (RFC
/// 8467). The rest is for 30 fields as browsers send them. Decoded, 90 fields without content take 16 KiB.
const MAX_HEADERS: u32 = 3 << 10;

/// Octets that a client may send ahead of our reading, for all its streams: a longest message. They are read as they
/// come, into the connection's room.
const WINDOW: u32 = 64 << 10;

/// Responses without a body that one connection gets; after the next one it is closed. While its client does not take
/// them they have memory that is not reserved, as requests that wait for room have; so they are as few.
const BARE: usize = 16;

/// Serves one connection until it ends, is idle, is displaced, or `stop`.
pub(super) async fn connection(
    accepted: NewConnection,
    acceptor: TlsAcceptor,
    context: StreamContext,
    stop: CancellationToken,
) {
    let Some(accepted) = tls::shake_hands(accepted, Transport::Https, &acceptor, &context).await else { return };
    converse(accepted, context, stop).await;
}

/// What the requests of one connection share.
struct Client {
    source: SocketAddr,
    context: StreamContext,
    octets: Octets,
    /// A request has its response.
    was_used: Notify,
    /// Responses without a body.
    bare: AtomicUsize,
    /// There was no room for a reply for too long, or for too many requests.
    starved: CancellationToken,
}

async fn converse<S>(accepted: NewConnection<S>, context: StreamContext, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let NewConnection { stream, source, seat, abort } = accepted;
    let client = Arc::new(Client::new(source, context, &seat));
    let replies = client.octets.replies.clone();
    let service = {
        let client = client.clone();
        service_fn(move |request| {
            let client = client.clone();
            // Outside of the task, so that heads do not wait for it.
            let requested = Requested::in_head(request);
            async move {
                let response = tokio::select! {
                    response = client.respond(requested) => response,
                    () = client.octets.ended.cancelled() => unavailable(),
                };
                client.was_used.notify_one();
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(AT_ONCE)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(REPLIES)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let ended = client.octets.ended.clone();
    let stream = Watched::new(stream);
    let limits = stream.limits();
    let mut talking = pin!(http.serve_connection(TokioIo::new(stream), service));
    // Before the connection frees the room of its replies.
    let _ended = ended.drop_guard();
    let mut idle = pin!(sleep(IDLE));
    let mut tick = pin!(sleep(TICK));
    let mut progress = Progress::default();
    let lost = loop {
        tokio::select! {
            // Other errors are the client's, and HTTP/2 has reported them to the client.
            _ = &mut talking => match limits.cut_off.is_cancelled() {
                true => break DropReason::NoOctets,
                false => return,
            },
            why = seat.displaced() => break reason_of(why),
            () = client.starved.cancelled() => break DropReason::NoOctets,
            () = client.was_used.notified() => {
                progress.mark_used(&seat);
                idle.set(sleep(IDLE));
            }
            () = &mut tick, if replies.reserved() > 0 => {
                if progress.is_stalled(&replies, &seat) {
                    break DropReason::Stalled;
                }
                tick.set(sleep(TICK));
            }
            () = async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = limits.renew.cancelled() => {}
                    () = &mut idle => {}
                }
            } => {
                talking.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = timeout(WRITE, &mut talking) => match ended {
                        Ok(_) if limits.cut_off.is_cancelled() => break DropReason::NoOctets,
                        Ok(_) => return,
                        Err(_) => break DropReason::Stalled,
                    },
                    why = seat.displaced() => break reason_of(why),
                }
            }
        }
    };
    client.context.counters.dropped(lost, 1);
    // What the client has not taken must not stay in the kernel.
    abort.set();
}

/// The status of a request that is no query, and what to send instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    why: &'static str,
}

const ELSEWHERE: Refusal = Refusal { status: StatusCode::NOT_FOUND, why: "queries go to the path /dns-query\n" };
const OTHER_METHOD: Refusal =
    Refusal { status: StatusCode::METHOD_NOT_ALLOWED, why: "send queries by GET with ?dns=, or by POST\n" };
const OTHER_TYPE: Refusal = Refusal {
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    why: "a query by POST has Content-Type: application/dns-message\n",
};
const NO_MESSAGE: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    why: "the URL has no message: write /dns-query?dns= and the query in base64url (RFC 8484, 4.1)\n",
};
const NO_BASE64: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    why: "the value of `dns` in the URL is no base64url (RFC 4648, 5): A-Z, a-z, 0-9, - and _, without padding\n",
};
const NO_QUERY: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    why: "the message is no DNS query: it needs a header of 12 octets, with QR = 0\n",
};

/// What is used of a request, without the rest of its head.
struct Requested {
    /// The message that is in the head, an empty one that the body continues, or the status that refuses the request.
    message: Result<Vec<u8>, Refusal>,
    /// What is still to be received of a POST: a body, trailers, or only the end. The body of another request has no
    /// meaning (RFC 9110, 9.3.1).
    rest: Option<Incoming>,
    /// Whether it is HEAD, whose response has no body (RFC 9110, 9.3.2).
    is_head: bool,
}

impl Requested {
    fn in_head(request: Request<Incoming>) -> Requested {
        let message = match *request.method() {
            _ if request.uri().path() != PATH => Err(ELSEWHERE),
            Method::GET => in_query(request.uri().query().unwrap_or_default()),
            Method::POST if is_dns_message(request.headers().get(CONTENT_TYPE)) => Ok(Vec::new()),
            Method::POST => Err(OTHER_TYPE),
            _ => Err(OTHER_METHOD),
        };
        let (is_post, is_head) = (*request.method() == Method::POST, *request.method() == Method::HEAD);
        let rest = Some(request.into_body()).filter(|rest| is_post && !rest.is_end_stream());
        Requested { message, rest, is_head }
    }
}

impl Client {
    fn new(source: SocketAddr, context: StreamContext, seat: &Seat) -> Client {
        let octets = Octets::of(seat, &context);
        let (was_used, bare, starved) = (Notify::new(), AtomicUsize::new(0), CancellationToken::new());
        Client { source, context, octets, was_used, bare, starved }
    }

    /// The response to a request, in room of the connection until the client has taken it.
    async fn respond(&self, requested: Requested) -> Response<Full<Bytes>> {
        let length = requested.message.as_ref().map_or(0, Vec::len);
        let room = match self.octets.requests.try_reserve(STREAM + length) {
            Some(room) => Ok(room),
            None if requested.rest.is_some() || length > LONG_REQUEST => {
                return self.bare(StatusCode::SERVICE_UNAVAILABLE);
            }
            None => match self.octets.waiting.try_acquire() {
                Ok(_waits) => self.octets.request(STREAM + length).await,
                Err(_) => return self.bare(StatusCode::SERVICE_UNAVAILABLE),
            },
        };
        let responded = match room {
            Ok(room) => self.exchange(requested, room).await,
            Err(starved) => Err(starved),
        };
        responded.unwrap_or_else(|Starved| {
            self.starved.cancel();
            unavailable()
        })
    }

    async fn exchange(&self, requested: Requested, mut room: Reservation) -> Result<Response<Full<Bytes>>, Starved> {
        let Requested { message, rest, is_head } = requested;
        let message = match (message, rest) {
            (Ok(message), None) => message,
            (Err(refusal), None) if !is_head => return self.refuse(refusal, room).await,
            (Err(refusal), _) => return Ok(self.bare(refusal.status)),
            (Ok(message), Some(rest)) => match timeout(MESSAGE, with_rest(message, rest, &mut room)).await {
                Ok(Ok(message)) => message,
                Ok(Err(status)) => return Ok(self.bare(status)),
                Err(_) => return Ok(self.bare(StatusCode::REQUEST_TIMEOUT)),
            },
        };
        let whence = (self.source, Transport::Https);
        let answered = self.octets.answer(&self.context, &message, whence, <[u8]>::to_vec).await?;
        // HTTP needs a response also where other transports send none: the message was no query.
        let Some((reply, reply_room)) = answered else { return self.refuse(NO_QUERY, room).await };
        room.shrink_to(STREAM);
        let freshness = freshness_secs(&reply);
        let mut response = response(StatusCode::OK, Reservation::join(vec![room, reply_room], reply));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(DNS_MESSAGE));
        // Private: other clients of a shared cache may need another answer.
        if let Ok(value) = HeaderValue::try_from(format!("private, max-age={freshness}")) {
            response.headers_mut().insert(CACHE_CONTROL, value);
        }
        Ok(response)
    }

    /// Refuses a request that was received to its end.
    async fn refuse(&self, refusal: Refusal, room: Reservation) -> Result<Response<Full<Bytes>>, Starved> {
        let Refusal { status, why } = refusal;
        let why_room = timeout(WRITE, self.octets.replies.reserve(why.len())).await.map_err(|_| Starved)?;
        let mut response = response(status, Reservation::join(vec![room, why_room], why.as_bytes().to_vec()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        allow(&mut response);
        Ok(response)
    }

    /// Refuses a request without a body in the response. This ends the stream at once, so that the client can send no
    /// trailers that would wait for its end.
    fn bare(&self, status: StatusCode) -> Response<Full<Bytes>> {
        if self.bare.fetch_add(1, Relaxed) >= BARE {
            self.starved.cancel();
        }
        let mut response = response(status, Bytes::new());
        allow(&mut response);
        response
    }
}

fn allow(response: &mut Response<Full<Bytes>>) {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// Without a body, which would need room.
fn unavailable() -> Response<Full<Bytes>> {
    response(StatusCode::SERVICE_UNAVAILABLE, Bytes::new())
}

/// A message with the body of its request. Each part is copied when it is received, so that no buffer of the connection
/// waits with it. Takes room for what is received.
async fn with_rest(mut message: Vec<u8>, mut rest: Incoming, room: &mut Reservation) -> Result<Vec<u8>, StatusCode> {
    while let Some(frame) = rest.frame().await {
        // Trailers have no meaning here.
        let Ok(part) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
        if message.len() + part.len() > LONGEST {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if !room.try_grow(part.len()) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        message.extend_from_slice(&part);
    }
    Ok(message)
}

/// The message in `dns=`, base64url without padding (RFC 8484, 4.1). Padding that some clients add is accepted, and so
/// are characters in percent-encoding, which is the same URI (RFC 3986, 6.2.2.2).
fn in_query(query: &str) -> Result<Vec<u8>, Refusal> {
    let written = form_urlencoded::parse(query.as_bytes()).find_map(|(key, value)| (key == "dns").then_some(value));
    let written = written.filter(|written| !written.is_empty()).ok_or(NO_MESSAGE)?;
    BASE64URL_NOPAD.decode(written.trim_end_matches('=').as_bytes()).map_err(|_| NO_BASE64)
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
mod tests;
