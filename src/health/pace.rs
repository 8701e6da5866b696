//! When the attempts of one probe begin. A probe is one question, "does it answer within the time-out?", but a single
//! lost packet must not be its answer: TCP sends a lost SYN again after a whole second, a lost request after 200 ms and
//! the round trip, later than most time-outs. So while nothing has come back a probe tries again, and the first answer
//! counts. A value that is told what happens and says what to do next; `probe::attempt` runs it.
//!
//! Where there is more to it than one packet and its answer, attempts have two stages: a connection, which costs the
//! other side next to nothing, and what is asked on it, which makes it work. Each stage is tried again when it is itself
//! overdue: connections until one stands, questions only while those before got no answer, and no more than
//! [`FEW_QUESTIONS`] unless connections got lost as well. That is also how a path that loses packets is told from a
//! process that is silent ([`Pace::losses`]): a silent process still shakes hands, its kernel does that for it.
//!
//! Why it matters: at 20 % loss in each direction a probe of one packet fails 36 times in 100, and `fall` failures
//! without a run of `rise` successes come every minute; `simulation` has what comes of it with all this.

use std::time::Duration;

use crate::health::Rtt;
use crate::health::rtt::Last;

/// Most attempts while nothing at all has come back. 0.36^6 is 0.2 %, small enough that `fall` of them in a row don't
/// happen by chance, and an outage doesn't multiply what a vantage sends by more.
const BLIND_ATTEMPTS: usize = 6;
/// The same on a path that is known to lose packets.
const LOSSY_BLIND_ATTEMPTS: usize = 8;
/// Most connections of a probe to which one was granted, for each round trip that its questions take with them: of the
/// twelve of http, at 20 % loss in each direction, seven stand.
const CONNECTIONS: usize = 6;
/// Most questions that are asked of a server whose kernel answers each connection. Judgment: a health page may ask a
/// database, and one that is slow from load must not get many times the load.
const FEW_QUESTIONS: usize = 4;
/// Most questions where connections got lost, for each round trip: half of the questions then don't arrive, or their
/// answers don't.
const MANY_QUESTIONS: usize = 4;
/// After the first repeat, attempts of one stage begin this part of the time-out apart.
const REPEAT_PARTS: u32 = 8;
/// Of those of two stages there is less time left for each.
const STAGED_REPEAT_PARTS: u32 = 16;
/// And where a probe failed lately, for each round trip.
const HURRIED_REPEAT_PARTS: u32 = 12;
/// Where a probe failed lately, so many connections are had in hand, whose loss also tells what the path is like. They
/// cost little, and few endpoints are verified at a time.
const SPARE: usize = 3;

/// The attempts of one probe. All times are counted from its start.
#[derive(Debug, Clone)]
pub struct Pace {
    timeout: Duration,
    /// When the first attempt is overdue, as far as it is one packet and its answer.
    first_repeat: Duration,
    /// When an attempt is overdue as a whole: the usual time and a margin.
    whole: Duration,
    then_every: Duration,
    round_trips: u32,
    last: Last,
    attempts: Vec<Attempt>,
    may_begin: bool,
    is_answered: bool,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    begun: Duration,
    connected: Option<Duration>,
    asked: Option<Duration>,
}

/// What a probe is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Begin an attempt.
    Begin,
    /// Let this attempt, counted from 0, ask on its connection.
    Request(usize),
    /// Nothing until that time, unless something comes back; `None`: nothing more.
    Wait(Option<Duration>),
}

impl Pace {
    /// For probes of one stage, whose attempts are cheap for the other side (icmp, tcp, dns).
    pub fn light(timeout: Duration, rtt: &Rtt) -> Pace {
        Pace::new(timeout, rtt, REPEAT_PARTS, 1)
    }

    /// For probes that connect and then ask; `round_trips` is how many ways there and back that takes all in all, by
    /// which the part of the first, the connection, is estimated. A server that works for long makes that too much, never
    /// too little.
    pub fn staged(timeout: Duration, rtt: &Rtt, round_trips: u32) -> Pace {
        let parts = match rtt.last() {
            Last::Well => STAGED_REPEAT_PARTS,
            Last::Failed | Last::Lossy => HURRIED_REPEAT_PARTS * round_trips,
        };
        Pace { last: rtt.last(), ..Pace::new(timeout, rtt, parts, round_trips.max(1)) }
    }

