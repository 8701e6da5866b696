//! The recovery of each check: whether it was down, and since when it is up again. Vantages report only the present, so
//! the publisher takes this from the previous view. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{CheckId, CheckKey, CheckView, Health, Model, Moment, Recovery, WorldView};
use crate::snapshot::Snapshot;
use crate::snapshot::remap::Map;

/// A recovery whose ramp is under way, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRecovery {
    /// The zone, with its final dot.
    pub zone: String,
    /// The endpoint.
    pub endpoint: String,
    /// Which of its records: `A`, `AAAA` or `CNAME`.
    pub rtype: String,
    /// The monitor that observed it, where that is the monitor of a name; `None`: the endpoint's own.
    pub monitor: Option<String>,
    /// Since when it is up again.
    pub since: Moment,
}

impl Snapshot {
    /// Every recovery whose ramp is under way, in the order of the files.
    pub fn recoveries(&self) -> Vec<NamedRecovery> {
        let (model, view) = (&*self.model, &*self.view);
        let endpoints = model.endpoints.iter().filter(|endpoint| !endpoint.ramp.is_zero());
        let sides = endpoints.flat_map(|endpoint| endpoint.answerables.iter().map(move |side| (endpoint, side)));
        let checks = sides.flat_map(|(endpoint, side)| side.named_checks().map(move |check| (endpoint, side, check)));
        let recoveries = checks.filter_map(|(endpoint, side, (monitor, check))| {
            let recovery = view.recovery(check);
            let Recovery::Since(since) = recovery.within(endpoint.ramp, view.at) else { return None };
            Some(NamedRecovery {
                zone: model.zone(endpoint.zone).apex.to_string(),
                endpoint: endpoint.name.clone(),
                rtype: side.facet.as_str().to_owned(),
                monitor: monitor.map(str::to_owned),
                since,
            })
        });
        recoveries.collect()
    }
}

/// For the first view of a process: restores the recoveries from before the restart, except those of checks that are
/// down again, which can recover later.
pub(crate) fn restore(model: &Model, view: &mut WorldView, recoveries: &[NamedRecovery]) {
    let mut restored = BTreeMap::new();
    for (check, id) in view.checks.iter().zip(0..) {
        enter(&mut restored, CheckId(id), Recovery::None.then(check.health, view.at));
    }
    let mut by_name: Map<(&str, &str), Vec<&NamedRecovery>> = Map::default();
    for recovery in recoveries {
        by_name.entry((&recovery.zone, &recovery.endpoint)).or_default().push(recovery);
    }
    for endpoint in model.endpoints.iter().filter(|_| !by_name.is_empty()) {
        let zone = model.zone(endpoint.zone).apex.to_string();
        let Some(recoveries) = by_name.get(&(zone.as_str(), endpoint.name.as_str())) else { continue };
        let sides = endpoint.answerables.iter();
        for (side, monitor, check) in sides.flat_map(|side| side.named_checks().map(move |(name, id)| (side, name, id)))
        {
            let is_of_side = |of: &&&NamedRecovery| of.rtype == side.facet.as_str() && of.monitor.as_deref() == monitor;
            if let Some(recovery) = recoveries.iter().find(is_of_side) {
                restored.entry(check).or_insert(Recovery::Since(recovery.since));
            }
        }
    }
    view.recoveries = Arc::new(restored);
}

/// Takes the recoveries of `previous` over to a view of the same model. Costs what changed, and the recoveries.
pub(crate) fn follow(previous: &Snapshot, view: &mut WorldView) {
    let (at, before) = (view.at, &previous.view);
    let is_down = |old: &CheckView, new: &CheckView| (old.health, new.health) != (Health::Up, Health::Up);
    let changed = view.checks.changed_since(&before.checks).filter(|(_, old, new)| is_down(old, new));
    let changed: BTreeSet<CheckId> = changed.map(|(check, ..)| CheckId(check as u32)).collect();
    let mut next = before.recoveries.clone();
    for id in before.recoveries.keys().chain(&changed) {
        let Some(check) = view.checks.get(id.0 as usize) else { continue };
        let old = before.recovery(*id);
        let new = after(old, previous.dependencies.longest_ramp(id.0 as usize), check, at);
        if new != old {
            enter(Arc::make_mut(&mut next), *id, new);
        }
    }
    view.recoveries = next;
}

/// Takes the recoveries of `previous` over to a view of another model: a check is the same if monitor and
/// target are. An endpoint whose ramp is over keeps its full weight, whatever ramp the new files have.
pub(crate) fn remap(previous: &Snapshot, model: &Model, view: &mut WorldView) {
    let at = view.at;
    let recoveries = previous.view.recoveries.iter();
    let by_key: Map<&CheckKey, (CheckId, Recovery)> = recoveries
        .filter_map(|(id, recovery)| Some((&*previous.model.checks.get(id.0 as usize)?.key, (*id, *recovery))))
        .collect();
    let mut next = BTreeMap::new();
    for ((check, new), id) in model.checks.iter().zip(view.checks.iter()).zip(0..) {
        // A key is long to hash, and there is mostly nothing to find.
        let known = if by_key.is_empty() { None } else { by_key.get(&*check.key) };
        let recovery = known.map_or(Recovery::None.then(new.health, at), |(old, recovery)| {
            after(*recovery, previous.dependencies.longest_ramp(old.0 as usize), new, at)
        });
        enter(&mut next, CheckId(id), recovery);
    }
    view.recoveries = Arc::new(next);
}

fn after(old: Recovery, longest: Duration, new: &CheckView, at: Moment) -> Recovery {
    old.within(longest, at).then(new.health, at)
}

/// Enters a recovery; none is no entry.
fn enter(recoveries: &mut BTreeMap<CheckId, Recovery>, check: CheckId, recovery: Recovery) {
    match recovery {
        Recovery::None => recoveries.remove(&check),
        Recovery::Awaited | Recovery::Since(_) => recoveries.insert(check, recovery),
    };
}
