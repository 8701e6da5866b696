//! Steered names: each is checked against its pool and the master file. Names that are answered alike share one policy.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use crate::config::spec::{NameSpec, PolicySpec};
use crate::config::validate::declared::point_at;
use crate::config::validate::pool::Size;
use crate::config::validate::selector::Fenced;
use crate::config::validate::service::{check_aliases, service};
use crate::config::validate::{Names, Used, judging, kind, rto};
use crate::masterfile::{CNAME, MasterFile, type_name};
use crate::model::{
    EndpointId, Facet, Failback, MAX_ANSWERS, MAX_ENDPOINTS, MemberRef, Model, OnEmpty, Policy, PolicyId, SteeredName,
    Ttl, ZoneId,
};
use crate::source::{At, ManualSection, Place, Problems};
use crate::wire::Name;

/// Makes the policies of one zone.
pub(super) struct Policies<'a, 's> {
    pub(super) zone: ZoneId,
    pub(super) spec: &'a PolicySpec,
    pub(super) file: &'a MasterFile,
    pub(super) names: &'a Names<'a>,
    pub(super) sizes: &'a [Size],
    pub(super) used: &'a mut Used<'s>,
}

impl Policies<'_, '_> {
    /// The zone's steered names. Their policies are added to the model.
    pub(super) fn resolve(&mut self, model: &mut Model, problems: &mut Problems) -> Vec<SteeredName> {
        let mut policies: HashMap<Policy, PolicyId, FixedState> = HashMap::default();
        let mut seen: HashMap<&Name, &At<String>, FixedState> = HashMap::default();
        let mut steered = Vec::with_capacity(self.spec.names.len());
        for name in &self.spec.names {
            if let Some(first) = seen.insert(&name.owner, &name.name) {
                let label = &name.name;
                let message = format!("`{}` is steered twice: it is the same name as `{}`", label.value, first.value);
                let problem = problems.error(&label.place, message).label(&first.place, "steered here too");
                problem.hint("case doesn't count, and relative and full names are the same: remove one");
                continue;
            }
            self.check_cuts(name, problems);
            let Some(policy) = self.policy(name, model, problems) else { continue };
            let id = *policies.entry(policy).or_insert_with_key(|policy| {
                model.policies.push(policy.clone());
                PolicyId(model.policies.len() as u32 - 1)
            });
            steered.push(SteeredName { owner: name.owner.clone(), label: name.name.value.clone(), policy: id });
        }
        steered
    }

    /// Names below a delegation or a DNAME are never answered from this zone.
    fn check_cuts(&self, name: &NameSpec, problems: &mut Problems) {
        let above = self.file.delegation(&name.owner).map(|found| (found, "delegated", "NS"));
        let above = above.or_else(|| self.file.dname(&name.owner).map(|found| (found, "renamed by a DNAME", "DNAME")));
        if let Some(((cut, place), how, rtype)) = above {
            let message = format!("{} is never answered here: {cut} is {how} in the zone file", name.owner);
            let problem =
                problems.error(&name.name.place, message).label(place, format!("the {rtype} record of {cut}"));
            problem.hint(format!("steer it in the zone it belongs to, or remove that {rtype} record"));
        }
    }

