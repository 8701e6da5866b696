//! The loss of vantages in a simulation: their reports go, and the remaining vantages agree again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::control::simulate::request::SimulationError;
use crate::fleet::{Received, Report, Vantage, agree};
use crate::health::Observation;
use crate::model::{Evidence, Health, Model, RegionId, VantageView, WorldView};

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
        let agreed = agree(model, &reports(model, view, &world.vantages), view.at);
        for (check, agreed) in world.checks.iter_mut().zip(agreed.checks) {
            let is_lost = |evidence: &Evidence| self.contains(&evidence.vantage, evidence.region);
            let changed: Vec<RegionId> = check.evidence.iter().filter(|e| is_lost(e)).map(|e| e.region).collect();
            check.evidence.retain(|evidence| !is_lost(evidence));
            if !changed.is_empty() && check.evidence.iter().any(|evidence| evidence.health != Health::Unknown) {
                (check.health, check.tried) = (agreed.health, agreed.tried);
            }
            check.rtts.retain(|(region, _)| !self.regions.contains(region) && !changed.contains(region));
            check.rtts.extend(agreed.rtts.into_iter().filter(|(region, _)| changed.contains(region)));
        }
    }
}

/// The reports of these vantages, as far as `view` still has them.
fn reports(model: &Model, view: &WorldView, vantages: &[VantageView]) -> Vec<Received> {
    let report = |vantage: &VantageView| {
        let observations = model.checks.iter().zip(&view.checks).filter_map(|(check, seen)| {
            let evidence = seen.evidence.iter().find(|evidence| evidence.vantage == vantage.name)?;
            Some(Observation {
                key: check.key.clone(),
                health: evidence.health,
                tried: evidence.health != Health::Unknown || evidence.probed_at.is_some(),
                srtt: evidence.rtt,
                rttvar: None,
                probed_at: evidence.probed_at,
                may_change_in: seen.may_change_in.unwrap_or_default(),
                why: evidence.why.clone(),
                hold: evidence.hold,
                doubt: evidence.doubt,
                state: None,
            })
        });
        let region = model.region(vantage.region).name.as_str().into();
        let of = Vantage { name: vantage.name.clone(), region };
        Report { blind: vantage.why.clone(), ..Report::whole(of, view.at, observations.collect()) }
    };
    let received =
        vantages.iter().map(|vantage| Received { report: Arc::new(report(vantage)), received_at: vantage.reported_at });
    received.collect()
}
