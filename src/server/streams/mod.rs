//! Everything that is a stream to its client: plain TCP, DoT, DoH and DoQ, all over the same `answer` as UDP, its octets
//! sent as they are. Each connection is a task with bounds on time, octets and number; which connections stay when there
//! are many is for [`limit`](super::limit). No listener ends before it is told to.

mod accept;
mod framed;
mod https;
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

use super::certificates::Certificates;
use super::counters::ThreadCounters;
use super::limit::Connections;
use super::udp::answer_or_fault;
use crate::answer::{Ask, Outcome, Transport};
use crate::clock;

pub(crate) use quic::serve as serve_quic;

/// A connection with nothing under way is closed after this: "on the order of seconds" (RFC 7766, 6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// From a message's first octet to its last: a query is one packet or two, so this is slack for several retransmissions.
const MESSAGE: Duration = Duration::from_secs(5);

/// For the client to take its replies: as for [`MESSAGE`].
const WRITE: Duration = Duration::from_secs(5);

/// For a TLS handshake, two round trips: as for [`MESSAGE`].
const HANDSHAKE: Duration = Duration::from_secs(5);

/// When stopping, how long connections have to take the replies to what they asked.
const DRAIN: Duration = Duration::from_millis(500);

/// Messages of one connection that are under way at a time, where they don't come in line (DoH, DoQ): the least that
/// HTTP/2 recommends (RFC 9113, 6.5.2), and a resolver's burst.
const AT_ONCE: u32 = 100;

/// Longest message (RFC 1035, 4.2.2; RFC 8484, 6; RFC 9250, 4.2).
const LONGEST: usize = 65_535;

/// Shortest message: a header (RFC 1035, 4.1.1).
const SHORTEST: usize = 12;

/// How the tasks answer: the same for all, at any moment.
pub(crate) type Answer = dyn Fn(&Ask<'_>, &mut [u8]) -> Outcome + Send + Sync;

/// What all connections share. Clones share it too.
#[derive(Clone)]
pub(crate) struct Serving {
    answer: Arc<Answer>,
    counters: Arc<ThreadCounters>,
    connections: Connections,
}

impl Serving {
    /// The listeners that get clones of this share one limit of connections.
    pub(crate) fn new(answer: Arc<Answer>, counters: Arc<ThreadCounters>) -> Serving {
        Serving { answer, counters, connections: Connections::default() }
    }

    /// The same with a limit of connections of its own.
    pub(crate) fn with_own_limit(&self) -> Serving {
        Serving { connections: Connections::default(), ..self.clone() }
    }

    /// Answers and counts one message and hands the reply to `take`; `None` where there is to be none.
    fn answer<T>(
        &self,
        packet: &[u8],
        source: SocketAddr,
        transport: Transport,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        thread_local! {
            /// Room for the longest reply, one a thread: it is used only between two awaits.
            static REPLY: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into());
        }
        let unix_secs = clock::unix_seconds() as u64 as u32;
        let ask = Ask { packet, source, transport, entropy: clock::entropy(), unix_secs };
        REPLY.with_borrow_mut(|room| {
            let outcome = answer_or_fault(|| (self.answer)(&ask, room), &self.counters)?;
            self.counters.outcome(transport, &outcome);
            match outcome {
                Outcome::Reply(reply) => Some(take(&room[..reply.len.min(LONGEST)])),
                Outcome::Silence(_) => None,
            }
        })
    }
}

/// Serves plain TCP (RFC 7766, RFC 9210) until `stop`.
pub(crate) async fn serve_tcp(listener: TcpListener, serving: Serving, stop: CancellationToken) {
    let ended = stop.clone();
    let converse =
        |accepted: accept::Accepted, serving| framed::converse(accepted, Transport::Tcp, serving, ended.clone());
    accept::serve(listener, (serving, Transport::Tcp), stop, converse).await;
}

/// Serves DoT (RFC 7858, ALPN `dot`) until `stop`.
pub(crate) async fn serve_tls(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    serving: Serving,
    stop: CancellationToken,
) {
    let (ended, acceptor) = (stop.clone(), tls::acceptor(certificates, b"dot"));
    let converse = |accepted, serving| tls::connection(accepted, acceptor.clone(), serving, ended.clone());
    accept::serve(listener, (serving, Transport::Tls), stop, converse).await;
}

/// Serves DoH (RFC 8484, ALPN `h2`) until `stop`.
pub(crate) async fn serve_https(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    serving: Serving,
    stop: CancellationToken,
) {
    let (ended, acceptor) = (stop.clone(), tls::acceptor(certificates, b"h2"));
    let converse = |accepted, serving| https::connection(accepted, acceptor.clone(), serving, ended.clone());
    accept::serve(listener, (serving, Transport::Https), stop, converse).await;
}

/// A message behind its length in two octets.
fn push_framed(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(message.len() as u16).to_be_bytes());
    out.extend_from_slice(message);
}
