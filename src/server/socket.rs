//! Sockets as a DNS server needs them: UDP shared by its workers and by no other process, TCP on the same port, large
//! buffers, and no fragmentation because of ICMP messages. Binds and sets options; reads and writes nothing. Errors
//! say what to do.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use libc::{IPPROTO_IP, IPPROTO_IPV6, SOL_SOCKET};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::batch::set_option;
use super::inherited::{InheritedSockets, PassedSocket, SocketUse};

/// Receive and send buffers, octets: one second of 40,000 queries, for times when the thread does not run. Without
/// privileges the kernel allows less (net.core.rmem_max).
const BUFFER: usize = 4 << 20;

/// Longest wait for a datagram, after which a worker checks whether to stop. Judgment: short enough for an operator who
/// waits, long enough that 20 wake-ups a second cost nothing.
const RECEIVE_WAIT: Duration = Duration::from_millis(50);

/// Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn.
pub(crate) const BACKLOG: i32 = 1024;

/// Send and receive buffer of a connection, octets; the kernel doubles it for its own overhead. Without this limit the
/// kernel has up to 10 MB for a client that sends queries and takes no replies. A reply of 64 KiB takes four round
/// trips.
const STREAM_BUFFER: usize = 16 << 10;

/// With port 0: how often another port is tried when TCP's side of the one that UDP got is taken.
const PORT_TRIES: usize = 32;

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct BoundSockets {
    /// The address with its real port.
    pub(crate) address: SocketAddr,
    /// One for each worker, blocking, with a receive timeout.
    pub(crate) udp: Vec<UdpSocket>,
    /// Listening, not blocking.
    pub(crate) tcp: TcpListener,
    /// Whether what they received before the start is answered: another process served them.
    pub(crate) is_inherited: bool,
}

impl BoundSockets {
    /// The same sockets by other descriptors.
    pub(crate) fn try_clone(&self) -> io::Result<BoundSockets> {
        let udp = self.udp.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?;
        let BoundSockets { address, tcp, is_inherited, .. } = self;
        Ok(BoundSockets { address: *address, udp, tcp: tcp.try_clone()?, is_inherited: *is_inherited })
    }

    /// The same for another process.
    pub(crate) fn passed(&self) -> io::Result<Vec<PassedSocket>> {
        let udp = self.udp.iter().map(|socket| PassedSocket::again(SocketUse::Udp, self.address, socket));
        udp.chain([PassedSocket::again(SocketUse::Tcp, self.address, &self.tcp)]).collect()
    }
}

/// Why an address could not be bound, and what to do about it, in one line.
#[derive(Debug)]
pub enum BindError {
    /// Another process has the port.
    InUse {
        /// The address to bind.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        protocol: &'static str,
    },
    /// Ports below 1024 need a right that this process does not have.
    NotAllowed {
        /// The address to bind.
        address: SocketAddr,
    },
    /// No interface has the address.
    NotOurs {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The machine does not have this address family.
    NoFamily {
        /// The address to bind.
        address: SocketAddr,
    },
    /// A link-local address without its interface, or with one that this machine doesn't have.
    NoInterface {
        /// The address to bind.
        address: SocketAddr,
    },
    /// Anything else.
    Other {
        /// The address to bind.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
}

/// Takes the sockets of an address that were inherited: as many for UDP as there are. Those that are missing are bound.
pub(crate) fn bind_with(
    address: SocketAddr,
    workers: usize,
    inherited: &mut InheritedSockets,
) -> Result<BoundSockets, BindError> {
    let udp: Vec<UdpSocket> = inherited.take(SocketUse::Udp, address).into_iter().map(UdpSocket::from).collect();
    let Some(first) = udp.first() else {
        // A listener without its UDP sockets would hold the port.
        drop(inherited.take(SocketUse::Tcp, address));
        return bind(address, workers);
    };
    let address = first.local_addr().map_err(|source| BindError::Other { address, source })?;
    let prepare = |socket: &UdpSocket| set_udp_options(&SockRef::from(socket), address);
    udp.iter().try_for_each(prepare).map_err(|source| BindError::Other { address, source })?;
    let tcp = match inherited.take(SocketUse::Tcp, address).pop() {
        Some(tcp) => TcpListener::from(tcp),
        None => listen(address).map_err(|error| explain(error, address, "TCP"))?,
    };
    tcp.set_nonblocking(true).map_err(|source| BindError::Other { address, source })?;
    Ok(BoundSockets { address, udp, tcp, is_inherited: true })
}

/// Binds `workers` UDP sockets and a TCP listener to one address. With port 0 the system chooses one port for both.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> Result<BoundSockets, BindError> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let first = bind_first(address).map_err(|error| explain(error, address, "UDP"))?;
        let address = local_address(&first, address)?;
        match listen(address) {
            Ok(tcp) => {
                let udp = share(first, address, workers).map_err(|error| explain(error, address, "UDP"))?;
                return Ok(BoundSockets { address, udp, tcp, is_inherited: false });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(explain(error, address, "TCP")),
        }
    }
}

/// A TCP listener for a transport over TLS, with its real address.
pub(crate) fn bind_tcp(address: SocketAddr) -> Result<(SocketAddr, TcpListener), BindError> {
    let listener = listen(address).map_err(|error| explain(error, address, "TCP"))?;
    let local = listener.local_addr().map_err(|source| BindError::Other { address, source })?;
    Ok((local, listener))
}

/// A UDP socket for QUIC, with its real address. quinn sets its options.
pub(crate) fn bind_quic(address: SocketAddr) -> Result<(SocketAddr, UdpSocket), BindError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        set_buffers(&socket);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let socket = bind().map_err(|error| explain(error, address, "UDP"))?;
    Ok((local_address(&socket, address)?, socket.into()))
}

