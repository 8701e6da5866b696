//! The policy file of a zone from its records.
//!
//! - Each target is an endpoint, called `CLUSTER-TARGET`, which all names with this target share: it is probed and
//!   drained once. The same target with another region, country or probe is another endpoint.
//! - The records of a name with one cluster and set identifier are a group. Where the name steers by weight or order,
//!   that is between groups; otherwise all targets of all groups are members of one pool.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use data_encoding::HEXLOWER;

use crate::external_dns::adjust::{domain_name, shown, zone_of};
use crate::external_dns::book::{RecordBook, RecordKey};
use crate::external_dns::property::{MonitorWish, SteeringWish};
use crate::external_dns::record::DnsRecord;
use crate::wire::Name;

/// The first line of each file that this program writes. A file with another one is not overwritten.
pub const HEADER: &str = "# Written by `portolan external-dns`, which replaces this file: changes here are lost.";

/// Shortest TTL in seconds, of a name that does not state a shorter one: that of `[defaults]`.
const MIN_TTL: i64 = 5;

/// A record of the book.
pub type RecordRef = (String, RecordKey);

/// The policy file of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZonePolicy {
    /// Its text.
    pub text: String,
    /// The first line of each table, from 1, and the records that it was made of; in the order of lines.
    tables: Vec<(u32, BTreeSet<RecordRef>)>,
    /// How many lines the text has.
    lines: u32,
}

impl ZonePolicy {
    /// The records of which the table at a line was made.
    pub fn records_at(&self, line: u32) -> impl Iterator<Item = &RecordRef> {
        let table = self.tables.iter().take_while(|(first, _)| *first <= line).last();
        table.into_iter().flat_map(|(_, records)| records)
    }

    fn begin(&mut self, head: &str, records: BTreeSet<RecordRef>) {
        // The table begins after an empty line.
        self.tables.push((self.lines.saturating_add(2), records));
        self.line(format_args!("\n[{head}]"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let before = self.text.len();
        // Writing to a String can't fail.
        let _ = writeln!(self.text, "{line}");
        let new = self.text.as_bytes()[before..].iter().filter(|octet| **octet == b'\n').count();
        self.lines = self.lines.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
    }
}

/// What distinguishes an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct EndpointKey {
    cluster: String,
    target: String,
    is_alias: bool,
    region: Option<String>,
    country: Option<String>,
    probe: Option<String>,
}

/// The targets of a name from one cluster with one set identifier.
#[derive(Debug, Default)]
struct TargetGroup {
    order: Option<u32>,
    weight: Option<u32>,
    endpoints: BTreeSet<EndpointKey>,
}

/// All that is known of a name.
#[derive(Debug, Default)]
struct NamePlan {
    groups: BTreeMap<(String, String), TargetGroup>,
    steer: Option<&'static str>,
    monitor: Option<MonitorWish>,
    answers: Option<u32>,
    on_empty: Option<&'static str>,
    ttl: Option<i64>,
    has_alias: bool,
    records: BTreeSet<RecordRef>,
}

/// The policy of `zone`. `regions` has the regions of clusters whose records state none.
pub fn zone_policy(zone: &Name, zones: &[Name], book: &RecordBook, regions: &BTreeMap<String, String>) -> ZonePolicy {
    let mut plans: BTreeMap<Name, NamePlan> = BTreeMap::new();
    let mut users: BTreeMap<EndpointKey, BTreeSet<RecordRef>> = BTreeMap::new();
    for (cluster, record) in book.all() {
        // All records were adjusted when they were stored.
        let Ok(name) = domain_name(&record.dns_name) else { continue };
        if record.record_type == "TXT" || zone_of(&name, zones) != Some(zone) {
            continue;
        }
        let Ok(wish) = SteeringWish::of(record) else { continue };
        let endpoints = endpoints_of(cluster, record, &wish, regions.get(cluster));
        let own = (cluster.to_owned(), RecordKey::of(record));
        for endpoint in &endpoints {
            users.entry(endpoint.clone()).or_default().insert(own.clone());
        }
        plans.entry(name).or_default().add(own, record, wish, endpoints);
    }
    let mut policy = ZonePolicy::default();
    policy.line(format_args!("{HEADER}\nzone = {}", quoted(&zone.to_string())));
    let names = endpoint_names(users.keys());
    for (endpoint, records) in users {
        policy.begin(&format!("endpoint.{}", quoted(&names[&endpoint])), records);
        match endpoint.is_alias {
            true => policy.line(format_args!("cname = {}", quoted(&format!("{}.", endpoint.target)))),
            false => policy.line(format_args!("addresses = [{}]", quoted(&endpoint.target))),
        }
        for (key, value) in [("region", &endpoint.region), ("country", &endpoint.country), ("probe", &endpoint.probe)] {
            if let Some(value) = value {
                policy.line(format_args!("{key} = {}", quoted(value)));
            }
        }
    }
    for (name, plan) in &plans {
        plan.write(&relative(name, zone), &shown(name), &names, &mut policy);
    }
    policy
}

impl NamePlan {
    fn add(&mut self, own: RecordRef, record: &DnsRecord, wish: SteeringWish, endpoints: Vec<EndpointKey>) {
        let SteeringWish { steer, weight, order, region: _, country: _, monitor, probe: _, answers, on_empty } = wish;
        // Where clusters differ, the first one counts, in the order of their names.
        self.steer = self.steer.or(steer);
        self.monitor = self.monitor.take().or(monitor);
        self.answers = self.answers.or(answers);
        self.on_empty = self.on_empty.or(on_empty);
        self.has_alias |= record.record_type == "CNAME";
        if record.record_ttl > 0 {
            self.ttl = Some(self.ttl.map_or(record.record_ttl, |ttl| ttl.min(record.record_ttl)));
        }
        let group = self.groups.entry((own.0.clone(), own.1.set.clone())).or_default();
        group.order = group.order.or(order);
        group.weight = group.weight.or(weight);
        group.endpoints.extend(endpoints);
        self.records.insert(own);
    }

