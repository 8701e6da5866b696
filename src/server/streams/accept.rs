//! The accept loop of plain TCP, DoT and DoH. It accepts connections and gives each a seat below the limit and a task
//! of its own, which also does the handshake, so that a slow client delays no other. Other files read the messages.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::carrier::{Abort, Carrier};
use super::{DRAIN, LINGER, StreamContext};
use crate::admission::Seat;
use crate::answer::Transport;
use crate::clock;
use crate::server::socket::BACKLOG;

/// Pause after a failed accept, such as one without a free descriptor, so that the loop cannot use a whole core:
/// judgment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// Connections that are still taken when stopping: those that can wait to be accepted.
const MOST_LATE: usize = BACKLOG as usize;

/// A connection that was just accepted.
pub(super) struct NewConnection<S = Carrier> {
    /// Its octets.
    pub(super) stream: S,
    /// The client.
    pub(super) source: SocketAddr,
    /// Its place below the limit of connections.
    pub(super) seat: Seat,
    /// How its socket is closed.
    pub(super) abort: Abort,
}

/// Accepts and has each connection served by `converse` until `stop`, then gives them [`DRAIN`] to end. No error ends
/// the loop.
pub(super) async fn serve<F>(
    listener: TcpListener,
    (context, transport): (StreamContext, Transport),
    stop: CancellationToken,
    converse: impl Fn(NewConnection, StreamContext) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let begin = |tasks: &mut JoinSet<()>, (stream, source): (TcpStream, SocketAddr)| {
        let seat = context.seats.admit(source.ip(), clock::now());
        let stream = Carrier::new(stream);
        let abort = stream.abort();
        let open = context.counters.connection(transport);
        let conversation = converse(NewConnection { stream, source, seat, abort }, context.clone());
        tasks.spawn(async move {
            conversation.await;
            drop(open);
        });
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next(&listener, &context) => accepted,
        };
        match accepted {
            Ok(accepted) => begin(&mut tasks, accepted),
            Err(error) => after_failed_accept(&error, &context).await,
        }
        while tasks.try_join_next().is_some() {}
    }
    // The system has accepted these for us: with the listener they would be reset.
    for _ in 0..MOST_LATE {
        // Unconstrained: otherwise tokio lets a task have 128 of them in one turn.
        let accepting = tokio::task::coop::unconstrained(listener.accept());
        let Some(Ok(accepted)) = accepting.now_or_never() else { break };
        begin(&mut tasks, accepted);
    }
    drop(listener);
    drain(tasks).await;
}

/// The next connection. Those that were displaced end first.
async fn next(listener: &TcpListener, context: &StreamContext) -> io::Result<(TcpStream, SocketAddr)> {
    context.seats.settled().await;
    listener.accept().await
}

/// Gives connections a little more than [`DRAIN`] to end by themselves.
pub(super) async fn drain(mut tasks: JoinSet<()>) {
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(DRAIN + LINGER, all_ended).await;
    tasks.shutdown().await;
}

/// Without a pause where the connection ended before it was accepted. Out of descriptors, one connection is closed for
/// the next.
async fn after_failed_accept(error: &io::Error, context: &StreamContext) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return tokio::task::yield_now().await;
    }
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
        context.seats.make_room();
    }
    sleep(ACCEPT_PAUSE).await;
}
