//! Everything below a name's pool, up or not: what `on_empty = "all"` gives, and `last_good` where there was no good
//! answer yet.
//! It is one tier by weight, whatever the pools rank by. But a failover pool gives one member, and a pool that steers
//! `all` gives its members together.

use std::collections::HashMap;
use std::rc::Rc;

use crate::model::tree::OnceSet;
use crate::model::{EndpointId, Failback, Gives, Member, MemberRef, Pool, PoolId};
use crate::steering::operator::is_drained;
use crate::steering::tiers::{distinct, key_of};
use crate::steering::{PathStep, Scene, Share, Tier};

/// Which members of `geo` pools are spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branches {
    /// Every member, for all clients.
    All,
    /// The members whose `when` holds for the client.
    OfClient,
}

/// One tier of the endpoints of `allowed` below the name's own pool; none where there are none.
pub(super) fn spread(scene: &Scene, allowed: &[EndpointId], branches: Branches) -> Vec<Tier> {
    let root = scene.policy.root;
    let mut spread = Spread { scene: *scene, allowed, branches, known: HashMap::new() };
    let shares = Rc::unwrap_or_clone(spread.member(root));
    if shares.is_empty() {
        return Vec::new();
    }
    vec![Tier { shares }]
}

/// What a pool that steers `all` gives: one share of all addresses.
fn join(scene: &Scene, shares: Vec<Share>) -> Vec<Share> {
    let (aliases, addresses): (Vec<Share>, Vec<Share>) =
        shares.into_iter().partition(|share| scene.is_alias(share.endpoints[0]));
    let weight = addresses.iter().map(|share| share.weight).sum();
    // An endpoint may be in several shares, and is in a reply once.
    let mut seen = OnceSet::default();
    let endpoints = addresses.into_iter().flat_map(|share| share.endpoints).filter(|endpoint| seen.insert(*endpoint));
    let endpoints: Vec<EndpointId> = endpoints.collect();
    let mut joined = Vec::with_capacity(1 + aliases.len());
    if !endpoints.is_empty() {
        joined.push(Share { endpoints, weight, path: Vec::new() });
    }
    joined.extend(aliases.into_iter().map(|alias| Share { path: Vec::new(), ..alias }));
    joined
}

struct Spread<'a> {
    scene: Scene<'a>,
    allowed: &'a [EndpointId],
    branches: Branches,
    known: HashMap<PoolId, Rc<Vec<Share>>>,
}

impl<'a> Spread<'a> {
    /// What is below a member: each endpoint once, with weights that add up to 1. A standby has the weight of the
    /// lightest other member. Paths are as in other answers, so that a client's net has the same endpoint as before.
    fn member(&mut self, member: MemberRef) -> Rc<Vec<Share>> {
        let id = match member {
            MemberRef::Pool(id) => id,
            MemberRef::Endpoint(id) if self.allowed.contains(&id) => return Rc::new(vec![Share::of(id)]),
            MemberRef::Endpoint(_) => return Rc::default(),
        };
        if let Some(shares) = self.known.get(&id) {
            return shares.clone();
        }
        let pool = self.scene.model.pool(id);
        let members: Vec<(&Member, Rc<Vec<Share>>)> = match pool.steering.has_failback() {
            true => self.first(id, pool).into_iter().collect(),
            false => {
                let client = self.scene.client;
                let is_for = |when| self.branches == Branches::All || client.is_selected(when);
                let members: Vec<&Member> =
                    pool.members.iter().filter(|member| pool.selector(member).is_none_or(is_for)).collect();
                members.into_iter().map(|member| (member, self.member(member.to))).collect()
            }
        };
        let weighed = self.weigh(pool, &members);
        let shares =
            Rc::new(if pool.steering.gives() == Gives::Together { join(&self.scene, weighed) } else { weighed });
        self.known.insert(id, shares.clone());
        shares
    }

    /// The one member of a failover pool: its incumbent, where `failback` retains one; else the first in its order,
    /// members that are not drained before those that are.
    fn first(&mut self, id: PoolId, pool: &'a Pool) -> Option<(&'a Member, Rc<Vec<Share>>)> {
        let mut order: Vec<&Member> = pool.in_order().collect();
        let stays = self.scene.standing(id).filter(|_| self.scene.policy.failback != Failback::Auto);
        if let Some(standing) = stays {
            order.sort_by_key(|member| !standing.incumbents.contains(&member.to));
        }
        let members = order.into_iter().map(|member| (member, self.member(member.to)));
        let able: Vec<(&Member, Rc<Vec<Share>>)> = members.filter(|(_, shares)| !shares.is_empty()).collect();
        let is_drained = |endpoint: &EndpointId| is_drained(&self.scene, *endpoint);
        let in_service = |shares: &[Share]| shares.iter().flat_map(|share| &share.endpoints).any(|e| !is_drained(e));
        let first = able.iter().find(|(_, shares)| in_service(shares)).or(able.first());
        first.cloned()
    }

    /// Members side by side.
    fn weigh(&self, pool: &Pool, members: &[(&Member, Rc<Vec<Share>>)]) -> Vec<Share> {
        let able = || members.iter().filter(|(_, shares)| !shares.is_empty());
        let lightest = able().map(|(member, _)| member.weight).filter(|weight| *weight > 0).min().unwrap_or(1);
        let counted = |weight: u32| f64::from(if weight == 0 { lightest } else { weight });
        let total: f64 = able().map(|(member, _)| counted(member.weight)).sum();
        let by_net = self.scene.is_by_net(pool);
        let mut spread = Vec::new();
        for (member, shares) in able() {
            let step = PathStep { member: key_of(self.scene.model.member_name(member.to)), by_net };
            spread.extend(shares.iter().map(|share| Share {
                endpoints: share.endpoints.clone(),
                weight: share.weight * counted(member.weight) / total,
                path: std::iter::once(step).chain(share.path.iter().copied()).collect(),
            }));
        }
        let once = distinct(vec![Tier { shares: spread }]).pop().map(|tier| tier.shares);
        once.unwrap_or_default()
    }
}
