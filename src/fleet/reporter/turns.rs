//! When a reporter sends what: the turns of slices, the queue of changes, and the requests of servers.

use std::collections::VecDeque;
use std::time::Duration;

use crate::fleet::message::CheckHash;
use crate::fleet::reporter::ReportedCheck;
use crate::model::Moment;

/// Time between two slices.
const PERIOD: Duration = Duration::from_secs(1);
/// The same while a server waits for everything.
const HURRIED_PERIOD: Duration = Duration::from_millis(500);
/// How many slices make a round. Every check is in one within 5 s.
const SLICES: usize = 5;
/// Fewest checks of a slice, where there are as many. Judgment: a kilobyte, so a small fleet has all each second.
const MIN_SLICE: usize = 64;
/// The same while a server waits for everything.
const MIN_HURRIED_SLICE: usize = 1024;
/// Least time between two messages of changes. Judgment: ten a second are enough, as the prober gathers changes too.
const CHANGES_APART: Duration = Duration::from_millis(100);
/// The part of a slice that is sent also while changes are saved: one of so many.
const LEAST_SLICE: usize = 4;
/// Changes that may be sent at once, in slices. Further ones wait for the next seconds, so that a burst is bounded.
const MAX_DEBT: usize = 4;
/// Changes that may be sent at once in any case. Judgment: some kilobytes.
const FREE_CHANGES: usize = 1024;
/// The same in each second that follows.
const FREE_CHANGES_A_SEC: usize = 256;
/// Least time between two answers to requests.
const ANSWERS_APART: Duration = Duration::from_secs(1);
/// Least time between two hurried rounds. Judgment: two rounds. So asking can increase the cost by a quarter.
const WHOLES_APART: Duration = Duration::from_secs(10);

/// The turns of one reporter.
#[derive(Debug)]
pub(super) struct Turns {
    /// When the next slice is due.
    slice_at: Moment,
    /// Where it begins.
    next_hash: CheckHash,
    /// Slices of the hurried round that are left.
    hurried: usize,
    /// The earliest time of the next hurried round.
    whole_at: Moment,
    /// Changes in the order in which they came.
    changes: VecDeque<CheckHash>,
    /// Whether a message is due though there may be no changes: the state of the vantage, or an answer.
    is_state_due: bool,
    /// The earliest time of the next message of changes.
    changes_at: Moment,
    /// Changes that were sent and are not yet saved in slices.
    debt: usize,
    /// What servers want repeated: changes after this message.
    wanted_after: Option<u64>,
    /// Whether a server wants everything.
    is_whole_wanted: bool,
    /// The earliest time of the next answer.
    answer_at: Moment,
    /// What the queue repeats: changes after this message.
    repeats_after: Option<u64>,
}

impl Turns {
    pub(super) fn new(now: Moment) -> Turns {
        Turns {
            slice_at: now,
            next_hash: CheckHash(0),
            hurried: 0,
            whole_at: now,
            changes: VecDeque::new(),
            is_state_due: false,
            changes_at: now,
            debt: 0,
            wanted_after: None,
            is_whole_wanted: false,
            answer_at: now,
            repeats_after: None,
        }
    }

    /// Makes a slice due, after a pause.
    pub(super) fn begin(&mut self, now: Moment) {
        (self.slice_at, self.changes_at) = (now, now);
    }

    /// Makes nothing due before the next second.
    pub(super) fn pause(&mut self, now: Moment) {
        let later = now + PERIOD;
        for due in [&mut self.slice_at, &mut self.changes_at, &mut self.answer_at, &mut self.whole_at] {
            *due = later.max(*due);
        }
    }

    /// Where the next slice begins.
    pub(super) fn next_hash(&self) -> CheckHash {
        self.next_hash
    }

    pub(super) fn set_next_hash(&mut self, hash: CheckHash) {
        self.next_hash = hash;
    }

    /// Appends a check to the changes, once.
    pub(super) fn queue(&mut self, check: &mut ReportedCheck) {
        if !std::mem::replace(&mut check.is_queued, true) {
            self.changes.push_back(check.hash);
        }
    }

