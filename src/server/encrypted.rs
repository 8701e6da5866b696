//! The sockets of DoT, DoH and DoQ: taken early, as all are, and served from the start on by the streams.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::certificates::Certificates;
use super::socket::{self, BindError};
use super::streams::{self, Serving};
use crate::answer::Transport;

/// Which transport that needs a certificate.
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

    /// The word for it in the settings, on the ready line and on metrics.
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
pub(super) struct Listening {
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

impl Listening {
    /// Takes the port.
    pub(super) fn bind(
        what: Encrypted,
        address: SocketAddr,
        certificates: Arc<Certificates>,
    ) -> Result<Listening, BindError> {
        let (address, socket) = match what {
            Encrypted::Tls => socket::bind_tcp(address).map(|(address, tcp)| (address, Socket::Tls(tcp)))?,
            Encrypted::Https => socket::bind_tcp(address).map(|(address, tcp)| (address, Socket::Https(tcp)))?,
            Encrypted::Quic => socket::bind_quic(address).map(|(address, udp)| (address, Socket::Quic(udp)))?,
        };
        Ok(Listening { what, address, socket, certificates })
    }

    /// Begins to serve it.
    pub(super) fn start(
        self,
        serving: Serving,
        stop: CancellationToken,
        runtime: &Handle,
    ) -> io::Result<JoinHandle<()>> {
        let Listening { socket, certificates, .. } = self;
        let _context = runtime.enter();
        Ok(match socket {
            Socket::Tls(tcp) => {
                let tcp = tokio::net::TcpListener::from_std(tcp)?;
                runtime.spawn(streams::serve_tls(tcp, certificates, serving, stop))
            }
            Socket::Https(tcp) => {
                let tcp = tokio::net::TcpListener::from_std(tcp)?;
                runtime.spawn(streams::serve_https(tcp, certificates, serving, stop))
            }
            Socket::Quic(udp) => runtime.spawn(streams::serve_quic(udp, certificates, serving, stop)),
        })
    }
}
