//! From the vantages' reports to what is agreed on. Pure.
//!
//! Verdicts are counted twice: first the vantages of each region, then the regions, so that a region with many vantages
//! has one voice, and trouble near one vantage stays its own. Both times Down needs more than half of those that have a
//! verdict (`per_region = "majority"`, `regions_down = "majority"`): **a tie keeps Up**, because taking a living
//! endpoint out of the answers is certain harm, and leaving a dead one in is harm only if it is dead.
//!
//! A stale vantage has no voice as long as anyone fresh has a verdict, and a blind one as long as anyone has who sees.
//! Where nobody has, the last verdicts stand: a fleet that can't hear its vantages goes on answering as it did.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::composite::compose;
use crate::fleet::{Received, Vantage};
use crate::health::Observation;
use crate::model::{
    CheckKey, CheckView, Evidence, Health, Model, Moment, RegionId, VantageState, VantageView, WorldView,
};

/// A report that is older than this is stale (CONTRACT 3, the default of `stale_after`).
pub const STALE_AFTER: Duration = Duration::from_secs(10);

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
            None => agree_on(&check.key, voices),
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
    state: VantageState,
    why: Option<&'a Arc<str>>,
    said: HashMap<&'a CheckKey, &'a Observation>,
}

impl<'a> Voice<'a> {
    fn of(model: &Model, received: &'a Received, now: Moment) -> Option<Voice<'a>> {
        let report = &*received.report;
        let state = match (&report.blind, now.since(received.received_at) <= STALE_AFTER) {
            (_, false) => VantageState::Stale,
            (Some(_), true) => VantageState::Blind,
            (None, true) => VantageState::Up,
        };
        Some(Voice {
            vantage: &report.vantage,
            region: model.region_named(&report.vantage.region)?,
            state,
            why: report.blind.as_ref(),
            said: report.observations.iter().map(|observation| (&*observation.key, observation)).collect(),
        })
    }

    fn view(&self) -> VantageView {
        let Voice { vantage, region, state, why, .. } = self;
        VantageView { name: Arc::clone(&vantage.name), region: *region, state: *state, why: why.cloned() }
    }

    /// Whether its verdicts count before those of others.
    fn has_vote(&self) -> bool {
        self.state == VantageState::Up
    }
}

/// What one vantage says of the check at hand.
struct Statement<'a> {
    voice: &'a Voice<'a>,
    observation: &'a Observation,
}

fn agree_on(key: &CheckKey, voices: &[Voice<'_>]) -> CheckView {
    let statements: Vec<Statement<'_>> = voices
        .iter()
        .filter_map(|voice| voice.said.get(key).map(|observation| Statement { voice, observation }))
        .collect();
    let counted = those_that_count(&statements);
    CheckView {
        health: verdict(&counted),
        tried: counted.iter().any(|statement| statement.observation.tried),
        // Nothing was heard of it: it may be any moment.
        may_change_in: Some(counted.iter().map(|s| s.observation.may_change_in).min().unwrap_or_default()),
        rtts: rtts(&counted),
        evidence: statements.iter().map(Statement::evidence).collect(),
    }
}

/// The statements of those with a vote if one of them is a verdict; else all, so that the last verdict stands.
fn those_that_count<'a>(statements: &'a [Statement<'a>]) -> Vec<&'a Statement<'a>> {
    let has_verdict = statements.iter().any(|s| s.voice.has_vote() && s.observation.health != Health::Unknown);
    statements.iter().filter(|statement| statement.voice.has_vote() || !has_verdict).collect()
}

fn verdict(counted: &[&Statement<'_>]) -> Health {
    let mut regions: Vec<(RegionId, Votes)> = Vec::new();
    for statement in counted {
        entry(&mut regions, statement.voice.region).add(statement.observation.health);
    }
    let mut votes = Votes::default();
    for (_, of_region) in &regions {
        votes.add(of_region.verdict());
    }
    votes.verdict()
}

#[derive(Default)]
struct Votes {
    up: usize,
    down: usize,
}

impl Votes {
    fn add(&mut self, health: Health) {
        match health {
            Health::Up => self.up += 1,
            Health::Down => self.down += 1,
            Health::Unknown => {}
        }
    }

    fn verdict(&self) -> Health {
        match (self.up, self.down) {
            (0, 0) => Health::Unknown,
            (up, down) if down > up => Health::Down,
            (_, _) => Health::Up,
        }
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

/// A handful of regions: a list is searched faster than a map is hashed.
fn entry<T: Default>(list: &mut Vec<(RegionId, T)>, region: RegionId) -> &mut T {
    let at = list.iter().position(|(known, _)| *known == region).unwrap_or_else(|| {
        list.push((region, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

impl Statement<'_> {
    fn evidence(&self) -> Evidence {
        Evidence {
            vantage: Arc::clone(&self.voice.vantage.name),
            region: self.voice.region,
            health: self.observation.health,
            rtt: self.observation.srtt,
            probed_at: self.observation.probed_at,
            why: self.observation.why.clone(),
            hold: self.observation.hold,
        }
    }
}

#[cfg(test)]
mod tests;
