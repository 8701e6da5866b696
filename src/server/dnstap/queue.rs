//! The queue from the threads that answer to the thread that writes. It is bounded in octets, and whoever answers never
//! waits for it: what has no room is dropped and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::frames;
use super::message::{self, LogIdentity, LoggedMessage, MessageKind};
use crate::answer::{RawQuery, Transport};
use crate::server::counters::{DropReason, ThreadCounters};

/// Octets that may wait for the reader: 30,000 normal queries with their replies, a quarter of a second at 120,000 a
/// second. A sixteenth of 128 MiB, a small container.
const WAITING: usize = 8 << 20;

/// Chunks that may wait. Streams make one for each message, of at least 100 octets; UDP threads one for each batch.
const CHUNKS: usize = 16_384;

/// Where messages of the query log are put. Clones put into the same queue.
#[derive(Debug, Clone)]
pub(crate) struct QueryLog {
    sender: SyncSender<LogChunk>,
    shared: Arc<SharedLog>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct LogQueue {
    pub(super) receiver: Receiver<LogChunk>,
    pub(super) shared: Arc<SharedLog>,
}

/// What both ends know.
#[derive(Debug)]
pub(super) struct SharedLog {
    identity: LogIdentity,
    waiting: AtomicUsize,
    counters: Arc<ThreadCounters>,
}

/// Some data frames.
#[derive(Debug)]
pub(super) struct LogChunk {
    pub(super) octets: Vec<u8>,
    pub(super) frames: u64,
}

/// The messages of one thread that have not been put into the queue yet.
#[derive(Debug)]
pub(crate) struct LogBatch {
    log: QueryLog,
    chunk: LogChunk,
    unix_nanos: u64,
    /// The address of the socket, where it is one address.
    server: Option<SocketAddr>,
}

/// A queue whose dropped messages are counted in `counters`, which more than one thread may write.
pub(super) fn queue(identity: LogIdentity, counters: Arc<ThreadCounters>) -> (QueryLog, LogQueue) {
    let (sender, receiver) = sync_channel(CHUNKS);
    let shared = Arc::new(SharedLog { identity, waiting: AtomicUsize::new(0), counters });
    (QueryLog { sender, shared: shared.clone() }, LogQueue { receiver, shared })
}

impl QueryLog {
    /// A batch for the thread that has the socket at `local`.
    pub(crate) fn batch(&self, local: Option<SocketAddr>) -> LogBatch {
        let server = local.filter(|local| !local.ip().is_unspecified());
        LogBatch { log: self.clone(), chunk: LogChunk::empty(0), unix_nanos: 0, server }
    }

    /// Logs a query and its reply at once.
    pub(crate) fn exchange(&self, query: &RawQuery<'_>, reply: &[u8], unix_nanos: u64) {
        let mut batch = self.batch(None);
        batch.begin(unix_nanos);
        batch.query(query);
        batch.reply(query, reply);
        self.put(batch.chunk);
    }

    fn put(&self, chunk: LogChunk) {
        let len = chunk.octets.len();
        if self.shared.waiting.fetch_add(len, Relaxed) + len > WAITING {
            self.shared.waiting.fetch_sub(len, Relaxed);
            return self.shared.dropped(chunk.frames);
        }
        if let Err(TrySendError::Full(chunk) | TrySendError::Disconnected(chunk)) = self.sender.try_send(chunk) {
            self.shared.taken(&chunk);
            self.shared.dropped(chunk.frames);
        }
    }
}

impl LogBatch {
    /// Begins a batch of messages that were received at `unix_nanos`, nanoseconds since 1970 UTC.
    pub(crate) fn begin(&mut self, unix_nanos: u64) {
        self.unix_nanos = unix_nanos;
    }

    /// Logs a query.
    pub(crate) fn query(&mut self, query: &RawQuery<'_>) {
        self.push(MessageKind::Query, query.source, query.transport, query.packet);
    }

    /// Logs the reply to a query.
    pub(crate) fn reply(&mut self, query: &RawQuery<'_>, reply: &[u8]) {
        self.push(MessageKind::Response, query.source, query.transport, reply);
    }

