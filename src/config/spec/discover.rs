//! `[discover.NAME]`: endpoints that come and go by themselves, and where they are listed.

mod kind;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::fields::Head;
use crate::config::keys::{
    KeyKind as _, Table, TypeWord as _, accepted, boolean, check_name, choice, custom, duration, inline, integer, keys,
    name, number, text, texts,
};
use crate::model::{
    ConsulSource, DiscoveredPool, DnsSource, EtcdSource, HealthRule, HostRule, HttpSource, KubernetesAccess,
    KubernetesResource, KubernetesSource, MAX_INSTANCES, Mapping, Mappings, Pem, SourceSpec, SourceTls,
};
use crate::source::{At, ManualSection, Problems};
use crate::wire::Name;
pub(in crate::config) use kind::SourceType;
use kind::SourceType::{Consul, Dns, Etcd, Http, Kubernetes};
use kind::source_type;
use values::{
    base_url, check_resolver, file, looked_up, mapping, mapping_schema, plain, target_template, template, url,
    zone_regions, zone_regions_schema,
};

/// Most servers, resolvers or datacenters of a source (judgment: a cluster of etcd has at most seven members).
const MAX_LIST: usize = 16;
/// The most and the least time between requests for a list.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// How often a list is requested by default: as `refresh_interval` of Prometheus's file form, halved twice, because a
/// client waits.
const USUAL_EVERY: Duration = Duration::from_secs(5);

/// `health`.
const RULES: [(&str, HealthRule); 3] =
    [("advice", HealthRule::Advice), ("and", HealthRule::And), ("only", HealthRule::Only)];

/// `hosts`.
const HOSTS: [(&str, HostRule); 3] =
    [("refused", HostRule::Refused), ("cname", HostRule::Cname), ("only", HostRule::Only)];
/// The types whose instances may have the names of hosts.
const OF_HOSTS: [SourceType; 4] = [Consul, Etcd, Kubernetes, Http];

