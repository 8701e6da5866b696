//! Pools that steer `latency`: members by round-trip time from the client's region. With a `band`, those within it are
//! one rank, and the leading ones stay for a moment after others come to be better.

use std::time::Duration;

use crate::model::{Band, MemberRef, PoolId, RegionId};
use crate::steering::chooser::{Chooser, Offer};
use crate::steering::ranking::{Distance, MemberDistance, RankedMember, listed, metres, nearest_of, ranks, width};
use crate::steering::resist::resist;
use crate::steering::why::{InBand, Nearness, Turn, rounded};
use crate::steering::{Scene, Tier};

/// How long a new leading set has to be the same before it replaces the incumbents. Judgment, because: a smoothed RTT
/// settles within three probes of a change, which are a second apart by default. With the second until another node has
/// reported it, the answers follow a change within 10 s.
pub(crate) const HOLD_DOWN: Duration = Duration::from_secs(3);

pub(super) fn choose(chooser: &mut Chooser<'_>, id: PoolId) -> Vec<Tier> {
    let members = chooser.located(id, by_round_trip);
    let ranks = match chooser.pool(id).band {
        Some(band) => within_band(chooser, id, members, band),
        None => ranks(members, None),
    };
    chooser.rank(id, ranks)
}

fn by_round_trip(scene: &Scene, client: RegionId, offers: &[Offer]) -> Vec<MemberDistance> {
    let Some(from) = observer(scene, client, offers) else { return listed(offers, &Nearness::NothingMeasured) };
    let place = |(at, offer): (usize, &Offer)| match nearest_of(offer, |e| scene.check(e)?.rtt_from(from)) {
        Some(rtt) => MemberDistance {
            distance: Distance::Known(rtt.as_nanos()),
            why: Nearness::Rtt { rtt: rounded(rtt), from, client },
        },
        None => MemberDistance { distance: Distance::Listed(at), why: Nearness::NotMeasured(from) },
    };
    offers.iter().enumerate().map(place).collect()
}

/// The region whose measurements count: the client's own, else the nearest that has any of these members; a region
/// without location is the farthest.
fn observer(scene: &Scene, client: RegionId, offers: &[Offer]) -> Option<RegionId> {
    let checks = offers.iter().flat_map(Offer::endpoints).filter_map(|endpoint| scene.check(endpoint));
    let regions = checks.flat_map(|check| check.rtts.iter().map(|(region, _)| *region));
    regions.min_by_key(|region| (metres(scene, client, *region).unwrap_or(u64::MAX), *region))
}

/// Ranks of members that are equal within the band, best first.
fn within_band(
    chooser: &mut Chooser<'_>,
    id: PoolId,
    members: Vec<RankedMember>,
    band: Band,
) -> Vec<Vec<RankedMember>> {
    let mut by_band = ranks(members, Some(band));
    let leading = by_band.first().map(|rank| refs(rank)).unwrap_or_default();
    let old = chooser.scene.standing(id);
    let is_measured = by_band.iter().flatten().any(|member| member.place.distance.is_known());
    // Listed order for want of an RTT is no choice that should outlast the first measurement.
    if old.is_some() || is_measured || by_band.len() == 1 {
        let is_there = |to: &MemberRef| by_band.iter().flatten().any(|member| member.offer.to == *to);
        let old = old.filter(|old| old.incumbents.iter().all(is_there));
        let memory = resist(id, old, leading.clone(), Some(HOLD_DOWN), chooser.scene.view.at);
        if memory.challenger.is_some() {
            by_band = incumbents_first(by_band, &leading, &memory.incumbents, band);
        }
        chooser.retain(memory);
    }
    by_band.iter_mut().for_each(|rank| note_band(rank, band));
    by_band
}

/// The incumbents first, then the rest by distance.
fn incumbents_first(
    by_band: Vec<Vec<RankedMember>>,
    leading: &[MemberRef],
    incumbents: &[MemberRef],
    band: Band,
) -> Vec<Vec<RankedMember>> {
    let is_incumbent = |member: &RankedMember| incumbents.contains(&member.offer.to);
    let (mut stay, mut rest): (Vec<_>, Vec<_>) = by_band.into_iter().flatten().partition(is_incumbent);
    for member in stay.iter_mut().filter(|member| !leading.contains(&member.offer.to)) {
        member.turn = Some(Turn::Stays);
    }
    for member in rest.iter_mut().filter(|member| leading.contains(&member.offer.to)) {
        member.turn = Some(Turn::Waits);
    }
    stay.sort_by_key(|member| member.listed);
    rest.sort_by_key(|member| member.listed);
    std::iter::once(stay).chain(ranks(rest, Some(band))).collect()
}

fn refs(rank: &[RankedMember]) -> Vec<MemberRef> {
    rank.iter().map(|member| member.offer.to).collect()
}

/// Notes why members of one rank are equal.
fn note_band(rank: &mut [RankedMember], band: Band) {
    let nanos = |member: &RankedMember| match member.place.distance {
        Distance::Known(nanos) => Some(nanos),
        Distance::Listed(_) => None,
    };
    let Some(best) = rank.iter().filter_map(nanos).min().filter(|_| rank.len() > 1) else { return };
    let farthest = best + width(best, band);
    let shown = InBand { best: rounded(duration(best)), width: rounded(duration(width(best, band))) };
    for member in rank.iter_mut().filter(|member| nanos(member).is_some_and(|nanos| nanos <= farthest)) {
        member.band = Some(shown.clone());
    }
}

fn duration(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
