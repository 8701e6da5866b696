//! What is changed of the world: targets in words become ids, and ids a changed [`WorldView`]. The order in which
//! changes are given says nothing; a target that is not there is refused before anything is simulated.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::control::overrides::state_of;
use crate::control::simulate::request::{SimulationError, SimulationRequest, TrialOverride};
use crate::control::target::{Index, REGION, Rank, Target, no_target};
use crate::fleet::{Received, Report, Vantage, agree};
use crate::health::Observation;
use crate::model::{
    Answerable, EndpointId, Evidence, Health, Model, Override, OverrideState, RegionId, VantageView, WorldView,
};

/// What is said of endpoints whose weight grows.
const RAMPING: &str = ": back a moment ago, with a part of the weight (`ramp`): the shares are those of this moment";
/// What stands before the name of a vantage.
const VANTAGE: &str = "vantage:";

/// What is changed, in the ids of one model.
#[derive(Debug, Clone, Default)]
pub(super) struct WorldChange {
    /// As they were asked for, in order.
    pub(super) lost: Vec<String>,
    /// `TARGET=STATE`, in order.
    pub(super) said: Vec<String>,
    /// What a person should know of them.
    pub(super) notes: Vec<String>,
    endpoints: BTreeSet<EndpointId>,
    regions: BTreeSet<RegionId>,
    vantages: BTreeSet<Arc<str>>,
    /// The override of each endpoint that is tried: of the narrowest target.
    tried: BTreeMap<EndpointId, ResolvedTrial>,
}

/// An override that is tried.
#[derive(Debug, Clone)]
struct ResolvedTrial {
    rank: Rank,
    target: String,
    state: OverrideState,
}

impl WorldChange {
    /// The changes that `ask` names.
    pub(super) fn read(
        model: &Model,
        view: &WorldView,
        ask: &SimulationRequest,
    ) -> Result<WorldChange, SimulationError> {
        let mut changes = WorldChange::default();
        let index = Index::of(model);
        for target in ask.lose.iter().map(|target| target.trim()) {
            if let Some(name) = target.strip_prefix(VANTAGE) {
                changes.vantages.insert(vantage(view, name)?);
            } else {
                let lost = Target::parse(target);
                match lost.region().and_then(|region| model.region_named(region)) {
                    Some(region) => changes.lose_region(model, region),
                    None => changes.endpoints.extend(meant(model, &index, &lost, target)?),
                }
            }
            changes.lost.push(target.to_owned());
        }
        changes.read_overrides(model, &index, &ask.overrides)?;
        changes.sort();
        changes.note_unmonitored(model);
        changes.note_ramping(model, view);
        Ok(changes)
    }

    /// These, and regions lost as well.
    pub(super) fn and_lose(&self, model: &Model, regions: Vec<RegionId>) -> WorldChange {
        let mut changes = self.clone();
        // The pair first: it tells the reports apart.
        changes.lost = regions.iter().map(|region| format!("{REGION}{}", model.region(*region).name)).collect();
        changes.lost.extend(self.lost.iter().filter(|lost| !changes.lost.contains(lost)).cloned().collect::<Vec<_>>());
        regions.into_iter().for_each(|region| changes.lose_region(model, region));
        changes.notes.retain(|note| note.ends_with(RAMPING));
        changes.note_unmonitored(model);
        changes
    }

    fn lose_region(&mut self, model: &Model, region: RegionId) {
        self.regions.insert(region);
        let all = (0..model.endpoints.len() as u32).map(EndpointId);
        self.endpoints.extend(all.filter(|id| model.endpoint(*id).region == Some(region)));
    }

    /// The overrides that are tried, the narrowest first: their order says nothing.
    fn read_overrides(
        &mut self,
        model: &Model,
        index: &Index,
        overrides: &[TrialOverride],
    ) -> Result<(), SimulationError> {
        let mut read = Vec::with_capacity(overrides.len());
        for TrialOverride { target, state } in overrides {
            let (target, word) = (target.trim(), state.trim());
            let state = state_of(word).map_err(SimulationError::Refused)?;
            let parsed = Target::parse(target);
            let endpoints = meant(model, index, &parsed, target)?;
            self.said.push(format!("{target}={word}"));
            read.push((parsed, target, state, endpoints));
        }
        read.sort_by_key(|(target, ..)| Reverse(target.rank()));
        for (parsed, target, state, endpoints) in read {
            for id in endpoints {
                let tried = ResolvedTrial { rank: parsed.rank(), target: target.to_owned(), state };
                let first = self.tried.entry(id).or_insert(tried);
                if first.rank == parsed.rank() && first.state != state {
                    let who = match Target::parse(&first.target) == parsed {
                        true => format!("two overrides of {target}"),
                        false => format!("the overrides of {} and {target}", first.target),
                    };
                    return Err(SimulationError::Refused(format!("{who} contradict each other")));
                }
            }
        }
        Ok(())
    }

    /// As good as any other order of flags.
    fn sort(&mut self) {
        for list in [&mut self.lost, &mut self.said] {
            list.sort();
            list.dedup();
        }
    }

    fn note_unmonitored(&mut self, model: &Model) {
        let is_blind = |id: &&EndpointId| model.endpoint(**id).answerables.iter().all(|a| a.check.is_none());
        let blind: Vec<&str> =
            self.endpoints.iter().filter(is_blind).map(|id| model.endpoint(*id).name.as_str()).collect();
        if let [first, rest @ ..] = &blind[..] {
            let whose = if rest.is_empty() { format!("{first} has") } else { format!("{} have", blind.join(", ")) };
            self.notes.push(format!(
                "{whose} no monitor: a real loss would not be noticed; this is as if somebody said `force-down`"
            ));
        }
    }

