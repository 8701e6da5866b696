//! TARGETs: an endpoint, a glob of endpoints, a pool, a region or a zone. This file reads a TARGET, finds its
//! endpoints in a model, ranks targets, and explains a TARGET that matches nothing. Pure. `overrides` and `simulate`
//! use it.

mod named;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::model::glob;
use crate::model::{AnswerRdata, Answerable, Endpoint, EndpointId, MemberRef, Model, PoolId, SteeredName, ZoneId};
use crate::source::did_you_mean;
use crate::wire::Name;

pub(crate) use named::named_in;

/// The prefix of a region.
pub(crate) const REGION: &str = "region:";
/// The prefix of a pool.
const POOL: &str = "pool:";
/// The prefix of a zone.
const ZONE: &str = "zone:";

/// The forms of a TARGET, for help and errors.
pub const FORMS: &str = "ENDPOINT, ZONE/ENDPOINT, a glob such as 'fra*', pool:NAME, region:NAME or zone:NAME";

/// Longest TARGET in octets: the name of a zone and an endpoint together are shorter, unless many octets of the zone
/// are written as `\DDD`. A longer glob matches nothing, because comparing it would take long, and an error message
/// does not repeat it.
pub(crate) const MAX_TARGET: usize = 400;

/// A parsed TARGET. Every text parses; the target may match nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    kind: Kind,
    /// Restricts the target to this zone. Lower case, with the final dot.
    zone: Option<String>,
    /// The name or the pattern as it was written; empty for a zone.
    name: String,
}

/// How narrow a target is. If two overrides match an endpoint, the one with the greater rank counts, even if it is
/// older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Kind, bool);

/// From the widest to the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Zone,
    Region,
    Pool,
    Glob,
    Endpoint,
}

impl Target {
    /// Parses a TARGET.
    pub fn parse(text: &str) -> Target {
        if let Some(zone) = text.strip_prefix(ZONE) {
            return Target { kind: Kind::Zone, zone: Some(with_dot(zone)), name: String::new() };
        }
        if let Some(region) = text.strip_prefix(REGION) {
            return Target { kind: Kind::Region, zone: None, name: region.to_owned() };
        }
        let (is_pool, rest) = text.strip_prefix(POOL).map_or((false, text), |rest| (true, rest));
        let (zone, name) = match rest.rsplit_once('/') {
            Some((zone, name)) => (Some(with_dot(zone)), name),
            None => (None, rest),
        };
        let kind = match is_pool {
            true => Kind::Pool,
            false if glob::is_pattern(name) => Kind::Glob,
            false => Kind::Endpoint,
        };
        Target { kind, zone, name: name.to_owned() }
    }

    /// Whether `text` is this target.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        // Most are not, and the end of a text costs less than all of it.
        text.ends_with(&self.name) && Target::parse(text) == *self
    }

    /// The text that all forms of this target have in common.
    pub(crate) fn canonical(&self) -> String {
        let Target { kind, zone, name } = self;
        let prefix = match kind {
            Kind::Zone => ZONE,
            Kind::Region => REGION,
            Kind::Pool => POOL,
            Kind::Glob | Kind::Endpoint => "",
        };
        let between = if *kind == Kind::Zone || zone.is_none() { "" } else { "/" };
        format!("{prefix}{}{between}{name}", zone.as_deref().unwrap_or_default())
    }

    /// How narrow it is.
    pub fn rank(&self) -> Rank {
        Rank(self.kind, self.zone.is_some())
    }

    /// The name or the pattern as it was written; empty for a zone.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is one endpoint by its name.
    pub fn is_endpoint(&self) -> bool {
        self.kind == Kind::Endpoint
    }

    /// The name of the region, if it is a region.
    pub fn region(&self) -> Option<&str> {
        (self.kind == Kind::Region).then_some(&*self.name)
    }

    /// The name of the zone to which it is restricted, in lower case with the final dot.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    fn includes_zone(&self, model: &Model, zone: ZoneId) -> bool {
        self.zone.as_ref().is_none_or(|meant| *meant == apex(model, zone))
    }
}

/// An index of the endpoints of a model by name, for many look-ups.
pub struct Index<'m> {
    model: &'m Model,
    by_name: HashMap<&'m str, Vec<EndpointId>>,
}

