//! How a probe ends: a server that is still sending isn't interrupted, and the verdict doesn't wait for what it sends.

use std::io;
use std::sync::Arc;

use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::https::Authority;
use super::*;
use crate::health::rtt::Last;
use crate::model::TlsSpec;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

/// Reads to the end; how it ended.
async fn end_of(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// A server that sends the parts one by one, the first at once and the others when the test says so, and then how its
/// connection ended.
async fn in_parts(
    parts: &'static [&'static [u8]],
    next: Arc<Notify>,
    closes: bool,
) -> (SocketAddr, mpsc::UnboundedReceiver<io::Result<()>>) {
    let (send_end, endings) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let (next, send_end) = (next.clone(), send_end.clone());
        async move {
            read_request(&mut stream).await;
            let talk = async {
                for (nth, part) in parts.iter().enumerate() {
                    if nth > 0 {
                        next.notified().await;
                    }
                    stream.write_all(part).await?;
                }
                if closes {
                    stream.shutdown().await?;
                }
                end_of(&mut stream).await
            };
            let _ = send_end.send(talk.await);
        }
    })
    .await;
    (to, endings)
}

async fn ending(endings: &mut mpsc::UnboundedReceiver<io::Result<()>>) -> Result<(), io::ErrorKind> {
    let ended = tokio::time::timeout(AMPLE, endings.recv()).await.expect("it ends").expect("a server");
    ended.map_err(|error| error.kind())
}

fn status(statuses: &[u16]) -> ProbeKind {
    ProbeKind::Http(HttpSpec { statuses: statuses.to_vec(), ..spec() })
}

#[tokio::test]
async fn a_server_that_sends_head_and_body_apart_sees_no_reset() {
    for (kind, is_ok) in [(status(&[200]), true), (status(&[503]), false)] {
        for closes in [true, false] {
            let next = Arc::new(Notify::new());
            let (to, mut endings) = in_parts(&[HEAD, b"o", b"k"], next.clone(), closes).await;
            // The verdict is there though the body is not.
            assert_eq!(measure(kind.clone(), to, AMPLE).await.result.is_ok(), is_ok);
            next.notify_one();
            tokio::task::yield_now().await;
            next.notify_one();
            assert_eq!(ending(&mut endings).await, Ok(()), "closes: {closes}");
        }
    }
}

