//! Connects to a server: finds the addresses of its host, tries them one after the other, and does the TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use crate::discovery::http_client::{BaseUrl, HttpFailure, tls as handshakes};
use crate::model::SourceTls;

/// Longest time for a connection with its TLS handshake (judgment: three round trips over the longest path, with one
/// packet lost).
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Most addresses of a host that are tried (judgment).
const MAX_ADDRESSES: usize = 8;

/// A connection on which nothing comes for this long is tested, so often, in this interval: a host that has gone
/// without a word is noticed after 15 s, also while a reply is awaited for minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(9);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
const KEEPALIVE_TRIES: u32 = 3;

/// A connection that carries HTTP.
pub(super) trait HttpStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> HttpStream for S {}

/// A connection to `base`.
pub(super) async fn connect(base: &BaseUrl, tls: &SourceTls) -> Result<Box<dyn HttpStream>, HttpFailure> {
    let connected = async {
        let stream = tcp(base).await?;
        match base.is_secure() {
            false => Ok(Box::new(stream) as Box<dyn HttpStream>),
            true => {
                let name = tls.server_name.as_deref().unwrap_or(base.host());
                Ok(Box::new(handshakes::handshake(stream, name, tls).await?) as Box<dyn HttpStream>)
            }
        }
    };
    let connected = tokio::time::timeout(CONNECT_WITHIN, connected).await;
    connected.map_err(|_| HttpFailure::NoConnection(CONNECT_WITHIN))?
}

async fn tcp(base: &BaseUrl) -> Result<TcpStream, HttpFailure> {
    let found = lookup_host((base.host(), base.port())).await;
    let found: Vec<SocketAddr> =
        found.map_err(|error| HttpFailure::NoAddress(error.to_string()))?.take(MAX_ADDRESSES).collect();
    let mut failure = HttpFailure::NoAddress("the look-up gives none".to_owned());
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Neither changes what is sent: without them a dead peer is noticed later, and a request waits.
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_AFTER)
                    .with_interval(KEEPALIVE_EVERY)
                    .with_retries(KEEPALIVE_TRIES);
                let _ = (SockRef::from(&stream).set_tcp_keepalive(&keepalive), stream.set_nodelay(true));
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => failure = HttpFailure::Refused,
            Err(error) => failure = HttpFailure::Connect(error.to_string()),
        }
    }
    Err(failure)
}