impl<'m> Index<'m> {
    /// The index of a model.
    pub fn of(model: &'m Model) -> Index<'m> {
        let mut by_name: HashMap<&str, Vec<EndpointId>> = HashMap::new();
        for (id, endpoint) in endpoints(model) {
            by_name.entry(&endpoint.name).or_default().push(id);
        }
        Index { model, by_name }
    }

    /// The endpoints that a target matches, in the order of the files; empty if it matches nothing.
    pub fn endpoints(&self, target: &Target) -> Vec<EndpointId> {
        let model = self.model;
        let is_in_zone = |id: &EndpointId| target.includes_zone(model, model.endpoint(*id).zone);
        let found: Vec<EndpointId> = match target.kind {
            Kind::Endpoint => self.by_name.get(&*target.name).cloned().unwrap_or_default(),
            Kind::Glob if target.name.len() > MAX_TARGET => Vec::new(),
            Kind::Glob => named(model, |name| glob::matches(&target.name, name)),
            Kind::Pool => below(model, &target.name),
            Kind::Zone => named(model, |_| true),
            Kind::Region => {
                let Some(region) = model.region_named(&target.name) else { return Vec::new() };
                endpoints(model).filter(|(_, endpoint)| endpoint.region == Some(region)).map(|(id, _)| id).collect()
            }
        };
        found.into_iter().filter(is_in_zone).collect()
    }
}

/// The endpoints that one TARGET matches.
pub fn endpoints_of(text: &str, model: &Model) -> Vec<EndpointId> {
    let target = Target::parse(text);
    if target.kind != Kind::Endpoint {
        return Index { model, by_name: HashMap::new() }.endpoints(&target);
    }
    // One pass over all endpoints costs less than an index.
    let matches_target = |(_, endpoint): &(EndpointId, &Endpoint)| {
        endpoint.name == target.name && target.includes_zone(model, endpoint.zone)
    };
    endpoints(model).filter(matches_target).map(|(id, _)| id).collect()
}

/// Why a TARGET matches nothing, with a hint.
pub fn no_target(text: &str, model: &Model) -> String {
    let target = Target::parse(text);
    if text.len() > MAX_TARGET {
        return format!("a TARGET of {} octets matches nothing: a TARGET is {FORMS}", text.len());
    }
    let has_no_zone = target.zone.as_deref() == Some(".");
    if has_no_zone || (target.name.is_empty() && target.kind != Kind::Zone) {
        return format!("`{text}` is not complete: a TARGET is {FORMS}");
    }
    if let Some(zone) = target.zone.as_ref().filter(|zone| zone_named(model, zone).is_none()) {
        let zones: Vec<String> = zones(model).map(|zone| apex(model, zone)).collect();
        return with_hint(format!("no zone is called `{zone}`"), did_you_mean(zone, zones.iter().map(String::as_str)));
    }
    let name = &*target.name;
    match target.kind {
        Kind::Zone => format!("zone `{}` has no endpoint", target.zone.unwrap_or_default()),
        Kind::Region if model.region_named(name).is_some() => format!("no endpoint is in region `{name}`"),
        Kind::Region => {
            let hint = did_you_mean(name, model.regions.iter().map(|region| region.name.as_str()));
            with_hint(format!("no region is called `{name}`"), hint)
        }
        Kind::Pool => {
            let of_zone = target.zone.as_ref().map_or(String::new(), |zone| format!(" of zone `{zone}`"));
            let has_endpoint =
                |name: &&str| below(model, name).iter().any(|id| target.includes_zone(model, model.endpoint(*id).zone));
            let mut names: Vec<&str> = model.pools.iter().map(|pool| pool.name.as_str()).filter(has_endpoint).collect();
            distinct(&mut names);
            with_hint(format!("no pool{of_zone} is called `{name}`"), did_you_mean(name, names))
        }
        Kind::Glob => with_hint(format!("no endpoint matches `{text}`"), did_you_mean(name, names(model, &target))),
        Kind::Endpoint => no_endpoint(text, &target, model),
    }
}

fn no_endpoint(text: &str, target: &Target, model: &Model) -> String {
    let name = &*target.name;
    if let Some(zone) = &target.zone {
        let elsewhere = endpoints(model).find(|(_, endpoint)| endpoint.name == name).map(|(_, endpoint)| endpoint.zone);
        let hint = match elsewhere {
            Some(other) => Some(format!("did you mean `{}/{name}`?", apex(model, other))),
            None => did_you_mean(name, names(model, target)),
        };
        return with_hint(format!("no endpoint of zone `{zone}` is called `{name}`"), hint);
    }
    let what = format!("no endpoint is called `{text}`");
    let other = |prefix: &str| Some(format!("did you mean `{prefix}{name}`?"));
    let hint = if model.region_named(name).is_some() {
        other(REGION)
    } else if model.pools.iter().any(|pool| pool.name == name) {
        other(POOL)
    } else if zone_named(model, &with_dot(name)).is_some() {
        other(ZONE)
    } else {
        let forms = || name.contains(':').then(|| format!("a TARGET is {FORMS}"));
        by_answer(name, model)
            .or_else(|| misspelt(name))
            .or_else(forms)
            .or_else(|| did_you_mean(name, names(model, target)))
    };
    with_hint(what, hint)
}

/// A hint for a text that is an address of an endpoint, or a steered name.
fn by_answer(text: &str, model: &Model) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let is_it = |side: &Answerable| match side.rdata {
            AnswerRdata::Address(its) => its == address,
            AnswerRdata::Cname(_) => false,
        };
        let found = model.endpoints.iter().find(|endpoint| endpoint.answerables.iter().any(is_it))?;
        return Some(format!("it is an address of `{}`", found.name));
    }
    let whole = Name::parse(text).ok();
    let matches_target = |steered: &&SteeredName| steered.label == text || Some(&steered.owner) == whole.as_ref();
    let all: Vec<&SteeredName> = model.zones.iter().flat_map(|zone| &zone.steered).filter(matches_target).collect();
    let [steered] = all[..] else { return None };
    let policy = model.policy(steered.policy);
    let of = match policy.root {
        MemberRef::Pool(id) => format!("`{POOL}{}`", model.pool(id).name),
        MemberRef::Endpoint(id) => format!("`{}`", model.endpoint(id).name),
    };
    Some(format!("it is a steered name, and is answered from {of}"))
}

