//! The conversation of DoT (RFC 7858): hickory's framing of messages on a stream, under our own accept loop, handshake
//! and limits. Its octets are answered as they came and sent as `answer` wrote them.
//!
//! Why not hickory-server's whole listener: it has no bound on connections and spins when no descriptor is left, ends for
//! good on an aborted connection, and writes every reply anew from what it could parse of it.

use futures_util::StreamExt;
use hickory_server::net::DnsStreamHandle;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tls::tls_from_stream;
use hickory_server::proto::op::SerialMessage;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::accept::Accepted;
use super::{IDLE, Serving};
use crate::answer::Transport;
use crate::clock;
use crate::server::counters::Dropped;

/// Serves one connection whose handshake is done, until it ends, is displaced, or `stop`.
pub(super) async fn converse(accepted: Accepted<TlsStream<TcpStream>>, serving: Serving, stop: CancellationToken) {
    let Accepted { stream, source, seat } = accepted;
    let (mut messages, mut replies) = tls_from_stream(AsyncIoTokioAsStd(stream), source);
    let conversation = async {
        loop {
            let next = tokio::select! {
                biased;
                // Also writes the reply before. So a client that takes none is bounded by the same time as one that
                // stops in the middle of a message.
                next = timeout(IDLE, messages.next()) => next,
                () = stop.cancelled() => return,
            };
            let Ok(next) = next else { return serving.counters.dropped(Dropped::Stalled, 1) };
            let Some(Ok(message)) = next else { return };
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
}
