//! From pools to tiers: each pool turns what its members give into tiers of shares, its own way of steering deciding
//! how; a pool in a pool is taken for what it gives. A member that gives nothing is out.

use std::collections::{HashMap, HashSet};

use siphasher::sip::SipHasher13;

use crate::model::{EndpointId, MemberRef, Pool, PoolId, Steering};
use crate::steering::{Reason, Scene, Share, Stage, Step, Tier, rank};

/// What the pools give.
pub(super) struct Choice {
    /// Best first; empty when nothing is eligible.
    pub(super) tiers: Vec<Tier>,
    /// Whether another client class could have got something else from the same endpoints.
    pub(super) looks_at_client: bool,
    ranks: Vec<Reason>,
    idle: Vec<Reason>,
}

/// Asks `root` what it gives when the endpoints in `eligible` are up and no others.
pub(super) fn choose(scene: &Scene, root: MemberRef, eligible: &[EndpointId]) -> Choice {
    let mut chooser = Chooser {
        scene: *scene,
        root,
        eligible: eligible.iter().copied().collect(),
        looks_at_client: false,
        ranks: Vec::new(),
        idle: Vec::new(),
    };
    let tiers = distinct(chooser.member(root));
    Choice { tiers, looks_at_client: chooser.looks_at_client, ranks: chooser.ranks, idle: chooser.idle }
}

impl Choice {
    /// `rank`, where something was ranked, and `tiers`.
    pub(super) fn stages(&self, scene: &Scene, eligible: &[EndpointId]) -> Vec<Stage> {
        let mut stages = Vec::new();
        if !self.ranks.is_empty() {
            stages.push(Stage { kept: self.ranks.clone(), ..Stage::new("rank", eligible.len(), Vec::new()) });
        }
        let used: HashSet<EndpointId> = self.tiers.iter().flat_map(Tier::endpoints).collect();
        let unused = eligible.iter().filter(|endpoint| !used.contains(endpoint));
        let dropped = unused.map(|endpoint| self.idle_reason(*endpoint)).collect();
        let mut tiers = Stage::new("tiers", eligible.len(), dropped);
        for (at, tier) in self.tiers.iter().enumerate() {
            tiers.kept.extend(tier.shares.iter().flat_map(|share| share_reasons(scene, at, share)));
        }
        stages.push(tiers);
        stages
    }

    fn idle_reason(&self, endpoint: EndpointId) -> Reason {
        let told = self.idle.iter().find(|reason| reason.endpoint == endpoint);
        told.cloned()
            .unwrap_or_else(|| Reason::new(endpoint, "behind the first tier of a member of a pool that steers all"))
    }
}

fn share_reasons(scene: &Scene, at: usize, share: &Share) -> Vec<Reason> {
    let tier = at + 1;
    let reason = |endpoint: &EndpointId| match share.endpoints.len() {
        1 => Reason::new(*endpoint, format!("tier {tier}, weight {}", plain(share.weight))),
        n => Reason::new(*endpoint, format!("tier {tier}, one of {n} given together, weight {}", plain(share.weight))),
    };
    debug_assert!(share.endpoints.len() == 1 || !share.endpoints.iter().any(|e| scene.is_alias(*e)));
    share.endpoints.iter().map(reason).collect()
}

