//! Arithmetic of tiers: several members in one tier, each endpoint once.

use std::collections::{HashMap, HashSet};

use siphasher::sip::SipHasher13;

use crate::model::tree::OnceSet;
use crate::model::{EndpointId, Pool};
use crate::steering::chooser::Offer;
use crate::steering::{PathStep, Scene, Share, Tier};

/// Several members as one list of tiers: their first tiers become one, their second tiers become one, and so on. The
/// shares that a member has in a tier divide its weight among them. `grown` gives the part of this weight that counts
/// in the nth tier: over 0, and less than 1 while the member ramps.
pub(super) fn blend<'a>(
    scene: &Scene,
    pool: &Pool,
    offers: impl IntoIterator<Item = &'a Offer>,
    grown: impl Fn(usize, &Tier) -> f64,
) -> Vec<Tier> {
    let by_net = scene.is_by_net(pool);
    let mut blended: Vec<Tier> = Vec::new();
    for Offer { to, weight, tiers } in offers {
        let step = PathStep { member: key_of(scene.model.member_name(*to)), by_net };
        for (at, tier) in tiers.iter().enumerate() {
            if blended.len() <= at {
                blended.push(Tier::default());
            }
            let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
            let weight = weight * grown(at, tier);
            let scaled = tier.shares.iter().map(|share| Share {
                endpoints: share.endpoints.clone(),
                weight: share.weight / total * weight,
                path: std::iter::once(step).chain(share.path.iter().copied()).collect(),
            });
            blended[at].shares.extend(scaled);
        }
    }
    blended
}

/// The hash of a member's name: SipHash-1-3 without a key, so that all nodes agree.
pub(crate) fn key_of(name: &str) -> u64 {
    SipHasher13::new().hash(name.as_bytes())
}

/// Removes repetitions.
pub(super) fn each_once(endpoints: &mut Vec<EndpointId>) {
    let mut seen = OnceSet::default();
    endpoints.retain(|endpoint| seen.insert(*endpoint));
}

/// Each endpoint once: in the best tier that has it, and there in one share, which gets the weight of the others. A
/// group goes before single shares, so that a draw of it still gives the whole group.
pub(super) fn distinct(tiers: Vec<Tier>) -> Vec<Tier> {
    let mut all: Vec<EndpointId> = tiers.iter().flat_map(Tier::endpoints).collect();
    let with_repeats = all.len();
    each_once(&mut all);
    if all.len() == with_repeats {
        return tiers;
    }
    let mut better: HashSet<EndpointId> = HashSet::new();
    let mut result = Vec::new();
    for mut tier in tiers {
        tier.shares.iter_mut().for_each(|share| share.endpoints.retain(|endpoint| !better.contains(endpoint)));
        tier.shares.retain(|share| !share.endpoints.is_empty());
        let mut order: Vec<usize> = (0..tier.shares.len()).collect();
        order.sort_by_key(|at| tier.shares[*at].endpoints.len() == 1);
        let mut owner: HashMap<EndpointId, usize> = HashMap::new();
        for at in order {
            let share = &mut tier.shares[at];
            let (first, weight) = (share.endpoints[0], share.weight);
            share.endpoints.retain(|endpoint| !owner.contains_key(endpoint));
            owner.extend(tier.shares[at].endpoints.iter().map(|endpoint| (*endpoint, at)));
            if tier.shares[at].endpoints.is_empty() {
                tier.shares[owner[&first]].weight += weight;
            }
        }
        tier.shares.retain(|share| !share.endpoints.is_empty());
        better.extend(tier.endpoints());
        if !tier.shares.is_empty() {
            result.push(tier);
        }
    }
    result
}
