//! What a new view is told of the one before: which checks were down, and since when they are up again. Vantages report
//! what is, not what was; the publisher, which replaces one view by the next, knows both. Pure.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::model::{CheckKey, CheckView, Model, Moment, Recovery, WorldView};
use crate::snapshot::Snapshot;

/// Tells the first view of a process: what is down in it may come back, and nothing has.
pub(crate) fn begin(view: &mut WorldView) {
    let at = view.at;
    view.checks.iter_mut().for_each(|check| check.recovery = Recovery::None.then(check.health, at));
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
