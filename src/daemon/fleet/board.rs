//! What the tasks of the fleet know, for the API, metrics and each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::control::fleet::{DifferingReport, LeftOutReport, TargetsReport, VantageTraffic};
use crate::fleet::Collector;
use crate::fleet::targets::{Differing, LeftOut, TargetBook, TargetPlan, TargetPublisher};
use crate::model::Moment;
use crate::model::quorum::STALE_AFTER;
use crate::printable::escaped;

/// Whether the targets can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum TargetState {
    /// They were not read yet.
    #[default]
    Waiting,
    /// They are read.
    Current,
    /// They can't be read now: why.
    Away(Arc<str>),
}

/// Shared by the tasks of the fleet.
#[derive(Debug, Default)]
pub(super) struct Board {
    targets: Mutex<Targets>,
    /// The remote vantages; of a server only.
    pub(super) collector: Option<Mutex<Collector>>,
    /// Whether the plan has the targets of the bucket.
    pub(super) has_plan: AtomicBool,
    /// Reports that were published.
    pub(super) sent: AtomicU64,
    /// Heartbeats of other servers that could not be used.
    pub(super) refused_beats: AtomicU64,
    /// Reports of other vantages that were dropped because the agreement did not take them in time.
    pub(super) overtaken: AtomicU64,
}

/// The least time between two lines of the log about values that can't be used (judgment: somebody may write wrong ones
/// all the time).
const REFUSED_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Targets {
    state: TargetState,
    write_problem: Option<String>,
    /// Zones of which vantages do not probe all checks: by what this server wrote, and by the plan.
    unwritten: BTreeMap<String, LeftOutReport>,
    unplanned: BTreeMap<String, LeftOutReport>,
    zones: usize,
    plan: PlanNumbers,
    /// Values that can't be used: now, why not the first, and all since the start.
    refused: usize,
    refused_why: Option<String>,
    refused_log: RefusedLog,
    differing: Vec<DifferingReport>,
}

/// How many values that can't be used were logged, and when the last line was.
#[derive(Debug, Default)]
struct RefusedLog {
    values: u64,
    at: Option<Moment>,
}

