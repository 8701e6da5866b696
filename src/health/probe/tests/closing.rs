//! How the connections of probes are closed: a server that is still sending is not interrupted, and the result of the
//! probe does not wait for what the server sends.

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
use tokio_rustls::server::TlsStream;

use super::https::Authority;
use super::*;
use crate::health::rtt::RecentFailure;
use crate::model::TlsSpec;

const NAME: &str = "www.svc.example";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

/// How the connections of a server ended, as the server saw it.
struct Endings(mpsc::UnboundedReceiver<io::Result<()>>);

impl Endings {
    async fn next(&mut self) -> Result<(), io::ErrorKind> {
        let ended = tokio::time::timeout(AMPLE, self.0.recv()).await.expect("it ends").expect("a server");
        ended.map_err(|error| error.kind())
    }
}

/// As [`serve`], for servers whose `talk` returns how the connection ended. `None`: it had no request.
async fn serve_to_end<T, F>(talk: T) -> (SocketAddr, Endings)
where
    T: Fn(usize, TcpStream) -> F + Send + Sync + 'static,
    F: Future<Output = Option<io::Result<()>>> + Send + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    let talk = Arc::new(talk);
    let to = serve(move |nth, stream| {
        let (sender, talk) = (sender.clone(), Arc::clone(&talk));
        async move {
            if let Some(ended) = talk(nth, stream).await {
                let _ = sender.send(ended);
            }
        }
    });
    (to.await, Endings(receiver))
}

/// A server over TLS for [`NAME`], and the authority that signed its certificate.
struct TlsServer {
    authority: Authority,
    to: SocketAddr,
    endings: Endings,
}

impl TlsServer {
    /// Serves each connection by `talk`, which returns how it ended. The server speaks `protocols` (ALPN).
    async fn start<T, F>(protocols: &[&[u8]], talk: T) -> TlsServer
    where
        T: Fn(TlsStream<TcpStream>) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let authority = Authority::named("ours");
        let acceptor = authority.acceptor(NAME, protocols, |_| {});
        let talk = Arc::new(talk);
        let (to, endings) = serve_to_end(move |_, stream| {
            let (acceptor, talk) = (acceptor.clone(), Arc::clone(&talk));
            async move {
                let stream = acceptor.accept(stream).await.ok()?;
                Some(talk(stream).await)
            }
        })
        .await;
        TlsServer { authority, to, endings }
    }

    /// Probes the server, which must be a success.
    async fn probe(&self, kind: ProbeKind) {
        assert!(self.authority.measure(kind, self.to, AMPLE).await.result.is_ok());
    }
}

fn https() -> ProbeKind {
    let spec = HttpSpec { host: Some(NAME.to_owned()), ..spec() };
    ProbeKind::Https(spec, CertificateRule { verify: true, min_days: 0 })
}

/// Reads until the connection ends; returns how it ended.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// A server that sends the parts of its response one by one: the first at once, each other one after a notification.
async fn in_parts(parts: &'static [&'static [u8]], next: Arc<Notify>, closes: bool) -> (SocketAddr, Endings) {
    serve_to_end(move |_, mut stream| {
        let next = next.clone();
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
                read_to_end(&mut stream).await
            };
            Some(talk.await)
        }
    })
    .await
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
            // The result is known before the body was sent.
            assert_eq!(measure(kind.clone(), to, AMPLE).await.result.is_ok(), is_ok);
            next.notify_one();
            tokio::task::yield_now().await;
            next.notify_one();
            assert_eq!(endings.next().await, Ok(()), "closes: {closes}");
        }
    }
}

/// Heads, each with the parts of its body that are sent later.
const SLOW_BODIES: &[&[&[u8]]] = &[
    &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"],
    &[b"HTTP/1.1 200 OK\r\n\r\n", b"ok"],
    &[b"HTTP/1.0 200 OK\r\n\r\nok", b"more"],
    &[b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nok", b" more."],
];

#[tokio::test]
async fn nor_with_chunks_or_without_a_length_or_with_the_text_in_the_middle() {
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
            assert_eq!(endings.next().await, Ok(()), "{parts:?}");
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
    // The buffers of two kernels hold less.
    assert!(sent < 64 * 1024 * 1024, "{sent}");
}

#[tokio::test]
async fn a_silent_body_is_not_awaited_for_ever() {
    let (to, mut endings) = serve_to_end(|_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(HEAD).await;
        Some(read_to_end(&mut stream).await)
    })
    .await;
    assert!(measure(status(&[200]), to, BRIEF).await.result.is_ok());
    // It is reset, because the server has not sent everything.
    assert_eq!(endings.next().await, Err(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_server_over_tls_sees_no_reset_either() {
    let next = Arc::new(Notify::new());
    let of_server = next.clone();
    let mut server = TlsServer::start(&[b"http/1.1"], move |mut stream| {
        let next = of_server.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(HEAD).await?;
            stream.flush().await?;
            next.notified().await;
            stream.write_all(b"ok").await?;
            stream.shutdown().await?;
            read_to_end(&mut stream).await
        }
    })
    .await;
    server.probe(https()).await;
    next.notify_one();
    assert_eq!(server.endings.next().await, Ok(()));
}

#[tokio::test]
async fn http_2_ends_with_goaway() {
    let next = Arc::new(Notify::new());
    let of_server = next.clone();
    let mut server = TlsServer::start(&[b"h2"], move |stream| {
        let next = of_server.clone();
        async move {
            let answer = service_fn(move |_: Request<Incoming>| {
                let next = next.clone();
                async move {
                    // The head is sent at once, the data after a notification.
                    let data = futures_util::stream::once(async move {
                        next.notified().await;
                        Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"ok")))
                    });
                    Ok::<_, io::Error>(Response::new(StreamBody::new(data)))
                }
            });
            let served = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
            served.await.map_err(io::Error::other)
        }
    })
    .await;
    server.probe(https()).await;
    next.notify_one();
    assert_eq!(server.endings.next().await, Ok(()));
}

