//! The connections of the HTTP API, and their limits: how many there are, how long a client may take to send a
//! request or to read a response, and how large the head of a request is. The routes know nothing of these limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::control::caller::ClientAddress;

/// Most connections at a time; further ones wait in the listen queue. Judgment: enough for a few people, scrapers and
/// event streams, and far below the usual limit of 1024 open files.
const MAX_CONNECTIONS: usize = 256;

/// Time limit for the head of a request, and for the next request on an idle connection. Judgment: an idle connection
/// is closed between two scrapes of a long interval; opening a new one costs little.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel closes a connection whose client acknowledges nothing for this long (TCP_USER_TIMEOUT).
const STALLED_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest head of a request in octets. The longest useful one is an explain of a name of 1004 characters.
const MAX_HEAD: usize = 16 * 1024;

/// Most header fields in a request. Browsers send about 20.
const MAX_HEADERS: usize = 64;

/// How long open responses may continue when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Pause after a failed accept, so that the loop does not spin. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop` is cancelled. Returns when the last response ended, or one second after
/// the stop.
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
    while let Some((stream, client, slot)) = accept(&listener, &slots, &stop).await {
        connections.spawn(serve_connection(stream, client, head_timeout, router.clone(), stop.clone(), slot));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // Dropping the set closes the connections that are still open.
    let _ = tokio::time::timeout(STOP_GRACE, all_ended).await;
}

/// The next connection and its slot; `None` when the server stops.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let next = async {
        let slot = slots.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer.ip(), slot)),
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
    client: IpAddr,
    head_timeout: Duration,
    router: Router,
    stop: CancellationToken,
    _slot: OwnedSemaphorePermit,
) {
    // It fails only if the kernel lacks the option. The other limits apply in any case.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALLED_TIMEOUT));
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ClientAddress(client));
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Errors of one connection (it broke, or it sent garbage) are not worth a log line.
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

    /// The response to `request`, read until the server closes the connection.
    async fn answer(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the response counts as a close.
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