/// A weight as a person would write it: at most four decimals, no trailing zeros.
pub(super) fn plain(weight: f64) -> String {
    let text = format!("{weight:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A member that gives something.
pub(super) struct Up {
    pub(super) to: MemberRef,
    pub(super) tiers: Vec<Tier>,
    weight: f64,
}

struct Chooser<'a> {
    scene: Scene<'a>,
    root: MemberRef,
    eligible: HashSet<EndpointId>,
    looks_at_client: bool,
    ranks: Vec<Reason>,
    idle: Vec<Reason>,
}

impl Chooser<'_> {
    fn member(&mut self, member: MemberRef) -> Vec<Tier> {
        match member {
            MemberRef::Pool(id) => self.pool(id),
            MemberRef::Endpoint(id) if self.eligible.contains(&id) => {
                vec![Tier { shares: vec![Share::of(id)] }]
            }
            MemberRef::Endpoint(_) => Vec::new(),
        }
    }

    fn pool(&mut self, id: PoolId) -> Vec<Tier> {
        let pool = self.scene.model.pool(id);
        let ups = self.ups(pool);
        match pool.steering {
            Steering::Weighted | Steering::Failover | Steering::Geo | Steering::Affinity => self.blend(pool, &ups),
            Steering::All => self.together(&ups),
            Steering::Latency | Steering::Nearest => self.ranked(id, ups),
        }
    }

    /// The members to choose among: those that are up, standbys (weight 0) only when there is no other; of a failover
    /// pool the first of them alone, so that no standby leaks into a reply of several records.
    fn ups(&mut self, pool: &Pool) -> Vec<Up> {
        for standby in [false, true] {
            let mut ups: Vec<Up> = Vec::new();
            for member in pool.members.iter().filter(|member| (member.weight == 0) == standby) {
                if let (Steering::Failover, Some(first)) = (pool.steering, ups.first()) {
                    let why = format!(
                        "standby: \"{}\" comes first in \"{}\" and is up",
                        self.scene.name(first.to),
                        pool.name
                    );
                    self.stand_by(member.to, &why);
                    continue;
                }
                let tiers = self.member(member.to);
                if !tiers.is_empty() {
                    ups.push(Up { to: member.to, tiers, weight: f64::from(member.weight.max(1)) });
                }
            }
            if !ups.is_empty() {
                let why = format!("standby: weight 0, for when every other member of \"{}\" is out", pool.name);
                let spare = pool.members.iter().filter(|member| !standby && member.weight == 0);
                spare.for_each(|member| self.stand_by(member.to, &why));
                return ups;
            }
        }
        Vec::new()
    }

    fn stand_by(&mut self, member: MemberRef, why: &str) {
        let below = self.scene.endpoints_below(member).into_iter();
        self.idle.extend(below.map(|endpoint| Reason::new(endpoint, why)));
    }

    /// One share of every member's first tier. An alias can't stand in a reply beside others (RFC 1034, 3.6.2), so each
    /// is a share of its own, as probable as its turn to come first.
    fn together(&mut self, ups: &[Up]) -> Vec<Tier> {
        let mut seen = HashSet::new();
        let mut all: Vec<EndpointId> = ups.iter().flat_map(|up| up.tiers[0].endpoints()).collect();
        all.retain(|endpoint| seen.insert(*endpoint));
        let each = 1.0 / all.len() as f64;
        let (aliases, addresses): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| self.scene.is_alias(*e));
        let mut shares = Vec::new();
        if !addresses.is_empty() {
            shares.push(Share { weight: each * addresses.len() as f64, endpoints: addresses, path: Vec::new() });
        }
        shares.extend(aliases.into_iter().map(|alias| Share { weight: each, ..Share::of(alias) }));
        if shares.is_empty() { Vec::new() } else { vec![Tier { shares }] }
    }

    /// Members by distance, those at the same one together.
    fn ranked(&mut self, id: PoolId, ups: Vec<Up>) -> Vec<Tier> {
        self.looks_at_client |= ups.len() > 1;
        let pool = self.scene.model.pool(id);
        let mut placed: Vec<(rank::Place, Up)> =
            rank::places(&self.scene, pool.steering, &ups).into_iter().zip(ups).collect();
        placed.sort_by_key(|(place, _)| place.distance);
        let within = if self.root == MemberRef::Pool(id) { String::new() } else { format!(" in \"{}\"", pool.name) };
        let mut tiers = Vec::new();
        let mut rank = 1;
        for level in placed.chunk_by(|(a, _), (b, _)| a.distance == b.distance) {
            for (place, up) in level {
                let why = format!("rank {rank}{within}: {}", place.why);
                self.ranks.extend(up.tiers.iter().flat_map(Tier::endpoints).map(|e| Reason::new(e, why.clone())));
            }
            rank += level.len();
            tiers.extend(self.blend(pool, level.iter().map(|(_, up)| up)));
        }
        tiers
    }

    /// Members side by side: their first tiers become one, their second tiers become one, and so on; in each a member
    /// has its weight, however it divides it.
    fn blend<'a>(&self, pool: &Pool, ups: impl IntoIterator<Item = &'a Up>) -> Vec<Tier> {
        let sticky = pool.steering == Steering::Affinity || self.scene.policy.affinity.is_some();
        let mut blended: Vec<Tier> = Vec::new();
        for up in ups {
            let step = Step { member: key_of(self.scene.name(up.to)), sticky };
            for (at, tier) in up.tiers.iter().enumerate() {
                if blended.len() <= at {
                    blended.push(Tier::default());
                }
                let total: f64 = tier.shares.iter().map(|share| share.weight).sum();
                let scaled = tier.shares.iter().map(|share| Share {
                    endpoints: share.endpoints.clone(),
                    weight: share.weight / total * up.weight,
                    path: std::iter::once(step).chain(share.path.iter().copied()).collect(),
                });
                blended[at].shares.extend(scaled);
            }
        }
        blended
    }
}

/// The number that stands for a member's name: SipHash-1-3 of it without a key, so that all nodes agree.
pub(crate) fn key_of(name: &str) -> u64 {
    SipHasher13::new().hash(name.as_bytes())
}

/// Each endpoint once: in the best tier that has it, and there in one share, which gets the weight of the others.
/// A group goes before single shares, so that drawing it still gives all of it.
pub(super) fn distinct(tiers: Vec<Tier>) -> Vec<Tier> {
    let mut better: HashSet<EndpointId> = HashSet::new();
    let mut result = Vec::new();
    for mut tier in tiers {
        tier.shares.iter_mut().for_each(|share| share.endpoints.retain(|endpoint| !better.contains(endpoint)));
        tier.shares.retain(|share| !share.endpoints.is_empty());
        let mut order: Vec<usize> = (0..tier.shares.len()).collect();
        order.sort_by_key(|at| tier.shares[*at].endpoints.len() == 1);
        let mut owner: HashMap<EndpointId, usize> = HashMap::new();
        for at in order {
            let share = &mut tier.shares[at];
            let (first, weight) = (share.endpoints[0], share.weight);
            share.endpoints.retain(|endpoint| !owner.contains_key(endpoint));
            owner.extend(tier.shares[at].endpoints.iter().map(|endpoint| (*endpoint, at)));
            if tier.shares[at].endpoints.is_empty() {
                tier.shares[owner[&first]].weight += weight;
            }
        }
        tier.shares.retain(|share| !share.endpoints.is_empty());
        better.extend(tier.endpoints());
        if !tier.shares.is_empty() {
            result.push(tier);
        }
    }
    result
}