impl RefusedLog {
    /// How many values the next line is about; `values` is their number since the start. `None`: no line is due, as
    /// there is no new value, or the last line was within [`REFUSED_EVERY`].
    fn due(&mut self, values: u64, now: Moment) -> Option<u64> {
        let is_early = self.at.is_some_and(|at| now.since(at) < REFUSED_EVERY);
        let count = values - self.values;
        if count == 0 || is_early {
            return None;
        }
        *self = RefusedLog { values, at: Some(now) };
        Some(count)
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct PlanNumbers {
    checks: usize,
    not_allowed: usize,
    refused: usize,
    why: Option<&'static str>,
}

impl Board {
    /// Of a server, which collects reports, or of a vantage.
    pub(super) fn new(collector: Option<Collector>) -> Board {
        Board { collector: collector.map(Mutex::new), ..Board::default() }
    }

    fn targets(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The collector of a server.
    pub(super) fn collector(&self) -> Option<MutexGuard<'_, Collector>> {
        self.collector.as_ref().map(|collector| collector.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_targets(&self, state: TargetState) {
        self.targets().state = state;
    }

    /// Takes over what a server could not write.
    pub(super) fn note_publisher(&self, publisher: &TargetPublisher) {
        let mut refusals = publisher.refusals();
        let first = refusals.next().map(|(zone, why)| format!("{zone}: {why}"));
        let others = refusals.count();
        let problem = first.map(|first| if others > 0 { format!("{first} (and {others} more)") } else { first });
        let left_out = publisher.left_out().map(|(zone, of, refusal)| report(zone, of, refusal));
        let left_out = left_out.take(MAX_LEFT_OUT).collect();
        let mut targets = self.targets();
        warn_of_new(&left_out, &targets.unwritten);
        targets.unwritten = left_out;
        if targets.write_problem != problem {
            if let Some(problem) = &problem {
                tracing::warn!(problem, "the targets of the fleet can't be written");
            }
            targets.write_problem = problem;
        }
    }

    /// Takes over what the bucket has.
    pub(super) fn note_book(&self, book: &mut TargetBook) {
        let differing = book.take_differences().map(reported);
        let refused = book.refused();
        let mut targets = self.targets();
        if let Some(differing) = differing {
            targets.differing = differing;
        }
        targets.refused = refused.now.len();
        targets.refused_why = refused.now.first_key_value().map(|(key, why)| format!("{}: {why}", escaped(key)));
        targets.zones = book.zones();
        if let Some(count) = targets.refused_log.due(refused.values, clock::now()) {
            let last = refused.last.as_ref().map(|(key, why)| format!("{}: {why}", escaped(key)));
            let last = last.unwrap_or_default();
            tracing::warn!(count, last, "targets of the fleet can't be used");
        }
    }

    pub(super) fn note_plan(&self, plan: &TargetPlan) {
        let TargetPlan { targets, not_allowed, refused, why, left_out } = plan;
        let left_out = left_out.iter().map(|(zone, of)| report(zone, *of, None)).take(MAX_LEFT_OUT).collect();
        let numbers = PlanNumbers { checks: targets.len(), not_allowed: *not_allowed, refused: *refused, why: *why };
        let mut targets = self.targets();
        warn_of_new(&left_out, &targets.unplanned);
        (targets.plan, targets.unplanned) = (numbers, left_out);
    }

    /// Whether a node reports at present, or has stopped in order a moment ago: it may only restart. A vantage does not
    /// know.
    pub(super) fn is_live(&self, node: &str) -> bool {
        let received_at = self.collector().and_then(|collector| collector.received_at(node));
        received_at.is_some_and(|at| clock::now().since(at) <= STALE_AFTER)
    }

    /// The targets, for the API. Nodes that differ and do not report any more are left out.
    pub(super) fn targets_report(&self, own: &str) -> TargetsReport {
        let live = |node: &str| node == own || self.is_live(node);
        let targets = self.targets();
        let Targets { state, write_problem, zones, plan, differing, .. } = &*targets;
        // The plan of a server has what it wrote.
        let left_out = targets.unplanned.iter().chain(&targets.unwritten).collect::<BTreeMap<_, _>>();
        let PlanNumbers { checks, not_allowed, refused, why } = *plan;
        let away = match state {
            TargetState::Away(why) => Some(why.to_string()),
            TargetState::Waiting | TargetState::Current => None,
        };
        TargetsReport {
            state: match state {
                TargetState::Waiting => TargetsReport::WAITING,
                TargetState::Current => TargetsReport::CURRENT,
                TargetState::Away(_) => TargetsReport::AWAY,
            }
            .to_owned(),
            problem: away.or_else(|| write_problem.clone()).map(|why| escaped(&why).into_owned()),
            zones: *zones,
            checks,
            not_allowed,
            left_out: left_out.values().map(|report| report.checks).sum(),
            left_out_zones: left_out.into_values().cloned().collect(),
            refused: refused + targets.refused,
            refused_why: why.map(str::to_owned).or_else(|| targets.refused_why.clone()),
            differing: differing.iter().filter(|differing| live(&differing.node)).cloned().collect(),
        }
    }

    /// The messages of each remote vantage, sorted by name; and of those that no vantage is known for.
    pub(super) fn traffic(&self) -> (Vec<VantageTraffic>, Vec<(String, u64)>) {
        let Some(collector) = self.collector() else { return Default::default() };
        let reasons = |refused: &crate::fleet::RefusedMessages| {
            let all = refused.by_reason().filter(|(_, count)| *count > 0);
            all.map(|(why, count)| (why.as_str().to_owned(), count)).collect::<Vec<_>>()
        };
        let mut all: Vec<VantageTraffic> = collector
            .vantages()
            .map(|(name, vantage)| {
                let (messages, octets) = vantage.traffic();
                VantageTraffic {
                    name: name.to_string(),
                    region: vantage.region().to_owned(),
                    checks: vantage.observed(),
                    messages,
                    octets,
                    gaps: vantage.gaps(),
                    refused: reasons(vantage.refused()).into_iter().collect(),
                }
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        (all, reasons(collector.strangers()))
    }

    /// Counts a report that was published.
    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// A zone of which vantages do not probe all checks; `refusal` is the reason of the bucket.
fn report(zone: &str, LeftOut { checks, why }: LeftOut, refusal: Option<&str>) -> (String, LeftOutReport) {
    let why = refusal.map_or_else(|| why.to_owned(), |refusal| format!("{why}: {}", escaped(refusal)));
    let zone = escaped(zone).into_owned();
    (zone.clone(), LeftOutReport { zone, checks, why })
}

/// Warns of the zones that were not reported like this before.
fn warn_of_new(now: &BTreeMap<String, LeftOutReport>, before: &BTreeMap<String, LeftOutReport>) {
    for report @ LeftOutReport { zone, checks, why } in now.values() {
        if before.get(zone) != Some(report) {
            tracing::warn!(zone, checks, why, "vantages do not probe all checks of a zone");
        }
    }
}

/// Most zones that are shown with checks that vantages do not probe: enough to see what is wrong (judgment).
const MAX_LEFT_OUT: usize = 64;

/// The differences for the API, sorted.
fn reported(all: &BTreeMap<String, Vec<Differing>>) -> Vec<DifferingReport> {
    let each = all.iter().flat_map(|(node, zones)| zones.iter().map(move |zone| (node, zone)));
    let report = |(node, zone): (&String, &Differing)| DifferingReport {
        node: escaped(node).into_owned(),
        zone: escaped(&zone.zone).into_owned(),
        serial: zone.serial,
        fleet_serial: zone.fleet,
        missing: zone.is_missing,
    };
    each.take(MAX_DIFFERING).map(report).collect()
}

/// Most differences that are shown (judgment).
const MAX_DIFFERING: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_used_are_logged_at_once_and_then_summed_up() {
        let (mut log, at) = (RefusedLog::default(), |secs| Moment::from_start(Duration::from_secs(secs)));
        assert_eq!(log.due(0, at(0)), None);
        assert_eq!(log.due(1, at(1)), Some(1));
        assert_eq!((2..61).filter_map(|secs| log.due(secs * 20, at(secs))).count(), 0);
        assert_eq!(log.due(1200, at(61)), Some(1199));
        assert_eq!(log.due(1200, at(200)), None, "there are no more");
    }
}
