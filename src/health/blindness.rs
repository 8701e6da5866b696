//! Decides whether failures come from the endpoints or from this vantage's own path to them. Pure: it gets what the
//! last probes of each check show, and decides which verdicts of Down may be reported. The prober calls it before each
//! report.
//!
//! # The rule
//!
//! 1. **An answer proves the path.** These are answers: any response (of any status, with a wrong body, a DNS error
//!    code, a gRPC error); a refusal (RST); a TLS alert or a certificate; an ICMP error that the endpoint itself sends;
//!    and a connection that is granted when an answer was overdue already, or after the previous probe failed (the
//!    process hangs, its kernel does not). On loopback, where no path can break, any granted connection is an answer. A
//!    reset from a middlebox can't be distinguished from one of the endpoint, and counts as an answer. See
//!    [`PathState`].
//! 2. **Only silence can delay a verdict**: a time-out, or "unreachable" as this host or a router reports it. A check
//!    whose failures contain an answer is reported Down at once, whatever the others do. The exit code of a program
//!    (`exec`) counts neither as silence nor as an answer.
//! 3. **A region is silent if nothing at all came from it** since the failures began: from none of its hosts that were
//!    Up, and from none that were Down but answered. One answer among a thousand hosts is enough: then the vantage is
//!    not cut off from the region, and what fails in it is Down. Hosts are counted, not checks.
//! 4. **The vantage is blind if more than half of the regions are silent**, and, with control targets, more than half
//!    of those as well. Then the verdicts of the silent regions stay as they were. Those of the other regions are
//!    reported. Without control targets at least two regions and four hosts are needed.
//! 5. **Blindness ends when something contradicts it.** The first answer from a silent region ends the silence of that
//!    region: its checks begin anew from what was reported. Blindness ends when no more than half of the regions are
//!    silent, or when most control targets answer.
//!
//! ```text
//!           a check that was Up is judged Down                  most regions are silent
//!           and none of its failures was an answer              (and most control targets)
//!   ┌────────┐ ──────────────────────────▶ ┌───────────┐ ─────────────────────────────▶ ┌───────┐
//!   │ Seeing │                             │ Examining │                                │ Blind │
//!   └────────┘ ◀────────────────────────── └───────────┘                                └───────┘
//!        ▲        others answer: it is reported                                             │
//!        └──────────────────────────────────────────────────────────────────────────────────┘
//!            answers come from enough of the silent regions, or from most control targets
//! ```
//!
//! *Examining* takes no time if the other regions answered after the first failure of that check. Otherwise a few hosts
//! of each region are probed at once, so that it takes a round trip, and at most [`MAX_EXAMINATION`].

mod path;
mod tally;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Moment;

pub use path::{PathEvidence, PathState};
pub use tally::WITNESSES;
use tally::{Conclusion, RegionTally};
pub use view::{ExaminedCheck, ExaminedControl};

/// The longest examination. After it, hosts that were probed and have not answered count as silent. Judgment: four
/// default time-outs.
pub const MAX_EXAMINATION: Duration = Duration::from_secs(2);

/// Which verdicts may be reported, and which checks to probe to find out more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportLimits {
    /// The regions whose verdicts stay as they were, in order. Empty unless the vantage is blind.
    pub silent: Vec<usize>,
    /// The regions whose silence has just ended, in order. Their checks begin anew.
    pub reopened: Vec<usize>,
    /// Silence that began by then was examined. Verdicts that rest on later silence wait.
    pub examined_until: Option<Moment>,
    /// The checks that should be probed at once, by their positions.
    pub probe_now: Vec<usize>,
    /// Whether the control targets should be probed at once.
    pub probe_controls: bool,
}

impl ReportLimits {
    /// Whether the verdict of this check's detector may be reported.
    pub fn allow(&self, check: &ExaminedCheck) -> bool {
        if self.reopened.binary_search(&check.region).is_ok() {
            // Failures during the silence of its region are not evidence: the check begins anew.
            return !check.is_newly_down();
        }
        if !check.must_wait() {
            return true;
        }
        let is_examined =
            self.examined_until.is_some_and(|until| check.path.unanswered_since().is_none_or(|since| since <= until));
        is_examined && self.silent.binary_search(&check.region).is_err()
    }
}