    /// A repeat waits until an answer is overdue, so that in peace nothing is sent twice: the smoothed RTT and two
    /// deviations, or a margin where there is next to no deviation. Once something is overdue the rest of the time-out is
    /// used densely.
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
            last: Last::Well,
            attempts: Vec::with_capacity(1),
            may_begin: true,
            is_answered: false,
        }
    }

    /// An attempt was begun; its number.
    pub fn begun(&mut self, now: Duration) -> usize {
        self.attempts.push(Attempt { begun: now, connected: None, asked: None });
        self.attempts.len() - 1
    }

    /// An attempt has its connection.
    pub fn connected(&mut self, nth: usize, now: Duration) {
        if let Some(attempt) = self.attempts.get_mut(nth) {
            attempt.connected = attempt.connected.or(Some(now));
        }
    }

    /// An attempt asks.
    pub fn requested(&mut self, nth: usize, now: Duration) {
        if let Some(attempt) = self.attempts.get_mut(nth) {
            attempt.asked = attempt.asked.or(Some(now));
        }
    }

    /// There are no means to begin another.
    pub fn exhausted(&mut self) {
        self.may_begin = false;
    }

    /// An answer has begun to come: whatever else it takes, nothing is repeated.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }

    /// What is to be done at `now`.
    pub fn next(&self, now: Duration) -> NextStep {
        if self.is_answered {
            return NextStep::Wait(None);
        }
        let next_question = self.next_question(now);
        let idle = || self.attempts.iter().enumerate().filter(|(_, attempt)| attempt.is_idle());
        let may_ask = self.questions() < self.most_questions(now);
        let ask = idle().next().filter(|_| may_ask).map(|(nth, _)| nth);
        if let Some(nth) = ask.filter(|_| next_question <= now) {
            return NextStep::Request(nth);
        }
        let spare = if self.last == Last::Well { 0 } else { SPARE - 1 };
        let next_attempt = self.next_attempt(next_question).filter(|_| may_ask && idle().count() <= spare);
        if next_attempt.is_some_and(|at| at <= now) {
            return NextStep::Begin;
        }
        // A connection that is overdue allows more.
        let ask_at = ask.map(|_| next_question);
        let loss_at = self.loss_shows_at().filter(|at| *at > now);
        NextStep::Wait(next_attempt.into_iter().chain(ask_at).chain(loss_at).min())
    }

    /// How many connections got no answer though it was overdue by the end, of how many, where that speaks for loss on
    /// the path: others were granted. `None` where nothing does.
    pub fn losses(&self) -> Option<(usize, usize)> {
        // Without the margin that a repeat waits for: who decides on a time-out has waited as long as there was time.
        let usual = self.first_repeat.saturating_sub(self.timeout / STAGED_REPEAT_PARTS);
        let lost = |attempt: &&Attempt| attempt.connected.is_none() && attempt.begun + usual <= self.timeout;
        let lost = self.attempts.iter().filter(lost).count();
        (lost > 0 && self.is_someone_there()).then_some((lost, self.attempts.len()))
    }

    /// When a connection was last granted.
    pub fn last_connected(&self) -> Option<Duration> {
        self.attempts.iter().filter_map(|attempt| attempt.connected).max()
    }

    /// Whether a connection was granted when the answer to a question that was asked before it began was overdue.
    pub fn is_granted_late(&self) -> bool {
        let first = self.attempts.iter().filter_map(|attempt| Some((attempt.asked?, attempt.begun + self.whole))).min();
        let is_late = |(asked, overdue): (Duration, Duration)| {
            self.attempts.iter().any(|next| next.begun > asked && next.connected.is_some_and(|at| at >= overdue))
        };
        first.is_some_and(is_late)
    }

    fn questions(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.asked.is_some()).count()
    }

    fn most_questions(&self, now: Duration) -> usize {
        let shows_loss = self.loss_shows_at().is_some_and(|at| at <= now);
        if shows_loss { MANY_QUESTIONS * self.round_trips as usize } else { FEW_QUESTIONS }
    }

    fn is_someone_there(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.connected.is_some())
    }

    /// When the first of the connections that aren't granted is overdue, where others are.
    fn loss_shows_at(&self) -> Option<Duration> {
        let waiting = self.attempts.iter().filter(|attempt| attempt.connected.is_none());
        let overdue = waiting.map(|attempt| attempt.begun + self.first_repeat).min();
        overdue.filter(|_| self.is_someone_there())
    }

    /// When another question may be asked: at once, when that before is overdue, then densely; densely as well where
    /// packets get lost.
    fn next_question(&self, now: Duration) -> Duration {
        let asked = |attempt: &Attempt| Some((attempt.asked?, attempt.connected?.saturating_sub(attempt.begun)));
        let last = self.attempts.iter().filter_map(asked).max();
        let is_lossy = match self.last {
            Last::Well => false,
            Last::Failed => self.loss_shows_at().is_some_and(|at| at <= now),
            Last::Lossy => true,
        };
        match last {
            None => Duration::ZERO,
            // What the whole takes less what the connection took.
            Some((at, connecting)) if self.questions() == 1 && !is_lossy => {
                at + self.whole.saturating_sub(connecting).max(self.then_every)
            }
            Some((at, _)) => at + self.then_every,
        }
    }

    /// When another attempt begins, given that a connection is wanted.
    fn next_attempt(&self, next_question: Duration) -> Option<Duration> {
        let most = match self.last {
            _ if self.is_someone_there() => CONNECTIONS * self.round_trips as usize,
            Last::Lossy => LOSSY_BLIND_ATTEMPTS,
            Last::Well | Last::Failed => BLIND_ATTEMPTS,
        };
        let Some(last) = self.attempts.last() else { return Some(Duration::ZERO) };
        if !self.may_begin || self.attempts.len() >= most {
            return None;
        }
        Some(match self.attempts.len() {
            _ if self.last != Last::Well => last.begun + self.then_every,
            // A question is overdue: connections for more of them.
            _ if self.questions() == 1 => next_question.max(last.begun + self.then_every),
            1 => last.begun + self.first_repeat,
            _ => last.begun + self.then_every,
        })
    }
}

impl Attempt {
    /// Whether it could ask.
    fn is_idle(&self) -> bool {
        self.connected.is_some() && self.asked.is_none()
    }
}

#[cfg(test)]
mod tests;
