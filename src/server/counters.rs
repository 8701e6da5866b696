//! What the servers count, without sharing: each UDP thread has counters of its own, on cache lines of its own, and
//! is their only writer, so that counting is a plain load and store. The streams, whose tasks move between threads,
//! have one set and add atomically. `telemetry` reads the [`Totals`], at any time and from any thread.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::answer::{Outcome, Reject, Reply, Transport};
use crate::server::answer_times::{AnswerTimes, TimeTotals};
use crate::server::handshake::HandshakeResult;

/// Response codes up to 23 (BADCOOKIE), the greatest that this server sends, have a counter each; those above share
/// one.
pub const OTHER_RCODE: u16 = 24;

/// Pick counters are allocated in chunks of this many: 32 KiB, small for one zone, few for a million names.
const CHUNK: usize = 4096;

/// Most chunks: 16 million ids, 16 endpoints for each of a million names. Picks of higher ids are not counted.
const CHUNKS: usize = 4096;

const RCODES: usize = OTHER_RCODE as usize + 1;

/// Why a datagram, message or connection got no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// `answer` rejected it.
    Rejected(Reject),
    /// A datagram longer than any query: it was cut on receipt.
    TooLong,
    /// The kernel would not send the reply: no route, a firewall, full buffers.
    Unsent,
    /// A panic while answering, which is a bug; the thread goes on.
    Fault,
    /// A connection whose message took too long to arrive, or whose client did not take its replies.
    Stalled,
    /// A connection with a message length that no query has.
    BadLength,
    /// A TLS or QUIC handshake that failed: another protocol than ours, or no TLS at all.
    Handshake,
    /// A connection closed to make room for a newer one, when there were as many as the limit, or no free descriptors.
    Displaced,
    /// A connection closed because octets that wait for it were needed for others, because none were free for it in
    /// time, or because what its client sent takes much memory that is not reserved; also a query over DoQ that had no
    /// room.
    NoOctets,
    /// A TLS or QUIC handshake that was refused: its client net makes too many, or there are too many in all.
    Refused,
    /// A reply over the rate limit.
    RateLimited,
    /// No message of a client, but a message of the query log that its reader did not take in time.
    Dnstap,
}

impl DropReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [DropReason; 14] = [
        DropReason::Rejected(Reject::Short),
        DropReason::Rejected(Reject::Response),
        DropReason::Rejected(Reject::PortZero),
        DropReason::TooLong,
        DropReason::Unsent,
        DropReason::Fault,
        DropReason::Stalled,
        DropReason::BadLength,
        DropReason::Handshake,
        DropReason::Displaced,
        DropReason::NoOctets,
        DropReason::Refused,
        DropReason::RateLimited,
        DropReason::Dnstap,
    ];

    /// Its name on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Rejected(reject) => reject.as_str(),
            DropReason::TooLong => "too_long",
            DropReason::Unsent => "unsent",
            DropReason::Fault => "fault",
            DropReason::Stalled => "stalled",
            DropReason::BadLength => "bad_length",
            DropReason::Handshake => "handshake",
            DropReason::Displaced => "displaced",
            DropReason::NoOctets => "no_octets",
            DropReason::Refused => "refused",
            DropReason::RateLimited => "rate_limited",
            DropReason::Dnstap => "dnstap",
        }
    }

    fn index(self) -> usize {
        match self {
            DropReason::Rejected(reject) => reject as usize,
            DropReason::TooLong => Reject::ALL.len(),
            DropReason::Unsent => Reject::ALL.len() + 1,
            DropReason::Fault => Reject::ALL.len() + 2,
            DropReason::Stalled => Reject::ALL.len() + 3,
            DropReason::BadLength => Reject::ALL.len() + 4,
            DropReason::Handshake => Reject::ALL.len() + 5,
            DropReason::Displaced => Reject::ALL.len() + 6,
            DropReason::NoOctets => Reject::ALL.len() + 7,
            DropReason::Refused => Reject::ALL.len() + 8,
            DropReason::RateLimited => Reject::ALL.len() + 9,
            DropReason::Dnstap => Reject::ALL.len() + 10,
        }
    }
}

/// All counters of this process. They never go down, not when their thread ends either.
#[derive(Debug, Default)]
pub struct Counters {
    threads: Mutex<Vec<Arc<ThreadCounters>>>,
}