    /// Puts the messages since [`LogBatch::begin`] into the queue.
    pub(crate) fn end(&mut self) {
        if self.chunk.frames > 0 {
            let next = LogChunk::empty(self.chunk.octets.len());
            self.log.put(std::mem::replace(&mut self.chunk, next));
        }
    }

    fn push(&mut self, kind: MessageKind, client: SocketAddr, transport: Transport, octets: &[u8]) {
        let (server, unix_nanos) = (self.server, self.unix_nanos);
        let logged = LoggedMessage { kind, client, server, transport, unix_nanos, octets };
        let identity = &self.log.shared.identity;
        frames::append(&mut self.chunk.octets, |out| message::append(&logged, identity, out));
        self.chunk.frames += 1;
    }
}

impl LogChunk {
    fn empty(capacity: usize) -> LogChunk {
        LogChunk { octets: Vec::with_capacity(capacity), frames: 0 }
    }
}

impl SharedLog {
    /// Counts messages that are lost.
    pub(super) fn dropped(&self, frames: u64) {
        self.counters.dropped(DropReason::Dnstap, frames);
    }

    /// A chunk has left the queue.
    pub(super) fn taken(&self, chunk: &LogChunk) {
        self.waiting.fetch_sub(chunk.octets.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Counters;

    fn log() -> (QueryLog, LogQueue, Counters) {
        let counters = Counters::new();
        let identity = LogIdentity { node: "ns1".into(), version: "portolan".into() };
        let (log, queue) = queue(identity, counters.shared());
        (log, queue, counters)
    }

    fn dropped(counters: &Counters) -> u64 {
        let totals = counters.totals();
        totals.dropped.iter().find(|(reason, _)| *reason == DropReason::Dnstap).unwrap().1
    }

    fn query(packet: &[u8]) -> RawQuery<'_> {
        let source = "192.0.2.1:4000".parse().unwrap();
        RawQuery { packet, source, transport: Transport::Udp, entropy: 0, unix_secs: 0 }
    }

    #[test]
    fn a_batch_is_one_chunk_and_an_empty_one_is_none() {
        let (log, queue, counters) = log();
        let mut batch = log.batch(Some("[::]:53".parse().unwrap()));
        batch.end();
        assert!(queue.receiver.try_recv().is_err());
        for _ in 0..2 {
            batch.begin(5);
            batch.query(&query(b"query"));
            batch.reply(&query(b"query"), b"reply");
            batch.end();
            let chunk = queue.receiver.try_recv().unwrap();
            assert_eq!((chunk.frames, frames::unfinished(&chunk.octets, 0).0), (2, 2));
        }
        assert_eq!(dropped(&counters), 0);
    }

    #[test]
    fn what_has_no_room_is_counted_and_there_is_room_again_when_the_reader_has_taken_some() {
        let (log, queue, counters) = log();
        let long = vec![7; 60_000];
        let mut put = 0;
        while dropped(&counters) == 0 {
            log.exchange(&query(&long), b"reply", 1);
            put += 1;
            assert!(put < 1000, "the queue has a bound");
        }
        assert!(put > WAITING / 61_000 && put <= WAITING / 60_000 + 1, "{put}");
        let chunk = queue.receiver.try_recv().unwrap();
        queue.shared.taken(&chunk);
        log.exchange(&query(&long), b"reply", 1);
        assert_eq!(dropped(&counters), 2);
        log.exchange(&query(&long), b"reply", 1);
        assert_eq!(dropped(&counters), 4, "both messages of the exchange");
    }

    #[test]
    fn many_short_messages_are_bounded_too_and_so_are_those_that_nobody_takes() {
        let (log, queue, counters) = log();
        for _ in 0..CHUNKS + 5 {
            log.exchange(&query(b""), b"", 1);
        }
        assert_eq!(dropped(&counters), 10);
        assert_eq!(queue.receiver.try_iter().inspect(|chunk| queue.shared.taken(chunk)).count(), CHUNKS);
        assert_eq!(log.shared.waiting.load(Relaxed), 0);
        drop(queue);
        log.exchange(&query(b""), b"", 1);
        assert_eq!(dropped(&counters), 12);
        assert_eq!(log.shared.waiting.load(Relaxed), 0);
    }
}
