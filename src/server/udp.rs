//! A UDP worker: one thread and one socket. For a packet it takes no lock, allocates nothing and writes no log line. It
//! receives a batch, has each datagram answered by its [`Answerer`], sends the replies and counts.

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::answer_times::Sampler;
use super::batch::{Batch, REPLY_ROOM, Wait};
use super::counters::{DropReason, ThreadCounters};
use super::dnstap::LogBatch;
use crate::answer::{MAX_UDP_REPLY, Outcome, RawQuery, Transport};
use crate::clock;
use crate::model::Moment;

const _: () = assert!(REPLY_ROOM >= MAX_UDP_REPLY, "a reply over UDP must fit");

/// Pause after an error of the socket, so that an error that repeats cannot use a whole core: judgment.
const ERROR_PAUSE: Duration = Duration::from_millis(5);

/// When stopping, most batches that are still answered, so that a flood cannot delay the end. A full receive
/// buffer of 4 MiB holds about 5,000 queries, 80 batches.
const LAST_BATCHES: usize = 128;

/// The result of one datagram.
#[derive(Debug)]
pub(crate) enum UdpOutcome {
    /// The outcome of [`answer`](crate::answer::answer), which the rate limit did not change.
    Normal(Outcome),
    /// Over the rate limit: this truncated reply is sent in place of the whole one.
    Slipped(Outcome),
    /// Over the rate limit: nothing is sent.
    Withheld,
}

/// Answers for one thread: from the current snapshot, or in tests from whatever they need.
pub(crate) trait Answerer {
    /// Takes the newest snapshot and releases the old one. Called before each batch, and when nothing came for a while.
    fn refresh(&mut self, counters: &ThreadCounters);

    /// Answers one message received at `now`, as [`answer`](crate::answer::answer) does, within the limits.
    fn answer(&mut self, ask: &RawQuery<'_>, now: Moment, out: &mut [u8]) -> UdpOutcome;
}

/// Serves `socket` until `stop` is set and the datagrams received before are answered. Does not return otherwise.
/// Queries that are answered or withheld go into `log`.
pub(crate) fn serve(
    socket: UdpSocket,
    mut answerer: impl Answerer,
    counters: &ThreadCounters,
    mut log: Option<LogBatch>,
    stop: &Arc<AtomicBool>,
) {
    let mut batch = Batch::new(socket);
    let mut sampler = Sampler::new();
    answerer.refresh(counters);
    while !stop.load(Ordering::Acquire) {
        round(&mut batch, Wait::ForOne, &mut answerer, counters, (log.as_mut(), &mut sampler));
    }
    for _ in 0..LAST_BATCHES {
        if round(&mut batch, Wait::No, &mut answerer, counters, (log.as_mut(), &mut sampler)) == 0 {
            break;
        }
    }
}

/// Receives, answers, sends and counts one batch; returns how many datagrams were received.
fn round(
    batch: &mut Batch,
    wait: Wait,
    answerer: &mut impl Answerer,
    counters: &ThreadCounters,
    (mut log, sampler): (Option<&mut LogBatch>, &mut Sampler),
) -> usize {
    let received = match batch.receive(wait) {
        Ok(received) => received,
        Err(_) => {
            thread::sleep(ERROR_PAUSE);
            return 0;
        }
    };
    answerer.refresh(counters);
    if received == 0 {
        return 0;
    }
    let (now, unix_secs) = (clock::now(), clock::unix_seconds() as u64 as u32);
    if let Some(log) = &mut log {
        log.begin(clock::unix_nanos());
    }
    let cut = batch.answer_each(|packet, source, out| {
        let ask = RawQuery { packet, source, transport: Transport::Udp, entropy: clock::entropy(), unix_secs };
        let outcome = match answer_or_fault(|| answerer.answer(&ask, now, &mut out[..MAX_UDP_REPLY]), counters)? {
            UdpOutcome::Normal(outcome) => outcome,
            UdpOutcome::Slipped(outcome) => {
                counters.slipped();
                outcome
            }
            UdpOutcome::Withheld => {
                counters.dropped(DropReason::RateLimited, 1);
                if let Some(log) = &mut log {
                    log.query(&ask);
                }
                return None;
            }
        };
        counters.outcome(Transport::Udp, &outcome);
        match outcome {
            Outcome::Reply(reply) => {
                if let Some(log) = &mut log {
                    log.query(&ask);
                    log.reply(&ask, &out[..reply.len]);
                }
                Some(reply.len)
            }
            Outcome::Silence(_) => None,
        }
    });
    if sampler.is_measured() {
        let each = clock::now().since(now) / u32::try_from(received).unwrap_or(u32::MAX);
        counters.answer_took(Transport::Udp, each);
    }
    if let Some(log) = log {
        log.end();
    }
    let sent = batch.send();
    for (reason, count) in [(DropReason::TooLong, cut), (DropReason::Unsent, sent.failed as u64)] {
        if count > 0 {
            counters.dropped(reason, count);
        }
    }
    match batch.take_queue_drops() {
        0 => {}
        drops => counters.queue_drops(drops),
    }
    received
}

/// Nothing from the network may panic. If a bug does, one query is lost and not a whole thread.
pub(super) fn answer_or_fault<T>(answer: impl FnOnce() -> T, counters: &ThreadCounters) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(answer)).ok();
    if outcome.is_none() {
        counters.dropped(DropReason::Fault, 1);
    }
    outcome
}
