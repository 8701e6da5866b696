//! Endpoints of instances: reads the texts of each instance, makes its name, and refuses what can't be an endpoint,
//! with what to do. Pure. The files decide the rest: whether a region is declared, and whether a name is theirs.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::discovery::instance::{Instance, RefusedInstances, StatedHealth};
use crate::model::{Country, DiscoveredEndpoint, DiscoveredPool, HostRule, host_name, no_host, probe_address};

/// Highest weight, as that of an endpoint of a file.
const MAX_WEIGHT: u32 = 1_000_000;
/// Highest capacity, as that of an endpoint of a file.
const MAX_CAPACITY: u64 = 1_000_000_000_000;
/// Longest name of an endpoint, in octets.
const MAX_NAME: usize = 63;

/// What an instance needs to be an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRules {
    /// The source.
    pub spec: Arc<DiscoveredPool>,
    /// The regions that the settings declare.
    pub regions: Arc<BTreeSet<String>>,
    /// The names that the file gives to endpoints and pools.
    pub names: Arc<BTreeSet<String>>,
}

impl InstanceRules {
    /// The name of the endpoint that an instance is; an error says why it is none, and what to do.
    pub(super) fn judge(&self, instance: &Instance) -> Result<String, String> {
        let endpoint = endpoint_of(&self.spec, instance)?;
        let why = endpoint.reason_against(self.spec.probe_needs(), |region| self.regions.contains(region));
        if let Some(why) = why {
            return Err(why);
        }
        if self.names.contains(&endpoint.name) {
            return Err(format!(
                "the file has an endpoint or a pool of the name `{}`: write `names = \"...-{{name}}\"`",
                endpoint.name
            ));
        }
        Ok(endpoint.name)
    }
}

/// The endpoints of one source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatedEndpoints {
    /// In the order of their names.
    pub endpoints: Vec<Arc<DiscoveredEndpoint>>,
    /// What the source states of those that it does not call up: the reason.
    pub down: HashMap<String, Option<String>>,
    /// What is no endpoint, and why.
    pub refused: RefusedInstances,
}

/// The endpoints of these instances, which have different keys. Of equal names the first by key counts.
pub fn endpoints_of<'i>(spec: &DiscoveredPool, instances: impl Iterator<Item = &'i Instance>) -> StatedEndpoints {
    let mut by_name: HashMap<String, (&Instance, DiscoveredEndpoint)> = HashMap::new();
    let mut refused = RefusedInstances::default();
    for instance in instances {
        let endpoint = match endpoint_of(spec, instance) {
            Ok(endpoint) => endpoint,
            Err(why) => {
                refused.add(&instance.key, &why);
                continue;
            }
        };
        let name = endpoint.name.clone();
        match by_name.get(&name) {
            Some((other, _)) if other.key <= instance.key => refused.add(&instance.key, &same_name(&name, &other.key)),
            Some((other, _)) => {
                refused.add(&other.key, &same_name(&name, &instance.key));
                by_name.insert(name, (instance, endpoint));
            }
            None => _ = by_name.insert(name, (instance, endpoint)),
        }
    }
    let mut all: Vec<(&Instance, DiscoveredEndpoint)> = by_name.into_values().collect();
    all.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
    let down = all.iter().filter(|(instance, _)| instance.health == StatedHealth::Down);
    let down = down.map(|(instance, endpoint)| (endpoint.name.clone(), instance.why.clone())).collect();
    StatedEndpoints { down, refused, endpoints: all.into_iter().map(|(_, endpoint)| Arc::new(endpoint)).collect() }
}

/// Why an instance is left out whose name is that of the instance with the key `other`.
pub(super) fn same_name(name: &str, other: &str) -> String {
    format!("its name `{name}` is that of `{other}` too; write another `names`, such as \"{{name}}-{{port}}\"")
}

/// The endpoint of an instance; an error says why there is none, and what to do.
fn endpoint_of(spec: &DiscoveredPool, instance: &Instance) -> Result<DiscoveredEndpoint, String> {
    let reached = reached(spec.hosts, &instance.addresses)?;
    let [weight, capacity] = [(&instance.weight, "weight"), (&instance.capacity, "capacity")]
        .map(|(text, what)| text.as_deref().map(|text| number(text, what)).transpose());
    let weight = weight?.unwrap_or(1);
    let weight = u32::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
    let weight = weight.ok_or_else(|| format!("its weight is over {MAX_WEIGHT}"))?;
    let capacity = capacity?;
    if capacity.is_some_and(|capacity| capacity > MAX_CAPACITY) {
        return Err(format!("its capacity is over {MAX_CAPACITY}"));
    }
    let country = instance.country.as_deref().filter(|text| !text.is_empty());
    if let Some(code) = country
        && Country::parse(code).is_none()
    {
        return Err(format!("its country \"{code}\" is no code of ISO 3166-1, such as \"DE\""));
    }
    let region = instance.region.clone().filter(|text| !text.is_empty());
    let name = name(spec, instance, &reached, region.as_deref())?;
    let probe = instance.probe.as_deref().filter(|text| !text.is_empty());
    let (addresses, cname, probe) = match reached {
        Reached::At(addresses) => (addresses, None, None),
        Reached::By(host) => {
            let probe = probe.map(probe_address).transpose().map_err(|(why, _)| format!("its `probe`: {why}"))?;
            (Vec::new(), Some(host), probe)
        }
    };
    Ok(DiscoveredEndpoint {
        name,
        addresses,
        cname,
        probe,
        port: instance.port.filter(|port| *port != 0),
        weight,
        region,
        country: country.map(str::to_owned),
        capacity,
    })
}

