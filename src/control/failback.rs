//! Manual failback: moves a name whose failback is manual back to the first member that is up. These plain functions
//! find the name, decide whether failback applies to it, and report the result. [`respond`] is the HTTP handler; the
//! steering task publishes the new snapshot.

mod exclusive;
pub(super) mod respond;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::journal::JournalEvent;
use crate::control::moved::{MovedAnswers, moved};
use crate::control::overrides::of_zones;
use crate::fleet::events::EventKind;
use crate::model::{Failback, MemberRef, Model, PolicyId, PoolId, SteeredName, Zone};
use crate::snapshot::Snapshot;
use crate::source::did_you_mean;
use crate::wire::Name;

/// Why a name can't fail back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailbackError {
    /// There is no such name. The text names a similar one.
    NoName(String),
    /// Its failback is not manual. The text says which it is.
    NotManual(String),
    /// It is outside the zones of the token. The text names these.
    OutsideZones(String),
    /// An exclusive name stays where it is. The text says why.
    Stays(String),
}

impl std::fmt::Display for FailbackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FailbackError::NoName(why)
            | FailbackError::NotManual(why)
            | FailbackError::OutsideZones(why)
            | FailbackError::Stays(why) => f.write_str(why),
        }
    }
}

/// The response to `POST /v1/failback/NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailbackResponse {
    /// The full name.
    pub name: String,
    /// The pools that failed back; empty if there was nothing to do.
    pub handed_back: Vec<PoolMove>,
    /// The pools that stay, because their member is already the first that is up.
    pub stays: Vec<PoolStay>,
    /// Other names that failed back too, because they share the policy.
    pub also: Vec<String>,
    /// How the answers changed.
    pub moved: MovedAnswers,
    /// Whether the change is on the disk. If not, it is in force all the same, and a restart could lose it.
    #[serde(default)]
    pub on_disk: bool,
    /// Why the change is not on the disk yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The epoch of an exclusive name now; absent for other names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// A pool that failed back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct PoolMove {
    /// The pool.
    pub pool: String,
    /// The member before.
    pub from: String,
    /// The member now.
    pub to: String,
}

/// A pool that stays on its member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct PoolStay {
    /// The pool.
    pub pool: String,
    /// The member.
    pub member: String,
}

/// The policy of a name that can fail back, and the full name. It must be in one of `zones`; `None`: in any.
pub(crate) fn policy_of(
    model: &Model,
    name: &str,
    zones: Option<&[Name]>,
) -> Result<(PolicyId, String), FailbackError> {
    let steered = steered_within(model, name, zones)?;
    let (policy, whole) = (steered.policy, steered.owner.to_string());
    if model.policy(policy).exclusive.is_some() {
        return Err(FailbackError::Stays(format!("`{whole}` is exclusive: its lease moves it")));
    }
    let not_manual = |why: String| Err(FailbackError::NotManual(format!("`{whole}` can't be handed back: {why}")));
    if failover_pools(model, policy).is_empty() {
        return not_manual("no pool of it has steer = \"failover\"".to_owned());
    }
    match model.policy(policy).failback {
        Failback::Manual => Ok((policy, whole)),
        Failback::Auto => {
            not_manual("its failback is \"auto\": it goes back by itself as soon as an earlier member is up".to_owned())
        }
        Failback::After(time) => {
            let time = humantime::format_duration(time);
            not_manual(format!(
                "its failback is \"{time}\": it goes back when an earlier member has been up for that long"
            ))
        }
    }
}

/// The steered name called `name`. It must be in one of `zones`; `None`: in any.
fn steered_within<'m>(model: &'m Model, name: &str, zones: Option<&[Name]>) -> Result<&'m SteeredName, FailbackError> {
    let (zone, steered) = steered(model, name.trim())?;
    if let Some(zones) = zones.filter(|zones| !zones.contains(&zone.apex)) {
        let (limits, whole) = (of_zones(zones), steered.owner.to_string());
        return Err(FailbackError::OutsideZones(format!("{limits}, and `{whole}` is in {}", zone.apex)));
    }
    Ok(steered)
}

/// The steered name called `name`, if it is exclusive.
fn exclusive_named<'m>(model: &'m Model, name: &str, zones: Option<&[Name]>) -> Option<&'m SteeredName> {
    let steered = steered_within(model, name, zones).ok()?;
    model.policy(steered.policy).exclusive.is_some().then_some(steered)
}

