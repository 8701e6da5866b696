//! Warm return: members that came back a moment ago have a part of their weight, which grows. It counts wherever members
//! stand side by side by weight, and nowhere else: who is up, and whether a pool has enough of it, doesn't ask for it.
//!
//! A pool in a pool ramps while all that it gives ramps, as far as the one that has come farthest: a region that comes
//! back whole is as cold as an endpoint, and one that merely gets an endpoint more loses nothing for it.

use crate::model::{EndpointId, Growth, MemberRef, Moment, PoolId};
use crate::steering::pool::Chooser;
use crate::steering::tiers::blend;
use crate::steering::why::Ramping;
use crate::steering::{Scene, Tier};

/// A member, its weight, and what it gives.
pub(super) type Part<'t> = (MemberRef, f64, &'t [Tier]);

/// Of endpoints that ramp, by id.
pub(super) type Growths = Vec<(EndpointId, Growth)>;

/// What was found of the ramps that count.
#[derive(Default)]
pub(super) struct Ramps {
    /// What each means for the weight of an endpoint.
    pub(super) ramping: Vec<(EndpointId, Ramping)>,
    /// When each grows.
    pub(super) dues: Vec<(Moment, EndpointId)>,
}

/// How far those of `endpoints`, which are sorted, have come that ramp.
pub(super) fn growths(scene: &Scene, endpoints: &[EndpointId]) -> Growths {
    endpoints.iter().filter_map(|endpoint| Some((*endpoint, growth(scene, *endpoint)?))).collect()
}

/// How far an endpoint that is eligible has come. Of a service it is the address that has come farthest.
fn growth(scene: &Scene, id: EndpointId) -> Option<Growth> {
    let endpoint = scene.model.endpoint(id);
    if endpoint.ramp.is_zero() {
        return None;
    }
    let sides = scene.sides(id);
    let up = sides.filter(|side| scene.is_side_up(id, side));
    farthest(up.map(|side| scene.view.growth(id, endpoint, scene.policy.check_of(id, side), scene.view.at)))
}

/// The growth of what has come farthest; `None` where any has its full weight.
fn farthest(all: impl Iterator<Item = Option<Growth>>) -> Option<Growth> {
    let all: Option<Vec<Growth>> = all.collect();
    all?.into_iter().max_by(|a, b| a.share.total_cmp(&b.share))
}

fn of_tier(growths: &Growths, tier: &Tier) -> Option<Growth> {
    let of = |endpoint| growths.binary_search_by_key(&endpoint, |(id, _)| *id).ok().map(|at| growths[at].1);
    farthest(tier.endpoints().map(of))
}

impl Chooser<'_> {
    /// Members side by side, each by what it has of its weight now. Where one has no rival it has all of it.
    pub(super) fn side_by_side(&mut self, id: PoolId, members: &[Part<'_>]) -> Vec<Tier> {
        let pool = self.scene.model.pool(id);
        let growths = &self.growths;
        if growths.is_empty() {
            return blend(&self.scene, pool, members.iter().copied(), |_, _| 1.0);
        }
        let growth = |at: usize, tier: &Tier| {
            let has_rival = members.iter().filter(|(_, _, tiers)| tiers.len() > at).nth(1).is_some();
            of_tier(growths, tier).filter(|_| has_rival)
        };
        for (to, weight, tiers) in members {
            for (at, tier) in tiers.iter().enumerate() {
                let Some(growth) = growth(at, tier) else { continue };
                let (now, full) = (weight * growth.share, *weight);
                let ramping = Ramping { pool: self.within(id), member: *to, now, full };
                self.ramps.ramping.extend(tier.endpoints().map(|endpoint| (endpoint, ramping.clone())));
                self.ramps.dues.extend(tier.endpoints().map(|endpoint| (growth.next, endpoint)));
            }
        }
        blend(&self.scene, pool, members.iter().copied(), |at, tier| {
            growth(at, tier).map_or(1.0, |growth| growth.share)
        })
    }
}
