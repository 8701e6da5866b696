//! Sockets that were bound before this process: by the server whose place it takes, or by an earlier process of the
//! same service, for which systemd has them. [`Server::bind_with`](super::Server::bind_with) takes those that fit the
//! settings, and binds the others. Nothing that such a socket has received is discarded.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{SockRef, Type};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketUse {
    /// DNS over UDP: one of the sockets of an address.
    Udp,
    /// DNS over TCP.
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
    /// The API.
    Http,
}

impl SocketUse {
    /// All of them.
    pub const ALL: [SocketUse; 6] =
        [SocketUse::Udp, SocketUse::Tcp, SocketUse::Tls, SocketUse::Https, SocketUse::Quic, SocketUse::Http];

    /// Its name in messages between processes.
    pub fn as_str(self) -> &'static str {
        match self {
            SocketUse::Udp => "udp",
            SocketUse::Tcp => "tcp",
            SocketUse::Tls => "tls",
            SocketUse::Https => "https",
            SocketUse::Quic => "quic",
            SocketUse::Http => "http",
        }
    }

    /// The use of this name.
    pub fn of(name: &str) -> Option<SocketUse> {
        SocketUse::ALL.into_iter().find(|one| one.as_str() == name)
    }

    fn is_datagram(self) -> bool {
        match self {
            SocketUse::Udp | SocketUse::Quic => true,
            SocketUse::Tcp | SocketUse::Tls | SocketUse::Https | SocketUse::Http => false,
        }
    }
}

/// A bound socket that another process can use too.
#[derive(Debug)]
pub struct PassedSocket {
    /// What it is for.
    pub what: SocketUse,
    /// Its address with the real port.
    pub address: SocketAddr,
    socket: OwnedFd,
}

impl PassedSocket {
    /// A socket that came from outside. An error says what is wrong with it: it must have an address of the internet,
    /// the type of its use and, for a stream, listen.
    pub fn of(what: SocketUse, socket: OwnedFd) -> io::Result<PassedSocket> {
        let refused = |why: &str| io::Error::other(format!("the {} socket {why}", what.as_str()));
        let found = SockRef::from(&socket);
        let address = found.local_addr()?.as_socket().ok_or_else(|| refused("has no address of the internet"))?;
        let (kind, listens) = (found.r#type()?, found.is_listener()?);
        let fits = match what.is_datagram() {
            true => kind == Type::DGRAM,
            false => kind == Type::STREAM && listens,
        };
        if !fits {
            return Err(refused("is of another type"));
        }
        Ok(PassedSocket { what, address, socket })
    }

    /// A second descriptor of a socket of this process.
    pub fn again(what: SocketUse, address: SocketAddr, socket: &impl AsFd) -> io::Result<PassedSocket> {
        Ok(PassedSocket { what, address, socket: socket.as_fd().try_clone_to_owned()? })
    }
}

impl AsFd for PassedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct InheritedSockets(Vec<PassedSocket>);

impl InheritedSockets {
    /// All of these.
    pub fn new(sockets: Vec<PassedSocket>) -> InheritedSockets {
        InheritedSockets(sockets)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the sockets of this use and address. Port 0 is any port: that of the first which fits.
    pub fn take(&mut self, what: SocketUse, wanted: SocketAddr) -> Vec<OwnedFd> {
        let fits = |socket: &PassedSocket| {
            let (is_port, port) = (socket.address.port() == wanted.port(), wanted.port());
            socket.what == what && socket.address.ip() == wanted.ip() && (port == 0 || is_port)
        };
        let Some(address) = self.0.iter().find(|socket| fits(socket)).map(|socket| socket.address) else {
            return Vec::new();
        };
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|socket| socket.what == what && socket.address == address);
        self.0 = rest;
        let taken: Vec<PassedSocket> = taken;
        taken.into_iter().map(|socket| socket.socket).collect()
    }

    /// Those that the settings don't have any more.
    pub fn rest(&self) -> &[PassedSocket] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn udp() -> (SocketAddr, OwnedFd) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        (socket.local_addr().unwrap(), socket.into())
    }

    #[test]
    fn a_socket_must_fit_its_use() {
        let stream = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        for what in SocketUse::ALL {
            assert_eq!(PassedSocket::of(what, udp().1).is_ok(), what.is_datagram(), "{what:?} of UDP");
            assert_eq!(PassedSocket::of(what, stream()).is_ok(), !what.is_datagram(), "{what:?} of TCP");
            assert_eq!(SocketUse::of(what.as_str()), Some(what));
        }
        let connected = std::net::TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        assert!(PassedSocket::of(SocketUse::Tcp, connected.unwrap().into()).is_err(), "it does not listen");
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(PassedSocket::of(SocketUse::Udp, file.into()).is_err());
    }

    #[test]
    fn port_0_takes_all_sockets_of_one_port_and_a_port_only_its_own() {
        let ((first, one), (second, two)) = (udp(), udp());
        let again = one.try_clone().unwrap();
        let of = |socket| PassedSocket::of(SocketUse::Udp, socket).unwrap();
        let mut inherited = InheritedSockets::new(vec![of(one), of(two), of(again)]);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(inherited.take(SocketUse::Quic, first).is_empty());
        assert!(inherited.take(SocketUse::Udp, "127.0.0.2:0".parse().unwrap()).is_empty());
        assert_eq!(inherited.take(SocketUse::Udp, any).len(), 2, "both of the first port");
        assert_eq!(inherited.rest().iter().map(|socket| socket.address).collect::<Vec<_>>(), [second]);
        assert_eq!(inherited.take(SocketUse::Udp, second).len(), 1);
        assert!(inherited.is_empty());
    }
}
