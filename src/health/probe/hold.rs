//! The connection that `hold = true` keeps open: plain TCP to the probed port, on which nothing is ever sent, for tls,
//! http and https as well. An idle connection costs the server next to nothing that way, no handshake or request; a server
//! that doesn't wait so long for one ends it, which the prober learns (see `held`).

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::health::held::End;
use crate::health::probe::{Failure, ProbeClients, tcp};
use crate::model::{CheckKey, ProbeTarget};

/// What a server may say unasked, a greeting, is read and dropped up to this. Judgment: the longest greetings of mail
/// and database servers are well below.
const MOST_READ: usize = 16 * 1024;
/// So much is read at a time.
const READ: usize = 512;
/// Keep-alives that stay without an answer before the connection counts as dead.
const KEEPALIVES: u32 = 3;
/// Sockets count keep-alives in whole seconds.
const LEAST_KEEPALIVE: Duration = Duration::from_secs(1);

/// Opens it, within the monitor's time-out. The kernel asks for a sign of life once an interval, so that a connection
/// whose other side is silently gone ends too.
pub(in crate::health) async fn open(clients: &ProbeClients, check: &CheckKey) -> Result<TcpStream, Failure> {
    let ProbeTarget::Socket(to) = check.target else {
        return Err(Failure::Vantage(format!("no port to hold a connection to at {}", check.target)));
    };
    let timeout = check.monitor.timeout;
    let connected = tokio::time::timeout(timeout, tcp::connect(clients, to)).await;
    let stream = connected.map_err(|_| Failure::TimedOut { after: timeout })??;
    let every = check.monitor.interval.max(LEAST_KEEPALIVE);
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(KEEPALIVES);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive).map_err(|error| Failure::from_io(&error))?;
    // There are few of these, and they last: they end in order, as no server likes a reset.
    socket.set_linger(None).map_err(|error| Failure::from_io(&error))?;
    Ok(stream)
}

/// Waits for its end.
pub(in crate::health) async fn until_end(stream: &TcpStream) -> End {
    let mut read = 0;
    let mut dropped = [0; READ];
    while read <= MOST_READ {
        let got = match stream.readable().await {
            Ok(()) => stream.try_read(&mut dropped),
            Err(error) => Err(error),
        };
        match got {
            Ok(0) => return End::Closed,
            Ok(octets) => read += octets,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return End::Silent,
            Err(_) => return End::Closed,
        }
    }
    End::Talks
}