keys! {
    /// `[discover.NAME]`.
    DiscoverSpec {
        /// where the endpoints are listed: `"consul"` · `"etcd"` · `"kubernetes"` · `"dns"` · `"http"`
        "type" of: SourceType = text("\"consul\"").parsed(source_type)
            .with_schema(|| choice(SourceType::ALL, "").schema()),
            required "write `type = \"consul\"`, or another source: etcd, kubernetes, dns, http";
        /// the pool of this file that the endpoints fill, after its listed members, in the order of their names. It may
        /// have no `members` then
        pool: String = name("\"web\"");
        /// the monitor that checks them. Without one, the source's own health decides alone
        monitor: String = name("\"web\""), note "none: the source decides";
        /// what the source's own health is worth, together with a monitor: `"and"` both must call it up · `"advice"` it
        /// is shown, the monitor decides · `"only"` it decides, the monitor is shown
        health: HealthRule = choice(&RULES, "a use of the source's health"), default HealthRule::And;
        /// what the endpoints are called: `{name}`, `{address}`, `{port}` and `{region}` are replaced; characters that
        /// a name can't have become `-`. Names of the file go first
        names: String = text("\"web-{name}\"").parsed(template), note "`\"{name}\"`";
        /// a region for all, or `{ meta = "region" }`: the meta (Consul), label (http) or JSON field (etcd) to read it
        /// from
        region: Mapping = custom(mapping, mapping_schema), note "the field `region`";
        /// likewise
        weight: Mapping = custom(mapping, mapping_schema), note "the field `weight`, or 1";
        /// likewise
        country: Mapping = custom(mapping, mapping_schema), note "the field `country`";
        /// likewise
        capacity: Mapping = custom(mapping, mapping_schema), note "the field `capacity`";
        /// what becomes of an instance whose address is the name of a host: `"refused"` it is left out · `"only"` it
        /// is answered as a CNAME, and instances with addresses are left out · `"cname"` it is answered as a CNAME, and
        /// instances with addresses are endpoints too, where a pool may have both
        [Consul, Etcd, Kubernetes, Http] hosts: HostRule = choice(&HOSTS, "a rule for the names of hosts"),
            default HostRule::Refused;
        /// with `hosts`: the address to probe an instance with the name of a host at, `"192.0.2.1"` or with a port: one
        /// for all, or a field of the instance. With a monitor it needs one, except for heartbeats
        [Consul, Etcd, Kubernetes, Http] probe: Mapping = custom(mapping, mapping_schema), note "the field `probe`";
        /// most endpoints; a source that lists more keeps those it had, and is `bad`
        max: usize = integer(1..=MAX_INSTANCES as i64), default 1000;
        /// when the source lists less than this share of what it had a minute ago, what disappeared stays, until
        /// `portolan reload --confirm-removal`; 0 to 1, 0: never
        min_keep: f64 = number(0.0..=1.0, "0.5"), default 0.5;
        /// consul: the agent, `"http://127.0.0.1:8500"` or `https`. kubernetes: the API, `"https://10.0.0.1:6443"`,
        /// where no `kubeconfig` says it
        [Consul, Kubernetes] address: String = text("\"http://127.0.0.1:8500\"").parsed(base_url),
            note "kubernetes: that of the cluster in which this server is a pod";
        /// kubernetes: a kubeconfig, which says where the API is and who this server is there, relative to this file;
        /// it is read again for each request
        [Kubernetes] kubeconfig: String = text("\"eu.kubeconfig\"").parsed(file);
        /// kubernetes: the context of the kubeconfig
        [Kubernetes] context: String = text("\"eu\"").parsed(plain), note "its `current-context`";
        /// consul, kubernetes: the service
        [Consul, Kubernetes] service: String = text("\"web\"").parsed(plain);
        /// kubernetes: what is followed: `"endpointslices"` the pods of a service · `"ingresses"`, `"gateways"` the
        /// addresses that they have
        [Kubernetes] resource: KubernetesResource = choice(&KubernetesResource::ALL, "a resource of Kubernetes"),
            default KubernetesResource::EndpointSlices;
        /// kubernetes: the name of the Ingress or Gateway
        [Kubernetes] object: String = text("\"shop\"").parsed(plain), note "all of the namespace";
        /// consul: the datacenters to read, all together
        [Consul] datacenters: Vec<At<String>> = texts("[\"dc1\"]"), note "the agent's own";
        /// consul: only instances with this tag
        [Consul] tag: String = text("\"public\"").parsed(plain);
        /// kubernetes: the namespace of the service, or of the objects
        [Kubernetes] namespace: String = text("\"shop\"").parsed(plain),
            note "that of the context or the pod, or `\"default\"`";
        /// kubernetes: the name of the port to probe, of a Gateway that of the listener
        [Kubernetes] port_name: String = text("\"http\"").parsed(plain), note "the first one";
        /// kubernetes: the regions of zones, `{ eu-west-1a = "eu-west" }`: the field `region` of an endpoint
        [Kubernetes] zones: BTreeMap<String, String> = custom(zone_regions, zone_regions_schema);
        /// consul, kubernetes, http: a file with the token, relative to this file; it is read again for each connection
        [Consul, Kubernetes, Http] token_file: String = text("\"token\"").parsed(file);
        /// etcd: the servers
        [Etcd] endpoints: Vec<At<String>> = texts("[\"http://127.0.0.1:2379\"]");
        /// etcd: the beginning of the keys; the rest of a key is the name, the value `IP:PORT` or JSON with `address`,
        /// `port`, and the fields that are mapped
        [Etcd] prefix: String = text("\"/services/web/\"").parsed(plain);
        /// etcd: keys that set overrides, `{target}` once: `"/services/{target}/status"`, see
        /// [docs/discovery.md](../docs/discovery.md)
        [Etcd] overrides: String = text("\"/services/{target}/status\"").parsed(target_template);
        /// etcd: the user
        [Etcd] user: String = text("\"portolan\"").parsed(plain);
        /// etcd: the file with the user's password, relative to this file
        [Etcd] password_file: String = text("\"etcd-password\"").parsed(file);
        /// dns: the name to look up. One that begins with `_` is looked up as SRV, any other as A and AAAA
        [Dns] "name" queried: Name = text("\"_http._tcp.web.internal.\"").parsed(looked_up);
        /// dns: the resolvers, `"192.0.2.53"` or with a port
        [Dns] resolvers: Vec<At<String>> = texts("[\"192.0.2.53\"]"), note "those of /etc/resolv.conf";
        /// dns: the port to probe, where the records have none
        [Dns] port: u16 = integer(1..=65_535);
        /// http: the list, in the form of Prometheus's `http_sd`
        [Http] url: String = text("\"https://inventory.internal/targets.json\"").parsed(url);
        /// http: how often the list is requested, 1 s to 1 h
        [Http] every: Duration = duration(EVERY, "\"5s\""), note "`\"5s\"`";
        /// consul, etcd, kubernetes, http: `{ ca = "ca.pem", cert = "me.pem", key = "me.key", verify = true }`, files
        /// relative to this file
        [Consul, Etcd, Kubernetes, Http] tls: TlsFileKeys = inline("{ ca = \"ca.pem\" }");
    }
}

