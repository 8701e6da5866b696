//! One query of DoQ and its reply, on a stream of their own (RFC 9250, 4.2).

use std::future::pending;
use std::pin::pin;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use super::gathered::{Disorder, Gathered};
use super::octets::{LONG_REQUEST, Octets, STREAM, Starved};
use super::{LONGEST, MESSAGE, StreamContext, WRITE, push_framed};
use crate::admission::Reservation;
use crate::answer::Transport;
use crate::server::counters::DropReason;
use crate::wire::NameBuf;
use crate::wire::query::Query;

/// Error codes of DoQ (RFC 9250, 4.3).
pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0);
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
pub(super) const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The reply was handed over.
    Answered,
    /// There is no reply; the stream is reset.
    Silent,
    /// The client left in the middle.
    Left,
    /// The client violated the protocol, which ends the connection (RFC 9250, 4.3.3).
    Violation,
    /// The message took too long to arrive, or the client did not take the reply.
    Stalled,
    /// There was no room for a long message, or too many messages waited for room; the stream is reset.
    Refused,
    /// The message arrived with more gaps than lost packets leave, which ends the connection.
    Fragmented,
    /// There was no room for too long, which ends the connection.
    Starved,
}

/// One query and its reply, on a stream of their own.
pub(super) struct QuicExchange {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
}

impl QuicExchange {
    /// Answers the query in room of the connection, and counts how it ended.
    pub(super) async fn run(mut self, context: StreamContext, octets: Octets) -> End {
        let end = self.exchange(&context, &octets).await.unwrap_or_else(|end| end);
        // An error of a reset means that the stream has ended already.
        match end {
            End::Answered | End::Left | End::Starved | End::Fragmented => {}
            End::Silent => drop(self.send.reset(PROTOCOL_ERROR)),
            End::Violation => {
                context.counters.dropped(DropReason::BadLength, 1);
                self.connection.close(PROTOCOL_ERROR, b"");
            }
            End::Stalled => {
                context.counters.dropped(DropReason::Stalled, 1);
                drop(self.send.reset(EXCESSIVE_LOAD));
            }
            End::Refused => {
                context.counters.dropped(DropReason::NoOctets, 1);
                drop(self.send.reset(EXCESSIVE_LOAD));
            }
        }
        end
    }

    async fn exchange(&mut self, context: &StreamContext, octets: &Octets) -> Result<End, End> {
        let QuicExchange { connection, send, receive } = self;
        let mut gathered = Gathered::default();
        let mut room = room_for(receive, octets, &mut gathered).await?;
        let reading = read_message(receive, &mut gathered, &mut room);
        timeout(MESSAGE, reading).await.map_err(|_| End::Stalled)??;
        let Some(message) = gathered.message()? else { return Err(End::Violation) };
        if has_keepalive(message) {
            return Err(End::Violation);
        }
        // A client may have moved to another address: the current one counts.
        let whence = (connection.remote_address(), Transport::Quic);
        let answering = async {
            let Some((reply, reply_room)) = octets.answer(context, message, whence, framed).await? else {
                return Err(End::Silent);
            };
            room.shrink_to(STREAM);
            // QUIC has the octets until the client has acknowledged them.
            let reply = Reservation::join(vec![room, reply_room], reply);
            let written = timeout(WRITE, send.write_chunk(reply)).await.map_err(|_| End::Stalled)?;
            written.and_then(|()| Ok(send.finish()?)).map_err(|_| End::Left)?;
            Ok(End::Answered)
        };
        tokio::select! {
            answered = answering => answered,
            () = something_behind(receive) => Err(End::Violation),
        }
    }
}

impl From<Disorder> for End {
    fn from(disorder: Disorder) -> End {
        match disorder {
            Disorder::Violation => End::Violation,
            Disorder::Fragmented => End::Fragmented,
        }
    }
}

impl From<Starved> for End {
    fn from(Starved: Starved) -> End {
        End::Starved
    }
}

/// Whether it has the option edns-tcp-keepalive, which ends the connection (RFC 9250, 5.5.2).
fn has_keepalive(message: &[u8]) -> bool {
    let mut name = NameBuf::default();
    Query::parse(message, &mut name).is_ok_and(|query| query.edns.is_some_and(|edns| edns.has_keepalive))
}

fn framed(reply: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(2 + reply.len());
    push_framed(reply, &mut framed);
    framed
}

/// Room for the message of a stream. While it waits, the message is read all the same, so that the library has nothing
/// of it; a long one is refused then, because it takes memory that is not reserved.
async fn room_for(receive: &mut RecvStream, octets: &Octets, gathered: &mut Gathered) -> Result<Reservation, End> {
    if let Some(room) = octets.requests.try_reserve(STREAM) {
        return Ok(room);
    }
    let _waits = octets.waiting.try_acquire().map_err(|_| End::Refused)?;
    let mut reserving = pin!(octets.request(STREAM));
    loop {
        let is_whole = gathered.message()?.is_some();
        let mut room = tokio::select! {
            room = &mut reserving => room?,
            part = read(receive), if !is_whole => {
                let Some((offset, part)) = part? else { return Err(End::Violation) };
                gathered.add(offset, &part)?;
                if gathered.octets() > LONG_REQUEST {
                    return Err(End::Refused);
                }
                continue;
            }
        };
        return if room.try_grow(gathered.octets()) { Ok(room) } else { Err(End::Refused) };
    }
}

/// The one message of a stream (RFC 9250, 4.2). Does not wait for the end of the stream.
async fn read_message(receive: &mut RecvStream, gathered: &mut Gathered, room: &mut Reservation) -> Result<(), End> {
    while gathered.message()?.is_none() {
        // The stream ended within the message.
        let Some((offset, part)) = read(receive).await? else { return Err(End::Violation) };
        let grown = gathered.add(offset, &part)?;
        if !room.try_grow(grown) {
            return Err(End::Refused);
        }
    }
    Ok(())
}

/// The next part that has arrived, with its place in the stream; `None` at the end.
async fn read(receive: &mut RecvStream) -> Result<Option<(u64, Bytes)>, End> {
    let chunk = receive.read_chunk(2 + LONGEST, false).await.map_err(|_| End::Left)?;
    Ok(chunk.map(|chunk| (chunk.offset, chunk.bytes)))
}

/// Ends when the stream has an octet behind its message (RFC 9250, 4.3.3). It is read while the message is answered, so
/// that the library has nothing of it.
async fn something_behind(receive: &mut RecvStream) {
    match receive.read_chunk(1, false).await {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => pending().await,
    }
}
