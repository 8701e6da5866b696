//! What is given when nothing is eligible (CONTRACT 4.7). It relaxes health, and `drain` for want of anything better;
//! never `disabled`.

use std::collections::HashSet;

use crate::model::{AdminState, EndpointId, MemberRef, OnEmpty, Policy, Steering};
use crate::steering::pool::{self, distinct};
use crate::steering::sieve::{self, no_record};
use crate::steering::{Decision, Distribution, Given, Reason, Scene, Share, Stage, Tier, distribution};

/// Fills in what `policy.on_empty` gives, with its stage. The endpoints whose health had a say here are the result.
pub(super) fn fill(
    scene: &Scene,
    policy: &Policy,
    last_good: Option<&Distribution>,
    decision: &mut Decision,
) -> Vec<EndpointId> {
    match policy.on_empty {
        OnEmpty::Static => {
            decision.given = Given::Static;
            decision.stages.push(note(0, "static: the zone file's records of this name"));
        }
        OnEmpty::Nodata => decision.stages.push(note(0, "nodata: the answer is empty")),
        OnEmpty::All => {
            give(scene, policy, every_endpoint(scene, policy.root), "all: every endpoint of the pool", decision)
        }
        OnEmpty::LastGood => {
            decision.stale = true;
            // What was last given may differ from class to class, whoever it was that looked.
            decision.looks_at_client = may_look(scene, policy.root);
            let last = last_good.map(|last| still_there(scene, policy, last)).unwrap_or_default();
            let (tiers, why) = if last.is_empty() {
                (every_endpoint(scene, policy.root), "last_good: nothing was ever up, so every endpoint of the pool")
            } else {
                (last, "last_good: what was given while something was last up")
            };
            give(scene, policy, tiers, why, decision);
        }
        OnEmpty::Other(other) => return fall_back(scene, policy, other, decision),
    }
    Vec::new()
}

fn note(entered: usize, why: &str) -> Stage {
    Stage {
        note: Some(format!("nothing is eligible; on_empty = {why}")),
        ..Stage::new("on_empty", entered, Vec::new())
    }
}

/// Gives `tiers`, drawn from the candidates of the name's own pool.
fn give(scene: &Scene, policy: &Policy, tiers: Vec<Tier>, why: &str, decision: &mut Decision) {
    let given: HashSet<EndpointId> = tiers.iter().flat_map(Tier::endpoints).collect();
    let candidates = scene.endpoints_below(policy.root).into_iter().filter(|e| no_record(scene, *e).is_none());
    let (kept, dropped): (Vec<_>, Vec<_>) = candidates.partition(|endpoint| given.contains(endpoint));
    let entered = kept.len() + dropped.len();
    decision.stages.push(Stage {
        left: kept.len(),
        dropped: dropped.into_iter().map(|endpoint| Reason::new(endpoint, unused(scene, endpoint))).collect(),
        kept: kept.into_iter().map(|endpoint| Reason::new(endpoint, "given though it is not eligible")).collect(),
        ..note(entered, why)
    });
    if !tiers.is_empty() {
        decision.given = Given::Endpoints(distribution(policy, tiers));
    }
}

fn unused(scene: &Scene, endpoint: EndpointId) -> &'static str {
    match scene.model.endpoint(endpoint).state {
        AdminState::Disabled => "disabled: never answered with",
        AdminState::Drain => "drained: something else was last given",
        AdminState::Enabled => "not among what was last given",
    }
}

/// Gives what `other` gives; NODATA where that is empty as well.
fn fall_back(scene: &Scene, policy: &Policy, other: MemberRef, decision: &mut Decision) -> Vec<EndpointId> {
    let sieved = sieve::sieve(scene, other);
    let choice = pool::choose(scene, other, &sieved.eligible);
    decision.looks_at_client |= choice.looks_at_client;
    let mut stages = sieved.stages;
    stages.extend(choice.stages(scene, &sieved.eligible));
    let (entered, left) =
        (stages.first().map_or(0, |stage| stage.entered), stages.last().map_or(0, |stage| stage.left));
    let name = scene.name(other);
    let why = if left > 0 { format!("\"{name}\"") } else { format!("\"{name}\", which is empty as well: nodata") };
    let kept = stages.iter_mut().flat_map(|stage| std::mem::take(&mut stage.kept)).collect();
    let dropped = stages.into_iter().flat_map(|stage| stage.dropped).collect();
    decision.stages.push(Stage { left, kept, dropped, ..note(entered, &why) });
    if !choice.tiers.is_empty() {
        decision.given = Given::Endpoints(distribution(policy, choice.tiers));
    }
    sieved.considered
}

