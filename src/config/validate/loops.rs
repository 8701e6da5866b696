//! Steered names whose cname leads back to them. They are refused, because resolvers follow such a chain until they
//! give up. The search takes a time in proportion to the names and their cnames ([`graph`]).

mod graph;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use graph::Graph;

use crate::config::spec::{NameSpec, PolicySpec};
use crate::config::validate::context::point_at;
use crate::masterfile::{CNAME, DNAME};
use crate::model::{AnswerRdata, EndpointId, Model, PolicyId, Rrset, SteeredName};
use crate::source::Problems;
use crate::wire::Name;

/// Finds every steered name of a zone whose cname leads back to it: directly, or through names of this zone, of the
/// zones in the model, or of static zones. `rrsets` are the zone's static records. `links` are those of the zones
/// before; afterwards too.
pub(super) fn check(
    spec: &PolicySpec,
    steered: &[SteeredName],
    rrsets: &[Rrset],
    (model, links): (&Model, &mut Links),
    problems: &mut Problems,
) {
    let mut aliases = Aliases { model, known: HashMap::new() };
    links.looping.clear();
    let has_alias = spec.endpoints.iter().any(|endpoint| endpoint.cname.is_some());
    if !has_alias || steered.iter().all(|name| aliases.of(name.policy).targets.is_empty()) {
        return;
    }
    for zone in &model.zones[links.zones.min(model.zones.len())..] {
        links.take(&zone.steered, &zone.rrsets, &mut aliases);
    }
    links.zones = model.zones.len();
    links.replaced.clear();
    links.take(steered, rrsets, &mut aliases);
    let policies: HashMap<&Name, PolicyId> = steered.iter().map(|name| (&name.owner, name.policy)).collect();
    let mut graph = Graph::of(links);
    spec.names.iter().filter(|name| policies.contains_key(&name.owner)).for_each(|name| graph.follow(&name.owner));
    let (mut looping, mut policies_done) = (HashSet::new(), HashSet::new());
    for name in &spec.names {
        let Some(policy) = policies.get(&name.owner) else { continue };
        let Some(target) = graph.target_in_loop(&name.owner) else { continue };
        let LinkedAliases { targets, endpoints } = aliases.of(*policy);
        let to_target = targets.iter().zip(endpoints).find(|(to, _)| **to == target);
        if let Some((_, endpoint)) = to_target {
            let way = graph.way_back(&name.owner);
            report(name, way.as_deref(), &model.endpoint(*endpoint).name, spec, problems);
        }
        // Names that share a policy have the same targets in loops.
        if policies_done.insert(*policy) {
            let in_loop: HashSet<Name> = graph.targets_in_loop(&name.owner).collect();
            let endpoints = targets.iter().zip(endpoints).filter(|(to, _)| in_loop.contains(*to));
            let names = endpoints.map(|(_, endpoint)| &model.endpoint(*endpoint).name);
            looping.extend(names.filter(|name| spec.injected(name).is_some()).cloned());
        }
    }
    links.take_back();
    links.looping = looping;
}

/// The cnames that can answer the names of each policy.
struct Aliases<'m> {
    model: &'m Model,
    known: HashMap<PolicyId, LinkedAliases>,
}

#[derive(Default)]
struct LinkedAliases {
    /// All names of a policy share them.
    targets: Arc<[Name]>,
    /// The endpoint of each.
    endpoints: Vec<EndpointId>,
}

impl Aliases<'_> {
    fn of(&mut self, policy: PolicyId) -> &LinkedAliases {
        let model = self.model;
        self.known.entry(policy).or_insert_with(|| {
            let policy = model.policies.get(policy.0 as usize);
            // What a source lists for another zone is no error of this one.
            let is_of_other = policy.is_some_and(|policy| (policy.zone.0 as usize) < model.zones.len());
            let endpoints = policy.map(|policy| &policy.endpoints[..]);
            let of = |id: &EndpointId| {
                if is_of_other && model.endpoint(*id).discovered.is_some() {
                    return None;
                }
                let cname = model.endpoint(*id).answerables.iter().find_map(|side| match &side.rdata {
                    AnswerRdata::Cname(wire) => Name::from_wire(wire),
                    AnswerRdata::Address(_) => None,
                });
                Some((cname?, *id))
            };
            let (targets, endpoints): (Vec<Name>, Vec<EndpointId>) =
                endpoints.unwrap_or_default().iter().filter_map(of).unzip();
            LinkedAliases { targets: targets.into(), endpoints }
        })
    }
}

/// Aliases: what leads from name to name.
#[derive(Debug, Default)]
pub(in crate::config) struct Links {
    /// Every existing name, and the targets of its cnames.
    by_owner: HashMap<Name, Arc<[Name]>>,
    /// The target of each DNAME.
    renames: HashMap<Name, Name>,
    /// How many zones of the model are in them.
    zones: usize,
    /// What was at each name of the zone that is being checked, in the order in which it was replaced.
    replaced: Vec<Replaced>,
    /// The endpoints of sources whose cname leads back to a name, in the zone that was checked last.
    looping: HashSet<String>,
}

