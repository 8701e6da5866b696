//! Names that can be answered with a CNAME or with addresses. A CNAME excludes other records (RFC 1034, 3.6.2), so the
//! choice must be the same for all types. A pool that draws at random chooses anew for every query, so it is refused.

use std::collections::HashMap;

use crate::config::validate::context::NameContext;
use crate::model::{EndpointId, Facet, Member, MemberRef, Model, Policy, PoolId};
use crate::source::Problems;

/// One alias and one endpoint with addresses below a member, if there are any.
#[derive(Debug, Clone, Copy, Default)]
struct Kinds {
    alias: Option<EndpointId>,
    addresses: Option<EndpointId>,
}

impl Kinds {
    fn or(self, other: Kinds) -> Kinds {
        Kinds { alias: self.alias.or(other.alias), addresses: self.addresses.or(other.addresses) }
    }
}

impl NameContext<'_> {
    /// Refuses pools that choose at random between a CNAME and addresses.
    pub(super) fn check_kinds(&self, policy: &Policy, problems: &mut Problems) {
        if !policy.is_mixed || policy.affinity.is_some() {
            return;
        }
        let mut walk = Walk { model: self.model, known: HashMap::new(), mixing: None };
        policy.roots().for_each(|root| _ = walk.member(root));
        let Some((id, alias, addresses)) = walk.mixing else { return };
        let (alias, addresses) = (&self.model.endpoint(alias).name, &self.model.endpoint(addresses).name);
        let pool = &self.model.pool(id).name;
        let message = format!(
            "pool `{pool}` chooses at random between the cname `{alias}` and the addresses of `{addresses}`: a client \
             could get a CNAME for A and an address for AAAA, and resolvers can't handle both at one name"
        );
        let place = self.name.pool.as_ref().map_or(&self.name.name.place, |pool| &pool.place);
        let problem = problems.error(place, message);
        if let Some(pool) = self.spec.pools.get(self.names.pool_index(id)) {
            problem.label(&pool.name.place, format!("pool `{}`", pool.name.value));
        }
        self.point_at(problem, alias);
        let source = self.spec.injected(alias).and_then(|(source, _)| self.spec.discovers.get(*source));
        let of_source = source.map_or_else(String::new, |source| {
            format!("; or write `hosts = \"only\"` and `weight = 1` in {}", source.what())
        });
        problem.hint(format!(
            "write `affinity = {{ v4 = 24, v6 = 56 }}` in [name], so that the client's net decides, or \
             `steer = \"failover\"` in pool `{pool}`, or give one of the two kinds weight 0 (standby){of_source}"
        ));
    }
}

struct Walk<'m> {
    model: &'m Model,
    known: HashMap<PoolId, Kinds>,
    /// The first such pool, with an alias and an endpoint with addresses.
    mixing: Option<(PoolId, EndpointId, EndpointId)>,
}

impl Walk<'_> {
    fn member(&mut self, member: MemberRef) -> Kinds {
        let id = match member {
            MemberRef::Endpoint(id) => {
                let is = |alias| {
                    self.model.endpoint(id).answerables.iter().any(|side| (side.facet == Facet::Alias) == alias)
                };
                return Kinds { alias: is(true).then_some(id), addresses: is(false).then_some(id) };
            }
            MemberRef::Pool(id) => id,
        };
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let pool = self.model.pool(id);
        let is_by_chance = pool.steering.is_random();
        // Standbys are drawn only when all others are out.
        let all = [false, true].map(|standby| {
            let of: Vec<&Member> = pool.members.iter().filter(|member| (member.weight == 0) == standby).collect();
            let kinds = of.into_iter().fold(Kinds::default(), |kinds, member| kinds.or(self.member(member.to)));
            if let (true, Some(alias), Some(addresses), None) =
                (is_by_chance, kinds.alias, kinds.addresses, self.mixing)
            {
                self.mixing = Some((id, alias, addresses));
            }
            kinds
        });
        let kinds = all[0].or(all[1]);
        self.known.insert(id, kinds);
        kinds
    }
}
