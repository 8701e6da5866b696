//! A policy file as it is written: every key is read, typed and in range, with its place. References are still names.
//! Each file here declares the keys of one section. `validate` looks up the names.

mod defaults;
mod discover;
mod endpoint;
mod index;
mod injected;
mod name;
mod pool;
mod selector;
mod service;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::config::fields::Fields;
use crate::config::keys::{
    Key, KeyGroup as _, KeyKind as _, Table as _, WrongText, keys, named, table, table_schema, text, wrong,
};
use crate::config::monitor::MonitorSpec;
use crate::config::node;
use crate::config::spec::index::SpecIndex;
use crate::config::spec::injected::Injected;
use crate::model::{DiscoveredPool, Ecs};
use crate::source::{At, ManualSection, Place, Problems};
use crate::wire::Name;

pub(super) use defaults::{Answering, EcsKeys};
pub(super) use discover::DiscoverSpec;
pub(super) use endpoint::EndpointSpec;
pub(super) use injected::InjectRule;
#[cfg(test)]
pub(super) use name::NameKeys;
pub(super) use name::{Failover, NameSpec};
pub(super) use pool::PoolSpec;
pub(super) use selector::{FenceSpec, GroupSpec, SelectorSpec};
#[cfg(test)]
pub(super) use service::ServiceKeys;

keys! {
    /// `zone` and `file`.
    ZoneKeys {
        /// the zone's name: `"svc.example."`
        zone: Name = text("\"svc.example.\"").parsed(zone_name), required "";
        /// its master file, relative to the policy file
        file: String = text("\"svc.example.zone\""), note "the zone's name and `.zone`";
    }
}

keys! {
    /// The tables of a policy file.
    PolicyTables {
        defaults: Answering = table();
        ecs: EcsKeys = table();
        "monitor" monitors: Vec<MonitorSpec> = named(), default Vec::new();
        "endpoint" endpoints: Vec<EndpointSpec> = named(), default Vec::new();
        "pool" pools: Vec<PoolSpec> = named(), default Vec::new();
        "discover" discovers: Vec<DiscoverSpec> = named(), default Vec::new();
        "group" groups: Vec<GroupSpec> = named(), default Vec::new();
        "fence" fences: Vec<FenceSpec> = named(), default Vec::new();
        "name" names: Vec<NameSpec> = named().with_schema(names_schema), default Vec::new();
    }
}

/// One policy file.
#[derive(Debug)]
pub(super) struct PolicySpec {
    /// The zone it is for.
    pub(super) zone: At<Name>,
    /// Its master file, relative to the policy file.
    pub(super) file: At<String>,
    /// Everything else.
    tables: PolicyTables,
    index: SpecIndex,
    injected: Injected,
    /// The sources, in the order of the file, if nothing is wrong with them.
    sources: Vec<Arc<DiscoveredPool>>,
}

impl std::ops::Deref for PolicySpec {
    type Target = PolicyTables;

    fn deref(&self) -> &PolicyTables {
        &self.tables
    }
}

impl PolicySpec {
    /// Removes the names for whose owners `is_removed` is true.
    pub(super) fn remove_names(&mut self, is_removed: impl Fn(&Name) -> bool) {
        self.tables.names.retain(|name| !is_removed(&name.owner));
        self.index = SpecIndex::default();
    }

    /// Makes the sources, whose files are relative to `dir`.
    pub(super) fn resolve_sources(&mut self, dir: &Path) {
        let source = |discover: &DiscoverSpec| {
            let monitor = discover.monitor.as_ref().and_then(|at| self.monitor(&at.value));
            let needs_port = monitor.is_some_and(|of| of.lacks_port());
            discover.discovered(&self.zone.value, dir).map(|of| Arc::new(DiscoveredPool { needs_port, ..of }))
        };
        let sources = self.discovers.iter().map(source);
        self.sources = sources.collect::<Option<_>>().unwrap_or_default();
    }

    /// The instances of the source at this index that have the name of a host are probed.
    pub(super) fn set_needs_probe(&mut self, source: usize) {
        if let Some(source) = self.sources.get_mut(source) {
            Arc::make_mut(source).needs_probe = true;
        }
    }

    /// The sources, by the index of their `[discover.NAME]`. Empty if something is wrong with one.
    pub(super) fn sources(&self) -> &[Arc<DiscoveredPool>] {
        &self.sources
    }

    /// Every selector, to add the nets of files.
    pub(super) fn selectors_mut(&mut self) -> impl Iterator<Item = &mut SelectorSpec> {
        let PolicyTables { pools, fences, groups, .. } = &mut self.tables;
        let members = pools.iter_mut().flat_map(|pool| &mut pool.members).flat_map(|members| &mut members.value);
        let fences = fences.iter_mut().filter_map(|fence| fence.clients.as_mut());
        let groups = groups.iter_mut().filter_map(|group| group.clients.as_mut());
        let whens = members.filter_map(|member| member.value.when.as_deref_mut());
        whens.chain(fences.map(|clients| &mut clients.value)).chain(groups)
    }

    /// The selectors that become ones of the model: those of members and fences, without the groups that they name.
    pub(super) fn clients(&self) -> impl Iterator<Item = &SelectorSpec> {
        let whens = self.pools.iter().flat_map(PoolSpec::members).filter_map(|member| member.value.when.as_deref());
        let fences = self.fences.iter().filter_map(|fence| fence.clients.as_ref());
        whens.chain(fences.map(|clients| &clients.value))
    }

