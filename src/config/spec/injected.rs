//! Endpoints that sources state, as entries of a policy file. They are added before the file is validated, so
//! everything that holds for endpoints of the file holds for them: fences, types, services, the bounds of a name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::fields::{Fields, TableForm};
use crate::config::keys::Table as _;
use crate::config::node::{Entry, Kind, Node};
use crate::config::spec::index::SpecIndex;
use crate::config::spec::pool::MemberSpec;
use crate::config::spec::{EndpointSpec, PolicySpec};
use crate::model::{DiscoveredEndpoint, ProbeNeeds, Region};
use crate::source::{At, Place, Problems};

/// What is in a policy besides its file.
#[derive(Debug, Default)]
pub(in crate::config) struct Injected {
    /// By the name of the endpoint: the index of its `[discover.NAME]`, and the endpoint as it is stated.
    by_name: HashMap<String, (usize, Arc<DiscoveredEndpoint>)>,
    /// How many endpoints are those of the file; `None`: all.
    endpoints: Option<usize>,
    /// How many members of each pool are those of the file.
    members: HashMap<usize, usize>,
}

/// An endpoint that could not be added, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct RefusedEndpoint {
    /// The endpoint.
    pub(in crate::config) name: String,
    /// Why, and what to do.
    pub(in crate::config) why: String,
}

/// What the endpoints that are added may not be, because an earlier attempt failed.
#[derive(Debug, Default)]
pub(in crate::config) struct InjectRule {
    /// The names of endpoints whose cname leads back to a name that is answered with it.
    pub(in crate::config) looping: HashSet<String>,
    /// Why no endpoint may have a cname.
    pub(in crate::config) without_cnames: Option<String>,
}

impl InjectRule {
    fn reason_against(&self, of: &DiscoveredEndpoint) -> Option<String> {
        let cname = of.cname.as_ref()?;
        if self.looping.contains(&of.name) {
            return Some(format!("{cname} leads back to a name that is answered with it: register another host"));
        }
        self.without_cnames.clone()
    }
}

impl PolicySpec {
    /// The endpoint of a source that has this name, with the index of its `[discover.NAME]`.
    pub(in crate::config) fn injected(&self, endpoint: &str) -> Option<&(usize, Arc<DiscoveredEndpoint>)> {
        self.injected.by_name.get(endpoint)
    }

