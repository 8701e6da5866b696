//! Steered names: each is checked against its pool and the master file. Names that are answered alike share one policy.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::config::spec::NameSpec;
use crate::config::validate::context::{NameContext, ZoneContext};
use crate::config::validate::pool::Size;
use crate::config::validate::selector::Fenced;
use crate::config::validate::{Used, discover, fit, judging, rto, with_room};
use crate::masterfile::{CNAME, type_name};
use crate::model::{
    EndpointId, Facet, Failback, MAX_ANSWERS, MAX_ENDPOINTS, MemberRef, Model, OnEmpty, Policy, PolicyId, SteeredName,
    Ttl, ZoneId,
};
use crate::source::{At, ManualSection, Place, Problems};
use crate::wire::Name;

/// Makes the policies of one zone.
pub(super) struct Policies<'a, 's> {
    pub(super) id: ZoneId,
    pub(super) zone: ZoneContext<'a>,
    pub(super) sizes: &'a [Size],
    pub(super) used: &'a mut Used<'s>,
}

impl Policies<'_, '_> {
    /// The zone's steered names, and their policies, which get the next ids of the model.
    pub(super) fn resolve(&mut self, problems: &mut Problems) -> (Vec<SteeredName>, Vec<Policy>) {
        let names = &self.zone.spec.names;
        let first = self.zone.model.policies.len();
        let mut ids: HashMap<Policy, usize, FixedState> = HashMap::default();
        let mut seen: HashMap<&Name, &At<String>, FixedState> = with_room(names.len());
        let mut steered = Vec::with_capacity(names.len());
        let zone = self.zone.spec.zone.value.to_string();
        for name in names {
            if let Some(first) = seen.insert(&name.owner, &name.name) {
                let label = &name.name;
                let message = format!("`{}` is steered twice: it is the same name as `{}`", label.value, first.value);
                let problem = problems.error(&label.place, message).label(&first.place, "steered here too");
                problem.hint("case doesn't count, and relative and full names are the same: remove one");
                continue;
            }
            check_full(name, zone.trim_end_matches('.'), problems);
            self.check_cuts(name, problems);
            let Some(policy) = self.policy(name, problems) else { continue };
            let next = ids.len();
            let policy = PolicyId((first + *ids.entry(policy).or_insert(next)) as u32);
            let rto = name.rto.as_ref().map(|rto| rto.value);
            steered.push(SteeredName { owner: name.owner.clone(), label: name.name.value.clone(), policy, rto });
        }
        let mut policies: Vec<Option<Policy>> = ids.iter().map(|_| None).collect();
        ids.into_iter().for_each(|(policy, at)| policies[at] = Some(policy));
        let policies: Vec<Policy> = policies.into_iter().flatten().collect();
        fit::check(self.zone.spec, &steered, |id| &policies[id.0 as usize - first], problems);
        (steered, policies)
    }

    /// Names below a delegation or a DNAME are never answered from this zone.
    fn check_cuts(&self, name: &NameSpec, problems: &mut Problems) {
        let file = self.zone.file;
        let above = file.delegation(&name.owner).map(|found| (found, "delegated", "NS"));
        let above = above.or_else(|| file.dname(&name.owner).map(|found| (found, "renamed by a DNAME", "DNAME")));
        if let Some(((cut, place), how, rtype)) = above {
            let message = format!("{} is never answered here: {cut} is {how} in the zone file", name.owner);
            let problem =
                problems.error(&name.name.place, message).label(place, format!("the {rtype} record of {cut}"));
            problem.hint(format!("steer it in the zone it belongs to, or remove that {rtype} record"));
        }
    }

