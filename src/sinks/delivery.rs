//! Decides which event a sink gets next. It has numbers only: the events stay in the log of events, which is bounded.
//! Pure.
//!
//! Events with the same key, which is the endpoint that they are about, are sent one after another. Of other keys
//! several are under way at a time. An event that the sink refuses holds up those of its key only, and not for ever:
//! after some tries it is a dead letter.
//!
//! ```text
//!            next()              ended: taken
//!   Ready ----------> InFlight ---------------> the next event of the key is Ready
//!     ^                  |  ended: refused or broken        (or: refused too often, a dead letter)
//!     |  time is over    v
//!     +-------------- Waiting
//! ```
//!
//! While the sink as a whole takes nothing, one event at a time is tried, after waits that grow.

mod held_up;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::fleet::events::NEW_NUMBERING;
use crate::model::Moment;
use crate::sinks::backoff::{backoff, wait_of};
use crate::sinks::{FailureKind, SendFailure};
use held_up::FailedHead;
pub use held_up::HeldUp;

/// Most numbers that a [`SinkPosition`] lists (judgment: a restart sends again what is after the last of them).
const MAX_OPEN: usize = 256;
/// A sink that refused so many events in a row, and took none meanwhile, takes nothing (judgment: a receiver that
/// dislikes the events of one endpoint takes others).
const REFUSED_IN_A_ROW: usize = 3;

/// The bounds of a sink.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryLimits {
    /// Most events under way at a time; at least 1.
    pub at_a_time: usize,
    /// After so many tries that the sink refused, an event is a dead letter; at least 1.
    pub tries: u32,
}

/// Where a sink is in the log: what a restart needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SinkPosition {
    /// The events up to this number are done, except for `open`.
    pub last: u64,
    /// Numbers up to `last` that are not done, in rising order.
    pub open: Vec<u64>,
}

/// Numbers of events that the log no longer has: the first and the last, and how many of them were not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostNumbers {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How many were not done.
    pub count: u64,
}

/// What the end of a try means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedTry {
    /// The event is done.
    Delivered,
    /// It is tried again.
    Again,
    /// The sink refused it for good.
    DeadLetter,
    /// It failed, and the log no longer has it.
    Lost,
    /// The sink wants nothing any more.
    Off,
}

/// The state of the first event of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeadState {
    Ready,
    InFlight,
    Waiting(Moment),
}

/// The events of one key that are not done, oldest first; never empty.
#[derive(Debug)]
struct KeyQueue {
    numbers: VecDeque<u64>,
    head: HeadState,
    /// How often the first one was tried.
    tries: u32,
    /// How many of those tries count against it.
    refusals: u32,
    /// How many events of all keys were delivered when it was last tried.
    delivered_then: u64,
    /// What failed, if it was tried.
    failed: Option<FailedHead>,
}

/// The events of one sink. See the comment of this module.
#[derive(Debug)]
pub struct Delivery {
    limits: DeliveryLimits,
    /// The number of the last event that was taken from the log.
    taken: u64,
    /// The log has no event with this number or a lower one.
    floor: u64,
    /// Where the sink was at the last start.
    start: SinkPosition,
    /// The events that are not done, with their keys.
    open: BTreeMap<u64, Arc<str>>,
    queues: HashMap<Arc<str>, KeyQueue>,
    /// The first events of keys that may be sent: by tries, then by number.
    ready: BTreeSet<(u32, u64)>,
    waiting: BTreeSet<(Moment, u64)>,
    /// The first events of keys that were tried and failed.
    failed: BTreeSet<u64>,
    /// The events under way, each with the number of the pause before it.
    in_flight: HashMap<u64, u64>,
    /// Failures of the sink as a whole since it last took an event.
    failures: u32,
    /// The first events that it refused since then, [`REFUSED_IN_A_ROW`] at most.
    refused_in_a_row: BTreeSet<u64>,
    paused_until: Option<Moment>,
    /// How many pauses there were.
    pauses: u64,
    is_off: bool,
    delivered: u64,
}

impl Delivery {
    /// A sink that goes on at `start`.
    pub fn new(limits: DeliveryLimits, start: SinkPosition) -> Delivery {
        let taken = start.open.first().map_or(start.last, |first| first.saturating_sub(1).min(start.last));
        Delivery {
            limits,
            taken,
            floor: 0,
            start,
            open: BTreeMap::new(),
            queues: HashMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            failed: BTreeSet::new(),
            in_flight: HashMap::new(),
            failures: 0,
            refused_in_a_row: BTreeSet::new(),
            paused_until: None,
            pauses: 0,
            is_off: false,
            delivered: 0,
        }
    }

