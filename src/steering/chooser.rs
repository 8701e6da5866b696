//! The state of a walk over the pools below a member, and what a member gives. The walk itself is in
//! [`pool`](super::pool).

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::model::{Draws, EndpointId, MemberRef, Moment, Pool, PoolId};
use crate::steering::growth::{Growths, RampEffects, growths};
use crate::steering::sieve::Sieved;
use crate::steering::{Reason, Scene, Standing, Tier, Why};

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

/// How much of a pool has to be up so that it counts as up for its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Threshold {
    /// Its `min_up`, and that of each pool below it.
    MinUp,
    /// Anything: the parent has no member that reaches its `min_up`.
    Anything,
}

/// The state of one walk: what is known of the members so far, and the reasons noted for them.
pub(super) struct Chooser<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) root: MemberRef,
    /// The candidates that the fence allows, sorted by id.
    pub(super) inside: Vec<EndpointId>,
    /// Sorted by id.
    pub(super) eligible: Vec<EndpointId>,
    /// Whether each pool is up, and whether the client was read to find that out.
    pub(super) known_up: HashMap<(PoolId, Threshold), (bool, bool)>,
    /// Pools that are down with their reason noted.
    pub(super) explained: HashSet<PoolId>,
    pub(super) known_tiers: HashMap<PoolId, Rc<Vec<Tier>>>,
    pub(super) draws: Draws,
    pub(super) standings: Vec<Standing>,
    pub(super) dues: Vec<(Moment, PoolId)>,
    pub(super) ranks: Vec<Reason>,
    pub(super) unused: Vec<Reason>,
    /// What is given although its pool has too little up.
    pub(super) thin: Vec<Reason>,
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
            draws: Draws::default(),
            standings: Vec::new(),
            dues: Vec::new(),
            ranks: Vec::new(),
            unused: Vec::new(),
            thin: Vec::new(),
            ramps: RampEffects::default(),
        }
    }

    pub(super) fn pool(&self, id: PoolId) -> &'a Pool {
        self.scene.model.pool(id)
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

    /// This pool for a reason; `None` for the root, which a reason does not name.
    pub(super) fn within(&self, id: PoolId) -> Option<PoolId> {
        (self.root != MemberRef::Pool(id)).then_some(id)
    }
}
