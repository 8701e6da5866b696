//! The reports of one vantage as messages. A value: it gets the observations and the time, and returns the octets to
//! publish.
//!
//! - **Each second** a message is sent with a *slice*: the observations of a range of hashes. A fifth of all checks
//!   is in each slice, so every check is in one within 5 s. The slices cover all hashes, so a check that is not in the
//!   slice of its range is not observed any more.
//! - **A change** of a verdict is sent at once, in at most ten messages a second. So is a round-trip time that jumped.
//! - **Cost.** What changes cost is saved in the next slices, which become smaller, down to a quarter. So an outage of
//!   many checks costs as much as peace: a fifth of the checks a second, a quarter more for some seconds. A vantage
//!   with few checks does not need to save.
//! - **Loss.** Messages are numbered. A server that notices a gap asks for what changed since ([`Ask`]): the changes
//!   are sent again at once, for all servers. A server that knows nothing asks for everything: then the slices come
//!   twice as fast for one round, at most once in 10 s.
//! - **A prober that stands still** is not hidden: without its reports nothing is sent, so the vantage becomes stale.
//! - **A vantage that stops in order** says so in its last message ([`VantageReporter::goodbye`]).
//!
//! # Use
//!
//! The owner calls [`VantageReporter::adopt`] with each new plan, [`VantageReporter::observe`] with each report of the
//! prober, [`VantageReporter::receive`] with each [`Ask`], and then [`VantageReporter::advance`], whose messages it
//! publishes in order. It calls `advance` again at [`VantageReporter::next_due`]. While it is not connected it calls
//! `advance` as well, and drops the messages: a message must not wait.

#[cfg(test)]
mod tests;
mod turns;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::fleet::message::{
    Ask, CheckHash, MAX_OBSERVATIONS, MAX_TEXTS, Observed, ReportMessage, Slice, WireObservation,
};
use crate::fleet::reporter::turns::Turns;
use crate::health::Observation;
use crate::model::{CheckKey, Doubt, Health, Hold, Moment};

/// Without an observation for so long nothing is sent: the prober stands still, or this process did. Otherwise old
/// verdicts would count as new ones. Judgment: five reports of the prober, and half of the default `stale_after`.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// A round-trip time that changed by less is not sent at once. Judgment: as little as a `band` usually is.
const LEAST_JUMP: Duration = Duration::from_millis(5);

/// Makes the messages of one vantage.
#[derive(Debug)]
pub struct VantageReporter {
    boot: u64,
    started_at: Moment,
    /// The number of the last message.
    number: u64,
    /// The checks of the plan, sorted by hash, each hash once.
    checks: Vec<ReportedCheck>,
    /// The position of each key in `checks`. The keys are our own, so a fast hash without a secret is enough.
    positions: HashMap<Arc<CheckKey>, usize, FixedState>,
    /// Before the first plan there are no slices: they would mean that nothing is observed.
    has_plan: bool,
    blind: Option<Arc<str>>,
    /// When the prober reported last.
    observed_at: Option<Moment>,
    turns: Turns,
}

/// A check of the plan.
#[derive(Debug, Clone)]
struct ReportedCheck {
    hash: CheckHash,
    latest: Option<Latest>,
    /// The number of the message that had its last change; 0 before the first.
    changed_in: u64,
    /// Whether it waits in the queue of changes.
    is_queued: bool,
}

/// The latest observation, with points in time instead of ages.
#[derive(Debug, Clone)]
struct Latest {
    health: Health,
    tried: bool,
    srtt: Option<Duration>,
    probed_at: Option<Moment>,
    may_change_at: Moment,
    why: Option<Arc<str>>,
    hold: Option<Hold>,
    doubt: Doubt,
}

impl VantageReporter {
    /// A reporter without a plan. `boot` is a random number that no other process of this name has.
    pub fn new(boot: u64, now: Moment) -> VantageReporter {
        VantageReporter {
            boot,
            started_at: now,
            number: 0,
            checks: Vec::new(),
            positions: HashMap::default(),
            has_plan: false,
            blind: None,
            observed_at: None,
            turns: Turns::new(now),
        }
    }