    /// The number of the last event that was taken from the log.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The log has the events after `floor`, and `last` is its last number. What it no longer has and was not done is
    /// lost.
    pub fn note_log(&mut self, floor: u64, last: u64) -> Option<LostNumbers> {
        if last < self.taken.max(self.start.last) {
            // The log began anew: its numbers are those of other events.
            *self = Delivery::new(self.limits, SinkPosition { last: floor, open: Vec::new() });
        }
        self.floor = self.floor.max(floor);
        let mut lost: Option<LostNumbers> = None;
        let mut add = |first: u64, last: u64, count: u64| {
            let all = lost.get_or_insert(LostNumbers { first, last, count: 0 });
            (all.first, all.last, all.count) = (all.first.min(first), all.last.max(last), all.count + count);
        };
        let gone = self.open.range(..=floor).map(|(number, _)| *number);
        let gone: Vec<u64> = gone.filter(|number| !self.in_flight.contains_key(number)).collect();
        for number in gone {
            self.remove(number);
            add(number, number, 1);
        }
        if self.taken < floor {
            let begun_before = self.start.open.iter().filter(|open| (self.taken + 1..=floor).contains(open));
            let begun_before = begun_before.count() as u64;
            let later = floor.saturating_sub(self.taken.max(self.start.last));
            // So large a gap was never filled by events.
            let count = if later < NEW_NUMBERING { begun_before + later } else { begun_before };
            if count > 0 {
                add(self.taken + 1, floor, count);
            }
            self.taken = floor;
        }
        lost
    }

    /// Takes the next events of the log, with their keys; their numbers rise.
    pub fn take(&mut self, events: impl IntoIterator<Item = (u64, Arc<str>)>) {
        for (number, key) in events {
            if number <= self.taken {
                continue;
            }
            self.taken = number;
            if number <= self.start.last && self.start.open.binary_search(&number).is_err() {
                continue;
            }
            self.open.insert(number, key.clone());
            match self.queues.get_mut(&key) {
                Some(queue) => queue.numbers.push_back(number),
                None => self.begin_queue(key, VecDeque::from([number])),
            }
        }
    }

