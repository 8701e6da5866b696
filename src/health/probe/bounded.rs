//! The bounds on what a probe reads, and a stream that enforces the total. Limits on heads and bodies are not enough: a
//! server can send interim responses (RFC 9110, 15.2) or PINGs of HTTP/2 (RFC 9113, 6.7) without end. Probes over
//! HTTP/2 use the stream; their flow-control windows must be smaller than the total. Probes over HTTP/1 count the
//! octets themselves, with the same bounds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The part of a body that is searched for the expected text, in octets (zones/README.md, `expect`).
pub(super) const BODY_LIMIT: usize = 64 * 1024;
/// The part of a body that is read in the background, in octets, so that the server is not interrupted. Judgment: most
/// pages are shorter, and the cost of a longer page is bounded.
pub(super) const REST_LIMIT: usize = 256 * 1024;
/// The longest response head, in octets. Judgment: eight times what common servers allow for the head of a request.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;
/// The most that is read from one connection, in octets. Judgment: a head of 64 KiB and 64 KiB of body in chunks of one
/// octet, which take six octets each, need half of it.
pub(super) const READ_LIMIT: usize = 1024 * 1024;

/// A stream that fails when the limit was read.
pub(super) struct BoundedStream<S> {
    stream: S,
    left: usize,
}

/// `stream` for hyper, limited to [`READ_LIMIT`]. The last read may exceed the limit.
pub(super) fn bounded<S>(stream: S) -> TokioIo<BoundedStream<S>> {
    TokioIo::new(BoundedStream { stream, left: READ_LIMIT })
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let message = format!("over {} KiB came, and no whole response", READ_LIMIT / 1024);
            return Poll::Ready(Err(io::Error::other(message)));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedStream<S> {
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
