//! From the vantages' reports to what is agreed on. Pure.
//!
//! Verdicts are counted twice: first those of the vantages of each region, then those of the regions. So a region
//! with many vantages has one vote, and trouble near one vantage has no effect elsewhere. The monitor sets how many
//! make Down ([`Quorum`]). By default it takes more than half of those that have a verdict, both times. **A tie keeps
//! Up**: to take a healthy endpoint out of the answers is certain harm, to leave one in is harm only if it is down.
//!
//! A stale or blind vantage has no vote as long as another one has a verdict. If none has, the last verdicts of all are
//! counted: a fleet that receives no reports goes on answering as before.

mod votes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::fleet::composite::compose;
use crate::fleet::quorum::votes::{VoteCount, entry};
use crate::fleet::{Received, Vantage};
use crate::health::Observation;
use crate::model::quorum::STALE_AFTER;
use crate::model::{
    CheckKey, CheckView, Evidence, Health, Model, Moment, Quorum, Recovery, RegionId, VantageState, VantageView,
    WorldView,
};

/// What the vantages agree on for the checks of `model`, without overrides. `reports` has the latest report of each
/// vantage, also when it is stale. A vantage whose region is not in the model is left out.
pub fn agree(model: &Model, reports: &[Received], now: Moment) -> WorldView {
    let reports: Vec<VantageReport<'_>> =
        reports.iter().filter_map(|received| VantageReport::of(model, received, now)).collect();
    WorldView {
        at: now,
        checks: checks(model, &reports),
        vantages: reports.iter().map(VantageReport::view).collect(),
        ..WorldView::default()
    }
}

/// What is agreed on each check. The parts of a composite come before it in the model.
fn checks(model: &Model, reports: &[VantageReport<'_>]) -> Vec<CheckView> {
    let mut views: Vec<CheckView> = Vec::with_capacity(model.checks.len());
    for check in &model.checks {
        let view = match check.key.monitor.kind.composite() {
            None => agree_on(model, &check.key, reports),
            Some(composite) => {
                let parts: Vec<&CheckView> = check.parts.iter().filter_map(|id| views.get(id.0 as usize)).collect();
                compose(composite, &parts)
            }
        };
        views.push(view);
    }
    views
}

/// One vantage's report, indexed by check.
struct VantageReport<'a> {
    vantage: &'a Vantage,
    region: RegionId,
    blind: Option<&'a Arc<str>>,
    received_at: Moment,
    /// How long ago that was.
    age: Duration,
    /// Keys come from our own files, so a fast hash without a secret is enough.
    observations: HashMap<&'a CheckKey, &'a Observation, FixedState>,
}

impl<'a> VantageReport<'a> {
    fn of(model: &Model, received: &'a Received, now: Moment) -> Option<VantageReport<'a>> {
        let report = &*received.report;
        Some(VantageReport {
            vantage: &report.vantage,
            region: model.region_named(&report.vantage.region)?,
            blind: report.blind.as_ref(),
            received_at: received.received_at,
            age: now.since(received.received_at),
            observations: report.observations.iter().map(|observation| (&*observation.key, observation)).collect(),
        })
    }

    fn view(&self) -> VantageView {
        let VantageReport { vantage, region, blind, received_at, .. } = self;
        let state = match (blind, self.age <= STALE_AFTER) {
            (_, false) => VantageState::Stale,
            (Some(_), true) => VantageState::Blind,
            (None, true) => VantageState::Up,
        };
        let (name, why) = (Arc::clone(&vantage.name), blind.cloned());
        VantageView { name, region: *region, state, why, reported_at: *received_at }
    }

    /// Whether its verdicts are counted.
    fn has_vote(&self, quorum: &Quorum) -> bool {
        self.blind.is_none() && self.age <= quorum.stale_after
    }
}

/// One vantage's observation of the check in question.
struct Ballot<'a> {
    report: &'a VantageReport<'a>,
    observation: &'a Observation,
}

fn agree_on(model: &Model, key: &CheckKey, reports: &[VantageReport<'_>]) -> CheckView {
    let quorum = &key.monitor.quorum;
    let ballots: Vec<Ballot<'_>> = reports
        .iter()
        .filter_map(|report| report.observations.get(key).map(|observation| Ballot { report, observation }))
        .collect();
    // Those with a vote if one of them has a verdict; otherwise all, so that the last verdict stays.
    let has_verdict = ballots.iter().any(|b| b.report.has_vote(quorum) && b.observation.health != Health::Unknown);
    let counts = |ballot: &Ballot<'_>| ballot.report.has_vote(quorum) || !has_verdict;
    let counted: Vec<&Ballot<'_>> = ballots.iter().filter(|ballot| counts(ballot)).collect();
    let verdicts = counted.iter().map(|ballot| (ballot.report.region, ballot.observation.health));
    let count = VoteCount::of(quorum, verdicts);
    CheckView {
        health: count.health(),
        tried: counted.iter().any(|ballot| ballot.observation.tried),
        recovery: Recovery::None,
        // The least of all vantages. The verdict may change later than that, if the quorum needs several, but never
        // sooner. Without an observation it may change at any moment.
        may_change_in: Some(counted.iter().map(|ballot| ballot.observation.may_change_in).min().unwrap_or_default()),
        rtts: rtts(&counted),
        evidence: ballots
            .iter()
            .map(|ballot| {
                let reason = match counts(ballot) {
                    true => count.outvoted(model, ballot.report.region, ballot.observation.health),
                    false => Some(ballot.report.not_counted()),
                };
                ballot.evidence(reason)
            })
            .collect(),
    }
}

/// The mean of each region's vantages that measured one.
fn rtts(counted: &[&Ballot<'_>]) -> Vec<(RegionId, Duration)> {
    let mut sums: Vec<(RegionId, (Duration, u32))> = Vec::new();
    for ballot in counted {
        if let Some(srtt) = ballot.observation.srtt {
            let (sum, count) = entry(&mut sums, ballot.report.region);
            *sum += srtt;
            *count += 1;
        }
    }
    sums.into_iter().map(|(region, (sum, count))| (region, sum / count)).collect()
}

impl VantageReport<'_> {
    /// Why it isn't counted, for one that isn't.
    fn not_counted(&self) -> String {
        match self.blind {
            Some(_) => "not counted: this vantage is blind".to_owned(),
            None => format!("not counted: reported {} s ago", self.age.as_secs()),
        }
    }
}

impl Ballot<'_> {
    /// `reason` is why the verdict is another one, or isn't counted.
    fn evidence(&self, reason: Option<String>) -> Evidence {
        let why = match (&self.observation.why, reason) {
            (Some(why), Some(reason)) => Some(format!("{why} ({reason})").into()),
            (None, Some(reason)) => Some(reason.into()),
            (why, None) => why.clone(),
        };
        Evidence {
            vantage: Arc::clone(&self.report.vantage.name),
            region: self.report.region,
            health: self.observation.health,
            rtt: self.observation.srtt,
            probed_at: self.observation.probed_at,
            why,
            hold: self.observation.hold,
            doubt: self.observation.doubt,
        }
    }
}

#[cfg(test)]
mod tests;
