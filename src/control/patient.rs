//! The socket of a connection of the API, which closes when its client takes too little of what is written.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::clock;
use crate::control::access::{ApiAccess, Refusal};
use crate::control::connections::ApiConnection;

/// A client that took nothing for so long is displaced before others. Judgment: longer than a lost packet takes.
const DEAF_AFTER: Duration = Duration::from_secs(1);

/// Periods of [`DEAF_AFTER`], 10 s in all, after which a connection is closed whose client took less than
/// [`LEAST_TAKEN`].
const PERIODS: u32 = 10;

/// Octets that a client must take in [`PERIODS`] while more wait. Judgment: 3 KiB a second, less than any line has.
const LEAST_TAKEN: usize = 32 << 10;

/// The socket. Its writes fail when the client takes too little.
#[derive(Debug)]
pub(super) struct PatientStream {
    stream: TcpStream,
    connection: Arc<ApiConnection>,
    access: Arc<ApiAccess>,
    /// Since a write had to wait, until all is written.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    timer: Pin<Box<Sleep>>,
    /// Periods that ended.
    periods: u32,
    /// Octets that the client took, in all and in this period.
    taken: usize,
    of_period: usize,
}

impl Waiting {
    fn new() -> Waiting {
        Waiting { timer: Box::pin(sleep(DEAF_AFTER)), periods: 0, taken: 0, of_period: 0 }
    }
}

impl PatientStream {
    pub(super) fn new(stream: TcpStream, connection: Arc<ApiConnection>, access: Arc<ApiAccess>) -> PatientStream {
        PatientStream { stream, connection, access, waiting: None }
    }

    /// Counts what a write wrote, or measures how long it waits.
    fn observe(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(octets)) => {
                self.connection.seat.mark_used(clock::now());
                let Some(waiting) = &mut self.waiting else { return written };
                waiting.taken += octets;
                waiting.of_period += octets;
                if waiting.taken >= LEAST_TAKEN {
                    self.waiting = None;
                }
                return written;
            }
            Poll::Ready(Err(_)) => return written,
            Poll::Pending => {}
        }
        let waiting = self.waiting.get_or_insert_with(Waiting::new);
        while waiting.timer.as_mut().poll(context).is_ready() {
            waiting.periods += 1;
            if waiting.periods == PERIODS {
                self.access.refusals.count(Refusal::Stalled);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if waiting.of_period == 0 {
                self.connection.seat.mark_deaf(clock::now());
            }
            waiting.of_period = 0;
            waiting.timer.set(sleep(DEAF_AFTER));
        }
        Poll::Pending
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        self.observe(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.observe(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when everything is written.
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
