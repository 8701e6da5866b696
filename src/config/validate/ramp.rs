//! Finds each `ramp` that has no effect.

use std::collections::HashSet;

use crate::config::spec::PolicySpec;
use crate::config::validate::judging::Judging;
use crate::config::validate::{Names, Used};
use crate::model::{AdminState, EndpointId, MemberRef, Model};
use crate::source::Problems;

/// Warns of ramps of endpoints that are never down, and of endpoints whose weight is never used.
pub(super) fn warn(
    spec: &PolicySpec,
    names: &Names<'_>,
    (used, judging): (&Used<'_>, &Judging<'_>),
    model: &Model,
    problems: &mut Problems,
) {
    if spec.endpoints.iter().all(|endpoint| endpoint.ramp.is_zero()) {
        return;
    }
    let weighed = weighed(names, model);
    for (at, endpoint) in spec.endpoints.iter().enumerate() {
        let Some(place) = endpoint.ramp.place.as_ref().filter(|_| !endpoint.ramp.is_zero()) else { continue };
        let name = &endpoint.name.value;
        if endpoint.monitor.is_none() && judging.of_endpoint(name).is_empty() {
            let problem = problems.warning(place, "`ramp` does nothing without a `monitor`");
            problem
                .hint(format!("`{name}` is always up, so it never comes back: give it a monitor, or leave this out"));
            continue;
        }
        let id = MemberRef::Endpoint(EndpointId((names.first_endpoint + at) as u32));
        let is_in_use = used.members.contains(&id) && *endpoint.state != AdminState::Disabled;
        if is_in_use && !weighed.contains(&id) {
            let message = format!("`ramp` does nothing here: `{name}` is in no pool that divides by weight");
            let problem = problems.warning(place, message);
            problem.hint(
                "weights count in pools that steer `weighted` or `affinity`, among the equals of `nearest`, and in the \
                 `band` of `latency`",
            );
        }
    }
}

/// Everything below the pools of this zone that use the weights of their members.
fn weighed(names: &Names<'_>, model: &Model) -> HashSet<MemberRef> {
    let pools = model.pools.get(names.first_pool..).unwrap_or_default();
    let weighing = pools.iter().filter(|pool| pool.weighs());
    model.below(weighing.flat_map(|pool| &pool.members).map(|member| member.to)).collect()
}