#[derive(Debug)]
enum Replaced {
    Targets(Name, Option<Arc<[Name]>>),
    Rename(Name, Option<Name>),
}

impl Links {
    /// The endpoints of sources whose cname leads back to a name, in the zone that was checked last.
    pub(in crate::config) fn take_looping(&mut self) -> HashSet<String> {
        std::mem::take(&mut self.looping)
    }

    /// Adds a zone.
    fn take(&mut self, steered: &[SteeredName], rrsets: &[Rrset], aliases: &mut Aliases<'_>) {
        for name in steered {
            self.add(&name.owner, &aliases.of(name.policy).targets);
        }
        self.take_records(rrsets);
    }

    /// Adds static records.
    fn take_records(&mut self, rrsets: &[Rrset]) {
        for rrset in rrsets {
            // A name without an alias counts too: no wildcard answers for an existing name.
            let mut targets = rrset.rdatas.iter().filter_map(|rdata| Name::from_wire(rdata));
            match rrset.rtype {
                CNAME => self.add(&rrset.owner, &targets.collect()),
                DNAME => {
                    self.add(&rrset.owner, &Arc::default());
                    if let Some(target) = targets.next() {
                        let before = self.renames.insert(rrset.owner.clone(), target);
                        self.replaced.push(Replaced::Rename(rrset.owner.clone(), before));
                    }
                }
                _ => self.add(&rrset.owner, &Arc::default()),
            }
        }
    }

    /// Adds targets to those of a name.
    fn add(&mut self, owner: &Name, targets: &Arc<[Name]>) {
        let known = self.by_owner.get(owner);
        let all = match known {
            Some(_) if targets.is_empty() => return,
            Some(known) if !known.is_empty() => known.iter().chain(&**targets).cloned().collect(),
            Some(_) | None => Arc::clone(targets),
        };
        let before = self.by_owner.insert(owner.clone(), all);
        self.replaced.push(Replaced::Targets(owner.clone(), before));
    }

    /// Removes what was added since `replaced` was empty.
    fn take_back(&mut self) {
        while let Some(last) = self.replaced.pop() {
            match last {
                Replaced::Targets(owner, Some(before)) => _ = self.by_owner.insert(owner, before),
                Replaced::Targets(owner, None) => _ = self.by_owner.remove(&owner),
                Replaced::Rename(owner, Some(before)) => _ = self.renames.insert(owner, before),
                Replaced::Rename(owner, None) => _ = self.renames.remove(&owner),
            }
        }
    }

    /// Adds a static zone. One without aliases is left out.
    pub(in crate::config) fn take_zone(&mut self, rrsets: &[Rrset]) {
        if rrsets.iter().any(|rrset| matches!(rrset.rtype, CNAME | DNAME)) {
            self.take_records(rrsets);
            self.replaced.clear();
        }
    }

    /// The name that a DNAME above `name` replaces it by (RFC 6672); `None` if that is too long.
    fn renamed(&self, name: &Name) -> Option<Name> {
        let mut above = name.parent();
        while let (Some(parent), false) = (above, self.renames.is_empty()) {
            if let Some(target) = self.renames.get(&parent) {
                let own = name.as_wire().len() - parent.as_wire().len();
                return Name::from_wire(&[&name.as_wire()[..own], target.as_wire()].concat());
            }
            above = parent.parent();
        }
        None
    }
}

/// The name that answers for `name`: itself, or the wildcard above it; and the targets of its cnames.
fn node<'l>(name: &Name, links: &'l Links) -> Option<(&'l Name, &'l Arc<[Name]>)> {
    let links = &links.by_owner;
    if let Some(own) = links.get_key_value(name) {
        return Some(own);
    }
    let mut above = name.parent();
    while let Some(parent) = above {
        let wildcard = Name::parse_under("*", &parent).ok();
        if let Some(found) = wildcard.and_then(|wildcard| links.get_key_value(&wildcard)) {
            return Some(found);
        }
        if links.contains_key(&parent) {
            return None;
        }
        above = parent.parent();
    }
    None
}

fn report(name: &NameSpec, way: Option<&[Name]>, endpoint: &str, spec: &PolicySpec, problems: &mut Problems) {
    let label = &name.name.value;
    let is_steered = format!("`{label}` is steered to the cname `{endpoint}`");
    let message = match way {
        Some([_]) => format!("{is_steered}, which names `{label}` itself"),
        Some(way) => {
            let chain: Vec<String> = way.iter().map(ToString::to_string).collect();
            format!("{is_steered}, which leads back to it: {}", chain.join(" -> "))
        }
        None => format!("{is_steered}, which leads back to it over many names"),
    };
    let problem = problems.error(&name.name.place, message);
    point_at(problem, endpoint, spec);
    problem.hint("write the name of another host in `cname`, or its addresses");
}
