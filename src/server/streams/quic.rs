//! DoQ (RFC 9250): a stream for each query. quinn does QUIC; this file decides which handshakes are done, limits the
//! streams of a connection, and closes a connection that is idle, displaced, or takes no replies. Clients whose address
//! is not validated share few handshakes and have no seat, so that forged addresses shut nobody out.

use std::io;
use std::net::UdpSocket;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::accept::drain;
use super::datagrams::SingleDatagrams;
use super::exchange::{EXCESSIVE_LOAD, End, NO_ERROR, QuicExchange};
use super::octets::{Octets, Progress, TICK};
use super::{AT_ONCE, DRAIN, HANDSHAKE, IDLE, LONGEST, StreamContext, reason_of, tls};
use crate::admission::{RateByNet, Seat};
use crate::answer::Transport;
use crate::clock;
use crate::server::certificates::Certificates;
use crate::server::counters::DropReason;

/// New connections that the library has for us until the accept loop takes them; more are refused. It takes them at
/// once, so that this is the burst of one moment.
const NEW: usize = 256;

/// Handshakes at a time of clients whose address is not validated. Above this, clients must validate it (RFC 9000,
/// 8.1.2), which costs a round trip. Judgment: the burst of resolvers after a restart.
const UNPROVEN: usize = 32;

/// Connections in the library, in multiples of the seats: one that has ended has its state for up to three seconds
/// more. Above the first number, a client net has its rate of handshakes; above the second, all are refused.
const CROWDED: usize = 2;
const FULL: usize = 4;

/// Handshakes of one client net when the library is crowded: this many at once, then one each interval. Judgment: a
/// resolver has one or a few connections.
const HANDSHAKES: u32 = 64;
const HANDSHAKE_INTERVAL: Duration = Duration::from_millis(50);

/// Octets that a client may send ahead of our reading, of one message and of all: [`AT_ONCE`] short queries. A longer
/// message has its rest when its beginning was read. What has arrived is read at once, with gaps, so that the library
/// has none of it.
const WINDOW: u32 = 8 << 10;

/// Octets of the handshake that may arrive before those in front of them: the least that a server must allow (RFC 9000,
/// 7.5), and twice the longest first message of today's clients. As fragments of one octet with gaps they take 115 KiB.
const HANDSHAKE_WINDOW: usize = 4 << 10;

/// Frames of the handshake (CRYPTO) that a client may send after it: it repeats its last ones until the server has
/// confirmed them, and has nothing else to send (RFC 9001, 4.4 and 6).
const LATE_HANDSHAKE_FRAMES: u64 = 16;

/// Octets of a connection that has no handshake yet: many packets with a fragment of it each.
const BEFORE_HANDSHAKE: u64 = 2 + LONGEST as u64;

/// Octets of replies that the client has not acknowledged: one of the longest. What it may have in all is in
/// [`Octets`].
const SEND_WINDOW: u64 = 2 + LONGEST as u64;

/// Pause before the endpoint is opened again after an error of the system: judgment.
const AGAIN: Duration = Duration::from_millis(500);

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
        .receive_window(VarInt::from_u32(WINDOW))
        .crypto_buffer_size(HANDSHAKE_WINDOW)
        .send_window(SEND_WINDOW)
        // Packets are padded, whether or not the client pads, so that lengths reveal nothing (RFC 9250, 5.4).
        .pad_to_mtu(true)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IDLE.try_into().map_err(io::Error::other)?));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport)).max_incoming(NEW).incoming_buffer_size(BEFORE_HANDSHAKE);
    let socket = SingleDatagrams::new(socket.try_clone()?)?;
    Endpoint::new_with_abstract_socket(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

/// What a new connection has until its handshake is finished.
enum Ticket {
    /// Its address is not validated: it has one of the few places of those.
    Unproven { _place: OwnedSemaphorePermit },
    /// Its address is validated.
    Seat(Seat),
}

/// Decides which handshakes are done.
struct Door {
    context: StreamContext,
    unproven: Arc<Semaphore>,
    handshakes: RateByNet,
}

impl Door {
    /// A ticket for a new connection; without one it was refused, or must validate its address first.
    fn admit(&self, incoming: Incoming, endpoint: &Endpoint) -> Option<(Incoming, Ticket)> {
        let (source, now) = (incoming.remote_address().ip(), clock::now());
        let (open, seats) = (endpoint.open_connections(), self.context.seats.capacity());
        let (is_crowded, is_full) = (open >= CROWDED * seats, open >= FULL * seats);
        if incoming.remote_address_validated() {
            let is_within_rate = self.handshakes.take(source, now).is_ok();
            if is_full || is_crowded && !is_within_rate {
                self.context.counters.handshake_lost(Transport::Quic, DropReason::Refused);
                incoming.refuse();
                return None;
            }
            return Some((incoming, Ticket::Seat(self.context.seats.admit(source, now))));
        }
        match self.unproven.clone().try_acquire_owned() {
            Ok(permit) if !is_crowded => Some((incoming, Ticket::Unproven { _place: permit })),
            Ok(_) | Err(_) => {
                // An error returns a handshake that cannot be retried; dropping it refuses it.
                let _ = incoming.retry();
                None
            }
        }
    }

    /// The seat of a connection that has finished its handshake.
    fn seat(&self, ticket: Ticket, connection: &quinn::Connection) -> Seat {
        let (source, now) = (connection.remote_address().ip(), clock::now());
        let seat = match ticket {
            Ticket::Seat(seat) => seat,
            Ticket::Unproven { .. } => {
                let _ = self.handshakes.take(source, now);
                self.context.seats.admit(source, now)
            }
        };
        seat.mark_used(now);
        seat
    }
}

/// Serves until `stop`, or until the endpoint is broken.
async fn serve_endpoint(endpoint: Endpoint, context: &StreamContext, stop: &CancellationToken) {
    let door = Arc::new(Door {
        context: context.clone(),
        unproven: Arc::new(Semaphore::new(UNPROVEN)),
        handshakes: RateByNet::new(HANDSHAKE_INTERVAL, HANDSHAKES),
    });
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
        if let Some((incoming, ticket)) = door.admit(incoming, &endpoint) {
            tasks.spawn(connection(incoming, ticket, door.clone(), stop.clone()));
        }
        while tasks.try_join_next().is_some() {}
    }
    drain(tasks).await;
    endpoint.close(NO_ERROR, b"");
    let _ = timeout(DRAIN, endpoint.wait_idle()).await;
}

