//! The connections under the HTTP API, each within bounds: how many, how long a client may take to ask or to read,
//! how large its request's head is. The routes know nothing of this.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most connections at a time; further ones wait in the listen queue. Judgment: a handful of people, scrapers and
/// event streams, with room, and far below the usual limit of 1024 open files.
const MAX_CONNECTIONS: usize = 256;

/// A request's head is read whole within this, and a kept connection asks again within it. Longer than the pause
/// between two scrapes of 5 s or 10 s wouldn't be kept for much.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that takes nothing of what we sent for this long is cut off by the kernel (TCP_USER_TIMEOUT).
const STALLED_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest request head in octets. Our longest useful one is an explain of a 1004 character name.
const MAX_HEAD: usize = 16 * 1024;

/// Most header fields in a request: browsers send about 20.
const MAX_HEADERS: usize = 64;

/// How long open responses may go on once we stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// After a failed accept (no file descriptor left, most likely) we wait this long rather than spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop` is cancelled; returns when the last response ended, or a second later.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_within(MAX_CONNECTIONS, HEAD_TIMEOUT, listener, router, stop).await;
}

async fn serve_within(
    most_connections: usize,
    head_timeout: Duration,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(most_connections));
    let mut connections = JoinSet::new();
    while let Some((stream, slot)) = accept(&listener, &slots, &stop).await {
        connections.spawn(serve_connection(stream, head_timeout, router.clone(), stop.clone(), slot));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // What hasn't ended by then is cut when the set is dropped.
    let _ = tokio::time::timeout(STOP_GRACE, all_ended).await;
}

/// The next connection and its slot; `None` when we stop.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        let slot = slots.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, slot)),
                Err(error) => {
                    tracing::warn!(%error, "HTTP: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        next = next => next,
        () = stop.cancelled() => None,
    }
}

async fn serve_connection(
    stream: TcpStream,
    head_timeout: Duration,
    router: Router,
    stop: CancellationToken,
    _slot: OwnedSemaphorePermit,
) {
    // Refused only where the kernel lacks the option; then nothing but the other bounds hold.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALLED_TIMEOUT));
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // A connection's own errors (it broke off, it sent garbage) are its client's affair: not worth a log line.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes back for `request` before the server closes the connection.
    async fn answer(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is as good as a close.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_request_makes_room_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", axum::routing::get(async || "here"));
        let task = tokio::spawn(serve_within(1, Duration::from_millis(200), listener, router, stop.clone()));
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HT").await.unwrap();
        let next = answer(address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(next.ends_with("here"), "{next}");
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_head_without_end_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, Router::new(), stop.clone()));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD));
        for request in [many, long] {
            let answer = answer(address, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414"), "{answer}");
        }
        stop.cancel();
        task.await.unwrap();
    }
}
