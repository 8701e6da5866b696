//! Plans a drill: what is lost, who would go where by a simulation, and why it must not be done, if so. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::control::drill::PostDrill;
use crate::control::drill::questions::questions;
use crate::control::simulate::{
    Bounds, EmptyAnswer, SimulationError, SimulationReport, SimulationRequest, SimulationResult, simulate,
};
use crate::control::target::{self, Target};
use crate::drill::{DrillKind, DrillPlan, LostEndpoint, LostSet, ShareMove};
use crate::model::{AdminState, Endpoint, EndpointId, Health, Model, OverrideState, VantageState, WorldView};
use crate::snapshot::Snapshot;

/// Most names in one reason of a refusal (judgment: a person reads the first ones).
const NAMED: usize = 5;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DrillRefusal {
    /// There is no such thing.
    Unknown(String),
    /// The request is wrong.
    Wrong(String),
    /// It would do harm.
    Harmful(String),
}

impl From<SimulationError> for DrillRefusal {
    fn from(error: SimulationError) -> DrillRefusal {
        DrillRefusal::Wrong(error.to_string())
    }
}

/// The plan and the loss of a drill in the world that is served. `own` is the address of the client, and `node` the
/// name of this node in its fleet, if it is in one.
pub(super) fn plan(
    snapshot: &Snapshot,
    request: &PostDrill,
    lasting: Duration,
    own: IpAddr,
    node: Option<&str>,
) -> Result<(DrillPlan, LostSet), DrillRefusal> {
    let (model, view) = (&*snapshot.model, &*snapshot.view);
    let mut notes = Vec::new();
    let (lost, lose) = lost_set(model, view, request, node, &mut notes)?;
    let simulation =
        SimulationRequest { lose, demand: request.demand.clone(), qps: request.qps, ..SimulationRequest::default() };
    let SimulationResult::One(simulated) = simulate(snapshot, snapshot, &simulation, Bounds::OF_SERVER)? else {
        return Err(DrillRefusal::Wrong("a drill is one loss".to_owned()));
    };
    let mut reasons: Vec<String> = not_now(model, view, &lost).into_iter().collect();
    reasons.extend(exclusive(model, &lost));
    reasons.extend(harm(&simulated, &mut notes));
    reasons.extend(drained(model, view, &simulated));
    if !reasons.is_empty() {
        return Err(DrillRefusal::Harmful(format!("the drill is refused: {}", reasons.join("; "))));
    }
    let moves = simulated.endpoints.iter().filter(|of| (of.before - of.after).abs() > 1e-9);
    let moves = moves.map(|of| ShareMove {
        endpoint: of.endpoint.clone(),
        zone: of.zone.clone(),
        before: of.before,
        after: of.after,
        qps: of.qps_after,
        capacity: of.capacity,
    });
    let (questions, left_out) = questions(snapshot, &lost, own);
    if left_out > 0 {
        notes.push(format!("{left_out} more names or classes of clients change; the client does not measure these"));
    }
    if questions.is_empty() && request.drill.loses_endpoints() {
        notes.push("no answer that the client can ask for has a lost endpoint: nothing is measured".to_owned());
    }
    notes.extend(simulated.notes.iter().cloned());
    let plan = DrillPlan {
        drill: request.drill,
        target: request.target.clone(),
        for_secs: lasting.as_secs_f64(),
        generation: snapshot.generation,
        lost: lost.endpoints.iter().map(|id| lost_endpoint(model, *id)).collect(),
        lost_vantages: lost.vantages.iter().map(ToString::to_string).collect(),
        moves: moves.collect(),
        questions,
        dns: Vec::new(),
        qps: simulated.qps,
        demand: simulated.demand,
        notes,
    };
    Ok((plan, lost))
}

fn lost_endpoint(model: &Model, id: EndpointId) -> LostEndpoint {
    let endpoint = model.endpoint(id);
    LostEndpoint {
        endpoint: endpoint.name.clone(),
        zone: model.zone(endpoint.zone).apex.to_string(),
        region: endpoint.region.map(|region| model.region(region).name.clone()),
    }
}