#[tokio::test]
async fn a_tls_monitor_sends_close_notify() {
    let mut server = TlsServer::start(&[], |mut stream| async move { read_to_end(&mut stream).await }).await;
    let certificate = CertificateRule { verify: true, min_days: 0 };
    server.probe(ProbeKind::Tls(TlsSpec { host: Some(NAME.to_owned()), certificate })).await;
    assert_eq!(server.endings.next().await, Ok(()));
}

/// A server that pauses before each part of its response.
async fn slow(parts: &'static [&'static [u8]], pause: Duration) -> (SocketAddr, Endings) {
    serve_to_end(move |_, mut stream| async move {
        if !read_request(&mut stream).await.ends_with("\r\n\r\n") {
            return None;
        }
        let talk = async {
            for part in parts {
                tokio::time::sleep(pause).await;
                stream.write_all(part).await?;
            }
            stream.shutdown().await?;
            read_to_end(&mut stream).await
        };
        Some(talk.await)
    })
    .await
}

#[tokio::test]
async fn a_request_is_not_repeated_while_its_response_comes() {
    // The head comes at once. The text comes long after an answer was overdue.
    let kind = ProbeKind::Http(HttpSpec { body: Some("ok".to_owned()), ..spec() });
    let next = Arc::new(Notify::new());
    let (to, mut endings) = in_parts(&[HEAD, b"o", b"k"], next.clone(), true).await;
    let rtt = Rtt::default();
    let (clients, check) = (ProbeClients::new(SourceAddresses::default()), check(kind, to, 8 * BRIEF));
    let late = async {
        for _ in 0..2 {
            tokio::time::sleep(3 * BRIEF).await;
            next.notify_one();
        }
    };
    let (measured, ()) = tokio::join!(probe(&clients, &check, &rtt), late);
    assert!(measured.result.is_ok(), "{measured:?}");
    assert_eq!(endings.next().await, Ok(()));
    assert!(endings.0.try_recv().is_err(), "there was one request");
}

#[tokio::test]
async fn repeated_requests_end_in_order_too() {
    // The second request is sent after 400 ms. Each is answered 600 ms after it came.
    let (to, mut endings) = slow(&[HEAD, b"ok"], 3 * BRIEF).await;
    let measured = measure(status(&[200]), to, 4 * BRIEF).await;
    assert!(measured.result.is_ok(), "{measured:?}");
    assert_eq!(endings.next().await, Ok(()));
    assert_eq!(endings.next().await, Ok(()), "there was a second request");
}

#[tokio::test]
async fn spare_connections_end_in_order() {
    let (to, mut endings) = serve_to_end(|nth, mut stream| async move {
        if nth == 0 {
            // Time for the spare connections.
            tokio::time::sleep(BRIEF).await;
            let _ = stream.write_all(HEAD).await;
            let _ = stream.write_all(b"ok").await;
            let _ = stream.shutdown().await;
        }
        Some(read_to_end(&mut stream).await)
    })
    .await;
    let mut rtt = Rtt::default();
    rtt.failed(RecentFailure::Failed);
    let (clients, check) = (ProbeClients::new(SourceAddresses::default()), check(status(&[200]), to, 4 * BRIEF));
    assert!(probe(&clients, &check, &rtt).await.result.is_ok());
    drop(clients);
    for _ in 0..2 {
        assert_eq!(endings.next().await, Ok(()));
    }
}

#[tokio::test]
async fn what_is_not_a_response_is_read_to_its_end() {
    let next = Arc::new(Notify::new());
    let (to, mut endings) =
        in_parts(&[b"SSH-2.0-OpenSSH_9.2\r\n", b"Invalid SSH identification string.\r\n"], next.clone(), true).await;
    assert!(measure(status(&[200]), to, AMPLE).await.result.is_err());
    next.notify_one();
    assert_eq!(endings.next().await, Ok(()));
}

#[tokio::test]
async fn a_page_longer_than_the_part_that_is_searched_is_read_to_its_end() {
    let (to, mut endings) = serve_to_end(|_, mut stream| async move {
        read_request(&mut stream).await;
        let talk = async {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n").await?;
            stream.write_all(&[b'x'; 200_000]).await?;
            read_to_end(&mut stream).await
        };
        Some(talk.await)
    })
    .await;
    assert!(measure(status(&[200]), to, AMPLE).await.result.is_ok());
    assert_eq!(endings.next().await, Ok(()));
}
