//! grpc: each kind of response of a health server.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::https::Authority;
use super::*;
use crate::model::GrpcSpec;

fn asking(service: &str) -> ProbeKind {
    ProbeKind::Grpc(GrpcSpec { service: service.to_owned(), host: None, tls: None })
}

/// A health service: its response to each call, and where it sends the path and the body of the call.
#[derive(Clone)]
struct HealthService {
    message: &'static [u8],
    status: &'static str,
    sender: mpsc::UnboundedSender<(String, Vec<u8>)>,
}

impl HealthService {
    async fn talk(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let answer = service_fn(move |request| self.clone().answer(request));
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
        let path = format!("{} {}", request.method(), request.uri().path());
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let _ = self.sender.send((path, body.to_vec()));
        let mut trailers = HeaderMap::new();
        trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static(self.status));
        trailers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static("in words"));
        let body = Full::new(Bytes::from_static(self.message)).with_trailers(async move { Some(Ok(trailers)) });
        let response = Response::builder().header("content-type", "application/grpc+proto").body(body);
        Ok(response.expect("a response"))
    }
}

/// A server that answers each call with this message and this grpc-status; its address, and the calls.
async fn server(
    message: &'static [u8],
    status: &'static str,
) -> (SocketAddr, mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let (sender, received) = mpsc::unbounded_channel();
    let health = HealthService { message, status, sender };
    (serve(move |_, stream| health.clone().talk(stream)).await, received)
}

#[tokio::test]
async fn serving_is_a_success_and_the_call_names_the_service() {
    let (to, mut received) = server(&[0, 0, 0, 0, 2, 8, 1], "0").await;
    assert!(measure(asking(""), to, AMPLE).await.result.is_ok());
    let path = "POST /grpc.health.v1.Health/Check".to_owned();
    assert_eq!(received.recv().await, Some((path.clone(), vec![0; 5])));
    assert!(measure(asking("db"), to, AMPLE).await.result.is_ok());
    assert_eq!(received.recv().await, Some((path, vec![0, 0, 0, 0, 4, 0x0A, 2, b'd', b'b'])));
}

#[tokio::test]
async fn unknown_fields_and_a_repeated_field_do_no_harm() {
    // A later version may have a field of 5,000 octets.
    let mut large = vec![0, 0, 0, 0x13, 0x8D, 0x12, 0x88, 0x27];
    large.resize(8 + 5000, b'x');
    large.extend([8, 1]);
    for message in [
        vec![0, 0, 0, 0, 5, 0x10, 0x96, 1, 8, 1],
        vec![0, 0, 0, 0, 4, 8, 2, 8, 1],
        vec![0, 0, 0, 0, 9, 0x15, 1, 2, 3, 4, 8, 1, 0x12, 0],
        large,
    ] {
        let (to, _received) = server(message.clone().leak(), "0").await;
        let measured = measure(asking(""), to, AMPLE).await;
        assert!(measured.result.is_ok(), "{:?}: {measured:?}", &message[..8]);
    }
}