/// What a request loses, and the same as targets of a simulation.
fn lost_set(
    model: &Model,
    view: &WorldView,
    request: &PostDrill,
    node: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<(LostSet, Vec<String>), DrillRefusal> {
    let (kind, name) = (request.drill, request.target.as_str());
    if name.is_empty() != (kind == DrillKind::LoseFleet) {
        let expected = if name.is_empty() { "needs a \"target\"" } else { "has no \"target\"" };
        return Err(DrillRefusal::Wrong(format!("{} {expected}", kind.as_str())));
    }
    let (meant, mut vantages, lose) = match kind {
        DrillKind::LoseRegion => {
            let text = format!("{}{name}", target::REGION);
            let region = model.region_named(name);
            let region = region.ok_or_else(|| DrillRefusal::Unknown(target::no_target(&text, model)))?;
            let of_region = view.vantages.iter().filter(|vantage| vantage.region == region);
            let vantages: BTreeSet<Arc<str>> = of_region.map(|vantage| vantage.name.clone()).collect();
            (target::endpoints_of(&text, model), vantages, vec![text])
        }
        DrillKind::LoseEndpoint => {
            if !Target::parse(name).is_endpoint() {
                let expected = "lose-endpoint needs the name of one endpoint, or ZONE/ENDPOINT";
                return Err(DrillRefusal::Wrong(format!("{expected}; found `{name}`")));
            }
            let found = target::endpoints_of(name, model);
            if found.is_empty() {
                return Err(DrillRefusal::Unknown(target::no_target(name, model)));
            }
            (found, BTreeSet::new(), vec![name.to_owned()])
        }
        DrillKind::LoseVantage => (Vec::new(), [name.into()].into(), vec![format!("vantage:{name}")]),
        DrillKind::LoseFleet => {
            let others = view.vantages.iter().map(|vantage| &vantage.name);
            let others = others.filter(|name| node.is_some_and(|node| node != &***name));
            let others: BTreeSet<Arc<str>> = others.cloned().collect();
            let lose = others.iter().map(|name| format!("vantage:{name}")).collect();
            (Vec::new(), others, lose)
        }
    };
    if vantages.len() == view.vantages.len() && !vantages.is_empty() {
        let why = "no other vantage would be left";
        if kind == DrillKind::LoseVantage && view.vantages.iter().any(|vantage| vantages.contains(&vantage.name)) {
            return Err(DrillRefusal::Harmful(format!("the drill is refused: {why} to measure anything")));
        }
        notes.push(format!("the vantages of {} go on: {why}", kind.subject(name)));
        vantages.clear();
    }
    if kind == DrillKind::LoseFleet && vantages.is_empty() {
        let why = "the drill is refused: this server has no reports of other nodes".to_owned();
        return Err(DrillRefusal::Harmful(why));
    }
    let lost = LostSet::of(model, kind, &meant, vantages);
    if kind.loses_endpoints() && lost.keys.is_empty() {
        let why = format!("none of the endpoints of {} has a monitor", kind.subject(name));
        return Err(DrillRefusal::Harmful(format!("the drill is refused: {why}, so their loss would not be noticed")));
    }
    let others: Vec<String> =
        lost.endpoints.iter().filter(|id| !meant.contains(id)).map(|id| named(model, *id)).collect();
    if !others.is_empty() {
        notes.push(format!("{} have the same checks and are lost too", some(&others)));
    }
    Ok((lost, lose))
}

/// Why no drill may begin now: something is down already, or not observed.
pub(crate) fn not_now(model: &Model, view: &WorldView, lost: &LostSet) -> Option<String> {
    let is_down = |endpoint: &Endpoint| {
        let health = view.endpoint(endpoint);
        let was_tried = || endpoint.answerables.iter().filter_map(|side| side.check).any(|id| view.check(id).tried);
        endpoint.state != AdminState::Disabled && (health == Health::Down || (health == Health::Unknown && was_tried()))
    };
    let down = model.endpoints.iter().zip(0..).filter(|(endpoint, _)| is_down(endpoint));
    let down: Vec<String> = down.map(|(_, id)| named(model, EndpointId(id))).collect();
    if !down.is_empty() {
        return Some(format!("{} {} down already", some(&down), if down.len() == 1 { "is" } else { "are" }));
    }
    let unmeasured = lost.endpoints.iter().find(|id| view.endpoint(model.endpoint(**id)) == Health::Unknown);
    if let Some(id) = unmeasured {
        return Some(format!("{} is not measured yet", named(model, *id)));
    }
    let deaf = view.vantages.iter().find(|vantage| vantage.state != VantageState::Up);
    deaf.map(|vantage| format!("vantage {} is {}", vantage.name, vantage.state.as_str()))
}

/// A drill must not promote anything.
fn exclusive(model: &Model, lost: &LostSet) -> Option<String> {
    let names = model.zones.iter().flat_map(|zone| &zone.steered);
    let moved = names.filter(|name| {
        let policy = model.policy(name.policy);
        policy.exclusive.is_some() && policy.endpoints.iter().any(|id| lost.endpoints.contains(id))
    });
    let moved: Vec<String> = moved.map(|name| name.owner.to_string()).collect();
    (!moved.is_empty())
        .then(|| format!("the loss could promote another endpoint of {}, which is exclusive", some(&moved)))
}

/// What the simulation shows that must not happen.
fn harm(simulated: &SimulationReport, notes: &mut Vec<String>) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for over in simulated.exceeded.iter().take(NAMED) {
        let (endpoint, qps, capacity) = (&over.endpoint, over.qps, over.capacity);
        reasons.push(format!("{endpoint} would get {qps:.0} queries a second, and its capacity is {capacity}"));
    }
    if simulated.exceeded.len() > NAMED {
        reasons.push(format!("{} more endpoints would exceed their capacity", simulated.exceeded.len() - NAMED));
    }
    if !simulated.unanswered.is_nobody() {
        reasons.push(simulated.unanswered.sentence("would get"));
    }
    let newly: Vec<_> = simulated.empty.iter().filter(|empty| !empty.already).collect();
    let fenced: Vec<String> = newly
        .iter()
        .filter_map(|empty| Some(format!("{} for {} (fence {})", empty.name, empty.class, empty.fence.as_ref()?)))
        .collect();
    if !fenced.is_empty() {
        reasons.push(format!("nothing inside the fence would be up: {}", some(&fenced)));
    }
    let is_fallback = |answer| match answer {
        EmptyAnswer::Stale | EmptyAnswer::Static | EmptyAnswer::Fallback => true,
        EmptyAnswer::Nothing => false,
    };
    let fallen: Vec<String> = newly
        .iter()
        .filter(|empty| empty.fence.is_none() && is_fallback(empty.answer))
        .map(|empty| format!("{} for {} (on_empty {})", empty.name, empty.class, empty.on_empty))
        .collect();
    if !fallen.is_empty() {
        notes.push(format!("nothing would be up, so on_empty answers: {}", some(&fallen)));
    }
    reasons
}

