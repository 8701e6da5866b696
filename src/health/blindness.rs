//! Whether what fails is the world or the path of this vantage to it. Pure: it gets what the last probes of each check
//! found, and decides whether a verdict of Down may be reported. The prober asks it before each report.
//!
//! # The rule
//!
//! 1. **An answer proves the path.** Any response (of any status, a wrong body, a DNS error code, a gRPC error), a
//!    refusal (RST), a TLS alert or a certificate, an ICMP error that the endpoint itself sends, and a connection
//!    that is granted though an answer was overdue already, or the probe before had failed (the process hangs, its
//!    kernel doesn't) are answers. On loopback, where no path can break, any connection that is granted is one.
//!    A reset that a middlebox sends in the place of the endpoint can't be distinguished from the endpoint's own, and
//!    counts as its answer. See [`Contact`].
//! 2. **Only silence can hold a verdict back**: a time-out, or "unreachable" as this host or a router reports it. A
//!    check whose failures contain an answer goes Down at once, whatever the others do. The exit code of a program
//!    (`exec`) proves nothing: it counts neither as silence nor as an answer.
//! 3. **A region is silent when nothing at all came from it** since the failures began: all its hosts that were Up,
//!    and all that were Down but answered, have fallen silent. One answer among a thousand hosts is enough: then the
//!    vantage is not cut off from the region, and what fails in it is Down. Hosts are counted, not checks.
//! 4. **The vantage is blind when more than half of the regions are silent**, and with control targets more than half
//!    of those too. Then the verdicts of the silent regions stay as they were; those of the other regions are
//!    reported as ever. Without control targets it takes two regions and four hosts at least.
//! 5. **It lasts only for as long as nothing contradicts it.** The first answer from a silent region ends the silence
//!    of that region: its checks begin afresh from what was reported. Blindness ends when no more than half of the
//!    regions are silent, or when most control targets answer.
//!
//! ```text
//!           a check that was Up is judged Down                  most regions are silent
//!           and none of its failures was an answer              (and most control targets)
//!   ┌────────┐ ──────────────────────────▶ ┌─────────┐ ───────────────────────────────▶ ┌───────┐
//!   │ Seeing │                             │ Looking │                                  │ Blind │
//!   └────────┘ ◀────────────────────────── └─────────┘                                  └───────┘
//!        ▲        others answer: it is reported                                             │
//!        └──────────────────────────────────────────────────────────────────────────────────┘
//!            answers come from enough of the silent regions, or from most control targets
//! ```
//!
//! *Looking* takes no time where the other regions answered since that check's first failure. Otherwise a few hosts of
//! each region are probed at once, so that it lasts a round trip, and no longer than [`MAX_LOOK`].

mod contact;
mod tally;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Health, Moment};

pub use contact::{Contact, Found};
use tally::{Finding, Tally};

/// Hosts of each region that are probed at once while the vantage is looking. Judgment: chance loss of packets does not
/// silence five at once.
pub const WITNESSES: usize = 5;
/// After this those that were probed and have not answered count as silent (judgment: four default time-outs).
pub const MAX_LOOK: Duration = Duration::from_secs(2);

/// What is known of one check.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Its region, from 0.
    pub region: usize,
    /// Its host, from 0: checks of one host fail together.
    pub host: usize,
    /// What the last report said of it.
    pub believed: Health,
    /// What its detector says.
    pub judged: Health,
    /// When its last probe ended.
    pub probed: Option<Moment>,
    /// What its probes found of the path.
    pub contact: Contact,
}

/// What is known of one control target.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// When the last attempt to reach it ended.
    pub probed: Option<Moment>,
    /// When it last answered; a refusal is an answer.
    pub answered: Option<Moment>,
}

/// What the report may say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// The regions whose verdicts stay as they were, in order. Empty unless the vantage is blind.
    pub silent: Vec<usize>,
    /// The regions that were silent until now and are so no longer, in order: their checks begin afresh.
    pub reopened: Vec<usize>,
    /// Silence that began by then is looked into; verdicts that rest on later silence wait.
    pub settled: Option<Moment>,
    /// Checks that should be probed at once, by their place.
    pub ask: Vec<usize>,
    /// Whether the control targets should be.
    pub ask_controls: bool,
}

/// Tells the world's trouble from this vantage's own.
#[derive(Debug, Default)]
pub struct Blindness {
    /// The silent regions and since when; not empty while the vantage is blind.
    silent: BTreeMap<usize, Moment>,
    /// Since when it is blind.
    since: Option<Moment>,
    why: String,
    looking: Option<Looking>,
}