    /// Drops the changes of other checks.
    pub(super) fn retain_changes(&mut self, is_planned: impl Fn(CheckHash) -> bool) {
        self.changes.retain(|hash| is_planned(*hash));
    }

    fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Makes a message due.
    pub(super) fn send_state(&mut self) {
        self.is_state_due = true;
    }

    /// Takes note that a server wants the changes after this message again; 0: everything.
    pub(super) fn want(&mut self, after: u64) {
        match after {
            0 => self.is_whole_wanted = true,
            after => self.wanted_after = Some(self.wanted_after.map_or(after, |before| before.min(after))),
        }
    }

    /// What to repeat now: the changes after this message. Begins a hurried round if one is wanted and may be made.
    pub(super) fn begin_answer(&mut self, count: usize, now: Moment) -> Option<u64> {
        if self.is_whole_wanted && now >= self.whole_at {
            self.is_whole_wanted = false;
            self.hurried = count.div_ceil(hurried_slice(count)).max(1);
            (self.next_hash, self.slice_at, self.whole_at) = (CheckHash(0), now, now + WHOLES_APART);
        }
        if now < self.answer_at {
            return None;
        }
        let after = self.wanted_after.take()?;
        self.answer_at = now + ANSWERS_APART;
        self.repeats_after = Some(self.repeats_after.map_or(after, |before| before.min(after)));
        self.is_state_due = true;
        Some(after)
    }

    pub(super) fn is_slice_due(&self, now: Moment) -> bool {
        now >= self.slice_at
    }

    /// The number of checks in the slice that is due now.
    pub(super) fn take_slice(&mut self, count: usize, now: Moment) -> usize {
        let is_hurried = self.hurried > 0;
        self.hurried = self.hurried.saturating_sub(1);
        let period = if self.hurried > 0 { HURRIED_PERIOD } else { PERIOD };
        self.slice_at = self.slice_at + period;
        if self.slice_at <= now {
            // This process was stopped or waited. Turns that were missed are not made up for.
            self.slice_at = now + period;
        }
        if is_hurried {
            return hurried_slice(count);
        }
        let size = slice(count);
        let saved = self.debt.min((size - size / LEAST_SLICE).max(FREE_CHANGES_A_SEC));
        self.debt -= saved;
        size.saturating_sub(saved).max(MIN_SLICE)
    }

    /// Whether a message without a slice is due now.
    pub(super) fn is_turn_of_changes(&self, count: usize, now: Moment) -> bool {
        (self.is_state_due || self.may_send_changes(count)) && now >= self.changes_at
    }

    /// The changes to send with a message now.
    pub(super) fn take_changes(&mut self, count: usize, now: Moment) -> Vec<CheckHash> {
        self.is_state_due = false;
        self.changes_at = now + CHANGES_APART;
        let taken = most_debt(count).saturating_sub(self.debt).min(self.changes.len());
        self.debt += taken;
        self.changes.drain(..taken).collect()
    }

    /// Whether there are changes, and one may be sent now.
    fn may_send_changes(&self, count: usize) -> bool {
        self.has_changes() && self.debt < most_debt(count)
    }

    /// What has been repeated with the message that is being made; once.
    pub(super) fn take_repeated(&mut self) -> Option<u64> {
        if self.has_changes() { None } else { self.repeats_after.take() }
    }

    pub(super) fn next_due(&self, count: usize) -> Moment {
        let changes_at = (self.is_state_due || self.may_send_changes(count)).then_some(self.changes_at);
        let answer_at = self.wanted_after.map(|_| self.answer_at);
        let whole_at = self.is_whole_wanted.then_some(self.whole_at);
        [changes_at, answer_at, whole_at].into_iter().flatten().fold(self.slice_at, Moment::min)
    }
}

/// Checks of a slice, of so many in all.
fn slice(count: usize) -> usize {
    count.div_ceil(SLICES).max(MIN_SLICE)
}

fn hurried_slice(count: usize) -> usize {
    slice(count).max(MIN_HURRIED_SLICE)
}

fn most_debt(count: usize) -> usize {
    (MAX_DEBT * slice(count)).max(FREE_CHANGES)
}
