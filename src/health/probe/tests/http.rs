//! http: the request, and the faults of servers.

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::*;

/// A server that reads the request, sends `reply` and leaves the connection open.
async fn replying(reply: impl Into<Vec<u8>>) -> SocketAddr {
    let reply: Vec<u8> = reply.into();
    serve(move |_, mut stream| {
        let reply = reply.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(&reply).await;
            // Waits until the probe closes, so that the end of the reply is not the end of the connection.
            let _ = stream.read_u8().await;
        }
    })
    .await
}

fn expecting(body: &str) -> ProbeKind {
    ProbeKind::Http(HttpSpec { body: Some(body.to_owned()), ..spec() })
}

const OK_THEN_MORE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";

#[tokio::test]
async fn the_head_of_an_expected_status_is_enough() {
    let to = replying(OK_THEN_MORE).await;
    let measured = measure(ProbeKind::Http(spec()), to, AMPLE).await;
    assert!(measured.result.is_ok(), "{measured:?}");
}

#[tokio::test]
async fn the_request_is_as_the_monitor_defines_it() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(read_request(&mut stream).await);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    let named = HttpSpec {
        path: "/ready?deep=1".to_owned(),
        host: Some("www.svc.example".to_owned()),
        headers: vec![("user-agent".to_owned(), "mine".to_owned()), ("x-key".to_owned(), "k1".to_owned())],
        statuses: vec![200, 204],
        ..spec()
    };
    for (spec, lines) in [
        (named, vec!["GET /ready?deep=1 HTTP/1.1", "host: www.svc.example", "user-agent: mine", "x-key: k1"]),
        (HttpSpec { statuses: vec![204], ..spec() }, vec!["GET /healthz HTTP/1.1", &format!("host: {to}")]),
    ] {
        let measured = measure(ProbeKind::Http(spec), to, AMPLE).await;
        assert!(measured.result.is_ok(), "{measured:?}");
        let request = received.recv().await.expect("the server saw it");
        for line in lines.into_iter().chain(["connection: close"]) {
            assert!(request.split("\r\n").any(|sent| sent == line), "{line:?} in {request:?}");
        }
    }
}

#[tokio::test]
async fn another_status_fails_and_no_redirect_is_followed() {
    let to = replying("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let text = failure(ProbeKind::Http(spec()), to, AMPLE).await.to_string();
    assert_eq!(text, "status 503, expected 200");
    let redirecting = replying(format!("HTTP/1.1 302 Found\r\nLocation: http://{to}/\r\n\r\n")).await;
    let text = failure(ProbeKind::Http(spec()), redirecting, AMPLE).await.to_string();
    assert_eq!(text, format!("status 302 to http://{to}/, expected 200"));
    let vendors = replying("HTTP/1.1 999 Request Denied\r\nContent-Length: 0\r\n\r\n").await;
    let expecting = HttpSpec { statuses: vec![999], ..spec() };
    let measured = measure(ProbeKind::Http(expecting), vendors, AMPLE).await;
    assert!(measured.result.is_ok(), "{measured:?}");
}

#[tokio::test]
async fn the_expected_text_is_found_across_packets_and_in_an_endless_body() {
    let to = serve(|_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        // The text is in two chunks. The body has no end.
        while stream.write_all(b"3\r\nI a\r\n7\r\nm fine \r\n").await.is_ok() {}
    })
    .await;
    let measured = measure(expecting("am fine"), to, AMPLE).await;
    assert!(measured.result.is_ok(), "{measured:?}");
    assert_eq!(failure(expecting("am ill"), to, AMPLE).await.to_string(), "body lacks \"am ill\"");
}

#[tokio::test]
async fn the_expected_text_counts_in_the_first_64_kib_alone() {
    for (before, is_found) in [(64 * 1024 - 2, true), (64 * 1024 - 1, false)] {
        let body = format!("{}ok", " ".repeat(before));
        let to = replying(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let measured = measure(expecting("ok"), to, AMPLE).await;
        assert_eq!(measured.result.is_ok(), is_found, "{before}: {:?}", measured.result);
    }
}

#[tokio::test]
async fn a_short_body_without_the_text_fails_at_its_end() {
    let to = replying("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsick").await;
    assert_eq!(failure(expecting("ok"), to, AMPLE).await, Failure::Body { lacks: "ok".to_owned() });
}

#[tokio::test]
async fn a_slow_body_and_a_slow_head_time_out() {
    let to = replying(format!("{OK_THEN_MORE}o")).await;
    assert_eq!(failure(expecting("ok"), to, BRIEF).await, Failure::TimedOut { after: BRIEF });
    let to = replying("HTTP/1.1 200 OK\r\nX-Slow: ").await;
    assert_eq!(failure(ProbeKind::Http(spec()), to, BRIEF).await, Failure::TimedOut { after: BRIEF });
}

#[tokio::test]
async fn garbage_and_incomplete_responses_are_failures() {
    for (reply, beginning) in [
        (b"220 mail.example ESMTP\r\n\r\n".to_vec(), "not HTTP"),
        (vec![0xFF; 4096], "not HTTP"),
        (format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200 * 1024)).into_bytes(), "response head over 64 KiB"),
    ] {
        let to = replying(reply.clone()).await;
        let text = failure(ProbeKind::Http(spec()), to, AMPLE).await.to_string();
        assert!(text.starts_with(beginning), "{text:?} of {:?}", String::from_utf8_lossy(&reply[..20]));
    }
    let to = serve(|_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Half: ").await;
    })
    .await;
    let text = failure(ProbeKind::Http(spec()), to, AMPLE).await.to_string();
    assert_eq!(text, "connection closed before the response was complete");
}

