//! Ramps: members that came back recently have a part of their weight, which grows. It counts only where weights divide
//! a tier: not for `min_up`, and not for whether a member is up.
//!
//! A pool in a pool ramps while every endpoint that it gives ramps; its share is the greatest of theirs. So a region
//! that comes back as a whole is as cold as an endpoint, and a region that gets back one endpoint of several has its
//! full weight.

use crate::model::{Growth, PoolId};
use crate::steering::Tier;
use crate::steering::chooser::{Chooser, Offer};
use crate::steering::growth::{Growths, farthest};
use crate::steering::tiers::blend;
use crate::steering::why::Ramping;

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