    /// What is served now is not what will be served in a while.
    fn note_ramping(&mut self, model: &Model, view: &WorldView) {
        let ramps = |id: &EndpointId| {
            let endpoint = model.endpoint(*id);
            let mut checks = endpoint.answerables.iter().flat_map(Answerable::checks);
            checks.any(|check| view.growth(*id, endpoint, Some(check), view.at).is_some())
        };
        let all = (0..model.endpoints.len() as u32).map(EndpointId);
        let ramping: Vec<&str> = all.filter(ramps).map(|id| model.endpoint(id).name.as_str()).collect();
        if !ramping.is_empty() {
            self.notes.push(format!("{}{RAMPING}", ramping.join(", ")));
        }
    }

    /// The world after these changes.
    pub(super) fn apply(&self, model: &Model, view: &WorldView) -> WorldView {
        let mut world = view.clone();
        self.silence(model, view, &mut world);
        let mut overrides = HashMap::clone(&view.overrides);
        for (id, ResolvedTrial { rank, target, state }) in &self.tried {
            // A narrower override that holds already goes before a wider one.
            if view.override_of(*id).is_none_or(|said| Target::parse(&said.target).rank() <= *rank) {
                overrides.insert(*id, tried(target.clone(), *state));
            }
        }
        for id in &self.endpoints {
            let endpoint = model.endpoint(*id);
            for check in endpoint.answerables.iter().flat_map(Answerable::checks) {
                let check = &mut world.checks[check.0 as usize];
                (check.health, check.tried) = (Health::Down, true);
            }
            if endpoint.answerables.iter().all(|answerable| answerable.check.is_none()) {
                overrides.entry(*id).or_insert_with(|| tried(endpoint.name.clone(), OverrideState::Down));
            }
        }
        world.overrides = Arc::new(overrides);
        world
    }

    fn is_silent(&self, vantage: &str, region: RegionId) -> bool {
        self.regions.contains(&region) || self.vantages.contains(vantage)
    }

    /// Takes away what the lost vantages said; the rest agree anew. Where nobody is left, the last verdict stands.
    fn silence(&self, model: &Model, view: &WorldView, world: &mut WorldView) {
        if self.regions.is_empty() && self.vantages.is_empty() {
            return;
        }
        world.vantages.retain(|vantage| !self.is_silent(&vantage.name, vantage.region));
        let agreed = agree(model, &reports(model, view, &world.vantages), view.at);
        for (check, agreed) in world.checks.iter_mut().zip(agreed.checks) {
            let is_silent = |said: &Evidence| self.is_silent(&said.vantage, said.region);
            let touched: Vec<RegionId> = check.evidence.iter().filter(|e| is_silent(e)).map(|e| e.region).collect();
            check.evidence.retain(|said| !is_silent(said));
            if !touched.is_empty() && check.evidence.iter().any(|said| said.health != Health::Unknown) {
                (check.health, check.tried) = (agreed.health, agreed.tried);
            }
            check.rtts.retain(|(region, _)| !self.regions.contains(region) && !touched.contains(region));
            check.rtts.extend(agreed.rtts.into_iter().filter(|(region, _)| touched.contains(region)));
        }
    }
}

fn tried(target: String, state: OverrideState) -> Arc<Override> {
    Arc::new(Override { target, state, why: "simulated".to_owned(), who: "simulate".to_owned(), until: None })
}

/// What these vantages of `view` reported, as far as the view still has it.
fn reports(model: &Model, view: &WorldView, vantages: &[VantageView]) -> Vec<Received> {
    let report = |vantage: &VantageView| {
        let said = model.checks.iter().zip(&view.checks).filter_map(|(check, seen)| {
            let said = seen.evidence.iter().find(|said| said.vantage == vantage.name)?;
            Some(Observation {
                key: check.key.clone(),
                health: said.health,
                tried: said.health != Health::Unknown || said.probed_at.is_some(),
                srtt: said.rtt,
                rttvar: None,
                probed_at: said.probed_at,
                may_change_in: seen.may_change_in.unwrap_or_default(),
                why: said.why.clone(),
                hold: said.hold,
                doubt: said.doubt,
                state: None,
            })
        });
        let region = model.region(vantage.region).name.as_str().into();
        Report {
            vantage: Vantage { name: vantage.name.clone(), region },
            made_at: view.at,
            blind: vantage.why.clone(),
            observations: said.collect(),
        }
    };
    let received =
        vantages.iter().map(|vantage| Received { report: Arc::new(report(vantage)), received_at: vantage.heard_at });
    received.collect()
}

/// The endpoints that a target means, at least one.
fn meant(model: &Model, index: &Index, target: &Target, text: &str) -> Result<Vec<EndpointId>, SimulationError> {
    let found = index.endpoints(target);
    if found.is_empty() { Err(SimulationError::Refused(no_target(text, model))) } else { Ok(found) }
}

fn vantage(view: &WorldView, name: &str) -> Result<Arc<str>, SimulationError> {
    let found = view.vantages.iter().find(|vantage| *vantage.name == *name).map(|vantage| vantage.name.clone());
    found.ok_or_else(|| match view.vantages.is_empty() {
        true => SimulationError::Refused(format!("there is no vantage `{name}`: nothing is measured here")),
        false => SimulationError::unknown("vantage", name, view.vantages.iter().map(|vantage| &*vantage.name)),
    })
}
