//! `POST /v1/failback/NAME`: hands a name whose failback is manual back to the first member that is up. What the name is,
//! whether it can be handed back and what came of it are plain functions; the steering task publishes.

pub(super) mod respond;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::did_you_mean;
use crate::control::journal::JournalEvent;
use crate::control::moved::{MovedAnswers, moved};
use crate::model::{Failback, MemberRef, Model, PolicyId, PoolId, SteeredName, Steering, Zone};
use crate::snapshot::Snapshot;
use crate::wire::Name;

/// Why a name is not handed back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailbackError {
    /// There is no such name; says what is near.
    NoName(String),
    /// Its failback is not manual; says what it is.
    NotManual(String),
}

impl std::fmt::Display for FailbackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FailbackError::NoName(why) | FailbackError::NotManual(why) => f.write_str(why),
        }
    }
}

/// The answer to `POST /v1/failback/NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailbackResponse {
    /// The name, whole.
    pub name: String,
    /// The pools that were handed back; empty: there was nothing to do.
    pub handed_back: Vec<PoolMove>,
    /// The pools that stay where they are: that member is the first that is up.
    pub stays: Vec<PoolStay>,
    /// Other names that share the choice, and went along: their policies say the same.
    pub also: Vec<String>,
    /// What it did to the answers.
    pub moved: MovedAnswers,
    /// What an operator must know: that it would not survive a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A pool that was handed back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolMove {
    /// The pool.
    pub pool: String,
    /// The member that it stayed on.
    pub from: String,
    /// The member that it is on now.
    pub to: String,
}

/// A pool that stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolStay {
    /// The pool.
    pub pool: String,
    /// The member that it is on.
    pub member: String,
}

/// The policy of a name that can be handed back, and the name whole.
pub(crate) fn policy_of(model: &Model, name: &str) -> Result<(PolicyId, String), FailbackError> {
    let (_, steered) = steered(model, name.trim())?;
    let (policy, whole) = (steered.policy, steered.owner.to_string());
    let refused = |why: String| Err(FailbackError::NotManual(format!("`{whole}` can't be handed back: {why}")));
    if failover_pools(model, policy).is_empty() {
        return refused("no pool of it has steer = \"failover\"".to_owned());
    }
    match model.policy(policy).failback {
        Failback::Manual => Ok((policy, whole)),
        Failback::Auto => {
            refused("its failback is \"auto\": it goes back by itself as soon as an earlier member is up".to_owned())
        }
        Failback::After(time) => {
            let time = humantime::format_duration(time);
            refused(format!(
                "its failback is \"{time}\": it goes back when an earlier member has been up for that long"
            ))
        }
    }
}

/// The steered name that is meant: whole, or as its policy file writes it where only one zone has that.
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

/// What became of a policy's choices between two snapshots of one model.
pub(crate) fn report(before: &Snapshot, after: &Snapshot, policy: PolicyId, name: String) -> FailbackResponse {
    let (turned, stays) = turns(before, after, policy);
    let owners = names_of(&after.model, policy).map(|(_, steered)| steered.owner.to_string());
    let also = owners.filter(|owner| *owner != name && !turned.is_empty());
    FailbackResponse {
        also: also.collect(),
        name,
        handed_back: turned.into_iter().collect(),
        stays: stays.into_iter().collect(),
        moved: moved(before, after),
        warning: None,
    }
}

/// An event for each name that was handed back and each of its pools; none where there was nothing to do. The name is
/// where other events have an endpoint, and the members are where they have its health.
pub(crate) fn events(before: &Snapshot, after: &Snapshot, policy: PolicyId, who: &str, at: f64) -> Vec<JournalEvent> {
    let (turned, _) = turns(before, after, policy);
    let event = |zone: &Zone, steered: &SteeredName, turn: &PoolMove| JournalEvent {
        // The journal gives it.
        id: String::new(),
        at,
        zone: zone.apex.to_string(),
        endpoint: steered.label.clone(),
        from: turn.from.clone(),
        to: turn.to.clone(),
        why: format!("handed back by {who}: pool {}", turn.pool),
        generation: after.generation,
        monitor: None,
        region: None,
    };
    let names = names_of(&after.model, policy);
    names.flat_map(|(zone, steered)| turned.iter().map(move |turn| event(zone, steered, turn))).collect()
}

/// The names that a policy answers, with their zones.
fn names_of(model: &Model, policy: PolicyId) -> impl Iterator<Item = (&Zone, &SteeredName)> {
    let all = model.zones.iter().flat_map(|zone| zone.steered.iter().map(move |steered| (&**zone, steered)));
    all.filter(move |(_, steered)| steered.policy == policy)
}

/// Which pools below a policy chose another member in `after`, and which stay.
fn turns(before: &Snapshot, after: &Snapshot, policy: PolicyId) -> (BTreeSet<PoolMove>, BTreeSet<PoolStay>) {
    let model = &*after.model;
    let choices = |snapshot: &Snapshot| -> Vec<Choice> { snapshot.failover_choices(policy) };
    let text = |member: MemberRef| model.member_name(member).to_owned();
    let (mut turned, mut stays) = (BTreeSet::new(), BTreeSet::new());
    // Both are of the same facets and classes in the same order, as both are of one policy.
    for ((pool, old), (_, new)) in choices(before).into_iter().zip(choices(after)) {
        let pool = model.pool(pool).name.clone();
        match old == new {
            true => _ = stays.insert(PoolStay { pool, member: text(new) }),
            false => _ = turned.insert(PoolMove { pool, from: text(old), to: text(new) }),
        }
    }
    (turned, stays)
}

/// A failover pool, and the member that it is on.
type Choice = (PoolId, MemberRef);
