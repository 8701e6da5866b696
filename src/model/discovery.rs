//! The tables `[discover.NAME]` of policy files: a source of endpoints that come and go by themselves, and what its
//! instances become. Values only. `config` reads them, the drivers of `discovery` follow the sources.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::SourceTls;
use crate::wire::Name;

/// One `[discover.NAME]` of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveredPool {
    /// The zone whose policy declares it.
    pub zone: Name,
    /// NAME.
    pub name: String,
    /// Where instances are listed.
    pub source: SourceSpec,
    /// The pool of the same policy that its instances fill; absent for a source that has only `overrides`.
    pub pool: Option<String>,
    /// The monitor of the same policy that checks its instances; `None`: what the source states alone.
    pub monitor: Option<String>,
    /// The name of an endpoint: `{name}`, `{address}`, `{port}` and `{region}` are replaced.
    pub names: String,
    /// What the values of an instance are read from.
    pub mappings: Mappings,
    /// What the source's own health is worth.
    pub health: HealthRule,
    /// Most instances; a source that lists more keeps those it had. 1 to [`MAX_INSTANCES`].
    pub max: usize,
    /// A source that suddenly lists less than this share of its instances keeps those it had, 0 to 1.
    pub min_keep: f64,
    /// What becomes of an instance whose address is the name of a host.
    pub hosts: HostRule,
    /// Whether an instance without a port can't be probed: the monitor has none.
    pub needs_port: bool,
    /// Whether an instance with the name of a host needs an address to probe.
    pub needs_probe: bool,
}

#[cfg(test)]
impl DiscoveredPool {
    /// A source of type dns that fills the pool `web` of `svc.example.`, with the defaults of its keys and no monitor.
    pub(crate) fn web() -> DiscoveredPool {
        let apex = Name::parse("svc.example.").unwrap();
        DiscoveredPool {
            zone: apex.clone(),
            name: "web".to_owned(),
            source: SourceSpec::Dns(DnsSource { name: apex, resolvers: Vec::new(), port: None }),
            pool: Some("web".to_owned()),
            monitor: None,
            names: "{name}".to_owned(),
            mappings: Mappings::default(),
            health: HealthRule::And,
            max: 1000,
            min_keep: 0.5,
            hosts: HostRule::Refused,
            needs_port: false,
            needs_probe: false,
        }
    }
}

impl DiscoveredPool {
    /// The files that its driver reads whenever it connects.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let (secret, tls) = match &self.source {
            SourceSpec::Consul(of) => (of.token_file.as_ref(), Some(&of.tls)),
            SourceSpec::Etcd(of) => (of.password_file.as_ref(), Some(&of.tls)),
            SourceSpec::Http(of) => (of.token_file.as_ref(), Some(&of.tls)),
            SourceSpec::Kubernetes(of) => match &of.access {
                KubernetesAccess::Address { token_file, tls, .. } => (token_file.as_ref(), Some(tls)),
                KubernetesAccess::Kubeconfig { file, .. } => (Some(file), None),
                KubernetesAccess::Pod => (None, None),
            },
            SourceSpec::Dns(_) => (None, None),
        };
        secret.into_iter().chain(tls.into_iter().flat_map(SourceTls::files))
    }

    /// Whether it reads the same as `other`, and makes the same of it. Only their names differ.
    pub fn is_renamed(&self, other: &DiscoveredPool) -> bool {
        self.name != other.name && DiscoveredPool { name: other.name.clone(), ..self.clone() } == *other
    }

    /// What distinguishes it from all others: its zone and its name.
    pub fn key(&self) -> (Name, String) {
        (self.zone.clone(), self.name.clone())
    }

    /// What it is called in the API, the log and events: `discover.web`.
    pub fn shown(&self) -> String {
        format!("discover.{}", self.name)
    }
}

/// The sources of `now` that are those of `before` under other names: pairs of indexes in `before` and `now`, each
/// index once.
pub fn renamed_sources(before: &[Arc<DiscoveredPool>], now: &[Arc<DiscoveredPool>]) -> Vec<(usize, usize)> {
    let has = |all: &[Arc<DiscoveredPool>], of: &DiscoveredPool| {
        all.iter().any(|other| (&other.zone, &other.name) == (&of.zone, &of.name))
    };
    let mut gone: Vec<usize> = (0..before.len()).filter(|at| !has(now, &before[*at])).collect();
    let mut pairs = Vec::new();
    for (at, source) in now.iter().enumerate().filter(|(_, source)| !has(before, source)) {
        if let Some(nth) = gone.iter().position(|old| before[*old].is_renamed(source)) {
            pairs.push((gone.remove(nth), at));
        }
    }
    pairs
}

