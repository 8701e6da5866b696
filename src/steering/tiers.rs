//! Arithmetic of tiers: several members in one tier, each endpoint in one tier, each set of endpoints in one share.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use siphasher::sip::SipHasher13;

use crate::model::tree::OnceSet;
use crate::model::{EndpointId, MAX_ENDPOINTS, Pool};
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

/// Most shares of a tier, and most records of all of them. Judgment: a cell counts shares and records in 16 bits, and
/// only pools that steer `all` over many overlapping pools come near.
const MOST_SHARES: usize = MAX_ENDPOINTS;
const MOST_RECORDS: usize = 16 * MAX_ENDPOINTS;

/// Each endpoint in the best tier that has it, and there each set of endpoints in one share, which has the weight of
/// all shares of this set. An endpoint may be in several shares: alone and in groups, each drawn with its own weight.
pub(super) fn distinct(tiers: Vec<Tier>) -> Vec<Tier> {
    let shares = tiers.iter().flat_map(|tier| &tier.shares);
    let mut all: Vec<EndpointId> = shares.flat_map(|share| share.endpoints.iter().copied()).collect();
    let with_repeats = all.len();
    each_once(&mut all);
    if all.len() == with_repeats {
        return tiers;
    }
    let mut better: HashSet<EndpointId> = HashSet::new();
    let mut result = Vec::new();
    for mut tier in tiers {
        tier.shares.iter_mut().for_each(|share| share.endpoints.retain(|endpoint| !better.contains(endpoint)));
        let mut known: HashMap<Vec<EndpointId>, usize> = HashMap::new();
        let mut shares: Vec<Share> = Vec::with_capacity(tier.shares.len());
        for share in tier.shares.into_iter().filter(|share| !share.endpoints.is_empty()) {
            let mut set = share.endpoints.clone();
            set.sort_unstable();
            match known.entry(set) {
                Entry::Occupied(at) => shares[*at.get()].weight += share.weight,
                Entry::Vacant(at) => {
                    at.insert(shares.len());
                    shares.push(share);
                }
            }
        }
        let records: usize = shares.iter().map(|share| share.endpoints.len()).sum();
        let is_large = shares.len() > MOST_SHARES || records > MOST_RECORDS;
        let tier = Tier { shares: if is_large { disjoint(shares) } else { shares } };
        better.extend(tier.endpoints());
        if !tier.shares.is_empty() {
            result.push(tier);
        }
    }
    result
}

/// Each endpoint in one share. A group goes before single shares, so that a draw of it gives as much of it as it can;
/// shares of which nothing is left give it their weight.
fn disjoint(mut shares: Vec<Share>) -> Vec<Share> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|at| shares[*at].endpoints.len() == 1);
    let mut owner: HashMap<EndpointId, usize> = HashMap::new();
    for at in order {
        let (first, weight) = (shares[at].endpoints[0], shares[at].weight);
        shares[at].endpoints.retain(|endpoint| !owner.contains_key(endpoint));
        owner.extend(shares[at].endpoints.iter().map(|endpoint| (*endpoint, at)));
        if shares[at].endpoints.is_empty() {
            shares[owner[&first]].weight += weight;
        }
    }
    shares.retain(|share| !share.endpoints.is_empty());
    shares
}

/// Each endpoint in a share of its own, with its part of every share that has it: what a client is sent to that goes to
/// any one endpoint of a draw.
pub(super) fn one_by_one(tier: &Tier) -> Vec<Share> {
    let mut places: HashMap<EndpointId, usize> = HashMap::new();
    let mut singles: Vec<Share> = Vec::new();
    for share in &tier.shares {
        let weight = share.weight / share.endpoints.len() as f64;
        for endpoint in &share.endpoints {
            match places.entry(*endpoint) {
                Entry::Occupied(at) => singles[*at.get()].weight += weight,
                Entry::Vacant(at) => {
                    at.insert(singles.len());
                    singles.push(Share { endpoints: vec![*endpoint], weight, path: share.path.clone() });
                }
            }
        }
    }
    singles
}

impl Tier {
    /// Its endpoints, each once, as listed.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = EndpointId> {
        let mut seen = self.may_repeat().then(OnceSet::default);
        let all = self.shares.iter().flat_map(|share| share.endpoints.iter().copied());
        all.filter(move |endpoint| seen.as_mut().is_none_or(|seen| seen.insert(*endpoint)))
    }

    /// Whether an endpoint may be in several shares.
    fn may_repeat(&self) -> bool {
        self.shares.len() > 1 && self.shares.iter().any(|share| share.endpoints.len() > 1)
    }

    /// Whether an endpoint is in several shares.
    pub(super) fn repeats(&self) -> bool {
        self.may_repeat()
            && self.shares.iter().map(|share| share.endpoints.len()).sum::<usize>() > self.endpoints().count()
    }

    /// Each endpoint once, with the weight of all shares that have it.
    pub(super) fn weights(&self) -> Vec<(EndpointId, f64)> {
        let all = self.shares.iter().flat_map(|share| share.endpoints.iter().map(|endpoint| (*endpoint, share.weight)));
        if !self.may_repeat() {
            return all.collect();
        }
        let mut places: HashMap<EndpointId, usize> = HashMap::new();
        let mut weights: Vec<(EndpointId, f64)> = Vec::new();
        for (endpoint, weight) in all {
            let at = *places.entry(endpoint).or_insert(weights.len());
            match weights.get_mut(at) {
                Some((_, sum)) => *sum += weight,
                None => weights.push((endpoint, weight)),
            }
        }
        weights
    }
}
