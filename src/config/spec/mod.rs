//! A policy file as it is written: every key read, typed and in range, with its place; names are still only names.
//! What they refer to is looked up in `validate`. Keys that the manual knows and this version doesn't are refused here.

pub(super) mod composite;
pub(super) mod heartbeat;
pub(super) mod monitor;
pub(super) mod own_keys;
pub(super) mod pool;
mod questions;
pub(super) mod quorum;
mod selector;
pub(super) mod service;
pub(super) mod zone;

use std::path::Path;

use crate::config::fields::Fields;
use crate::config::manual::Section;
use crate::config::node;
use crate::config::problem::Problems;
use crate::config::source::{At, Place};
use crate::model::Ecs;
use crate::wire::Name;

pub(super) use composite::CompositeKeys;
pub(super) use heartbeat::HeartbeatKeys;
pub(super) use monitor::{KindSpec, MonitorSpec};
pub(super) use pool::{EndpointSpec, PoolSpec, Serves};
pub(super) use selector::{FenceSpec, GroupSpec, SelectorSpec};
pub(super) use zone::{Defaults, NameSpec};

/// One policy file.
#[derive(Debug)]
pub(super) struct PolicySpec {
    /// The zone it is for.
    pub(super) zone: At<Name>,
    /// Its master file, relative to the policy file.
    pub(super) file: At<String>,
    /// For names that don't say otherwise.
    pub(super) defaults: Defaults,
    /// EDNS client subnet.
    pub(super) ecs: Ecs,
    /// Where it is written, if it is.
    pub(super) ecs_place: Option<Place>,
    /// Declared checks.
    pub(super) monitors: Vec<MonitorSpec>,
    /// Declared endpoints.
    pub(super) endpoints: Vec<EndpointSpec>,
    /// Declared pools.
    pub(super) pools: Vec<PoolSpec>,
    /// Declared groups of clients.
    pub(super) groups: Vec<GroupSpec>,
    /// Declared fences.
    pub(super) fences: Vec<FenceSpec>,
    /// Steered names.
    pub(super) names: Vec<NameSpec>,
}

impl PolicySpec {
    /// Everything that says which clients are meant.
    pub(super) fn selectors_mut(&mut self) -> impl Iterator<Item = &mut SelectorSpec> {
        let members = self.pools.iter_mut().flat_map(|pool| &mut pool.members);
        let fences = self.fences.iter_mut().filter_map(|fence| fence.clients.as_mut());
        let groups = self.groups.iter_mut().filter_map(|group| group.clients.as_mut());
        members.filter_map(|member| member.when.as_mut()).chain(fences).chain(groups)
    }

    /// The same, to look at.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &SelectorSpec> {
        let members = self.pools.iter().flat_map(|pool| &pool.members);
        let fences = self.fences.iter().filter_map(|fence| fence.clients.as_ref());
        let groups = self.groups.iter().filter_map(|group| group.clients.as_ref());
        members.filter_map(|member| member.when.as_ref()).chain(fences).chain(groups)
    }

    /// The endpoint of this name.
    pub(super) fn endpoint(&self, name: &str) -> Option<&EndpointSpec> {
        self.endpoints.iter().find(|endpoint| endpoint.name.value == name)
    }

    /// The fence of this name.
    pub(super) fn fence(&self, name: &str) -> Option<&FenceSpec> {
        self.fences.iter().find(|fence| fence.name.value == name)
    }
}

/// Reads a policy file. `None` where it isn't TOML or names no zone; else everything in it that could be read.
pub(super) fn read(shown: &Path, bytes: &[u8], problems: &mut Problems) -> Option<PolicySpec> {
    let tree = problems.about(Section::Policy, |problems| node::parse(shown, bytes, problems))?;
    let mut top = Fields::of_node(tree, "", problems)?;
    let (zone, file) = problems.about(Section::Zone, |problems| {
        (zone_name(&mut top, shown, problems), top.text("file", "\"svc.example.zone\"", problems))
    });
    let defaults = problems.about(Section::Defaults, |problems| zone::defaults(&mut top, problems));
    let ecs_place = top.place_of("ecs");
    let ecs = problems.about(Section::Ecs, |problems| {
        top.table("ecs", problems).map_or_else(Ecs::default, |fields| zone::ecs(fields, problems))
    });
    let monitors = each(&mut top, "monitor", Section::Monitor, problems, |n, f, p| Some(monitor::read(n, f, p)));
    let endpoints = each(&mut top, "endpoint", Section::Endpoint, problems, |n, f, p| Some(pool::endpoint(n, f, p)));
    let pools = each(&mut top, "pool", Section::Pool, problems, |n, f, p| Some(pool::pool(n, f, p)));
    let groups = each(&mut top, "group", Section::Group, problems, |n, f, p| Some(selector::group(n, f, p)));
    let fences = each(&mut top, "fence", Section::Fence, problems, |n, f, p| Some(selector::fence(n, f, p)));
    let apex = zone.as_ref().map_or_else(Name::root, |zone| zone.value.clone());
    let names = each(&mut top, "name", Section::Name, problems, |n, f, p| zone::name(n, f, &apex, p));
    problems.about(Section::Policy, |problems| top.finish(&[], problems));
    let zone = zone?;
    let file = file.unwrap_or_else(|| {
        let value = format!("{}.zone", zone.value.to_string().trim_end_matches('.'));
        At { value, place: zone.place.clone() }
    });
    Some(PolicySpec { zone, file, defaults, ecs, ecs_place, monitors, endpoints, pools, groups, fences, names })
}

/// What `read` makes of each table below `key`, which `section` of the manual is about.
fn each<T>(
    top: &mut Fields,
    key: &'static str,
    section: Section,
    problems: &mut Problems,
    mut read: impl FnMut(At<String>, Fields, &mut Problems) -> Option<T>,
) -> Vec<T> {
    problems.about(section, |problems| {
        top.named(key, problems).into_iter().filter_map(|(name, fields)| read(name, fields, problems)).collect()
    })
}

fn zone_name(top: &mut Fields, shown: &Path, problems: &mut Problems) -> Option<At<Name>> {
    if top.lacks("zone") {
        let problem = problems.error(&Place::start_of(shown), "`zone` is missing: which zone is this policy for?");
        problem.hint("write `zone = \"svc.example.\"`");
    }
    let At { value, place } = top.text("zone", "\"svc.example.\"", problems)?;
    match Name::parse(&value) {
        Ok(value) => Some(At { value, place }),
        Err(error) => {
            problems
                .error(&place, format!("\"{value}\" is not a zone: {error}"))
                .hint("write `zone = \"svc.example.\"`");
            None
        }
    }
}
