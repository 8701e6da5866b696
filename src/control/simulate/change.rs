//! The changes of a simulation: reads the targets of a request as ids of a model, and applies them to a
//! [`WorldView`].
//!
//! The order of the targets has no effect. A target that does not exist is refused before anything is simulated.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::control::simulate::lost_vantages::LostVantages;
use crate::control::simulate::request::{SimulationError, SimulationRequest};
use crate::control::simulate::trial::{Trials, endpoints_of, simulated_override};
use crate::control::target::{Index, REGION, Target};
use crate::model::{Answerable, EndpointId, Health, Model, OverrideState, RegionId, WorldView};

/// The note about endpoints whose weight grows; it follows their names.
const RAMPING: &str = ": back a moment ago, with a part of the weight (`ramp`): the shares are those of this moment";
/// The prefix of a vantage.
const VANTAGE: &str = "vantage:";

/// What changes in the world, as ids of one model.
#[derive(Debug, Clone, Default)]
pub(super) struct WorldChange {
    /// The lost targets as they were written, sorted.
    pub(super) lost: Vec<String>,
    /// The trial overrides as `TARGET=STATE`, sorted.
    pub(super) overrides: Vec<String>,
    /// What a person should know about the changes.
    pub(super) notes: Vec<String>,
    lost_endpoints: BTreeSet<EndpointId>,
    lost_vantages: LostVantages,
    trials: Trials,
}

impl WorldChange {
    /// Reads the changes that `request` asks for.
    pub(super) fn read(
        model: &Model,
        view: &WorldView,
        request: &SimulationRequest,
    ) -> Result<WorldChange, SimulationError> {
        let mut change = WorldChange::default();
        let index = Index::of(model);
        for text in request.lose.iter().map(|text| text.trim()) {
            change.lose(model, view, &index, text)?;
        }
        change.trials = Trials::read(model, &index, &request.overrides)?;
        let texts = request.overrides.iter().map(|trial| format!("{}={}", trial.target.trim(), trial.state.trim()));
        change.overrides = texts.collect();
        for list in [&mut change.lost, &mut change.overrides] {
            list.sort();
            list.dedup();
        }
        change.notes.extend(unmonitored_note(model, &change.lost_endpoints));
        change.notes.extend(ramping_note(model, view));
        Ok(change)
    }

    /// Adds the loss of one target.
    fn lose(&mut self, model: &Model, view: &WorldView, index: &Index, text: &str) -> Result<(), SimulationError> {
        if let Some(name) = text.strip_prefix(VANTAGE) {
            self.lost_vantages.lose(view, name)?;
        } else {
            let target = Target::parse(text);
            match target.region().and_then(|region| model.region_named(region)) {
                Some(region) => self.lose_region(model, region),
                None => self.lost_endpoints.extend(endpoints_of(model, index, &target, text)?),
            }
        }
        self.lost.push(text.to_owned());
        Ok(())
    }

    fn lose_region(&mut self, model: &Model, region: RegionId) {
        self.lost_vantages.lose_region(region);
        self.lost_endpoints.extend(all_endpoints(model).filter(|id| model.endpoint(*id).region == Some(region)));
    }

    /// The same changes and the loss of these regions.
    pub(super) fn and_lose(&self, model: &Model, regions: Vec<RegionId>) -> WorldChange {
        let mut change = self.clone();
        // The regions come first in the list, because they are what differs between the reports of a request.
        change.lost = regions.iter().map(|region| format!("{REGION}{}", model.region(*region).name)).collect();
        for lost in &self.lost {
            if !change.lost.contains(lost) {
                change.lost.push(lost.clone());
            }
        }
        for region in regions {
            change.lose_region(model, region);
        }
        change.notes.retain(|note| note.ends_with(RAMPING));
        change.notes.extend(unmonitored_note(model, &change.lost_endpoints));
        change
    }

    /// The world after these changes.
    pub(super) fn apply(&self, model: &Model, view: &WorldView) -> WorldView {
        let mut world = view.clone();
        self.lost_vantages.apply(model, view, &mut world);
        let mut overrides = HashMap::clone(&view.overrides);
        self.trials.apply(view, &mut overrides);
        for id in &self.lost_endpoints {
            let endpoint = model.endpoint(*id);
            for check in endpoint.answerables.iter().flat_map(Answerable::checks) {
                let check = &mut world.checks[check.0 as usize];
                (check.health, check.tried) = (Health::Down, true);
            }
            if !has_monitor(model, *id) {
                let forced_down = || simulated_override(endpoint.name.clone(), OverrideState::Down);
                overrides.entry(*id).or_insert_with(forced_down);
            }
        }
        world.overrides = Arc::new(overrides);
        world
    }
}

fn all_endpoints(model: &Model) -> impl Iterator<Item = EndpointId> + use<> {
    (0..model.endpoints.len() as u32).map(EndpointId)
}

fn has_monitor(model: &Model, id: EndpointId) -> bool {
    model.endpoint(id).answerables.iter().any(|answerable| answerable.check.is_some())
}

/// A note about the lost endpoints whose real loss the server would not notice.
fn unmonitored_note(model: &Model, lost: &BTreeSet<EndpointId>) -> Option<String> {
    let unmonitored = lost.iter().filter(|id| !has_monitor(model, **id));
    let names: Vec<&str> = unmonitored.map(|id| model.endpoint(*id).name.as_str()).collect();
    let subject = match &names[..] {
        [] => return None,
        [name] => format!("{name} has"),
        [_, _, ..] => format!("{} have", names.join(", ")),
    };
    Some(format!(
        "{subject} no monitor: a real loss would not be noticed; the simulation takes it as forced down by an operator"
    ))
}

/// A note about endpoints whose weight grows: in a while their shares will be others.
fn ramping_note(model: &Model, view: &WorldView) -> Option<String> {
    let is_ramping = |id: &EndpointId| {
        let endpoint = model.endpoint(*id);
        let mut checks = endpoint.answerables.iter().flat_map(Answerable::checks);
        checks.any(|check| view.growth(*id, endpoint, Some(check), view.at).is_some())
    };
    let ramping = all_endpoints(model).filter(is_ramping);
    let names: Vec<&str> = ramping.map(|id| model.endpoint(id).name.as_str()).collect();
    (!names.is_empty()).then(|| format!("{}{RAMPING}", names.join(", ")))
}
