//! Service records (SRV, HTTPS, SVCB): the port and the target of each endpoint. The targets are names
//! `ENDPOINT.endpoints.ZONE`, which are added to the zone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::monitor::{MonitorSpec, PortRule};
use crate::config::spec::{EndpointSpec, PolicySpec};
use crate::config::validate::composite::leaves;
use crate::config::validate::context::{NameContext, ZoneContext};
use crate::masterfile::CNAME;
use crate::model::{EndpointId, Facet, Model, Policy, Rrset, Service, ServiceTarget, SteeredName};
use crate::source::{At, Problems};
use crate::wire::{Name, NameError};

/// The label between the endpoints' own names and the apex.
const BELOW: &str = "endpoints";

impl NameContext<'_> {
    /// The content of its service records. The first `own` endpoints are those of its pool, which its own monitor
    /// checks.
    pub(super) fn service(&self, own: usize, problems: &mut Problems) -> Service {
        let is_service = self.facets.iter().any(|facet| facet.is_service());
        let written = &self.name.service;
        if let Some(port) = written.port.as_ref().filter(|_| !is_service) {
            let problem = problems.warning(&port.place, "`port` does nothing here: only SRV, HTTPS and SVCB have one");
            problem.hint("add one of them to `types`, or leave it out");
        }
        if let Some(alpn) = written.alpn.as_ref().filter(|_| !self.has(Facet::Https) && !self.has(Facet::Svcb)) {
            let problem = problems.warning(&alpn.place, "`alpn` does nothing here: only HTTPS and SVCB have it");
            problem.hint("add one of them to `types`, or leave it out");
        }
        let port = written.port.as_ref().map(|port| port.value);
        let alpn = written.alpn.as_ref().map_or_else(Vec::new, |alpn| alpn.value.clone());
        if !is_service {
            return Service { port, alpn, targets: Vec::new() };
        }
        let target = |(at, id): (usize, &EndpointId)| {
            let endpoint = self.endpoint_spec(*id);
            let monitor = self.name.monitor.as_ref().filter(|_| at < own).or(endpoint.monitor.as_ref());
            let probed = || probed_port(endpoint, &monitor?.value, self.spec);
            let target = match &endpoint.cname {
                Some(target) => target.value.clone(),
                // An impossible name is a problem where the zone gets it.
                None => own_name(endpoint, self.spec).unwrap_or_else(|_| Name::root()).as_wire().into(),
            };
            ServiceTarget { name: target, port: port.or_else(probed).unwrap_or(0) }
        };
        let targets: Vec<ServiceTarget> = self.endpoints.iter().enumerate().map(target).collect();
        let portless = self.endpoints().zip(&targets).find(|(_, target)| target.port == 0);
        let is_readable = written.port.is_some() || !self.name.has("port");
        if let Some((endpoint, _)) = portless.filter(|_| self.has(Facet::Srv) && is_readable) {
            let name = &self.name.name;
            // The instance that stands for all of a source when a file is checked is nothing that the user wrote.
            let whose = match &endpoint.discovered {
                Some(discovered) => {
                    let source = self.model.sources.get(discovered.source as usize);
                    format!("an instance of [discover.{}]", source.map_or("NAME", |source| &source.name))
                }
                None => format!("`{}`", endpoint.name),
            };
            let message = format!("`{}` answers SRV, but {whose} has no probed port", name.value);
            let problem = problems.error(self.name.types.as_ref().map_or(&name.place, |types| &types.place), message);
            problem.hint("write the `port` of the service, or give the endpoint a monitor with one");
        }
        Service { port, alpn, targets }
    }

    /// A CNAME excludes service records of the same name (RFC 1034, 3.6.2).
    pub(super) fn check_aliases(&self, problems: &mut Problems) {
        let Some(types) = &self.name.types else { return };
        let Some(service) = types.value.iter().find(|facet| facet.is_service()).map(|facet| facet.as_str()) else {
            return;
        };
        let name = &self.name.name;
        if types.value.iter().all(|facet| facet.is_service()) {
            if let Some((_, at)) = self.file.rrset(&self.name.owner, CNAME) {
                let message =
                    format!("`{}` answers {service}, but the zone file has a CNAME record of this name", name.value);
                let problem = problems.error(&name.place, message).label(at, "this CNAME");
                problem.hint("a name with a CNAME can't have other records: remove it");
            }
        } else if let Some(alias) = self.endpoints().find(|endpoint| endpoint.stands_alone(Facet::Alias)) {
            let message =
                format!("`{}` can be answered with the cname `{}`, but answers {service} too", name.value, alias.name);
            let problem = problems.error(&types.place, message);
            self.point_at(problem, &alias.name);
            problem.hint("a name with a CNAME can't have other records: remove that type, or A and AAAA");
        }
    }
}

