//! How a change of the overrides moves the answers: the share of each endpoint before and after it, and who gets no
//! answer any more. It compares the two snapshots with the functions of `simulate`: every steered name has the same
//! weight, and so have its types and the classes of clients.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::simulate::compare::{AnswerDiff, difference};
use crate::control::simulate::report::ShareChange;
use crate::control::unanswered::UnansweredQuestions;
use crate::model::{Endpoint, EndpointId, OverrideState};
use crate::snapshot::Snapshot;
use crate::steering::active_member;

/// Shares that differ by less than this are equal: a probability has nine digits.
const SAME: f64 = 1e-9;

/// How the answers moved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MovedAnswers {
    /// The share of all questions that another endpoint answers now, 0 to 1.
    pub share: f64,
    /// The endpoints whose share changed, in the order of their names.
    pub endpoints: Vec<EndpointShare>,
    /// The share that the records of zone files answer, before and after; absent if it did not change.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<ShareChange>,
    /// The endpoints that the change took out of service and that are still answered with, because nothing else is
    /// up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still: Vec<StillAnswered>,
    /// Of the others those that are down and are answered with more than before, because nothing else is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<StillAnswered>,
    /// The exclusive names that are expected to move, because the change takes their active endpoint out of service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promotions: Vec<ExpectedPromotion>,
    /// The questions that have no answer any more; absent if there are none.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = UnansweredQuestions)]
    pub unanswered: Option<UnansweredQuestions>,
}

/// An endpoint's share of the answers of all names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointShare {
    /// The name; with the zone (`svc.example./fra1`) if several zones have an endpoint of this name.
    pub endpoint: String,
    /// 0 to 1.
    pub before: f64,
    /// 0 to 1.
    pub after: f64,
}

/// An exclusive name that another endpoint is expected to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExpectedPromotion {
    /// The full name, with its final dot.
    pub name: String,
    /// The endpoint that is to be promoted.
    pub to: String,
}

/// An endpoint that is drained or down and is still answered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StillAnswered {
    /// The name, as in [`EndpointShare`].
    pub endpoint: String,
    /// Its share of the answers of all names, 0 to 1.
    pub share: f64,
}

/// Compares two snapshots of one model.
pub fn moved(before: &Snapshot, after: &Snapshot) -> MovedAnswers {
    let model = &after.model;
    let AnswerDiff { moved, shares, down: dead, fixed, unanswered } = difference(before, after);
    let mut named: HashMap<&str, usize> = HashMap::new();
    model.endpoints.iter().for_each(|endpoint| *named.entry(&endpoint.name).or_default() += 1);
    let name_of = |endpoint: &Endpoint| match named.get(&*endpoint.name) {
        None | Some(1) => endpoint.name.clone(),
        Some(_) => format!("{}/{}", model.zone(endpoint.zone).apex, endpoint.name),
    };
    let (mut endpoints, mut still, mut down) = (Vec::new(), Vec::new(), Vec::new());
    let all = (0..).map(EndpointId).zip(&model.endpoints).zip(shares).zip(dead);
    for (((id, endpoint), [share_before, share_after]), [dead_before, dead_after]) in all {
        if (share_before - share_after).abs() > SAME {
            endpoints.push(EndpointShare { endpoint: name_of(endpoint), before: share_before, after: share_after });
        }
        if share_after > SAME && is_taken_out(before, after, id) {
            still.push(StillAnswered { endpoint: name_of(endpoint), share: share_after });
        } else if dead_after > dead_before + SAME {
            down.push(StillAnswered { endpoint: name_of(endpoint), share: dead_after });
        }
    }
    endpoints.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    let share = if moved > SAME { moved } else { 0.0 };
    let [fixed_before, fixed_after] = fixed;
    let fixed =
        ((fixed_before - fixed_after).abs() > SAME).then_some(ShareChange { before: fixed_before, after: fixed_after });
    let unanswered = Some(unanswered).filter(|unanswered| !unanswered.is_nobody());
    MovedAnswers { share, endpoints, fixed, still, down, promotions: promotions(before, after), unanswered }
}