/// Sums over all threads, each number as of some moment during the reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Replies by transport and response code (up to [`OTHER_RCODE`]), without zeroes.
    pub queries: Vec<(Transport, u16, u64)>,
    /// What got no reply, by reason, with zeroes.
    pub dropped: Vec<(DropReason, u64)>,
    /// By counter id: how often a record of its endpoint was in a reply, or how often its zone replied. Ids after the
    /// end have 0.
    pub picks: Vec<u64>,
    /// Datagrams that the kernel dropped because a receive queue was full.
    pub queue_drops: u64,
    /// Replies over the rate limit that were sent truncated; `queries` counts them too.
    pub slipped: u64,
    /// Replies that were sent truncated, those over the rate limit too, by transport.
    pub truncated: Vec<(Transport, u64)>,
    /// Connections that were accepted, and how many of them are open, by transport.
    pub connections: Vec<(Transport, u64, u64)>,
    /// TLS and QUIC handshakes by transport and result, with zeroes.
    pub handshakes: Vec<(Transport, HandshakeResult, u64)>,
    /// How long answers took, of a sample, by transport; none of transports without one.
    pub answer_times: Vec<(Transport, TimeTotals)>,
}

/// The counters of one UDP thread, or of all streams.
#[derive(Debug)]
#[repr(align(128))] // Two lines: processors fetch them in pairs.
pub struct ThreadCounters {
    writers: Writers,
    queries: [[AtomicU64; RCODES]; Transport::ALL.len()],
    dropped: [AtomicU64; DropReason::ALL.len()],
    queue_drops: AtomicU64,
    slipped: AtomicU64,
    truncated: [AtomicU64; Transport::ALL.len()],
    /// Connections that were accepted, and that ended.
    connections: [[AtomicU64; 2]; Transport::ALL.len()],
    handshakes: [[AtomicU64; HandshakeResult::ALL.len()]; Transport::ALL.len()],
    answer_times: [AnswerTimes; Transport::ALL.len()],
    /// How many chunks of `picks` are allocated, from the first on.
    chunks: AtomicUsize,
    picks: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writers {
    One,
    Many,
}

impl Counters {
    /// No thread yet, all zero.
    pub fn new() -> Counters {
        Counters::default()
    }

    /// New counters for one thread, which must be their only writer.
    pub fn thread(&self) -> Arc<ThreadCounters> {
        self.add(Writers::One)
    }

    /// New counters that any thread may write.
    pub fn shared(&self) -> Arc<ThreadCounters> {
        self.add(Writers::Many)
    }

    fn add(&self, writers: Writers) -> Arc<ThreadCounters> {
        let counters = Arc::new(ThreadCounters::new(writers));
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(counters.clone());
        counters
    }

    /// How many replies were sent. It costs much less than [`Counters::totals`].
    pub fn replies(&self) -> u64 {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        threads.iter().flat_map(|thread| thread.queries.iter().flatten()).map(|count| count.load(Relaxed)).sum()
    }