/// Endpoints that an operator has taken out, and that clients would get because nothing else is left.
fn drained(model: &Model, view: &WorldView, simulated: &SimulationReport) -> Option<String> {
    let is_out = |(id, endpoint): &(u32, &Endpoint)| match view.override_of(EndpointId(*id)).map(|of| of.state) {
        Some(OverrideState::Drain | OverrideState::Down) => true,
        Some(OverrideState::Up) => false,
        None => endpoint.state == AdminState::Drain,
    };
    let gets_more = |(_, endpoint): &(u32, &Endpoint)| {
        let zone = model.zone(endpoint.zone).apex.to_string();
        let of = simulated.endpoints.iter().find(|of| of.endpoint == endpoint.name && of.zone == zone);
        of.is_some_and(|of| of.after > of.before + 1e-9)
    };
    let out = (0..).zip(&model.endpoints).filter(is_out).filter(gets_more);
    let out: Vec<String> = out.map(|(_, endpoint)| endpoint.name.clone()).collect();
    let are = if out.len() == 1 { "is" } else { "are" };
    (!out.is_empty()).then(|| format!("clients would get {}, which {are} drained", some(&out)))
}

fn named(model: &Model, id: EndpointId) -> String {
    model.endpoint(id).name.clone()
}

/// The first few of a list.
fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}
