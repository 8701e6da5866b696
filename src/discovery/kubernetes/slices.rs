//! The EndpointSlices of a Service, and the instances that they list together. A Service has a slice for each family of
//! addresses, and for each hundred endpoints; while endpoints move between slices, one may be in two. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::discovery::instance::port_of;
use crate::discovery::{Instance, InstanceList};
use crate::model::Mappings;

/// An EndpointSlice (discovery.k8s.io/v1), as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    metadata: SliceMetadata,
    #[serde(default)]
    address_type: String,
    #[serde(default, deserialize_with = "or_default")]
    endpoints: Vec<SliceEndpoint>,
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<SlicePort>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct SliceMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceEndpoint {
    #[serde(default, deserialize_with = "or_default")]
    addresses: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    conditions: EndpointConditions,
    #[serde(default)]
    target_ref: Option<TargetRef>,
    #[serde(default, deserialize_with = "or_default")]
    node_name: String,
    #[serde(default, deserialize_with = "or_default")]
    zone: String,
    #[serde(default, deserialize_with = "or_default")]
    hints: EndpointHints,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct EndpointConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointHints {
    #[serde(deserialize_with = "or_default")]
    for_zones: Vec<ZoneHint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ZoneHint {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct TargetRef {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct SlicePort {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default)]
    port: Option<u32>,
}

impl EndpointSlice {
    /// What it takes of memory.
    pub(super) fn octets(&self) -> usize {
        let ports = self.ports.iter().map(|port| size_of::<SlicePort>() + port.name.len());
        let endpoints = self.endpoints.iter().map(SliceEndpoint::octets);
        let texts = [&self.metadata.name, &self.metadata.name, &self.metadata.namespace, &self.address_type];
        let texts = texts.map(String::len).iter().sum::<usize>();
        size_of::<EndpointSlice>() + texts + ports.sum::<usize>() + endpoints.sum::<usize>()
    }

    /// Its name, which is unique in the namespace.
    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }
}

impl EndpointConditions {
    /// Why an endpoint gets no new clients; `None`: it does. A condition that is not there is as the API says: ready.
    fn why_down(&self) -> Option<&'static str> {
        match self {
            EndpointConditions { terminating: Some(true), serving: Some(true), .. } => {
                Some("terminating, still serving")
            }
            EndpointConditions { terminating: Some(true), .. } => Some("terminating"),
            EndpointConditions { ready: Some(false), .. } => Some("not ready"),
            EndpointConditions { .. } => None,
        }
    }
}

/// Adds the instances of the slices to the list, in the order of their keys. `port_name`: which port is probed; `None`:
/// the first one. `zones`: the regions of zones.
pub(super) fn instances_of<'s>(
    slices: impl Iterator<Item = &'s EndpointSlice>,
    port_name: Option<&str>,
    zones: &BTreeMap<String, String>,
    mappings: &Mappings,
    list: &mut InstanceList,
) {
    let mut found: BTreeMap<&str, Instance> = BTreeMap::new();
    for slice in slices {
        let port = match slice.port(port_name) {
            Ok(port) => port,
            // A slice without endpoints has no ports either.
            Err(_) if slice.endpoints.is_empty() => continue,
            Err(why) => {
                list.refusals.add(&slice.metadata.name, &why);
                continue;
            }
        };
        for endpoint in &slice.endpoints {
            // The addresses of one endpoint are interchangeable: the API says to use the first one.
            let Some(address) = endpoint.addresses.first() else { continue };
            let pod = endpoint.target_ref.as_ref().map(|of| of.name.as_str()).filter(|name| !name.is_empty());
            let key = pod.unwrap_or(address);
            let instance = endpoint.instance(key, address, port, (&slice.metadata.namespace, zones), mappings);
            match found.get_mut(key) {
                Some(known) => merge(known, instance),
                None => drop(found.insert(key, instance)),
            }
        }
    }
    found.into_values().for_each(|instance| list.push(instance));
}

impl EndpointSlice {
    fn port(&self, wanted: Option<&str>) -> Result<Option<u16>, String> {
        let found = match wanted {
            None => self.ports.first(),
            Some(name) => Some(self.ports.iter().find(|port| port.name == name).ok_or_else(|| {
                let names: Vec<&str> = self.ports.iter().map(|port| port.name.as_str()).collect();
                format!("it has no port `{name}`; it has {}", names.join(", "))
            })?),
        };
        found.and_then(|port| port.port).map(|port| port_of(&port.to_string())).transpose()
    }
}

impl SliceEndpoint {
    /// What it takes of memory.
    fn octets(&self) -> usize {
        let zones = self.hints.for_zones.iter().map(|zone| &zone.name);
        let texts = [&self.node_name, &self.zone].into_iter().chain(self.target_ref.as_ref().map(|of| &of.name));
        let lists = self.addresses.iter().chain(zones).map(|text| size_of::<String>() + text.len());
        size_of::<SliceEndpoint>() + texts.map(String::len).sum::<usize>() + lists.sum::<usize>()
    }

    fn instance(
        &self,
        key: &str,
        address: &str,
        port: Option<u16>,
        (namespace, zones): (&str, &BTreeMap<String, String>),
        mappings: &Mappings,
    ) -> Instance {
        let hint = self.hints.for_zones.first().map_or("", |hint| hint.name.as_str());
        // Where the endpoint runs, or else the first zone of its hints.
        let zone = if self.zone.is_empty() { hint } else { &self.zone };
        let field = |name: &str| {
            let text = match name {
                "region" => zones.get(zone).map_or("", String::as_str),
                "zone" => zone,
                "hint" => hint,
                "node" => &self.node_name,
                "namespace" => namespace,
                _ => "",
            };
            (!text.is_empty()).then(|| text.to_owned())
        };
        let instance = Instance::new(key, [address.to_owned()], port).mapped(mappings, field);
        match self.conditions.why_down() {
            Some(why) => instance.down(why),
            None => instance,
        }
    }
}

/// The same endpoint in another slice: its address of the other family, or a copy while it moves between slices. It is
/// up if one of them says so. A pod with a fixed name that was made anew has its old address in one slice, where it is
/// not up, and the new one in another: the old one does not count.
fn merge(known: &mut Instance, mut other: Instance) {
    match (known.why.is_some(), other.why.is_some()) {
        (true, false) => known.addresses.retain(|address| !has_family_of(&other, address)),
        (false, true) => other.addresses.retain(|address| !has_family_of(known, address)),
        (true, true) | (false, false) => {}
    }
    let new: Vec<String> = other.addresses.into_iter().filter(|address| !known.addresses.contains(address)).collect();
    known.addresses.extend(new);
    known.port = known.port.or(other.port);
    if other.why.is_none() {
        (known.health, known.why) = (other.health, None);
    }
}

/// Whether an instance has an address of the same family.
fn has_family_of(instance: &Instance, address: &str) -> bool {
    instance.addresses.iter().any(|other| other.contains(':') == address.contains(':'))
}

/// Go writes an empty list as `null`.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