/// How clients reach an instance.
enum Reached {
    /// At one address of a family at most, IPv4 first; at least one.
    At(Vec<IpAddr>),
    /// By the name of a host, in lower case, with its final dot.
    By(String),
}

/// How clients reach an instance with these addresses, as far as the source may list that.
fn reached(hosts: HostRule, texts: &[String]) -> Result<Reached, String> {
    let is_address = |text: &String| text.parse::<IpAddr>().is_ok();
    match (texts.iter().find(|text| !is_address(text)), hosts) {
        (None, HostRule::Only) if !texts.is_empty() => Err(format!(
            "its address {} is no name of a host, and only these are wanted: write `hosts = \"cname\"` for both",
            texts[0]
        )),
        (None, _) => addresses(texts).map(Reached::At),
        (Some(text), HostRule::Refused) => {
            let is_name = text.bytes().any(|octet| octet.is_ascii_alphabetic()) && host_name(text).is_ok();
            Err(match is_name {
                true => format!(
                    "its address \"{text}\" is the name of a host, and no IP address: write `hosts = \"only\"` to \
                     answer with a CNAME, register one, or use type = \"dns\""
                ),
                false => format!("its address \"{text}\" is no IP address; register one"),
            })
        }
        (Some(_), HostRule::Cname | HostRule::Only) if texts.len() > 1 => {
            Err("it has the name of a host and another address; register two instances".to_owned())
        }
        (Some(text), HostRule::Cname | HostRule::Only) if !text.contains('.') => {
            Err(format!("its address \"{text}\" is outside of all zones; register the whole name of the host"))
        }
        (Some(text), HostRule::Cname | HostRule::Only) => match host_name(text) {
            Ok(name) => Ok(Reached::By(name.to_string())),
            Err((why, _)) => Err(why),
        },
    }
}

/// One address of a family at most, IPv4 first; at least one.
fn addresses(texts: &[String]) -> Result<Vec<IpAddr>, String> {
    let mut found: Vec<IpAddr> = Vec::new();
    for text in texts {
        let Ok(address) = text.parse::<IpAddr>() else {
            return Err(format!("its address \"{text}\" is no IP address; register one"));
        };
        let address = address.to_canonical();
        if let Some(what) = no_host(address) {
            return Err(format!(
                "{address} is not the address of a host, but {what}; register the one that clients use"
            ));
        }
        if let Some(other) = found.iter().find(|other| other.is_ipv4() == address.is_ipv4()) {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(format!("it has two {family} addresses, {other} and {address}; register two instances"));
        }
        found.push(address);
    }
    found.sort_by_key(IpAddr::is_ipv6);
    if found.is_empty() { Err("it has no address; register one".to_owned()) } else { Ok(found) }
}

fn number(text: &str, what: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("its {what} \"{text}\" is no whole number"))
}

/// The name by the template, with `-` for what a name can't have. That of a host is often longer than a name may be:
/// then the name ends with a hash of it in place of its last part.
fn name(spec: &DiscoveredPool, instance: &Instance, reached: &Reached, region: Option<&str>) -> Result<String, String> {
    let address = match reached {
        Reached::At(addresses) => addresses.first().map(IpAddr::to_string).unwrap_or_default(),
        Reached::By(host) => host.trim_end_matches('.').to_owned(),
    };
    let port = instance.port.map(|port| port.to_string()).unwrap_or_default();
    let filled = spec
        .names
        .replace("{name}", &instance.name)
        .replace("{address}", &address)
        .replace("{port}", &port)
        .replace("{region}", region.unwrap_or_default());
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let mut name: String = filled.chars().map(plain).collect();
    if let (Reached::By(_), true) = (reached, name.len() > MAX_NAME) {
        let mut hash = SipHasher13::new();
        hash.write(filled.as_bytes());
        // Octets: every character is one of ASCII.
        name.truncate(MAX_NAME - 9);
        name = format!("{name}-{:08x}", hash.finish() as u32);
    }
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("its name \"{filled}\" has not 1 to {MAX_NAME} characters; write another `names`"));
    }
    Ok(name)
}

#[cfg(test)]
mod address_tests {
    use super::*;

    #[test]
    fn what_no_host_has_is_refused_and_a_mapped_address_is_that_of_ipv4() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::ffff:169.254.0.1",
        ] {
            let why = addresses(&[text.to_owned()]).unwrap_err();
            assert!(why.contains("not the address of a host"), "{text}: {why}");
        }
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            ("169.253.0.1", "169.253.0.1"),
            ("223.255.255.255", "223.255.255.255"),
            ("fec0::1", "fec0::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(addresses(&[text.to_owned()]), Ok(vec![expected.parse().unwrap()]), "{text}");
        }
    }
}
