//! What is different for services. SRV says all that there is and leaves the choice to the client (RFC 2782), so nothing
//! is drawn; HTTPS and SVCB are drawn as addresses are, and hint at those that are up (RFC 9460, 7.3).

use std::net::IpAddr;

use crate::model::{AnswerRdata, EndpointId, Facet};
use crate::steering::pool::plain;
use crate::steering::{Distribution, Reason, Scene, Share, Stage, Tier};

/// `pick` and `limit` where nothing is picked. Cuts `distribution` to what a reply holds: the best tiers, in listed
/// order, so that every reply is the same.
pub(super) fn all_of(scene: &Scene, distribution: &mut Distribution) -> [Stage; 2] {
    let limit = scene.policy.answers.unwrap_or(distribution.limit);
    let mut pick = Stage::new("pick", distribution.tiers.iter().flat_map(Tier::endpoints).count(), Vec::new());
    for (at, tier) in distribution.tiers.iter().enumerate() {
        let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
        for share in &tier.shares {
            let why = format!("tier {}: weight {} of {}", at + 1, plain(share.weight), plain(total));
            pick.kept.extend(share.endpoints.iter().map(|endpoint| Reason::new(*endpoint, why.clone())));
        }
    }
    pick.note = Some("SRV: nothing is drawn, the client chooses by priority and weight".to_owned());
    let mut dropped = Vec::new();
    let mut room = limit;
    for tier in &mut distribution.tiers {
        for share in &mut tier.shares {
            let over = share.endpoints.split_off(room.min(share.endpoints.len()));
            room -= share.endpoints.len();
            dropped.extend(over.into_iter().map(|endpoint| Reason::new(endpoint, "the reply is full")));
        }
        tier.shares.retain(|share: &Share| !share.endpoints.is_empty());
    }
    distribution.tiers.retain(|tier| !tier.shares.is_empty());
    let given = pick.left - dropped.len();
    (distribution.draws, distribution.limit) = (given, given);
    let note = Some(format!("up to {limit} records in a reply"));
    let limit = Stage { note, ..Stage::new("limit", pick.left, dropped) };
    [pick, limit]
}

/// The addresses that the records of the endpoints given hint at.
pub(super) fn hints(scene: &Scene, distribution: &Distribution) -> Vec<(EndpointId, IpAddr)> {
    match scene.facet {
        Facet::Https | Facet::Svcb => {
            let given = distribution.tiers.iter().flat_map(Tier::endpoints);
            given.flat_map(|endpoint| of_endpoint(scene, endpoint)).collect()
        }
        Facet::V4 | Facet::V6 | Facet::Alias | Facet::Srv => Vec::new(),
    }
}

fn of_endpoint(scene: &Scene, endpoint: EndpointId) -> Vec<(EndpointId, IpAddr)> {
    let sides = &scene.model.endpoint(endpoint).answerables;
    let addresses = |only_up: bool| -> Vec<(EndpointId, IpAddr)> {
        let up = sides
            .iter()
            .filter(|side| !only_up || side.check.is_none_or(|check| scene.view.check(check).is_eligible()));
        up.filter_map(|side| match side.rdata {
            AnswerRdata::Address(ip) => Some((endpoint, ip)),
            AnswerRdata::Cname(_) => None,
        })
        .collect()
    };
    let up = addresses(true);
    if up.is_empty() { addresses(false) } else { up }
}
