//! What the pools below a name give, with the stages `rank` and `tiers`.

use std::rc::Rc;

use crate::model::{EndpointId, Failback, MemberRef, Moment, PoolId};
use crate::steering::chooser::Chooser;
use crate::steering::growth::RampEffects;
use crate::steering::sieve::{self, Admit, Sieved};
use crate::steering::why::InTier;
use crate::steering::{Decision, Prospects, Reason, Scene, Share, Stage, StageName, Standing, Tier, Why};

/// What the pools give.
pub(super) struct PoolsChoice {
    /// Best first; empty when nothing is given.
    pub(super) tiers: Vec<Tier>,
    /// The choices that resist change.
    standings: Vec<Standing>,
    /// When pools will choose other members.
    dues: Vec<(Moment, PoolId)>,
    /// The ranks of what is given.
    ranks: Vec<Reason>,
    /// Why endpoints are not given.
    unused: Vec<Reason>,
    /// What is given although its pool has too little up.
    thin: Vec<Reason>,
    /// The ramps that have an effect on weights.
    ramps: RampEffects,
}

/// What `root` gives if the eligible endpoints of `sieved` are up and no others.
pub(super) fn choose(scene: &Scene, root: MemberRef, sieved: &Sieved) -> PoolsChoice {
    let ((chooser, tiers), was_read) = scene.client.apart(|| {
        let mut chooser = Chooser::new(scene, root, sieved);
        let tiers = Rc::unwrap_or_clone(chooser.member(root));
        chooser.retain_failovers(root);
        (chooser, tiers)
    });
    scene.client.count(was_read);
    PoolsChoice {
        tiers,
        standings: chooser.standings,
        dues: chooser.dues,
        ranks: chooser.ranks,
        unused: chooser.unused,
        thin: chooser.thin,
        ramps: chooser.ramps,
    }
}

/// Remembers the choices of the failover pools below `root`, a pool of `on_empty` that is not needed now. When it is
/// needed, its pools must know which members have been up, and for how long.
pub(super) fn remember(scene: &Scene, root: MemberRef, decision: &mut Decision) {
    if matches!(root, MemberRef::Endpoint(_)) || scene.policy.failback == Failback::Auto {
        return;
    }
    let sieved = sieve::sieve(scene, root, Admit::Up);
    let mut chooser = Chooser::new(scene, root, &sieved);
    // What this reads of the client counts, although the class may have no memory: whether a decision depends on the
    // client must not depend on the class.
    chooser.retain_failovers(root);
    add_standings(decision, chooser.standings);
}

/// A pool below two roots chooses the same below both.
fn add_standings(decision: &mut Decision, standings: Vec<Standing>) {
    for standing in standings {
        if !decision.standings.iter().any(|known| known.pool == standing.pool) {
            decision.standings.push(standing);
        }
    }
}

impl PoolsChoice {
    /// Adds to `decision` and `prospects` what follows from the choice, and takes the tiers out of it.
    pub(super) fn hand_over(&mut self, decision: &mut Decision, prospects: &mut Prospects) -> Vec<Tier> {
        add_standings(decision, std::mem::take(&mut self.standings));
        prospects.dues.append(&mut self.dues);
        prospects.ramps.append(&mut self.ramps.dues);
        std::mem::take(&mut self.tiers)
    }

    /// The tiers; the choices that resist change are not remembered.
    pub(super) fn for_now(mut self, prospects: &mut Prospects) -> Vec<Tier> {
        prospects.ramps.append(&mut self.ramps.dues);
        self.tiers
    }

    /// `rank`, where something was ranked, and `tiers`.
    pub(super) fn stages(&self, scene: &Scene, eligible: &[EndpointId]) -> Vec<Stage> {
        let mut stages = Vec::with_capacity(2);
        if !self.ranks.is_empty() {
            let stage = Stage::new(StageName::Rank, eligible.len(), Vec::new());
            stages.push(Stage { passed: self.ranks.clone(), ..stage });
        }
        let mut used: Vec<EndpointId> = self.tiers.iter().flat_map(Tier::endpoints).collect();
        used.sort_unstable();
        let unused = eligible.iter().filter(|endpoint| used.binary_search(endpoint).is_err());
        let dropped = unused.map(|endpoint| self.why_unused(*endpoint)).collect();
        let mut tiers = Stage::new(StageName::Tiers, eligible.len(), dropped);
        tiers.passed.extend(self.thin.iter().filter(|reason| used.binary_search(&reason.endpoint).is_ok()).cloned());
        for (at, tier) in self.tiers.iter().enumerate() {
            tiers.passed.extend(tier.shares.iter().flat_map(|share| self.why_used(scene, at, share)));
        }
        stages.push(tiers);
        stages
    }

    fn why_used(&self, scene: &Scene, at: usize, share: &Share) -> impl Iterator<Item = Reason> {
        debug_assert!(share.endpoints.len() == 1 || !share.endpoints.iter().any(|e| scene.is_alias(*e)));
        let (tier, together, weight) = (at + 1, share.endpoints.len(), share.weight);
        share.endpoints.iter().map(move |endpoint| {
            let ramps = self.ramps.ramping.iter().filter(|(of, _)| of == endpoint);
            let ramps = ramps.map(|(_, ramping)| ramping.clone()).collect();
            Reason { endpoint: *endpoint, why: Why::InTier(InTier { tier, together, weight, ramps }) }
        })
    }

    fn why_unused(&self, endpoint: EndpointId) -> Reason {
        let known = self.unused.iter().find(|reason| reason.endpoint == endpoint);
        known.cloned().unwrap_or_else(|| Reason::new(endpoint, Why::BehindFirstTier))
    }
}
