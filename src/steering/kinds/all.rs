//! Pools that steer `all`: the first tier of every member that is up, in one reply.

use crate::model::{EndpointId, PoolId};
use crate::steering::chooser::Chooser;
use crate::steering::tiers::each_once;
use crate::steering::{Share, Tier};

/// One share of all addresses. An alias can't stand in a reply with other records (RFC 1034, 3.6.2), so each is a share
/// of its own, as probable as its turn to come first.
pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    let offers = chooser.offers(id);
    let mut all: Vec<EndpointId> = offers.iter().flat_map(|offer| offer.tiers[0].endpoints()).collect();
    each_once(&mut all);
    let each = 1.0 / all.len() as f64;
    let (aliases, addresses): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| chooser.scene.is_alias(*e));
    let mut shares = Vec::new();
    if !addresses.is_empty() {
        shares.push(Share { weight: each * addresses.len() as f64, endpoints: addresses, path: Vec::new() });
    }
    shares.extend(aliases.into_iter().map(|alias| Share { weight: each, ..Share::of(alias) }));
    if shares.is_empty() { Vec::new() } else { vec![Tier { shares }] }
}
