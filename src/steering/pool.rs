//! A walk over the pools below a member, in which each pool is worked out once. [`kinds`] says what a pool gives,
//! [`up`](super::up) whether a member counts as up; a pool in a pool counts as what it gives.

use std::rc::Rc;

use crate::model::{Failback, MemberRef, PoolId};
use crate::steering::chooser::{Chooser, Offer, Threshold};
use crate::steering::tiers::{blend, distinct};
use crate::steering::{Share, Tier, Why, kinds};

impl Chooser<'_> {
    /// What a member gives.
    pub(super) fn member(&mut self, member: MemberRef) -> Rc<Vec<Tier>> {
        let id = match member {
            MemberRef::Pool(id) => id,
            MemberRef::Endpoint(id) if self.eligible.binary_search(&id).is_ok() => {
                return Rc::new(vec![Tier { shares: vec![Share::of(id)] }]);
            }
            MemberRef::Endpoint(_) => return Rc::default(),
        };
        if let Some(tiers) = self.known_tiers.get(&id) {
            return tiers.clone();
        }
        // If a pool is below the root by several paths, its endpoints come several times. Each is made one here:
        // otherwise the number of shares could double with every layer of pools.
        let tiers = Rc::new(distinct(kinds::choose(self, id)));
        if member != self.root {
            self.known_tiers.insert(id, tiers.clone());
        }
        tiers
    }

    /// The members to choose among: those that are up; standbys (weight 0) only when there is no other.
    pub(super) fn offers(&mut self, id: PoolId) -> Vec<Offer> {
        let pool = self.pool(id);
        let threshold = self.threshold_of(pool);
        for standby in [false, true] {
            let mut offers: Vec<Offer> = Vec::with_capacity(pool.members.len());
            for member in pool.members.iter().filter(|member| (member.weight == 0) == standby) {
                if self.is_up(member.to, threshold) {
                    let tiers = self.member(member.to);
                    self.explain_thin(member.to, &tiers, threshold);
                    offers.push(Offer { to: member.to, tiers, weight: f64::from(member.weight.max(1)) });
                } else {
                    self.explain_down(member.to, threshold);
                }
            }
            if !offers.is_empty() {
                let spare = pool.members.iter().filter(|member| !standby && member.weight == 0);
                spare.for_each(|member| self.explain_unused(member.to, Some(Why::Standby(id)), threshold));
                return offers;
            }
        }
        Vec::new()
    }

    /// What a pool gives if it gives only the member `to`, which reaches `threshold`.
    pub(super) fn alone(&mut self, id: PoolId, to: MemberRef, threshold: Threshold) -> Vec<Tier> {
        let offer = Offer { to, tiers: self.member(to), weight: 1.0 };
        self.explain_thin(to, &offer.tiers, threshold);
        blend(&self.scene, self.pool(id), [&offer], |_, _| 1.0)
    }

    /// Retains the choices of all failover pools below `root`, also of those that did not have to choose.
    pub(super) fn retain_failovers(&mut self, root: MemberRef) {
        if self.scene.policy.failback == Failback::Auto {
            return;
        }
        let model = self.scene.model;
        for id in model.pools_below([root]) {
            let is_known = self.standings.iter().any(|standing| standing.pool == id);
            if self.pool(id).steering.has_failback() && !is_known {
                let standing = kinds::failover_memory(self, id);
                self.standings.extend(standing);
            }
        }
    }
}
