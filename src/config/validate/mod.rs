//! From Spec (as written) to [`Model`] (valid): names become ids, and contradictions become problems. Pure: no file is
//! read here. What is wrong keeps its place in the model, so that references to it are no further problems.

mod composite;
mod context;
mod costs;
mod declared;
mod discover;
mod endpoint;
mod exclusive;
mod fit;
mod judging;
mod kind;
mod loops;
mod name;
mod on_empty;
mod pool;
mod ramp;
mod rto;
mod selector;
mod service;

pub(super) use discover::{probed_hosts, samples};
pub(super) use exclusive::MAX_EXCLUSIVE;
pub(super) use loops::Links;
pub(super) use selector::MAX_SELECTORS;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use ipnet::IpNet;

use crate::config::monitor::MonitorSpec;
use crate::config::reach::Sought;
use crate::config::spec::PolicySpec;
use crate::config::validate::context::ZoneContext;
use crate::config::validate::costs::CheckCosts;
use crate::config::validate::declared::{Declared, Sorted};
use crate::config::validate::judging::Judging;
use crate::config::validate::selector::{Fences, Groups};
use crate::masterfile::MasterFile;
use crate::model::{
    CheckId, CheckKey, Discovered, Ecs, EndpointId, MemberRef, Model, PoolId, Selector, SelectorId, Zone, ZoneId,
};
use crate::source::{At, ManualSection, Place, Problems};
use crate::wire::Name;

/// A model that is built zone by zone.
#[derive(Debug)]
pub(super) struct Builder {
    /// The model so far.
    pub(super) model: Model,
    checks: HashMap<Arc<CheckKey>, CheckId>,
    /// What the checks of the zone that is being added cost.
    costs: CheckCosts,
    selectors: HashMap<Selector, SelectorId>,
    /// Which zone uses which selector; a pair may be there more than once.
    pub(super) uses: Vec<(ZoneId, SelectorId)>,
    /// The countries, continents and systems that the selectors of all zones refer to.
    pub(super) sought: Vec<Sought>,
    /// The aliases of the zones so far, and of all static zones, which are added to the model after the others.
    pub(super) links: Links,
    /// Whether the server belongs to a fleet.
    has_fleet: bool,
    /// Where the settings declare the nets of regions.
    net_places: HashMap<IpNet, Place>,
}

/// The size of a model at one time.
#[derive(Debug)]
pub(super) struct Mark {
    zones: usize,
    endpoints: usize,
    pools: usize,
    policies: usize,
    fences: usize,
    checks: usize,
    selectors: usize,
    sought: usize,
    sources: usize,
}

impl Builder {
    /// Begins with regions and clients, without zones. `has_fleet`: the server belongs to a fleet.
    pub(super) fn new(model: Model, net_places: HashMap<IpNet, Place>, has_fleet: bool) -> Builder {
        Builder {
            model,
            checks: HashMap::new(),
            costs: CheckCosts::default(),
            selectors: HashMap::new(),
            uses: Vec::new(),
            sought: Vec::new(),
            links: Links::default(),
            has_fleet,
            net_places,
        }
    }

    /// The size so far, for [`Builder::take_back`].
    pub(super) fn mark(&self) -> Mark {
        let Model { regions: _, clients, zones, endpoints, pools, policies, fences, checks, sources, .. } = &self.model;
        let selectors = clients.selectors.len();
        Mark {
            zones: zones.len(),
            endpoints: endpoints.len(),
            pools: pools.len(),
            policies: policies.len(),
            fences: fences.len(),
            checks: checks.len(),
            selectors,
            sought: self.sought.len(),
            sources: sources.len(),
        }
    }

    /// Removes what was added after the mark: a zone that is not valid.
    pub(super) fn take_back(&mut self, mark: &Mark) {
        let Model { regions: _, clients, zones, endpoints, pools, policies, fences, checks, sources, .. } =
            &mut self.model;
        sources.truncate(mark.sources);
        zones.truncate(mark.zones);
        endpoints.truncate(mark.endpoints);
        pools.truncate(mark.pools);
        policies.truncate(mark.policies);
        fences.truncate(mark.fences);
        self.sought.truncate(mark.sought);
        self.uses.truncate(self.uses.partition_point(|(zone, _)| (zone.0 as usize) < mark.zones));
        if checks.len() > mark.checks {
            checks.truncate(mark.checks);
            self.checks.retain(|_, id| (id.0 as usize) < mark.checks);
        }
        if clients.selectors.len() > mark.selectors {
            clients.selectors.truncate(mark.selectors);
            self.selectors.retain(|_, id| usize::from(id.0) < mark.selectors);
        }
    }

