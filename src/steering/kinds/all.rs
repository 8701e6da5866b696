//! Pools that steer `all`: what every member that is up gives, in one reply. A member that is a pool gives one draw of
//! its first tier.

use crate::model::{EndpointId, MAX_COMBINATIONS, MemberRef, PoolId};
use crate::steering::chooser::{Chooser, Offer};
use crate::steering::tiers::{each_once, key_of};
use crate::steering::{PathStep, Scene, Share, Tier};

/// One share for each combination of what the members draw. An alias can't stand in a reply with other records (RFC
/// 1034, 3.6.2), so each is a share of its own, as probable as its turn to come first.
pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    let offers = chooser.offers(id);
    let combinations = chooser.draws.combinations(chooser.scene.model, id);
    let mut shares = vec![Share { endpoints: Vec::new(), weight: 1.0, path: Vec::new() }];
    for offer in &offers {
        // Too many combinations can't be prepared: then each member gives all that it could draw.
        let draws = match (2..=MAX_COMBINATIONS).contains(&combinations) {
            true => draws(&chooser.scene, id, offer),
            false => vec![Share { endpoints: offer.tiers[0].endpoints().collect(), weight: 1.0, path: Vec::new() }],
        };
        if let [only] = &draws[..] {
            shares.iter_mut().for_each(|share| join(share, only));
            continue;
        }
        let joined = |share: &Share, draw: &Share| {
            let mut joined = share.clone();
            join(&mut joined, draw);
            joined
        };
        shares = shares.iter().flat_map(|share| draws.iter().map(move |draw| joined(share, draw))).collect();
    }
    if combinations > 1 {
        // The last step says whether chance or the net rotates the records of a share.
        let pool = chooser.pool(id);
        let last = PathStep { member: key_of(&pool.name), by_net: chooser.scene.is_by_net(pool) };
        shares.iter_mut().filter(|share| !share.path.is_empty()).for_each(|share| share.path.push(last));
    }
    let shares: Vec<Share> = shares.into_iter().flat_map(|share| apart(&chooser.scene, share)).collect();
    if shares.is_empty() { Vec::new() } else { vec![Tier { shares }] }
}

/// What one draw of a member can give; the weights add up to 1.
fn draws(scene: &Scene, id: PoolId, Offer { to, tiers, .. }: &Offer) -> Vec<Share> {
    let total: f64 = tiers[0].shares.iter().map(|share| share.weight).sum();
    let draw = |share: &Share| {
        let mut path = share.path.clone();
        if let MemberRef::Pool(_) = to {
            let by_net = path.last().map_or_else(|| scene.is_by_net(scene.model.pool(id)), |step| step.by_net);
            // A combination of a pool that steers `all` has shares of one path: this step shows its aliases and its
            // addresses apart.
            let alone = share.endpoints.first().filter(|endpoint| scene.is_alias(**endpoint));
            let member = alone.map_or(0, |endpoint| key_of(&scene.model.endpoint(*endpoint).name));
            path.push(PathStep { member, by_net });
        }
        Share { endpoints: share.endpoints.clone(), weight: share.weight / total, path }
    };
    tiers[0].shares.iter().map(draw).collect()
}

/// Adds a draw of one more member.
fn join(share: &mut Share, draw: &Share) {
    share.endpoints.extend(&draw.endpoints);
    share.path.extend(&draw.path);
    share.weight *= draw.weight;
}

/// A combination as shares: its addresses together, and each alias.
fn apart(scene: &Scene, Share { mut endpoints, weight, path }: Share) -> Vec<Share> {
    each_once(&mut endpoints);
    let each = weight / endpoints.len() as f64;
    let (aliases, addresses): (Vec<EndpointId>, Vec<EndpointId>) =
        endpoints.into_iter().partition(|endpoint| scene.is_alias(*endpoint));
    let mut shares = Vec::with_capacity(1 + aliases.len());
    if !addresses.is_empty() {
        shares.push(Share { weight: each * addresses.len() as f64, endpoints: addresses, path: path.clone() });
    }
    shares.extend(aliases.into_iter().map(|alias| Share { endpoints: vec![alias], weight: each, path: path.clone() }));
    shares
}
