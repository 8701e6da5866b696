//! Service records (SRV, HTTPS, SVCB): the port and the target of each endpoint. The targets are names
//! `ENDPOINT.endpoints.ZONE`, which are added to the zone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::monitor::{MonitorSpec, PortRule};
use crate::config::spec::{EndpointSpec, NameSpec, PolicySpec};
use crate::config::validate::composite::leaves;
use crate::config::validate::declared::point_at;
use crate::masterfile::{CNAME, MasterFile};
use crate::model::{EndpointId, Facet, Model, Policy, Rrset, Service, ServiceTarget, SteeredName};
use crate::source::{At, Problems};
use crate::wire::{Name, NameError};

/// The label between the endpoints' own names and the apex.
const BELOW: &str = "endpoints";

/// The content of a name's service records. `endpoints` are those of its policy; the zone is the last one in the model.
pub(super) fn service(
    name: &NameSpec,
    spec: &PolicySpec,
    endpoints: &[EndpointId],
    facets: &[Facet],
    model: &Model,
    problems: &mut Problems,
) -> Service {
    let is_hinted = facets.iter().any(|facet| matches!(facet, Facet::Https | Facet::Svcb));
    if let Some(port) = name.service.port.as_ref().filter(|_| !facets.iter().any(|facet| facet.is_service())) {
        let problem = problems.warning(&port.place, "`port` does nothing here: only SRV, HTTPS and SVCB have one");
        problem.hint("add one of them to `types`, or leave it out");
    }
    if let Some(alpn) = name.service.alpn.as_ref().filter(|_| !is_hinted) {
        let problem = problems.warning(&alpn.place, "`alpn` does nothing here: only HTTPS and SVCB have it");
        problem.hint("add one of them to `types`, or leave it out");
    }
    let port = name.service.port.as_ref().map(|port| port.value);
    let alpn = name.service.alpn.as_ref().map_or_else(Vec::new, |alpn| alpn.value.clone());
    if !facets.iter().any(|facet| facet.is_service()) {
        return Service { port, alpn, targets: Vec::new() };
    }
    let targets = endpoints.iter().map(|id| {
        let endpoint = spec_of(spec, *id, model);
        let target = match &endpoint.cname {
            Some(target) => target.value.clone(),
            // An impossible name is a problem where the zone gets it.
            None => own_name(endpoint, spec).unwrap_or_else(|_| Name::root()).as_wire().into(),
        };
        ServiceTarget { name: target, port: port.or_else(|| probed_port(endpoint, spec)).unwrap_or(0) }
    });
    let targets: Vec<ServiceTarget> = targets.collect();
    let portless = endpoints.iter().zip(&targets).find(|(_, target)| target.port == 0);
    if let Some((id, _)) =
        portless.filter(|_| facets.contains(&Facet::Srv) && (name.service.port.is_some() || !name.has("port")))
    {
        let message =
            format!("`{}` answers SRV, but `{}` has no probed port", name.name.value, model.endpoint(*id).name);
        let place = name.types.as_ref().map_or(&name.name.place, |types| &types.place);
        problems.error(place, message).hint("write the `port` of the service, or give the endpoint a monitor with one");
    }
    Service { port, alpn, targets }
}

/// A CNAME excludes service records of the same name (RFC 1034, 3.6.2).
pub(super) fn check_aliases(
    name: &NameSpec,
    spec: &PolicySpec,
    endpoints: &[EndpointId],
    file: &MasterFile,
    model: &Model,
    problems: &mut Problems,
) {
    let Some(types) = &name.types else { return };
    let services: Vec<&Facet> = types.value.iter().filter(|facet| facet.is_service()).collect();
    let Some(service) = services.first() else { return };
    let alias = endpoints.iter().map(|id| model.endpoint(*id)).find(|e| e.stands_alone(Facet::Alias));
    if services.len() == types.value.len() {
        if let Some((_, at)) = file.rrset(&name.owner, CNAME) {
            let message = format!(
                "`{}` answers {}, but the zone file has a CNAME record of this name",
                name.name.value,
                service.as_str()
            );
            let problem = problems.error(&name.name.place, message).label(at, "this CNAME");
            problem.hint("a name with a CNAME can't have other records: remove it");
        }
    } else if let Some(alias) = alias {
        let message = format!(
            "`{}` can be answered with the cname `{}`, but answers {} too",
            name.name.value,
            alias.name,
            service.as_str()
        );
        let problem = problems.error(&types.place, message);
        point_at(problem, &alias.name, spec);
        problem.hint("a name with a CNAME can't have other records: remove that type, or A and AAAA");
    }
}

