//! A TCP handshake, for tcp monitors and below http and https. A process that is stopped still shakes hands, its
//! kernel does that for it: only http and https notice.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock;
use crate::health::probe::attempt::Turn;
use crate::health::probe::{Failure, ProbeClients};
use crate::model::Moment;

/// Connects to `to` and hangs up; gives the handshake's time.
pub(super) async fn handshake(clients: &ProbeClients, to: SocketAddr) -> Result<Duration, Failure> {
    let began = clock::now();
    connect(clients, to).await?;
    Ok(clock::now().since(began))
}

/// Connects to `to` and waits for the turn to ask; gives the moment that the round trip counts from.
pub(super) async fn connect_in_turn(
    clients: &ProbeClients,
    to: SocketAddr,
    turn: &Turn,
) -> Result<(TcpStream, Moment), Failure> {
    let began = clock::now();
    let stream = connect(clients, to).await?;
    let Some(began) = turn.wait(began).await else {
        // Nothing was asked: it ends in order, or with a reset where this fails. The result interests nobody any more.
        let _ = SockRef::from(&stream).set_linger(None);
        return Err(Failure::Closed);
    };
    Ok((stream, began))
}

/// Connects to `to` from this prober's source address. The connection ends with a reset when it is dropped: thousands
/// of probes a second would else leave as many ports in TIME_WAIT.
pub(super) async fn connect(clients: &ProbeClients, to: SocketAddr) -> Result<TcpStream, Failure> {
    let open = || {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = clients.sources().towards(to.ip()) {
            socket.bind(source)?;
        }
        socket.set_zero_linger()?;
        socket.set_nodelay(true)?;
        Ok(socket)
    };
    let socket = open().map_err(|error: std::io::Error| Failure::from_io(&error))?;
    socket.connect(to).await.map_err(|error| Failure::from_io(&error))
}