    fn policy(&mut self, name: &NameSpec, problems: &mut Problems) -> Option<Policy> {
        let zone = self.zone;
        let (spec, model) = (zone.spec, zone.model);
        let written = name.pool.as_ref();
        let root = written.and_then(|pool| zone.names.find(pool, problems));
        self.used.members.extend(root);
        // An exclusive name gives its active endpoint, up or down.
        let on_empty = match name.is_exclusive() {
            true => Some(vec![OnEmpty::LastGood]),
            false => zone.on_empty(name, problems),
        };
        let fence = name.fence.as_ref().and_then(|fence| self.used.fences.find(fence, problems).copied().flatten());
        let others: Vec<MemberRef> = on_empty.iter().flatten().filter_map(OnEmpty::other).collect();
        self.used.members.extend(&others);
        let (root, written) = root.zip(written)?;
        let roots = || std::iter::once(root).chain(others.iter().copied());
        let mut endpoints = model.endpoints_below(root);
        let own = endpoints.len();
        let monitor = judging::own_monitor(name, &endpoints, model);
        if !others.is_empty() {
            // Its own ones come first.
            endpoints = model.below(roots()).filter_map(MemberRef::endpoint).collect();
        }
        let facets = facets(&NameContext { zone, name, endpoints: &endpoints, facets: &[] }, problems);
        let context = NameContext { zone, name, endpoints: &endpoints, facets: &facets };
        if facets.iter().any(|facet| !facet.is_service()) {
            context.check_records(problems);
        }
        context.check_aliases(problems);
        let service = problems.about(ManualSection::Services, |problems| context.service(own, problems));
        let on_empty = on_empty?;
        if on_empty.contains(&OnEmpty::Static) {
            context.check_static(problems);
        }
        let answers = spec.answering(name, |keys| keys.answers.as_ref()).map(|at| at.value);
        for root in roots().filter(|_| answers.is_none()) {
            self.check_draw(root, &written.place, problems);
        }
        let is_stated = |id: &&EndpointId| model.endpoint(**id).discovered.is_some();
        let stated = endpoints.iter().filter(is_stated).count();
        let most = endpoints.len() + discover::room(spec, model.pools_below(roots()), model, stated);
        if endpoints.len() > MAX_ENDPOINTS {
            let message = format!("this name has {} endpoints; the maximum is {MAX_ENDPOINTS}", endpoints.len());
            problems.error(&written.place, message).hint("divide them among several names");
        } else if most > MAX_ENDPOINTS {
            let message =
                format!("this name may have {most} endpoints with its sources; the maximum is {MAX_ENDPOINTS}");
            problems
                .error(&written.place, message)
                .hint("write a lower `max` in its `[discover.NAME]`; the default is 1000");
        }
        let ttl = spec.answering(name, |keys| keys.ttl.as_ref()).map_or_else(Ttl::default, |at| at.value);
        let fence_spec = name.fence.as_ref().and_then(|at| Some((at, spec.fence(&at.value)?)));
        if let (Some(id), Some((at, spec))) = (fence, fence_spec) {
            let fenced = Fenced { context, place: &at.place, spec, fence: model.fence(id) };
            problems.about(ManualSection::Fence, |problems| fenced.check(&on_empty, problems));
        }
        context.check_affinity(problems);
        warn_failback(name, roots(), model, problems);
        let affinity = name.affinity();
        let exclusive = context.exclusive(root, problems);
        // The lease decides which member is active; the pool has no choice that could stay.
        let failback = name.failback.as_ref().filter(|_| exclusive.is_none());
        let failback = failback.map_or_else(Failback::default, |at| at.value);
        let answers = answers.filter(|_| exclusive.is_none());
        if let Some(promise) = &name.rto {
            let judged = endpoints.iter().enumerate().map(|(at, id)| {
                let endpoint = zone.endpoint_spec(*id);
                (endpoint, name.monitor.as_ref().filter(|_| at < own).or(endpoint.monitor.as_ref()))
            });
            rto::check(&name.name.value, promise, ttl, judged, spec, problems);
        }
        let is_mixed = Policy::can_mix(model, &endpoints, &facets);
        let policy = Policy {
            zone: self.id,
            root,
            endpoints,
            facets,
            answers,
            ttl,
            on_empty,
            fence,
            affinity,
            failback,
            service,
            monitor,
            exclusive,
            is_mixed,
        };
        // At the apex every cname is an error already.
        if name.owner != zone.file.apex {
            let Policy { endpoints, facets, .. } = &policy;
            NameContext { zone, name, endpoints, facets }.check_kinds(&policy, problems);
        }
        Some(policy)
    }

    /// Without `answers`, all endpoints of a pool that steers `all` are in one reply, so they must fit.
    fn check_draw(&self, root: MemberRef, place: &Place, problems: &mut Problems) {
        let MemberRef::Pool(id) = root else { return };
        let draw = self.sizes.get(self.zone.names.pool_index(id)).map_or(0, |size| size.draw);
        if draw > MAX_ANSWERS {
            let message = format!("up to {draw} endpoints would be in one reply, and {MAX_ANSWERS} fit");
            problems.error(place, message).hint(format!("write `answers = {MAX_ANSWERS}` or fewer"));
        }
    }
}