    /// Selectors that were added after the mark are not checked: an earlier version of that zone is used.
    pub(super) fn leave_unjudged(&mut self, mark: &Mark) {
        self.sought.truncate(mark.sought);
    }

    /// Adds a zone without records, which is not served.
    pub(super) fn add_unserved(&mut self, apex: Name) {
        let zone = Zone { apex, rrsets: Vec::new(), steered: Vec::new(), ecs: Ecs::default() };
        self.model.zones.push(Arc::new(zone));
    }

    /// Adds a zone that no policy names.
    pub(super) fn add_static(&mut self, file: MasterFile) {
        let zone = Zone { apex: file.apex, rrsets: file.rrsets, steered: Vec::new(), ecs: Ecs::default() };
        self.model.zones.push(Arc::new(zone));
    }

    /// Adds a zone with its policy. `errors_before`: the number of errors before its files were read.
    pub(super) fn add(&mut self, spec: &PolicySpec, file: MasterFile, errors_before: usize, problems: &mut Problems) {
        let zone = ZoneId(self.model.zones.len() as u32);
        let names = problems.about(ManualSection::Pool, |problems| Names::of(spec, &self.model, problems));
        let mut used = Used::of(spec);
        composite::check(spec, &mut used.monitors, problems);
        problems.about(ManualSection::Discover, |problems| discover::check(spec, &self.model, &mut used, problems));
        let first_source = self.model.sources.len();
        self.model.sources.extend(spec.sources().iter().cloned());
        let judging = Judging::of(spec);
        let mut checker = endpoint::Checker::new(spec, &judging, &mut used.monitors);
        problems.about(ManualSection::Name, |problems| {
            let monitors = spec.names.iter().filter_map(|name| name.monitor.as_ref());
            monitors.for_each(|monitor| _ = checker.monitors.find(monitor, problems));
        });
        self.costs = CheckCosts::default();
        for endpoint in &spec.endpoints {
            let read = |problems: &mut Problems| checker.endpoint(endpoint, zone, self, problems);
            let mut endpoint = problems.about(ManualSection::Endpoint, read);
            endpoint.discovered = spec.injected(&endpoint.name).map(|(source, stated)| Discovered {
                source: (first_source + source) as u32,
                endpoint: stated.clone(),
                is_probed_there: checker.has_stated_port,
            });
            self.model.endpoints.push(endpoint);
        }
        self.costs.check(&spec.zone, problems);
        used.groups = problems.about(ManualSection::Group, |problems| self.groups(spec, problems));
        let sizes = problems.about(ManualSection::Pool, |problems| {
            for pool in &spec.pools {
                let pool = pool::resolve(pool, spec, &names, self, &mut used, problems);
                self.model.pools.push(pool);
            }
            pool::measure(spec, &names, &self.model, problems)
        });
        let read_fences =
            |problems: &mut Problems| selector::fences(spec, names.first_endpoint, (self, &mut used.groups), problems);
        used.fences = problems.about(ManualSection::Fence, read_fences);
        problems.about(ManualSection::Ecs, |problems| {
            selector::check_cutoff(spec, &self.model, &self.net_places, problems)
        });
        let (names, sizes, used) = (&names, &sizes, &mut used);
        let context = ZoneContext { spec, file: &file, names, model: &self.model, has_fleet: self.has_fleet };
        let mut policies = name::Policies { id: zone, zone: context, sizes, used };
        let (steered, policies) = problems.about(ManualSection::Name, |problems| policies.resolve(problems));
        self.model.policies.extend(policies);
        problems.about(ManualSection::Name, |problems| {
            loops::check(spec, &steered, &file.rrsets, (&self.model, &mut self.links), problems);
        });
        problems.about(ManualSection::Pool, |problems| pool::warn_min_up(spec, names, used, problems));
        problems
            .about(ManualSection::Ramp, |problems| ramp::warn(spec, names, (used, &judging), &self.model, problems));
        let context = ZoneContext { spec, file: &file, names, model: &self.model, has_fleet: self.has_fleet };
        let targets = problems.about(ManualSection::Services, |problems| context.targets(&steered, problems));
        if problems.errors() == errors_before {
            // A misspelt reference is an error, and what it should refer to looks unused.
            warn_unused(spec, names, used, problems);
        }
        self.sought.extend(Sought::of(spec));
        let mut rrsets = file.rrsets;
        rrsets.extend(targets);
        let zone = Zone { apex: file.apex, rrsets, steered, ecs: spec.ecs_rule() };
        self.model.zones.push(Arc::new(zone));
    }
}

/// The names of the endpoints and pools of one zone.
#[derive(Debug)]
struct Names<'a> {
    by_name: HashMap<&'a str, MemberRef, FixedState>,
    sorted: Sorted,
    first_endpoint: usize,
    first_pool: usize,
}