#[tokio::test]
async fn everything_else_is_a_failure_with_its_own_text() {
    for (message, status, text) in [
        (&[0, 0, 0, 0, 2, 8, 2][..], "0", "NOT_SERVING"),
        (&[0, 0, 0, 0, 0], "0", "UNKNOWN"),
        (&[0, 0, 0, 0, 2, 8, 3], "0", "SERVICE_UNKNOWN"),
        (&[], "5", "grpc-status 5 (NOT_FOUND: the server doesn't know this service): in words"),
        (&[], "12", "grpc-status 12 (UNIMPLEMENTED: the server has no health service): in words"),
        (&[], "0", "gRPC: the answer is not a HealthCheckResponse"),
        (&[0; 70_000], "0", "gRPC: an answer over 64 KiB"),
        (&[1, 0, 0, 0, 2, 8, 1], "0", "gRPC: the answer is compressed, which was not asked for"),
        (&[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1], "0", "gRPC: more than one answer"),
        (&[0, 0, 0, 0, 4, 8, 1, 8, 2], "0", "NOT_SERVING"),
        (&[0, 0, 0, 0, 3, 8, 0xE7, 7], "0", "serving status 999"),
    ] {
        let (to, _received) = server(message, status).await;
        let failure = failure(asking(""), to, AMPLE).await;
        assert!(failure.is_evidence());
        assert_eq!(failure.to_string(), text);
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_fails_and_a_silent_one_times_out() {
    let to = serve(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let _ = stream.read_u8().await;
    })
    .await;
    assert!(failure(asking(""), to, AMPLE).await.is_evidence());
    let (store, mut stored) = mpsc::unbounded_channel();
    let silent = serve(move |_, stream| {
        // The test holds the connection open. It is never answered.
        let _ = store.send(stream);
        async {}
    })
    .await;
    assert_eq!(failure(asking(""), silent, BRIEF).await, Failure::TimedOut { after: BRIEF });
    assert!(stored.recv().await.is_some());
}

#[tokio::test]
async fn pings_without_an_end_are_a_failure() {
    let to = serve(|_, mut stream| async move {
        // SETTINGS, then PINGs (RFC 9113, 6.5 and 6.7).
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        let pings = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(100);
        let (mut read, mut write) = stream.split();
        let mut dropped = tokio::io::sink();
        tokio::select! {
            _ = tokio::io::copy(&mut read, &mut dropped) => {}
            () = async { while write.write_all(&pings).await.is_ok() {} } => {}
        }
    })
    .await;
    let failure = failure(asking(""), to, AMPLE).await;
    assert!(failure.is_evidence());
    assert!(failure.to_string().contains("over 1024 KiB came"), "{failure}");
}

/// A server over TLS for `name` that answers SERVING; its address, and the calls.
async fn tls_server(
    authority: &Authority,
    name: &str,
    protocols: &[&[u8]],
) -> (SocketAddr, mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let (sender, received) = mpsc::unbounded_channel();
    let health = HealthService { message: &[0, 0, 0, 0, 2, 8, 1], status: "0", sender };
    let acceptor = authority.acceptor(name, protocols, |_| {});
    let talk = move |_, stream| {
        let (acceptor, health) = (acceptor.clone(), health.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                health.talk(stream).await;
            }
        }
    };
    (serve(talk).await, received)
}

async fn over_tls(trusted: &Authority, host: &str, verify: bool, to: SocketAddr) -> Result<Duration, Failure> {
    let tls = Some(CertificateRule { verify, min_days: 0 });
    let spec = GrpcSpec { service: "db".to_owned(), host: Some(host.to_owned()), tls };
    trusted.measure(ProbeKind::Grpc(spec), to, AMPLE).await.result
}

#[tokio::test]
async fn over_tls_the_certificate_must_be_for_the_host() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let name = "grpc.svc.example";
    let (to, mut received) = tls_server(&ours, name, &[b"h2"]).await;
    assert!(over_tls(&ours, name, true, to).await.is_ok());
    let call = ("POST /grpc.health.v1.Health/Check".to_owned(), vec![0, 0, 0, 0, 4, 0x0A, 2, b'd', b'b']);
    assert_eq!(received.recv().await, Some(call));
    let text = |found: Result<Duration, Failure>| found.expect_err("this probe fails").to_string();
    assert_eq!(text(over_tls(&ours, "else.example", true, to).await), "certificate is not for else.example");
    assert_eq!(text(over_tls(&theirs, name, true, to).await), "certificate from an unknown issuer");
    assert!(over_tls(&theirs, name, false, to).await.is_ok(), "the certificate is not verified");
}

#[tokio::test]
async fn over_tls_a_server_without_http_2_is_a_failure() {
    let ours = Authority::named("ours");
    let (to, _received) = tls_server(&ours, "grpc.svc.example", &[b"http/1.1"]).await;
    let failure = over_tls(&ours, "grpc.svc.example", true, to).await.expect_err("no protocol in common");
    assert_eq!(failure.to_string(), "TLS handshake failed: received fatal alert: NoApplicationProtocol");
}
