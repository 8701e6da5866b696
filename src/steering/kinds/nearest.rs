//! Pools that steer `nearest`: members by great circle from the client's region.

use crate::model::{PoolId, RegionId};
use crate::steering::chooser::{Chooser, Offer};
use crate::steering::ranking::{Distance, MemberDistance, metres, nearest_of, ranks};
use crate::steering::why::Nearness;
use crate::steering::{Scene, Tier};

pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    let members = chooser.located(id, by_great_circle);
    chooser.rank(id, ranks(members, None))
}

fn by_great_circle(scene: &Scene, client: RegionId, offers: &[Offer]) -> Vec<MemberDistance> {
    let place = |(at, offer): (usize, &Offer)| {
        let distance = |endpoint| metres(scene, client, scene.model.endpoint(endpoint).region?);
        match nearest_of(offer, distance) {
            Some(metres) => MemberDistance {
                distance: Distance::Known(u128::from(metres)),
                why: Nearness::Kilometres { km: (metres + 500) / 1000, client },
            },
            None => MemberDistance { distance: Distance::Listed(at), why: Nearness::NoLocation(client) },
        }
    };
    offers.iter().enumerate().map(place).collect()
}
