//! One HTTP/1.1 GET, in the clear or over TLS: status, and a text in the body's beginning. No redirect is followed:
//! where it leads to is not what was to be probed.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Method, Request};

use crate::clock;
use crate::health::probe::attempt::Turn;
use crate::health::probe::bounded::bounded;
use crate::health::probe::{Failure, ProbeClients, tcp, tls};
use crate::model::{CertificateRule, HttpSpec, Moment};

/// Looked at for the expected text (CONTRACT 3).
const BODY_LIMIT: usize = 64 * 1024;
/// Longest response head. Judgment: eight times what common servers allow a request's.
const HEAD_LIMIT: usize = 64 * 1024;
/// Unless the monitor's headers say otherwise.
pub(super) const AGENT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));

/// Asks `to` in the clear; gives the time from connecting to the head of the response.
pub(super) async fn get(
    clients: &ProbeClients,
    spec: &HttpSpec,
    to: SocketAddr,
    turn: Turn,
) -> Result<Duration, Failure> {
    const PORT: u16 = 80;
    let request = request(spec, to, PORT)?;
    let began = clock::now();
    let stream = tcp::connect(clients, to).await?;
    let began = turn.wait(began).await;
    exchange(bounded(stream), request, spec, began).await
}

/// Asks `to` over TLS; gives the time from connecting to the head of the response, both handshakes within.
pub(super) async fn get_over_tls(
    clients: &ProbeClients,
    spec: &HttpSpec,
    certificate: CertificateRule,
    to: SocketAddr,
    turn: Turn,
) -> Result<Duration, Failure> {
    const PORT: u16 = 443;
    let request = request(spec, to, PORT)?;
    let began = clock::now();
    let stream = tcp::connect(clients, to).await?;
    let began = turn.wait(began).await;
    let stream = tls::handshake(clients, spec.host.as_deref(), certificate, &[b"http/1.1"], to, stream).await?;
    exchange(bounded(stream), request, spec, began).await
}

/// The request; the Host header says the port only where it is not the scheme's own (RFC 9110, 7.2).
fn request(spec: &HttpSpec, to: SocketAddr, scheme_port: u16) -> Result<Request<Empty<Bytes>>, Failure> {
    let host = match &spec.host {
        Some(host) => host.clone(),
        None if to.port() != scheme_port => to.to_string(),
        None if to.is_ipv6() => format!("[{}]", to.ip()),
        None => to.ip().to_string(),
    };
    let unusable = |what: &str| Failure::Vantage(format!("cannot send {what:?} in an HTTP request"));
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = spec.path.parse().map_err(|_| unusable(&spec.path))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(&host).map_err(|_| unusable(&host))?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in &spec.headers {
        let name: HeaderName = name.parse().map_err(|_| unusable(name))?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| unusable(value))?);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

async fn exchange(
    stream: impl Read + Write + Unpin,
    request: Request<Empty<Bytes>>,
    spec: &HttpSpec,
    began: Moment,
) -> Result<Duration, Failure> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(stream).await.map_err(|error| explain(&error))?;
    let talk = async move {
        let response = sender.send_request(request).await.map_err(|error| explain(&error))?;
        let rtt = clock::now().since(began);
        let got = response.status().as_u16();
        if !spec.statuses.contains(&got) {
            return Err(Failure::Status { got, expected: spec.statuses.clone() });
        }
        match &spec.body {
            Some(text) => find(text, response.into_body()).await.map(|()| rtt),
            None => Ok(rtt),
        }
    };
    let (mut talk, mut connection) = (pin!(talk), pin!(connection));
    tokio::select! {
        biased;
        found = &mut talk => found,
        // The connection has ended: what it brought is still to be read.
        _ = &mut connection => talk.await,
    }
}

/// Reads no further than to the end of `text`, so an endless body that begins well is a good one.
async fn find(text: &str, mut body: Incoming) -> Result<(), Failure> {
    let wanted = text.as_bytes();
    let mut seen: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| explain(&error))?.into_data() else { continue };
        let fresh = seen.len();
        seen.extend(data.iter().take(BODY_LIMIT - fresh));
        let from = fresh.saturating_sub(wanted.len().saturating_sub(1));
        if seen.get(from..).is_some_and(|part| contains(part, wanted)) {
            return Ok(());
        }
        if seen.len() == BODY_LIMIT {
            break;
        }
    }
    if wanted.is_empty() { Ok(()) } else { Err(Failure::Body { lacks: text.to_owned() }) }
}

fn contains(part: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || part.windows(wanted.len()).any(|window| window == wanted)
}

/// What went wrong on a connection that stood: never this host's trouble.
pub(super) fn explain(error: &hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        return Failure::Garbage(format!("response head over {} KiB", HEAD_LIMIT / 1024));
    }
    if error.is_parse() {
        return Failure::Garbage(format!("not HTTP: {error}"));
    }
    if error.is_incomplete_message() {
        return Failure::Closed;
    }
    // The connection ended before the request was on its way: what ended it is within, if anything did but its end.
    if error.is_canceled() {
        return error
            .source()
            .and_then(|source| source.downcast_ref::<hyper::Error>())
            .map_or(Failure::Closed, explain);
    }
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match cause.map(Failure::from_io) {
        Some(known) if known.is_evidence() => known,
        Some(_) | None => Failure::Garbage(format!("HTTP failed: {}", deepest(error))),
    }
}

fn deepest(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => deepest(source),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_before_the_request_was_on_its_way_is_told_as_one() {
        let (ours, theirs) = tokio::io::duplex(64);
        drop(theirs);
        let spec = HttpSpec { path: "/".to_owned(), host: None, headers: Vec::new(), statuses: vec![200], body: None };
        let request = request(&spec, SocketAddr::from(([192, 0, 2, 1], 80)), 80).expect("it can be sent");
        assert_eq!(exchange(bounded(ours), request, &spec, clock::now()).await, Err(Failure::Closed));
    }
}
