//! The grpc probe: the standard health check of gRPC (grpc.health.v1.Health/Check) over HTTP/2, with or without TLS.
//! SERVING is a success. The failure names any other status, or the error of gRPC. The request has one field, so it is
//! encoded here; `protobuf` decodes the response.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response};
use tokio::io::BufWriter;

use crate::clock;
use crate::health::probe::attempt::RequestPermit;
use crate::health::probe::bounded::{BODY_LIMIT, bounded};
use crate::health::probe::closing::ProbeStream;
use crate::health::probe::failure::printable;
use crate::health::probe::h2::failure_of;
use crate::health::probe::http::AGENT;
use crate::health::probe::protobuf::serving_status;
use crate::health::probe::{Failure, ProbeClients, h2, tcp, tls};
use crate::model::{GrpcSpec, Moment};
use crate::printable::is_unprintable;

const GRPC: &[u8] = b"application/grpc";
const STATUS: &str = "grpc-status";
/// The failure for octets that are not a response of the health service.
const NOT_A_RESPONSE: &str = "the answer is not a HealthCheckResponse";
/// The most characters of `grpc-message` that are reported.
const MAX_MESSAGE_CHARS: usize = 200;

/// Probes `to`. Returns the time from the beginning of the connection to the head of the response.
pub(super) async fn probe(
    clients: &ProbeClients,
    (spec, to): (&GrpcSpec, SocketAddr),
    until: Moment,
    permit: RequestPermit,
) -> Result<Duration, Failure> {
    let request = request(spec, to)?;
    let (stream, began) = tcp::connect_for_request(clients, to, &permit).await?;
    let stream = ProbeStream::new(stream);
    match spec.tls {
        None => exchange(bounded(BufWriter::new(stream)), request, (began, until), permit).await,
        Some(rule) => {
            let stream = tls::handshake(clients, spec.host.as_deref(), rule, &[b"h2"], to, stream).await?;
            exchange(bounded(BufWriter::new(stream)), request, (began, until), permit).await
        }
    }
}

fn request(spec: &GrpcSpec, to: SocketAddr) -> Result<Request<Full<Bytes>>, Failure> {
    let scheme = if spec.tls.is_some() { "https" } else { "http" };
    let authority = spec.host.clone().unwrap_or_else(|| to.to_string());
    let uri = format!("{scheme}://{authority}/grpc.health.v1.Health/Check");
    let mut request = Request::new(Full::new(Bytes::from(request_frame(&spec.service))));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.parse().map_err(|_| Failure::Vantage(format!("cannot ask {authority:?} over HTTP/2")))?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok(request)
}

/// HealthCheckRequest { string service = 1; }, uncompressed, in a frame of gRPC. An empty service is left out.
fn request_frame(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        let mut len = service.len();
        while len > 0x7F {
            message.push(len as u8 & 0x7F | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        message.extend(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

async fn exchange(
    stream: impl Read + Write + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    (began, until): (Moment, Moment),
    permit: RequestPermit,
) -> Result<Duration, Failure> {
    let read = |response| async move {
        let rtt = clock::now().since(began);
        permit.answer_began();
        (judge(response).await.map(|()| rtt), None)
    };
    h2::exchange(stream, request, until, read).await
}

async fn judge(response: Response<Incoming>) -> Result<(), Failure> {
    // An error may be in the head alone. A proxy may have given it another status of HTTP.
    if response.headers().contains_key(STATUS) {
        check_status(response.headers())?;
    }
    let got = response.status().as_u16();
    if got != 200 {
        return Err(Failure::Status { got, expected: vec![200], to: None });
    }
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.get(..GRPC.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(GRPC)) {
        return Err(Failure::Garbage(format!("not gRPC: the content type is {:?}", printable(kind))));
    }
    let head = response.headers().contains_key(STATUS).then(|| response.headers().clone());
    let (mut body, mut message, mut trailers) = (response.into_body(), Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| failure_of(&error))?.into_data() {
            Ok(data) if message.len() + data.len() <= BODY_LIMIT => message.extend(data),
            Ok(_) => return Err(garbage(&format!("an answer over {} KiB", BODY_LIMIT / 1024))),
            Err(other) => trailers = other.into_trailers().ok(),
        }
    }
    // If the trailers have no status, that of the head counts.
    let status = trailers.filter(|trailers| trailers.contains_key(STATUS)).or(head);
    check_status(&status.ok_or_else(|| garbage("no grpc-status at the end"))?)?;
    match serving_status(message_of(&message)?) {
        Some(1) => Ok(()),
        Some(0) => Err(Failure::Unhealthy("UNKNOWN".to_owned())),
        Some(2) => Err(Failure::Unhealthy("NOT_SERVING".to_owned())),
        Some(3) => Err(Failure::Unhealthy("SERVICE_UNKNOWN".to_owned())),
        Some(other) => Err(Failure::Unhealthy(format!("serving status {other}"))),
        None => Err(garbage(NOT_A_RESPONSE)),
    }
}

fn garbage(what: &str) -> Failure {
    Failure::Garbage(format!("gRPC: {what}"))
}

/// The message in a frame of gRPC. This call has one response, and the request did not allow compression.
fn message_of(frame: &[u8]) -> Result<&[u8], Failure> {
    let malformed = || garbage(NOT_A_RESPONSE);
    let (&compressed, rest) = frame.split_first().ok_or_else(malformed)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| malformed())?;
    match compressed {
        _ if len > rest.len() => Err(malformed()),
        _ if len < rest.len() => Err(garbage("more than one answer")),
        0 => Ok(rest),
        1 => Err(garbage("the answer is compressed, which was not asked for")),
        _ => Err(malformed()),
    }
}

/// Checks grpc-status and grpc-message. The codes are those of grpc/status.h.
fn check_status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let status = text(STATUS).unwrap_or_default();
    let meaning = match &*status {
        "0" => return Ok(()),
        "4" => " (DEADLINE_EXCEEDED)",
        "5" => " (NOT_FOUND: the server doesn't know this service)",
        "7" => " (PERMISSION_DENIED)",
        "12" => " (UNIMPLEMENTED: the server has no health service)",
        "13" => " (INTERNAL)",
        "14" => " (UNAVAILABLE)",
        "16" => " (UNAUTHENTICATED)",
        _ => "",
    };
    let short = |text: &str| text.chars().take(MAX_MESSAGE_CHARS).filter(|c| !is_unprintable(*c)).collect::<String>();
    let message = text("grpc-message").filter(|text| !text.is_empty()).map(|text| format!(": {}", short(&text)));
    Err(Failure::Unhealthy(format!("grpc-status {}{meaning}{}", short(&status), message.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_protobuf() {
        assert_eq!(request_frame(""), [0, 0, 0, 0, 0]);
        assert_eq!(request_frame("ab"), [0, 0, 0, 0, 4, 0x0A, 2, b'a', b'b']);
        assert_eq!(request_frame(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0A, 0xAC, 0x02]);
        let read = |frame| message_of(frame).ok().and_then(serving_status);
        assert_eq!(read(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(read(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(read(&[0, 0, 0, 0, 3, 8, 0x82, 0x01]), Some(130));
        for garbage in [&[][..], &[0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 8, 1], &[0, 0, 0, 0, 2, 8, 0x80]] {
            assert_eq!(read(garbage), None, "{garbage:?}");
        }
    }
}