    /// Where each exclusive name is made so.
    pub(super) fn exclusive_names(&self) -> impl Iterator<Item = &Place> {
        let exclusive = self.names.iter().filter(|name| name.is_exclusive());
        exclusive.filter_map(|name| Some(&name.failover.as_ref()?.place))
    }

    /// Where the first file of nets is named.
    pub(super) fn net_file(&self) -> Option<&Place> {
        self.selectors().find_map(|selector| Some(&selector.nets.files.first()?.place))
    }

    /// Every selector.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &SelectorSpec> {
        self.clients().chain(self.groups.iter().filter_map(|group| group.clients.as_ref()))
    }

    /// A value of the name's own, or else of `[defaults]`.
    pub(super) fn answering<'s, T>(
        &'s self,
        name: &'s NameSpec,
        key: fn(&'s Answering) -> Option<&'s At<T>>,
    ) -> Option<&'s At<T>> {
        key(&name.own).or_else(|| key(&self.defaults.as_ref()?.value))
    }

    /// `[ecs]`, or the defaults.
    pub(super) fn ecs_rule(&self) -> Ecs {
        self.ecs.as_ref().map_or_else(Ecs::default, |ecs| ecs.value.rule())
    }

    /// The endpoint of this name.
    pub(super) fn endpoint(&self, name: &str) -> Option<&EndpointSpec> {
        self.index.endpoints.find(&self.endpoints, |endpoint| &endpoint.name.value, name)
    }

    /// The monitor of this name.
    pub(super) fn monitor(&self, name: &str) -> Option<&MonitorSpec> {
        self.index.monitors.find(&self.monitors, |monitor| &monitor.name.value, name)
    }

    /// The pool of this name.
    pub(super) fn pool(&self, name: &str) -> Option<&PoolSpec> {
        self.index.pools.find(&self.pools, |pool| &pool.name.value, name)
    }

    /// The steered name that has this owner.
    pub(super) fn steered(&self, owner: &Name) -> Option<&NameSpec> {
        self.index.owners.find(&self.names, |name| &name.owner, owner)
    }

    /// The fence of this name.
    pub(super) fn fence(&self, name: &str) -> Option<&FenceSpec> {
        self.index.fences.find(&self.fences, |fence| &fence.name.value, name)
    }
}

/// Reads a policy file. `None` where it isn't TOML or names no zone; else everything in it that could be read.
pub(super) fn read(shown: &Path, bytes: &[u8], problems: &mut Problems) -> Option<PolicySpec> {
    problems.about(ManualSection::Policy, |problems| {
        let tree = node::parse(shown, bytes, problems)?;
        let mut top = Fields::of_node(tree, "", problems)?;
        let zone = problems.about(ManualSection::Zone, |problems| {
            if top.head().lacks("zone") {
                let message = "`zone` is missing: which zone is this policy for?";
                problems.error(&Place::start_of(shown), message).hint("write `zone = \"svc.example.\"`");
            }
            ZoneKeys::take(&mut top, problems)
        });
        let mut tables = PolicyTables::take(&mut top, problems);
        top.finish(&[], problems);
        problems.about(ManualSection::Pool, |problems| check_filled(&mut tables, problems));
        let apex = zone.zone.as_ref().map_or_else(Name::root, |zone| zone.value.clone());
        problems.about(ManualSection::Name, |problems| tables.names.retain_mut(|name| name.set_owner(&apex, problems)));
        let ZoneKeys { zone, file, .. } = zone;
        let zone = zone?;
        let file = file.unwrap_or_else(|| {
            let value = format!("{}.zone", zone.value.to_string().trim_end_matches('.'));
            At { value, place: zone.place.clone() }
        });
        Some(PolicySpec {
            zone,
            file,
            tables,
            index: SpecIndex::default(),
            injected: Injected::default(),
            sources: Vec::new(),
        })
    })
}

/// Most sources of a zone: each is a connection of its own (judgment: as many as a zone has kinds of services).
const MAX_SOURCES: usize = 64;

/// A pool that no source fills has members, and there are not too many sources.
fn check_filled(tables: &mut PolicyTables, problems: &mut Problems) {
    if let Some(over) = tables.discovers.get(MAX_SOURCES) {
        let message = format!("there are {} sources, and {MAX_SOURCES} are the most of a zone", tables.discovers.len());
        problems.about(ManualSection::Discover, |problems| _ = problems.error(&over.head().name.place, message));
        tables.discovers.value.truncate(MAX_SOURCES);
    }
    let filled = tables.discovers.iter().filter_map(|discover| Some(discover.pool.as_ref()?.value.as_str()));
    let filled: std::collections::HashSet<&str> = filled.collect();
    tables
        .pools
        .iter()
        .filter(|pool| !filled.contains(pool.name.value.as_str()))
        .for_each(|pool| pool.check_members(problems));
}

/// The keys of a policy file.
pub(super) fn keys() -> Vec<Key> {
    [ZoneKeys::keys(), PolicyTables::keys()].concat()
}

fn zone_name(written: &str) -> Result<Name, WrongText> {
    let hint = "write `zone = \"svc.example.\"`";
    Name::parse(written).map_err(|error| wrong(format!("\"{written}\" is not a zone: {error}"), hint))
}

/// Names of the zone look different from those of endpoints.
fn names_schema() -> Json {
    table_schema::<NameSpec>(json!({ "type": "object", "additionalProperties": NameSpec::schema() }))
}
