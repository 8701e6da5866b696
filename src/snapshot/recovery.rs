//! What a new view is told of the one before: which checks were down, and since when they are up again. Vantages report
//! what is, not what was; the publisher, which replaces one view by the next, knows both. Pure.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::model::{CheckKey, CheckView, Model, Moment, Recovery, WorldView};
use crate::snapshot::Snapshot;

/// A recovery whose ramp is under way, by name: what a restart must not forget, or the cold would be treated as warm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRecovery {
    /// The zone, with its final dot.
    pub zone: String,
    /// The endpoint.
    pub endpoint: String,
    /// Which of its records: `A`, `AAAA` or `CNAME`.
    pub rtype: String,
    /// The monitor that saw it, where that is the one of a name; `None`: the endpoint's own.
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

/// Tells the first view of a process: what is down in it may come back, and nothing has but those that had before a
/// restart, and are not down again.
pub(crate) fn begin(model: &Model, view: &mut WorldView, told: &[NamedRecovery]) {
    let at = view.at;
    view.checks.iter_mut().for_each(|check| check.recovery = Recovery::None.then(check.health, at));
    let told: HashMap<(&str, &str), Vec<&NamedRecovery>, FixedState> =
        told.iter().fold(HashMap::default(), |mut by_name, told| {
            by_name.entry((told.zone.as_str(), told.endpoint.as_str())).or_insert_with(Vec::new).push(told);
            by_name
        });
    for endpoint in model.endpoints.iter().filter(|_| !told.is_empty()) {
        let zone = model.zone(endpoint.zone).apex.to_string();
        let Some(told) = told.get(&(zone.as_str(), endpoint.name.as_str())) else { continue };
        let sides = endpoint.answerables.iter();
        for (side, monitor, check) in sides.flat_map(|side| side.named_checks().map(move |(name, id)| (side, name, id)))
        {
            let is_of =
                |told: &&&NamedRecovery| told.rtype == side.facet.as_str() && told.monitor.as_deref() == monitor;
            let of_side = told.iter().find(is_of);
            let check = view.checks.get_mut(check.0 as usize);
            if let (Some(told), Some(check)) = (of_side, check.filter(|check| check.recovery == Recovery::None)) {
                check.recovery = Recovery::Since(told.since);
            }
        }
    }
}

/// Tells a view of the same model what was before.
pub(crate) fn follow(previous: &Snapshot, view: &mut WorldView) {
    let at = view.at;
    for (index, (old, new)) in previous.view.checks.iter().zip(&mut view.checks).enumerate() {
        new.recovery = after(old, previous.dependencies.longest_ramp(index), new, at);
    }
}

/// Tells a view of another model: a check is the same where monitor and address are. What a ramp was over for stays
/// at its full weight, whatever the new files say.
pub(crate) fn inherit(previous: &Snapshot, model: &Model, view: &mut WorldView) {
    let at = view.at;
    let checks = previous.model.checks.iter().zip(&previous.view.checks).enumerate();
    let told = checks.filter(|(_, (_, old))| old.recovery != Recovery::None);
    let told: HashMap<&CheckKey, (usize, &CheckView), FixedState> =
        told.map(|(index, (check, old))| (&*check.key, (index, old))).collect();
    for (check, new) in model.checks.iter().zip(&mut view.checks) {
        // A key is long to hash, and there is mostly nothing to find.
        let known = if told.is_empty() { None } else { told.get(&*check.key) };
        new.recovery = known.map_or(Recovery::None.then(new.health, at), |(index, old)| {
            after(old, previous.dependencies.longest_ramp(*index), new, at)
        });
    }
}

fn after(old: &CheckView, longest: Duration, new: &CheckView, at: Moment) -> Recovery {
    old.recovery.within(longest, at).then(new.health, at)
}