    fn policy(&mut self, name: &NameSpec, model: &Model, problems: &mut Problems) -> Option<Policy> {
        let written = name.pool.as_ref();
        let root = written.and_then(|pool| self.names.find(pool, problems));
        self.used.members.extend(root);
        let on_empty = self.on_empty(name, problems);
        let fence = name.fence.as_ref().and_then(|fence| self.used.fences.find(fence, problems).copied().flatten());
        let others: Vec<MemberRef> = on_empty.iter().flatten().filter_map(OnEmpty::other).collect();
        self.used.members.extend(&others);
        let (root, written) = root.zip(written)?;
        let mut endpoints = model.endpoints_below(root);
        let own: HashSet<EndpointId, FixedState> = endpoints.iter().copied().collect();
        let monitor = judging::own_monitor(name, &endpoints, model);
        let mut all = own.clone();
        let more = others.iter().flat_map(|other| model.endpoints_below(*other));
        endpoints.extend(more.filter(|id| all.insert(*id)));
        let facets = facets(name, &endpoints, self.spec, model, problems);
        if facets.iter().any(|facet| !facet.is_service()) {
            self.check_records(name, &endpoints, model, problems);
        }
        check_aliases(name, self.spec, &endpoints, self.file, model, problems);
        let service = problems
            .about(ManualSection::Services, |problems| service(name, self.spec, &endpoints, &facets, model, problems));
        let on_empty = on_empty?;
        if on_empty.contains(&OnEmpty::Static) {
            self.check_static(name, &facets, problems);
        }
        let answers = self.spec.answering(name, |keys| keys.answers.as_ref()).map(|at| at.value);
        let roots = || std::iter::once(root).chain(others.iter().copied());
        for root in roots().filter(|_| answers.is_none()) {
            self.check_draw(root, &written.place, problems);
        }
        if endpoints.len() > MAX_ENDPOINTS {
            let message = format!("this name has {} endpoints; the maximum is {MAX_ENDPOINTS}", endpoints.len());
            problems.error(&written.place, message).hint("divide them among several names");
        }
        let ttl = self.spec.answering(name, |keys| keys.ttl.as_ref()).map_or_else(Ttl::default, |at| at.value);
        let fence_spec = name.fence.as_ref().and_then(|at| Some((at, self.spec.fence(&at.value)?)));
        if let (Some(id), Some((at, spec))) = (fence, fence_spec) {
            let (endpoints, facets) = (&endpoints, &facets);
            let fenced = Fenced { name, spec, fence: model.fence(id), endpoints, facets, on_empty: &on_empty };
            problems.about(ManualSection::Fence, |problems| {
                fenced.check(&at.place, self.file, self.spec, model, problems);
            });
        }
        self.check_affinity(name, problems);
        warn_failback(name, roots(), model, problems);
        let affinity = name.affinity();
        let failback = name.failback.as_ref().map_or_else(Failback::default, |at| at.value);
        if let Some(promise) = &name.rto {
            let specs = endpoints.iter().filter_map(|id| self.spec.endpoints.get(self.names.endpoint_index(*id)));
            let judged = specs.map(|spec| {
                let is_own = self
                    .names
                    .by_name
                    .get(spec.name.value.as_str())
                    .is_some_and(|id| matches!(id, MemberRef::Endpoint(id) if own.contains(id)));
                (spec, name.monitor.as_ref().filter(|_| is_own).or(spec.monitor.as_ref()))
            });
            rto::check(&name.name.value, promise, ttl, judged, self.spec, problems);
        }
        let is_mixed = Policy::can_mix(model, &endpoints, &facets);
        let policy = Policy::new(self.zone, root, endpoints, facets);
        let policy = Policy { answers, ttl, on_empty, fence, affinity, failback, service, monitor, is_mixed, ..policy };
        // At the apex every cname is an error already.
        if name.owner != self.file.apex {
            kind::check(name, &policy, self.spec, self.names, model, problems);
        }
        Some(policy)
    }

    /// Clients that are known by ECS have no longer prefix than [ecs] allows.
    fn check_affinity(&self, name: &NameSpec, problems: &mut Problems) {
        let (Some(At { value: Some(affinity), .. }), ecs) = (&name.affinity, self.spec.ecs_rule()) else { return };
        for (key, written, limit) in [("v4", &affinity.v4, ecs.v4), ("v6", &affinity.v6, ecs.v6)] {
            let (bits, Some(place)) = (written.value, &written.place) else { continue };
            if ecs.enabled && bits > limit {
                let message = format!("`affinity.{key}` (/{bits}) is longer than [ecs] allows (/{limit})");
                let problem = problems.warning(place, message);
                if let Some(ecs) = self.spec.place_of("ecs") {
                    problem.label(ecs, "[ecs]");
                }
                problem.hint(format!("for clients known by ECS only {limit} bits are used; raise `{key}` in [ecs]"));
            }
        }
    }

    /// Without `answers`, all endpoints of a pool that steers `all` are in one reply, so they must fit.
    fn check_draw(&self, root: MemberRef, place: &Place, problems: &mut Problems) {
        let MemberRef::Pool(id) = root else { return };
        let draw = self.sizes.get(self.names.pool_index(id)).map_or(0, |size| size.draw);
        if draw > MAX_ANSWERS {
            let message = format!("up to {draw} endpoints would be in one reply, and {MAX_ANSWERS} fit");
            problems.error(place, message).hint(format!("write `answers = {MAX_ANSWERS}` or fewer"));
        }
    }

