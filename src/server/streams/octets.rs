//! The octets of one connection of DoH or DoQ: requests that are not answered yet, and replies that the client has not
//! taken. A query is answered only when its reply has room; until then its stream waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{AT_ONCE, Answered, LONGEST, StreamContext, WRITE};
use crate::admission::{Account, Reservation, Seat};
use crate::answer::Transport;
use crate::clock;

/// Octets of replies that may wait for one client; one reply of any size when there is no other.
pub(super) const REPLIES: usize = 64 << 10;

/// What a stream takes in addition to its message: its task, and the state that HTTP/2 or QUIC has for it.
pub(super) const STREAM: usize = 2 << 10;

/// A message above this is refused in place of waiting for room: it takes memory while it waits.
pub(super) const LONG_REQUEST: usize = 512;

/// Requests of one connection that may wait for room. Each takes [`STREAM`] and [`LONG_REQUEST`] that are not reserved:
/// 40 KiB of what a connection may take.
pub(super) const WAITING: usize = 16;

/// The octets of a message's length (RFC 9250, 4.2).
const PREFIX: usize = 2;

/// Octets of requests of one client: all its streams, each with a normal query, and one of them with the longest
/// message.
const REQUESTS: usize = AT_ONCE as usize * (STREAM + LONG_REQUEST) + PREFIX + LONGEST;

/// How often it is checked whether a client takes its replies.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Octets {
    pub(super) requests: Account,
    pub(super) replies: Account,
    /// One permit for each request that may wait for room.
    pub(super) waiting: Arc<Semaphore>,
    /// Whoever answers, or waits for room for its reply. The queries behind it wait without being answered, so that a
    /// client that takes nothing costs two answers, not one for each stream.
    turn: Arc<Mutex<()>>,
    /// The connection has ended: what still waits for its turn is not answered.
    pub(super) ended: CancellationToken,
}

/// There was no room for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Starved;

impl Octets {
    /// The accounts of a connection.
    pub(super) fn of(seat: &Seat, context: &StreamContext) -> Octets {
        let account = |room| context.octets.account(seat, room);
        let (requests, replies) = (account(REQUESTS), account(REPLIES));
        let waiting = Arc::new(Semaphore::new(WAITING));
        Octets { requests, replies, waiting, turn: Arc::default(), ended: CancellationToken::new() }
    }

    /// Room for a request, which is `octets` long with its [`STREAM`]. Waits for it at most [`WRITE`].
    pub(super) async fn request(&self, octets: usize) -> Result<Reservation, Starved> {
        timeout(WRITE, self.requests.reserve(octets)).await.map_err(|_| Starved)
    }

    /// Answers a message as soon as its reply has room, which is waited for at most [`WRITE`]. Gives the reply, made by
    /// `frame`, and its room; `None` where there is no reply.
    pub(super) async fn answer(
        &self,
        context: &StreamContext,
        message: &[u8],
        (source, transport): (SocketAddr, Transport),
        frame: fn(&[u8]) -> Vec<u8>,
    ) -> Result<Option<(Vec<u8>, Reservation)>, Starved> {
        let answering = async {
            let _turn = self.turn.lock().await;
            let mut room: Option<Reservation> = None;
            while !self.ended.is_cancelled() {
                let answered = context.answer(message, source, transport, |reply| {
                    let octets = framed_len(reply.len());
                    let room = match room.take() {
                        None => self.replies.try_reserve(octets)?,
                        Some(mut room) => {
                            let more = octets.saturating_sub(room.octets());
                            (more == 0 || room.try_grow(more)).then_some(room)?
                        }
                    };
                    Some((frame(reply), room))
                });
                match answered {
                    Answered::Reply(reply) => return Some(reply),
                    Answered::Silence => return None,
                    Answered::NoRoom { len } => room = Some(self.replies.reserve(framed_len(len)).await),
                }
            }
            None
        };
        timeout(WRITE, answering).await.map_err(|_| Starved)
    }
}

/// A reply with the two octets of its length, where the transport has them.
fn framed_len(reply: usize) -> usize {
    PREFIX + reply
}

/// Whether a client takes its replies. One that takes none is the first to be displaced, and after [`WRITE`] it is
/// closed.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The releases of the account at the last check, if octets waited.
    releases: Option<u64>,
    /// How long none was taken.
    deaf_for: Duration,
}

impl Progress {
    /// Checks after each [`TICK`] while octets wait: true when none was taken for [`WRITE`].
    pub(super) fn is_stalled(&mut self, replies: &Account, seat: &Seat) -> bool {
        let releases = (replies.reserved() > 0).then(|| replies.releases());
        if releases.is_none() || releases != self.releases {
            if self.is_deaf() {
                seat.mark_used(clock::now());
            }
            *self = Progress { releases, deaf_for: Duration::ZERO };
            return false;
        }
        if !self.is_deaf() {
            seat.mark_deaf(clock::now());
        }
        self.deaf_for += TICK;
        self.deaf_for >= WRITE
    }

    /// A message was answered. This is no use of the connection while its client takes nothing.
    pub(super) fn mark_used(&self, seat: &Seat) {
        if !self.is_deaf() {
            seat.mark_used(clock::now());
        }
    }

    fn is_deaf(&self) -> bool {
        self.deaf_for > Duration::ZERO
    }
}
