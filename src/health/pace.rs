//! Decides when the attempts of one probe begin. A value: it gets the events and the time, and returns the next step;
//! `probe::attempt` carries it out.
//!
//! A probe checks whether the endpoint answers within the time-out. One lost packet must not make it fail. But TCP
//! repeats a lost SYN after a second, and a lost request after a round trip and 200 ms, which is later than most
//! time-outs. So the probe itself repeats attempts while nothing has come back, and the first answer counts.
//!
//! Attempts of more than one packet have two stages: the connection, which costs the other side almost nothing, and the
//! request on it, which makes the server work. Each stage is repeated when it is overdue. Connections are repeated
//! until one is granted. Requests are repeated only while the earlier ones have no answer, and at most [`FEW_REQUESTS`]
//! times unless connections were lost as well. This also distinguishes a path that loses packets from a process that
//! hangs ([`Pace::losses`]): the kernel of a process that hangs still grants connections.
//!
//! Without repeats, at 20 % loss in each direction, a probe of one packet would fail 36 times in 100, and `fall`
//! failures without `rise` successes in a row would come every minute. `test_simulation/lossy.rs` shows the
//! result with repeats.

use std::time::Duration;

use crate::health::Rtt;
use crate::health::rtt::RecentFailure;

/// The most attempts while nothing has come back. 0.36^6 is 0.2 %, so `fall` such probes in a row don't happen by
/// chance. And in an outage a vantage sends no more than six times as much.
const UNANSWERED_ATTEMPTS: usize = 6;
/// The same on a path that is known to lose packets.
const LOSSY_UNANSWERED_ATTEMPTS: usize = 8;
/// The most connections of a probe that was granted one, for each round trip of a connection with its request. http
/// then has twelve, of which seven are granted at 20 % loss in each direction.
const CONNECTIONS: usize = 6;
/// The most requests to a server whose kernel grants each connection. Judgment: a health page may query a database, and
/// a server that is slow under load must not get many times the load.
const FEW_REQUESTS: usize = 4;
/// The most requests if connections were lost, for each round trip: then half of the requests or of the answers is lost
/// too.
const MANY_REQUESTS: usize = 4;
/// The time between repeats of attempts with one stage is the time-out divided by this.
const REPEAT_PARTS: u32 = 8;
/// The same with two stages, which leave less time for each.
const STAGED_REPEAT_PARTS: u32 = 16;
/// The same with two stages after a recent failure, for each round trip.
const URGENT_REPEAT_PARTS: u32 = 12;
/// The connections that are open in advance after a recent failure. Their loss also shows what the path is like. They
/// cost little, and few endpoints are verified at a time.
const SPARE_CONNECTIONS: usize = 3;

/// The attempts of one probe. All times are counted from its beginning.
#[derive(Debug, Clone)]
pub struct Pace {
    timeout: Duration,
    /// When a connection, or an attempt with one stage, is overdue.
    first_repeat: Duration,
    /// When a whole attempt is overdue: the usual time and a margin.
    whole: Duration,
    /// The time between later repeats.
    then_every: Duration,
    round_trips: u32,
    recent_failure: RecentFailure,
    attempts: Vec<Attempt>,
    may_begin: bool,
    is_answered: bool,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    begun: Duration,
    connected: Option<Duration>,
    requested: Option<Duration>,
}

/// The next step of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Begin an attempt.
    Begin,
    /// Let this attempt, counted from 0, send its request.
    Request(usize),
    /// Wait for events until this time. `None`: until the end.
    Wait(Option<Duration>),
}

impl Pace {
    /// For probes with one stage, whose attempts are cheap for the other side (icmp, tcp, dns).
    pub fn light(timeout: Duration, rtt: &Rtt) -> Pace {
        Pace::new(timeout, rtt, REPEAT_PARTS, 1)
    }

