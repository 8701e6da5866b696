//! How far members are from a client: by measured round-trip time for `latency`, by great circle for `nearest`. What
//! isn't known keeps its listed order, behind what is.

use crate::model::{EndpointId, RegionId, Steering};
use crate::steering::pool::Up;
use crate::steering::why::{Nearness, rounded};
use crate::steering::{Scene, Tier};

/// Where a member stands for this client.
pub(super) struct Place {
    /// Smaller is better; members at equal distance share a tier.
    pub(super) distance: Distance,
    /// How it is known.
    pub(super) why: Nearness,
}

/// A distance of whatever kind the pool ranks by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Distance {
    /// Nanoseconds or metres.
    Known(u128),
    /// Not known: the member's place in the list.
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

/// The place of each member, in listed order.
pub(super) fn places(scene: &Scene, steering: Steering, ups: &[Up]) -> Vec<Place> {
    if ups.len() == 1 {
        // The client is not read, so that it holds for every class.
        return listed(ups, &Nearness::OnlyMember);
    }
    let Some(client) = scene.class.region else { return listed(ups, &Nearness::RegionUnknown) };
    match steering {
        Steering::Latency => by_round_trip(scene, client, ups),
        Steering::Nearest => by_great_circle(scene, client, ups),
        // These do not rank.
        Steering::Weighted | Steering::Failover | Steering::Geo | Steering::Affinity | Steering::All => {
            listed(ups, &Nearness::OnlyMember)
        }
    }
}

fn listed(ups: &[Up], why: &Nearness) -> Vec<Place> {
    (0..ups.len()).map(|at| Place { distance: Distance::Listed(at), why: why.clone() }).collect()
}

fn by_round_trip(scene: &Scene, client: RegionId, ups: &[Up]) -> Vec<Place> {
    let Some(from) = observer(scene, client, ups) else { return listed(ups, &Nearness::NothingMeasured) };
    let place = |(at, up): (usize, &Up)| match best(up, |endpoint| scene.check(endpoint)?.rtt_from(from)) {
        Some(rtt) => {
            Place { distance: Distance::Known(rtt.as_nanos()), why: Nearness::Rtt { rtt: rounded(rtt), from, client } }
        }
        None => Place { distance: Distance::Listed(at), why: Nearness::NotMeasured(from) },
    };
    ups.iter().enumerate().map(place).collect()
}

/// The region whose measurements count: the client's own, else the nearest that has any of these members; a region
/// without location is the farthest.
fn observer(scene: &Scene, client: RegionId, ups: &[Up]) -> Option<RegionId> {
    let checks = ups.iter().flat_map(endpoints).filter_map(|endpoint| scene.check(endpoint));
    let regions = checks.flat_map(|check| check.rtts.iter().map(|(region, _)| *region));
    regions.min_by_key(|region| (metres(scene, client, *region).unwrap_or(u64::MAX), *region))
}

fn by_great_circle(scene: &Scene, client: RegionId, ups: &[Up]) -> Vec<Place> {
    let place = |(at, up): (usize, &Up)| {
        let reach = |endpoint| metres(scene, client, scene.model.endpoint(endpoint).region?);
        match best(up, reach) {
            Some(metres) => Place {
                distance: Distance::Known(u128::from(metres)),
                why: Nearness::Kilometres { km: (metres + 500) / 1000, client },
            },
            None => Place { distance: Distance::Listed(at), why: Nearness::NoLocation(client) },
        }
    };
    ups.iter().enumerate().map(place).collect()
}

/// A pool is as near as the nearest endpoint that it gives.
fn best<T: Ord>(up: &Up, of: impl Fn(EndpointId) -> Option<T>) -> Option<T> {
    endpoints(up).filter_map(of).min()
}

fn endpoints(up: &Up) -> impl Iterator<Item = EndpointId> {
    up.tiers.iter().flat_map(Tier::endpoints)
}

/// Between two regions, 0 from one to itself; `None` where a location is missing.
fn metres(scene: &Scene, from: RegionId, to: RegionId) -> Option<u64> {
    if from == to {
        return Some(0);
    }
    let place = |region| scene.model.region(region).location;
    Some(place(from)?.metres_to(place(to)?).round() as u64)
}
