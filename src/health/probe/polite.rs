//! How connections of probes end. One that is dropped ends with a reset: thousands of probes a second would else
//! leave as many ports in TIME_WAIT. But a server that is still sending takes a reset for an error, and logs it. So a
//! probe that has its verdict leaves the rest to a task in the background, which reads the response to its end and
//! closes in order; by then the server has closed first as a rule, so that it is the server that keeps the port.

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

/// Most responses that are read to their end at once, over all probers; beyond, connections end with a reset.
/// Judgment: a descriptor each, and a server that answers is done with its body within milliseconds.
const MAX_ENDING: usize = 512;
/// The rest of a response is waited for until the probe's time is over, and so long at least.
const LEAST: Duration = Duration::from_secs(1);

/// At its end the server is given so long to close the connection, as it was asked to. Who closes first keeps the
/// port in TIME_WAIT, and a prober has not that many ports. Judgment: most round trips are below.
pub(super) const SERVER_CLOSES: Duration = Duration::from_millis(200);

static ROOM: Semaphore = Semaphore::const_new(MAX_ENDING);

/// Runs what ends a connection, in the background, until `until` at most, or [`LEAST`] from now. Where there is no
/// room for it, it is dropped.
pub(super) fn end_in_background(until: Moment, ending: impl Future<Output = ()> + Send + 'static) {
    if ROOM.available_permits() > 0 {
        tokio::spawn(end_by(until, ending));
    }
}

/// Waits for what ends connections, until `until` at most, or [`LEAST`] from now. Where there is no room for it, it is
/// dropped.
pub(super) async fn end_by(until: Moment, ending: impl Future<Output = ()>) {
    let Ok(_room) = ROOM.try_acquire() else { return };
    let left = until.since(clock::now()).max(LEAST);
    // Out of time: the connection ends with a reset.
    let _ = tokio::time::timeout(left, ending).await;
}

/// A connection that ends with a reset when it is dropped, and in order when it was shut down before.
pub(super) struct Line(TcpStream);

impl Line {
    /// `stream` as `tcp::connect` gives it.
    pub(super) fn new(stream: TcpStream) -> Line {
        Line(stream)
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
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