    /// The boot id.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Replaces the plan: the checks that the vantage probes. Of several keys with one hash the first one is reported.
    /// Checks that stay keep their observations. A check that is new is reported once it is observed.
    pub fn adopt(&mut self, plan: &[(CheckHash, Arc<CheckKey>)]) {
        let mut sorted: Vec<&(CheckHash, Arc<CheckKey>)> = plan.iter().collect();
        sorted.sort_by_key(|(hash, _)| *hash);
        sorted.dedup_by_key(|(hash, _)| *hash);
        let old = std::mem::take(&mut self.checks);
        let retained = |hash: CheckHash| {
            let at = old.binary_search_by_key(&hash, |check| check.hash).ok()?;
            old.get(at).cloned()
        };
        let fresh = |hash| ReportedCheck { hash, latest: None, changed_in: 0, is_queued: false };
        self.checks = sorted.iter().map(|(hash, _)| retained(*hash).unwrap_or_else(|| fresh(*hash))).collect();
        self.positions = sorted.iter().enumerate().map(|(at, (_, key))| (Arc::clone(key), at)).collect();
        self.has_plan = true;
        let checks = &self.checks;
        self.turns.retain_changes(|hash| checks.binary_search_by_key(&hash, |check| check.hash).is_ok());
    }

    /// Takes in what the prober observed, of all checks or of some. `blind` is why the vantage is blind, if it is.
    /// Observations of checks that are not in the plan are ignored. Without a call for 5 s, also without observations,
    /// the vantage is silent.
    pub fn observe(&mut self, observations: &[Observation], blind: Option<&Arc<str>>, now: Moment) {
        for observation in observations {
            let Some(check) = self.positions.get(&observation.key).and_then(|at| self.checks.get_mut(*at)) else {
                continue;
            };
            let latest = Latest::of(observation, now);
            let is_change = check.latest.as_ref().is_none_or(|before| before.differs(&latest));
            check.latest = Some(latest);
            if is_change {
                self.turns.queue(check);
            }
        }
        if self.blind.is_some() != blind.is_some() {
            self.turns.send_state();
        }
        if self.is_silent(now) {
            self.turns.begin(now);
        }
        self.blind = blind.cloned();
        self.observed_at = Some(now);
    }

    /// Takes in what a server asks for. It is answered by [`VantageReporter::advance`], at most once a second.
    pub fn receive(&mut self, ask: Ask) {
        let after = if ask.boot == self.boot { ask.after } else { 0 };
        self.turns.want(after);
    }

    /// The messages to publish now, in order; none before [`VantageReporter::next_due`].
    pub fn advance(&mut self, now: Moment) -> Vec<Vec<u8>> {
        let count = self.checks.len();
        if self.is_silent(now) {
            self.turns.pause(now);
            return Vec::new();
        }
        if let Some(after) = self.turns.begin_answer(count, now) {
            for check in self.checks.iter_mut().filter(|check| check.changed_in > after && check.latest.is_some()) {
                self.turns.queue(check);
            }
        }
        let is_slice_due = self.turns.is_slice_due(now);
        if !is_slice_due && !self.turns.is_turn_of_changes(count, now) {
            return Vec::new();
        }
        let mut changes = self.turns.take_changes(count, now);
        let mut left = if is_slice_due { self.turns.take_slice(count, now) } else { 0 };
        if !self.has_plan {
            left = 0;
        } else if left >= count && is_slice_due {
            // All in one slice.
            left = count.max(1);
            self.turns.set_next_hash(CheckHash(0));
        }
        let mut messages = Vec::new();
        loop {
            let of_message: Vec<CheckHash> = changes.drain(..changes.len().min(MAX_OBSERVATIONS)).collect();
            let room = (MAX_OBSERVATIONS - of_message.len()).min(left);
            let slice = (room > 0).then(|| self.next_range(room));
            left = match &slice {
                Some((range, last)) if last.0 < u64::MAX => left - range.len(),
                // The round is over: the rest of this turn is saved.
                Some(_) => 0,
                None => left,
            };
            let repeated = if changes.is_empty() { self.turns.take_repeated() } else { None };
            messages.push(self.message(of_message, slice, repeated, now));
            if changes.is_empty() && left == 0 {
                return messages;
            }
        }
    }

    /// The last message of a process that stops in order; `None` if it has sent nothing. Nothing may be sent after it.
    pub fn goodbye(&mut self, now: Moment) -> Option<Vec<u8>> {
        if self.number == 0 {
            return None;
        }
        self.number += 1;
        let (boot, number, uptime) = (self.boot, self.number, Some(now.since(self.started_at)));
        Some(ReportMessage { boot, number, uptime, is_goodbye: true, ..ReportMessage::default() }.encode())
    }

    /// When to call [`VantageReporter::advance`] next.
    pub fn next_due(&self) -> Moment {
        self.turns.next_due(self.checks.len())
    }

