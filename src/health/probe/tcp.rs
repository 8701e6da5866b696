//! The tcp probe, a TCP handshake, and the connections of the other probes. The kernel completes handshakes even for a
//! process that is stopped, so only probes that send a request notice that.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock;
use crate::health::probe::attempt::RequestPermit;
use crate::health::probe::{Failure, ProbeClients};
use crate::model::Moment;

/// Connects to `to` and closes. Returns the time of the handshake.
pub(super) async fn handshake(clients: &ProbeClients, to: SocketAddr) -> Result<Duration, Failure> {
    let began = clock::now();
    connect(clients, to).await?;
    Ok(clock::now().since(began))
}

/// Connects to `to` and waits for the permit to send the request. Returns the moment from which the round trip is
/// counted.
pub(super) async fn connect_for_request(
    clients: &ProbeClients,
    to: SocketAddr,
    permit: &RequestPermit,
) -> Result<(TcpStream, Moment), Failure> {
    let began = clock::now();
    let stream = connect(clients, to).await?;
    let Some(began) = permit.wait(began).await else {
        // No request was sent, so the connection is closed in order, or reset if this fails. The result is not used.
        let _ = SockRef::from(&stream).set_linger(None);
        return Err(Failure::Closed);
    };
    Ok((stream, began))
}

/// Connects to `to` from the source address of this prober. Dropping the connection resets it. Otherwise thousands of
/// probes a second would leave as many ports in TIME_WAIT.
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
