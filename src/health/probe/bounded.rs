//! A connection from which no more than so much is read. There are ways to send without an end that no limit of heads
//! and bodies sees: interim responses (RFC 9110, 15.2), or PINGs of HTTP/2 (RFC 9113, 6.7). Who does that is stopped
//! here, so that one endpoint costs no more than another. Probes over HTTP/2 talk over it, whose windows must be
//! smaller than what is left to read; those over HTTP/1 count by the same bounds themselves.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is looked at of a body, and read of it at most, in octets (zones/README.md, `expect`).
pub(super) const BODY_LIMIT: usize = 64 * 1024;
/// What is read of a body in the background, in octets, so that no server is interrupted. Judgment: most pages are
/// shorter, and a probe of one that is longer costs no more than this.
pub(super) const REST_LIMIT: usize = 256 * 1024;
/// Longest response head. Judgment: eight times what common servers allow a request's.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;
/// Most that is read at all. Judgment: a head of 64 KiB, and 64 KiB of body in chunks of one octet, which take six,
/// leave as much again.
pub(super) const MOST: usize = 1024 * 1024;

/// Counts what is read, and fails instead of reading on.
pub(super) struct Bounded<S> {
    stream: S,
    left: usize,
}

/// `stream`, for hyper, as far as [`MOST`]; what is read at once may go beyond.
pub(super) fn bounded<S>(stream: S) -> TokioIo<Bounded<S>> {
    TokioIo::new(Bounded { stream, left: MOST })
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let words = format!("over {} KiB came, and no whole response", MOST / 1024);
            return Poll::Ready(Err(io::Error::other(words)));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
