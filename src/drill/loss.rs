//! What a drill loses, as checks and vantages of a model.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::drill::DrillKind;
use crate::model::{Answerable, CheckId, CheckKey, EndpointId, Model};

/// What a drill loses.
#[derive(Debug, Clone)]
pub struct LostSet {
    /// The endpoints that go down: those that are meant, and others with the same checks.
    pub endpoints: BTreeSet<EndpointId>,
    /// The checks whose probes count as silence. Composites are not among them: they follow from their parts.
    pub keys: Arc<HashSet<Arc<CheckKey>>>,
    /// By check: whether its verdict follows from the loss.
    affected: Vec<bool>,
    /// The vantages whose reports do not arrive.
    pub vantages: BTreeSet<Arc<str>>,
    /// Whether the reports of no other node arrive.
    pub loses_fleet: bool,
}

impl LostSet {
    /// The loss of these endpoints and vantages.
    pub fn of(model: &Model, kind: DrillKind, meant: &[EndpointId], vantages: BTreeSet<Arc<str>>) -> LostSet {
        let mut keys: HashSet<Arc<CheckKey>> = HashSet::new();
        let mut below: Vec<CheckId> =
            meant.iter().flat_map(|id| &model.endpoint(*id).answerables).flat_map(Answerable::checks).collect();
        while let Some(id) = below.pop() {
            let check = &model.checks[id.0 as usize];
            if check.parts.is_empty() {
                keys.insert(check.key.clone());
            }
            below.extend(&check.parts);
        }
        let mut affected = vec![false; model.checks.len()];
        // The parts of a composite come before it.
        for (at, check) in model.checks.iter().enumerate() {
            affected[at] = keys.contains(&check.key) || check.parts.iter().any(|part| affected[part.0 as usize]);
        }
        let is_lost = |side: &Answerable| side.check.is_some_and(|check| affected[check.0 as usize]);
        let all = model.endpoints.iter().zip(0..).filter(|(endpoint, _)| endpoint.answerables.iter().any(is_lost));
        let endpoints = all.map(|(_, id)| EndpointId(id)).collect();
        LostSet { endpoints, keys: keys.into(), affected, vantages, loses_fleet: kind == DrillKind::LoseFleet }
    }

    /// Whether the verdict of a check follows from the loss.
    pub fn affects(&self, check: CheckId) -> bool {
        self.affected.get(check.0 as usize).copied().unwrap_or(false)
    }
}
