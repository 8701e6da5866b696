//! What the agreement needs of a model, by check.

use std::sync::Arc;
use std::time::Duration;

use crate::fleet::ballots::Slot;
use crate::fleet::quorum::VoteRight;
use crate::model::{CheckId, CheckKey, Composite, Model, Quorum, RegionId};

/// The checks of a model: how their ballots are counted, and which composites they are parts of.
#[derive(Debug)]
pub(super) struct Layout {
    checks: Vec<CheckLayout>,
    /// The different `stale_after` times of the monitors.
    times: Vec<Duration>,
    regions: Vec<String>,
    pub(super) is_regional: bool,
}

#[derive(Debug)]
struct CheckLayout {
    key: Arc<CheckKey>,
    /// Its `stale_after`: the place in `times`.
    time: usize,
    parts: Vec<CheckId>,
    /// The composites that it is a part of.
    wholes: Vec<CheckId>,
}

impl Layout {
    pub(super) fn of(model: &Model) -> Layout {
        let mut times: Vec<Duration> = Vec::new();
        let mut checks: Vec<CheckLayout> = Vec::with_capacity(model.checks.len());
        for (check, id) in model.checks.iter().zip(0..) {
            let own = check.key.monitor.quorum.stale_after;
            let time = times.iter().position(|known| *known == own).unwrap_or_else(|| {
                times.push(own);
                times.len() - 1
            });
            for part in &check.parts {
                if let Some(part) = checks.get_mut(part.0 as usize) {
                    part.wholes.push(CheckId(id));
                }
            }
            checks.push(CheckLayout { key: check.key.clone(), time, parts: check.parts.clone(), wholes: Vec::new() });
        }
        let regions = model.regions.iter().map(|region| region.name.clone()).collect();
        Layout { checks, times, regions, is_regional: model.regional_view }
    }

    fn check(&self, id: CheckId) -> &CheckLayout {
        &self.checks[id.0 as usize]
    }

    pub(super) fn region(&self, name: &str) -> Option<RegionId> {
        self.regions.iter().position(|region| region == name).map(|at| RegionId(at as u16))
    }

    pub(super) fn times(&self) -> impl Iterator<Item = Duration> {
        self.times.iter().copied()
    }

    /// The rights of a vantage that was not looked at yet.
    pub(super) fn no_rights(&self) -> Vec<VoteRight> {
        vec![VoteRight::Stale; self.times.len()]
    }

    /// The place in [`Layout::times`] of the check of a slot; `None` where no check of the model has it.
    pub(super) fn time_of(&self, slot: Slot) -> Option<usize> {
        self.checks.get(slot.index()).map(|check| check.time)
    }

    /// The check of a slot, if the model has it and it is no composite: then vantages vote on it.
    pub(super) fn voted(&self, slot: Slot) -> Option<CheckId> {
        let id = CheckId(slot.index() as u32);
        (slot.index() < self.checks.len() && !self.is_composite(id)).then_some(id)
    }

    pub(super) fn quorum(&self, id: CheckId) -> &Quorum {
        &self.check(id).key.monitor.quorum
    }

    pub(super) fn composite(&self, id: CheckId) -> Option<&Composite> {
        self.check(id).key.monitor.kind.composite()
    }

    pub(super) fn is_composite(&self, id: CheckId) -> bool {
        self.composite(id).is_some()
    }

    pub(super) fn parts(&self, id: CheckId) -> &[CheckId] {
        &self.check(id).parts
    }

    pub(super) fn wholes(&self, id: CheckId) -> impl Iterator<Item = CheckId> {
        self.check(id).wholes.iter().copied()
    }
}