/// The handshake; `None` where there is no connection any more.
async fn shake_hands(incoming: Incoming, ticket: &Ticket, context: &StreamContext) -> Option<quinn::Connection> {
    let displaced = async {
        match ticket {
            Ticket::Seat(seat) => seat.displaced().await,
            Ticket::Unproven { .. } => std::future::pending().await,
        }
    };
    let lost = match incoming.accept() {
        Err(_) => DropReason::Handshake,
        Ok(handshake) => tokio::select! {
            shaken = timeout(HANDSHAKE, handshake) => match shaken {
                Ok(Ok(connection)) => {
                    context.counters.handshake_done(Transport::Quic);
                    return Some(connection);
                }
                Ok(Err(_)) => DropReason::Handshake,
                Err(_) => DropReason::Stalled,
            },
            why = displaced => reason_of(why),
        },
    };
    context.counters.handshake_lost(Transport::Quic, lost);
    None
}

/// Serves one connection until it ends, is idle, is displaced, or `stop`.
async fn connection(incoming: Incoming, ticket: Ticket, door: Arc<Door>, stop: CancellationToken) {
    let context = &door.context;
    let Some(connection) = shake_hands(incoming, &ticket, context).await else { return };
    let seat = door.seat(ticket, &connection);
    let _open = context.counters.connection(Transport::Quic);
    let octets = Octets::of(&seat, context);
    let of_handshake = || connection.stats().frame_rx.crypto;
    let most_of_handshake = of_handshake() + LATE_HANDSHAKE_FRAMES;
    let mut exchanges = JoinSet::new();
    let mut idle = pin!(sleep(IDLE));
    let mut tick = pin!(sleep(TICK));
    let mut progress = Progress::default();
    let lost = loop {
        tokio::select! {
            streams = connection.accept_bi() => match streams {
                Ok((send, receive)) => {
                    let exchange = QuicExchange { connection: connection.clone(), send, receive };
                    exchanges.spawn(exchange.run(context.clone(), octets.clone()));
                    idle.set(sleep(IDLE));
                }
                // The connection has ended.
                Err(_) => break None,
            },
            () = &mut idle => break None,
            Some(ended) = exchanges.join_next() => match ended {
                Ok(End::Answered) => progress.mark_used(&seat),
                Ok(End::Starved | End::Fragmented) => break Some(DropReason::NoOctets),
                Ok(End::Silent | End::Left | End::Violation | End::Stalled | End::Refused) | Err(_) => {}
            },
            () = &mut tick => {
                if progress.is_stalled(&octets.replies, &seat) {
                    break Some(DropReason::Stalled);
                }
                if of_handshake() > most_of_handshake {
                    break Some(DropReason::NoOctets);
                }
                tick.set(sleep(TICK));
            }
            why = seat.displaced() => break Some(reason_of(why)),
            () = stop.cancelled() => {
                let all_ended = async { while exchanges.join_next().await.is_some() {} };
                let _ = timeout(DRAIN, all_ended).await;
                break None;
            }
        }
    };
    match lost {
        Some(reason) => {
            context.counters.dropped(reason, 1);
            connection.close(EXCESSIVE_LOAD, b"");
        }
        None => connection.close(NO_ERROR, b""),
    }
}