/// Adds the names that service records point at to the zone, with the addresses of their endpoints.
pub(super) fn add_targets(
    spec: &PolicySpec,
    file: &mut MasterFile,
    steered: &[SteeredName],
    model: &Model,
    problems: &mut Problems,
) {
    let mut owners: BTreeMap<Name, EndpointId> = BTreeMap::new();
    for (id, ttl) in pointed_at(steered, model) {
        let endpoint = spec_of(spec, id, model);
        let Some(At { value: addresses, .. }) = &endpoint.addresses else { continue };
        let owner = match own_name(endpoint, spec) {
            Ok(owner) => owner,
            Err(error) => {
                let message = format!("`{}` can't be a name of the zone: {error}", endpoint.name.value);
                problems
                    .error(&endpoint.name.place, message)
                    .hint("service records need the name NAME.endpoints in the zone: rename the endpoint");
                continue;
            }
        };
        if let Some(other) = owners.insert(owner.clone(), id) {
            let other = &model.endpoint(other).name;
            let message = format!("`{}` and `{other}` are both {owner}", endpoint.name.value);
            let problem = problems.error(&endpoint.name.place, message);
            point_at(problem, other, spec);
            problem.hint("service records need this name, and case doesn't count: rename one of them");
            continue;
        }
        if is_free(&owner, endpoint, spec, file, problems) {
            for facet in [Facet::V4, Facet::V6] {
                add(&owner, facet, addresses, ttl, endpoint, file, problems);
            }
        }
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

/// Whether records can point at `owner`: it is not steered, delegated or an alias.
fn is_free(
    owner: &Name,
    endpoint: &EndpointSpec,
    spec: &PolicySpec,
    file: &MasterFile,
    problems: &mut Problems,
) -> bool {
    let (is, at) = if let Some(name) = spec.names.iter().find(|name| name.owner == *owner) {
        ("steered", &name.name.place)
    } else if let Some((_, at)) = file.rrset(owner, CNAME) {
        ("a CNAME in the zone file", at)
    } else if let Some((_, at)) = file.delegation(owner) {
        ("delegated in the zone file", at)
    } else if let Some((_, at)) = file.dname(owner) {
        ("renamed by a DNAME in the zone file", at)
    } else {
        return true;
    };
    let message = format!("service records need the name {owner} for `{}`, but it is {is}", endpoint.name.value);
    let problem = problems.error(&endpoint.name.place, message).label(at, "what takes that name");
    problem.hint("rename the endpoint, or remove that");
    false
}

fn add(
    owner: &Name,
    facet: Facet,
    addresses: &[IpAddr],
    ttl: u32,
    endpoint: &EndpointSpec,
    file: &mut MasterFile,
    problems: &mut Problems,
) {
    let octets = |ip: &IpAddr| -> Option<Box<[u8]>> {
        match (facet, ip) {
            (Facet::V4, IpAddr::V4(ip)) => Some(ip.octets().into()),
            (Facet::V6, IpAddr::V6(ip)) => Some(ip.octets().into()),
            (Facet::V4 | Facet::V6 | Facet::Alias | Facet::Srv | Facet::Https | Facet::Svcb, _) => None,
        }
    };
    let rdatas: Vec<Box<[u8]>> = addresses.iter().filter_map(octets).collect();
    match file.rrset(owner, facet.rtype()) {
        Some((written, _)) if written.rdatas == rdatas => {}
        Some((_, at)) => {
            let rtype = facet.as_str();
            let name = &endpoint.name;
            let message = format!(
                "service records need the name {owner} for `{}`, but the zone file has other {rtype} records for it",
                name.value
            );
            let problem = problems.error(&name.place, message).label(at, format!("these {rtype} records"));
            problem.hint("remove them: the server adds the endpoint's addresses by itself");
        }
        None if rdatas.is_empty() => {}
        None => file.rrsets.push(Rrset { owner: owner.clone(), rtype: facet.rtype(), ttl, rdatas }),
    }
}

/// `ENDPOINT.endpoints.ZONE`.
fn own_name(endpoint: &EndpointSpec, spec: &PolicySpec) -> Result<Name, NameError> {
    Name::parse_under(&format!("{}.{BELOW}", endpoint.name.value), &spec.zone.value)
}

/// The endpoint as it is written; the zone is the last one in the model.
fn spec_of<'s>(spec: &'s PolicySpec, id: EndpointId, model: &Model) -> &'s EndpointSpec {
    let first = model.endpoints.len() - spec.endpoints.len();
    &spec.endpoints[id.0 as usize - first]
}

/// The probed port of the endpoint.
fn probed_port(endpoint: &EndpointSpec, spec: &PolicySpec) -> Option<u16> {
    let At { value: name, .. } = endpoint.monitor.as_ref()?;
    let monitor = spec.monitors.iter().find(|monitor| monitor.name.value == *name)?;
    let leaves = leaves(monitor, &spec.monitors);
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
