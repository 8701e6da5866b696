//! The first stages: who could be answered with at all. Each endpoint is judged by itself; where it stands in which
//! pool comes after.

use crate::model::{AdminState, EndpointId, Facet, Health, MemberRef};
use crate::steering::{Reason, Scene, Stage};

/// What is left of a member's endpoints, in listed order.
pub(super) struct Sieved {
    /// Those with something to say to this question.
    pub(super) candidates: Vec<EndpointId>,
    /// Those of them whose health counts: the TTL is bound by what may happen to them.
    pub(super) considered: Vec<EndpointId>,
    /// Those of them that are up.
    pub(super) eligible: Vec<EndpointId>,
    /// `candidates`, and, where there was one, `state` and `health`.
    pub(super) stages: Vec<Stage>,
}

/// Sorts out the endpoints below `root`.
pub(super) fn sieve(scene: &Scene, root: MemberRef) -> Sieved {
    let all = scene.endpoints_below(root);
    let (candidates, mut stage) = keep("candidates", &all, |endpoint| no_record(scene, endpoint));
    if candidates.is_empty() {
        stage.note = Some("no endpoint has a record of this type: the answer is empty".to_owned());
        return Sieved { candidates, considered: Vec::new(), eligible: Vec::new(), stages: vec![stage] };
    }
    let (considered, state) = keep("state", &candidates, |endpoint| out_of_service(scene, endpoint).map(str::to_owned));
    let (eligible, mut health) = keep("health", &considered, |endpoint| unhealthy(scene, endpoint));
    health.kept = eligible.iter().map(|endpoint| Reason::new(*endpoint, healthy(scene, *endpoint))).collect();
    Sieved { candidates, considered, eligible, stages: vec![stage, state, health] }
}

/// Those that `objection` says nothing against, and the stage that tells of the others.
fn keep(
    name: &'static str,
    entered: &[EndpointId],
    objection: impl Fn(EndpointId) -> Option<String>,
) -> (Vec<EndpointId>, Stage) {
    let (mut left, mut dropped) = (Vec::new(), Vec::new());
    for &endpoint in entered {
        match objection(endpoint) {
            Some(why) => dropped.push(Reason { endpoint, why }),
            None => left.push(endpoint),
        }
    }
    (left, Stage::new(name, entered.len(), dropped))
}

/// Why an endpoint has nothing to say to this question.
pub(super) fn no_record(scene: &Scene, endpoint: EndpointId) -> Option<String> {
    let lacking = match scene.facet {
        Facet::V4 => "no IPv4 address",
        Facet::V6 => "no IPv6 address",
        Facet::Alias => "no cname",
        Facet::Srv | Facet::Https | Facet::Svcb => "no address and no cname",
    };
    scene.answerable(endpoint).is_none().then(|| lacking.to_owned())
}

fn out_of_service(scene: &Scene, endpoint: EndpointId) -> Option<&'static str> {
    match scene.model.endpoint(endpoint).state {
        AdminState::Enabled => None,
        AdminState::Drain => Some("drained: state = \"drain\" in the policy file"),
        AdminState::Disabled => Some("disabled: state = \"disabled\" in the policy file"),
    }
}

fn unhealthy(scene: &Scene, endpoint: EndpointId) -> Option<String> {
    let check = scene.check(endpoint).filter(|check| !check.is_eligible())?;
    let verdict = match check.health {
        Health::Up => "up",
        Health::Down => "down",
        Health::Unknown => "unknown: probed without a verdict, so counted as down",
    };
    let cause = check.evidence.iter().find_map(|evidence| Some((evidence.why.as_ref()?, &evidence.vantage)));
    Some(match cause {
        Some((why, vantage)) => format!("{verdict}: {why}, says {vantage}"),
        None => verdict.to_owned(),
    })
}

fn healthy(scene: &Scene, endpoint: EndpointId) -> &'static str {
    match scene.check(endpoint).map(|check| check.health) {
        None => "no monitor: always up",
        Some(Health::Up) => "up",
        Some(Health::Unknown) => "unknown: not probed yet, so counted as up",
        Some(Health::Down) => "down",
    }
}
