//! One remote vantage: the order of its messages, what it may send, and which checks it observes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::collector::allowance::Allowance;
use crate::fleet::collector::known::{KnownChecks, News};
use crate::fleet::collector::path_time::PathTime;
use crate::fleet::collector::refusal::{RefusalLog, RefusedMessages, Unaccepted};
use crate::fleet::message::{Ask, CheckHash, MAX_MESSAGE, Observed, ReportMessage, Slice};
use crate::fleet::report::Extent;
use crate::fleet::{Report, Vantage};
use crate::health::Observation;
use crate::model::quorum::{MIN_STALE_AFTER, STALE_AFTER};
use crate::model::{CheckKey, Moment};
use crate::printable::escaped;

/// Boot ids of earlier processes that are remembered. Judgment: more processes than anybody starts with one name.
const MAX_RETIRED: usize = 8;
/// An earlier process replaces a newer one, which is silent, after it has sent for this time. Judgment: a process that
/// lives sends three messages in it.
const RETURN_AFTER: Duration = Duration::from_secs(3);
/// Time from a request to the next one at first, and at most.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(16)];

/// A remote vantage.
#[derive(Debug)]
pub struct RemoteVantage {
    region: Arc<str>,
    boot: u64,
    /// Boot ids of processes that this one has replaced, the newest last.
    retired: Vec<u64>,
    /// An earlier process that has sent since the last message of this one, and since when.
    returning: Option<(u64, Moment)>,
    /// The number of its last message.
    last_number: u64,
    received_at: Moment,
    path_time: PathTime,
    is_blind: bool,
    /// Whether its process has stopped in order.
    has_left: bool,
    allowance: Allowance,
    /// The known checks that it observes: a bit for each position.
    observed: Vec<u64>,
    missing: Missing,
    /// Since when something is missing after a silence: until it is known, the vantage has no vote.
    behind_since: Option<Moment>,
    /// What is missing as soon as checks become known: it reports some that are not.
    unknown: Missing,
    /// The slices received since something is missing, without a break.
    round: Option<SliceRound>,
    ask_at: Moment,
    ask_again: Duration,
    messages: u64,
    octets: u64,
    gaps: u64,
    /// Its messages that were refused.
    pub(super) refused: RefusedMessages,
    pub(super) log: RefusalLog,
}

/// What this server has not received of a vantage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// Changes after this message.
    After(u64),
    Everything,
}

impl Missing {
    fn and(self, other: Missing) -> Missing {
        match (self, other) {
            (Missing::Nothing, missing) | (missing, Missing::Nothing) => missing,
            (Missing::Everything, _) | (_, Missing::Everything) => Missing::Everything,
            (Missing::After(a), Missing::After(b)) => Missing::After(a.min(b)),
        }
    }
}

/// Slices of a vantage without a break.
#[derive(Debug, Clone, Copy)]
struct SliceRound {
    first: CheckHash,
    next: CheckHash,
    /// Whether the vantage has not observed some checks yet.
    has_pending: bool,
}

impl RemoteVantage {
    pub(super) fn new(
        vantage: &Vantage,
        first: &ReportMessage,
        known: &KnownChecks,
        octets: usize,
        now: Moment,
    ) -> RemoteVantage {
        let mut path_time = PathTime::default();
        path_time.is_late(first.number, first.uptime, now);
        RemoteVantage {
            region: Arc::clone(&vantage.region),
            boot: first.boot,
            retired: Vec::new(),
            returning: None,
            // That of a goodbye is not noted: see `leave`.
            last_number: if first.is_goodbye { 0 } else { first.number },
            received_at: now,
            path_time,
            is_blind: first.blind.is_some(),
            has_left: first.is_goodbye,
            allowance: Allowance::full(now),
            observed: vec![0; known.len().div_ceil(64)],
            missing: Missing::Everything,
            behind_since: None,
            unknown: Missing::Nothing,
            round: None,
            ask_at: now,
            ask_again: ASK_AGAIN[0],
            messages: 1,
            octets: octets as u64,
            gaps: 0,
            refused: RefusedMessages::default(),
            log: RefusalLog::default(),
        }
    }

    /// Its region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// When its last message was received.
    pub fn received_at(&self) -> Moment {
        self.received_at
    }

    /// Whether it was blind then.
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Whether it has stopped in order. It is remembered so that late messages of it are recognized.
    pub(super) fn has_left(&self) -> bool {
        self.has_left
    }

