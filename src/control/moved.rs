//! What a change of overrides does to the answers: each endpoint's share before and after, and who gets no answer any
//! more, from the decisions that were served before and after it. It stands on the walk of `simulate`: every steered
//! name counts alike, and so do its types and the classes of clients.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::control::simulate::{Difference, difference};
use crate::control::unanswered::Unanswered;
use crate::snapshot::Snapshot;

/// Shares nearer than this are the same: a probability has nine digits.
const SAME: f64 = 1e-9;

/// How answers moved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// The part of all questions that is answered by somebody else now, 0 to 1.
    pub share: f64,
    /// Whose share changed, in the order of the names.
    pub endpoints: Vec<Share>,
    /// Who has no answer any more; left out where nobody lost one.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<Unanswered>,
}

/// An endpoint's share of the answers of all names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its name; with its zone (`svc.example./fra1`) where several zones have an endpoint of this name.
    pub endpoint: String,
    /// 0 to 1.
    pub before: f64,
    /// 0 to 1.
    pub after: f64,
}

/// What changed between two snapshots of one model.
pub fn moved(before: &Snapshot, after: &Snapshot) -> Moved {
    let model = &after.model;
    let Difference { moved, shares, unanswered } = difference(before, after);
    let mut named: HashMap<&str, usize> = HashMap::new();
    model.endpoints.iter().for_each(|endpoint| *named.entry(&endpoint.name).or_default() += 1);
    let changed = model.endpoints.iter().zip(shares).filter(|(_, [before, after])| (before - after).abs() > SAME);
    let each = |(endpoint, [before, after]): (&crate::model::Endpoint, [f64; 2])| {
        let name = match named.get(&*endpoint.name) {
            None | Some(1) => endpoint.name.clone(),
            Some(_) => format!("{}/{}", model.zone(endpoint.zone).apex, endpoint.name),
        };
        Share { endpoint: name, before, after }
    };
    let mut endpoints: Vec<Share> = changed.map(each).collect();
    endpoints.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    let share = if moved > SAME { moved } else { 0.0 };
    Moved { share, endpoints, unanswered: Some(unanswered).filter(|unanswered| !unanswered.is_nobody()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::control::fixture;
    use crate::model::{EndpointId, Facet, Health, Member, MemberRef, Model, Pool, PoolId, Steering, WorldView};
    use crate::snapshot::{Identity, compile};

    /// `www` gives `fra1` and `plain` alike.
    fn model() -> Model {
        let mut model = fixture::model();
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
    fn half_of_the_answers_move_when_one_of_two_goes() {
        let model = Arc::new(model());
        let mut gone = fixture::view();
        gone.checks[0].health = Health::Down;
        let (before, after) = (snapshot(&model, fixture::view()), snapshot(&model, gone));
        let share = |endpoint: &str, before, after| Share { endpoint: endpoint.into(), before, after };
        let endpoints = vec![share("fra1", 0.5, 0.0), share("plain", 0.5, 1.0)];
        assert_eq!(moved(&before, &after), Moved { share: 0.5, endpoints, unanswered: None });
        assert_eq!(moved(&before, &before), Moved::default(), "nothing changed");
    }
}