#[tokio::test]
async fn interim_responses_without_end_are_a_failure() {
    let to = serve(|_, mut stream| async move {
        read_request(&mut stream).await;
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".repeat(100);
        while stream.write_all(hints.as_bytes()).await.is_ok() {}
    })
    .await;
    let failure = failure(ProbeKind::Http(spec()), to, AMPLE).await;
    assert!(failure.is_evidence());
    assert_eq!(failure.to_string(), "HTTP failed: over 1024 KiB came, and no whole response");
}

#[tokio::test]
async fn a_body_in_the_smallest_chunks_is_read_to_the_same_limit() {
    let to = serve(|_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let _ = stream.write_all("1\r\nx\r\n".repeat(64 * 1024 - 2).as_bytes()).await;
        let _ = stream.write_all(b"2\r\nok\r\n0\r\n\r\n").await;
    })
    .await;
    assert!(measure(expecting("ok"), to, AMPLE).await.result.is_ok());
}

#[tokio::test]
async fn a_reset_in_the_middle_of_the_body_fails() {
    let to = serve(|_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(OK_THEN_MORE.as_bytes()).await;
        // The end is a reset, whether the probe has read the half of the body or not.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    })
    .await;
    let failure = failure(expecting("ok"), to, AMPLE).await;
    assert!(failure.is_evidence());
    assert_eq!(failure, Failure::Reset);
}

#[tokio::test]
async fn an_end_in_the_middle_of_the_body_is_no_reset() {
    let to = serve(|_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    })
    .await;
    let failure = failure(expecting("ok"), to, AMPLE).await;
    assert_eq!(failure, Failure::Closed);
    assert!(failure.is_evidence());
}

#[tokio::test]
async fn a_request_that_can_not_be_sent_is_no_failure_of_the_endpoint() {
    let to = replying("HTTP/1.1 200 OK\r\n\r\n").await;
    let bad = HttpSpec { headers: vec![("bad name".to_owned(), "x".to_owned())], ..spec() };
    assert!(!failure(ProbeKind::Http(bad), to, AMPLE).await.is_evidence());
}

/// A server that answers each path of `pages` with its status and location; its address, and the paths that were
/// requested.
async fn redirecting(pages: &'static [(&str, u16, &str)]) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (sender, received) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let request = read_request(&mut stream).await;
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let page = pages.iter().find(|(at, ..)| *at == path);
            let (_, status, location) = page.unwrap_or(&("", 404, ""));
            let _ = sender.send(path);
            let head = format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
        }
    })
    .await;
    (to, received)
}

const PAGES: &[(&str, u16, &str)] = &[
    ("/healthz", 301, "/a"),
    ("/a", 302, "b?x"),
    ("/b?x", 308, "//other.example/"),
    ("/loop", 307, "/loop"),
    ("/end", 303, "/ok"),
    ("/ok", 200, ""),
];

fn following(path: &str, redirects: u32) -> ProbeKind {
    ProbeKind::Http(HttpSpec { path: path.to_owned(), redirects, ..spec() })
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_configured_and_only_at_the_endpoint() {
    let (to, mut received) = redirecting(PAGES).await;
    let measured = measure(following("/end", 1), to, AMPLE).await;
    assert!(measured.result.is_ok(), "{measured:?}");
    assert_eq!((received.recv().await.as_deref(), received.recv().await.as_deref()), (Some("/end"), Some("/ok")));
    for (path, redirects, text) in [
        ("/end", 0, "status 303 to /ok, expected 200"),
        ("/healthz", 1, "redirected to b?x after 1 redirect"),
        ("/healthz", 2, "redirected to //other.example/ after 2 redirects"),
        ("/healthz", 3, "redirected to //other.example/, which is not what is probed"),
        ("/loop", 10, "redirected to /loop after 10 redirects"),
        ("/nowhere", 10, "status 404, expected 200"),
    ] {
        assert_eq!(failure(following(path, redirects), to, AMPLE).await.to_string(), text, "{path} {redirects}");
    }
}

#[tokio::test]
async fn a_redirect_with_an_expected_status_is_a_success() {
    let (to, mut received) = redirecting(PAGES).await;
    let expected = HttpSpec { statuses: vec![301], redirects: 3, ..spec() };
    assert!(measure(ProbeKind::Http(expected), to, AMPLE).await.result.is_ok());
    assert_eq!(received.recv().await.as_deref(), Some("/healthz"));
    assert!(received.try_recv().is_err(), "there was no other request");
}
