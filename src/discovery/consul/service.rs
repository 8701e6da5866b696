//! One entry of Consul's `/v1/health/service/NAME`: an instance of a service, with its node and its checks. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::discovery::Instance;
use crate::discovery::instance::port_of;
use crate::model::Mappings;

/// An entry of the reply. Fields that are not needed are skipped.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceEntry {
    node: ServiceNode,
    service: ServiceInstance,
    #[serde(default)]
    checks: Option<Vec<ServiceCheck>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceNode {
    node: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    datacenter: Option<String>,
    #[serde(default)]
    meta: Option<HashMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceInstance {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(default)]
    service: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    tagged_addresses: Option<HashMap<String, TaggedAddress>>,
    #[serde(default)]
    port: u32,
    #[serde(default)]
    meta: Option<HashMap<String, String>>,
    #[serde(default)]
    weights: Option<ServiceWeights>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaggedAddress {
    #[serde(default)]
    address: String,
}

/// How often Consul's own DNS would answer with the instance, by its health.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceWeights {
    passing: u32,
    warning: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceCheck {
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    name: String,
    status: String,
}

/// The worst of an instance's checks, from the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CheckStatus {
    Passing,
    Warning,
    Critical,
}

impl ServiceEntry {
    /// Parses an entry.
    pub(super) fn parse(text: &[u8]) -> Result<ServiceEntry, String> {
        let entry: ServiceEntry = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        // 0: it has none.
        match entry.service.port {
            0 => Ok(entry),
            port => port_of(&port.to_string()).map(|_| entry),
        }
    }

    /// The instance of this entry. With `has_datacenters` several datacenters are read, and its name has that of its
    /// own.
    ///
    /// Consul identifies an instance by its node and its id. An id that is only the name of the service is the same on
    /// all nodes, so the name of the node is added to it.
    pub(super) fn instance(&self, mappings: &Mappings, datacenter: Option<&str>) -> Instance {
        let ServiceEntry { node, service, checks: _ } = self;
        let dc = datacenter.or(node.datacenter.as_deref()).unwrap_or_default();
        let id = if service.id.is_empty() { &service.service } else { &service.id };
        let of_node = if *id == service.service { format!("{id}-{}", node.node) } else { id.clone() };
        let name = if datacenter.is_some() { format!("{of_node}-{dc}") } else { of_node };
        let port = u16::try_from(service.port).ok().filter(|port| *port > 0);
        let (status, why) = self.status();
        let field = |field: &str| self.field(field, dc, status);
        let key = format!("{dc}/{}/{id}", node.node);
        let instance = Instance::new(&key, self.addresses(), port).named(&name).mapped(mappings, field);
        match status {
            CheckStatus::Passing | CheckStatus::Warning => instance,
            CheckStatus::Critical => instance.down(&why),
        }
    }

    /// The address of the service, or else that of its node; and its address of the other family, if it has one.
    fn addresses(&self) -> Vec<String> {
        let ServiceEntry { node, service, checks: _ } = self;
        let main = if service.address.is_empty() { &node.address } else { &service.address };
        let mut addresses = vec![main.clone()];
        let (Ok(first), Some(tagged)) = (main.parse::<IpAddr>(), &service.tagged_addresses) else { return addresses };
        let others = ["lan_ipv4", "lan_ipv6"].into_iter().filter_map(|tag| tagged.get(tag));
        let is_other = |address: &IpAddr| address.is_ipv4() != first.is_ipv4();
        addresses.extend(
            others.filter_map(|of| of.address.parse().ok()).find(is_other).map(|address: IpAddr| address.to_string()),
        );
        addresses
    }

    /// A field of the instance: of its own meta, or of the node's meta, or `datacenter`, `node` and `weight`.
    fn field(&self, field: &str, dc: &str, status: CheckStatus) -> Option<String> {
        let of = |meta: &Option<HashMap<String, String>>| meta.as_ref().and_then(|meta| meta.get(field)).cloned();
        let weight = || {
            let weights = self.service.weights.as_ref()?;
            Some(match status {
                CheckStatus::Passing | CheckStatus::Critical => weights.passing,
                CheckStatus::Warning => weights.warning,
            })
        };
        of(&self.service.meta).or_else(|| of(&self.node.meta)).or_else(|| match field {
            "datacenter" => Some(dc.to_owned()),
            "node" => Some(self.node.node.clone()),
            "weight" => weight().map(|weight| weight.to_string()),
            _ => None,
        })
    }

