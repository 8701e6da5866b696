//! The first stages: who could be answered with at all. Each endpoint is judged by itself; where it stands in which
//! pool comes after.

use crate::model::{EndpointId, Facet, Health, MemberRef};
use crate::steering::operator::{forced_up, is_drained, objection};
use crate::steering::{Reason, Scene, Sides, Stage, fence};

/// Who is let through, each of these more than the one before it in a time of need. Forced down, disabled and outside the
/// fence is out in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// What is up and in service.
    Up,
    /// What is up, drained or not.
    UpOrDrained,
    /// What is in service, up or not.
    InService,
    /// All of it.
    Any,
}

impl Admit {
    fn drained(self) -> bool {
        match self {
            Admit::Up | Admit::InService => false,
            Admit::UpOrDrained | Admit::Any => true,
        }
    }

    fn down(self) -> bool {
        match self {
            Admit::Up | Admit::UpOrDrained => false,
            Admit::InService | Admit::Any => true,
        }
    }
}

/// What is left of a member's endpoints, in listed order.
pub(super) struct Sieved {
    /// Those with something to say to this question.
    pub(super) candidates: Vec<EndpointId>,
    /// Those of them that the fence lets these clients have.
    pub(super) inside: Vec<EndpointId>,
    /// Those of them whose health counts: the TTL is bound by what may happen to them.
    pub(super) considered: Vec<EndpointId>,
    /// Those that are up.
    pub(super) eligible: Vec<EndpointId>,
    /// `candidates`, and, where there was one, `fence`, `state` and `health`.
    pub(super) stages: Vec<Stage>,
    /// Whether the fence lets clients of another class have others.
    pub(super) looks_at_client: bool,
}

/// Sorts out the endpoints below `root`.
pub(super) fn sieve(scene: &Scene, root: MemberRef, admit: Admit) -> Sieved {
    let all = scene.endpoints_below(root);
    let (candidates, mut stage) = keep("candidates", &all, |endpoint| no_record(scene, endpoint));
    let mut sieved = Sieved {
        inside: candidates.clone(),
        candidates,
        considered: Vec::new(),
        eligible: Vec::new(),
        stages: Vec::with_capacity(4),
        looks_at_client: false,
    };
    if sieved.candidates.is_empty() {
        stage.note = Some("no endpoint has a record of this type: the answer is empty".to_owned());
        sieved.stages.push(stage);
        return sieved;
    }
    sieved.stages.push(stage);
    if let Some((inside, stage, looks_at_client)) = fence::fence(scene, &sieved.candidates) {
        (sieved.inside, sieved.looks_at_client) = (inside, looks_at_client);
        sieved.stages.push(stage);
    }
    let spared = |endpoint| admit.drained() && is_drained(scene, endpoint);
    let objection = |endpoint| objection(scene, endpoint);
    let (in_service, mut state) = keep("state", &sieved.inside, |id| objection(id).filter(|_| !spared(id)));
    let forced: Vec<Reason> =
        in_service.iter().filter_map(|id| Some(Reason::new(*id, forced_up(scene, *id)?))).collect();
    let is_forced = |endpoint: &EndpointId| forced.iter().any(|reason| reason.endpoint == *endpoint);
    let unhealthy = |endpoint| if is_forced(&endpoint) { None } else { unhealthy(scene, endpoint) };
    let (eligible, mut health) = keep("health", &in_service, |id| unhealthy(id).filter(|_| !admit.down()));
    let all_the_same = |id| unhealthy(id).map(|why| format!("{why}; given all the same"));
    let words = |id| all_the_same(id).unwrap_or_else(|| healthy(scene, id, is_forced(&id)));
    health.kept = eligible.iter().map(|id| Reason::new(*id, words(*id))).collect();
    health.note = scene.policy.monitor.as_ref().map(|own| format!("by the monitor of the name, \"{}\"", own.name));
    let drained = in_service.iter().filter(|id| spared(**id));
    let drained = drained.filter_map(|id| Some(Reason::new(*id, format!("{}; given all the same", objection(*id)?))));
    state.kept = forced.iter().cloned().chain(drained).collect();
    sieved.considered = in_service.iter().copied().filter(|endpoint| !is_forced(endpoint)).collect();
    sieved.eligible = eligible;
    sieved.stages.extend([state, health]);
    sieved
}

/// Those that `objection` says nothing against, and the stage that tells of the others.
fn keep(
    name: &'static str,
    entered: &[EndpointId],
    objection: impl Fn(EndpointId) -> Option<String>,
) -> (Vec<EndpointId>, Stage) {
    let (mut left, mut dropped) = (Vec::with_capacity(entered.len()), Vec::new());
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
    let lacking = match (scene.sides, scene.facet) {
        (Sides::Addresses, _) if scene.is_cname(endpoint) => "a cname, and the name has addresses now: not both",
        (Sides::Whole, _) => "no address of a type that the name answers, and no cname",
        (_, facet) => lacking(facet),
    };
    scene.sides(endpoint).next().is_none().then(|| lacking.to_owned())
}

/// What an endpoint lacks that has nothing for a facet.
pub(super) fn lacking(facet: Facet) -> &'static str {
    match facet {
        Facet::V4 => "no IPv4 address",
        Facet::V6 => "no IPv6 address",
        Facet::Alias => "no cname",
        Facet::Srv | Facet::Https | Facet::Svcb => "no address and no cname",
    }
}

fn unhealthy(scene: &Scene, endpoint: EndpointId) -> Option<String> {
    let check = scene.check(endpoint).filter(|check| !check.is_eligible())?;
    let verdict = match check.health {
        Health::Up => "up",
        Health::Down => "down",
        Health::Unknown => "unknown: probed without a verdict, so counted as down",
    };
    // Who was believed has the reason.
    let said = check.evidence.iter().filter(|said| said.health == check.health);
    let cause = said.into_iter().find_map(|said| Some((said.why.as_ref()?, &said.vantage)));
    Some(match cause {
        Some((why, vantage)) => format!("{verdict}: {why}, says {vantage}"),
        None => verdict.to_owned(),
    })
}

fn healthy(scene: &Scene, endpoint: EndpointId, is_forced: bool) -> String {
    if is_forced && let Some(measured) = unhealthy(scene, endpoint) {
        return format!("up by override; measured {measured}");
    }
    let told = match scene.check(endpoint).map(|check| check.health) {
        None => "no monitor: always up",
        Some(Health::Up) => "up",
        Some(Health::Unknown) => "unknown: not probed yet, so counted as up",
        Some(Health::Down) => "down",
    };
    told.to_owned()
}
