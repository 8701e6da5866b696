//! What the kinds that rank by distance have in common: how far members are, and which of them are equal. What isn't
//! known has its listed order, behind what is.

use std::sync::Arc;

use crate::model::{Band, EndpointId, PoolId, RegionId};
use crate::steering::chooser::{Chooser, Offer};
use crate::steering::why::{InBand, Nearness, Ranked, Turn};
use crate::steering::{Scene, Tier, Why};

/// How far a member is from a client.
pub(super) struct MemberDistance {
    /// Smaller is better; members at equal distance share a tier.
    pub(super) distance: Distance,
    /// How it is known.
    pub(super) why: Nearness,
}

/// A distance in the unit of its kind of pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Distance {
    /// Nanoseconds or metres.
    Known(u128),
    /// Not known: the member's position in the list.
    Listed(usize),
}

impl Distance {
    pub(super) fn is_known(self) -> bool {
        match self {
            Distance::Known(_) => true,
            Distance::Listed(_) => false,
        }
    }
}

/// A member with its distance.
pub(super) struct RankedMember {
    /// Its position among the members that are up.
    pub(super) listed: usize,
    pub(super) place: MemberDistance,
    pub(super) offer: Offer,
    pub(super) band: Option<InBand>,
    pub(super) turn: Option<Turn>,
}

impl<'a> Chooser<'a> {
    /// The members to choose among with their distances, in listed order. `measure` gives that of each, where there are
    /// several and the client's region is known.
    pub(super) fn located(
        &mut self,
        id: PoolId,
        measure: impl Fn(&Scene<'a>, RegionId, &[Offer]) -> Vec<MemberDistance>,
    ) -> Vec<RankedMember> {
        let offers = self.offers(id);
        let places = match offers.len() {
            0 => Vec::new(),
            // The client is not read, so that it holds for every class.
            1 => listed(&offers, &Nearness::OnlyMember),
            2.. => match self.scene.client.region() {
                Some(client) => measure(&self.scene, client, &offers),
                None => listed(&offers, &Nearness::RegionUnknown),
            },
        };
        let members = places.into_iter().zip(offers).enumerate();
        let member = |(listed, (place, offer))| RankedMember { listed, place, offer, band: None, turn: None };
        members.map(member).collect()
    }

    /// Ranked members as tiers, with the reason of each.
    pub(super) fn rank(&mut self, id: PoolId, ranks: Vec<Vec<RankedMember>>) -> Vec<Tier> {
        let (pool, mut number, mut tiers) = (self.within(id), 1, Vec::new());
        for rank in ranks {
            for RankedMember { place, offer, band, turn, .. } in &rank {
                let (nearness, band, turn) = (place.why.clone(), band.clone(), *turn);
                let ranked = Ranked { rank: number, pool, nearness, band, turn };
                self.explain_rank(&offer.tiers, &Why::Ranked(Arc::new(ranked)));
            }
            number += rank.len();
            let offers: Vec<&Offer> = rank.iter().map(|member| &member.offer).collect();
            tiers.extend(self.side_by_side(id, &offers));
        }
        tiers
    }
}

/// Members without a distance: in listed order.
pub(super) fn listed(offers: &[Offer], why: &Nearness) -> Vec<MemberDistance> {
    (0..offers.len()).map(|at| MemberDistance { distance: Distance::Listed(at), why: why.clone() }).collect()
}

/// Ranks of members, best first; the members of a rank are equal, and in listed order. With a band, a rank has all
/// members whose distance is at most the band's width more than the best of the rank.
pub(super) fn ranks(mut members: Vec<RankedMember>, band: Option<Band>) -> Vec<Vec<RankedMember>> {
    members.sort_by_key(|member| member.place.distance);
    let mut ranks: Vec<Vec<RankedMember>> = Vec::new();
    let mut farthest = None;
    for member in members {
        let distance = member.place.distance;
        match ranks.last_mut() {
            Some(rank) if Some(distance) <= farthest => rank.push(member),
            Some(_) | None => {
                farthest = Some(still_equal(distance, band));
                ranks.push(vec![member]);
            }
        }
    }
    ranks.iter_mut().for_each(|rank| rank.sort_by_key(|member| member.listed));
    ranks
}

/// The farthest that is still equal to `best`.
fn still_equal(best: Distance, band: Option<Band>) -> Distance {
    match (best, band) {
        (Distance::Known(best), Some(band)) => Distance::Known(best.saturating_add(width(best, band))),
        (Distance::Known(_) | Distance::Listed(_), _) => best,
    }
}

/// The width of a band whose best member is at `best`; both in nanoseconds.
pub(super) fn width(best: u128, band: Band) -> u128 {
    band.over.as_nanos().max(best.saturating_mul(band.percent.into()) / 100)
}

/// A pool is as near as the nearest endpoint that it gives.
pub(super) fn nearest_of<T: Ord>(offer: &Offer, of: impl Fn(EndpointId) -> Option<T>) -> Option<T> {
    offer.endpoints().filter_map(of).min()
}

/// Between two regions, 0 from one to itself; `None` where a location is missing.
pub(super) fn metres(scene: &Scene, from: RegionId, to: RegionId) -> Option<u64> {
    if from == to {
        return Some(0);
    }
    let location = |region| scene.model.region(region).location;
    Some(location(from)?.metres_to(location(to)?).round() as u64)
}