/// A full name without its final dot is relative, and has the zone twice. Zones of one label may have such names.
/// `zone` has no final dot.
fn check_full(name: &NameSpec, zone: &str, problems: &mut Problems) {
    let label = &name.name.value;
    let split = label.len().checked_sub(zone.len()).and_then(|at| label.split_at_checked(at));
    let Some((before, _)) = split.filter(|(_, end)| end.eq_ignore_ascii_case(zone) && zone.contains('.')) else {
        return;
    };
    if before.is_empty() || before.ends_with('.') {
        let before = before.trim_end_matches('.').to_ascii_lowercase();
        let short = if before.is_empty() { "@" } else { &before };
        let message = format!("`{label}` is relative to the zone, so this is {}", name.owner);
        let hint = format!("write `{short}`, or the full name with its final dot: `{label}.`");
        problems.warning(&name.name.place, message).hint(hint);
    }
}

impl NameContext<'_> {
    /// Clients that are known by ECS have no longer prefix than [ecs] allows.
    fn check_affinity(&self, problems: &mut Problems) {
        let (Some(At { value: Some(affinity), .. }), ecs) = (&self.name.affinity, self.spec.ecs_rule()) else { return };
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

    /// A CNAME excludes other records, also at the apex (RFC 1034, 3.6.2).
    fn check_records(&self, problems: &mut Problems) {
        let (owner, At { value: label, place }) = (&self.name.owner, &self.name.name);
        match self.endpoints().find(|endpoint| endpoint.answerable(Facet::Alias).is_some()) {
            Some(alias) if *owner == self.file.apex => {
                let message = format!("`{}` is a cname, but the apex of a zone can't have a CNAME", alias.name);
                let problem = problems.error(place, message);
                self.point_at(problem, &alias.name);
                problem.hint("the apex has SOA and NS records: use endpoints with addresses here");
            }
            Some(alias) => {
                if let Some((set, at)) = self.file.at(owner).find(|(set, _)| set.rtype != CNAME) {
                    let rtype = type_name(set.rtype);
                    let message = format!(
                        "`{label}` can be answered with the cname `{}`, but the zone file has a {rtype} record of this \
                         name",
                        alias.name
                    );
                    let problem = problems.error(place, message).label(at, format!("this {rtype} record"));
                    self.point_at(problem, &alias.name);
                    problem.hint("a name with a CNAME can't have other records: remove that record");
                }
            }
            None => {
                if let Some((_, at)) = self.file.rrset(owner, CNAME) {
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
fn facets(context: &NameContext<'_>, problems: &mut Problems) -> Vec<Facet> {
    let any = |facet: Facet| context.endpoints().any(|endpoint| endpoint.answerables.iter().any(|a| a.facet == facet));
    let (spec, model) = (context.zone.spec, context.zone.model);
    let root = || context.name.pool.as_ref().and_then(|pool| context.zone.names.by_name.get(&*pool.value));
    let is_filled = || root().is_some_and(|root| discover::is_filled(spec, *root, model));
    let only_aliases = any(Facet::Alias) && !any(Facet::V4) && !any(Facet::V6);
    match &context.name.types {
        Some(types) if only_aliases && !types.value.iter().all(|facet| facet.is_service()) => {
            if !root().is_some_and(|root| discover::may_list_addresses(spec, *root, model)) {
                let problem = problems.warning(&types.place, "`types` does nothing here: every endpoint is a cname");
                problem.hint("leave it out");
            }
            vec![Facet::Alias]
        }
        // One decision for all types: a resolver must not get another CNAME for AAAA than for A.
        None if only_aliases => vec![Facet::Alias],
        None if is_filled() => vec![Facet::V4, Facet::V6],
        // A cname answers both A and AAAA.
        None => [Facet::V4, Facet::V6].into_iter().filter(|f| any(*f) || any(Facet::Alias)).collect(),
        // What a source may state has such records or not.
        Some(types) if is_filled() => types.value.clone(),
        Some(types) => {
            check_types(types, context, problems);
            types.value.clone()
        }
    }
}

/// Every type of `types` needs an endpoint, and every endpoint an address of one of the types.
fn check_types(types: &At<Vec<Facet>>, context: &NameContext<'_>, problems: &mut Problems) {
    let endpoints = || context.endpoints().filter(|endpoint| !endpoint.answerables.is_empty());
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
        context.point_at(problem, &endpoint.name);
        problem.hint("add the type of its address to `types`, or give it another address");
    }
}