/// A hint for a misspelt prefix, as in `regoin:eu`.
fn misspelt(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once(':')?;
    let near = [REGION, POOL, ZONE].into_iter().find(|known| {
        strsim::damerau_levenshtein(&prefix.to_lowercase(), known.trim_end_matches(':')) <= 2 && prefix.len() > 2
    })?;
    Some(format!("did you mean `{near}{rest}`?"))
}

fn with_hint(what: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{what}; {hint}"),
        None => what,
    }
}

/// The names of the endpoints in the zone of a target, each once.
fn names<'m>(model: &'m Model, target: &Target) -> Vec<&'m str> {
    let inside = endpoints(model).filter(|(_, endpoint)| target.includes_zone(model, endpoint.zone));
    let mut names: Vec<&str> = inside.map(|(_, endpoint)| endpoint.name.as_str()).collect();
    distinct(&mut names);
    names
}

fn distinct(names: &mut Vec<&str>) {
    names.sort_unstable();
    names.dedup();
}

fn endpoints(model: &Model) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
    (0..).map(EndpointId).zip(&model.endpoints)
}

fn named(model: &Model, matches_target: impl Fn(&str) -> bool) -> Vec<EndpointId> {
    endpoints(model).filter(|(_, endpoint)| matches_target(&endpoint.name)).map(|(id, _)| id).collect()
}

/// Every endpoint below the pools of this name, each once, in the order of the files.
fn below(model: &Model, name: &str) -> Vec<EndpointId> {
    let all = (0..).map(PoolId).zip(&model.pools);
    let roots = all.filter(|(_, pool)| pool.name == name).map(|(id, _)| MemberRef::Pool(id));
    let mut found: Vec<EndpointId> = model.below(roots).filter_map(MemberRef::endpoint).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn zones(model: &Model) -> impl Iterator<Item = ZoneId> {
    (0..model.zones.len() as u32).map(ZoneId)
}

fn zone_named(model: &Model, name: &str) -> Option<ZoneId> {
    zones(model).find(|zone| apex(model, *zone) == name)
}

fn apex(model: &Model, zone: ZoneId) -> String {
    with_dot(&model.zone(zone).apex.to_string())
}

/// The name of a zone in lower case with the final dot.
fn with_dot(zone: &str) -> String {
    format!("{}.", zone.strip_suffix('.').unwrap_or(zone).to_ascii_lowercase())
}

#[cfg(test)]
pub(crate) mod tests;
