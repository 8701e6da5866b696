//! DoQ (RFC 9250): a stream for each query. quinn does QUIC; this file limits handshakes and the streams of a
//! connection, and does the exchange on each stream. Clients whose address is not validated share few handshakes and
//! have no place below the limit of connections, so that forged addresses shut nobody out.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, TokioRuntime, TransportConfig, VarInt,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::accept::drain;
use super::framed::{NextMessage, next_message};
use super::{AT_ONCE, DRAIN, HANDSHAKE, IDLE, LONGEST, MESSAGE, StreamContext, WRITE, push_framed, tls};
use crate::answer::Transport;
use crate::clock;
use crate::server::certificates::Certificates;
use crate::server::counters::DropReason;

/// Handshakes at a time; more are refused. Half of the limit of connections.
const HANDSHAKES: usize = 256;

/// Handshakes at a time above which clients must validate their address (RFC 9000, 8.1.2), which costs a round trip.
/// Judgment: the burst of resolvers after a restart.
const UNPROVEN: usize = 32;

/// Octets that a client may send ahead, of one message and of all: a whole message with its length, and two.
const WINDOW: u32 = 2 + LONGEST as u32;

/// Octets of replies in flight on one connection: eight of the longest.
const SEND_WINDOW: u64 = 512 << 10;

/// Pause before the endpoint is opened again after an error of the system: judgment.
const AGAIN: Duration = Duration::from_millis(500);

/// Error codes of DoQ (RFC 9250, 4.3).
const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// Serves DoQ (ALPN `doq`) until `stop`. After an error of the socket another endpoint is opened.
pub(crate) async fn serve(
    socket: UdpSocket,
    certificates: Arc<Certificates>,
    context: StreamContext,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        match endpoint(&socket, certificates.clone()) {
            Ok(endpoint) => serve_endpoint(endpoint, &context, &stop).await,
            Err(error) => tracing::error!(%error, "DoQ can't be served on its socket; trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(AGAIN) => {}
        }
    }
}

fn endpoint(socket: &UdpSocket, certificates: Arc<Certificates>) -> io::Result<Endpoint> {
    let crypto = QuicServerConfig::try_from(tls::server_config(certificates, b"doq")?).map_err(io::Error::other)?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(AT_ONCE))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(2 * WINDOW))
        .send_window(SEND_WINDOW)
        // Packets are padded, whether or not the client pads, so that lengths reveal nothing (RFC 9250, 5.4).
        .pad_to_mtu(true)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IDLE.try_into().map_err(io::Error::other)?));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport)).max_incoming(HANDSHAKES).incoming_buffer_size(u64::from(WINDOW));
    Endpoint::new(EndpointConfig::default(), Some(config), socket.try_clone()?, Arc::new(TokioRuntime))
}

