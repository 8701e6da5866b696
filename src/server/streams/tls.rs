//! TLS under DoT and DoH: the handshake in bounded time, and what a certificate that changes while we serve takes.
//! DoT goes on in [`dot`](super::dot), DoH in [`https`](super::https).

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::accept::Accepted;
use super::{HANDSHAKE, Serving, dot};
use crate::server::certificates::{Certificates, server_config};
use crate::server::counters::Dropped;

/// Accepts TLS 1.2 and 1.3 with the certificate of the moment; a client that names protocols must name `alpn`.
pub(super) fn acceptor(certificates: Arc<Certificates>, alpn: &[u8]) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(server_config(certificates, alpn, rustls::ALL_VERSIONS)))
}

/// Serves one connection of DoT until it ends, is displaced, or `stop`.
pub(super) async fn connection(accepted: Accepted, acceptor: TlsAcceptor, serving: Serving, stop: CancellationToken) {
    let Some(accepted) = shake_hands(accepted, &acceptor, &serving).await else { return };
    dot::converse(accepted, serving, stop).await;
}

/// The handshake; `None` where there is no connection any more.
pub(super) async fn shake_hands(
    accepted: Accepted,
    acceptor: &TlsAcceptor,
    serving: &Serving,
) -> Option<Accepted<TlsStream<TcpStream>>> {
    let Accepted { stream, source, seat } = accepted;
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE, acceptor.accept(stream)) => shaken,
        () = seat.displaced() => return None,
    };
    match shaken {
        Ok(Ok(stream)) => Some(Accepted { stream, source, seat }),
        Ok(Err(_)) => {
            serving.counters.dropped(Dropped::Handshake, 1);
            None
        }
        Err(_) => {
            serving.counters.dropped(Dropped::Stalled, 1);
            None
        }
    }
}