    /// Adds up all threads.
    pub fn totals(&self) -> Totals {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sum = |read: &dyn Fn(&ThreadCounters) -> u64| threads.iter().map(|thread| read(thread)).sum::<u64>();
        let mut totals = Totals {
            queue_drops: sum(&|thread| thread.queue_drops.load(Relaxed)),
            slipped: sum(&|thread| thread.slipped.load(Relaxed)),
            ..Totals::default()
        };
        for transport in Transport::ALL {
            let at = transport as usize;
            totals.truncated.push((transport, sum(&|thread| thread.truncated[at].load(Relaxed))));
            if transport != Transport::Udp {
                // Ended ones are read first: more can be accepted meanwhile, never fewer.
                let [ended, taken] = [1, 0].map(|which| sum(&|thread| thread.connections[at][which].load(Relaxed)));
                totals.connections.push((transport, taken, taken.saturating_sub(ended)));
            }
            for rcode in 0..RCODES {
                let count = sum(&|thread| thread.queries[transport as usize][rcode].load(Relaxed));
                if count > 0 {
                    totals.queries.push((transport, rcode as u16, count));
                }
            }
        }
        for transport in [Transport::Tls, Transport::Https, Transport::Quic] {
            for result in HandshakeResult::ALL {
                let count = sum(&|thread| thread.handshakes[transport as usize][result as usize].load(Relaxed));
                totals.handshakes.push((transport, result, count));
            }
        }
        for transport in Transport::ALL {
            let mut times = TimeTotals::default();
            threads.iter().for_each(|thread| times.add(&thread.answer_times[transport as usize]));
            if times.all() > 0 {
                totals.answer_times.push((transport, times));
            }
        }
        for reason in DropReason::ALL {
            totals.dropped.push((reason, sum(&|thread| thread.dropped[reason.index()].load(Relaxed))));
        }
        for thread in &threads {
            thread.add_picks(&mut totals.picks);
        }
        totals
    }
}

impl ThreadCounters {
    fn new(writers: Writers) -> ThreadCounters {
        ThreadCounters {
            writers,
            queries: Default::default(),
            dropped: Default::default(),
            queue_drops: AtomicU64::new(0),
            slipped: AtomicU64::new(0),
            truncated: Default::default(),
            connections: Default::default(),
            handshakes: Default::default(),
            answer_times: Default::default(),
            chunks: AtomicUsize::new(0),
            picks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Counts the outcome of a message.
    pub fn outcome(&self, transport: Transport, outcome: &Outcome) {
        match outcome {
            Outcome::Reply(reply) => self.reply(transport, reply),
            Outcome::Silence(reject) => self.dropped(DropReason::Rejected(*reject), 1),
        }
    }

    fn reply(&self, transport: Transport, reply: &Reply) {
        self.bump(&self.queries[transport as usize][usize::from(reply.rcode.min(OTHER_RCODE))], 1);
        if let Some(id) = reply.zone {
            self.pick(id);
        }
        if reply.is_truncated {
            self.bump(&self.truncated[transport as usize], 1);
        }
        for &id in &reply.tallies {
            self.pick(id);
        }
    }

    /// Counts an accepted connection; it counts as ended when the returned value is dropped.
    pub fn connection(self: &Arc<Self>, transport: Transport) -> OpenConnection {
        self.bump(&self.connections[transport as usize][0], 1);
        OpenConnection { counters: self.clone(), transport }
    }

    /// Counts a TLS or QUIC handshake that was done.
    pub fn handshake_done(&self, transport: Transport) {
        self.handshake(transport, HandshakeResult::Done);
    }

    /// Counts a TLS or QUIC handshake that was not done, and its connection.
    pub fn handshake_lost(&self, transport: Transport, why: DropReason) {
        let is_refused = matches!(why, DropReason::Refused);
        self.handshake(transport, if is_refused { HandshakeResult::Refused } else { HandshakeResult::Failed });
        self.dropped(why, 1);
    }

    fn handshake(&self, transport: Transport, result: HandshakeResult) {
        self.bump(&self.handshakes[transport as usize][result as usize], 1);
    }

    /// Counts how long an answer took: one of a sample.
    pub fn answer_took(&self, transport: Transport, time: Duration) {
        self.answer_times[transport as usize].record(time);
    }

    /// Counts what got no reply.
    pub fn dropped(&self, reason: DropReason, count: u64) {
        self.bump(&self.dropped[reason.index()], count);
    }

    /// Counts what the kernel dropped.
    pub fn queue_drops(&self, count: u64) {
        self.bump(&self.queue_drops, count);
    }

    /// Counts a reply that was sent truncated because it was over the rate limit.
    pub fn slipped(&self) {
        self.bump(&self.slipped, 1);
    }

    /// Allocates pick counters with ids below `ids`, so that counting allocates nothing. Called before each batch;
    /// costs one comparison when they are allocated already.
    pub fn reserve_picks(&self, ids: usize) {
        let wanted = ids.div_ceil(CHUNK).min(CHUNKS);
        for chunk in self.picks.iter().take(wanted).skip(self.chunks.load(Relaxed)) {
            chunk.get_or_init(new_chunk);
        }
        self.chunks.fetch_max(wanted, Relaxed);
    }

    /// Counts one for an id. Allocates its counter where that was not reserved, so that no count is lost.
    fn pick(&self, id: u32) {
        let Some(chunk) = self.picks.get(id as usize / CHUNK) else { return };
        let chunk = chunk.get_or_init(new_chunk);
        if let Some(counter) = chunk.get(id as usize % CHUNK) {
            self.bump(counter, 1);
        }
    }

    fn add_picks(&self, totals: &mut Vec<u64>) {
        for (at, chunk) in self.picks.iter().enumerate() {
            let Some(chunk) = chunk.get() else { continue };
            let used = chunk.iter().rposition(|counter| counter.load(Relaxed) > 0).map_or(0, |last| last + 1);
            let start = at * CHUNK;
            if used > 0 && totals.len() < start + used {
                totals.resize(start + used, 0);
            }
            for (counter, total) in chunk.iter().take(used).zip(totals.iter_mut().skip(start)) {
                *total += counter.load(Relaxed);
            }
        }
    }

    fn bump(&self, counter: &AtomicU64, by: u64) {
        match self.writers {
            Writers::One => counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed),
            Writers::Many => {
                counter.fetch_add(by, Relaxed);
            }
        }
    }
}

/// One open connection, for the counters.
#[derive(Debug)]
pub struct OpenConnection {
    counters: Arc<ThreadCounters>,
    transport: Transport,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counters.bump(&self.counters.connections[self.transport as usize][1], 1);
    }
}

fn new_chunk() -> Box<[AtomicU64]> {
    (0..CHUNK).map(|_| AtomicU64::new(0)).collect()
}
