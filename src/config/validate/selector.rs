//! Selectors and fences: the clients of a `when` or a fence, equal selectors only once; and the endpoints inside a
//! fence.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::config::regions;
use crate::config::spec::{FenceSpec, GroupSpec, PolicySpec, SelectorSpec};
use crate::config::validate::Builder;
use crate::config::validate::context::NameContext;
use crate::config::validate::declared::Declared;
use crate::model::{
    Ecs, Endpoint, EndpointId, Facet, Fence, FenceId, Model, OnEmpty, RegionId, Selector, SelectorId, ZoneId,
};
use crate::placing::address::folded_net;
use crate::source::{At, ManualSection, Place, Problems};

/// Most selectors of all zones together: their ids have 16 bits.
pub(in crate::config) const MAX_SELECTORS: usize = 1 << 16;

/// The groups of clients of one zone.
pub(super) type Groups<'a> = Declared<'a, Selector>;
/// The fences of one zone; `None` for one whose clients couldn't be read.
pub(super) type Fences<'a> = Declared<'a, Option<FenceId>>;

impl Builder {
    /// The selector of `spec`; an equal one is shared. `None`: there are too many, which is a problem.
    pub(super) fn selector(
        &mut self,
        spec: &SelectorSpec,
        groups: &mut Groups<'_>,
        problems: &mut Problems,
    ) -> Option<SelectorId> {
        let mut selector = self.lists(spec, problems);
        for written in &spec.groups {
            let found = problems.about(ManualSection::Group, |problems| groups.find(written, problems));
            let Some(group) = found else { continue };
            selector.groups.push(written.value.clone());
            join(&mut selector.nets, &group.nets);
            join(&mut selector.asns, &group.asns);
            join(&mut selector.countries, &group.countries);
            join(&mut selector.continents, &group.continents);
            join(&mut selector.regions, &group.regions);
            selector.unknown |= group.unknown;
        }
        let zone = ZoneId(self.model.zones.len() as u32);
        if let Some(id) = self.selectors.get(&selector) {
            self.uses.push((zone, *id));
            return Some(*id);
        }
        let selectors = &mut self.model.clients.selectors;
        if selectors.len() >= MAX_SELECTORS {
            let message = format!("more than {MAX_SELECTORS} different `when` and `clients`");
            problems.error(&spec.name.place, message).hint("let names share pools and fences");
            return None;
        }
        let id = SelectorId(selectors.len() as u16);
        self.uses.push((zone, id));
        selectors.push(selector.clone());
        self.selectors.insert(selector, id);
        Some(id)
    }

    /// The lists of `spec`, without its groups.
    fn lists(&self, spec: &SelectorSpec, problems: &mut Problems) -> Selector {
        let written = spec.nets.written.iter().map(|net| net.value);
        let mut nets: Vec<IpNet> =
            written.chain(spec.nets.of_files.iter().flat_map(|file| file.value.iter().copied())).collect();
        nets.sort_unstable();
        nets.dedup();
        let SelectorSpec { nets: _, asns, countries, continents, regions, unknown, .. } = spec;
        let regions = regions.iter().filter_map(|written| regions::find(&self.model.regions, written, problems));
        let mut regions: Vec<RegionId> = regions.collect();
        regions.sort_unstable();
        let clients = &self.model.clients;
        if **unknown && clients.classes[usize::from(clients.fallback.0)].region.is_some() {
            let message = format!(
                "`unknown` in this `{}` matches no client: with a default region no client is unknown",
                spec.kind()
            );
            let hint = "remove `unknown` here, or `default_region` in [clients] of the settings";
            problems.warning(&spec.name.place, message).hint(hint);
        }
        Selector {
            groups: Vec::new(),
            regions,
            nets,
            asns: asns.iter().map(|at| at.value).collect(),
            countries: countries.iter().map(|at| at.value).collect(),
            continents: continents.iter().map(|at| at.value).collect(),
            unknown: **unknown,
        }
    }

    /// The groups of one zone.
    pub(super) fn groups<'s>(&self, spec: &'s PolicySpec, problems: &mut Problems) -> Groups<'s> {
        let lists = |GroupSpec { name, clients }: &'s GroupSpec| {
            (name, clients.as_ref().map_or_else(Selector::default, |clients| self.lists(clients, problems)))
        };
        Declared::new("group", spec.groups.iter().map(lists))
    }
}

/// Adds the entries of another sorted list.
fn join<T: Ord + Copy>(list: &mut Vec<T>, other: &[T]) {
    list.extend_from_slice(other);
    list.sort_unstable();
    list.dedup();
}

/// Adds every fence of `spec` to the model, whose endpoints of this zone are those from `first_endpoint` on.
pub(super) fn fences<'s>(
    spec: &'s PolicySpec,
    first_endpoint: usize,
    (builder, groups): (&mut Builder, &mut Groups<'_>),
    problems: &mut Problems,
) -> Fences<'s> {
    let fence = |fence: &'s FenceSpec| {
        let clients = fence.clients.as_ref().and_then(|clients| builder.selector(&clients.value, groups, problems));
        let allowed = fence.allow.iter().flat_map(|allow| &allow.value.regions);
        let regions = allowed.filter_map(|written| regions::find(&builder.model.regions, written, problems));
        let regions: Vec<RegionId> = regions.collect();
        let zone = builder.model.endpoints.iter().enumerate().skip(first_endpoint);
        let inside = zone.filter(|(_, endpoint)| is_inside(fence, &regions, endpoint));
        let inside = inside.map(|(at, _)| EndpointId(at as u32)).collect();
        let id = clients.map(|clients| {
            builder.model.fences.push(Fence { name: fence.name.value.clone(), clients, inside });
            FenceId(builder.model.fences.len() as u32 - 1)
        });
        (&fence.name, id)
    };
    Declared::new("fence", spec.fences.iter().map(fence))
}

