//! What is given when nothing is left (CONTRACT 4.7). It relaxes health, and `drain` for want of anything better; never
//! `disabled`, and never the fence.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::model::{AdminState, EndpointId, MemberRef, OnEmpty, PoolId, Steering};
use crate::steering::operator::is_drained;
use crate::steering::sieve::{self, no_record};
use crate::steering::tiers::{distinct, key_of};
use crate::steering::{
    Decision, Distribution, Given, Prospects, Reason, Scene, Share, Stage, Step, Tier, distribution, interest, pool,
};

/// Fills in what the policy's `on_empty` gives, with its stage. `eligible` are those that are up but that no pool
/// gives.
pub(super) fn fill(
    scene: &Scene,
    eligible: &[EndpointId],
    last_good: Option<&Distribution>,
    decision: &mut Decision,
    prospects: &mut Prospects,
) {
    let empty = Empty { scene: *scene, eligible };
    match scene.policy.on_empty {
        OnEmpty::Static => {
            // Clients that the fence holds are given nothing, others the zone file's records.
            decision.looks_at_client |= scene.policy.fence.is_some();
            if let Some(fence) = scene.held_by() {
                let why = format!(
                    "static, but nobody can tell whether the zone file's records are inside \"{}\": nodata",
                    fence.name
                );
                decision.stages.push(empty.note(0, &why));
            } else {
                decision.given = Given::Static;
                decision.stages.push(empty.note(0, "static: the zone file's records of this name"));
            }
        }
        OnEmpty::Nodata => decision.stages.push(empty.note(0, "nodata: the answer is empty")),
        OnEmpty::All => empty.give(empty.every_endpoint(), "all: every endpoint of the pool", decision),
        OnEmpty::LastGood => {
            decision.stale = true;
            // What was last given may differ from class to class, whoever it was that looked.
            decision.looks_at_client |= !interest::of(scene.model, scene.policy).is_none();
            let last = last_good.map(|last| empty.still_there(last)).unwrap_or_default();
            let (tiers, why) = if last.is_empty() {
                (empty.every_endpoint(), "last_good: nothing was ever up, so every endpoint of the pool")
            } else {
                (last, "last_good: what was given while something was last up")
            };
            empty.give(tiers, why, decision);
        }
        OnEmpty::Other(other) => empty.fall_back(other, decision, prospects),
    }
}

/// A policy whose pools give nothing.
struct Empty<'a> {
    scene: Scene<'a>,
    eligible: &'a [EndpointId],
}