/// Distinguishes failures of the endpoints from failures of this vantage's own path.
#[derive(Debug, Default)]
pub struct Blindness {
    /// The silent regions, and since when. Not empty while the vantage is blind.
    silent: BTreeMap<usize, Moment>,
    /// Since when the vantage is blind.
    since: Option<Moment>,
    why: String,
    examination: Option<Examination>,
}

#[derive(Debug, Clone, Copy)]
struct Examination {
    /// Silence that began by then is examined.
    since: Moment,
    until: Moment,
}

impl Blindness {
    /// The reason why the vantage is blind. `None` while it sees.
    pub fn why(&self) -> Option<&str> {
        self.since.map(|_| self.why.as_str())
    }

    /// Whether a verdict waits for the end of an examination.
    pub fn is_examining(&self) -> bool {
        self.examination.is_some()
    }

    /// When to call [`Blindness::examine`] even without a new measurement.
    pub fn deadline(&self) -> Option<Moment> {
        self.examination.map(|examination| examination.until)
    }

    /// Decides which verdicts may be reported at `now`.
    pub fn examine(&mut self, checks: &[ExaminedCheck], controls: &[ExaminedControl], now: Moment) -> ReportLimits {
        let mut limits = ReportLimits { reopened: self.reopen(checks, controls), ..ReportLimits::default() };
        // Each iteration examines later silence than the one before, or is the last.
        while let Some(examination) = self.next_examination(checks, &limits, now) {
            let tally = RegionTally::count(checks, controls, examination.since, &self.silent);
            match tally.conclude(now >= examination.until) {
                Conclusion::Sees => {}
                Conclusion::Blind { silent, why } => {
                    for region in silent {
                        self.silent.entry(region).or_insert(now);
                    }
                    self.since = self.since.or(Some(now));
                    self.why = why;
                }
                Conclusion::Unsure { probe_now, probe_controls } => {
                    self.examination = Some(examination);
                    let silent = self.silent.keys().copied().collect();
                    return ReportLimits { silent, probe_now, probe_controls, ..limits };
                }
            }
            limits.examined_until = Some(examination.since);
        }
        self.examination = None;
        limits.silent = self.silent.keys().copied().collect();
        limits
    }

    /// Ends the silence of the regions that have answered, or of all if too few are left for blindness.
    fn reopen(&mut self, checks: &[ExaminedCheck], controls: &[ExaminedControl]) -> Vec<usize> {
        let Some(since) = self.since else { return Vec::new() };
        let last_answers = last_answers(checks);
        let mut reopened: Vec<usize> = Vec::new();
        self.silent.retain(|region, since| {
            // A region that is no longer in the plan is not silent either.
            let is_silent =
                last_answers.get(region).is_some_and(|answered| answered.is_none_or(|answered| answered < *since));
            if !is_silent {
                reopened.push(*region);
            }
            is_silent
        });
        let tally = RegionTally::count(checks, controls, since, &self.silent);
        if !tally.is_most(self.silent.len()) || tally.do_most_controls_answer() {
            reopened.extend(std::mem::take(&mut self.silent).into_keys());
            self.since = None;
        }
        reopened.sort_unstable();
        reopened
    }

    /// The current examination, as long as one of its verdicts still waits. Otherwise a new one of all verdicts that
    /// wait.
    fn next_examination(&self, checks: &[ExaminedCheck], limits: &ReportLimits, now: Moment) -> Option<Examination> {
        let is_open = |check: &&ExaminedCheck| {
            check.must_wait() && !self.silent.contains_key(&check.region) && !limits.reopened.contains(&check.region)
        };
        let is_later = |since: &Moment| limits.examined_until.is_none_or(|until| *since > until);
        let waiting =
            || checks.iter().filter(is_open).filter_map(|check| check.path.unanswered_since()).filter(is_later);
        if let Some(examination) = self.examination
            && waiting().any(|since| since <= examination.since)
        {
            return Some(examination);
        }
        let since = waiting().max()?;
        Some(Examination { since, until: now + MAX_EXAMINATION })
    }
}

/// The regions of the plan, and when something last came from each.
fn last_answers(checks: &[ExaminedCheck]) -> BTreeMap<usize, Option<Moment>> {
    let mut last = BTreeMap::new();
    for check in checks {
        let answered: &mut Option<Moment> = last.entry(check.region).or_default();
        *answered = (*answered).max(check.path.last_answer());
    }
    last
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
