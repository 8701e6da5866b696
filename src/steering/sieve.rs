//! The first stages: which endpoints could be answered with at all. Each is judged by itself; pools come after.

use crate::model::{EndpointId, Health, MemberRef};
use crate::steering::operator::{forced_up, is_drained, out_of_service};
use crate::steering::{Note, Reason, Scene, Sides, Stage, StageName, Unhealthy, Why, exclusive, fence};

/// Which endpoints pass, from strict to lenient. Endpoints that are forced down, disabled or outside the fence never
/// pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admit {
    /// Those that are up and in service, and within reach of the client's region.
    WithinReach,
    /// Those that are up and in service.
    Up,
    /// Those that are up, drained or not.
    UpOrDrained,
    /// Those that are in service, up or not.
    InService,
    /// All.
    Any,
}

impl Admit {
    fn admits_drained(self) -> bool {
        match self {
            Admit::WithinReach | Admit::Up | Admit::InService => false,
            Admit::UpOrDrained | Admit::Any => true,
        }
    }

    fn admits_down(self) -> bool {
        match self {
            Admit::WithinReach | Admit::Up | Admit::UpOrDrained => false,
            Admit::InService | Admit::Any => true,
        }
    }
}

/// The endpoints below a member after each stage, in listed order.
pub(super) struct Sieved {
    /// Those with a record for this question.
    pub(super) candidates: Vec<EndpointId>,
    /// The candidates that the fence allows to these clients; of an exclusive name only the active one.
    pub(super) inside: Vec<EndpointId>,
    /// Those of `inside` that passed the stage `state` and are not forced up. Their health counts, so the time until it
    /// may change limits the TTL.
    pub(super) considered: Vec<EndpointId>,
    /// Those that passed all stages: with [`Admit::InService`] and [`Admit::Any`] also some that are down.
    pub(super) eligible: Vec<EndpointId>,
    /// The stages `candidates`, `fence` (if the policy has one), `lease` (if it is exclusive), `state` and `health`.
    /// Only `candidates` if there are none.
    pub(super) stages: Vec<Stage>,
}

/// Applies the first stages to the endpoints below `root`.
pub(super) fn sieve(scene: &Scene, root: MemberRef, admit: Admit) -> Sieved {
    let all = scene.model.endpoints_below(root);
    let (candidates, mut stage) = drop_where(StageName::Candidates, &all, |endpoint| no_record(scene, endpoint));
    let mut sieved = Sieved {
        inside: candidates.clone(),
        candidates,
        considered: Vec::new(),
        eligible: Vec::new(),
        stages: Vec::with_capacity(5),
    };
    if sieved.candidates.is_empty() {
        stage.note = Some(Note::NoCandidate);
        sieved.stages.push(stage);
        return sieved;
    }
    sieved.stages.push(stage);
    if let Some((inside, stage)) = fence::fence(scene, &sieved.candidates) {
        sieved.inside = inside;
        sieved.stages.push(stage);
    }
    if let Some((active, stage)) = exclusive::by_lease(scene, &sieved.inside) {
        sieved.inside = active;
        sieved.stages.push(stage);
    }
    let (in_service, forced, state) = by_state(scene, &sieved.inside, admit);
    let (eligible, health) = by_health(scene, &in_service, &forced, admit);
    sieved.considered = in_service.into_iter().filter(|endpoint| !forced.contains(endpoint)).collect();
    sieved.eligible = eligible;
    sieved.stages.extend([state, health]);
    sieved
}

/// The endpoints that are in service, or drained if `admit` allows that; those of them that an override forces up; and
/// the stage.
fn by_state(scene: &Scene, inside: &[EndpointId], admit: Admit) -> (Vec<EndpointId>, Vec<EndpointId>, Stage) {
    let is_spared = |endpoint| admit.admits_drained() && is_drained(scene, endpoint);
    let objection = |endpoint| out_of_service(scene, endpoint);
    let (in_service, mut state) = drop_where(StageName::State, inside, |endpoint| {
        Some(Why::OutOfService(objection(endpoint).filter(|_| !is_spared(endpoint))?))
    });
    let forced_up = |id: &EndpointId| Some(Reason::new(*id, Why::ForcedUp(forced_up(scene, *id)?)));
    state.passed = in_service.iter().filter_map(forced_up).collect();
    let forced = state.passed.iter().map(|reason| reason.endpoint).collect();
    let drained = in_service.iter().filter(|endpoint| is_spared(**endpoint));
    let drained = drained.filter_map(|id| Some(Reason::new(*id, Why::OutOfServiceButGiven(objection(*id)?))));
    state.passed.extend(drained);
    (in_service, forced, state)
}

/// The endpoints that are up or forced up, or down if `admit` allows that; and the stage.
fn by_health(
    scene: &Scene,
    in_service: &[EndpointId],
    forced: &[EndpointId],
    admit: Admit,
) -> (Vec<EndpointId>, Stage) {
    let is_forced = |endpoint: EndpointId| forced.contains(&endpoint);
    let objection = |endpoint| if is_forced(endpoint) { None } else { unhealthy(scene, endpoint) };
    let out_of_reach = |endpoint| if is_forced(endpoint) { None } else { scene.out_of_reach(endpoint) };
    let (eligible, mut health) = drop_where(StageName::Health, in_service, |endpoint| match objection(endpoint) {
        Some(unhealthy) => (!admit.admits_down()).then_some(Why::Unhealthy(unhealthy)),
        None if admit == Admit::WithinReach => out_of_reach(endpoint).map(Why::OutOfReach),
        None => None,
    });
    let why = |endpoint| match objection(endpoint) {
        Some(unhealthy) => Why::UnhealthyButGiven(unhealthy),
        None => match out_of_reach(endpoint) {
            Some(region) => Why::OutOfReachButGiven(region),
            None => healthy(scene, endpoint, is_forced(endpoint)),
        },
    };
    health.passed = eligible.iter().map(|id| Reason::new(*id, why(*id))).collect();
    health.note = scene.policy.monitor.is_some().then_some(Note::OwnMonitor);
    (eligible, health)
}

/// Endpoints without an `objection`, and the stage that drops the others.
fn drop_where(
    name: StageName,
    entered: &[EndpointId],
    objection: impl Fn(EndpointId) -> Option<Why>,
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

/// Why an endpoint has no record for this question.
fn no_record(scene: &Scene, endpoint: EndpointId) -> Option<Why> {
    if scene.sides(endpoint).next().is_some() {
        return None;
    }
    Some(match scene.sides {
        Sides::Addresses if scene.is_cname(endpoint) => Why::AliasAmongAddresses,
        Sides::Whole => Why::NoRecordAtAll,
        Sides::Addresses | Sides::OfFacet => Why::NoRecord,
    })
}

fn unhealthy(scene: &Scene, endpoint: EndpointId) -> Option<Unhealthy> {
    let check = scene.check(endpoint).filter(|check| !check.is_eligible())?;
    Some(Unhealthy { health: check.health, cause: check.cause.clone() })
}

fn healthy(scene: &Scene, endpoint: EndpointId, is_forced: bool) -> Why {
    if is_forced && let Some(measured) = unhealthy(scene, endpoint) {
        return Why::UnhealthyButForcedUp(measured);
    }
    match scene.check(endpoint).map(|check| check.health) {
        None => Why::Unmonitored,
        Some(Health::Unknown) => Why::NotProbedYet,
        // Down is not eligible, so it does not come here.
        Some(Health::Up | Health::Down) => Why::Up,
    }
}
