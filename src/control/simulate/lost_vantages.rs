//! The loss of vantages in a simulation: their reports go, and the remaining vantages agree again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::control::simulate::request::SimulationError;
use crate::fleet::{Agreement, Report, Vantage};
use crate::health::Observation;
use crate::model::{Check, CheckId, CheckView, Evidence, Health, Model, RegionId, WorldView};

/// How many checks are reported together. Judgment: the observations of 50 vantages take 5 MB.
const TOGETHER: usize = 500;

/// The lost vantages: by name, and all of a region.
#[derive(Debug, Clone, Default)]
pub(super) struct LostVantages {
    names: BTreeSet<Arc<str>>,
    regions: BTreeSet<RegionId>,
}

impl LostVantages {
    /// Adds the vantage with this name.
    pub(super) fn lose(&mut self, view: &WorldView, name: &str) -> Result<(), SimulationError> {
        if view.vantages.is_empty() {
            let why = format!("there is no vantage `{name}`: nothing is measured here");
            return Err(SimulationError::Refused(why));
        }
        let names = || view.vantages.iter().map(|vantage| &vantage.name);
        let known = names().find(|known| &***known == name);
        let known = known.ok_or_else(|| SimulationError::unknown("vantage", name, names().map(|known| &**known)))?;
        self.names.insert(known.clone());
        Ok(())
    }

    /// Adds all vantages of a region.
    pub(super) fn lose_region(&mut self, region: RegionId) {
        self.regions.insert(region);
    }

    fn contains(&self, name: &str, region: RegionId) -> bool {
        self.regions.contains(&region) || self.names.contains(name)
    }

    /// Removes the reports of the lost vantages from `world`, which is a copy of `view`. The remaining vantages agree
    /// on each check that a lost vantage reported. A check that nobody else reports keeps its verdict.
    pub(super) fn apply(&self, model: &Model, view: &WorldView, world: &mut WorldView) {
        if self.regions.is_empty() && self.names.is_empty() {
            return;
        }
        world.vantages.retain(|vantage| !self.contains(&vantage.name, vantage.region));
        let mut agreement = Agreement::new(model);
        // Of each check: the regions that lose evidence, and whether a verdict is left.
        let mut changed: Vec<(Vec<RegionId>, bool)> = Vec::new();
        let mut observations: HashMap<Arc<str>, Vec<Observation>> = HashMap::new();
        for (at, check) in model.checks.iter().enumerate() {
            let evidence = view.evidence.of(model, CheckId(at as u32), view.at);
            let (lost, left): (Vec<_>, Vec<_>) =
                evidence.into_iter().partition(|one| self.contains(&one.vantage, one.region));
            let is_judged = left.iter().any(|evidence| evidence.health != Health::Unknown);
            changed.push((lost.iter().map(|evidence| evidence.region).collect(), is_judged));
            // What is agreed on a composite follows from its parts.
            for evidence in left.into_iter().filter(|_| check.parts.is_empty()) {
                let vantage = evidence.vantage.clone();
                observations.entry(vantage).or_default().push(observation(check, &view.checks[at], evidence));
            }
            if at % TOGETHER == TOGETHER - 1 {
                deliver(&mut agreement, model, world, &mut observations);
            }
        }
        deliver(&mut agreement, model, world, &mut observations);
        let agreed = agreement.view(model, view.at);
        for (at, (regions, is_judged)) in changed.into_iter().enumerate() {
            let (check, agreed) = (&mut world.checks[at], &agreed.checks[at]);
            if !regions.is_empty() && is_judged {
                (check.health, check.tried) = (agreed.health, agreed.tried);
                check.unreachable_from = agreed.unreachable_from.clone();
            }
            check.rtts.retain(|(region, _)| !self.regions.contains(region) && !regions.contains(region));
            check.rtts.extend(agreed.rtts.iter().filter(|(region, _)| regions.contains(region)));
        }
    }
}

/// Delivers these observations to the agreement, as reports of the vantages of `world`.
fn deliver(
    agreement: &mut Agreement,
    model: &Model,
    world: &WorldView,
    observations: &mut HashMap<Arc<str>, Vec<Observation>>,
) {
    for vantage in &world.vantages {
        let region = model.region(vantage.region).name.as_str().into();
        let name = Vantage { name: vantage.name.clone(), region };
        let seen = observations.remove(&vantage.name).unwrap_or_default();
        let report = Report { blind: vantage.why.clone(), ..Report::part(name, vantage.reported_at, seen) };
        agreement.receive(&report, vantage.reported_at);
    }
}

fn observation(check: &Check, view: &CheckView, evidence: Evidence) -> Observation {
    Observation {
        key: check.key.clone(),
        health: evidence.health,
        tried: evidence.health != Health::Unknown || evidence.probed_at.is_some(),
        srtt: evidence.rtt,
        rttvar: None,
        probed_at: evidence.probed_at,
        may_change_in: view.may_change_in.unwrap_or_default(),
        why: evidence.why,
        hold: evidence.hold,
        doubt: evidence.doubt,
        state: None,
    }
}