/// Most instances of one source: as many as a name can have endpoints, see
/// [`MAX_ENDPOINTS`](crate::model::MAX_ENDPOINTS).
pub const MAX_INSTANCES: usize = 1024;

/// The source of a [`DiscoveredPool`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SourceSpec {
    /// `consul`
    Consul(ConsulSource),
    /// `etcd`
    Etcd(EtcdSource),
    /// `dns`
    Dns(DnsSource),
    /// `http`
    Http(HttpSource),
    /// `kubernetes`
    Kubernetes(KubernetesSource),
}

impl SourceSpec {
    /// The word of `type`.
    pub fn as_str(&self) -> &'static str {
        match self {
            SourceSpec::Consul(_) => "consul",
            SourceSpec::Etcd(_) => "etcd",
            SourceSpec::Dns(_) => "dns",
            SourceSpec::Http(_) => "http",
            SourceSpec::Kubernetes(_) => "kubernetes",
        }
    }
}

/// `type = "consul"`: the healthy and unhealthy instances of one service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConsulSource {
    /// The agent: `http://127.0.0.1:8500` or `https://HOST:PORT`; a path before `/v1` is possible.
    pub address: String,
    /// The service.
    pub service: String,
    /// The datacenters to read, all of them; empty: that of the agent.
    pub datacenters: Vec<String>,
    /// Only instances with this tag.
    pub tag: Option<String>,
    /// The file with the ACL token, for the header `X-Consul-Token`; read again with each connection.
    pub token_file: Option<PathBuf>,
    /// For `https`.
    pub tls: SourceTls,
}

/// `type = "etcd"`: the keys below a prefix, by the JSON gateway of etcd v3.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EtcdSource {
    /// The servers, `http://127.0.0.1:2379`; at least one. The next one is used when one fails.
    pub endpoints: Vec<String>,
    /// The beginning of the keys of instances; the rest of a key is the instance's name. `None`: only `overrides`.
    pub prefix: Option<String>,
    /// The keys that state overrides, with `{target}` once: `/services/{target}/status`.
    pub overrides: Option<String>,
    /// The user, if the servers want one.
    pub user: Option<String>,
    /// The file with the user's password; read again with each login.
    pub password_file: Option<PathBuf>,
    /// For `https`.
    pub tls: SourceTls,
}

/// `type = "dns"`: the SRV records of a name, or its A and AAAA records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsSource {
    /// The name. One that begins with `_` is looked up as SRV, and the targets as A and AAAA.
    pub name: Name,
    /// The resolvers, as `ADDRESS` or `ADDRESS:PORT`; empty: those of `/etc/resolv.conf`.
    pub resolvers: Vec<String>,
    /// The port of every instance, where the records have none.
    pub port: Option<u16>,
}

/// `type = "http"`: a list in the form of Prometheus's `http_sd`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpSource {
    /// Where the list is: `http://` or `https://`.
    pub url: String,
    /// From one request to the next, 1 s to 1 h.
    pub every: Duration,
    /// The file with a bearer token; read again with each request.
    pub token_file: Option<PathBuf>,
    /// For `https`.
    pub tls: SourceTls,
}

/// What a source of type `kubernetes` follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KubernetesResource {
    /// The pods of a Service.
    EndpointSlices,
    /// The addresses of Ingresses.
    Ingresses,
    /// The addresses of Gateways.
    Gateways,
}

impl KubernetesResource {
    /// All, with the word of `resource`, which is the plural of the API.
    pub const ALL: [(&str, KubernetesResource); 3] = [
        (KubernetesResource::EndpointSlices.as_str(), KubernetesResource::EndpointSlices),
        (KubernetesResource::Ingresses.as_str(), KubernetesResource::Ingresses),
        (KubernetesResource::Gateways.as_str(), KubernetesResource::Gateways),
    ];

    /// The plural of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            KubernetesResource::EndpointSlices => "endpointslices",
            KubernetesResource::Ingresses => "ingresses",
            KubernetesResource::Gateways => "gateways",
        }
    }

    /// The kind of an object.
    pub fn kind(self) -> &'static str {
        match self {
            KubernetesResource::EndpointSlices => "EndpointSlice",
            KubernetesResource::Ingresses => "Ingress",
            KubernetesResource::Gateways => "Gateway",
        }
    }

    /// The group of the API; its version is `v1`.
    pub fn group(self) -> &'static str {
        match self {
            KubernetesResource::EndpointSlices => "discovery.k8s.io",
            KubernetesResource::Ingresses => "networking.k8s.io",
            KubernetesResource::Gateways => "gateway.networking.k8s.io",
        }
    }
}

