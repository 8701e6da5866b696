//! What a decision is told of the one before: what was last good, and the choices that resist change. Within a
//! generation that is the decision itself; over a reload, what the generation before decided, in the ids of the new one;
//! after a restart, what was written down. A name is the same name when its owner is, an endpoint or pool when its zone
//! and its name are, a class when it is called the same.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use crate::model::{EndpointId, Facet, MemberRef, Model, PolicyId, PoolId};
use crate::snapshot::placing::{Locals, Placing};
use crate::snapshot::policies::PolicyCells;
use crate::snapshot::{Group, LocalClass, NamedStanding, Snapshot, standings};
use crate::steering::{Challenger, Decision, Distribution, Given, Memory, Share, Standing, Tier};
use crate::wire::Name;

type Map<K, V> = HashMap<K, V, FixedState>;

/// Owned or borrowed memory of one policy, facet and class.
#[derive(Default)]
pub(crate) struct Remembered<'a> {
    last_good: Option<Cow<'a, Distribution>>,
    standings: Cow<'a, [Standing]>,
}

impl Remembered<'_> {
    /// The same without the choices of `pools` that somebody waits to replace.
    pub(crate) fn without_incumbents(mut self, is_meant: impl Fn(PoolId) -> bool) -> Self {
        let stays = |standing: &Standing| standing.challenger.is_none() || !is_meant(standing.pool);
        self.standings = self.standings.iter().filter(|standing| stays(standing)).cloned().collect();
        self
    }

    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory { last_good: self.last_good.as_deref(), standings: &self.standings }
    }
}

/// What cells of the same model remember.
pub(crate) fn remembered(cells: &PolicyCells, facet: Facet, class: LocalClass) -> Remembered<'_> {
    let cell = cells.iter().find(|of| of.facet == facet).and_then(|of| of.cell(class));
    let of = |decision| Remembered {
        last_good: last_good(decision).map(Cow::Borrowed),
        standings: Cow::Borrowed(&decision.standings),
    };
    cell.map(|cell| of(cell.decision())).unwrap_or_default()
}

fn last_good(decision: &Decision) -> Option<&Distribution> {
    match &decision.given {
        Given::Endpoints(distribution) if decision.is_good => Some(distribution),
        Given::Endpoints(_) | Given::Static | Given::Nodata => decision.last_good.as_ref(),
    }
}

/// Where a new generation's memory comes from.
pub(crate) enum Past<'a> {
    Nothing,
    Generation(&'a Heritage<'a>),
    Told(&'a Seeds),
}

impl Past<'_> {
    pub(crate) fn recall(
        &self,
        policy: PolicyId,
        locals: &Locals,
        facet: Facet,
        class: LocalClass,
    ) -> Remembered<'static> {
        match self {
            Past::Nothing => Remembered::default(),
            Past::Generation(heritage) => heritage.recall(policy, facet, class),
            Past::Told(seeds) => {
                let standings = seeds.recall(policy, facet, &locals.words[usize::from(class.0)]);
                Remembered { last_good: None, standings: Cow::Owned(standings) }
            }
        }
    }
}

/// From ids of a new model to what the snapshot before it decided.
pub(crate) struct Heritage<'a> {
    from: &'a Snapshot,
    to: &'a Model,
    /// New policy to old, and the group of the new one.
    policies: Map<PolicyId, (PolicyId, Group)>,
    /// Of an old group and a new one: by new class, the old one that is called the same.
    classes: Map<(Group, Group), Vec<Option<LocalClass>>>,
    /// Old to new.
    endpoints: Map<EndpointId, EndpointId>,
    pools: Map<PoolId, PoolId>,
}

