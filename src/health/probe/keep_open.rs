//! The socket of a held connection (`hold = true`): plain TCP to the probed port, on which nothing is sent. It is the
//! same for tls, http and https monitors, because an idle connection without a handshake or a request costs the server
//! almost nothing. A server may close idle connections; `held` decides what that means.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::health::held::ConnectionEnd;
use crate::health::probe::{Failure, ProbeClients, tcp};
use crate::model::{CheckKey, ProbeTarget};

/// The octets that a server may send without a request, such as a greeting. They are read and dropped. Judgment: the
/// longest greetings of mail and database servers are much shorter.
const GREETING_LIMIT: usize = 16 * 1024;
/// The octets that are read at a time.
const READ_SIZE: usize = 512;
/// The keep-alives without an answer after which the connection counts as dead.
const KEEPALIVES: u32 = 3;
/// The least time between keep-alives: the kernel counts whole seconds.
const LEAST_KEEPALIVE: Duration = Duration::from_secs(1);

/// Opens the connection, within the time-out of the monitor. The kernel sends a keep-alive once an interval, so that
/// the connection ends when the other side is gone without a sign.
pub(in crate::health) async fn open(clients: &ProbeClients, check: &CheckKey) -> Result<TcpStream, Failure> {
    let ProbeTarget::Socket(to) = check.target else {
        return Err(Failure::Vantage(format!("no port for a held connection at {}", check.target)));
    };
    let timeout = check.monitor.timeout;
    let connected = tokio::time::timeout(timeout, tcp::connect(clients, to)).await;
    let stream = connected.map_err(|_| Failure::TimedOut { after: timeout })??;
    let every = check.monitor.interval.max(LEAST_KEEPALIVE);
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(KEEPALIVES);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive).map_err(|error| Failure::from_io(&error))?;
    // There are few of these connections and they last long. So they are closed in order, without a reset.
    socket.set_linger(None).map_err(|error| Failure::from_io(&error))?;
    Ok(stream)
}

/// Waits until the connection ends.
pub(in crate::health) async fn wait_for_end(stream: &TcpStream) -> ConnectionEnd {
    let mut read = 0;
    let mut dropped = [0; READ_SIZE];
    while read <= GREETING_LIMIT {
        let got = match stream.readable().await {
            Ok(()) => stream.try_read(&mut dropped),
            Err(error) => Err(error),
        };
        match got {
            Ok(0) => return ConnectionEnd::Closed,
            Ok(octets) => read += octets,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return ConnectionEnd::Silent,
            Err(_) => return ConnectionEnd::Closed,
        }
    }
    ConnectionEnd::TooMuchData
}
