//! Plain TCP, DoT, DoH and DoQ. All use the same `answer` as UDP and send its octets unchanged. Each connection is a
//! task with bounds on time, octets and number of messages; [`Seats`] bound the number of connections. A listener
//! ends only when it is stopped.

mod accept;
mod carrier;
mod datagrams;
mod exchange;
mod fields;
mod framed;
mod gathered;
mod https;
mod octets;
mod quic;
#[cfg(test)]
mod tests;
mod tls;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::answer_times::Sampler;
use super::certificates::Certificates;
use super::counters::{DropReason, ThreadCounters};
use super::dnstap::QueryLog;
use super::limits::StreamLimits;
use super::udp::answer_or_fault;
use crate::admission::{Displacement, Handshakes, Seats, WaitingOctets};
use crate::answer::{Outcome, RawQuery, Transport};
use crate::clock;

pub(crate) use quic::serve as serve_quic;

/// An idle connection is closed after this: "on the order of seconds" (RFC 7766, 6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// From a message's first octet to its last: a query is one packet or two, so this allows several retransmissions.
const MESSAGE: Duration = Duration::from_secs(5);

/// For the client to take its replies, and for a reply to get room: as for [`MESSAGE`].
const WRITE: Duration = Duration::from_secs(5);

/// For a TLS handshake, two round trips: as for [`MESSAGE`].
const HANDSHAKE: Duration = Duration::from_secs(5);

/// When stopping, how long clients have to send the message that they began, and to take the replies to their queries.
/// Judgment: a few round trips, and an operator waits no longer than that.
const DRAIN: Duration = Duration::from_secs(1);

/// When stopping, how long a connection stays open on which messages were answered and nothing has come since: for a
/// message under way. Judgment: a round trip around the world. One that has sent nothing yet has [`DRAIN`].
const LINGER: Duration = Duration::from_millis(250);

/// Messages of one connection that are answered at the same time (DoH, DoQ): the least that HTTP/2 recommends (RFC
/// 9113, 6.5.2), and enough for a resolver's burst.
const AT_ONCE: u32 = 100;

/// Longest message (RFC 1035, 4.2.2; RFC 8484, 6; RFC 9250, 4.2).
const LONGEST: usize = 65_535;

/// Shortest message: a header (RFC 1035, 4.1.1).
const SHORTEST: usize = 12;

/// The function that answers: the same for all tasks.
pub(crate) type AnswerFn = dyn Fn(&RawQuery<'_>, &mut [u8]) -> Outcome + Send + Sync;

/// What all connections share. Clones share the same.
#[derive(Clone)]
pub(crate) struct StreamContext {
    answer: Arc<AnswerFn>,
    counters: Arc<ThreadCounters>,
    seats: Seats,
    octets: WaitingOctets,
    handshakes: Handshakes,
    log: Option<QueryLog>,
}

/// What became of a message.
#[derive(Debug)]
enum Answered<T> {
    /// Its reply was taken.
    Reply(T),
    /// It has none.
    Silence,
    /// Its reply, of `len` octets, was not taken: there is no room for it. This is not counted; the message is answered
    /// again when there is room.
    NoRoom { len: usize },
}

impl StreamContext {
    /// The listeners that get clones of this share one limit of connections.
    /// Messages that are answered go into `log`.
    pub(crate) fn new(
        answer: Arc<AnswerFn>,
        counters: Arc<ThreadCounters>,
        limits: &StreamLimits,
        log: Option<QueryLog>,
    ) -> StreamContext {
        let (seats, octets) = (limits.connections.clone(), limits.octets.clone());
        StreamContext { answer, counters, seats, octets, handshakes: Handshakes::default(), log }
    }

    /// The same with other seats.
    pub(crate) fn with_seats(&self, seats: &Seats) -> StreamContext {
        StreamContext { seats: seats.clone(), ..self.clone() }
    }

    /// Counts a connection that ends to make room.
    fn count_displaced(&self, why: Displacement) {
        self.counters.dropped(reason_of(why), 1);
    }

    /// Answers and counts one message and passes the reply to `take`, which gives `None` where it has no room for it.
    fn answer<T>(
        &self,
        packet: &[u8],
        source: SocketAddr,
        transport: Transport,
        take: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Answered<T> {
        thread_local! {
            /// Room for the longest reply, one a thread: it is used only between two awaits.
            static REPLY: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into());
            static SAMPLER: RefCell<Sampler> = const { RefCell::new(Sampler::new()) };
        }
        let unix_secs = clock::unix_seconds() as u64 as u32;
        let ask = RawQuery { packet, source, transport, entropy: clock::entropy(), unix_secs };
        REPLY.with_borrow_mut(|room| {
            let begun = SAMPLER.with_borrow_mut(Sampler::is_measured).then(clock::now);
            let Some(outcome) = answer_or_fault(|| (self.answer)(&ask, room), &self.counters) else {
                return Answered::Silence;
            };
            if let Some(begun) = begun {
                self.counters.answer_took(transport, clock::now().since(begun));
            }
            let taken = match &outcome {
                Outcome::Silence(_) => Answered::Silence,
                Outcome::Reply(reply) => {
                    let len = reply.len.min(LONGEST);
                    let Some(taken) = take(&room[..len]) else { return Answered::NoRoom { len } };
                    if let Some(log) = &self.log {
                        log.exchange(&ask, &room[..len], clock::unix_nanos());
                    }
                    Answered::Reply(taken)
                }
            };
            self.counters.outcome(transport, &outcome);
            taken
        })
    }
}

/// Serves plain TCP (RFC 7766, RFC 9210) until `stop`.
pub(crate) async fn serve_tcp(listener: TcpListener, context: StreamContext, stop: CancellationToken) {
    let ended = stop.clone();
    let converse =
        |accepted: accept::NewConnection, context| framed::converse(accepted, Transport::Tcp, context, ended.clone());
    accept::serve(listener, (context, Transport::Tcp), stop, converse).await;
}

/// Serves DoT (RFC 7858, ALPN `dot`) until `stop`.
pub(crate) async fn serve_tls(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    context: StreamContext,
    stop: CancellationToken,
) {
    let (ended, acceptor) = (stop.clone(), tls::acceptor(certificates, b"dot"));
    let converse = |accepted, context| tls::connection(accepted, acceptor.clone(), context, ended.clone());
    accept::serve(listener, (context, Transport::Tls), stop, converse).await;
}

/// Serves DoH (RFC 8484, ALPN `h2`) until `stop`.
pub(crate) async fn serve_https(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    context: StreamContext,
    stop: CancellationToken,
) {
    let (ended, acceptor) = (stop.clone(), tls::acceptor(certificates, b"h2"));
    let converse = |accepted, context| https::connection(accepted, acceptor.clone(), context, ended.clone());
    accept::serve(listener, (context, Transport::Https), stop, converse).await;
}

/// How a connection that ends to make room is counted.
fn reason_of(why: Displacement) -> DropReason {
    match why {
        Displacement::Seat => DropReason::Displaced,
        Displacement::Octets => DropReason::NoOctets,
    }
}

/// A message behind its length in two octets.
fn push_framed(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(message.len() as u16).to_be_bytes());
    out.extend_from_slice(message);
}