/// Heads, each with the parts of its body that come later.
const SLOW_BODIES: &[&[&[u8]]] = &[
    &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"],
    &[b"HTTP/1.1 200 OK\r\n\r\n", b"ok"],
    &[b"HTTP/1.0 200 OK\r\n\r\nok", b"more"],
    &[b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nok", b" more."],
];

#[tokio::test]
async fn nor_does_one_that_sends_chunks_or_until_the_end_or_is_found_well_half_way() {
    for parts in SLOW_BODIES {
        for body in [None, Some("ok".to_owned()).filter(|_| parts[0].ends_with(b"ok"))] {
            let next = Arc::new(Notify::new());
            let (to, mut endings) = in_parts(parts, next.clone(), true).await;
            let measured = measure(ProbeKind::Http(HttpSpec { body, ..spec() }), to, AMPLE).await;
            assert!(measured.result.is_ok(), "{measured:?}");
            for _ in 1..parts.len() {
                next.notify_one();
                tokio::task::yield_now().await;
            }
            assert_eq!(ending(&mut endings).await, Ok(()), "{parts:?}");
        }
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_not_read_for_ever() {
    let (send_end, mut endings) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let send_end = send_end.clone();
        async move {
            read_request(&mut stream).await;
            let mut sent = 0;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while let Ok(()) = stream.write_all(&[b'x'; 4096]).await {
                sent += 4096;
            }
            let _ = send_end.send(sent);
        }
    })
    .await;
    assert!(measure(status(&[200]), to, AMPLE).await.result.is_ok());
    let sent = tokio::time::timeout(AMPLE, endings.recv()).await.expect("it is cut off").expect("a server");
    // More than the buffers of two kernels hold.
    assert!(sent < 64 * 1024 * 1024, "{sent}");
}

#[tokio::test]
async fn a_silent_body_is_not_waited_for_for_ever() {
    let (send_end, mut endings) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let send_end = send_end.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(HEAD).await;
            let _ = send_end.send(end_of(&mut stream).await);
        }
    })
    .await;
    assert!(measure(status(&[200]), to, BRIEF).await.result.is_ok());
    // That is no end in order, as the server has not sent all.
    assert_eq!(ending(&mut endings).await, Err(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn over_tls_too() {
    let ours = Authority::named("ours");
    let acceptor = ours.acceptor("www.svc.example", &[b"http/1.1"], |_| {});
    let (send_end, mut endings) = mpsc::unbounded_channel();
    let next = Arc::new(Notify::new());
    let to = {
        let next = next.clone();
        serve(move |_, stream| {
            let (acceptor, send_end, next) = (acceptor.clone(), send_end.clone(), next.clone());
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                read_request(&mut stream).await;
                let talk = async {
                    stream.write_all(HEAD).await?;
                    stream.flush().await?;
                    next.notified().await;
                    stream.write_all(b"ok").await?;
                    stream.shutdown().await?;
                    end_of(&mut stream).await
                };
                let _ = send_end.send(talk.await);
            }
        })
        .await
    };
    let clients = ProbeClients::trusting(Sources::default(), ours.roots.clone());
    let spec = HttpSpec { host: Some("www.svc.example".to_owned()), ..spec() };
    let kind = ProbeKind::Https(spec, CertificateRule { verify: true, min_days: 0 });
    assert!(probe(&clients, &check(kind, to, AMPLE), &Rtt::default()).await.result.is_ok());
    next.notify_one();
    assert_eq!(ending(&mut endings).await, Ok(()));
}

#[tokio::test]
async fn http_2_ends_with_a_goodbye() {
    let ours = Authority::named("ours");
    let acceptor = ours.acceptor("www.svc.example", &[b"h2"], |_| {});
    let (send_end, mut endings) = mpsc::unbounded_channel();
    let next = Arc::new(Notify::new());
    let to = {
        let next = next.clone();
        serve(move |_, stream| {
            let (acceptor, send_end, next) = (acceptor.clone(), send_end.clone(), next.clone());
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = service_fn(move |_: Request<Incoming>| {
                    let next = next.clone();
                    async move {
                        // The head at once; the data when the test says so.
                        let data = futures_util::stream::once(async move {
                            next.notified().await;
                            Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"ok")))
                        });
                        Ok::<_, io::Error>(Response::new(StreamBody::new(data)))
                    }
                });
                let served =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
                let _ = send_end.send(served.map_err(io::Error::other));
            }
        })
        .await
    };
    let clients = ProbeClients::trusting(Sources::default(), ours.roots.clone());
    let spec = HttpSpec { host: Some("www.svc.example".to_owned()), ..spec() };
    let kind = ProbeKind::Https(spec, CertificateRule { verify: true, min_days: 0 });
    assert!(probe(&clients, &check(kind, to, AMPLE), &Rtt::default()).await.result.is_ok());
    next.notify_one();
    assert_eq!(ending(&mut endings).await, Ok(()));
}

#[tokio::test]
async fn a_tls_monitor_says_goodbye() {
    let ours = Authority::named("ours");
    let acceptor = ours.acceptor("www.svc.example", &[], |_| {});
    let (send_end, mut endings) = mpsc::unbounded_channel();
    let to = serve(move |_, stream| {
        let (acceptor, send_end) = (acceptor.clone(), send_end.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = send_end.send(end_of(&mut stream).await);
        }
    })
    .await;
    let clients = ProbeClients::trusting(Sources::default(), ours.roots.clone());
    let certificate = CertificateRule { verify: true, min_days: 0 };
    let kind = ProbeKind::Tls(TlsSpec { host: Some("www.svc.example".to_owned()), certificate });
    assert!(probe(&clients, &check(kind, to, AMPLE), &Rtt::default()).await.result.is_ok());
    assert_eq!(ending(&mut endings).await, Ok(()));
}

