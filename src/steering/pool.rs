//! From pools to tiers: each pool turns what its members give into tiers of shares, its own way of steering deciding
//! how; a pool in a pool is taken for what it gives. Which member counts as up is told by [`up`](super::up).

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::model::{EndpointId, Failback, Member, MemberRef, Moment, Pool, PoolId, Steering};
use crate::steering::ramp::{Growths, Part, Ramps, growths};
use crate::steering::resist::resist;
use crate::steering::sieve::{self, Admit, Sieved};
use crate::steering::tiers::{blend, distinct, each_once};
use crate::steering::why::InTier;
use crate::steering::{Decision, Prospects, Reason, Scene, Share, Stage, StageName, Standing, Tier, Why};

/// What the pools give.
pub(super) struct Choice {
    /// Best first; empty when nothing is given.
    pub(super) tiers: Vec<Tier>,
    /// Whether another client class could have got something else from the same endpoints.
    looks_at_client: bool,
    /// The choices that resist change.
    standings: Vec<Standing>,
    /// When pools that were asked will choose otherwise.
    dues: Vec<(Moment, PoolId)>,
    ranks: Vec<Reason>,
    idle: Vec<Reason>,
    /// The ramps that have a say in the weights.
    ramps: Ramps,
}

/// Asks `root` what it gives when the endpoints that are eligible are up and no others.
pub(super) fn choose(scene: &Scene, root: MemberRef, sieved: &Sieved) -> Choice {
    let mut chooser = Chooser::new(scene, root, sieved);
    let tiers = Rc::unwrap_or_clone(chooser.member(root));
    chooser.attend(root);
    Choice {
        tiers,
        looks_at_client: chooser.looks_at_client,
        standings: chooser.standings,
        dues: chooser.dues,
        ranks: chooser.ranks,
        idle: chooser.idle,
        ramps: chooser.ramps,
    }
}

/// Keeps the standings of failover pools below `root`, a pool that nobody falls back on now: they are to know who has
/// been up and for how long when it is needed.
pub(super) fn remember(scene: &Scene, root: MemberRef, decision: &mut Decision) {
    if matches!(root, MemberRef::Endpoint(_)) || scene.policy.failback == Failback::Auto {
        return;
    }
    let sieved = sieve::sieve(scene, root, Admit::Up);
    let mut chooser = Chooser::new(scene, root, &sieved);
    chooser.attend(root);
    // Whoever has no standing yet looked as much as those who have one.
    decision.looks_at_client |= sieved.looks_at_client || chooser.looks_at_client;
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

impl Choice {
    /// Tells `decision` and `prospects` what they have to know, and lets the tiers go.
    pub(super) fn hand_over(&mut self, decision: &mut Decision, prospects: &mut Prospects) -> Vec<Tier> {
        decision.looks_at_client |= self.looks_at_client;
        add_standings(decision, std::mem::take(&mut self.standings));
        prospects.dues.append(&mut self.dues);
        prospects.ramps.append(&mut self.ramps.dues);
        std::mem::take(&mut self.tiers)
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
        let dropped = unused.map(|endpoint| self.idle_reason(*endpoint)).collect();
        let mut tiers = Stage::new(StageName::Tiers, eligible.len(), dropped);
        for (at, tier) in self.tiers.iter().enumerate() {
            tiers.passed.extend(tier.shares.iter().flat_map(|share| self.share_reasons(scene, at, share)));
        }
        stages.push(tiers);
        stages
    }

    fn share_reasons(&self, scene: &Scene, at: usize, share: &Share) -> impl Iterator<Item = Reason> {
        debug_assert!(share.endpoints.len() == 1 || !share.endpoints.iter().any(|e| scene.is_alias(*e)));
        let (tier, together, weight) = (at + 1, share.endpoints.len(), share.weight);
        share.endpoints.iter().map(move |endpoint| {
            let ramps = self.ramps.ramping.iter().filter(|(of, _)| of == endpoint);
            let ramps = ramps.map(|(_, ramping)| ramping.clone()).collect();
            Reason { endpoint: *endpoint, why: Why::InTier(InTier { tier, together, weight, ramps }) }
        })
    }

    fn idle_reason(&self, endpoint: EndpointId) -> Reason {
        let known = self.idle.iter().find(|reason| reason.endpoint == endpoint);
        known.cloned().unwrap_or_else(|| Reason::new(endpoint, Why::BehindFirstTier))
    }
}

/// A member that gives something.
pub(super) struct Up {
    pub(super) to: MemberRef,
    pub(super) tiers: Rc<Vec<Tier>>,
    pub(super) weight: f64,
}

impl Up {
    /// As [`blend`] takes it.
    pub(super) fn parts(&self) -> Part<'_> {
        (self.to, self.weight, &self.tiers)
    }
}