    /// For probes that connect and then send a request. `round_trips` is the number of round trips of both together.
    /// The time of the connection is estimated as its share. If the server works long on a request, the estimate is too
    /// long, but never too short.
    pub fn staged(timeout: Duration, rtt: &Rtt, round_trips: u32) -> Pace {
        let parts = match rtt.recent_failure() {
            RecentFailure::None => STAGED_REPEAT_PARTS,
            RecentFailure::Failed | RecentFailure::Lossy => URGENT_REPEAT_PARTS * round_trips,
        };
        let recent_failure = rtt.recent_failure();
        Pace { recent_failure, ..Pace::new(timeout, rtt, parts, round_trips.max(1)) }
    }

    /// The first repeat waits until an answer is overdue: the smoothed RTT and two deviations, or a margin if the
    /// deviation is small. So usually nothing is sent twice. Later repeats follow in short steps.
    fn new(timeout: Duration, rtt: &Rtt, parts: u32, round_trips: u32) -> Pace {
        let then_every = timeout / parts;
        let margin = timeout / STAGED_REPEAT_PARTS;
        let (connection, whole) = match (rtt.srtt(), rtt.rttvar()) {
            (Some(srtt), Some(rttvar)) => {
                let margin = (rttvar * 2).max(margin);
                (srtt / round_trips + margin, srtt + margin)
            }
            _ => (timeout / 4, timeout / 2),
        };
        Pace {
            timeout,
            first_repeat: connection.clamp(timeout / REPEAT_PARTS, timeout / 2),
            whole,
            then_every,
            round_trips,
            recent_failure: RecentFailure::None,
            attempts: Vec::with_capacity(1),
            may_begin: true,
            is_answered: false,
        }
    }

    /// An attempt was begun. Returns its number.
    pub fn begun(&mut self, now: Duration) -> usize {
        self.attempts.push(Attempt { begun: now, connected: None, requested: None });
        self.attempts.len() - 1
    }

    /// An attempt has its connection.
    pub fn connected(&mut self, nth: usize, now: Duration) {
        if let Some(attempt) = self.attempts.get_mut(nth) {
            attempt.connected = attempt.connected.or(Some(now));
        }
    }

    /// An attempt sends its request.
    pub fn requested(&mut self, nth: usize, now: Duration) {
        if let Some(attempt) = self.attempts.get_mut(nth) {
            attempt.requested = attempt.requested.or(Some(now));
        }
    }

    /// This host can't begin another attempt.
    pub fn exhausted(&mut self) {
        self.may_begin = false;
    }

    /// An answer has begun to arrive. From now on nothing is repeated.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }

    /// The next step at `now`.
    pub fn next(&self, now: Duration) -> NextStep {
        if self.is_answered {
            return NextStep::Wait(None);
        }
        let next_request = self.next_request(now);
        let idle = || self.attempts.iter().enumerate().filter(|(_, attempt)| attempt.is_idle());
        let may_request = self.requests() < self.max_requests(now);
        let ready = idle().next().filter(|_| may_request).map(|(nth, _)| nth);
        if let Some(nth) = ready.filter(|_| next_request <= now) {
            return NextStep::Request(nth);
        }
        let spare = if self.recent_failure == RecentFailure::None { 0 } else { SPARE_CONNECTIONS - 1 };
        let next_attempt = self.next_attempt(next_request).filter(|_| may_request && idle().count() <= spare);
        if next_attempt.is_some_and(|at| at <= now) {
            return NextStep::Begin;
        }
        let request_at = ready.map(|_| next_request);
        // When a connection is overdue, more requests are allowed.
        let loss_at = self.loss_shows_at().filter(|at| *at > now);
        NextStep::Wait(next_attempt.into_iter().chain(request_at).chain(loss_at).min())
    }

