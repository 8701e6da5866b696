//! The overrides that a simulation tries.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::control::overrides::state_of;
use crate::control::simulate::request::{SimulationError, TrialOverride};
use crate::control::target::{Index, Rank, Target, no_target};
use crate::model::{EndpointId, Model, Override, OverrideState, WorldView};

/// The trial override of each endpoint: that of the narrowest target.
#[derive(Debug, Clone, Default)]
pub(super) struct Trials {
    by_endpoint: BTreeMap<EndpointId, Trial>,
}

#[derive(Debug, Clone)]
struct Trial {
    rank: Rank,
    target: String,
    state: OverrideState,
}

impl Trials {
    /// Reads the overrides of a request. Their order has no effect. Two overrides of one rank that set different
    /// states of an endpoint are refused.
    pub(super) fn read(model: &Model, index: &Index, all: &[TrialOverride]) -> Result<Trials, SimulationError> {
        let mut parsed = Vec::with_capacity(all.len());
        for TrialOverride { target, state } in all {
            let text = target.trim();
            let state = state_of(state.trim()).map_err(SimulationError::Refused)?;
            let target = Target::parse(text);
            let endpoints = endpoints_of(model, index, &target, text)?;
            parsed.push((target, text, state, endpoints));
        }
        // The narrowest target comes first, and the first trial of an endpoint counts.
        parsed.sort_by_key(|(target, ..)| Reverse(target.rank()));
        let mut trials = Trials::default();
        for (target, text, state, endpoints) in parsed {
            for id in endpoints {
                trials.add(id, &target, text, state)?;
            }
        }
        Ok(trials)
    }

    fn add(
        &mut self,
        id: EndpointId,
        target: &Target,
        text: &str,
        state: OverrideState,
    ) -> Result<(), SimulationError> {
        let trial = Trial { rank: target.rank(), target: text.to_owned(), state };
        let first = self.by_endpoint.entry(id).or_insert(trial);
        if first.rank != target.rank() || first.state == state {
            return Ok(());
        }
        let which = match Target::parse(&first.target) == *target {
            true => format!("two overrides of {text}"),
            false => format!("the overrides of {} and {text}", first.target),
        };
        Err(SimulationError::Refused(format!("{which} contradict each other")))
    }

    /// Adds the trials to `overrides`, a copy of the overrides of `view`. An override in force that is narrower than
    /// the trial stays.
    pub(super) fn apply(&self, view: &WorldView, overrides: &mut HashMap<EndpointId, Arc<Override>>) {
        for (id, Trial { rank, target, state }) in &self.by_endpoint {
            if view.override_of(*id).is_none_or(|current| Target::parse(&current.target).rank() <= *rank) {
                overrides.insert(*id, simulated_override(target.clone(), *state));
            }
        }
    }
}

/// An override that only the simulation has.
pub(super) fn simulated_override(target: String, state: OverrideState) -> Arc<Override> {
    let (why, who) = ("simulated".to_owned(), "simulate".to_owned());
    Arc::new(Override { target, state, why, who, until: None, zones: None })
}

/// The endpoints that a target matches; an error if there are none.
pub(super) fn endpoints_of(
    model: &Model,
    index: &Index,
    target: &Target,
    text: &str,
) -> Result<Vec<EndpointId>, SimulationError> {
    let found = index.endpoints(target);
    if found.is_empty() { Err(SimulationError::Refused(no_target(text, model))) } else { Ok(found) }
}