/// Serves until `stop`, or until the endpoint is broken.
async fn serve_endpoint(endpoint: Endpoint, context: &StreamContext, stop: &CancellationToken) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut tasks = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            () = stop.cancelled() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            tracing::error!("the DoQ socket failed; it is opened again");
            break;
        };
        let under_way = HANDSHAKES - handshakes.available_permits();
        if under_way >= UNPROVEN && !incoming.remote_address_validated() {
            // An error returns a handshake that cannot be retried; dropping it refuses it.
            let _ = incoming.retry();
            continue;
        }
        match handshakes.clone().try_acquire_owned() {
            Ok(permit) => drop(tasks.spawn(connection(incoming, permit, context.clone(), stop.clone()))),
            Err(_) => {
                context.counters.dropped(DropReason::Displaced, 1);
                incoming.refuse();
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    drain(tasks).await;
    endpoint.close(NO_ERROR, b"");
    let _ = timeout(DRAIN, endpoint.wait_idle()).await;
}

/// Serves one connection until it ends, is idle, is displaced, or `stop`.
async fn connection(incoming: Incoming, permit: OwnedSemaphorePermit, context: StreamContext, stop: CancellationToken) {
    let Ok(handshake) = incoming.accept() else { return context.counters.dropped(DropReason::Handshake, 1) };
    let connection = match timeout(HANDSHAKE, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(_)) => return context.counters.dropped(DropReason::Handshake, 1),
        Err(_) => return context.counters.dropped(DropReason::Stalled, 1),
    };
    drop(permit);
    let _open = context.counters.connection(Transport::Quic);
    let seat = context.seats.admit(connection.remote_address().ip(), clock::now());
    seat.mark_used(clock::now());
    let mut exchanges = JoinSet::new();
    let why = loop {
        tokio::select! {
            streams = timeout(IDLE, connection.accept_bi()) => match streams {
                Ok(Ok((send, receive))) => {
                    let exchange = Exchange { connection: connection.clone(), send, receive };
                    exchanges.spawn(exchange.run(context.clone()));
                }
                // The connection has ended, or was idle.
                Ok(Err(_)) | Err(_) => break NO_ERROR,
            },
            Some(ended) = exchanges.join_next() => if matches!(ended, Ok(End::Answered)) {
                seat.mark_used(clock::now());
            },
            why = seat.displaced() => {
                context.count_displaced(why);
                break EXCESSIVE_LOAD;
            }
            () = stop.cancelled() => {
                let all_ended = async { while exchanges.join_next().await.is_some() {} };
                let _ = timeout(DRAIN, all_ended).await;
                break NO_ERROR;
            }
        }
    };
    connection.close(why, b"");
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    /// There is no reply; the stream is reset.
    Silent,
    /// The client left in the middle.
    Left,
    /// The client violated the protocol, which ends the connection (RFC 9250, 4.3.3).
    Violation,
    /// The message took too long to arrive, or the client did not take the reply.
    Stalled,
}

/// One query and its reply, on a stream of their own.
struct Exchange {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

impl Exchange {
    async fn run(mut self, context: StreamContext) -> End {
        let end = self.exchange(&context).await.unwrap_or_else(|end| end);
        // An error of a reset means that the stream has ended already.
        match end {
            End::Answered | End::Left => {}
            End::Silent => drop(self.send.reset(PROTOCOL_ERROR)),
            End::Violation => {
                context.counters.dropped(DropReason::BadLength, 1);
                self.connection.close(PROTOCOL_ERROR, b"");
            }
            End::Stalled => {
                context.counters.dropped(DropReason::Stalled, 1);
                drop(self.send.reset(EXCESSIVE_LOAD));
            }
        }
        end
    }

    async fn exchange(&mut self, context: &StreamContext) -> Result<End, End> {
        let message = timeout(MESSAGE, read_message(&mut self.receive)).await.map_err(|_| End::Stalled)??;
        // A client may have moved to another address: the current one counts.
        let source = self.connection.remote_address();
        let mut framed = Vec::new();
        let answered = context.answer(&message, source, Transport::Quic, |reply| push_framed(reply, &mut framed));
        if answered.is_none() {
            return Err(End::Silent);
        }
        let written = timeout(WRITE, self.send.write_all(&framed)).await.map_err(|_| End::Stalled)?;
        written.and_then(|()| Ok(self.send.finish()?)).map_err(|_| End::Left)?;
        Ok(End::Answered)
    }
}

/// The one message of a stream (RFC 9250, 4.2), without its length. Does not wait for the end of the stream.
async fn read_message(receive: &mut RecvStream) -> Result<Vec<u8>, End> {
    let mut inbox = Vec::new();
    loop {
        match next_message(&inbox) {
            // The message id must be 0: the stream identifies the query (RFC 9250, 4.2.1).
            NextMessage::Whole(message) if inbox.len() == 2 + message.len() && message.starts_with(&[0, 0]) => {
                return Ok(message.to_vec());
            }
            NextMessage::Whole(_) | NextMessage::BadLength => return Err(End::Violation),
            NextMessage::Part { .. } => {}
        }
        match receive.read_chunk(2 + LONGEST, true).await {
            Ok(Some(chunk)) => inbox.extend_from_slice(&chunk.bytes),
            // The stream ended within the message.
            Ok(None) => return Err(End::Violation),
            Err(_) => return Err(End::Left),
        }
    }
}