    /// A CNAME excludes other records, also at the apex (RFC 1034, 3.6.2).
    fn check_records(&self, name: &NameSpec, endpoints: &[EndpointId], model: &Model, problems: &mut Problems) {
        let alias = endpoints.iter().map(|id| model.endpoint(*id)).find(|e| e.answerable(Facet::Alias).is_some());
        let (label, place) = (&name.name.value, &name.name.place);
        match alias {
            Some(alias) if name.owner == self.file.apex => {
                let message = format!("`{}` is a cname, but the apex of a zone can't have a CNAME", alias.name);
                let problem = problems.error(place, message);
                point_at(problem, &alias.name, self.spec);
                problem.hint("the apex has SOA and NS records: use endpoints with addresses here");
            }
            Some(alias) => {
                if let Some((set, at)) = self.file.at(&name.owner).find(|(set, _)| set.rtype != CNAME) {
                    let rtype = type_name(set.rtype);
                    let message = format!(
                        "`{label}` can be answered with the cname `{}`, but the zone file has a {rtype} record of this \
                         name",
                        alias.name
                    );
                    let problem = problems.error(place, message).label(at, format!("this {rtype} record"));
                    point_at(problem, &alias.name, self.spec);
                    problem.hint("a name with a CNAME can't have other records: remove that record");
                }
            }
            None => {
                if let Some((_, at)) = self.file.rrset(&name.owner, CNAME) {
                    let message = format!(
                        "`{label}` is answered with addresses, but the zone file has a CNAME record of this name"
                    );
                    let problem = problems.error(place, message).label(at, "this CNAME");
                    problem.hint("remove the CNAME; as a safe default write A or AAAA records");
                }
            }
        }
    }
}

/// `failback` has an effect in failover pools only.
fn warn_failback(name: &NameSpec, roots: impl Iterator<Item = MemberRef>, model: &Model, problems: &mut Problems) {
    let Some(failback) = &name.failback else { return };
    let mut pools = model.pools_below(roots);
    if !pools.any(|id| model.pool(id).steering.has_failback()) {
        let message = format!("`failback` does nothing here: no pool of `{}` steers by failover", name.name.value);
        problems.warning(&failback.place, message).hint("leave it out, or write `steer = \"failover\"` in the pool");
    }
}

/// The types that a name answers: its `types`, or those of its endpoints.
fn facets(
    name: &NameSpec,
    endpoints: &[EndpointId],
    spec: &PolicySpec,
    model: &Model,
    problems: &mut Problems,
) -> Vec<Facet> {
    let has = |id: &EndpointId, facet: Facet| model.endpoint(*id).answerables.iter().any(|a| a.facet == facet);
    let any = |facet: Facet| endpoints.iter().any(|id| has(id, facet));
    let only_aliases = any(Facet::Alias) && !any(Facet::V4) && !any(Facet::V6);
    match &name.types {
        Some(types) if only_aliases && !types.value.iter().all(|facet| facet.is_service()) => {
            let problem = problems.warning(&types.place, "`types` does nothing here: every endpoint is a cname");
            problem.hint("leave it out");
            vec![Facet::Alias]
        }
        None if only_aliases => vec![Facet::Alias],
        // A cname answers both A and AAAA.
        None => [Facet::V4, Facet::V6].into_iter().filter(|f| any(*f) || any(Facet::Alias)).collect(),
        Some(types) => {
            check_types(types, endpoints, spec, model, problems);
            types.value.clone()
        }
    }
}

/// Every type of `types` needs an endpoint, and every endpoint an address of one of the types.
fn check_types(
    types: &At<Vec<Facet>>,
    endpoints: &[EndpointId],
    spec: &PolicySpec,
    model: &Model,
    problems: &mut Problems,
) {
    let endpoints = || endpoints.iter().map(|id| model.endpoint(*id)).filter(|e| !e.answerables.is_empty());
    if endpoints().next().is_none() {
        return;
    }
    let mut empty = 0;
    for facet in types.value.iter().filter(|facet| endpoints().all(|e| e.answerable(**facet).is_none())) {
        let rtype = facet.as_str();
        let message = format!("`types` lists {rtype}, but no endpoint of the pool has such a record");
        let hint = format!("remove \"{rtype}\" from `types`, or give an endpoint such an address");
        problems.error(&types.place, message).hint(hint);
        empty += 1;
    }
    if empty == types.value.len() {
        return;
    }
    for endpoint in endpoints().filter(|e| types.value.iter().all(|facet| e.answerable(*facet).is_none())) {
        let message = format!("`{}` can never be answered: it has no address for any of `types`", endpoint.name);
        let problem = problems.error(&types.place, message);
        point_at(problem, &endpoint.name, spec);
        problem.hint("add the type of its address to `types`, or give it another address");
    }
}

/// The names that a policy steers. For the rules of the master file they exist.
pub(in crate::config) fn owners(spec: &PolicySpec) -> std::collections::HashSet<Name> {
    spec.names.iter().map(|name| name.owner.clone()).collect()
}