/// A walk over pools that asks each once. Its ways of steering are told in the files of their names.
pub(super) struct Chooser<'a> {
    pub(super) scene: Scene<'a>,
    root: MemberRef,
    /// Candidates that the fence lets through, by id.
    pub(super) inside: Vec<EndpointId>,
    /// By id.
    pub(super) eligible: Vec<EndpointId>,
    pub(super) looks_at_client: bool,
    /// What pools were found to be, and whether the client was looked at for it.
    pub(super) known_up: HashMap<PoolId, (bool, bool)>,
    /// Pools of which it was told why they are out.
    pub(super) told_out: HashSet<PoolId>,
    given: HashMap<PoolId, Rc<Vec<Tier>>>,
    standings: Vec<Standing>,
    dues: Vec<(Moment, PoolId)>,
    pub(super) ranks: Vec<Reason>,
    pub(super) idle: Vec<Reason>,
    pub(super) growths: Growths,
    pub(super) ramps: Ramps,
}

impl<'a> Chooser<'a> {
    fn new(scene: &Scene<'a>, root: MemberRef, sieved: &Sieved) -> Chooser<'a> {
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
            looks_at_client: false,
            known_up: HashMap::new(),
            told_out: HashSet::new(),
            given: HashMap::new(),
            standings: Vec::new(),
            dues: Vec::new(),
            ranks: Vec::new(),
            idle: Vec::new(),
            ramps: Ramps::default(),
        }
    }

    pub(super) fn member(&mut self, member: MemberRef) -> Rc<Vec<Tier>> {
        let id = match member {
            MemberRef::Pool(id) => id,
            MemberRef::Endpoint(id) if self.eligible.binary_search(&id).is_ok() => {
                return Rc::new(vec![Tier { shares: vec![Share::of(id)] }]);
            }
            MemberRef::Endpoint(_) => return Rc::default(),
        };
        if let Some(given) = self.given.get(&id) {
            return given.clone();
        }
        // Pools that hold each other many times over would double their shares with every layer, were each endpoint
        // not made one at once.
        let given = Rc::new(distinct(self.pool(id)));
        if member != self.root {
            self.given.insert(id, given.clone());
        }
        given
    }

    fn pool(&mut self, id: PoolId) -> Vec<Tier> {
        let pool = self.scene.model.pool(id);
        match pool.steering {
            Steering::Weighted | Steering::Affinity => {
                let ups = self.ups(id, pool);
                let parts: Vec<Part<'_>> = ups.iter().map(Up::parts).collect();
                self.side_by_side(id, &parts)
            }
            Steering::All => {
                let ups = self.ups(id, pool);
                self.together(&ups)
            }
            Steering::Latency | Steering::Nearest => {
                let ups = self.ups(id, pool);
                self.ranked(id, ups)
            }
            Steering::Failover => self.failover(id, pool),
            Steering::Geo => self.geo(id, pool),
        }
    }

    /// The members to choose among: those that are up, standbys (weight 0) only when there is no other.
    fn ups(&mut self, id: PoolId, pool: &'a Pool) -> Vec<Up> {
        for standby in [false, true] {
            let mut ups: Vec<Up> = Vec::with_capacity(pool.members.len());
            for member in pool.members.iter().filter(|member| (member.weight == 0) == standby) {
                if self.is_up(member.to) {
                    let tiers = self.member(member.to);
                    ups.push(Up { to: member.to, tiers, weight: f64::from(member.weight.max(1)) });
                } else {
                    self.tell_out(member.to);
                }
            }
            if !ups.is_empty() {
                let spare = pool.members.iter().filter(|member| !standby && member.weight == 0);
                spare.for_each(|member| self.stand_by(member.to, Some(Why::Standby(id))));
                return ups;
            }
        }
        Vec::new()
    }

    /// The first member that is up, or the one that stays; alone, so that no standby leaks into a reply of several
    /// records.
    fn failover(&mut self, id: PoolId, pool: &'a Pool) -> Vec<Tier> {
        let first = in_order(pool).map(|member| member.to).find(|to| self.is_up(*to));
        let standing = self.failover_standing(id, pool, first);
        let Some(first) = first else {
            pool.members.iter().for_each(|member| self.tell_out(member.to));
            self.standings.extend(standing);
            return Vec::new();
        };
        let chosen = standing.as_ref().map_or(first, |standing| standing.incumbents[0]);
        let mut is_before = chosen != first;
        for member in in_order(pool) {
            if member.to == chosen {
                is_before = false;
                continue;
            }
            let why = match is_before {
                true => Why::BeforeIncumbent { pool: id, incumbent: chosen },
                false => Why::BehindFirst { pool: id, first: chosen },
            };
            self.stand_by(member.to, Some(why));
        }
        if let Some(standing) = standing {
            self.stand(standing);
        }
        let up = Up { to: chosen, tiers: self.member(chosen), weight: 1.0 };
        blend(&self.scene, pool, [up.parts()], |_, _| 1.0)
    }

