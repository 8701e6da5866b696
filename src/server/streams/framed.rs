//! Messages on a stream of octets, each behind its length in two octets: plain TCP (RFC 7766, RFC 9210) and DoT (RFC
//! 7858), which differ only in what carries the octets. Replies are written in the order of their messages. Everything
//! that a client can delay or accumulate has a bound in time and octets.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::accept::NewConnection;
use super::octets::REPLIES;
use super::{Answered, DRAIN, IDLE, LINGER, LONGEST, MESSAGE, SHORTEST, StreamContext, WRITE, push_framed};
use crate::admission::{Account, Displacement, Reservation, Seat};
use crate::answer::Transport;
use crate::clock;
use crate::server::counters::DropReason;

/// Octets that are read at once; most queries take less than 100. Grows only for a longer message.
const READ: usize = 4096;

/// Octets of a long message that is not complete: the longest, and the last reading.
const INBOX: usize = LONGEST + READ;

/// Replies are written when there are this many octets of them, so that one connection buffers at most this and a
/// reply.
const WRITE_AT: usize = 16 << 10;

/// Messages that are answered in one turn. Then other connections have theirs, so that a client that sends thousands
/// cannot use a thread for itself. Judgment: far below a millisecond.
const TURN: usize = 32;

/// A client that takes no reply for this long is the first to be displaced. Judgment: a round trip around the world,
/// and a retransmission.
const DEAF: Duration = Duration::from_millis(500);

/// Serves one connection until it ends, is displaced, or `stop`.
pub(super) async fn converse<S>(
    accepted: NewConnection<S>,
    transport: Transport,
    context: StreamContext,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let NewConnection { stream, source, seat, abort } = accepted;
    let mut conversation = Conversation {
        stream,
        transport,
        source,
        seat: &seat,
        context: &context,
        inbox: Inbox { octets: Vec::new(), account: context.octets.account(&seat, INBOX), room: Vec::new() },
        outbox: Outbox { octets: Vec::new(), account: context.octets.account(&seat, REPLIES), room: None },
        was_used: false,
        linger: None,
    };
    let end = tokio::select! {
        end = conversation.run(&stop) => end,
        why = seat.displaced() => End::Displaced(why),
    };
    // TLS sends its close_notify at the shutdown, so that the client can distinguish a normal end from an attack.
    let shutdown = conversation.stream.shutdown();
    match end {
        // Our half only, so that replies under way are not cut off. A client that does not take it in time is
        // abandoned.
        End::Left | End::BadLength => drop(timeout(DRAIN, shutdown).await),
        // What the client has not taken must not stay in the kernel.
        End::Displaced(_) | End::Stalled | End::Starved => {
            let _ = shutdown.now_or_never();
            abort.set();
        }
    }
    match end {
        End::Left => {}
        End::Displaced(why) => context.count_displaced(why),
        End::Stalled => context.counters.dropped(DropReason::Stalled, 1),
        End::Starved => context.counters.dropped(DropReason::NoOctets, 1),
        End::BadLength => context.counters.dropped(DropReason::BadLength, 1),
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By the client, by being idle, or because we stop.
    Left,
    /// It made room for another.
    Displaced(Displacement),
    /// The client stopped in the middle of a message, or did not take its replies.
    Stalled,
    /// There was no room for a reply for too long.
    Starved,
    /// A length below a header's: where the next message begins is unknown.
    BadLength,
}

/// What to do after some whole messages in the inbox were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// All whole messages are answered; the next is to be read.
    NeedsInput,
    /// There are enough replies to write before more messages are answered.
    NeedsOutput,
    /// The next reply, framed, is this long and has no room.
    NeedsRoom { octets: usize },
    /// See [`End::BadLength`].
    BadLength,
}

struct Conversation<'a, S> {
    stream: S,
    transport: Transport,
    source: SocketAddr,
    seat: &'a Seat,
    context: &'a StreamContext,
    inbox: Inbox,
    outbox: Outbox,
    /// Whether a message was answered.
    was_used: bool,
    /// From the stop to the end between two messages.
    linger: Option<Pin<Box<Sleep>>>,
}

/// What was received and not answered.
struct Inbox {
    octets: Vec<u8>,
    account: Account,
    /// Room for what is longer than [`READ`].
    room: Vec<Reservation>,
}

