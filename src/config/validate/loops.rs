//! Steered names whose cname leads back to them. They are refused, because resolvers follow such a chain until they
//! give up.

use std::collections::{HashMap, HashSet};

use crate::config::spec::{NameSpec, PolicySpec};
use crate::config::validate::context::point_at;
use crate::masterfile::{CNAME, DNAME};
use crate::model::{AnswerRdata, EndpointId, Model, Rrset, SteeredName};
use crate::source::Problems;
use crate::wire::Name;

/// Finds every steered name of a zone whose cname leads back to it: directly, or through names of this zone, of the
/// zones in the model, or of static zones. `rrsets` are the zone's static records.
pub(super) fn check(
    spec: &PolicySpec,
    steered: &[SteeredName],
    rrsets: &[Rrset],
    (model, static_zones): (&Model, &Links),
    problems: &mut Problems,
) {
    let leads: HashMap<&Name, Vec<(Name, EndpointId)>> =
        steered.iter().map(|name| (&name.owner, targets(name, model))).filter(|(_, to)| !to.is_empty()).collect();
    if leads.is_empty() {
        return;
    }
    let mut links = static_zones.clone();
    let zones = model.zones.iter();
    let all = zones.flat_map(|zone| zone.steered.iter()).chain(steered);
    for name in all {
        links.by_owner.insert(name.owner.clone(), targets(name, model).into_iter().map(|(to, _)| to).collect());
    }
    links.take(model.zones.iter().flat_map(|zone| &zone.rrsets).chain(rrsets));
    for name in &spec.names {
        let first = leads.get(&name.owner).into_iter().flatten();
        let found = first.filter_map(|(to, endpoint)| Some((way_back(&name.owner, to, &links)?, *endpoint))).next();
        if let Some((way, endpoint)) = found {
            report(name, &way, &model.endpoint(endpoint).name, spec, problems);
        }
    }
}

/// The targets of the cnames that can answer a name.
fn targets(name: &SteeredName, model: &Model) -> Vec<(Name, EndpointId)> {
    let Some(policy) = model.policies.get(name.policy.0 as usize) else { return Vec::new() };
    let of = |id: &EndpointId| {
        let cname = model.endpoint(*id).answerables.iter().find_map(|side| match &side.rdata {
            AnswerRdata::Cname(wire) => Name::from_wire(wire),
            AnswerRdata::Address(_) => None,
        });
        Some((cname?, *id))
    };
    policy.endpoints.iter().filter_map(of).collect()
}

/// The chain of names from `from` to `owner`.
fn way_back(owner: &Name, from: &Name, links: &Links) -> Option<Vec<Name>> {
    let (mut seen, mut left) = (HashSet::new(), vec![vec![from.clone()]]);
    while let Some(way) = left.pop() {
        let last = way.last()?;
        let (here, next) = match links.renamed(last) {
            Some(renamed) => (last.clone(), vec![renamed]),
            None => {
                let Some(node) = node(last, &links.by_owner) else { continue };
                (node.clone(), links.by_owner.get(node).cloned().unwrap_or_default())
            }
        };
        if here == *owner {
            return Some(way);
        }
        if seen.insert(here) {
            left.extend(next.into_iter().map(|to| [&way[..], &[to][..]].concat()));
        }
    }
    None
}

/// Aliases: what leads from name to name.
#[derive(Debug, Default, Clone)]
pub(in crate::config) struct Links {
    /// Every existing name, and the targets of its cnames.
    by_owner: HashMap<Name, Vec<Name>>,
    /// The target of each DNAME.
    renames: HashMap<Name, Name>,
}

impl Links {
    /// Adds static records.
    fn take<'r>(&mut self, rrsets: impl Iterator<Item = &'r Rrset>) {
        for rrset in rrsets {
            // A name without an alias counts too: no wildcard answers for an existing name.
            let to = self.by_owner.entry(rrset.owner.clone()).or_default();
            let mut targets = rrset.rdatas.iter().filter_map(|rdata| Name::from_wire(rdata));
            match rrset.rtype {
                CNAME => to.extend(targets),
                DNAME => self.renames.extend(targets.next().map(|target| (rrset.owner.clone(), target))),
                _ => {}
            }
        }
    }

    /// Adds a static zone. One without aliases is left out.
    pub(in crate::config) fn take_zone(&mut self, rrsets: &[Rrset]) {
        if rrsets.iter().any(|rrset| matches!(rrset.rtype, CNAME | DNAME)) {
            self.take(rrsets.iter());
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

/// The name that answers for `name`: itself, or the wildcard above it.
fn node<'l>(name: &Name, links: &'l HashMap<Name, Vec<Name>>) -> Option<&'l Name> {
    if let Some((own, _)) = links.get_key_value(name) {
        return Some(own);
    }
    let mut above = name.parent();
    while let Some(parent) = above {
        let wildcard = Name::parse_under("*", &parent).ok();
        if let Some((found, _)) = wildcard.and_then(|wildcard| links.get_key_value(&wildcard)) {
            return Some(found);
        }
        if links.contains_key(&parent) {
            return None;
        }
        above = parent.parent();
    }
    None
}

fn report(name: &NameSpec, way: &[Name], endpoint: &str, spec: &PolicySpec, problems: &mut Problems) {
    let label = &name.name.value;
    let chain: Vec<String> = way.iter().map(ToString::to_string).collect();
    let message = match way {
        [_] => format!("`{label}` is steered to the cname `{endpoint}`, which names `{label}` itself"),
        _ => format!("`{label}` is steered to the cname `{endpoint}`, which leads back to it: {}", chain.join(" -> ")),
    };
    let problem = problems.error(&name.name.place, message);
    point_at(problem, endpoint, spec);
    problem.hint("write the name of another host in `cname`, or its addresses");
}
