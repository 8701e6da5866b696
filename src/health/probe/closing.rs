//! How the connections of probes are closed. A connection that is dropped is reset. Otherwise thousands of probes a
//! second would leave as many ports in TIME_WAIT. But a server that is still sending takes a reset for an error and
//! logs it. So a probe that has its result leaves the rest to a task in the background: it reads the response to its
//! end and closes in order. Usually the server closes first, and then its port stays in TIME_WAIT and not ours.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::clock;
use crate::model::Moment;

/// The most connections that are closed in order at a time, over all probers. Further ones are reset. Judgment: each
/// takes a descriptor, and a server that answers has sent its body within milliseconds.
const MAX_CLOSING: usize = 512;
/// The least time for closing in order. Otherwise it ends with the time-out of the probe.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// The time that the server has to close the connection first, after its response. Who closes first has its port in
/// TIME_WAIT, and a prober would run out of ports. Judgment: most round trips are shorter.
pub(super) const SERVER_CLOSE_WAIT: Duration = Duration::from_millis(200);

static SLOTS: Semaphore = Semaphore::const_new(MAX_CLOSING);

/// Runs `closing` in the background, until `until` or for [`LEAST_TIME`]. Drops it if no slot is free.
pub(super) fn close_in_background(until: Moment, closing: impl Future<Output = ()> + Send + 'static) {
    if SLOTS.available_permits() > 0 {
        tokio::spawn(close(until, closing));
    }
}

/// Runs `closing`, until `until` or for [`LEAST_TIME`]. Drops it if no slot is free.
pub(super) async fn close(until: Moment, closing: impl Future<Output = ()>) {
    let Ok(_slot) = SLOTS.try_acquire() else { return };
    let left = until.since(clock::now()).max(LEAST_TIME);
    // After the time-out the connection is reset.
    let _ = tokio::time::timeout(left, closing).await;
}

/// A connection of a probe. Dropping it resets the connection, unless it was shut down before.
pub(super) struct ProbeStream(TcpStream);

impl ProbeStream {
    /// `stream` comes from `tcp::connect`.
    pub(super) fn new(stream: TcpStream) -> ProbeStream {
        ProbeStream(stream)
    }
}

impl AsyncRead for ProbeStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ProbeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        SockRef::from(&self.0).set_linger(None)?;
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