    /// How many of the known checks it observes.
    pub fn observed(&self) -> usize {
        self.observed.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Messages that were accepted, and their octets.
    pub fn traffic(&self) -> (u64, u64) {
        (self.messages, self.octets)
    }

    /// How often numbers were missing.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Its messages that were refused.
    pub fn refused(&self) -> &RefusedMessages {
        &self.refused
    }

    /// Fails if it has sent too much.
    pub(super) fn allow(&mut self, octets: usize, now: Moment) -> Result<(), Unaccepted> {
        self.allowance.take(octets.min(MAX_MESSAGE), now)
    }

    /// Takes in the goodbye of a process: only the present one can say that it stops. Its number is not noted, so that
    /// after a forged goodbye the reports of the process still have higher numbers than the last one.
    pub(super) fn leave(&mut self, goodbye: &ReportMessage, octets: usize, now: Moment) -> Result<(), Unaccepted> {
        if goodbye.boot != self.boot {
            self.retire(goodbye.boot);
            return Err(Unaccepted::Ended);
        }
        if self.has_left || goodbye.number <= self.last_number {
            return Err(Unaccepted::Repeated);
        }
        (self.has_left, self.returning, self.received_at) = (true, None, now);
        self.messages += 1;
        self.octets += octets as u64;
        Ok(())
    }

    /// Remembers the boot id of a process that is not the present one.
    fn retire(&mut self, boot: u64) {
        self.retired.retain(|known| *known != boot);
        self.retired.push(boot);
        if self.retired.len() > MAX_RETIRED {
            self.retired.remove(0);
        }
    }

    /// Checks the order of a message, and what is missing before it.
    pub(super) fn number(&mut self, message: &ReportMessage, octets: usize, now: Moment) -> Result<(), Unaccepted> {
        if message.boot != self.boot {
            if self.retired.contains(&message.boot) && !self.may_return(message.boot, now) {
                return Err(Unaccepted::SecondProcess);
            }
            self.retired.retain(|boot| *boot != message.boot);
            let before = std::mem::replace(&mut self.boot, message.boot);
            self.retire(before);
            self.miss(Missing::Everything, now);
            self.path_time = PathTime::default();
            self.path_time.is_late(message.number, message.uptime, now);
        } else if message.number <= self.last_number {
            return Err(Unaccepted::Repeated);
        } else if self.path_time.is_late(message.number, message.uptime, now) {
            return Err(Unaccepted::Late);
        } else if self.has_left && !self.may_return(message.boot, now) {
            // It was sent before the goodbye.
            return Err(Unaccepted::Ended);
        } else if message.number > self.last_number + 1 {
            self.gaps += 1;
            self.miss(Missing::After(self.last_number), now);
            if self.is_blind && message.blind.is_none() {
                // The verdicts that it had while it was blind must not count before the new ones are known.
                self.behind_since = Some(now);
            }
        } else if let (Some(after), Missing::After(missing)) = (message.resent_after, self.missing)
            && after <= missing
        {
            self.know_all();
        }
        self.last_number = message.number;
        (self.has_left, self.returning) = (false, None);
        self.received_at = now;
        self.is_blind = message.blind.is_some();
        self.messages += 1;
        self.octets += octets as u64;
        Ok(())
    }

    /// Whether an earlier process, which sends again, replaces the newer one: that is silent meanwhile. So a late copy
    /// of an old message that looked like a new process does little harm, and is no new process itself. A process that
    /// goes on after its goodbye did not send that: it returns too.
    fn may_return(&mut self, boot: u64, now: Moment) -> bool {
        match self.returning {
            Some((known, since)) if known == boot => now.since(since) >= RETURN_AFTER,
            Some(_) | None => {
                self.returning = Some((boot, now));
                false
            }
        }
    }

    fn miss(&mut self, missing: Missing, now: Moment) {
        if now.since(self.received_at) > MIN_STALE_AFTER {
            self.behind_since = Some(now);
        }
        if self.missing == Missing::Nothing {
            (self.ask_at, self.ask_again) = (self.ask_at.max(now), ASK_AGAIN[0]);
        }
        self.missing = self.missing.and(missing);
        self.round = None;
    }
}

impl RemoteVantage {
    /// The request to send now, if one is due and the vantage is there to answer it.
    pub(super) fn take_ask(&mut self, now: Moment) -> Option<Ask> {
        let after = match self.missing {
            Missing::Nothing => return None,
            Missing::After(number) => number,
            Missing::Everything => 0,
        };
        if self.has_left || now < self.ask_at || now.since(self.received_at) > STALE_AFTER {
            return None;
        }
        self.ask_at = now + self.ask_again;
        self.ask_again = (self.ask_again * 2).min(ASK_AGAIN[1]);
        Some(Ask { boot: self.boot, after })
    }

    /// Takes over new known checks; `positions` has their positions by the old ones.
    pub(super) fn remap(&mut self, known: &KnownChecks, positions: &[Range<usize>], news: News, now: Moment) {
        let before = std::mem::replace(&mut self.observed, vec![0; known.len().div_ceil(64)]);
        for (_, new) in positions.iter().enumerate().filter(|(at, _)| is_set(&before, *at)) {
            new.clone().for_each(|at| set(&mut self.observed, at, true));
        }
        let missing = match news {
            News::Nothing => return,
            News::Checks => std::mem::replace(&mut self.unknown, Missing::Nothing),
            News::Keys => Missing::Everything,
        };
        if missing != Missing::Nothing {
            self.miss(missing, now);
        }
    }