    fn is_silent(&self, now: Moment) -> bool {
        self.observed_at.is_none_or(|at| now.since(at) > SILENT_AFTER)
    }

    /// The positions of the next checks, `most` at most, and the last hash of their slice.
    fn next_range(&self, most: usize) -> (std::ops::Range<usize>, CheckHash) {
        let start = self.checks.partition_point(|check| check.hash < self.turns.next_hash());
        let end = start.saturating_add(most).min(self.checks.len());
        let last = match self.checks[start..end].last() {
            Some(check) if end < self.checks.len() => check.hash,
            Some(_) | None => CheckHash(u64::MAX),
        };
        (start..end, last)
    }

    fn message(
        &mut self,
        mut changes: Vec<CheckHash>,
        slice: Option<(std::ops::Range<usize>, CheckHash)>,
        resent_after: Option<u64>,
        now: Moment,
    ) -> Vec<u8> {
        self.number += 1;
        let mut texts = TextTable::default();
        let first = self.turns.next_hash();
        let slice = slice.map(|(range, last)| {
            let observations = self.checks[range].iter().map(|check| check.on_wire(&mut texts, now)).collect();
            self.turns.set_next_hash(CheckHash(last.0.wrapping_add(1)));
            Slice { first, last, observations }
        });
        changes.sort_unstable();
        let mut of_changes = Vec::with_capacity(changes.len());
        for hash in changes {
            let at = self.checks.binary_search_by_key(&hash, |check| check.hash);
            if let Some(check) = at.ok().and_then(|at| self.checks.get_mut(at)) {
                (check.is_queued, check.changed_in) = (false, self.number);
                of_changes.push(check.on_wire(&mut texts, now));
            }
        }
        ReportMessage {
            boot: self.boot,
            number: self.number,
            blind: self.blind.clone(),
            texts: texts.into_list(),
            slice,
            changes: of_changes,
            resent_after,
            uptime: Some(now.since(self.started_at)),
            is_goodbye: false,
        }
        .encode()
    }
}

impl ReportedCheck {
    fn on_wire(&self, texts: &mut TextTable, now: Moment) -> WireObservation {
        let observed = self.latest.as_ref().map(|latest| Observed {
            health: latest.health,
            tried: latest.tried,
            srtt: latest.srtt,
            age: latest.probed_at.map(|at| now.since(at)),
            may_change_in: latest.may_change_at.since(now),
            why: latest.why.as_ref().and_then(|why| texts.position_of(why)),
            hold: latest.hold,
            doubt: latest.doubt,
        });
        WireObservation { check: self.hash, observed }
    }
}

impl Latest {
    fn of(observation: &Observation, now: Moment) -> Latest {
        let Observation {
            key: _,
            health,
            tried,
            srtt,
            rttvar: _,
            probed_at,
            may_change_in,
            why,
            hold,
            doubt,
            state: _,
        } = observation;
        Latest {
            health: *health,
            tried: *tried,
            srtt: *srtt,
            probed_at: *probed_at,
            may_change_at: now + *may_change_in,
            why: why.clone(),
            hold: *hold,
            doubt: *doubt,
        }
    }

    /// Whether it is sent at once that this became `other`.
    fn differs(&self, other: &Latest) -> bool {
        (self.health, self.tried) != (other.health, other.tried) || has_jumped(self.srtt, other.srtt)
    }
}

/// Whether a smoothed round-trip time changed by more than its mean follows one measurement (an eighth of the
/// difference): the path is another one.
fn has_jumped(before: Option<Duration>, after: Option<Duration>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => before.abs_diff(after) > (before / 4).max(LEAST_JUMP),
        (before, after) => before.is_some() != after.is_some(),
    }
}

/// The texts of a message, each once.
#[derive(Debug, Default)]
struct TextTable {
    list: Vec<Arc<str>>,
    positions: HashMap<Arc<str>, usize, FixedState>,
}

impl TextTable {
    /// The position of `text`, which is added if there is room.
    fn position_of(&mut self, text: &Arc<str>) -> Option<usize> {
        if let Some(at) = self.positions.get(text) {
            return Some(*at);
        }
        let at = self.list.len();
        if at == MAX_TEXTS {
            return None;
        }
        self.list.push(Arc::clone(text));
        self.positions.insert(Arc::clone(text), at);
        Some(at)
    }

    fn into_list(self) -> Vec<Arc<str>> {
        self.list
    }
}