/// Replies that are to be written.
struct Outbox {
    octets: Vec<u8>,
    account: Account,
    room: Option<Reservation>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<'_, S> {
    async fn run(&mut self, stop: &CancellationToken) -> End {
        loop {
            let progress = self.answer_inbox();
            if !self.outbox.octets.is_empty()
                && let Err(end) = self.write().await
            {
                return end;
            }
            match progress {
                Progress::NeedsOutput => yield_now().await,
                Progress::NeedsRoom { octets } => match timeout(WRITE, self.outbox.account.reserve(octets)).await {
                    Ok(room) => self.outbox.room = Some(room),
                    Err(_) => return End::Starved,
                },
                Progress::BadLength => return End::BadLength,
                Progress::NeedsInput => {
                    yield_now().await;
                    if let Err(end) = self.read_message(stop).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Answers whole messages in the inbox, in order, and removes them; at most one turn of them.
    fn answer_inbox(&mut self) -> Progress {
        let (mut done, mut left) = (0, TURN);
        let progress = loop {
            match next_message(&self.inbox.octets[done..]) {
                NextMessage::Whole(message) => {
                    let outbox = &mut self.outbox;
                    match self.context.answer(message, self.source, self.transport, |reply| outbox.push(reply)) {
                        // No reply means that nothing is written.
                        Answered::Reply(()) | Answered::Silence => {}
                        Answered::NoRoom { len } => break Progress::NeedsRoom { octets: 2 + len },
                    }
                    done += 2 + message.len();
                    left -= 1;
                    self.was_used = true;
                }
                NextMessage::Part => break Progress::NeedsInput,
                NextMessage::BadLength => break Progress::BadLength,
            }
            if left == 0 || self.outbox.octets.len() >= WRITE_AT {
                break Progress::NeedsOutput;
            }
        };
        self.inbox.remove(done);
        progress
    }

    /// Writes the outbox and frees its room.
    async fn write(&mut self) -> Result<(), End> {
        let octets = std::mem::take(&mut self.outbox.octets);
        let room = self.outbox.room.take();
        let mut writing = pin!(timeout(WRITE, write(&mut self.stream, &octets)));
        let written = tokio::select! {
            biased;
            written = &mut writing => written,
            () = sleep(DEAF) => {
                self.seat.mark_deaf(clock::now());
                writing.await
            }
        };
        drop(room);
        match written {
            Ok(Ok(())) => self.seat.mark_used(clock::now()),
            Ok(Err(_)) => return Err(End::Left),
            Err(_) => return Err(End::Stalled),
        }
        Ok(())
    }

    /// Reads until the inbox begins with a whole message or an invalid length. After the stop it ends between two
    /// messages only, unless that takes longer than [`DRAIN`].
    async fn read_message(&mut self, stop: &CancellationToken) -> Result<(), End> {
        let Conversation { stream, inbox, was_used, linger, .. } = self;
        let lingered = async {
            stop.cancelled().await;
            let time = if *was_used { LINGER } else { DRAIN };
            linger.get_or_insert_with(|| Box::pin(sleep(time))).await;
        };
        tokio::select! {
            biased;
            read = read_message(stream, inbox) => return read,
            () = lingered => {}
        }
        match inbox.octets.is_empty() {
            true => Err(End::Left),
            false => read_message(stream, inbox).await,
        }
    }
}

impl Outbox {
    /// Adds a reply, if there is room for it.
    fn push(&mut self, reply: &[u8]) -> Option<()> {
        let octets = self.octets.len() + 2 + reply.len();
        match &mut self.room {
            None => self.room = Some(self.account.try_reserve(octets)?),
            Some(room) => {
                let more = octets.saturating_sub(room.octets());
                if more > 0 && !room.try_grow(more) {
                    return None;
                }
            }
        }
        push_framed(reply, &mut self.octets);
        Some(())
    }
}

impl Inbox {
    /// Removes octets from the beginning.
    fn remove(&mut self, octets: usize) {
        self.octets.drain(..octets);
        if self.octets.is_empty() && self.octets.capacity() > READ {
            self.octets = Vec::new();
        }
        if self.octets.len() <= READ {
            self.room.clear();
        }
    }

    /// Reads once.
    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<(), End> {
        self.octets.reserve_exact(READ);
        match stream.read_buf(&mut self.octets).await {
            Ok(0) | Err(_) => Err(End::Left),
            Ok(_) => Ok(()),
        }
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> std::io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin), inbox: &mut Inbox) -> Result<(), End> {
    if inbox.octets.is_empty() {
        timeout(IDLE, inbox.read(stream)).await.map_err(|_| End::Left)??;
    }
    let rest = async {
        while let NextMessage::Part = next_message(&inbox.octets) {
            // The first octets are part of what every connection takes.
            if inbox.octets.len() >= READ * (1 + inbox.room.len()) {
                inbox.room.push(inbox.account.reserve(READ).await);
            }
            inbox.read(stream).await?;
        }
        Ok(())
    };
    timeout(MESSAGE, rest).await.map_err(|_| End::Stalled)?
}

/// What some octets begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextMessage<'a> {
    /// A whole message, without its length.
    Whole(&'a [u8]),
    /// Less than one.
    Part,
    /// A length below a header's.
    BadLength,
}

pub(super) fn next_message(octets: &[u8]) -> NextMessage<'_> {
    let [high, low, rest @ ..] = octets else { return NextMessage::Part };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    match rest.get(..length) {
        _ if length < SHORTEST => NextMessage::BadLength,
        Some(message) => NextMessage::Whole(message),
        None => NextMessage::Part,
    }
}

#[cfg(test)]
mod tests;