    /// The worst status of its checks, and the name of the check.
    fn status(&self) -> (CheckStatus, String) {
        let of = |check: &ServiceCheck| {
            let name = if check.name.is_empty() { &check.id } else { &check.name };
            let status = match &*check.status {
                "passing" => CheckStatus::Passing,
                "warning" => CheckStatus::Warning,
                // `critical`, `maintenance`, and what a later Consul may add.
                _ => CheckStatus::Critical,
            };
            (status, format!("check `{name}` is {}", check.status))
        };
        let worst = self.checks.iter().flatten().map(of).max_by_key(|(status, _)| *status);
        worst.unwrap_or((CheckStatus::Passing, String::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::StatedHealth;
    use crate::model::Mapping;

    /// An entry with these fields of its service and these checks.
    fn entry(service: &str, checks: &str) -> ServiceEntry {
        let node = r#"{"Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","Meta":{"rack":"r7","region":"eu"}}"#;
        let text = format!(r#"{{"Node":{node},"Service":{{"Service":"web",{service}}},"Checks":[{checks}],"X":1}}"#);
        ServiceEntry::parse(text.as_bytes()).unwrap()
    }

    fn check(status: &str) -> String {
        format!(r#"{{"CheckID":"c-{status}","Name":"","Status":"{status}","Output":"x"}}"#)
    }

    #[test]
    fn an_instance_has_its_own_address_or_that_of_its_node() {
        let of = |service: &str| {
            let instance = entry(service, "").instance(&Mappings::default(), None);
            (instance.name, instance.addresses, instance.port)
        };
        let own = (r#""ID":"web-1","Address":"192.0.2.7","Port":8080"#, "web-1", vec!["192.0.2.7"], Some(8080));
        let node = (r#""ID":"web","Address":"","Port":0"#, "web-n1", vec!["10.0.0.1"], None);
        let both = r#""ID":"a","Address":"192.0.2.7","TaggedAddresses":{"lan_ipv4":{"Address":"192.0.2.7","Port":1},
            "lan_ipv6":{"Address":"2001:db8::7","Port":1},"wan":{"Address":"198.51.100.1"}}"#;
        let both = (both, "a", vec!["192.0.2.7", "2001:db8::7"], None);
        for (service, name, addresses, port) in [own, node, both] {
            let addresses = addresses.into_iter().map(str::to_owned).collect();
            assert_eq!(of(service), (name.to_owned(), addresses, port), "{service}");
        }
        let instance = entry(r#""ID":"web-1""#, "").instance(&Mappings::default(), Some("dc2"));
        assert_eq!((&*instance.name, &*instance.key), ("web-1-dc2", "dc2/n1/web-1"));
    }

    #[test]
    fn the_worst_check_is_the_health_and_warning_is_up() {
        let weights = r#""ID":"a","Weights":{"Passing":10,"Warning":3}"#;
        for (statuses, health, weight) in [
            (&[][..], StatedHealth::Up, "10"),
            (&["passing"], StatedHealth::Up, "10"),
            (&["passing", "warning"], StatedHealth::Up, "3"),
            (&["critical", "warning"], StatedHealth::Down, "10"),
            (&["passing", "maintenance"], StatedHealth::Down, "10"),
            (&["of a later version"], StatedHealth::Down, "10"),
        ] {
            let checks: Vec<String> = statuses.iter().map(|status| check(status)).collect();
            let instance = entry(weights, &checks.join(",")).instance(&Mappings::default(), None);
            assert_eq!((instance.health, instance.weight.as_deref()), (health, Some(weight)), "{statuses:?}");
        }
        let instance = entry(weights, &check("critical")).instance(&Mappings::default(), None);
        assert_eq!(instance.why.as_deref(), Some("check `c-critical` is critical"));
    }

    #[test]
    fn values_are_read_from_the_meta_of_the_service_and_of_the_node() {
        let service = r#""ID":"a","Meta":{"region":"us","weight":"70","land":"DE"},"Tags":null"#;
        let instance = entry(service, "").instance(&Mappings::default(), None);
        assert_eq!((instance.region.as_deref(), instance.weight.as_deref()), (Some("us"), Some("70")));
        let field = |name: &str| Mapping::Field(name.to_owned());
        let mappings = Mappings {
            region: field("datacenter"),
            country: field("land"),
            capacity: field("rack"),
            ..Mappings::default()
        };
        let instance = entry(service, "").instance(&mappings, None);
        let found = [instance.region, instance.country, instance.capacity].map(Option::unwrap);
        assert_eq!(found, ["dc1", "DE", "r7"]);
        let instance = entry(r#""ID":"a","Meta":null"#, "").instance(&Mappings::default(), None);
        assert_eq!((instance.region.as_deref(), instance.weight), (Some("eu"), None));
    }

    #[test]
    fn a_wrong_entry_is_an_error_and_no_panic() {
        let port = r#"{"Node":{"Node":"n1"},"Service":{"ID":"a","Port":65536}}"#;
        assert!(ServiceEntry::parse(port.as_bytes()).unwrap_err().contains("port `65536` is none"));
        for text in ["{}", r#"{"Node":{},"Service":{}}"#, r#"{"Node":{"Node":1},"Service":{}}"#] {
            assert!(ServiceEntry::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