/// What was last given, without what has since gone from the pool or out of service.
fn still_there(scene: &Scene, policy: &Policy, last: &Distribution) -> Vec<Tier> {
    let own: HashSet<EndpointId> = scene.endpoints_below(policy.root).into_iter().collect();
    let stays = |endpoint: &EndpointId| {
        own.contains(endpoint)
            && no_record(scene, *endpoint).is_none()
            && scene.model.endpoint(*endpoint).state == AdminState::Enabled
    };
    let share = |share: &Share| {
        let endpoints: Vec<EndpointId> = share.endpoints.iter().copied().filter(stays).collect();
        (!endpoints.is_empty()).then(|| Share { endpoints, ..share.clone() })
    };
    let tiers = last.tiers.iter().map(|tier| Tier { shares: tier.shares.iter().filter_map(share).collect() });
    tiers.filter(|tier| !tier.shares.is_empty()).collect()
}

/// Every endpoint in one tier by its weight, whatever the pools steer by; together where the pool itself steers `all`.
fn every_endpoint(scene: &Scene, root: MemberRef) -> Vec<Tier> {
    let mut shares = Vec::new();
    spread(scene, root, 1.0, &mut shares);
    let mut tiers = distinct(vec![Tier { shares }]);
    if let MemberRef::Pool(id) = root
        && scene.model.pool(id).steering == Steering::All
    {
        tiers.iter_mut().for_each(|tier| join(scene, tier));
    }
    tiers
}

/// Makes one share of all addresses of a tier.
fn join(scene: &Scene, tier: &mut Tier) {
    let (aliases, addresses): (Vec<Share>, Vec<Share>) =
        std::mem::take(&mut tier.shares).into_iter().partition(|share| scene.is_alias(share.endpoints[0]));
    let weight = addresses.iter().map(|share| share.weight).sum();
    let endpoints: Vec<EndpointId> = addresses.into_iter().flat_map(|share| share.endpoints).collect();
    if !endpoints.is_empty() {
        tier.shares.push(Share { endpoints, weight, path: Vec::new() });
    }
    tier.shares.extend(aliases);
}

/// Divides `weight` among what is below `member`; a standby counts as much as the lightest of the others.
fn spread(scene: &Scene, member: MemberRef, weight: f64, shares: &mut Vec<Share>) {
    if !has_any(scene, member) {
        return;
    }
    let id = match member {
        MemberRef::Pool(id) => id,
        MemberRef::Endpoint(endpoint) => return shares.push(Share { weight, ..Share::of(endpoint) }),
    };
    let members: Vec<_> = scene.model.pool(id).members.iter().filter(|member| has_any(scene, member.to)).collect();
    let lightest = members.iter().map(|member| member.weight).filter(|weight| *weight > 0).min().unwrap_or(1);
    let counted = |weight: u32| f64::from(if weight == 0 { lightest } else { weight });
    let total: f64 = members.iter().map(|member| counted(member.weight)).sum();
    for member in members {
        spread(scene, member.to, weight * counted(member.weight) / total, shares);
    }
}

fn has_any(scene: &Scene, member: MemberRef) -> bool {
    let mut below = scene.endpoints_below(member).into_iter();
    below.any(|e| no_record(scene, e).is_none() && scene.model.endpoint(e).state != AdminState::Disabled)
}

/// Whether any pool below ranks by the client's place.
fn may_look(scene: &Scene, member: MemberRef) -> bool {
    match member {
        MemberRef::Endpoint(_) => false,
        MemberRef::Pool(id) => {
            let pool = scene.model.pool(id);
            let ranks = match pool.steering {
                Steering::Latency | Steering::Nearest | Steering::Geo => pool.members.len() > 1,
                Steering::Weighted | Steering::Failover | Steering::Affinity | Steering::All => false,
            };
            ranks || pool.members.iter().any(|member| may_look(scene, member.to))
        }
    }
}