/// The exclusive names whose active endpoint differs.
fn promotions(before: &Snapshot, after: &Snapshot) -> Vec<ExpectedPromotion> {
    let model = &after.model;
    let names = model.zones.iter().flat_map(|zone| &zone.steered);
    let moved = names.filter_map(|name| {
        let policy = model.policy(name.policy);
        let [old, new] = [before, after].map(|snapshot| active_member(model, policy, &snapshot.view));
        let (old, new) = (old?.endpoint, new?.endpoint);
        let new = new.filter(|new| old.as_ref() != Some(new))?;
        Some(ExpectedPromotion { name: name.owner.to_string(), to: new.to_string() })
    });
    moved.collect()
}

/// Whether the change took an endpoint out of service.
fn is_taken_out(before: &Snapshot, after: &Snapshot, id: EndpointId) -> bool {
    let [old, new] = [before, after].map(|snapshot| snapshot.view.override_of(id));
    let is_out = new.is_some_and(|entry| match entry.state {
        OverrideState::Drain | OverrideState::Down => true,
        OverrideState::Up => false,
    });
    is_out && old != new
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::control::test_world;
    use crate::model::{
        EndpointId, Facet, Health, Member, MemberRef, Model, Override, Pool, PoolId, Steering, WorldView,
    };
    use crate::snapshot::{Identity, compile};

    /// `www` answers with `fra1` and `plain` in equal shares.
    fn model() -> Model {
        let mut model = test_world::model();
        let member = |id| Member::new(MemberRef::Endpoint(EndpointId(id)), 1);
        model.pools = vec![Pool::new("web", Steering::Weighted, vec![member(0), member(2)])];
        model.policies[0].root = MemberRef::Pool(PoolId(0));
        model.policies[0].endpoints = vec![EndpointId(0), EndpointId(2)];
        model.policies[0].facets = vec![Facet::V4];
        model
    }

    fn snapshot(model: &Arc<Model>, view: WorldView) -> Snapshot {
        compile::compile(model.clone(), Arc::new(view), Arc::new(Identity::default()), 2, None)
    }

    #[test]
    fn half_of_the_answers_move_when_one_of_two_endpoints_is_down() {
        let model = Arc::new(model());
        let mut gone = test_world::view();
        gone.checks[0].health = Health::Down;
        let (before, after) = (snapshot(&model, test_world::view()), snapshot(&model, gone));
        let share = |endpoint: &str, before, after| EndpointShare { endpoint: endpoint.into(), before, after };
        let endpoints = vec![share("fra1", 0.5, 0.0), share("plain", 0.5, 1.0)];
        assert_eq!(moved(&before, &after), MovedAnswers { share: 0.5, endpoints, ..MovedAnswers::default() });
        assert_eq!(moved(&before, &before), MovedAnswers::default(), "nothing changed");
    }

    #[test]
    fn an_endpoint_taken_out_that_is_still_answered_with_is_reported() {
        let model = Arc::new(model());
        let mut world = test_world::view();
        let entry = |target: &str| Override {
            target: target.into(),
            state: OverrideState::Drain,
            why: "x".into(),
            who: "alice".into(),
            until: None,
            zones: None,
        };
        let overrides = [(EndpointId(0), Arc::new(entry("fra1"))), (EndpointId(2), Arc::new(entry("plain")))];
        world.overrides = Arc::new(overrides.into_iter().collect());
        let (before, after) = (snapshot(&model, test_world::view()), snapshot(&model, world));
        let result = moved(&before, &after);
        let answered: f64 = result.still.iter().map(|still| still.share).sum();
        assert!((answered - 1.0).abs() < SAME || result.unanswered.is_some(), "{result:?}");
        assert_eq!(moved(&after, &after).still, [], "nothing was taken out by this change");
    }

    #[test]
    fn an_endpoint_that_is_down_and_answered_with_is_reported() {
        let model = Arc::new(model());
        let mut dead = test_world::view();
        dead.checks[0].health = Health::Down;
        let mut forced = dead.clone();
        let entry = Override {
            target: "plain".into(),
            state: OverrideState::Down,
            why: "x".into(),
            who: "alice".into(),
            until: None,
            zones: None,
        };
        forced.overrides = Arc::new([(EndpointId(2), Arc::new(entry))].into_iter().collect());
        let (before, after) = (snapshot(&model, dead), snapshot(&model, forced));
        assert_eq!(moved(&before, &after).down, [StillAnswered { endpoint: "fra1".into(), share: 1.0 }]);
        assert_eq!(moved(&after, &after).down, [], "it was so before");
    }
}
