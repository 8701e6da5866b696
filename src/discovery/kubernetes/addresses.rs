//! Ingresses and Gateways, and the addresses that their controllers have written into their status: each address is an
//! instance, an IP address or the name of a host. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::discovery::instance::port_of;
use crate::discovery::kubernetes::slices::or_default;
use crate::discovery::{Instance, InstanceList};
use crate::model::Mappings;

/// An Ingress (networking.k8s.io/v1) or a Gateway (gateway.networking.k8s.io/v1), as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct AddressedObject {
    metadata: ObjectMetadata,
    #[serde(default, deserialize_with = "or_default")]
    spec: ObjectSpec,
    #[serde(default, deserialize_with = "or_default")]
    status: ObjectStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ObjectMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct ObjectSpec {
    /// Of a Gateway.
    #[serde(default, deserialize_with = "or_default")]
    listeners: Vec<Listener>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Listener {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default)]
    port: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectStatus {
    /// Of an Ingress.
    #[serde(default, deserialize_with = "or_default")]
    load_balancer: LoadBalancer,
    /// Of a Gateway.
    #[serde(default, deserialize_with = "or_default")]
    addresses: Vec<GatewayAddress>,
    /// Of a Gateway.
    #[serde(default, deserialize_with = "or_default")]
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct LoadBalancer {
    #[serde(default, deserialize_with = "or_default")]
    ingress: Vec<IngressAddress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct IngressAddress {
    #[serde(default, deserialize_with = "or_default")]
    ip: String,
    #[serde(default, deserialize_with = "or_default")]
    hostname: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct GatewayAddress {
    #[serde(default, deserialize_with = "or_default")]
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Condition {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

impl AddressedObject {
    /// Its name, which is unique in the namespace.
    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }

    /// What it takes of memory.
    pub(super) fn octets(&self) -> usize {
        let AddressedObject { metadata, spec, status } = self;
        let labels = metadata.labels.iter().map(|(key, value)| 2 * size_of::<String>() + key.len() + value.len());
        let listeners = spec.listeners.iter().map(|of| size_of::<Listener>() + of.name.len());
        let of_ingress = status.load_balancer.ingress.iter();
        let of_ingress = of_ingress.map(|of| size_of::<IngressAddress>() + of.ip.len() + of.hostname.len());
        let of_gateway = status.addresses.iter().map(|of| size_of::<GatewayAddress>() + of.value.len());
        let conditions = status.conditions.iter().map(|of| size_of::<Condition>() + of.kind.len() + of.status.len());
        let lists = labels.chain(listeners).chain(of_ingress).chain(of_gateway).chain(conditions);
        size_of::<AddressedObject>() + 2 * metadata.name.len() + metadata.namespace.len() + lists.sum::<usize>()
    }

    /// Adds its instances to the list. `port_name`: the listener of a Gateway whose port is probed; `None`: the first.
    pub(super) fn list(&self, port_name: Option<&str>, mappings: &Mappings, list: &mut InstanceList) {
        let ObjectMetadata { name, namespace, labels } = &self.metadata;
        let port = match self.port(port_name) {
            Ok(port) => port,
            Err(why) => return list.refusals.add(name, &why),
        };
        let of_ingress = self.status.load_balancer.ingress.iter();
        let of_ingress = of_ingress.map(|of| if of.ip.is_empty() { &of.hostname } else { &of.ip });
        let addresses = of_ingress.chain(self.status.addresses.iter().map(|of| &of.value));
        let is_off = self.status.conditions.iter().any(|of| of.kind == "Programmed" && of.status == "False");
        for address in addresses.filter(|address| !address.is_empty()) {
            let field = |field: &str| match field {
                "namespace" => Some(namespace.clone()).filter(|text| !text.is_empty()),
                "object" => Some(name.clone()),
                label => labels.get(label).cloned(),
            };
            let key = format!("{name}-{address}");
            let instance = Instance::new(&key, [address.clone()], port).mapped(mappings, field);
            list.push(if is_off { instance.down("not programmed") } else { instance });
        }
    }

    fn port(&self, wanted: Option<&str>) -> Result<Option<u16>, String> {
        let listeners = &self.spec.listeners;
        let found = match wanted {
            None => listeners.first(),
            Some(name) => Some(listeners.iter().find(|of| of.name == name).ok_or_else(|| {
                let names: Vec<&str> = listeners.iter().map(|of| of.name.as_str()).collect();
                format!("it has no listener `{name}`; it has {}", names.join(", "))
            })?),
        };
        found.and_then(|of| of.port).map(|port| port_of(&port.to_string())).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::discovery::StatedHealth;

    fn list_of(object: Value, port_name: Option<&str>) -> InstanceList {
        let object: AddressedObject = serde_json::from_value(object).unwrap();
        let mut list = InstanceList::new(10);
        object.list(port_name, &Mappings::default(), &mut list);
        list
    }

    #[test]
    fn each_address_of_an_ingress_is_an_instance() {
        let list = list_of(
            json!({
                "metadata": {"name": "shop", "namespace": "web", "labels": {"region": "eu-west"}},
                "spec": {"rules": [{"host": "www.example"}]},
                "status": {"loadBalancer": {"ingress": [
                    {"ip": "192.0.2.1"}, {"ip": "2001:db8::1", "hostname": ""}, {"hostname": "lb.example.com"}, {}
                ]}},
            }),
            None,
        );
        let rows: Vec<_> = list.instances().iter().map(|of| (&*of.name, of.addresses.join(" "), of.port)).collect();
        assert_eq!(
            rows,
            [
                ("shop-192.0.2.1", "192.0.2.1".to_owned(), None),
                ("shop-2001:db8::1", "2001:db8::1".to_owned(), None),
                ("shop-lb.example.com", "lb.example.com".to_owned(), None),
            ]
        );
        assert!(list.instances().iter().all(|of| of.region.as_deref() == Some("eu-west")));
        assert_eq!(list.refusals.shown(), None);
    }

    #[test]
    fn a_gateway_has_the_port_of_a_listener_and_is_down_until_it_is_programmed() {
        let gateway = |programmed: &str| {
            json!({
                "metadata": {"name": "edge"},
                "spec": {"listeners": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]},
                "status": {"addresses": [{"type": "IPAddress", "value": "192.0.2.1"}],
                           "conditions": [{"type": "Programmed", "status": programmed}]},
            })
        };
        let [first, https] = [None, Some("https")].map(|port| list_of(gateway("True"), port).instances()[0].clone());
        assert_eq!((first.port, https.port, https.health), (Some(80), Some(443), StatedHealth::Up));
        let off = list_of(gateway("False"), None).instances()[0].clone();
        assert_eq!((off.health, off.why.as_deref()), (StatedHealth::Down, Some("not programmed")));
        let refused = list_of(gateway("True"), Some("grpc"));
        assert_eq!(refused.refusals.shown().as_deref(), Some("`edge`: it has no listener `grpc`; it has http, https"));
        assert!(refused.instances().is_empty());
        let empty = json!({"metadata": {"name": "edge", "labels": null}, "spec": null, "status": null});
        assert_eq!(list_of(empty, None).total(), 0);
    }
}