    /// What a message reports, after [`RemoteVantage::number`].
    pub(super) fn report(
        &mut self,
        message: ReportMessage,
        vantage: &Vantage,
        known: &KnownChecks,
        now: Moment,
    ) -> Report {
        let ReportMessage { number, blind, texts, slice, changes, .. } = message;
        let (blind, texts) = (blind.map(printable), texts.into_iter().map(printable).collect());
        let size = changes.len() + slice.as_ref().map_or(0, |slice| slice.observations.len());
        let mut part =
            Part { texts, now, observations: Vec::with_capacity(size.min(known.len())), removed: Vec::new() };
        if let Some(slice) = &slice {
            self.take_slice(slice, known, &mut part);
        }
        let mut from = 0;
        // Each check once: one that is in the slice as well has the same observation there.
        let is_in_slice = |check| slice.as_ref().is_some_and(|slice| slice.first <= check && check <= slice.last);
        for change in changes.iter().filter(|change| !is_in_slice(change.check)) {
            let run = known.run(change.check, from);
            from = run.end;
            if run.is_empty() {
                self.unknown = self.unknown.and(Missing::After(number - 1));
            }
            for at in run {
                self.take(at, known, change.observed.as_ref(), &mut part);
            }
        }
        let Part { observations, removed, .. } = part;
        let extent = if self.behind_since.is_some() { Extent::Behind } else { Extent::Part };
        Report { vantage: vantage.clone(), made_at: now, blind, extent, observations, removed }
    }

    fn take_slice(&mut self, slice: &Slice, known: &KnownChecks, part: &mut Part) {
        let Range { start: mut at, end } = known.range(slice.first, slice.last);
        for entry in &slice.observations {
            let run = known.run(entry.check, at);
            (at..run.start).for_each(|absent| self.remove(absent, known, part));
            if run.is_empty() {
                self.unknown = Missing::Everything;
            }
            at = run.end;
            for at in run {
                self.take(at, known, entry.observed.as_ref(), part);
            }
        }
        (at..end).for_each(|absent| self.remove(absent, known, part));
        let next = CheckHash(slice.last.0.wrapping_add(1));
        let has_pending = slice.observations.iter().any(|entry| entry.observed.is_none());
        let round = match self.round {
            Some(round) if round.next == slice.first => {
                SliceRound { next, has_pending: round.has_pending || has_pending, ..round }
            }
            Some(_) | None => SliceRound { first: slice.first, next, has_pending },
        };
        self.round = Some(round);
        if round.first == next {
            // What a new process has not observed yet was reported by an earlier one, long ago.
            let may_wait = self.behind_since.is_some_and(|since| part.now.since(since) < STALE_AFTER);
            if !(round.has_pending && may_wait) {
                self.know_all();
            }
            self.round = None;
        }
    }

    fn know_all(&mut self) {
        (self.missing, self.behind_since) = (Missing::Nothing, None);
    }

    /// Takes in an observation of the known check at this position. Without one, what was reported before stays.
    fn take(&mut self, at: usize, known: &KnownChecks, observed: Option<&Observed>, part: &mut Part) {
        if let (Some((_, key)), Some(observed)) = (known.get(at), observed) {
            set(&mut self.observed, at, true);
            part.observations.push(part.observation(key, observed));
        }
    }

    fn remove(&mut self, at: usize, known: &KnownChecks, part: &mut Part) {
        if let Some((_, key)) = known.get(at).filter(|_| is_set(&self.observed, at)) {
            set(&mut self.observed, at, false);
            part.removed.push(Arc::clone(key));
        }
    }
}

/// A text of another node as it can be shown everywhere.
fn printable(text: Arc<str>) -> Arc<str> {
    match escaped(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(safe) => safe.into(),
    }
}

/// A report under construction.
struct Part {
    texts: Vec<Arc<str>>,
    now: Moment,
    observations: Vec<Observation>,
    removed: Vec<Arc<CheckKey>>,
}

impl Part {
    fn observation(&self, key: &Arc<CheckKey>, observed: &Observed) -> Observation {
        Observation {
            key: Arc::clone(key),
            health: observed.health,
            tried: observed.tried,
            srtt: observed.srtt,
            rttvar: None,
            probed_at: observed.age.map(|age| self.now - age),
            may_change_in: observed.may_change_in,
            why: observed.why.and_then(|at| self.texts.get(at)).cloned(),
            hold: observed.hold,
            doubt: observed.doubt,
            state: None,
        }
    }
}

fn is_set(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

fn set(bits: &mut [u64], at: usize, is_on: bool) {
    if let Some(word) = bits.get_mut(at / 64) {
        let bit = 1 << (at % 64);
        *word = if is_on { *word | bit } else { *word & !bit };
    }
}