    /// The standing of a failover pool whose first member that is up is `first`. An outage of all leaves the incumbent,
    /// so that its end does not fail back.
    fn failover_standing(&mut self, id: PoolId, pool: &'a Pool, first: Option<MemberRef>) -> Option<Standing> {
        let hold = match self.scene.policy.failback {
            Failback::Auto => return None,
            Failback::Manual => None,
            Failback::After(time) => Some(time),
        };
        let old = self.scene.standing(id);
        let Some(first) = first else {
            return old.map(|old| Standing { challenger: None, ..old.clone() });
        };
        let now = self.scene.view.at;
        let place = |to: MemberRef| in_order(pool).position(|member| member.to == to);
        let incumbent = old.and_then(|old| old.incumbents.first().copied());
        let incumbent = incumbent.filter(|to| place(*to).is_some() && self.is_up(*to));
        // One that has waited isn't put back by another that comes up before it in the list.
        let waiting = old.and_then(|old| old.challenger.as_ref()?.members.first().copied());
        let waiting = waiting.filter(|to| place(*to).is_some_and(|at| Some(at) < incumbent.and_then(place)));
        let wanted = waiting.filter(|to| self.is_up(*to)).unwrap_or(first);
        let old = old.filter(|_| incumbent.is_some());
        let standing = resist(id, old, vec![wanted], hold, now);
        let moved = standing.incumbents[0];
        // After a move an earlier one may be up already: its time begins.
        Some(if standing.challenger.is_none() && moved != first {
            resist(id, Some(&standing), vec![first], hold, now)
        } else {
            standing
        })
    }

    /// Sees to it that every failover pool below `root` has its standing, asked or not: a choice is remembered while
    /// another pool answers.
    fn attend(&mut self, root: MemberRef) {
        if self.scene.policy.failback == Failback::Auto {
            return;
        }
        let model = self.scene.model;
        for id in model.pools_below([root]) {
            let pool = model.pool(id);
            let is_known = self.standings.iter().any(|standing| standing.pool == id);
            if pool.steering.has_failback() && !is_known {
                let first = in_order(pool).map(|member| member.to).find(|to| self.is_up(*to));
                let standing = self.failover_standing(id, pool, first);
                self.standings.extend(standing);
            }
        }
    }

    /// Remembers the choice of a pool that was asked.
    pub(super) fn stand(&mut self, standing: Standing) {
        let due = standing.challenger.as_ref().and_then(|challenger| challenger.due);
        self.dues.extend(due.map(|due| (due, standing.pool)));
        self.standings.push(standing);
    }

    /// One share of every member's first tier. An alias can't stand in a reply beside others (RFC 1034, 3.6.2), so each
    /// is a share of its own, as probable as its turn to come first.
    fn together(&mut self, ups: &[Up]) -> Vec<Tier> {
        let mut all: Vec<EndpointId> = ups.iter().flat_map(|up| up.tiers[0].endpoints()).collect();
        each_once(&mut all);
        let each = 1.0 / all.len() as f64;
        let (aliases, addresses): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| self.scene.is_alias(*e));
        let mut shares = Vec::new();
        if !addresses.is_empty() {
            shares.push(Share { weight: each * addresses.len() as f64, endpoints: addresses, path: Vec::new() });
        }
        shares.extend(aliases.into_iter().map(|alias| Share { weight: each, ..Share::of(alias) }));
        if shares.is_empty() { Vec::new() } else { vec![Tier { shares }] }
    }

    /// The pool, but for the one that was asked itself.
    pub(super) fn within(&self, id: PoolId) -> Option<PoolId> {
        (self.root != MemberRef::Pool(id)).then_some(id)
    }
}

/// Members in the order they are asked where one alone is given: as listed, standbys (weight 0) last.
pub(super) fn in_order(pool: &Pool) -> impl Iterator<Item = &Member> {
    let of = |standby: bool| pool.members.iter().filter(move |member| (member.weight == 0) == standby);
    of(false).chain(of(true))
}