impl ZoneContext<'_> {
    /// The addresses of the names that service records point at, to add to the zone.
    pub(super) fn targets(&self, steered: &[SteeredName], problems: &mut Problems) -> Vec<Rrset> {
        let mut owners: BTreeMap<Name, EndpointId> = BTreeMap::new();
        let mut rrsets = Vec::new();
        for (id, ttl) in pointed_at(steered, self.model) {
            let endpoint = self.endpoint_spec(id);
            let At { value: name, place } = &endpoint.name;
            let Some(At { value: addresses, .. }) = &endpoint.addresses else { continue };
            let owner = match own_name(endpoint, self.spec) {
                Ok(owner) => owner,
                Err(error) => {
                    let problem = problems.error(place, format!("`{name}` can't be a name of the zone: {error}"));
                    problem.hint("service records need the name NAME.endpoints in the zone: rename the endpoint");
                    continue;
                }
            };
            if let Some(other) = owners.insert(owner.clone(), id) {
                let other = &self.model.endpoint(other).name;
                let problem = problems.error(place, format!("`{name}` and `{other}` are both {owner}"));
                self.point_at(problem, other);
                problem.hint("service records need this name, and case doesn't count: rename one of them");
                continue;
            }
            if self.is_free(&owner, &endpoint.name, problems) {
                for facet in [Facet::V4, Facet::V6] {
                    let rdatas: Vec<_> = addresses.iter().filter_map(|ip| octets(facet, *ip)).collect();
                    let rrset = Rrset { owner: owner.clone(), rtype: facet.rtype(), ttl, rdatas };
                    rrsets.extend(self.is_new(&rrset, facet, &endpoint.name, problems).then_some(rrset));
                }
            }
        }
        rrsets
    }

    /// Whether records can point at `owner`: it is not steered, delegated or an alias.
    fn is_free(&self, owner: &Name, endpoint: &At<String>, problems: &mut Problems) -> bool {
        let (is, at) = if let Some(name) = self.spec.steered(owner) {
            ("steered", &name.name.place)
        } else if let Some((_, at)) = self.file.rrset(owner, CNAME) {
            ("a CNAME in the zone file", at)
        } else if let Some((_, at)) = self.file.delegation(owner) {
            ("delegated in the zone file", at)
        } else if let Some((_, at)) = self.file.dname(owner) {
            ("renamed by a DNAME in the zone file", at)
        } else {
            return true;
        };
        let message = format!("service records need the name {owner} for `{}`, but it is {is}", endpoint.value);
        let problem = problems.error(&endpoint.place, message).label(at, "what takes that name");
        problem.hint("rename the endpoint, or remove that");
        false
    }

    /// Whether the zone needs these records of `endpoint` and has no others in their place.
    fn is_new(&self, rrset: &Rrset, facet: Facet, endpoint: &At<String>, problems: &mut Problems) -> bool {
        let Some((written, at)) = self.file.rrset(&rrset.owner, rrset.rtype) else { return !rrset.rdatas.is_empty() };
        if written.rdatas != rrset.rdatas {
            let (owner, name, rtype) = (&rrset.owner, &endpoint.value, facet.as_str());
            let message = format!(
                "service records need the name {owner} for `{name}`, but the zone file has other {rtype} records for it"
            );
            let problem = problems.error(&endpoint.place, message).label(at, format!("these {rtype} records"));
            problem.hint("remove them: the server adds the endpoint's addresses by itself");
        }
        false
    }
}

/// The content of an A or AAAA record.
fn octets(facet: Facet, ip: IpAddr) -> Option<Box<[u8]>> {
    match (facet, ip) {
        (Facet::V4, IpAddr::V4(ip)) => Some(ip.octets().into()),
        (Facet::V6, IpAddr::V6(ip)) => Some(ip.octets().into()),
        (Facet::V4 | Facet::V6 | Facet::Alias | Facet::Srv | Facet::Https | Facet::Svcb, _) => None,
    }
}

/// The endpoints that service records point at, and the TTL of their addresses: not longer than that of any such
/// record.
fn pointed_at(steered: &[SteeredName], model: &Model) -> BTreeMap<EndpointId, u32> {
    let mut found: BTreeMap<EndpointId, u32> = BTreeMap::new();
    let mut policies: Vec<_> = steered.iter().map(|name| name.policy).collect();
    policies.sort_unstable_by_key(|policy| policy.0);
    policies.dedup();
    for policy in policies.into_iter().map(|id| model.policy(id)).filter(|policy| points_away(policy)) {
        let ttl = u32::try_from(policy.ttl.max.as_secs()).unwrap_or(u32::MAX);
        for id in &policy.endpoints {
            found.entry(*id).and_modify(|least| *least = ttl.min(*least)).or_insert(ttl);
        }
    }
    found
}

/// Whether its records point at names of endpoints. HTTPS and SVCB point at their own owner, if that has addresses.
fn points_away(policy: &Policy) -> bool {
    let has = |facet| policy.facets.contains(&facet);
    has(Facet::Srv) || ((has(Facet::Https) || has(Facet::Svcb)) && !has(Facet::V4) && !has(Facet::V6))
}

/// `ENDPOINT.endpoints.ZONE`.
fn own_name(endpoint: &EndpointSpec, spec: &PolicySpec) -> Result<Name, NameError> {
    Name::parse_under(&format!("{}.{BELOW}", endpoint.name.value), &spec.zone.value)
}

/// The port of an endpoint that a monitor probes.
fn probed_port(endpoint: &EndpointSpec, monitor: &str, spec: &PolicySpec) -> Option<u16> {
    let monitor = spec.monitor(monitor)?;
    let leaves = leaves(monitor, spec);
    let is_whole = monitor.composite().is_some();
    leaves.iter().find_map(|leaf| port_of(leaf.monitor, endpoint, is_whole))
}

/// The port that `monitor` probes, alone or within a composite.
fn port_of(monitor: &MonitorSpec, endpoint: &EndpointSpec, is_within: bool) -> Option<u16> {
    if monitor.monitor().is_none() || monitor.port_rule == PortRule::Without {
        return None;
    }
    let (own, usual) = (monitor.port(), monitor.port_rule.usual());
    let of_probe = endpoint.probe.as_ref().and_then(|probe| probe.value.1);
    if is_within { own.or(of_probe).or(usual) } else { of_probe.or(own).or(usual) }
}
