//! The sockets of DoT, DoH and DoQ: bound early, as all sockets are, and served by the streams after the start.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::certificates::Certificates;
use super::inherited::{InheritedSockets, PassedSocket, SocketUse};
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

    /// What its socket is for.
    pub fn socket_use(self) -> SocketUse {
        match self {
            Encrypted::Tls => SocketUse::Tls,
            Encrypted::Https => SocketUse::Https,
            Encrypted::Quic => SocketUse::Quic,
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

impl Socket {
    /// Makes one that was inherited not block; returns its real address.
    fn prepare(&self) -> io::Result<SocketAddr> {
        match self {
            Socket::Tls(tcp) | Socket::Https(tcp) => tcp.set_nonblocking(true).and_then(|()| tcp.local_addr()),
            Socket::Quic(udp) => udp.set_nonblocking(true).and_then(|()| udp.local_addr()),
        }
    }
}

impl EncryptedListener {
    /// Takes the socket that was inherited, or binds the port.
    pub(super) fn bind(
        what: Encrypted,
        address: SocketAddr,
        certificates: Arc<Certificates>,
        inherited: &mut InheritedSockets,
    ) -> Result<EncryptedListener, BindError> {
        if let Some(socket) = inherited.take(what.socket_use(), address).pop() {
            let socket = match what {
                Encrypted::Tls => Socket::Tls(TcpListener::from(socket)),
                Encrypted::Https => Socket::Https(TcpListener::from(socket)),
                Encrypted::Quic => Socket::Quic(UdpSocket::from(socket)),
            };
            let address = socket.prepare().map_err(|source| BindError::Other { address, source })?;
            return Ok(EncryptedListener { what, address, socket, certificates });
        }
        let (address, socket) = match what {
            Encrypted::Tls => socket::bind_tcp(address).map(|(address, tcp)| (address, Socket::Tls(tcp)))?,
            Encrypted::Https => socket::bind_tcp(address).map(|(address, tcp)| (address, Socket::Https(tcp)))?,
            Encrypted::Quic => socket::bind_quic(address).map(|(address, udp)| (address, Socket::Quic(udp)))?,
        };
        Ok(EncryptedListener { what, address, socket, certificates })
    }

    /// The same socket by another descriptor.
    pub(super) fn try_clone(&self) -> io::Result<EncryptedListener> {
        let socket = match &self.socket {
            Socket::Tls(tcp) => Socket::Tls(tcp.try_clone()?),
            Socket::Https(tcp) => Socket::Https(tcp.try_clone()?),
            Socket::Quic(udp) => Socket::Quic(udp.try_clone()?),
        };
        let EncryptedListener { what, address, certificates, .. } = self;
        Ok(EncryptedListener { what: *what, address: *address, socket, certificates: certificates.clone() })
    }

    /// The same for another process.
    pub(super) fn passed(&self) -> io::Result<PassedSocket> {
        let what = self.what.socket_use();
        match &self.socket {
            Socket::Tls(tcp) | Socket::Https(tcp) => PassedSocket::again(what, self.address, tcp),
            Socket::Quic(udp) => PassedSocket::again(what, self.address, udp),
        }
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
