//! The socket of an accepted connection of TCP, DoT or DoH. It can be closed by a reset, so that the kernel frees at
//! once what the client has not taken.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::WRITE;

/// A socket with the options of a DNS connection.
#[derive(Debug)]
pub(super) struct Carrier {
    tcp: TcpStream,
    abort: Abort,
}

/// Decides how a socket is closed when it is dropped. Clones decide about the same socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Abort(Arc<AtomicBool>);

impl Carrier {
    /// Sets the options. A failure only costs time.
    pub(super) fn new(tcp: TcpStream) -> Carrier {
        // Replies are written whole, so that waiting for more gains nothing.
        let _ = tcp.set_nodelay(true);
        // The kernel ends a connection whose client acknowledges nothing, also one that we have closed.
        let _ = SockRef::from(&tcp).set_tcp_user_timeout(Some(WRITE));
        Carrier { tcp, abort: Abort::default() }
    }

    pub(super) fn abort(&self) -> Abort {
        self.abort.clone()
    }
}

impl Abort {
    /// The socket is closed by a reset: what the client has not taken is discarded.
    pub(super) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if self.abort.0.load(Relaxed) {
            let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Carrier {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}