    /// Adds the endpoints of the source at this index to its pool. Returns those that could not be added.
    pub(in crate::config) fn inject(
        &mut self,
        source: usize,
        endpoints: &[Arc<DiscoveredEndpoint>],
        regions: &[Region],
        rule: &InjectRule,
    ) -> Vec<RefusedEndpoint> {
        let mut left_out = Vec::new();
        let Some(discover) = self.discovers.value.get(source) else { return left_out };
        let (shown, place) = (discover.what(), discover.head().name.place.clone());
        let monitor = discover.monitor.as_ref().map(|at| at.value.clone());
        let pool = discover.pool.as_ref().map(|at| at.value.clone());
        let Some(pool) = pool.and_then(|pool| self.pools.value.iter().position(|known| known.name.value == pool))
        else {
            return left_out;
        };
        let needs = ProbeNeeds {
            port: monitor.as_deref().and_then(|name| self.monitor(name)).is_some_and(|of| of.lacks_port()),
            address: self.sources.get(source).is_some_and(|of| of.needs_probe),
        };
        let mut members = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let name = &endpoint.name;
            let entry = self
                .reason_against(endpoint, needs, regions)
                .or_else(|| rule.reason_against(endpoint))
                .map_or_else(|| read(endpoint, monitor.as_deref(), &place), Err);
            match entry {
                Ok(spec) => {
                    let own = self.tables.endpoints.value.len();
                    self.injected.endpoints.get_or_insert(own);
                    self.tables.endpoints.value.push(spec);
                    self.injected.by_name.insert(name.clone(), (source, endpoint.clone()));
                    members.push(At {
                        value: MemberSpec::of(At { value: name.clone(), place: place.clone() }),
                        place: place.clone(),
                    });
                }
                Err(why) => left_out.push(RefusedEndpoint { name: name.clone(), why: format!("{why} ({shown})") }),
            }
        }
        let filled = &mut self.tables.pools.value[pool];
        let own = filled.members().len();
        self.injected.members.entry(pool).or_insert(own);
        match &mut filled.members {
            Some(list) => list.value.extend(members),
            None => filled.members = Some(At { value: members, place }),
        }
        self.index = SpecIndex::default();
        left_out
    }

    /// The names of the endpoints and pools that the file declares.
    pub(in crate::config) fn own_names(&self) -> BTreeSet<String> {
        let endpoints = self.endpoints.iter().map(|of| &of.name.value).filter(|name| self.injected(name).is_none());
        endpoints.chain(self.pools.iter().map(|of| &of.name.value)).cloned().collect()
    }

    /// Removes everything that was added.
    pub(in crate::config) fn eject(&mut self) {
        let Injected { by_name: _, endpoints, members } = std::mem::take(&mut self.injected);
        if let Some(own) = endpoints {
            self.tables.endpoints.value.truncate(own);
        }
        for (pool, own) in members {
            if let Some(list) = &mut self.tables.pools.value[pool].members {
                list.value.truncate(own);
            }
        }
        self.index = SpecIndex::default();
    }

    /// Why an endpoint can't be added, with what to do.
    fn reason_against(&self, of: &DiscoveredEndpoint, needs: ProbeNeeds, regions: &[Region]) -> Option<String> {
        let name = &of.name;
        if let Some((other, _)) = self.injected.by_name.get(name) {
            let other = self.discovers.value.get(*other).map_or_else(String::new, |other| other.what());
            return Some(format!(
                "{other} has an endpoint of this name: write `names = \"...-{{name}}\"` in one of them"
            ));
        }
        if self.endpoint(name).is_some() || self.pool(name).is_some() {
            return Some("the file has an endpoint or a pool of this name: write `names = \"...-{name}\"`".to_owned());
        }
        of.reason_against(needs, |region| regions.iter().any(|known| known.name == region))
    }
}

/// An endpoint as an entry of the file; an error says what is wrong with it.
fn read(of: &DiscoveredEndpoint, monitor: Option<&str>, place: &Place) -> Result<EndpointSpec, String> {
    let node = |kind: Kind| Node { place: place.clone(), kind };
    let text = |text: &str| node(Kind::Text(text.to_owned()));
    let entry = |key: &str, value: Node| Entry { key: At { value: key.to_owned(), place: place.clone() }, value };
    let addresses = || of.addresses.iter().map(|address| text(&address.to_string())).collect();
    let mut entries = vec![match &of.cname {
        Some(cname) => entry("cname", text(cname)),
        None => entry("addresses", node(Kind::List(addresses()))),
    }];
    let probe = of.probe.map(|(address, port)| match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    });
    entries.extend(probe.map(|probe| entry("probe", text(&probe))));
    entries.push(entry("weight", node(Kind::Integer(i64::from(of.weight)))));
    for (key, value) in [("region", of.region.as_deref()), ("monitor", monitor), ("country", of.country.as_deref())] {
        entries.extend(value.map(|value| entry(key, text(value))));
    }
    let capacity = of.capacity.map(|capacity| i64::try_from(capacity).unwrap_or(i64::MAX));
    entries.extend(capacity.map(|capacity| entry("capacity", node(Kind::Integer(capacity)))));
    let mut problems = Problems::default();
    let table = entry(&of.name, node(Kind::Table(entries)));
    let fields = Fields::of(table, TableForm::Named("endpoint".into()), &mut problems);
    let spec = fields.and_then(|fields| EndpointSpec::read(fields, &mut problems));
    let wrong = problems.into_sorted().into_iter().next();
    match (spec, wrong) {
        (Some(spec), None) => Ok(spec),
        (_, Some(wrong)) => Err(wrong.message),
        (None, None) => Err("it can't be read".to_owned()),
    }
}