impl<'a> Heritage<'a> {
    pub(crate) fn between(from: &'a Snapshot, to: &'a Model, placing: &Placing) -> Heritage<'a> {
        let policies: Map<PolicyId, (PolicyId, Group)> =
            policies(&from.model, to).map(|(new, old)| (new, (old, placing.group(new)))).collect();
        let mut classes = Map::default();
        for (&new, &(old, group)) in &policies {
            classes.entry((from.group(old), group)).or_insert_with(|| {
                let old = from.placing.locals(old);
                placing.locals(new).words.iter().map(|words| old.called(words)).collect()
            });
        }
        let endpoints = endpoints(&from.model, to);
        let pools = if from.resisting.is_empty() { Map::default() } else { pools(&from.model, to) };
        Heritage { from, to, policies, classes, endpoints, pools }
    }

    fn recall(&self, policy: PolicyId, facet: Facet, class: LocalClass) -> Remembered<'static> {
        self.decision(policy, facet, class).map_or_else(Remembered::default, |old| Remembered {
            last_good: last_good(old).and_then(|given| self.given(given)).map(Cow::Owned),
            standings: old.standings.iter().filter_map(|standing| self.standing(standing)).collect(),
        })
    }

    /// What was decided for the same clients; where one decision held for everyone, it did for these.
    fn decision(&self, policy: PolicyId, facet: Facet, class: LocalClass) -> Option<&Decision> {
        let &(old, group) = self.policies.get(&policy)?;
        let facet = self.from.policies.get(old)?.iter().find(|of| of.facet == facet)?;
        let same = self.classes.get(&(self.from.group(old), group))?.get(usize::from(class.0)).copied().flatten();
        let cell = match same {
            Some(class) => facet.cell(class),
            None => facet.cells.first().filter(|_| facet.cells.len() == 1),
        };
        cell.map(|cell| cell.decision())
    }

    /// A distribution less the endpoints that are gone.
    fn given(&self, old: &Distribution) -> Option<Distribution> {
        let share = |share: &Share| {
            let endpoints: Vec<_> = share.endpoints.iter().filter_map(|id| self.endpoints.get(id).copied()).collect();
            (!endpoints.is_empty()).then(|| Share { endpoints, ..share.clone() })
        };
        let tier = |tier: &Tier| Tier { shares: tier.shares.iter().filter_map(share).collect() };
        let tiers: Vec<Tier> = old.tiers.iter().map(tier).filter(|tier| !tier.shares.is_empty()).collect();
        (!tiers.is_empty()).then_some(Distribution { tiers, blanks: Vec::new(), ..*old })
    }

    /// A choice less the members that are gone from its pool; none when all are.
    fn standing(&self, old: &Standing) -> Option<Standing> {
        let pool = *self.pools.get(&old.pool)?;
        let listed = &self.to.pool(pool).members;
        let members = |old: &[MemberRef]| -> Vec<MemberRef> {
            let new: Vec<MemberRef> = old.iter().filter_map(|member| self.member(*member)).collect();
            listed.iter().map(|member| member.to).filter(|to| new.contains(to)).collect()
        };
        let incumbents = Some(members(&old.incumbents)).filter(|members| !members.is_empty())?;
        // A challenger that lost a member is another one, who begins anew.
        let challenger = old.challenger.as_ref().and_then(|challenger| {
            let members = members(&challenger.members);
            let is_whole = members.len() == challenger.members.len();
            is_whole.then(|| Challenger { members, ..challenger.clone() })
        });
        Some(Standing { pool, incumbents, challenger })
    }

    fn member(&self, old: MemberRef) -> Option<MemberRef> {
        match old {
            MemberRef::Endpoint(id) => self.endpoints.get(&id).copied().map(MemberRef::Endpoint),
            MemberRef::Pool(id) => self.pools.get(&id).copied().map(MemberRef::Pool),
        }
    }
}

/// New policies, each with the old one of a name with the same owner.
fn policies<'m>(from: &'m Model, to: &'m Model) -> impl Iterator<Item = (PolicyId, PolicyId)> {
    fn steered(model: &Model) -> impl Iterator<Item = (&Name, PolicyId)> {
        model.zones.iter().flat_map(|zone| &zone.steered).map(|name| (&name.owner, name.policy))
    }
    let old: Map<&Name, PolicyId> = steered(from).collect();
    steered(to).filter_map(move |(owner, policy)| Some((policy, *old.get(owner)?)))
}