/// A server that sends the parts of its response with a pause before each. How the connections ended that had a request.
async fn slow(
    parts: &'static [&'static [u8]],
    pause: Duration,
) -> (SocketAddr, mpsc::UnboundedReceiver<io::Result<()>>) {
    let (send_end, endings) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let send_end = send_end.clone();
        async move {
            if !read_request(&mut stream).await.ends_with("\r\n\r\n") {
                return;
            }
            let talk = async {
                for part in parts {
                    tokio::time::sleep(pause).await;
                    stream.write_all(part).await?;
                }
                stream.shutdown().await?;
                end_of(&mut stream).await
            };
            let _ = send_end.send(talk.await);
        }
    })
    .await;
    (to, endings)
}

#[tokio::test]
async fn a_request_is_not_repeated_while_its_response_comes() {
    // The head comes at once, the text that decides much later than an answer is overdue.
    let kind = ProbeKind::Http(HttpSpec { body: Some("ok".to_owned()), ..spec() });
    let next = Arc::new(Notify::new());
    let (to, mut endings) = in_parts(&[HEAD, b"o", b"k"], next.clone(), true).await;
    let rtt = Rtt::default();
    let (clients, check) = (ProbeClients::new(Sources::default()), check(kind, to, 8 * BRIEF));
    let late = async {
        for _ in 0..2 {
            tokio::time::sleep(3 * BRIEF).await;
            next.notify_one();
        }
    };
    let (measured, ()) = tokio::join!(probe(&clients, &check, &rtt), late);
    assert!(measured.result.is_ok(), "{measured:?}");
    assert_eq!(ending(&mut endings).await, Ok(()));
    assert!(endings.try_recv().is_err(), "there was one request");
}

#[tokio::test]
async fn requests_that_were_repeated_end_in_order_too() {
    // The second is sent after 400 ms, and both are answered 600 ms after they came.
    let (to, mut endings) = slow(&[HEAD, b"ok"], 3 * BRIEF).await;
    let measured = measure(status(&[200]), to, 4 * BRIEF).await;
    assert!(measured.result.is_ok(), "{measured:?}");
    assert_eq!(ending(&mut endings).await, Ok(()));
    assert_eq!(ending(&mut endings).await, Ok(()), "there was a second request");
}

#[tokio::test]
async fn spare_connections_end_in_order() {
    let (send_end, mut endings) = mpsc::unbounded_channel();
    let to = serve(move |nth, mut stream| {
        let send_end = send_end.clone();
        async move {
            if nth == 0 {
                // Time for the spare connections.
                tokio::time::sleep(BRIEF).await;
                let _ = stream.write_all(HEAD).await;
                let _ = stream.write_all(b"ok").await;
                let _ = stream.shutdown().await;
            }
            let _ = send_end.send(end_of(&mut stream).await);
        }
    })
    .await;
    let mut rtt = Rtt::default();
    rtt.failed(Last::Failed);
    let (clients, check) = (ProbeClients::new(Sources::default()), check(status(&[200]), to, 4 * BRIEF));
    assert!(probe(&clients, &check, &rtt).await.result.is_ok());
    drop(clients);
    for _ in 0..2 {
        assert_eq!(ending(&mut endings).await, Ok(()));
    }
}

#[tokio::test]
async fn what_is_no_response_is_read_to_its_end() {
    let next = Arc::new(Notify::new());
    let (to, mut endings) =
        in_parts(&[b"SSH-2.0-OpenSSH_9.2\r\n", b"Invalid SSH identification string.\r\n"], next.clone(), true).await;
    assert!(measure(status(&[200]), to, AMPLE).await.result.is_err());
    next.notify_one();
    assert_eq!(ending(&mut endings).await, Ok(()));
}

#[tokio::test]
async fn a_page_longer_than_what_is_looked_at_is_read_to_its_end() {
    let (send_end, mut endings) = mpsc::unbounded_channel();
    let to = serve(move |_, mut stream| {
        let send_end = send_end.clone();
        async move {
            read_request(&mut stream).await;
            let talk = async {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n").await?;
                stream.write_all(&[b'x'; 200_000]).await?;
                end_of(&mut stream).await
            };
            let _ = send_end.send(talk.await);
        }
    })
    .await;
    assert!(measure(status(&[200]), to, AMPLE).await.result.is_ok());
    assert_eq!(ending(&mut endings).await, Ok(()));
}
