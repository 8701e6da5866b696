//! What the quorum and the operators decide about the members of an exclusive name, read from what is served.

use crate::fleet::lease::{LeaseSituation, MemberState, MemberVerdict};
use crate::model::{
    AdminState, Basis, CheckView, EndpointId, Failback, Health, Model, OverrideState, Policy, WorldView,
};
use crate::snapshot::Snapshot;

/// The members of a policy, with what is decided about them in the view of `snapshot`.
pub(super) fn situation(snapshot: &Snapshot, policy: &Policy) -> LeaseSituation {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let has_majority = view.has_majority();
    let member = |id: EndpointId| MemberState {
        endpoint: model.endpoint(id).name.as_str().into(),
        verdict: verdict(model, policy, view, id, has_majority),
    };
    LeaseSituation {
        at: view.at,
        members: policy.members_in_order(model).into_iter().map(member).collect(),
        failback: policy.exclusive.as_ref().map_or(Failback::Manual, |exclusive| exclusive.failback),
    }
}

fn verdict(model: &Model, policy: &Policy, view: &WorldView, id: EndpointId, has_majority: bool) -> MemberVerdict {
    let endpoint = model.endpoint(id);
    match (endpoint.state, view.override_of(id).map(|entry| entry.state)) {
        (AdminState::Disabled, _)
        | (AdminState::Drain, None)
        | (AdminState::Enabled | AdminState::Drain, Some(OverrideState::Drain | OverrideState::Down)) => {
            return MemberVerdict::OutOfService;
        }
        (AdminState::Enabled | AdminState::Drain, Some(OverrideState::Up)) => return MemberVerdict::Up,
        (AdminState::Enabled, None) => {}
    }
    let answering = policy.facets.iter().flat_map(|facet| endpoint.answering(*facet));
    let checks: Vec<Option<&CheckView>> =
        answering.map(|side| policy.check_of(id, side).map(|check| view.check(check))).collect();
    let all = |health: Health| checks.iter().flatten().all(|check| check.health == health);
    let any_up = checks.iter().any(|check| check.is_none_or(|check| check.health == Health::Up && is_agreed(check)));
    if any_up {
        MemberVerdict::Up
    } else if has_majority && !checks.is_empty() && all(Health::Down) && checks.iter().flatten().all(|of| is_agreed(of))
    {
        MemberVerdict::Down
    } else {
        MemberVerdict::Unsure
    }
}

/// Whether vantages that have a vote agreed on it now: a last known verdict does not promote.
fn is_agreed(check: &CheckView) -> bool {
    check.basis == Basis::Votes
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::control::test_world::{model, snapshot};
    use crate::model::{
        Exclusive, Facet, Member, MemberRef, Override, Pool, PoolId, Steering, VantageState, VantageView, ZoneId,
    };
    use crate::wire::Name;

    /// fra1 with two addresses, then plain, which has no monitor; `change` makes another world of it.
    fn verdicts(change: impl FnOnce(&mut WorldView)) -> Vec<MemberVerdict> {
        let mut model = model();
        let ids = [EndpointId(0), EndpointId(2)];
        let members = ids.map(|id| Member::new(MemberRef::Endpoint(id), 1)).to_vec();
        model.pools.push(Pool::new("db", Steering::Failover, members));
        let owner = model.zones[0].steered[0].owner.clone();
        let epoch_owner = Name::parse("_epoch.www.svc.example.").unwrap();
        let facets = vec![Facet::V4, Facet::V6];
        model.policies[0] = Policy {
            exclusive: Some(Exclusive { owner, epoch_owner, failback: Failback::Manual }),
            ..Policy::new(ZoneId(0), MemberRef::Pool(PoolId(0)), ids.to_vec(), facets)
        };
        let mut served = snapshot(model);
        let mut view = WorldView::clone(&served.view);
        change(&mut view);
        served.view = Arc::new(view);
        let situation = situation(&served, &served.model.policies[0]);
        situation.members.into_iter().map(|member| member.verdict).collect()
    }

    fn all_down(view: &mut WorldView) {
        view.checks.iter_mut().for_each(|check| check.health = Health::Down);
    }

    /// More vantages, of which none has a vote.
    fn silent(view: &mut WorldView, count: usize) {
        let vantage = VantageView { state: VantageState::Stale, ..view.vantages[0].clone() };
        view.vantages.extend(std::iter::repeat_n(vantage, count));
    }

    #[test]
    fn an_endpoint_is_down_where_all_its_addresses_are_and_a_majority_has_a_vote() {
        use MemberVerdict::{Down, Unsure, Up};
        assert_eq!(verdicts(|_| ()), [Up, Up], "one of two addresses is enough");
        assert_eq!(verdicts(all_down), [Down, Up]);
        let with_silent = |count: usize| {
            move |view: &mut WorldView| {
                all_down(view);
                silent(view, count);
            }
        };
        assert_eq!(verdicts(with_silent(1)), [Unsure, Up], "half is not a majority");
        assert_eq!(verdicts(|view| silent(view, 5)), [Up, Up], "to be up needs none");
        let last_known = |view: &mut WorldView| {
            all_down(view);
            view.checks.iter_mut().for_each(|check| check.basis = Basis::LastVerdicts);
        };
        assert_eq!(verdicts(last_known), [Unsure, Up], "nobody sees it now");
        let unknown = |view: &mut WorldView| view.checks[0].health = Health::Unknown;
        assert_eq!(verdicts(unknown), [Unsure, Up], "one address is down, of the other nothing is known");
    }

    #[test]
    fn an_operator_goes_before_the_quorum() {
        let overridden = |state: OverrideState| {
            move |view: &mut WorldView| {
                let (target, why, who) = ("fra1".to_owned(), "test".to_owned(), "alice".to_owned());
                let entry = Arc::new(Override { target, state, why, who, until: None, zones: None });
                view.overrides = Arc::new(HashMap::from([(EndpointId(0), entry)]));
                all_down(view);
            }
        };
        assert_eq!(verdicts(overridden(OverrideState::Drain))[0], MemberVerdict::OutOfService);
        assert_eq!(verdicts(overridden(OverrideState::Down))[0], MemberVerdict::OutOfService);
        assert_eq!(verdicts(overridden(OverrideState::Up))[0], MemberVerdict::Up);
    }
}
