//! One query of DoQ and its reply, on a stream of their own (RFC 9250, 4.2).

use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use super::framed::{NextMessage, next_message};
use super::octets::{Octets, STREAM, Starved};
use super::{LONGEST, MESSAGE, StreamContext, WRITE, push_framed};
use crate::admission::Reservation;
use crate::answer::Transport;
use crate::server::counters::DropReason;

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
    /// There was no room for a long message; the stream is reset.
    Refused,
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
            End::Answered | End::Left | End::Starved => {}
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
        let mut room = octets.request(STREAM).await?;
        let message =
            timeout(MESSAGE, read_message(&mut self.receive, &mut room)).await.map_err(|_| End::Stalled)??;
        // A client may have moved to another address: the current one counts.
        let whence = (self.connection.remote_address(), Transport::Quic);
        let Some((reply, reply_room)) = octets.answer(context, &message, whence, framed).await? else {
            return Err(End::Silent);
        };
        room.shrink_to(STREAM);
        // QUIC has the octets until the client has acknowledged them.
        let reply = Reservation::join(vec![room, reply_room], reply);
        let written = timeout(WRITE, self.send.write_chunk(reply)).await.map_err(|_| End::Stalled)?;
        written.and_then(|()| Ok(self.send.finish()?)).map_err(|_| End::Left)?;
        Ok(End::Answered)
    }
}

impl From<Starved> for End {
    fn from(Starved: Starved) -> End {
        End::Starved
    }
}

fn framed(reply: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(2 + reply.len());
    push_framed(reply, &mut framed);
    framed
}

/// The one message of a stream (RFC 9250, 4.2), without its length. Does not wait for the end of the stream.
async fn read_message(receive: &mut RecvStream, room: &mut Reservation) -> Result<Vec<u8>, End> {
    let mut inbox = Vec::new();
    loop {
        match next_message(&inbox) {
            // The message id must be 0: the stream identifies the query (RFC 9250, 4.2.1).
            NextMessage::Whole(message) if inbox.len() == 2 + message.len() && message.starts_with(&[0, 0]) => {
                return Ok(message.to_vec());
            }
            NextMessage::Whole(_) | NextMessage::BadLength => return Err(End::Violation),
            NextMessage::Part => {}
        }
        match receive.read_chunk(2 + LONGEST, true).await {
            Ok(Some(chunk)) if !room.try_grow(chunk.bytes.len()) => return Err(End::Refused),
            Ok(Some(chunk)) => inbox.extend_from_slice(&chunk.bytes),
            // The stream ended within the message.
            Ok(None) => return Err(End::Violation),
            Err(_) => return Err(End::Left),
        }
    }
}