/// Old endpoint to the new one of the same zone and name.
fn endpoints(from: &Model, to: &Model) -> Map<EndpointId, EndpointId> {
    fn named(model: &Model) -> impl Iterator<Item = ((&Name, &str), EndpointId)> {
        let endpoints = model.endpoints.iter().zip(0..);
        endpoints.map(|(endpoint, id)| ((&model.zone(endpoint.zone).apex, &*endpoint.name), EndpointId(id)))
    }
    let new: Map<_, _> = named(to).collect();
    named(from).filter_map(|(key, id)| Some((id, *new.get(&key)?))).collect()
}

/// Old pool to the new one of the same zone and name.
fn pools(from: &Model, to: &Model) -> Map<PoolId, PoolId> {
    let new = named_pools(to);
    named_pools(from).into_iter().filter_map(|(key, id)| Some((id, *new.get(&key)?))).collect()
}

/// Every pool that some policy uses, by its zone, which is its policy's, and its name.
fn named_pools(model: &Model) -> Map<(&Name, &str), PoolId> {
    let (mut named, mut seen) = (Map::default(), HashSet::<PoolId, FixedState>::default());
    for policy in &model.policies {
        let mut left: Vec<MemberRef> = policy.roots().collect();
        while let Some(member) = left.pop() {
            let MemberRef::Pool(id) = member else { continue };
            if seen.insert(id) {
                let pool = model.pool(id);
                named.insert((&model.zone(policy.zone).apex, pool.name.as_str()), id);
                left.extend(pool.members.iter().map(|member| member.to));
            }
        }
    }
    named
}

/// Choices that were written down, in the ids of a model.
#[derive(Debug, Default)]
pub(crate) struct Seeds {
    /// With the words of the class each is of.
    by_policy: Map<(PolicyId, Facet), Vec<(String, Standing)>>,
}

impl Seeds {
    pub(crate) fn of(told: &[NamedStanding], model: &Model) -> Seeds {
        let mut seeds = Seeds::default();
        if told.is_empty() {
            return seeds;
        }
        let pools = named_pools(model);
        let zones: Map<String, &Name> = model.zones.iter().map(|zone| (zone.apex.to_string(), &zone.apex)).collect();
        let names = model.zones.iter().flat_map(|zone| zone.steered.iter().map(move |name| (&zone.apex, name)));
        let names: Map<(&Name, &str), PolicyId> =
            names.map(|(apex, name)| ((apex, name.label.as_str()), name.policy)).collect();
        for told in told {
            let found = zones.get(&told.zone).and_then(|apex| {
                let policy = *names.get(&(*apex, told.name.as_str()))?;
                let facet = model.policy(policy).decided_facets().find(|facet| facet.as_str() == told.rtype)?;
                let pool = *pools.get(&(*apex, told.pool.as_str()))?;
                Some(((policy, facet), standings::in_ids(told, pool, model)?))
            });
            let Some((key, standing)) = found else { continue };
            let of = seeds.by_policy.entry(key).or_default();
            // Names that share a policy were told one by one.
            if !of.iter().any(|(class, known)| *class == told.class && known.pool == standing.pool) {
                of.push((told.class.clone(), standing));
            }
        }
        seeds
    }

    fn recall(&self, policy: PolicyId, facet: Facet, class: &str) -> Vec<Standing> {
        let told = |facet| self.by_policy.get(&(policy, facet)).map(Vec::as_slice);
        let of = match facet {
            // Written down before the choice between alias and addresses was one for all types.
            Facet::Alias => told(facet).or_else(|| told(Facet::V4)).or_else(|| told(Facet::V6)),
            Facet::V4 | Facet::V6 | Facet::Srv | Facet::Https | Facet::Svcb => told(facet),
        };
        let of = of.unwrap_or_default();
        let is_for = |of: &str| of == class || of == standings::ANY;
        of.iter().filter(|(of, _)| is_for(of)).map(|(_, standing)| standing.clone()).collect()
    }
}
