//! The sockets of DoT, DoH and DoQ: bound early, as all sockets are, and served by the streams after the start.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::certificates::Certificates;
use super::socket::{self, BindError};
use super::streams::{self, StreamContext};
use crate::answer::Transport;

/// The transports that need a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encrypted {
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Encrypted {
    /// All of them, in the order of the ready line.
    pub const ALL: [Encrypted; 3] = [Encrypted::Tls, Encrypted::Https, Encrypted::Quic];

    /// Its name in the settings, on the ready line and on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Encrypted::Tls => Transport::Tls.as_str(),
            Encrypted::Https => Transport::Https.as_str(),
            Encrypted::Quic => Transport::Quic.as_str(),
        }
    }
}

/// One address of an encrypted transport.
#[derive(Debug)]
pub(super) struct EncryptedListener {
    pub(super) what: Encrypted,
    pub(super) address: SocketAddr,
    socket: Socket,
    certificates: Arc<Certificates>,
}

#[derive(Debug)]
enum Socket {
    Tls(TcpListener),
    Https(TcpListener),
    Quic(UdpSocket),
}

impl EncryptedListener {
    /// Binds the port.
    pub(super) fn bind(
        what: Encrypted,
        address: SocketAddr,
        certificates: Arc<Certificates>,
    ) -> Result<EncryptedListener, BindError> {
        let (address, socket) = match what {
            Encrypted::Tls => socket::bind_tcp(address).map(|(address, tcp)| (address, Socket::Tls(tcp)))?,
            Encrypted::Https => socket::bind_tcp(address).map(|(address, tcp)| (address, Socket::Https(tcp)))?,
            Encrypted::Quic => socket::bind_quic(address).map(|(address, udp)| (address, Socket::Quic(udp)))?,
        };
        Ok(EncryptedListener { what, address, socket, certificates })
    }

    /// Begins to serve it.
    pub(super) fn start(
        self,
        context: StreamContext,
        stop: CancellationToken,
        runtime: &Handle,
    ) -> io::Result<JoinHandle<()>> {
        let EncryptedListener { socket, certificates, .. } = self;
        let _context = runtime.enter();
        Ok(match socket {
            Socket::Tls(tcp) => {
                let tcp = tokio::net::TcpListener::from_std(tcp)?;
                runtime.spawn(streams::serve_tls(tcp, certificates, context, stop))
            }
            Socket::Https(tcp) => {
                let tcp = tokio::net::TcpListener::from_std(tcp)?;
                runtime.spawn(streams::serve_https(tcp, certificates, context, stop))
            }
            Socket::Quic(udp) => runtime.spawn(streams::serve_quic(udp, certificates, context, stop)),
        })
    }
}
