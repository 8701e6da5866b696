//! https: the version of HTTP, and the faults of servers with HTTP/2.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version, http};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::https::Authority;
use super::*;

const NAME: &str = "www.svc.example";

/// A request that was received: version, authority, path, one header.
type ReceivedRequest = (Version, String, String, Option<String>);

type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

fn page(text: &'static str) -> Response<AnyBody> {
    Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync())
}

/// A server that speaks `protocols` (ALPN) and answers by `answer`; its address, and the requests.
async fn speaking(
    authority: &Authority,
    protocols: &[&[u8]],
    answer: fn(&str) -> Response<AnyBody>,
) -> (SocketAddr, mpsc::UnboundedReceiver<ReceivedRequest>) {
    let (sender, received) = mpsc::unbounded_channel();
    let acceptor = authority.acceptor(NAME, protocols, |_| {});
    let to = serve(move |_, stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let header = |name: &str| request.headers().get(name).map(|v| v.to_str().expect("ASCII").to_owned());
                let authority = request.uri().authority().map(http::uri::Authority::to_string);
                let path = request.uri().path().to_owned();
                let response = answer(&path);
                let text = authority.or(header("host")).unwrap_or_default();
                let _ = sender.send((request.version(), text, path, header("x-probe")));
                async move { Ok::<_, Infallible>(response) }
            });
            let is_second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = TokioIo::new(stream);
            let _ = match is_second {
                true => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
                false => http1::Builder::new().serve_connection(stream, service).await,
            };
        }
    });
    (to.await, received)
}

fn asking(redirects: u32, body: &str) -> HttpSpec {
    let headers = vec![("x-probe".to_owned(), "yes".to_owned())];
    HttpSpec { host: Some(NAME.to_owned()), headers, redirects, body: Some(body.to_owned()), ..spec() }
}

async fn probe_by(authority: &Authority, spec: HttpSpec, to: SocketAddr) -> Result<Duration, Failure> {
    let rule = CertificateRule { verify: true, min_days: 0 };
    authority.measure(ProbeKind::Https(spec, rule), to, AMPLE).await.result
}

#[tokio::test]
async fn the_version_that_the_server_selects_is_used() {
    let authority = Authority::named("ours");
    for (protocols, version) in [
        (&[&b"h2"[..]][..], Version::HTTP_2),
        (&[b"http/1.1"], Version::HTTP_11),
        (&[b"h2", b"http/1.1"], Version::HTTP_2),
        (&[b"http/1.1", b"h2"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let (to, mut received) = speaking(&authority, protocols, |_| page("all is ok")).await;
        let found = probe_by(&authority, asking(0, "ok"), to).await;
        assert!(found.is_ok(), "{protocols:?}: {found:?}");
        let request = (version, NAME.to_owned(), "/healthz".to_owned(), Some("yes".to_owned()));
        assert_eq!(received.recv().await, Some(request));
    }
}

#[tokio::test]
async fn over_http_2_failures_and_redirects_are_those_of_http_1() {
    let authority = Authority::named("ours");
    let (to, _received) = speaking(&authority, &[b"h2"], |path| match path {
        "/healthz" => {
            let mut moved = page("");
            *moved.status_mut() = hyper::StatusCode::FOUND;
            moved.headers_mut().insert("location", HeaderValue::from_static("https://www.svc.example/ok"));
            moved
        }
        _ => page("all is ok"),
    })
    .await;
    assert!(probe_by(&authority, asking(1, "ok"), to).await.is_ok());
    let failure_text = |found: Result<Duration, Failure>| found.expect_err("this probe fails").to_string();
    let text = failure_text(probe_by(&authority, asking(0, "ok"), to).await);
    assert_eq!(text, "status 302 to https://www.svc.example/ok, expected 200");
    assert_eq!(failure_text(probe_by(&authority, asking(1, "fine"), to).await), "body lacks \"fine\"");
}

#[tokio::test]
async fn a_body_without_end_is_read_to_the_same_limit_over_http_2() {
    let authority = Authority::named("ours");
    let (to, _received) = speaking(&authority, &[b"h2"], |_| {
        let chunks = std::iter::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 1000]))));
        Response::new(StreamBody::new(futures_util::stream::iter(chunks)).boxed_unsync())
    })
    .await;
    let found = probe_by(&authority, asking(0, "ok"), to).await;
    assert_eq!(found, Err(Failure::Body { lacks: "ok".to_owned() }));
}

#[tokio::test]
async fn too_many_headers_are_a_failure() {
    let authority = Authority::named("ours");
    let (to, _received) = speaking(&authority, &[b"h2"], |_| {
        let mut response = page("ok");
        for nth in 0..100 {
            let name = hyper::header::HeaderName::try_from(format!("x-{nth}")).expect("a name");
            response.headers_mut().insert(name, HeaderValue::try_from("y".repeat(1000)).expect("a value"));
        }
        response
    })
    .await;
    let failure = probe_by(&authority, asking(0, "ok"), to).await.expect_err("over 64 KiB");
    assert!(failure.is_evidence() && failure.to_string().starts_with("HTTP failed: "), "{failure}");
}

#[tokio::test]
async fn a_response_that_is_not_http_2_after_it_was_negotiated_is_a_failure() {
    let authority = Authority::named("ours");
    let acceptor = authority.acceptor(NAME, &[b"h2"], |_| {});
    let to = serve(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let failure = probe_by(&authority, asking(0, "ok"), to).await.expect_err("not HTTP/2");
    assert!(failure.is_evidence() && failure.to_string().starts_with("HTTP failed: "), "{failure}");
}