impl<'a> Names<'a> {
    /// With the id that each endpoint and pool of `spec` will have in `model`.
    fn of(spec: &'a PolicySpec, model: &Model, problems: &mut Problems) -> Names<'a> {
        let (first_endpoint, first_pool) = (model.endpoints.len(), model.pools.len());
        let mut by_name = with_room(spec.endpoints.len() + spec.pools.len());
        for (at, endpoint) in spec.endpoints.iter().enumerate() {
            let id = MemberRef::Endpoint(EndpointId((first_endpoint + at) as u32));
            by_name.insert(endpoint.name.value.as_str(), id);
        }
        for (at, pool) in spec.pools.iter().enumerate() {
            let name = pool.name.value.as_str();
            let id = MemberRef::Pool(PoolId((first_pool + at) as u32));
            if by_name.insert(name, id).is_some() {
                let problem =
                    problems.error(&pool.name.place, format!("`{name}` is the name of a pool and of an endpoint"));
                if let Some(endpoint) = spec.endpoint(name) {
                    problem.label(&endpoint.name.place, "the endpoint");
                }
                problem.hint("they share one namespace: give one another name");
            }
        }
        Names { by_name, sorted: Sorted::default(), first_endpoint, first_pool }
    }

    /// Looks up a reference. An unknown name is a problem.
    fn find(&self, written: &At<String>, problems: &mut Problems) -> Option<MemberRef> {
        let found = self.by_name.get(written.value.as_str()).copied();
        if found.is_none() {
            let problem = problems.error(&written.place, format!("there is no endpoint or pool `{}`", written.value));
            problem.suggest(&written.value, self.known());
        }
        found
    }

    /// All names, sorted.
    fn known(&self) -> impl Iterator<Item = &str> {
        self.sorted.of(&self.by_name)
    }

    /// The index of a pool in its spec.
    fn pool_index(&self, id: PoolId) -> usize {
        id.0 as usize - self.first_pool
    }
}

/// An empty map with room for so many entries: a map that grows moves all of them each time.
fn with_room<K, V>(most: usize) -> HashMap<K, V, FixedState> {
    HashMap::with_capacity_and_hasher(most, FixedState::default())
}

/// What is declared, and what of it is used.
#[derive(Debug)]
struct Used<'a> {
    monitors: Declared<'a, &'a MonitorSpec>,
    members: HashSet<MemberRef, FixedState>,
    /// Those that are members of a pool.
    in_pools: HashSet<MemberRef, FixedState>,
    groups: Groups<'a>,
    fences: Fences<'a>,
}

impl<'a> Used<'a> {
    fn of(spec: &'a PolicySpec) -> Used<'a> {
        let monitors = spec.monitors.iter().map(|monitor| (&monitor.name, monitor));
        Used {
            monitors: Declared::new("monitor", monitors),
            members: HashSet::default(),
            in_pools: HashSet::default(),
            groups: Declared::new("group", std::iter::empty()),
            fences: Declared::new("fence", std::iter::empty()),
        }
    }
}

fn warn_unused(spec: &PolicySpec, names: &Names<'_>, used: &Used<'_>, problems: &mut Problems) {
    let mut warn = |section: ManualSection, At { value, place }: &At<String>, what: &str, use_it: &str| {
        let hint = format!("{use_it}, or remove it");
        problems.warning(place, format!("{what} `{value}` is not used")).see(section).hint(hint);
    };
    for monitor in spec.monitors.iter().filter(|monitor| !used.monitors.is_used(&monitor.name.value)) {
        warn(ManualSection::Monitor, &monitor.name, "monitor", "let an endpoint use it");
    }
    let is_used = |name: &str| names.by_name.get(name).is_some_and(|id| used.members.contains(id));
    for endpoint in spec.endpoints.iter().filter(|endpoint| !is_used(&endpoint.name.value)) {
        warn(ManualSection::Endpoint, &endpoint.name, "endpoint", "make it a member of a pool");
    }
    for pool in spec.pools.iter().filter(|pool| !is_used(&pool.name.value)) {
        warn(ManualSection::Pool, &pool.name, "pool", "let a name or another pool use it");
    }
    for group in spec.groups.iter().filter(|group| !used.groups.is_used(&group.name.value)) {
        warn(ManualSection::Group, &group.name, "group", "name it in the `groups` of a `when` or a fence");
    }
    for fence in spec.fences.iter().filter(|fence| !used.fences.is_used(&fence.name.value)) {
        warn(ManualSection::Fence, &fence.name, "fence", "let a name use it");
    }
}