keys! {
    /// `tls` of a source.
    TlsFileKeys {
        /// the authorities to trust
        ca: String = text("\"ca.pem\"").parsed(file), note "the system's";
        /// the client's certificate
        cert: String = text("\"client.pem\"").parsed(file);
        /// its key
        key: String = text("\"client.key\"").parsed(file);
        /// whether the server's certificate is checked
        verify: bool = boolean(), default true;
    }
}

impl Table for TlsFileKeys {
    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        if self.has("cert") != self.has("key") {
            let problem = problems.error(&self.head.name.place, "`cert` and `key` of `tls` belong together");
            problem.hint("write both, or leave both out");
        }
        true
    }
}

impl Table for DiscoverSpec {
    const SECTION: Option<ManualSection> = Some(ManualSection::Discover);

    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        let name = self.head.name.clone();
        check_name(&name, "a source", problems);
        // What refers to it is no further problem.
        let Some(of) = self.of.as_ref().map(|at| at.value) else { return true };
        if of == Kubernetes {
            self.check_access(problems);
            self.check_resource(problems);
        }
        let has_overrides = of == Etcd && self.has("overrides");
        let address = ("address", "write `address = \"http://127.0.0.1:8500\"`");
        let service = ("service", "write `service = \"web\"`");
        let endpoints = ("endpoints", "write `endpoints = [\"http://127.0.0.1:2379\"]`");
        let needed: &[(&str, &str)] = match of {
            Consul => &[address, service],
            Kubernetes if *self.resource != KubernetesResource::EndpointSlices => &[],
            Kubernetes => &[service],
            Etcd if has_overrides => &[endpoints],
            Etcd => &[endpoints, ("prefix", "write `prefix = \"/services/web/\"`")],
            Dns => &[("name", "write `name = \"web.internal.\"`")],
            Http => &[("url", "write `url = \"http://inventory.internal/targets.json\"`")],
        };
        of.check(self, "", needed, problems);
        if self.lacks("pool") && !(has_overrides && self.lacks("prefix")) {
            let problem = problems.error(&name.place, format!("{} has no `pool`", self.what()));
            problem.hint("write `pool = \"NAME\"`: the pool that its endpoints fill");
        }
        for (key, list) in
            [("datacenters", &self.datacenters), ("endpoints", &self.endpoints), ("resolvers", &self.resolvers)]
        {
            let Some(At { value: list, place }) = list else { continue };
            if list.is_empty() || list.len() > MAX_LIST {
                problems.error(place, format!("`{key}` must have 1 to {MAX_LIST} entries"));
            }
        }
        for endpoint in self.endpoints.iter().flat_map(|at| &at.value) {
            accepted(base_url(&endpoint.value), &endpoint.place, problems);
        }
        for resolver in self.resolvers.iter().flat_map(|at| &at.value) {
            accepted(check_resolver(&resolver.value), &resolver.place, problems);
        }
        if let (Some(place), HostRule::Refused, true) = (self.place_of("probe"), *self.hosts, OF_HOSTS.contains(&of)) {
            let problem =
                problems.warning(place, "`probe` does nothing without `hosts`: addresses are probed themselves");
            problem.hint("leave it out, or write `hosts = \"cname\"` or `hosts = \"only\"`");
        }
        let is_empty_health = self.monitor.is_none() && self.health.place.is_some() && *self.health != HealthRule::Only;
        if is_empty_health && let Some(place) = &self.health.place {
            let problem =
                problems.warning(place, "`health` does nothing without a `monitor`: the source decides alone");
            problem.hint("leave it out, or write `monitor = \"NAME\"`");
        }
        true
    }
}

impl DiscoverSpec {
    /// The table.
    pub(in crate::config) fn head(&self) -> &Head {
        &self.head
    }

    /// The errors of keys that exclude each other, or belong to another one.
    fn check_access(&self, problems: &mut Problems) {
        if self.has("kubeconfig") {
            for key in ["address", "token_file", "tls"] {
                let Some(place) = self.place_of(key) else { continue };
                let problem = problems.error(place, format!("`{key}` and `kubeconfig` exclude each other"));
                problem.hint("the kubeconfig says it: leave one of them out");
            }
            return;
        }
        if let Some(place) = self.place_of("context") {
            problems.error(place, "`context` is for `kubeconfig`, and there is none").hint("write `kubeconfig` too");
        }
        for key in ["token_file", "tls"].into_iter().filter(|_| self.lacks("address")) {
            let Some(place) = self.place_of(key) else { continue };
            let problem = problems.error(place, format!("`{key}` is for `address`, and there is none"));
            problem.hint("write `address = \"https://10.0.0.1:6443\"`; a pod has a token and a certificate of its own");
        }
    }

