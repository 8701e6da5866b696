//! What a drill reads of the served snapshot: whose checks are lost, what policies choose, and how often each endpoint
//! was in a reply.

use std::collections::HashMap;

use crate::drill::LostSet;
use crate::model::{CheckId, CheckKey, Endpoint, Failback, MemberRef, Model, PolicyId, PoolId};
use crate::server::Totals;
use crate::snapshot::Snapshot;

/// The endpoint of each check that is lost.
pub(super) fn names_of_checks(model: &Model, lost: &LostSet) -> HashMap<CheckKey, String> {
    let mut names = HashMap::new();
    for id in &lost.endpoints {
        let endpoint = model.endpoint(*id);
        let mut below: Vec<CheckId> = endpoint.answerables.iter().flat_map(|side| side.checks()).collect();
        while let Some(check) = below.pop() {
            let check = &model.checks[check.0 as usize];
            below.extend(&check.parts);
            names.entry((*check.key).clone()).or_insert_with(|| endpoint.name.clone());
        }
    }
    names
}

/// The choices of the policies whose pools do not return by themselves at once.
pub(super) fn choices(served: &Snapshot) -> HashMap<PolicyId, Vec<(PoolId, MemberRef)>> {
    let policies = (0..served.model.policies.len() as u32).map(PolicyId);
    let waits = policies.filter(|policy| match served.model.policy(*policy).failback {
        Failback::Auto => false,
        Failback::Manual | Failback::After(_) => true,
    });
    waits.map(|policy| (policy, served.failover_choices(policy))).collect()
}

/// How often each endpoint was in a reply.
pub(super) fn answers_by_endpoint(served: &Snapshot, totals: &Totals) -> HashMap<u32, u64> {
    let by_name = served.tallies.by_endpoint(&totals.picks);
    let zones: Vec<String> = served.model.zones.iter().map(|zone| zone.apex.to_string()).collect();
    let count = |(endpoint, id): (&Endpoint, u32)| {
        endpoint.capacity?;
        Some((id, *by_name.get(&(zones[endpoint.zone.0 as usize].as_str(), endpoint.name.as_str()))?))
    };
    served.model.endpoints.iter().zip(0..).filter_map(count).collect()
}
