//! The conversation of DoT (RFC 7858): hickory's framing of messages on a stream, under our own accept loop, handshake
//! and limits. Its octets are answered as they came and sent as `answer` wrote them.
//!
//! Why not hickory-server's whole listener: it has no bound on connections and spins when no descriptor is left, ends for
//! good on an aborted connection, and writes every reply anew from what it could parse of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use hickory_server::net::DnsStreamHandle;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tls::tls_from_stream;
use hickory_server::proto::op::SerialMessage;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::accept::Accepted;
use super::{DRAIN, IDLE, Serving};
use crate::answer::Transport;
use crate::clock;

/// Serves one connection whose handshake is done, until it ends, is displaced, or `stop`.
pub(super) async fn converse(accepted: Accepted<TlsStream<TcpStream>>, serving: Serving, stop: CancellationToken) {
    let Accepted { stream, source, seat } = accepted;
    let (stream, given_back) = Lent::new(stream);
    let (mut messages, mut replies) = tls_from_stream(AsyncIoTokioAsStd(stream), source);
    let conversation = async {
        loop {
            let next = tokio::select! {
                biased;
                // Also writes the reply before. So a client that takes none is bounded by the same time as one that
                // stops in the middle of a message, or asks nothing any more: the framing doesn't tell which.
                next = timeout(IDLE, messages.next()) => next,
                () = stop.cancelled() => return,
            };
            let Ok(Some(Ok(message))) = next else { return };
            let reply = |reply: &[u8]| replies.send(SerialMessage::new(reply.to_vec(), source));
            match serving.answer(message.bytes(), source, Transport::Tls, reply) {
                Some(Ok(())) => seat.was_useful(clock::now()),
                // The connection is gone.
                Some(Err(_)) => return,
                None => {}
            }
        }
    };
    tokio::select! {
        () = conversation => {}
        () = seat.displaced() => {}
    }
    drop(messages);
    // TLS says goodbye, so that the client can tell an end from an attack. One that takes no goodbye is left.
    if let Ok(mut stream) = given_back.await {
        let _ = timeout(DRAIN, stream.shutdown()).await;
    }
}

/// A stream that comes back from the framing, which keeps what it is given, when that is dropped.
struct Lent {
    stream: Option<TlsStream<TcpStream>>,
    back: Option<oneshot::Sender<TlsStream<TcpStream>>>,
}

impl Lent {
    fn new(stream: TlsStream<TcpStream>) -> (Lent, oneshot::Receiver<TlsStream<TcpStream>>) {
        let (back, given_back) = oneshot::channel();
        (Lent { stream: Some(stream), back: Some(back) }, given_back)
    }

    /// There until it is dropped.
    fn stream(&mut self) -> io::Result<Pin<&mut TlsStream<TcpStream>>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody waits for it when the task was broken off.
            let _ = back.send(stream);
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, room)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
