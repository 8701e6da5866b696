//! The answering core: one function, bytes in and bytes out, under every transport. It never allocates, locks, logs,
//! waits or reads a clock: all that it needs is in the [`Snapshot`] and the [`RawQuery`]. The servers call it, and
//! count its [`Outcome`].

mod additional;
mod answering;
mod chain;
mod chaos;
mod edns;
mod resolve;
mod steered;
mod subject;
mod tallies;
#[cfg(test)]
mod tests;

pub use crate::wire::Reject;
pub use tallies::Tallies;

use std::net::SocketAddr;

use crate::snapshot::Snapshot;
use crate::wire::NameBuf;
use crate::wire::code::{class, opcode, rcode, rtype};
use crate::wire::query::Query;
use answering::Answering;

/// Longest reply over UDP to a query without EDNS, and the least that an EDNS sender can receive (RFC 6891, 6.2.3).
const MIN_UDP_REPLY: usize = 512;

/// Longest reply over UDP: what passes every path unfragmented (the flag day of 2020), and the room `out` must have.
pub const MAX_UDP_REPLY: usize = 1232;

/// One message as it was received, with everything that its answer may depend on.
#[derive(Debug, Clone, Copy)]
pub struct RawQuery<'a> {
    /// The message, without a stream's length prefix.
    pub packet: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// The transport that it came over.
    pub transport: Transport,
    /// 64 unpredictable bits, fresh for each message.
    pub entropy: u64,
    /// Seconds since 1970 UTC, modulo 2^32, for cookies (RFC 9018, 4.3).
    pub unix_secs: u32,
}

/// What carries messages between a client and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP: the only one with a limit on the reply below 65,535 octets.
    Udp,
    /// Plain TCP (RFC 7766).
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Transport {
    /// All of them, in the order of their numbers.
    pub const ALL: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic];

    /// Its name on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Https => "https",
            Transport::Quic => "quic",
        }
    }
}

/// The result of answering one message.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack: a box would allocate for each packet")]
pub enum Outcome {
    /// `out[..reply.len]` is to be sent.
    Reply(Reply),
    /// Nothing is to be sent.
    Silence(Reject),
}

/// Facts of a reply, for counters and the rate limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reply {
    /// Octets written to the start of `out`, at least 12.
    pub len: usize,
    /// The whole response code with the upper bits in the OPT record (RFC 6891, 6.1.3): 0 to 4095.
    pub rcode: u16,
    /// Counter ids of the steered records in this reply, each once.
    pub tallies: Tallies,
    /// Id of the counter of the zone that answered, where one did.
    pub zone: Option<u32>,
    /// Whether TC is set: the client should ask again over TCP.
    pub is_truncated: bool,
    /// Whether the query has a valid server cookie: then its source address is not forged (RFC 7873, 5.2.5).
    pub has_valid_cookie: bool,
    /// Identifies its content for rate limiting: equal for similar replies from one snapshot; 0 for replies that no
    /// zone answers.
    pub subject: u64,
}

/// Answers one message into `out`, which has at least [`MAX_UDP_REPLY`] octets for UDP, and for another transport 512
/// octets to 65,535. The reply is truncated where it does not fit.
pub fn answer(snapshot: &Snapshot, raw: &RawQuery<'_>, out: &mut [u8]) -> Outcome {
    if raw.source.port() == 0 && raw.transport == Transport::Udp {
        return Outcome::Silence(Reject::PortZero);
    }
    let mut name = NameBuf::default();
    let query = match Query::parse(raw.packet, &mut name) {
        Ok(query) => query,
        Err(reject) => return Outcome::Silence(reject),
    };
    let mut answering = Answering::begin(snapshot, raw, &query, out);
    let rcode = match refusal(&query) {
        Some(rcode) => rcode,
        None => answering.resolve(),
    };
    Outcome::Reply(answering.finish(rcode))
}

/// As [`answer`], but truncated and without records, so that the client asks again over TCP. Errors stay errors. The
/// reply is no longer than the query, except for a cookie and our own fixed options.
pub fn answer_truncated(snapshot: &Snapshot, raw: &RawQuery<'_>, out: &mut [u8]) -> Outcome {
    let mut name = NameBuf::default();
    let query = match Query::parse(raw.packet, &mut name) {
        Ok(query) => query,
        Err(reject) => return Outcome::Silence(reject),
    };
    let mut answering = Answering::begin(snapshot, raw, &query, out);
    let rcode = refusal(&query).unwrap_or_else(|| answering.truncate());
    Outcome::Reply(answering.finish(rcode))
}

/// The response code of a message that is not answered from the zones; `None` for one that is.
fn refusal(query: &Query<'_>) -> Option<u16> {
    // We have no keys, so that every key is unknown (RFC 8945, 5.2.1). A signed update is still an update.
    let unknown_key = query.tsig.map(|_| rcode::NOTAUTH);
    match query.opcode() {
        opcode::QUERY => {}
        // No peer for NOTIFY or UPDATE can be configured, so that none is allowed.
        opcode::NOTIFY | opcode::UPDATE => return unknown_key.or(Some(rcode::REFUSED)),
        _ => return Some(rcode::NOTIMP),
    }
    if query.is_malformed {
        return Some(rcode::FORMERR);
    }
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Some(rcode::BADVERS);
    }
    if unknown_key.is_some() {
        return unknown_key;
    }
    let question = query.question?;
    match (question.qclass, question.qtype) {
        (class::IN | class::ANY, rtype::AXFR | rtype::IXFR) => Some(rcode::REFUSED),
        (class::IN | class::ANY | class::CH, _) => None,
        _ => Some(rcode::REFUSED),
    }
}

/// Most octets of a reply over this transport (RFC 6891, 6.2.5).
fn reply_limit(raw: &RawQuery<'_>, query: &Query<'_>) -> usize {
    match raw.transport {
        Transport::Udp => {
            query.edns.map_or(MIN_UDP_REPLY, |edns| usize::from(edns.udp_size)).clamp(MIN_UDP_REPLY, MAX_UDP_REPLY)
        }
        Transport::Tcp | Transport::Tls | Transport::Https | Transport::Quic => usize::from(u16::MAX),
    }
}