#[derive(Debug, Clone, Copy)]
struct Looking {
    /// Silence that began by then is looked into.
    since: Moment,
    until: Moment,
}

impl Blindness {
    /// Why it is blind, in words; `None` while it sees.
    pub fn why(&self) -> Option<&str> {
        self.since.map(|_| self.why.as_str())
    }

    /// Whether some verdict waits to be looked into.
    pub fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// When to look again though nothing came; `None` when only a new measurement can change what was found.
    pub fn deadline(&self) -> Option<Moment> {
        self.looking.map(|looking| looking.until)
    }

    /// What may be reported at `now`.
    pub fn look(&mut self, looks: &[Look], controls: &[Control], now: Moment) -> Sight {
        let mut sight = Sight { reopened: self.reopen(looks, controls), ..Sight::default() };
        // Every round settles later silence than the one before, or is the last.
        while let Some(looking) = self.looking_into(looks, &sight, now) {
            let tally = Tally::of(looks, controls, looking.since, &self.silent);
            match tally.finding(now >= looking.until) {
                Finding::Sees => {}
                Finding::Blind { silent, why } => {
                    for region in silent {
                        self.silent.entry(region).or_insert(now);
                    }
                    self.since = self.since.or(Some(now));
                    self.why = why;
                }
                Finding::Unsure { ask, ask_controls } => {
                    self.looking = Some(looking);
                    (sight.ask, sight.ask_controls) = (ask, ask_controls);
                    sight.silent = self.silent.keys().copied().collect();
                    return sight;
                }
            }
            sight.settled = Some(looking.since);
        }
        self.looking = None;
        sight.silent = self.silent.keys().copied().collect();
        sight
    }

    /// Ends the silence of the regions that have answered meanwhile; of all, when too few are left for blindness.
    fn reopen(&mut self, looks: &[Look], controls: &[Control]) -> Vec<usize> {
        let Some(since) = self.since else { return Vec::new() };
        let last_answers = last_answers(looks);
        let mut reopened: Vec<usize> = Vec::new();
        self.silent.retain(|region, since| {
            // A region that is no longer in the plan has nothing to wait for.
            let is_silent =
                last_answers.get(region).is_some_and(|answered| answered.is_none_or(|answered| answered < *since));
            if !is_silent {
                reopened.push(*region);
            }
            is_silent
        });
        let tally = Tally::of(looks, controls, since, &self.silent);
        if !tally.is_most(self.silent.len()) || tally.is_answered_by_controls() {
            reopened.extend(std::mem::take(&mut self.silent).into_keys());
            self.since = None;
        }
        reopened.sort_unstable();
        reopened
    }

    /// What is looked into: as before while one of those verdicts still waits, else all that wait.
    fn looking_into(&self, looks: &[Look], sight: &Sight, now: Moment) -> Option<Looking> {
        let is_open = |look: &&Look| {
            look.waits() && !self.silent.contains_key(&look.region) && !sight.reopened.contains(&look.region)
        };
        let later = |since: &Moment| sight.settled.is_none_or(|settled| *since > settled);
        let waiting = || looks.iter().filter(is_open).filter_map(|look| look.contact.unanswered_since()).filter(later);
        if let Some(looking) = self.looking
            && waiting().any(|since| since <= looking.since)
        {
            return Some(looking);
        }
        let since = waiting().max()?;
        Some(Looking { since, until: now + MAX_LOOK })
    }
}

/// The regions of the plan, and when something last came from each.
fn last_answers(looks: &[Look]) -> BTreeMap<usize, Option<Moment>> {
    let mut last = BTreeMap::new();
    for look in looks {
        let answered: &mut Option<Moment> = last.entry(look.region).or_default();
        *answered = (*answered).max(look.contact.answered());
    }
    last
}

impl Look {
    /// Whether it was Up in the last report and is judged Down.
    pub fn is_lost(&self) -> bool {
        self.believed == Health::Up && self.judged == Health::Down
    }

    /// Whether that verdict rests on failures of which none was an answer, so that it has to wait.
    fn waits(&self) -> bool {
        self.is_lost() && !self.contact.is_proven()
    }
}

impl Sight {
    /// Whether what its detector says of this check may be reported.
    pub fn lets_pass(&self, look: &Look) -> bool {
        if self.reopened.binary_search(&look.region).is_ok() {
            // What failed while its region was silent is no evidence: it begins afresh.
            return !look.is_lost();
        }
        if !look.waits() {
            return true;
        }
        let is_settled =
            self.settled.is_some_and(|settled| look.contact.unanswered_since().is_none_or(|since| since <= settled));
        is_settled && self.silent.binary_search(&look.region).is_err()
    }
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