fn is_inside(fence: &FenceSpec, regions: &[RegionId], endpoint: &Endpoint) -> bool {
    let by_country = fence.allow.as_ref().zip(endpoint.country).is_some_and(|(At { value: allow, .. }, country)| {
        allow.countries.iter().any(|at| at.value == country)
            || allow.continents.iter().any(|at| at.value == country.continent())
    });
    by_country || endpoint.region.is_some_and(|region| regions.contains(&region))
}

/// A name with a fence.
pub(super) struct Fenced<'a> {
    pub(super) context: NameContext<'a>,
    /// Where the name refers to the fence.
    pub(super) place: &'a Place,
    /// The fence as it is written.
    pub(super) spec: &'a FenceSpec,
    pub(super) fence: &'a Fence,
}

impl Fenced<'_> {
    /// Finds what leaves the clients of the fence without an answer, or lets them out.
    pub(super) fn check(&self, on_empty: &[OnEmpty], problems: &mut Problems) {
        let (context, place) = (&self.context, self.place);
        let (name, fence) = (&context.name.name.value, &self.fence.name);
        self.check_countries(problems);
        if !context.endpoints.is_empty() && context.endpoints.iter().all(|id| !self.fence.holds(*id)) {
            let message = format!("no endpoint of `{name}` is inside fence `{fence}`: its clients get no answer");
            let problem = problems.warning(place, message).label(&self.spec.name.place, format!("fence `{fence}`"));
            problem.hint("add an endpoint that the fence's `allow` names, or allow more");
        }
        if on_empty.contains(&OnEmpty::Static) {
            let message = format!("`on_empty = \"static\"` gives no answer to the clients of fence `{fence}`");
            let written = context.spec.answering(context.name, |keys| keys.on_empty.as_ref());
            let problem = problems.warning(written.map_or(place, |at| &at.place), message);
            problem.label(place, format!("the fence of `{name}`"));
            problem.hint("the country of the zone file's records is not known: use a pool inside the fence");
        }
        for facet in [Facet::V4, Facet::V6].into_iter().filter(|facet| !context.has(*facet)) {
            let static_records = context.file.rrset(&context.name.owner, facet.rtype());
            let Some((_, at)) = static_records.filter(|_| !context.has(Facet::Alias)) else { continue };
            let rtype = facet.as_str();
            let message = format!("the zone file has {rtype} records of `{name}`, which fence `{fence}` doesn't guard");
            let problem = problems.warning(at, message).label(place, format!("the fence of `{name}`"));
            problem.hint(format!("steer {rtype} too, or remove them: they are served to everybody as they stand"));
        }
    }

    /// Endpoints that are outside only because they have no `country`.
    fn check_countries(&self, problems: &mut Problems) {
        let allow = self.spec.allow.as_ref();
        if allow.is_none_or(|allow| allow.value.countries.is_empty() && allow.value.continents.is_empty()) {
            return;
        }
        for id in self.context.endpoints.iter().filter(|id| !self.fence.holds(**id)) {
            let At { value: name, place } = &self.context.endpoint_spec(*id).name;
            if self.context.model.endpoint(*id).country.is_none() {
                let message = format!("`{name}` has no `country`, so fence `{}` counts it as outside", self.fence.name);
                let problem = problems.warning(place, message).label(&self.spec.name.place, "the fence");
                problem.hint("write `country = \"DE\"`: the country where it is");
            }
        }
    }
}

/// Finds nets with more bits than [ecs] allows: they can't be distinguished for clients that are known by ECS.
pub(super) fn check_cutoff(
    spec: &PolicySpec,
    model: &Model,
    net_places: &HashMap<IpNet, Place>,
    problems: &mut Problems,
) {
    let Ecs { enabled: true, v4, v6 } = spec.ecs_rule() else { return };
    // An IPv4 net that is written as a part of IPv6 is one of IPv4 for clients too.
    let limit = |net: &IpNet| if folded_net(*net).addr().is_ipv4() { ("v4", v4) } else { ("v6", v6) };
    let longer = |net: &&IpNet| folded_net(**net).prefix_len() > limit(net).1;
    let mut warn = |place: &Place, net: &IpNet, whose: &str, other: Option<&Place>| {
        let (key, bits) = limit(net);
        let message = format!("the net {net} of {whose} is longer than [ecs] allows (/{bits})");
        let problem = problems.warning(place, message);
        if let Some(other) = other {
            problem.label(other, format!("the net of {whose}"));
        }
        if let Some(ecs) = spec.place_of("ecs") {
            problem.label(ecs, "[ecs]");
        }
        problem.hint(format!("for clients known by ECS only {bits} bits are used; raise `{key}` in [ecs]"));
    };
    if let Some(rule) = model.clients.rules.iter().find(|rule| longer(&&rule.net)) {
        let region = model.clients.classes.get(usize::from(rule.class.0)).and_then(|class| class.region);
        let whose = region.map_or("a region".into(), |region| format!("region `{}`", model.region(region).name));
        warn(&spec.zone.place, &rule.net, &whose, net_places.get(&rule.net));
    }
    for selector in spec.selectors() {
        let whose = format!("this `{}`", selector.kind());
        let written = selector.nets.written.iter().find(|net| longer(&&net.value)).map(|net| (&net.place, &net.value));
        let mut files = selector.nets.of_files.iter();
        let in_file = || files.find_map(|file| file.value.iter().find(longer).map(|net| (&file.place, net)));
        if let Some((place, net)) = written.or_else(in_file) {
            warn(place, net, &whose, None);
        }
    }
}
