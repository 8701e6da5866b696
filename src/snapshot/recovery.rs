//! The recovery of each check: whether it was down, and since when it is up again. Vantages report only the present, so
//! the publisher takes this from the previous view. Pure.

use std::time::Duration;

use crate::model::{CheckKey, CheckView, Model, Moment, Recovery, WorldView};
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
            let recovery = view.check(check).recovery;
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
    let at = view.at;
    view.checks.iter_mut().for_each(|check| check.recovery = Recovery::None.then(check.health, at));
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
            let recovery = recoveries.iter().find(is_of_side);
            let check = view.checks.get_mut(check.0 as usize);
            if let (Some(recovery), Some(check)) = (recovery, check.filter(|check| check.recovery == Recovery::None)) {
                check.recovery = Recovery::Since(recovery.since);
            }
        }
    }
}

/// Takes the recoveries of `previous` over to a view of the same model.
pub(crate) fn follow(previous: &Snapshot, view: &mut WorldView) {
    let at = view.at;
    for (index, (old, new)) in previous.view.checks.iter().zip(&mut view.checks).enumerate() {
        new.recovery = after(old, previous.dependencies.longest_ramp(index), new, at);
    }
}

/// Takes the recoveries of `previous` over to a view of another model: a check is the same if monitor and
/// target are. An endpoint whose ramp is over keeps its full weight, whatever ramp the new files have.
pub(crate) fn remap(previous: &Snapshot, model: &Model, view: &mut WorldView) {
    let at = view.at;
    let checks = previous.model.checks.iter().zip(&previous.view.checks).enumerate();
    let with_recovery = checks.filter(|(_, (_, old))| old.recovery != Recovery::None);
    let by_key: Map<&CheckKey, (usize, &CheckView)> =
        with_recovery.map(|(index, (check, old))| (&*check.key, (index, old))).collect();
    for (check, new) in model.checks.iter().zip(&mut view.checks) {
        // A key is long to hash, and there is mostly nothing to find.
        let known = if by_key.is_empty() { None } else { by_key.get(&*check.key) };
        new.recovery = known.map_or(Recovery::None.then(new.health, at), |(index, old)| {
            after(old, previous.dependencies.longest_ramp(*index), new, at)
        });
    }
}

fn after(old: &CheckView, longest: Duration, new: &CheckView, at: Moment) -> Recovery {
    old.recovery.within(longest, at).then(new.health, at)
}
