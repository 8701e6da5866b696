//! Tiers as values: members side by side, each endpoint once.

use std::collections::{HashMap, HashSet};

use siphasher::sip::SipHasher13;

use crate::model::tree::OnceSet;
use crate::model::{EndpointId, MemberRef, Pool};
use crate::steering::{Scene, Share, Step, Tier};

/// Members side by side: their first tiers become one, their second tiers become one, and so on; in each a member has
/// its weight, however it divides it, less what `grown` leaves of it: the part for a tier, over 0, by its place.
pub(super) fn blend<'a>(
    scene: &Scene,
    pool: &Pool,
    members: impl IntoIterator<Item = (MemberRef, f64, &'a [Tier])>,
    grown: impl Fn(usize, &Tier) -> f64,
) -> Vec<Tier> {
    let sticky = scene.is_sticky(pool);
    let mut blended: Vec<Tier> = Vec::new();
    for (to, weight, tiers) in members {
        let step = Step { member: key_of(scene.model.member_name(to)), sticky };
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

/// The number that stands for a member's name: SipHash-1-3 of it without a key, so that all nodes agree.
pub(crate) fn key_of(name: &str) -> u64 {
    SipHasher13::new().hash(name.as_bytes())
}

/// Removes what comes again.
pub(super) fn each_once(endpoints: &mut Vec<EndpointId>) {
    let mut seen = OnceSet::default();
    endpoints.retain(|endpoint| seen.insert(*endpoint));
}

/// Each endpoint once: in the best tier that has it, and there in one share, which keeps its path and gets the weight
/// of the others. A group goes before single shares, so that drawing it still gives all of it.
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