/// `type = "kubernetes"`: the EndpointSlices of a Service, or the addresses of Ingresses or Gateways.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KubernetesSource {
    /// Where the API is, and who this server is there.
    pub access: KubernetesAccess,
    /// The namespace of the objects; `None`: that of the context or of the pod, or else `default`.
    pub namespace: Option<String>,
    /// What is followed.
    pub resource: KubernetesResource,
    /// The Service of the EndpointSlices, or the name of the Ingress or Gateway; `None`: all of the namespace.
    pub selected: Option<String>,
    /// The name of the port that is probed, of a Gateway that of the listener; `None`: the first one.
    pub port_name: Option<String>,
    /// The regions of zones (`topology.kubernetes.io/zone`).
    pub zones: BTreeMap<String, String>,
}

/// Where the API of a cluster is, and who this server is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KubernetesAccess {
    /// The keys of the source say it.
    Address {
        /// `https://HOST:PORT`; a path before `/apis` is possible.
        address: String,
        /// The file with a bearer token; read again with each request.
        token_file: Option<PathBuf>,
        /// For `https`.
        tls: SourceTls,
    },
    /// A kubeconfig says it; read again with each request.
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// The context; `None`: the current one of the file.
        context: Option<String>,
    },
    /// The cluster in which this server is a pod says it, by variables of the environment and the files of the pod's
    /// service account.
    Pod,
}

/// What the values of an instance are read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Mappings {
    /// `region`.
    pub region: Mapping,
    /// `weight`.
    pub weight: Mapping,
    /// `country`.
    pub country: Mapping,
    /// `capacity`.
    pub capacity: Mapping,
    /// `probe`, of an instance with the name of a host.
    pub probe: Mapping,
}

/// What one value of an instance is read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Mapping {
    /// What the driver of the source takes by itself: the meta, label or JSON field of this name, where there is one.
    #[default]
    Usual,
    /// The same for all instances.
    Fixed(String),
    /// The meta (Consul), label (`http`) or JSON field (etcd) of this name.
    Field(String),
}

impl Mapping {
    /// The value of an instance. `usual` is the name of the field that is read without a mapping, and `field` returns
    /// the text of a field.
    pub fn value(&self, usual: &str, field: impl Fn(&str) -> Option<String>) -> Option<String> {
        match self {
            Mapping::Usual => field(usual),
            Mapping::Fixed(text) => Some(text.clone()),
            Mapping::Field(name) => field(name),
        }
    }
}

/// `hosts` of a source: what becomes of an instance whose address is the name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HostRule {
    /// It is left out: every endpoint has addresses.
    #[default]
    Refused,
    /// Its endpoint has a cname. Instances with addresses are endpoints too.
    Cname,
    /// Its endpoint has a cname. Instances with addresses are left out.
    Only,
}

/// `health` of a source: what its own health is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HealthRule {
    /// Shown, and not used: the monitor decides. Without a monitor it decides alone.
    Advice,
    /// An instance is up if the monitor and the source say so.
    #[default]
    And,
    /// The source decides alone. What the monitor measures is shown, and ranks by latency.
    Only,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, port: u16) -> Arc<DiscoveredPool> {
        let DiscoveredPool { zone, .. } = DiscoveredPool::web();
        let source = SourceSpec::Dns(DnsSource { name: zone, resolvers: Vec::new(), port: Some(port) });
        Arc::new(DiscoveredPool { name: name.to_owned(), source, ..DiscoveredPool::web() })
    }

    #[test]
    fn a_source_with_the_same_settings_and_another_name_is_renamed() {
        let before = [source("a", 1), source("b", 1), source("c", 3)];
        let pairs = |now: &[Arc<DiscoveredPool>]| renamed_sources(&before, now);
        assert_eq!(pairs(&before), []);
        assert_eq!(pairs(&[source("a", 1), source("x", 1), source("c", 3)]), [(1, 1)]);
        assert_eq!(pairs(&[source("x", 1), source("y", 1), source("z", 1)]), [(0, 0), (1, 1)], "each once");
        assert_eq!(pairs(&[source("a", 1), source("b", 1), source("c", 3), source("x", 3)]), [], "c is there still");
        assert_eq!(pairs(&[source("x", 4)]), [], "it reads another thing");
    }
}
