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
    /// Its name, which is unique in the namespace.
    pub(super) fn into_name(self) -> String {
        self.metadata.name
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

/// All slices of a Service.
#[derive(Debug, Default)]
pub(super) struct SliceBook {
    by_name: BTreeMap<String, EndpointSlice>,
}

impl SliceBook {
    /// A slice is new, or another one than before.
    pub(super) fn set(&mut self, slice: EndpointSlice) {
        self.by_name.insert(slice.metadata.name.clone(), slice);
    }

    /// A slice has gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The instances in the order of their keys. `port_name`: which port is probed; `None`: the first one. `zones`: the
    /// regions of zones.
    pub(super) fn list(
        &self,
        port_name: Option<&str>,
        zones: &BTreeMap<String, String>,
        mappings: &Mappings,
        max: usize,
    ) -> InstanceList {
        let mut list = InstanceList::new(max);
        let mut found: BTreeMap<&str, Instance> = BTreeMap::new();
        for slice in self.by_name.values() {
            if slice.address_type == "FQDN" {
                list.refusals.add(&slice.metadata.name, "it lists names and not addresses (addressType FQDN)");
                continue;
            }
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
        list
    }
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
/// up if one of them says so.
fn merge(known: &mut Instance, other: Instance) {
    let new: Vec<String> = other.addresses.into_iter().filter(|address| !known.addresses.contains(address)).collect();
    known.addresses.extend(new);
    known.port = known.port.or(other.port);
    if other.why.is_none() {
        (known.health, known.why) = (other.health, None);
    }
}

/// Go writes an empty list as `null`.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
