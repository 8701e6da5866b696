//! The one accept loop, under plain TCP, DoT and DoH. It takes connections, finds each a seat and gives it a task of its
//! own, in which any handshake happens: a slow client holds up nobody else. What is said on a connection is for others.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{DRAIN, Serving};
use crate::answer::Transport;
use crate::clock;
use crate::server::counters::Dropped;
use crate::server::limit::Seat;

/// Pause after a failed accept, such as one without a free file, so that it can't take a whole core: judgment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// A connection that has just come.
pub(super) struct Accepted<S = TcpStream> {
    /// Its octets.
    pub(super) stream: S,
    /// Who made it.
    pub(super) source: SocketAddr,
    /// Its place among all.
    pub(super) seat: Seat,
}

/// Accepts and has each connection served by `converse` until `stop`, then gives them [`DRAIN`] to end. No error ends
/// it: all pass, some slowly.
pub(super) async fn serve<F>(
    listener: TcpListener,
    (serving, transport): (Serving, Transport),
    stop: CancellationToken,
    converse: impl Fn(Accepted, Serving) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, source)) => {
                let seat = seat(&serving, source);
                // Replies are whole when written: nothing is won by waiting for more. Failing costs only time.
                let _ = stream.set_nodelay(true);
                let open = serving.counters.connection(transport);
                let conversation = converse(Accepted { stream, source, seat }, serving.clone());
                tasks.spawn(async move {
                    conversation.await;
                    drop(open);
                });
            }
            Err(error) => after_failed_accept(&error, &serving).await,
        }
        while tasks.try_join_next().is_some() {}
    }
    drop(listener);
    drain(tasks).await;
}

/// A place for a connection, and a count when another had to go for it.
pub(super) fn seat(serving: &Serving, source: SocketAddr) -> Seat {
    let (seat, has_displaced) = serving.connections.admit(source.ip(), clock::now());
    if has_displaced {
        serving.counters.dropped(Dropped::Displaced, 1);
    }
    seat
}

/// Gives connections [`DRAIN`] to end by themselves.
pub(super) async fn drain(mut tasks: JoinSet<()>) {
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(DRAIN, all_ended).await;
    tasks.shutdown().await;
}

/// A connection that was gone before it was accepted is no reason to wait. Out of files: one is given up for the next.
async fn after_failed_accept(error: &io::Error, serving: &Serving) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return tokio::task::yield_now().await;
    }
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) && serving.connections.make_room() {
        serving.counters.dropped(Dropped::Displaced, 1);
    }
    sleep(ACCEPT_PAUSE).await;
}
