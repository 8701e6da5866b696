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
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Some((stream, slot)) = accept(&listener, &slots, &stop).await {
        connections.spawn(serve_connection(stream, router.clone(), stop.clone(), slot));
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

async fn serve_connection(stream: TcpStream, router: Router, stop: CancellationToken, _slot: OwnedSemaphorePermit) {
    // Refused only where the kernel lacks the option; then nothing but the other bounds hold.
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALLED_TIMEOUT));
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
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