    /// How the pool of the name steers. All targets are answered where nothing else is stated, as other providers do
    /// it; aliases one at a time, because a name has one CNAME (RFC 2181, 10.1).
    fn kind(&self) -> &'static str {
        // Weights and orders are those of groups: of one alone they mean nothing.
        let states = |stated: fn(&TargetGroup) -> bool| self.groups.len() > 1 && self.groups.values().any(stated);
        match self.steer {
            Some(steer) => steer,
            None if states(|group| group.order.is_some()) => "failover",
            None if self.has_alias || states(|group| group.weight.is_some()) => "weighted",
            None => "all",
        }
    }

    fn write(&self, relative: &str, full: &str, names: &BTreeMap<EndpointKey, String>, policy: &mut ZonePolicy) {
        let mut groups: Vec<(&(String, String), &TargetGroup)> = self.groups.iter().collect();
        groups.sort_by_key(|(key, group)| (group.order.unwrap_or(u32::MAX), *key));
        let kind = self.kind();
        let is_between_groups = groups.len() > 1 && matches!(kind, "weighted" | "failover");
        let mut members: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        for ((cluster, set), group) in groups {
            let weight = group.weight.filter(|_| matches!(kind, "weighted" | "affinity"));
            let mut own: Vec<&String> = group.endpoints.iter().map(|endpoint| &names[endpoint]).collect();
            let inner;
            if is_between_groups && own.len() > 1 {
                inner = slug(&format!("{relative}/{cluster}/{set}"), "");
                let kind = if self.has_alias { "weighted" } else { "all" };
                self.write_pool(&inner, kind, own.iter().map(|name| quoted(name)).collect(), policy);
                own = vec![&inner];
            }
            let new = own.into_iter().filter(|name| seen.insert((*name).clone()));
            members.extend(new.map(|name| match weight {
                Some(weight) => format!("{{ to = {}, weight = {weight} }}", quoted(name)),
                None => quoted(name),
            }));
        }
        let pool = slug(relative, "-pool");
        self.write_pool(&pool, kind, members, policy);
        let monitor = self.monitor.as_ref().map(|monitor| self.write_monitor(monitor, relative, full, policy));
        policy.begin(&format!("name.{}", quoted(relative)), self.records.clone());
        policy.line(format_args!("pool = {}", quoted(&pool)));
        if let Some(monitor) = monitor {
            policy.line(format_args!("monitor = {}", quoted(&monitor)));
        }
        if let Some(max) = self.ttl {
            policy.line(format_args!("ttl = {{ max = \"{max}s\", min = \"{}s\" }}", max.min(MIN_TTL)));
        }
        if let Some(answers) = self.answers {
            policy.line(format_args!("answers = {answers}"));
        }
        if let Some(word) = self.on_empty {
            policy.line(format_args!("on_empty = {}", quoted(word)));
        }
    }