/// The first UDP socket is bound without SO_REUSEPORT, so that the system refuses a port that another process has, even
/// one of the same user. After that it is opened for our other workers.
fn bind_first(address: SocketAddr) -> io::Result<Socket> {
    let socket = udp_socket(address)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn share(first: Socket, address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = vec![UdpSocket::from(first)];
    for _ in 1..workers {
        let socket = udp_socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    set_buffers(&socket);
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    set_udp_options(&socket, address)?;
    Ok(socket)
}

/// The options of a UDP socket that can be set at any time.
fn set_udp_options(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(RECEIVE_WAIT))?;
    set_option(socket, SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    // A socket that is bound to one address sends from there; packet info would only cost time.
    let needs_packet_info = address.ip().is_unspecified() as i32;
    match address {
        SocketAddr::V4(_) => {
            set_option(socket, IPPROTO_IP, libc::IP_PKTINFO, needs_packet_info)?;
            // A forged "fragmentation needed" must not make the kernel fragment or refuse replies.
            set_option(socket, IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)?;
        }
        SocketAddr::V6(_) => {
            set_option(socket, IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, needs_packet_info)?;
            set_option(socket, IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)?;
        }
    }
    Ok(())
}

/// With privileges this exceeds the system's limit, otherwise the limit applies. A failure is no error.
fn set_buffers(socket: &Socket) {
    if set_option(socket, SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER as i32).is_err() {
        let _ = socket.set_recv_buffer_size(BUFFER);
    }
    if set_option(socket, SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER as i32).is_err() {
        let _ = socket.set_send_buffer_size(BUFFER);
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a server that has just ended are in TIME_WAIT; they must not stop the next one from binding.
    socket.set_reuse_address(true)?;
    // Accepted connections have the buffers of their listener. A failure is no error.
    let _ = socket.set_send_buffer_size(STREAM_BUFFER);
    let _ = socket.set_recv_buffer_size(STREAM_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn local_address(socket: &Socket, wanted: SocketAddr) -> Result<SocketAddr, BindError> {
    let local = socket.local_addr().map_err(|source| BindError::Other { address: wanted, source })?;
    Ok(local.as_socket().unwrap_or(wanted))
}

fn explain(error: io::Error, address: SocketAddr, protocol: &'static str) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, protocol },
        io::ErrorKind::PermissionDenied => BindError::NotAllowed { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
        _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => BindError::NoFamily { address },
        _ if is_link_local(address) && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENODEV)) => {
            BindError::NoInterface { address }
        }
        _ => BindError::Other { address, source: error },
    }
}

fn is_link_local(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(six) if six.ip().is_unicast_link_local())
}

impl BindError {
    /// Why a TCP listener that was bound elsewhere could not be.
    pub fn of_tcp(error: io::Error, address: SocketAddr) -> BindError {
        explain(error, address, "TCP")
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::InUse { address, protocol } => {
                let port = address.port();
                let option = if *protocol == "UDP" { 'u' } else { 't' };
                write!(
                    f,
                    "cannot listen on {address}: {protocol} port {port} is in use by another process; \
                     `ss -l{option}np 'sport = :{port}'` shows which: stop it, or set another port in [listen]"
                )
            }
            BindError::NotAllowed { address } => write!(
                f,
                "cannot listen on {address}: no right to port {port}; give the command \
                 `setcap cap_net_bind_service=+ep`, or under systemd AmbientCapabilities=CAP_NET_BIND_SERVICE, \
                 or set a port over 1023 in [listen]",
                port = address.port()
            ),
            BindError::NotOurs { address } => write!(
                f,
                "cannot listen on {address}: no interface of this machine has the address {ip}; \
                 `ip address` lists those it has, {any} stands for all",
                ip = address.ip(),
                any = if address.is_ipv4() { "0.0.0.0" } else { "[::]" }
            ),
            BindError::NoFamily { address } => write!(
                f,
                "cannot listen on {address}: this machine has no {family}; take the address out of [listen]",
                family = if address.is_ipv4() { "IPv4" } else { "IPv6" }
            ),
            BindError::NoInterface { address } => write!(
                f,
                "cannot listen on {address}: a link-local address is listened on with its interface; \
                 write `[{ip}%eth0]:{port}` with the one that `ip -6 address` shows it at",
                ip = address.ip(),
                port = address.port()
            ),
            BindError::Other { address, source } => write!(f, "cannot listen on {address}: {source}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Other { source, .. } => Some(source),
            BindError::InUse { .. }
            | BindError::NotAllowed { .. }
            | BindError::NotOurs { .. }
            | BindError::NoFamily { .. }
            | BindError::NoInterface { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_text(text: &str, workers: usize) -> Result<BoundSockets, BindError> {
        bind(text.parse().unwrap(), workers)
    }

    #[test]
    fn udp_and_tcp_share_the_port_that_the_system_chose() {
        let bound = bind_text("127.0.0.1:0", 3).unwrap();
        assert_ne!(bound.address.port(), 0);
        assert_eq!(bound.tcp.local_addr().unwrap(), bound.address);
        assert_eq!(bound.udp.len(), 3);
        for socket in &bound.udp {
            assert_eq!(socket.local_addr().unwrap(), bound.address);
        }
    }

    #[test]
    fn a_second_server_of_the_same_user_is_refused_with_a_hint_how_to_find_the_first() {
        let first = bind_text("127.0.0.1:0", 2).unwrap();
        let again = bind(first.address, 2).map(|_| ()).unwrap_err();
        assert!(matches!(again, BindError::InUse { protocol: "UDP", .. }), "{again:?}");
        let hint = format!("ss -lunp 'sport = :{}'", first.address.port());
        assert!(again.to_string().contains(&hint), "{again}");
        assert!(!again.to_string().contains('\n'));
        let wildcard = SocketAddr::from(([0, 0, 0, 0], first.address.port()));
        assert!(matches!(bind(wildcard, 1).map(|_| ()), Err(BindError::InUse { .. })));
    }

    #[test]
    fn a_port_that_only_tcp_has_taken_is_in_use_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = bind(listener.local_addr().unwrap(), 1).map(|_| ()).unwrap_err();
        assert!(matches!(taken, BindError::InUse { protocol: "TCP", .. }), "{taken:?}");
        assert!(taken.to_string().contains("ss -ltnp"), "{taken}");
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        // TEST-NET-1 (RFC 5737) is on no interface.
        let error = bind_text("192.0.2.1:0", 1).map(|_| ()).unwrap_err();
        assert!(matches!(error, BindError::NotOurs { .. }), "{error:?}");
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }

    #[test]
    fn both_wildcards_share_a_port() {
        // Another process may have IPv6's side of the port that IPv4 got; it doesn't have that of ten.
        let shares = (0..10).any(|_| {
            let four = bind_text("0.0.0.0:0", 1).unwrap();
            let six = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, four.address.port()));
            match bind(six, 1) {
                Ok(bound) => bound.address.port() == four.address.port(),
                Err(error) => matches!(error, BindError::NoFamily { .. }),
            }
        });
        assert!(shares);
    }

    #[test]
    fn a_link_local_address_wants_its_interface() {
        for text in ["[fe80::1]:0", "[fe80::1%4294967295]:0"] {
            let error = bind_text(text, 1).map(|_| ()).unwrap_err();
            // A machine without IPv6 says so first.
            let is_named = matches!(error, BindError::NoInterface { .. } | BindError::NoFamily { .. });
            assert!(is_named && !error.to_string().contains("Invalid argument"), "{error}");
        }
    }

    #[test]
    fn each_error_says_in_one_line_what_to_do() {
        let address: SocketAddr = "[::]:53".parse().unwrap();
        for (number, hint) in [
            (libc::EADDRINUSE, "ss -lunp 'sport = :53'"),
            (libc::EACCES, "cap_net_bind_service"),
            (libc::EADDRNOTAVAIL, "[::] stands for all"),
            (libc::EAFNOSUPPORT, "no IPv6"),
            (libc::EMFILE, "Too many open files"),
        ] {
            let text = explain(io::Error::from_raw_os_error(number), address, "UDP").to_string();
            assert!(text.starts_with("cannot listen on [::]:53: ") && text.contains(hint), "{text}");
            assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        }
    }
}
