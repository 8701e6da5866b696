//! A UDP worker: one thread, one socket, no lock, no allocation and no log line a packet. It receives a batch, has
//! each datagram answered, sends the replies and counts. What is answered is the business of its [`Answerer`].

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::batch::{Batch, REPLY_ROOM, Wait};
use super::counters::{Dropped, ThreadCounters};
use crate::answer::{Ask, MAX_UDP_REPLY, Outcome, Transport};
use crate::clock;
use crate::model::Moment;

const _: () = assert!(REPLY_ROOM >= MAX_UDP_REPLY, "a reply over UDP must fit");

/// Pause after an error of the socket, so that one that stays can't take a whole core: judgment.
const ERROR_PAUSE: Duration = Duration::from_millis(5);

/// When stopping: batches at most that are still answered, so that a flood can't hold up the end. A full receive
/// buffer of 4 MiB holds about 5,000 queries, 80 batches.
const LAST_BATCHES: usize = 128;

/// What is done about a message.
#[derive(Debug)]
pub(crate) enum Answered {
    /// What became of it is done.
    Fully(Outcome),
    /// A truncated reply stands in for one that was over the rate limit.
    Slipped(Outcome),
    /// The reply was over the rate limit: nothing is sent.
    Withheld,
}

/// Answers for one thread: the snapshot of the moment, or in tests whatever they need.
pub(crate) trait Answerer {
    /// Called before each batch and when nothing came for a while: the time to let an old snapshot go.
    fn refresh(&mut self, counters: &ThreadCounters);

    /// Answers one message that came at `now`, as [`answer`](crate::answer::answer) does, within the limits.
    fn answer(&mut self, ask: &Ask<'_>, now: Moment, out: &mut [u8]) -> Answered;
}

/// Serves `socket` until `stop` is set and what came before is answered. Never returns otherwise.
pub(crate) fn serve(socket: UdpSocket, mut answerer: impl Answerer, counters: &ThreadCounters, stop: &Arc<AtomicBool>) {
    let mut batch = Batch::new(socket);
    answerer.refresh(counters);
    while !stop.load(Ordering::Acquire) {
        round(&mut batch, Wait::ForOne, &mut answerer, counters);
    }
    for _ in 0..LAST_BATCHES {
        if round(&mut batch, Wait::No, &mut answerer, counters) == 0 {
            break;
        }
    }
}

/// Receives, answers, sends and counts one batch; says how many datagrams came.
fn round(batch: &mut Batch, wait: Wait, answerer: &mut impl Answerer, counters: &ThreadCounters) -> usize {
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
    let cut = batch.answer_each(|packet, source, out| {
        let ask = Ask { packet, source, transport: Transport::Udp, entropy: clock::entropy(), unix_secs };
        let outcome = match answer_or_fault(|| answerer.answer(&ask, now, &mut out[..MAX_UDP_REPLY]), counters)? {
            Answered::Fully(outcome) => outcome,
            Answered::Slipped(outcome) => {
                counters.slipped();
                outcome
            }
            Answered::Withheld => {
                counters.dropped(Dropped::RateLimited, 1);
                return None;
            }
        };
        counters.outcome(Transport::Udp, &outcome);
        match outcome {
            Outcome::Reply(reply) => Some(reply.len),
            Outcome::Silence(_) => None,
        }
    });
    let sent = batch.send();
    for (reason, count) in [(Dropped::TooLong, cut), (Dropped::Unsent, sent.failed as u64)] {
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

/// Nothing from the network may panic; should it once, one query is lost and not a core's worth of them.
pub(super) fn answer_or_fault<T>(answer: impl FnOnce() -> T, counters: &ThreadCounters) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(answer)).ok();
    if outcome.is_none() {
        counters.dropped(Dropped::Fault, 1);
    }
    outcome
}