impl Empty<'_> {
    fn note(&self, entered: usize, why: &str) -> Stage {
        let what = if self.eligible.is_empty() { "nothing is eligible" } else { "no pool gives what is eligible" };
        Stage { note: Some(format!("{what}; on_empty = {why}")), ..Stage::new("on_empty", entered, Vec::new()) }
    }

    /// Gives `tiers`, drawn from the candidates of the name's own pool inside the fence.
    fn give(&self, tiers: Vec<Tier>, why: &str, decision: &mut Decision) {
        let given: HashSet<EndpointId> = tiers.iter().flat_map(Tier::endpoints).collect();
        let (kept, dropped): (Vec<_>, Vec<_>) = self.own().partition(|endpoint| given.contains(endpoint));
        let entered = kept.len() + dropped.len();
        let kept_why = |endpoint: &EndpointId| match self.eligible.contains(endpoint) {
            true => "given though its pool counts as out",
            false => "given though it is not eligible",
        };
        decision.stages.push(Stage {
            left: kept.len(),
            dropped: dropped.into_iter().map(|endpoint| Reason::new(endpoint, self.unused(endpoint))).collect(),
            kept: kept.into_iter().map(|endpoint| Reason::new(endpoint, kept_why(&endpoint))).collect(),
            ..self.note(entered, why)
        });
        if !tiers.is_empty() {
            decision.given = Given::Endpoints(distribution(self.scene.policy, tiers));
        }
    }

    /// The candidates below the name's own pool that these clients may have.
    fn own(&self) -> impl Iterator<Item = EndpointId> {
        self.scene.endpoints_below(self.scene.policy.root).into_iter().filter(|endpoint| self.may_have(*endpoint))
    }

    fn may_have(&self, endpoint: EndpointId) -> bool {
        no_record(&self.scene, endpoint).is_none() && self.scene.held_by().is_none_or(|fence| fence.holds(endpoint))
    }

    fn state(&self, endpoint: EndpointId) -> AdminState {
        self.scene.model.endpoint(endpoint).state
    }

    fn unused(&self, endpoint: EndpointId) -> &'static str {
        if self.state(endpoint) == AdminState::Disabled {
            "disabled: never answered with"
        } else if is_drained(&self.scene, endpoint) {
            "drained: something else was last given"
        } else {
            "not among what was last given"
        }
    }

    /// Gives what `other` gives; NODATA where that is empty as well.
    fn fall_back(&self, other: MemberRef, decision: &mut Decision, prospects: &mut Prospects) {
        let scene = &self.scene;
        let sieved = sieve::sieve(scene, other);
        decision.looks_at_client |= sieved.looks_at_client;
        let mut choice = pool::choose(scene, other, &sieved);
        let mut stages = sieved.stages;
        stages.extend(choice.stages(scene, &sieved.eligible));
        let (entered, left) =
            (stages.first().map_or(0, |stage| stage.entered), stages.last().map_or(0, |stage| stage.left));
        let name = scene.name(other);
        let why = if left > 0 { format!("\"{name}\"") } else { format!("\"{name}\", which is empty as well: nodata") };
        let kept = stages.iter_mut().flat_map(|stage| std::mem::take(&mut stage.kept)).collect();
        let dropped = stages.into_iter().flat_map(|stage| stage.dropped).collect();
        decision.stages.push(Stage { left, kept, dropped, ..self.note(entered, &why) });
        let tiers = choice.hand_over(decision, prospects);
        if !tiers.is_empty() {
            decision.given = Given::Endpoints(distribution(scene.policy, tiers));
        }
        prospects.considered.extend(sieved.considered);
    }

    /// What was last given, without what has since gone from the pool or out of service.
    fn still_there(&self, last: &Distribution) -> Vec<Tier> {
        let own: HashSet<EndpointId> = self.own().collect();
        let stays = |endpoint: &EndpointId| {
            own.contains(endpoint)
                && self.state(*endpoint) != AdminState::Disabled
                && !is_drained(&self.scene, *endpoint)
        };
        let share = |share: &Share| {
            let endpoints: Vec<EndpointId> = share.endpoints.iter().copied().filter(stays).collect();
            (!endpoints.is_empty()).then(|| Share { endpoints, ..share.clone() })
        };
        let tiers = last.tiers.iter().map(|tier| Tier { shares: tier.shares.iter().filter_map(share).collect() });
        tiers.filter(|tier| !tier.shares.is_empty()).collect()
    }

    /// Every endpoint in one tier by its weight, whatever the pools steer by; together where the pool itself steers
    /// `all`.
    fn every_endpoint(&self) -> Vec<Tier> {
        let root = self.scene.policy.root;
        let shares = Rc::unwrap_or_clone(self.spread(root, &mut HashMap::new()));
        if shares.is_empty() {
            return Vec::new();
        }
        let mut tier = Tier { shares };
        if let MemberRef::Pool(id) = root
            && self.scene.model.pool(id).steering == Steering::All
        {
            self.join(&mut tier);
        }
        vec![tier]
    }

    /// Makes one share of all addresses of a tier.
    fn join(&self, tier: &mut Tier) {
        let (aliases, addresses): (Vec<Share>, Vec<Share>) =
            std::mem::take(&mut tier.shares).into_iter().partition(|share| self.scene.is_alias(share.endpoints[0]));
        let weight = addresses.iter().map(|share| share.weight).sum();
        let endpoints: Vec<EndpointId> = addresses.into_iter().flat_map(|share| share.endpoints).collect();
        if !endpoints.is_empty() {
            tier.shares.push(Share { endpoints, weight, path: Vec::new() });
        }
        tier.shares.extend(aliases.into_iter().map(|alias| Share { path: Vec::new(), ..alias }));
    }

    /// What is below a member, each endpoint once, weights that add up to 1; a standby counts as much as the lightest
    /// of the others. Pools keep being sticky, so that a client's net keeps its endpoint.
    fn spread(&self, member: MemberRef, known: &mut HashMap<PoolId, Rc<Vec<Share>>>) -> Rc<Vec<Share>> {
        let id = match member {
            MemberRef::Pool(id) => id,
            MemberRef::Endpoint(id) if self.may_have(id) && self.state(id) != AdminState::Disabled => {
                return Rc::new(vec![Share::of(id)]);
            }
            MemberRef::Endpoint(_) => return Rc::default(),
        };
        if let Some(shares) = known.get(&id) {
            return shares.clone();
        }
        let pool = self.scene.model.pool(id);
        let members: Vec<_> = pool.members.iter().map(|member| (member, self.spread(member.to, known))).collect();
        let able = || members.iter().filter(|(_, shares)| !shares.is_empty());
        let lightest = able().map(|(member, _)| member.weight).filter(|weight| *weight > 0).min().unwrap_or(1);
        let counted = |weight: u32| f64::from(if weight == 0 { lightest } else { weight });
        let total: f64 = able().map(|(member, _)| counted(member.weight)).sum();
        let sticky = self.scene.is_sticky(pool);
        let mut spread = Vec::new();
        for (member, shares) in able() {
            let step = Step { member: key_of(self.scene.name(member.to)), sticky };
            spread.extend(shares.iter().map(|share| Share {
                endpoints: share.endpoints.clone(),
                weight: share.weight * counted(member.weight) / total,
                path: std::iter::once(step).chain(share.path.iter().copied()).collect(),
            }));
        }
        let once = distinct(vec![Tier { shares: spread }]).pop().map(|tier| tier.shares);
        let shares = Rc::new(once.unwrap_or_default());
        known.insert(id, shares.clone());
        shares
    }
}
