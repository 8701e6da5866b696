//! A UDP worker: one thread and one socket. For a packet it takes no lock, allocates nothing and writes no log line. It
//! receives a batch, has each datagram answered by its [`Answerer`], sends the replies and counts. Errors of the socket
//! are logged: the first one at once, and what repeats as one line for a window of time.

use std::io;
use std::net::{SocketAddr, UdpSocket};
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
use crate::repeats::Repeats;

const _: () = assert!(REPLY_ROOM >= MAX_UDP_REPLY, "a reply over UDP must fit");

/// Pause after an error of the socket, so that an error that repeats cannot use a whole core: judgment.
const ERROR_PAUSE: Duration = Duration::from_millis(5);

/// When stopping, most batches that are still answered, so that a flood cannot delay the end. A full receive
/// buffer of 4 MiB holds about 5,000 queries, 80 batches.
const LAST_BATCHES: usize = 128;

/// Most errors of the system that are logged each on its own (judgment: a receive has a few).
const MOST_ERRORS: usize = 8;

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
    let mut errors = ReceiveErrors::new(socket.local_addr().ok());
    let mut batch = Batch::new(socket);
    let mut sampler = Sampler::new();
    answerer.refresh(counters);
    while !stop.load(Ordering::Acquire) {
        if let Err(error) = round(&mut batch, Wait::ForOne, &mut answerer, counters, (log.as_mut(), &mut sampler)) {
            errors.log(&error);
            thread::sleep(ERROR_PAUSE);
        }
        errors.log_repeated();
    }
    for _ in 0..LAST_BATCHES {
        match round(&mut batch, Wait::No, &mut answerer, counters, (log.as_mut(), &mut sampler)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                errors.log(&error);
                break;
            }
        }
    }
}

/// The errors of one socket, for the log.
struct ReceiveErrors {
    /// `None`: not known.
    address: Option<SocketAddr>,
    repeats: Repeats<Option<i32>, ()>,
}

impl ReceiveErrors {
    fn new(address: Option<SocketAddr>) -> ReceiveErrors {
        ReceiveErrors { address, repeats: Repeats::new(1, MOST_ERRORS) }
    }

    /// Logs an error, or counts it if it is one that repeats.
    fn log(&mut self, error: &io::Error) {
        self.log_repeated();
        if self.note(error, clock::now()) {
            let address = self.address.map(tracing::field::display);
            tracing::warn!(%error, address, "UDP: datagrams could not be received");
        }
    }

    /// Logs how many errors repeated in a window that is over. Costs one comparison while there was no error.
    fn log_repeated(&mut self) {
        if self.repeats.next().is_some()
            && let Some(sum) = self.repeats.sum_up(clock::now())
        {
            let (address, count) = (self.address.map(tracing::field::display), sum.count());
            let seconds = sum.within.as_secs();
            tracing::warn!(address, count, seconds, "UDP: datagrams could not be received, with errors that repeat");
        }
    }

    /// Notes an error. Returns whether to log it at once.
    fn note(&mut self, error: &io::Error, now: Moment) -> bool {
        self.repeats.note(error.raw_os_error(), (), now)
    }
}

/// Receives, answers, sends and counts one batch; returns how many datagrams were received, 0 when none came in time.
/// An error is that of [`Batch::receive`].
fn round(
    batch: &mut Batch,
    wait: Wait,
    answerer: &mut impl Answerer,
    counters: &ThreadCounters,
    (mut log, sampler): (Option<&mut LogBatch>, &mut Sampler),
) -> io::Result<usize> {
    let received = batch.receive(wait)?;
    answerer.refresh(counters);
    if received == 0 {
        return Ok(0);
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
    Ok(received)
}

/// Nothing from the network may panic. If a bug does, one query is lost and not a whole thread.
pub(super) fn answer_or_fault<T>(answer: impl FnOnce() -> T, counters: &ThreadCounters) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(answer)).ok();
    if outcome.is_none() {
        counters.dropped(DropReason::Fault, 1);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::server::counters::Counters;

    /// For sockets on which nothing comes.
    struct UnusedAnswerer;

    impl Answerer for UnusedAnswerer {
        fn refresh(&mut self, _: &ThreadCounters) {}

        fn answer(&mut self, _: &RawQuery<'_>, _: Moment, _: &mut [u8]) -> UdpOutcome {
            unreachable!("nothing was sent")
        }
    }

    /// Each receive from it fails with ENOTSOCK.
    fn no_socket() -> UdpSocket {
        UdpSocket::from(OwnedFd::from(File::open("/dev/null").unwrap()))
    }

    fn received(socket: UdpSocket, wait: Wait) -> io::Result<usize> {
        let mut batch = Batch::new(socket);
        round(&mut batch, wait, &mut UnusedAnswerer, &Counters::new().thread(), (None, &mut Sampler::new()))
    }

    #[test]
    fn an_error_of_the_socket_is_reported_once_and_then_counted() {
        let error = received(no_socket(), Wait::ForOne).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
        let at = |secs| Moment::from_start(Duration::from_secs(secs));
        let mut errors = ReceiveErrors::new(None);
        assert!(errors.note(&error, at(10)));
        for _ in 0..50 {
            assert!(!errors.note(&error, at(11)));
        }
        assert!(errors.note(&io::Error::from_raw_os_error(libc::ENOMEM), at(12)), "another error");
        assert_eq!(errors.repeats.sum_up(at(70)).map(|sum| sum.count()), Some(50));
    }

    #[test]
    fn a_worker_whose_socket_fails_ends_when_it_is_stopped() {
        let stop = Arc::new(AtomicBool::new(true));
        serve(no_socket(), UnusedAnswerer, &Counters::new().thread(), None, &stop);
    }

    #[test]
    fn a_socket_on_which_nothing_came_has_no_error() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(received(socket, Wait::No).ok(), Some(0));
    }
}
