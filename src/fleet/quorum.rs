//! From the vantages' reports to what is agreed on. Pure.
//!
//! Verdicts are counted twice: first the vantages of each region, then the regions, so that a region with many vantages
//! has one voice, and trouble near one vantage stays its own. How many make Down is the monitor's to say
//! ([`Quorum`]); unless it does, both times more than half of those that have a verdict: **a tie keeps Up**, because
//! taking a living endpoint out of the answers is certain harm, and leaving a dead one in is harm only if it is dead.
//!
//! A stale vantage has no voice as long as anyone fresh has a verdict, and a blind one as long as anyone has who sees.
//! Where nobody has, the last verdicts stand: a fleet that can't hear its vantages goes on answering as it did.

mod tally;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::fleet::composite::compose;
use crate::fleet::quorum::tally::{Tally, entry};
use crate::fleet::{Received, Vantage};
use crate::health::Observation;
use crate::model::quorum::STALE_AFTER;
use crate::model::{
    CheckKey, CheckView, Evidence, Health, Model, Moment, Quorum, Recovery, RegionId, VantageState, VantageView,
    WorldView,
};

/// What the vantages agree on for the checks of `model`. `reports` holds the latest report of each vantage, stale ones
/// too; overrides are not theirs to know. A vantage whose region the model doesn't know is left out: nothing could be said of where it stands.
pub fn agree(model: &Model, reports: &[Received], now: Moment) -> WorldView {
    let voices: Vec<Voice<'_>> = reports.iter().filter_map(|received| Voice::of(model, received, now)).collect();
    WorldView {
        at: now,
        checks: checks(model, &voices),
        vantages: voices.iter().map(Voice::view).collect(),
        ..WorldView::default()
    }
}

/// What is agreed on each check; a composite's parts stand before it.
fn checks(model: &Model, voices: &[Voice<'_>]) -> Vec<CheckView> {
    let mut views: Vec<CheckView> = Vec::with_capacity(model.checks.len());
    for check in &model.checks {
        let view = match check.key.monitor.kind.composite() {
            None => agree_on(model, &check.key, voices),
            Some(composite) => {
                let parts: Vec<&CheckView> = check.parts.iter().filter_map(|id| views.get(id.0 as usize)).collect();
                compose(composite, &parts)
            }
        };
        views.push(view);
    }
    views
}

/// One vantage's report, ready to be asked.
struct Voice<'a> {
    vantage: &'a Vantage,
    region: RegionId,
    blind: Option<&'a Arc<str>>,
    heard_at: Moment,
    /// How long ago that was.
    age: Duration,
    /// What is hashed comes from our own files, so that a quick hash will do.
    said: HashMap<&'a CheckKey, &'a Observation, FixedState>,
}

impl<'a> Voice<'a> {
    fn of(model: &Model, received: &'a Received, now: Moment) -> Option<Voice<'a>> {
        let report = &*received.report;
        Some(Voice {
            vantage: &report.vantage,
            region: model.region_named(&report.vantage.region)?,
            blind: report.blind.as_ref(),
            heard_at: received.received_at,
            age: now.since(received.received_at),
            said: report.observations.iter().map(|observation| (&*observation.key, observation)).collect(),
        })
    }

    fn view(&self) -> VantageView {
        let Voice { vantage, region, blind, heard_at, .. } = self;
        let state = match (blind, self.age <= STALE_AFTER) {
            (_, false) => VantageState::Stale,
            (Some(_), true) => VantageState::Blind,
            (None, true) => VantageState::Up,
        };
        let (name, why) = (Arc::clone(&vantage.name), blind.cloned());
        VantageView { name, region: *region, state, why, heard_at: *heard_at }
    }

    /// Whether its verdicts count before those of others.
    fn has_vote(&self, quorum: &Quorum) -> bool {
        self.blind.is_none() && self.age <= quorum.stale_after
    }
}

/// What one vantage says of the check at hand.
struct Statement<'a> {
    voice: &'a Voice<'a>,
    observation: &'a Observation,
}

fn agree_on(model: &Model, key: &CheckKey, voices: &[Voice<'_>]) -> CheckView {
    let quorum = &key.monitor.quorum;
    let statements: Vec<Statement<'_>> = voices
        .iter()
        .filter_map(|voice| voice.said.get(key).map(|observation| Statement { voice, observation }))
        .collect();
    // Those with a vote if one of them has a verdict; else all, so that the last verdict stands.
    let has_verdict = statements.iter().any(|s| s.voice.has_vote(quorum) && s.observation.health != Health::Unknown);
    let counts = |statement: &Statement<'_>| statement.voice.has_vote(quorum) || !has_verdict;
    let counted: Vec<&Statement<'_>> = statements.iter().filter(|statement| counts(statement)).collect();
    let said = counted.iter().map(|statement| (statement.voice.region, statement.observation.health));
    let tally = Tally::of(quorum, said);
    CheckView {
        health: tally.health(),
        tried: counted.iter().any(|statement| statement.observation.tried),
        recovery: Recovery::None,
        // Nothing was heard of it: it may be any moment. With `all` it might be later than the least, but never sooner.
        may_change_in: Some(counted.iter().map(|s| s.observation.may_change_in).min().unwrap_or_default()),
        rtts: rtts(&counted),
        evidence: statements
            .iter()
            .map(|statement| {
                let against = match counts(statement) {
                    true => tally.against(model, statement.voice.region, statement.observation.health),
                    false => statement.voice.silenced(),
                };
                statement.evidence(against)
            })
            .collect(),
    }
}

/// The mean of each region's vantages that measured one.
fn rtts(counted: &[&Statement<'_>]) -> Vec<(RegionId, Duration)> {
    let mut sums: Vec<(RegionId, (Duration, u32))> = Vec::new();
    for statement in counted {
        if let Some(srtt) = statement.observation.srtt {
            let (sum, count) = entry(&mut sums, statement.voice.region);
            *sum += srtt;
            *count += 1;
        }
    }
    sums.into_iter().map(|(region, (sum, count))| (region, sum / count)).collect()
}

impl Voice<'_> {
    /// Why its word doesn't count, where it doesn't.
    fn silenced(&self) -> Option<String> {
        let age = self.age.as_secs();
        Some(match self.blind {
            Some(_) => "not counted: this vantage is blind".to_owned(),
            None => format!("not counted: said {age} s ago"),
        })
    }
}

impl Statement<'_> {
    /// `against` tells why others were believed.
    fn evidence(&self, against: Option<String>) -> Evidence {
        let why = match (&self.observation.why, against) {
            (Some(why), Some(against)) => Some(format!("{why} ({against})").into()),
            (None, Some(against)) => Some(against.into()),
            (why, None) => why.clone(),
        };
        Evidence {
            vantage: Arc::clone(&self.voice.vantage.name),
            region: self.voice.region,
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
