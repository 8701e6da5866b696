//! TLS below DoT, DoH and DoQ: its settings, from hickory-server's helper for DNS servers, and the handshake of DoT and
//! DoH in bounded time. A certificate that changes is shown from the next handshake on. After the handshake DoT goes on
//! in [`framed`](super::framed), DoH in [`https`](super::https).

use std::io;
use std::sync::Arc;

use hickory_server::server::default_tls_server_config;
use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::accept::NewConnection;
use super::carrier::Carrier;
use super::{HANDSHAKE, StreamContext, framed, reason_of};
use crate::answer::Transport;
use crate::clock;
use crate::server::certificates::Certificates;
use crate::server::counters::DropReason;

/// Octets that the TLS library has for a client that takes nothing: one record.
const BUFFER: usize = 16 << 10;

/// TLS 1.2 and 1.3 for one protocol, with the certificate of the moment. A client that names protocols must name
/// `alpn`. Without early data, whose repeats a server could not tell from the original (RFC 9250, 4.5). An error means
/// that the TLS library has no cipher suites for these versions, which `ring` has.
pub(super) fn server_config(certificates: Arc<Certificates>, alpn: &[u8]) -> io::Result<ServerConfig> {
    default_tls_server_config(alpn, certificates)
}

/// Accepts connections of one protocol.
pub(super) fn acceptor(certificates: Arc<Certificates>, alpn: &[u8]) -> TlsAcceptor {
    let config = server_config(certificates, alpn).expect("ring has cipher suites for TLS 1.2 and 1.3");
    TlsAcceptor::from(Arc::new(config))
}

/// Serves one connection of DoT until it ends, is displaced, or `stop`.
pub(super) async fn connection(
    accepted: NewConnection,
    acceptor: TlsAcceptor,
    context: StreamContext,
    stop: CancellationToken,
) {
    let Some(accepted) = shake_hands(accepted, Transport::Tls, &acceptor, &context).await else { return };
    framed::converse(accepted, Transport::Tls, context, stop).await;
}

/// The handshake; `None` where there is no connection any more.
pub(super) async fn shake_hands(
    accepted: NewConnection,
    transport: Transport,
    acceptor: &TlsAcceptor,
    context: &StreamContext,
) -> Option<NewConnection<TlsStream<Carrier>>> {
    let NewConnection { stream, source, seat, abort } = accepted;
    let Some(_handshake) = context.handshakes.admit(source.ip(), clock::now()) else {
        abort.set();
        context.counters.handshake_lost(transport, DropReason::Refused);
        return None;
    };
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE, acceptor.accept(stream)) => shaken,
        why = seat.displaced() => {
            abort.set();
            context.counters.handshake_lost(transport, reason_of(why));
            return None;
        }
    };
    match shaken {
        Ok(Ok(mut stream)) => {
            context.counters.handshake_done(transport);
            stream.get_mut().1.set_buffer_limit(Some(BUFFER));
            seat.mark_used(clock::now());
            Some(NewConnection { stream, source, seat, abort })
        }
        Ok(Err(_)) => {
            context.counters.handshake_lost(transport, DropReason::Handshake);
            None
        }
        Err(_) => {
            abort.set();
            context.counters.handshake_lost(transport, DropReason::Stalled);
            None
        }
    }
}