/// The steered name called `name`: the full name, or the name as a policy file writes it if only one zone has it.
fn steered<'m>(model: &'m Model, name: &str) -> Result<(&'m Zone, &'m SteeredName), FailbackError> {
    let all = || model.zones.iter().flat_map(|zone| zone.steered.iter().map(move |steered| (&**zone, steered)));
    let whole = Name::parse(name).ok();
    if let Some(found) = all().find(|(_, steered)| Some(&steered.owner) == whole.as_ref()) {
        return Ok(found);
    }
    let of_label: Vec<(&Zone, &SteeredName)> = all().filter(|(_, steered)| steered.label == name).collect();
    match of_label[..] {
        [found] => return Ok(found),
        [] => {}
        [(_, first), (_, second), ..] => {
            let (first, second) = (first.owner.to_string(), second.owner.to_string());
            return Err(FailbackError::NoName(format!("`{name}` is in several zones; write {first} or {second}")));
        }
    }
    let names: Vec<String> = all().map(|(_, steered)| steered.owner.to_string()).collect();
    let wanted = format!("{}.", name.trim_end_matches('.'));
    let hint =
        did_you_mean(&wanted, names.iter().map(String::as_str)).map_or(String::new(), |hint| format!("; {hint}"));
    Err(FailbackError::NoName(format!("`{name}` is not a steered name{hint}")))
}

/// The failover pools below a policy.
fn failover_pools(model: &Model, policy: PolicyId) -> BTreeSet<u32> {
    let pools = model.pools_below(model.policy(policy).roots());
    pools.filter(|id| model.pool(*id).steering.has_failback()).map(|id| id.0).collect()
}

/// Compares the choices of a policy in two snapshots of one model.
pub(crate) fn report(before: &Snapshot, after: &Snapshot, policy: PolicyId, name: String) -> FailbackResponse {
    let (moves, stays) = pool_moves(before, after, policy);
    let owners = names_of(&after.model, policy).map(|(_, steered)| steered.owner.to_string());
    let also = owners.filter(|owner| *owner != name && !moves.is_empty());
    FailbackResponse {
        also: also.collect(),
        name,
        handed_back: moves.into_iter().collect(),
        stays: stays.into_iter().collect(),
        moved: moved(before, after),
        on_disk: true,
        warning: None,
        epoch: None,
    }
}

/// One event for each name of the policy and each pool that failed back. The event has the name in place of an
/// endpoint, and the members in place of the health before and after.
pub(crate) fn events(before: &Snapshot, after: &Snapshot, policy: PolicyId, who: &str, at: f64) -> Vec<JournalEvent> {
    let (moves, _) = pool_moves(before, after, policy);
    let event = |zone: &Zone, steered: &SteeredName, pool_move: &PoolMove| JournalEvent {
        // The journal sets it.
        id: String::new(),
        at,
        kind: EventKind::Failback,
        zone: zone.apex.to_string(),
        endpoint: steered.label.clone(),
        from: pool_move.from.clone(),
        to: pool_move.to.clone(),
        why: format!("handed back by {who}: pool {}", pool_move.pool),
        who: Some(who.to_owned()),
        generation: after.generation,
        monitor: None,
        relayed: false,
        of_override: None,
        region: None,
    };
    let names = names_of(&after.model, policy);
    names.flat_map(|(zone, steered)| moves.iter().map(move |pool_move| event(zone, steered, pool_move))).collect()
}

/// The names that a policy answers, with their zones.
fn names_of(model: &Model, policy: PolicyId) -> impl Iterator<Item = (&Zone, &SteeredName)> {
    let all = model.zones.iter().flat_map(|zone| zone.steered.iter().map(move |steered| (&**zone, steered)));
    all.filter(move |(_, steered)| steered.policy == policy)
}

/// The pools below a policy that chose another member in `after`, and those that stay.
fn pool_moves(before: &Snapshot, after: &Snapshot, policy: PolicyId) -> (BTreeSet<PoolMove>, BTreeSet<PoolStay>) {
    let model = &*after.model;
    let choices = |snapshot: &Snapshot| -> Vec<Choice> { snapshot.failover_choices(policy) };
    let text = |member: MemberRef| match member {
        MemberRef::Endpoint(id) => model.endpoint(id).name.clone(),
        MemberRef::Pool(id) => model.pool(id).name.clone(),
    };
    let (mut moves, mut stays) = (BTreeSet::new(), BTreeSet::new());
    // Both lists have the same facets and classes in the same order, because the policy is the same.
    for ((pool, old), (_, new)) in choices(before).into_iter().zip(choices(after)) {
        let pool = model.pool(pool).name.clone();
        match old == new {
            true => _ = stays.insert(PoolStay { pool, member: text(new) }),
            false => _ = moves.insert(PoolMove { pool, from: text(old), to: text(new) }),
        }
    }
    (moves, stays)
}

/// A failover pool and its current member.
type Choice = (PoolId, MemberRef);