    /// The next event to send, if one may be sent now. It is under way until [`Delivery::ended`] or
    /// [`Delivery::skip`].
    pub fn next(&mut self, now: Moment) -> Option<u64> {
        if self.is_off || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        let most = if self.failures > 0 { 1 } else { self.limits.at_a_time };
        if self.in_flight.len() >= most {
            return None;
        }
        while let Some((at, number)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, number));
            if let Some(queue) = self.queue_of(number) {
                queue.head = HeadState::Ready;
                let tries = queue.tries;
                self.ready.insert((tries, number));
            }
        }
        let (_, number) = self.ready.pop_first()?;
        if let Some(queue) = self.queue_of(number) {
            queue.head = HeadState::InFlight;
        }
        self.in_flight.insert(number, self.pauses);
        Some(number)
    }

    /// An event under way turned out to be none: the log has given its number to no event.
    pub fn skip(&mut self, number: u64) {
        self.in_flight.remove(&number);
        self.remove(number);
    }

    /// A try ended. `random` is for the wait after a failure.
    pub fn ended(&mut self, number: u64, result: Result<(), &SendFailure>, now: Moment, random: u64) -> EndedTry {
        // Tries that began before the last pause are no news about the sink.
        let is_news = self.in_flight.remove(&number) == Some(self.pauses);
        let failure = match result {
            Ok(()) => {
                self.delivered += 1;
                self.refused_in_a_row.clear();
                if is_news {
                    (self.failures, self.paused_until) = (0, None);
                }
                self.remove(number);
                return EndedTry::Delivered;
            }
            Err(failure) => failure,
        };
        self.note_failure(number, failure, now);
        if failure.kind == FailureKind::Gone {
            self.is_off = true;
            self.wait(number, now, None);
            return EndedTry::Off;
        }
        let (delivered, most) = (self.delivered, self.limits.tries);
        let Some(queue) = self.queue_of(number) else { return EndedTry::Again };
        let is_first = queue.tries == 0;
        queue.tries = queue.tries.saturating_add(1);
        let counts = match failure.kind {
            FailureKind::Refused => true,
            FailureKind::Broken => !is_first && delivered > queue.delivered_then,
            FailureKind::Away | FailureKind::Gone => false,
        };
        queue.delivered_then = delivered;
        queue.refusals += u32::from(counts);
        let (tries, refusals) = (queue.tries, queue.refusals);
        if failure.kind == FailureKind::Refused {
            // A receiver that refuses is there.
            if is_news {
                (self.failures, self.paused_until) = (0, None);
            }
            if self.refused_in_a_row.len() < REFUSED_IN_A_ROW {
                self.refused_in_a_row.insert(number);
            }
        } else if is_news {
            self.failures = self.failures.saturating_add(1);
            self.pauses += 1;
            self.paused_until = Some(now + wait_of(self.failures, failure.retry_after, random));
        }
        if refusals >= most {
            self.remove(number);
            return EndedTry::DeadLetter;
        }
        if number <= self.floor {
            self.remove(number);
            return EndedTry::Lost;
        }
        let wait = match failure.kind {
            FailureKind::Refused => Some(now + wait_of(tries, failure.retry_after, random)),
            FailureKind::Broken => Some(now + backoff(tries, random)),
            FailureKind::Away | FailureKind::Gone => None,
        };
        self.wait(number, now, wait);
        EndedTry::Again
    }

    /// The tries that are under way were broken off: their events are sent again.
    pub fn break_off(&mut self, now: Moment) {
        for (number, _) in std::mem::take(&mut self.in_flight) {
            self.wait(number, now, None);
        }
    }

    /// The sink is known to be there again: it is tried at once.
    pub fn note_back(&mut self) {
        self.paused_until = None;
    }

    /// When [`Delivery::next`] may give an event that it does not give now; `None`: not without news.
    pub fn wake(&self) -> Option<Moment> {
        let most = if self.failures > 0 { 1 } else { self.limits.at_a_time };
        if self.is_off || self.in_flight.len() >= most {
            return None;
        }
        let head = match self.ready.is_empty() {
            true => self.waiting.first().map(|(at, _)| *at)?,
            false => Moment::START,
        };
        Some(self.paused_until.map_or(head, |until| until.max(head)))
    }

    /// Where a restart goes on. It sends those events again that are done and come after many that are not.
    pub fn position(&self) -> SinkPosition {
        // What was open at the start, and was not yet taken from the log, is open still.
        let untaken = self.start.open.iter().copied().filter(|number| *number > self.taken);
        let open = self.open.keys().copied().chain(untaken);
        let open: Vec<u64> = open.take(MAX_OPEN + 1).collect();
        match open.get(MAX_OPEN) {
            Some(more) => SinkPosition { last: more - 1, open: open[..MAX_OPEN].to_vec() },
            None => SinkPosition { last: self.taken.max(self.start.last), open },
        }
    }

    /// All events up to this number are done.
    pub fn done_up_to(&self) -> u64 {
        self.open.keys().next().map_or(self.taken, |first| first - 1)
    }

    /// How many events were taken from the log and are not done.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether the sink takes nothing now.
    pub fn is_failing(&self) -> bool {
        self.failures > 0 || self.refused_in_a_row.len() >= REFUSED_IN_A_ROW
    }

    /// Until when nothing is sent.
    pub fn paused_until(&self) -> Option<Moment> {
        self.paused_until
    }

    /// Whether the sink wants nothing any more.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// The first event of its key is tried again, at `at` or at once.
    fn wait(&mut self, number: u64, now: Moment, at: Option<Moment>) {
        let Some(queue) = self.queue_of(number) else { return };
        let tries = queue.tries;
        match at.filter(|at| *at > now) {
            Some(at) => {
                queue.head = HeadState::Waiting(at);
                self.waiting.insert((at, number));
            }
            None => {
                queue.head = HeadState::Ready;
                self.ready.insert((tries, number));
            }
        }
    }

    fn queue_of(&mut self, number: u64) -> Option<&mut KeyQueue> {
        self.queues.get_mut(self.open.get(&number)?)
    }

    /// An event is done, however that came. The next one of its key may be sent.
    fn remove(&mut self, number: u64) {
        let Some(key) = self.open.remove(&number) else { return };
        self.failed.remove(&number);
        let Some(mut queue) = self.queues.remove(&key) else { return };
        if queue.numbers.front() != Some(&number) {
            if let Ok(at) = queue.numbers.binary_search(&number) {
                queue.numbers.remove(at);
            }
            self.queues.insert(key, queue);
            return;
        }
        queue.numbers.pop_front();
        match queue.head {
            HeadState::Ready => _ = self.ready.remove(&(queue.tries, number)),
            HeadState::Waiting(at) => _ = self.waiting.remove(&(at, number)),
            HeadState::InFlight => {}
        }
        if !queue.numbers.is_empty() {
            self.begin_queue(key, queue.numbers);
        }
    }

    fn begin_queue(&mut self, key: Arc<str>, numbers: VecDeque<u64>) {
        if let Some(first) = numbers.front() {
            self.ready.insert((0, *first));
        }
        let head = HeadState::Ready;
        self.queues.insert(key, KeyQueue { numbers, head, tries: 0, refusals: 0, delivered_then: 0, failed: None });
    }
}