    /// The errors of keys that another `resource` has.
    fn check_resource(&self, problems: &mut Problems) {
        let keys: &[&str] = match *self.resource {
            KubernetesResource::EndpointSlices => &["object"],
            KubernetesResource::Ingresses => &["service", "zones", "port_name"],
            KubernetesResource::Gateways => &["service", "zones"],
        };
        for key in keys {
            let Some(place) = self.place_of(key) else { continue };
            let message = format!("`{key}` does nothing with resource = \"{}\"", self.resource.as_str());
            let hint = match *key {
                "object" => "it names an Ingress or a Gateway: write `service`, or another `resource`",
                "service" => "write `object = \"NAME\"`, or nothing for all of the namespace",
                "port_name" => "an Ingress has no port: write `port` in the monitor",
                _ => "write `region`: a fixed text, or { label = \"NAME\" } for a label of the object",
            };
            problems.error(place, message).hint(hint);
        }
    }

    /// The source for the model; `None` if something of it is wrong. Files are relative to `dir`. Whether it needs a
    /// port depends on its monitor.
    pub(in crate::config) fn discovered(&self, zone: &Name, dir: &Path) -> Option<DiscoveredPool> {
        let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
        let list = |at: &Option<At<Vec<At<String>>>>| {
            at.iter().flat_map(|at| &at.value).map(|at| at.value.clone()).collect::<Vec<String>>()
        };
        let path = |at: &Option<At<String>>| text(at).map(|path| dir.join(path));
        let tls = self.tls.as_ref().map_or_else(SourceTls::default, |at| at.value.files(dir));
        let source = match self.of.as_ref()?.value {
            Consul => SourceSpec::Consul(ConsulSource {
                address: text(&self.address)?,
                service: text(&self.service)?,
                datacenters: list(&self.datacenters),
                tag: text(&self.tag),
                token_file: path(&self.token_file),
                tls,
            }),
            Etcd => SourceSpec::Etcd(EtcdSource {
                endpoints: list(&self.endpoints),
                prefix: text(&self.prefix),
                overrides: text(&self.overrides),
                user: text(&self.user),
                password_file: path(&self.password_file),
                tls,
            }),
            Kubernetes => SourceSpec::Kubernetes(KubernetesSource {
                access: match (path(&self.kubeconfig), text(&self.address)) {
                    (Some(file), _) => KubernetesAccess::Kubeconfig { file, context: text(&self.context) },
                    (None, Some(address)) => {
                        KubernetesAccess::Address { address, token_file: path(&self.token_file), tls }
                    }
                    (None, None) => KubernetesAccess::Pod,
                },
                namespace: text(&self.namespace),
                resource: *self.resource,
                selected: match *self.resource {
                    KubernetesResource::EndpointSlices => Some(text(&self.service)?),
                    KubernetesResource::Ingresses | KubernetesResource::Gateways => text(&self.object),
                },
                port_name: text(&self.port_name),
                zones: self.zones.as_ref().map(|at| at.value.clone()).unwrap_or_default(),
            }),
            Dns => SourceSpec::Dns(DnsSource {
                name: self.queried.as_ref()?.value.clone(),
                resolvers: list(&self.resolvers),
                port: self.port.as_ref().map(|at| at.value),
            }),
            Http => SourceSpec::Http(HttpSource {
                url: text(&self.url)?,
                every: self.every.as_ref().map_or(USUAL_EVERY, |at| at.value),
                token_file: path(&self.token_file),
                tls,
            }),
        };
        let mapping = |at: &Option<At<Mapping>>| at.as_ref().map(|at| at.value.clone()).unwrap_or_default();
        Some(DiscoveredPool {
            zone: zone.clone(),
            name: self.head.name.value.clone(),
            source,
            pool: text(&self.pool),
            monitor: text(&self.monitor),
            names: text(&self.names).unwrap_or_else(|| "{name}".to_owned()),
            mappings: Mappings {
                region: mapping(&self.region),
                weight: mapping(&self.weight),
                country: mapping(&self.country),
                capacity: mapping(&self.capacity),
                probe: mapping(&self.probe),
            },
            health: *self.health,
            max: *self.max,
            min_keep: *self.min_keep,
            hosts: *self.hosts,
            needs_port: false,
            needs_probe: false,
        })
    }
}

impl TlsFileKeys {
    fn files(&self, dir: &Path) -> SourceTls {
        let file = |at: &Option<At<String>>| at.as_ref().map(|at| Pem::in_dir(dir, &at.value));
        SourceTls {
            ca: file(&self.ca),
            cert: file(&self.cert),
            key: file(&self.key),
            verify: *self.verify,
            server_name: None,
        }
    }
}
