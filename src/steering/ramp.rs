//! RampEffects: members that came back a moment ago have a part of their weight, which grows. It counts where weights
//! divide a tier, and nowhere else: not for `min_up`, not for whether a member is up.
//!
//! A pool in a pool ramps while every endpoint that it gives ramps; its share is the greatest of theirs. So a region
//! that comes back as a whole is as cold as an endpoint, and a region that gets back one endpoint of several has its
//! full weight.

use crate::model::{EndpointId, Growth, Moment, PoolId};
use crate::steering::pool::{Chooser, Offer};
use crate::steering::tiers::blend;
use crate::steering::why::Ramping;
use crate::steering::{Scene, Tier};

/// The growth of each endpoint that ramps, sorted by id.
pub(super) type Growths = Vec<(EndpointId, Growth)>;

/// The effects of the ramps that count.
#[derive(Default)]
pub(super) struct RampEffects {
    /// What each means for the weight of an endpoint.
    pub(super) ramping: Vec<(EndpointId, Ramping)>,
    /// When each grows.
    pub(super) dues: Vec<(Moment, EndpointId)>,
}

/// The growth of each of `endpoints` that ramps; `endpoints` are sorted.
pub(super) fn growths(scene: &Scene, endpoints: &[EndpointId]) -> Growths {
    endpoints.iter().filter_map(|endpoint| Some((*endpoint, growth(scene, *endpoint)?))).collect()
}

/// The growth of an endpoint that is eligible. For a service it is that of the address with the greatest share.
fn growth(scene: &Scene, id: EndpointId) -> Option<Growth> {
    let endpoint = scene.model.endpoint(id);
    if endpoint.ramp.is_zero() {
        return None;
    }
    let sides = scene.sides(id);
    let up = sides.filter(|side| scene.is_side_up(id, side));
    farthest(up.map(|side| scene.view.growth(id, endpoint, scene.policy.check_of(id, side), scene.view.at)))
}

/// The greatest of several growths; `None` where one has its full weight.
fn farthest(all: impl Iterator<Item = Option<Growth>>) -> Option<Growth> {
    let all: Option<Vec<Growth>> = all.collect();
    all?.into_iter().max_by(|a, b| a.share.total_cmp(&b.share))
}

fn of_tier(growths: &Growths, tier: &Tier) -> Option<Growth> {
    let of = |endpoint| growths.binary_search_by_key(&endpoint, |(id, _)| *id).ok().map(|at| growths[at].1);
    farthest(tier.endpoints().map(of))
}

impl Chooser<'_> {
    /// Members in one tier, each with its present weight. A member that is alone in a tier has its full weight there.
    pub(super) fn side_by_side(&mut self, id: PoolId, offers: &[&Offer]) -> Vec<Tier> {
        let pool = self.scene.model.pool(id);
        let growths = &self.growths;
        if growths.is_empty() {
            return blend(&self.scene, pool, offers.iter().copied(), |_, _| 1.0);
        }
        let growth = |at: usize, tier: &Tier| {
            let has_rival = offers.iter().filter(|offer| offer.tiers.len() > at).nth(1).is_some();
            of_tier(growths, tier).filter(|_| has_rival)
        };
        for Offer { to, weight, tiers } in offers {
            for (at, tier) in tiers.iter().enumerate() {
                let Some(growth) = growth(at, tier) else { continue };
                let (now, full) = (weight * growth.share, *weight);
                let ramping = Ramping { pool: self.within(id), member: *to, now, full };
                self.ramps.ramping.extend(tier.endpoints().map(|endpoint| (endpoint, ramping.clone())));
                self.ramps.dues.extend(tier.endpoints().map(|endpoint| (growth.next, endpoint)));
            }
        }
        blend(&self.scene, pool, offers.iter().copied(), |at, tier| growth(at, tier).map_or(1.0, |growth| growth.share))
    }
}
