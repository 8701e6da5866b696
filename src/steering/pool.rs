//! A walk over the pools below a member, in which each pool is worked out once. [`kinds`] says what a pool gives,
//! [`up`](super::up) whether a member counts as up; a pool in a pool counts as what it gives.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::model::{EndpointId, Failback, MemberRef, Moment, Pool, PoolId};
use crate::steering::ramp::{Growths, RampEffects, growths};
use crate::steering::sieve::Sieved;
use crate::steering::tiers::{blend, distinct};
use crate::steering::{Reason, Scene, Share, Standing, Tier, Why, kinds};

/// A member that is up, with what it gives.
pub(super) struct Offer {
    pub(super) to: MemberRef,
    pub(super) tiers: Rc<Vec<Tier>>,
    pub(super) weight: f64,
}

impl Offer {
    pub(super) fn endpoints(&self) -> impl Iterator<Item = EndpointId> {
        self.tiers.iter().flat_map(Tier::endpoints)
    }
}

/// What the kinds of pools ask for the members of a pool, and where they note what they found.
pub(super) struct Chooser<'a> {
    pub(super) scene: Scene<'a>,
    root: MemberRef,
    /// The candidates that the fence allows, sorted by id.
    pub(super) inside: Vec<EndpointId>,
    /// Sorted by id.
    pub(super) eligible: Vec<EndpointId>,
    /// Whether each pool is up, and whether the client was read to find that out.
    pub(super) known_up: HashMap<PoolId, (bool, bool)>,
    /// Pools that are down with their reason noted.
    pub(super) explained: HashSet<PoolId>,
    known_tiers: HashMap<PoolId, Rc<Vec<Tier>>>,
    pub(super) standings: Vec<Standing>,
    pub(super) dues: Vec<(Moment, PoolId)>,
    pub(super) ranks: Vec<Reason>,
    pub(super) unused: Vec<Reason>,
    pub(super) growths: Growths,
    pub(super) ramps: RampEffects,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(scene: &Scene<'a>, root: MemberRef, sieved: &Sieved) -> Chooser<'a> {
        let by_id = |endpoints: &[EndpointId]| {
            let mut endpoints = endpoints.to_vec();
            endpoints.sort_unstable();
            endpoints
        };
        let eligible = by_id(&sieved.eligible);
        Chooser {
            scene: *scene,
            root,
            inside: by_id(&sieved.inside),
            growths: growths(scene, &eligible),
            eligible,
            known_up: HashMap::new(),
            explained: HashSet::new(),
            known_tiers: HashMap::new(),
            standings: Vec::new(),
            dues: Vec::new(),
            ranks: Vec::new(),
            unused: Vec::new(),
            ramps: RampEffects::default(),
        }
    }

    pub(super) fn pool(&self, id: PoolId) -> &'a Pool {
        self.scene.model.pool(id)
    }

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
        for standby in [false, true] {
            let mut offers: Vec<Offer> = Vec::with_capacity(pool.members.len());
            for member in pool.members.iter().filter(|member| (member.weight == 0) == standby) {
                if self.is_up(member.to) {
                    let tiers = self.member(member.to);
                    offers.push(Offer { to: member.to, tiers, weight: f64::from(member.weight.max(1)) });
                } else {
                    self.explain_down(member.to);
                }
            }
            if !offers.is_empty() {
                let spare = pool.members.iter().filter(|member| !standby && member.weight == 0);
                spare.for_each(|member| self.explain_unused(member.to, Some(Why::Standby(id))));
                return offers;
            }
        }
        Vec::new()
    }

    /// What a pool gives if it gives only the member `to`.
    pub(super) fn alone(&mut self, id: PoolId, to: MemberRef) -> Vec<Tier> {
        let offer = Offer { to, tiers: self.member(to), weight: 1.0 };
        blend(&self.scene, self.pool(id), [&offer], |_, _| 1.0)
    }

    /// Notes why endpoints of `tiers` have their rank.
    pub(super) fn explain_rank(&mut self, tiers: &[Tier], why: &Why) {
        let endpoints = tiers.iter().flat_map(Tier::endpoints);
        self.ranks.extend(endpoints.map(|endpoint| Reason::new(endpoint, why.clone())));
    }

    /// Retains the choice of a pool for the next decision.
    pub(super) fn retain(&mut self, standing: Standing) {
        let due = standing.challenger.as_ref().and_then(|challenger| challenger.due);
        self.dues.extend(due.map(|due| (due, standing.pool)));
        self.standings.push(standing);
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

    /// This pool for a reason; `None` for the root, which a reason does not name.
    pub(super) fn within(&self, id: PoolId) -> Option<PoolId> {
        (self.root != MemberRef::Pool(id)).then_some(id)
    }
}