    fn write_pool(&self, name: &str, kind: &str, members: Vec<String>, policy: &mut ZonePolicy) {
        policy.begin(&format!("pool.{}", quoted(name)), self.records.clone());
        policy.line(format_args!("steer = {}\nmembers = [{}]", quoted(kind), members.join(", ")));
    }

    /// Writes the monitor of a name and returns its name. Requests and handshakes are for the host of the name, as
    /// those of its clients are.
    fn write_monitor(&self, monitor: &MonitorWish, relative: &str, full: &str, policy: &mut ZonePolicy) -> String {
        let name = slug(relative, "");
        policy.begin(&format!("monitor.{}", quoted(&name)), self.records.clone());
        policy.line(format_args!("type = {}", quoted(monitor.kind)));
        if let Some(port) = monitor.port {
            policy.line(format_args!("port = {port}"));
        }
        if let Some(path) = &monitor.path {
            policy.line(format_args!("path = {}", quoted(path)));
        }
        if matches!(monitor.kind, "http" | "https" | "tls") && !full.starts_with('*') {
            policy.line(format_args!("host = {}", quoted(full)));
        }
        name
    }
}

fn endpoints_of(cluster: &str, record: &DnsRecord, wish: &SteeringWish, region: Option<&String>) -> Vec<EndpointKey> {
    let endpoint = |target: &String| EndpointKey {
        cluster: cluster.to_owned(),
        target: target.clone(),
        is_alias: record.record_type == "CNAME",
        region: wish.region.as_ref().or(region).cloned(),
        country: wish.country.clone(),
        probe: wish.probe.clone(),
    };
    record.targets.iter().map(endpoint).collect()
}

/// A name for each endpoint. Of those with the same cluster and target, the first one has the plain name.
fn endpoint_names<'k>(keys: impl Iterator<Item = &'k EndpointKey>) -> BTreeMap<EndpointKey, String> {
    let mut names: BTreeMap<EndpointKey, String> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for key in keys {
        // No address has a `-` where an IPv6 address has its colons.
        let target = key.target.replace(':', "-");
        let plain = if key.cluster.is_empty() { target } else { format!("{}-{target}", key.cluster) };
        let mut name = slug(&plain, "");
        if !taken.insert(name.clone()) {
            name = slug(&format!("{plain}/{:?}/{:?}/{:?}", key.region, key.country, key.probe), "");
            taken.insert(name.clone());
        }
        names.insert(key.clone(), name);
    }
    names
}

/// A name relative to its zone, as policies have it.
fn relative(name: &Name, zone: &Name) -> String {
    let (text, apex) = (name.to_string(), zone.to_string());
    match text.strip_suffix(&apex).map(|rest| rest.strip_suffix('.').unwrap_or(rest)) {
        Some("") => "@".to_owned(),
        Some(relative) => relative.to_owned(),
        None => text,
    }
}

/// A text as the name of a part of a policy, 63 characters at most. A text that can't be one as it is gets a digest, so
/// that two texts never have one name.
fn slug(text: &str, end: &str) -> String {
    const MOST: usize = 63;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let clean: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    if clean == text && clean.len() + end.len() <= MOST {
        return clean + end;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let suffix = format!("-{}{end}", HEXLOWER.encode(&digest.as_ref()[..4]));
    format!("{}{suffix}", &clean[..clean.len().min(MOST - suffix.len())])
}

/// A TOML string. JSON's escapes are TOML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