    /// The connections that were lost, and how many were tried. A connection was lost if it was overdue at the time-out
    /// while others were granted. `None` if there are none.
    pub fn losses(&self) -> Option<(usize, usize)> {
        // Without the margin of a repeat, because the whole time-out has passed.
        let usual = self.first_repeat.saturating_sub(self.timeout / STAGED_REPEAT_PARTS);
        let lost = |attempt: &&Attempt| attempt.connected.is_none() && attempt.begun + usual <= self.timeout;
        let lost = self.attempts.iter().filter(lost).count();
        (lost > 0 && self.is_any_connected()).then_some((lost, self.attempts.len()))
    }

    /// When a connection was last granted.
    pub fn last_connected(&self) -> Option<Duration> {
        self.attempts.iter().filter_map(|attempt| attempt.connected).max()
    }

    /// Whether a connection that began after a request was granted when the answer to that request was overdue.
    pub fn is_granted_late(&self) -> bool {
        let overdue = |attempt: &Attempt| Some((attempt.requested?, attempt.begun + self.whole));
        let first = self.attempts.iter().filter_map(overdue).min();
        let is_late = |(requested, overdue): (Duration, Duration)| {
            self.attempts.iter().any(|next| next.begun > requested && next.connected.is_some_and(|at| at >= overdue))
        };
        first.is_some_and(is_late)
    }

    /// The number of requests that were sent.
    fn requests(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.requested.is_some()).count()
    }

    fn max_requests(&self, now: Duration) -> usize {
        let shows_loss = self.loss_shows_at().is_some_and(|at| at <= now);
        if shows_loss { MANY_REQUESTS * self.round_trips as usize } else { FEW_REQUESTS }
    }

    fn is_any_connected(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.connected.is_some())
    }

    /// When the first connection is overdue that was not granted while others were.
    fn loss_shows_at(&self) -> Option<Duration> {
        let waiting = self.attempts.iter().filter(|attempt| attempt.connected.is_none());
        let overdue = waiting.map(|attempt| attempt.begun + self.first_repeat).min();
        overdue.filter(|_| self.is_any_connected())
    }

    /// When the next request may be sent: the first at once, the second when the first is overdue, and then in short
    /// steps. If packets are lost, all repeats follow in short steps.
    fn next_request(&self, now: Duration) -> Duration {
        let sent = |attempt: &Attempt| Some((attempt.requested?, attempt.connected?.saturating_sub(attempt.begun)));
        let last = self.attempts.iter().filter_map(sent).max();
        let is_lossy = match self.recent_failure {
            RecentFailure::None => false,
            RecentFailure::Failed => self.loss_shows_at().is_some_and(|at| at <= now),
            RecentFailure::Lossy => true,
        };
        match last {
            None => Duration::ZERO,
            // The time of a whole attempt without the time of its connection.
            Some((at, connecting)) if self.requests() == 1 && !is_lossy => {
                at + self.whole.saturating_sub(connecting).max(self.then_every)
            }
            Some((at, _)) => at + self.then_every,
        }
    }

    /// When the next attempt begins, if a connection is wanted.
    fn next_attempt(&self, next_request: Duration) -> Option<Duration> {
        let most = match self.recent_failure {
            _ if self.is_any_connected() => CONNECTIONS * self.round_trips as usize,
            RecentFailure::Lossy => LOSSY_UNANSWERED_ATTEMPTS,
            RecentFailure::None | RecentFailure::Failed => UNANSWERED_ATTEMPTS,
        };
        let Some(last) = self.attempts.last() else { return Some(Duration::ZERO) };
        if !self.may_begin || self.attempts.len() >= most {
            return None;
        }
        Some(match self.attempts.len() {
            _ if self.recent_failure != RecentFailure::None => last.begun + self.then_every,
            // The first request is overdue: more connections are wanted.
            _ if self.requests() == 1 => next_request.max(last.begun + self.then_every),
            1 => last.begun + self.first_repeat,
            _ => last.begun + self.then_every,
        })
    }
}

impl Attempt {
    /// Whether it is connected and has not sent its request yet.
    fn is_idle(&self) -> bool {
        self.connected.is_some() && self.requested.is_none()
    }
}

#[cfg(test)]
mod tests;
