//! Endpoints, and the checks that judge them: one for each distinct (monitor, address), over all zones.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::manual::Section;
use crate::config::problem::{Problems, did_you_mean};
use crate::config::regions;
use crate::config::source::At;
use crate::config::spec::{EndpointSpec, KindSpec, MonitorSpec, PolicySpec, Serves};
use crate::config::validate::Builder;
use crate::model::{
    AdminState, AnswerRdata, Answerable, Check, CheckId, CheckKey, Endpoint, ExecSpec, Facet, Monitor, ProbeKind,
    ProbeTarget, ZoneId,
};

/// Makes the endpoints of one policy file.
pub(super) struct Checker<'a> {
    monitors: HashMap<&'a str, &'a MonitorSpec>,
    used: &'a mut HashSet<String>,
    /// Monitors whose missing port was told.
    portless: HashSet<&'a str>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(spec: &'a PolicySpec, used: &'a mut HashSet<String>) -> Checker<'a> {
        let monitors = spec.monitors.iter().map(|monitor| (monitor.name.value.as_str(), monitor)).collect();
        Checker { monitors, used, portless: HashSet::new() }
    }

    /// The endpoint as the model has it; its checks are added to the builder's.
    pub(super) fn endpoint(
        &mut self,
        spec: &EndpointSpec,
        zone: ZoneId,
        builder: &mut Builder,
        problems: &mut Problems,
    ) -> Endpoint {
        let region = spec.region.as_ref().and_then(|name| regions::find(&builder.model.regions, name, problems));
        let monitor = spec.monitor.as_ref().and_then(|name| self.find(name, problems));
        if let (None, Some(probe)) = (&spec.monitor, &spec.probe) {
            let problem = problems.warning(&probe.place, "`probe` does nothing without a `monitor`");
            problem.hint("write `monitor = \"NAME\"`, or leave it out");
        }
        let mut answerables = Vec::new();
        for (facet, rdata, own) in answers(spec.serves.as_ref()) {
            let ip = spec.probe.as_ref().map(|probe| probe.value.0).or(own);
            let probed = monitor.filter(|_| spec.state != AdminState::Disabled).zip(ip);
            let check = probed.and_then(|(monitor, ip)| self.check(spec, monitor, ip, builder, problems));
            answerables.push(Answerable { facet, rdata, check });
        }
        Endpoint {
            region,
            weight: spec.weight,
            state: spec.state,
            country: spec.country,
            capacity: spec.capacity,
            ..Endpoint::new(spec.name.value.clone(), zone, answerables)
        }
    }

    fn find(&mut self, written: &At<String>, problems: &mut Problems) -> Option<&'a MonitorSpec> {
        let found = self.monitors.get(written.value.as_str()).copied();
        match found {
            Some(_) => {
                self.used.insert(written.value.clone());
            }
            None => {
                let mut known: Vec<&str> = self.monitors.keys().copied().collect();
                known.sort_unstable();
                let problem = problems.error(&written.place, format!("there is no monitor `{}`", written.value));
                let declare = format!("declare it: [monitor.{}]", written.value);
                problem.hint = did_you_mean(&written.value, known).or(Some(declare));
            }
        }
        found
    }

    fn check(
        &mut self,
        spec: &EndpointSpec,
        monitor: &'a MonitorSpec,
        ip: IpAddr,
        builder: &mut Builder,
        problems: &mut Problems,
    ) -> Option<CheckId> {
        let probe_port = spec.probe.as_ref().and_then(|probe| probe.value.1);
        let (kind, usual) = match monitor.kind.as_ref()? {
            KindSpec::Icmp => (ProbeKind::Icmp, None),
            KindSpec::Tcp => (ProbeKind::Tcp, None),
            KindSpec::Http(http) => (ProbeKind::Http(http.clone()), Some(80)),
            KindSpec::Https(http, certificate) => (ProbeKind::Https(http.clone(), *certificate), Some(443)),
            KindSpec::Tls(tls) => (ProbeKind::Tls(tls.clone()), Some(443)),
            KindSpec::Dns(dns) => (ProbeKind::Dns(dns.clone()), Some(53)),
            KindSpec::Grpc(grpc) => (ProbeKind::Grpc(grpc.clone()), None),
            KindSpec::Exec(exec) => {
                (ProbeKind::Exec(ExecSpec { endpoint: spec.name.value.clone(), ..exec.clone() }), None)
            }
        };
        let port = probe_port.or(monitor.port).or(usual);
        let target = match (&kind, port) {
            (ProbeKind::Icmp, _) | (ProbeKind::Exec(_), None) => ProbeTarget::Host(ip),
            (_, Some(port)) => ProbeTarget::Socket(SocketAddr::new(ip, port)),
            (_, None) => {
                if self.portless.insert(&monitor.name.value) {
                    let message =
                        format!("monitor `{}` is of type {} and has no port", monitor.name.value, kind.as_str());
                    let problem = problems.error(&monitor.name.place, message).see(Section::Monitor);
                    if let Some(at) = &spec.monitor {
                        problem.label(&at.place, format!("what probes `{}`", spec.name.value));
                    }
                    problem.hint("write `port = 5432`");
                }
                return None;
            }
        };
        let MonitorSpec { interval, timeout, adaptive, fall, rise, hold_down, damping, hold, .. } = *monitor;
        let monitor = Monitor { kind, interval, timeout, adaptive, fall, rise, hold_down, damping, hold };
        let key = CheckKey { monitor, target };
        Some(builder.check(key))
    }
}

impl Builder {
    /// The check of this key, a new one or the one there is.
    fn check(&mut self, key: CheckKey) -> CheckId {
        if let Some(id) = self.checks.get(&key) {
            return *id;
        }
        let (key, id) = (Arc::new(key), CheckId(self.model.checks.len() as u32));
        self.model.checks.push(Check { key: Arc::clone(&key) });
        self.checks.insert(key, id);
        id
    }
}

/// What an endpoint is answered with: facet, content, and the address that would be probed.
fn answers(serves: Option<&Serves>) -> Vec<(Facet, AnswerRdata, Option<IpAddr>)> {
    let facet = |ip: &IpAddr| if ip.is_ipv4() { Facet::V4 } else { Facet::V6 };
    match serves {
        None => Vec::new(),
        Some(Serves::Addresses(list)) => {
            list.iter().map(|ip| (facet(ip), AnswerRdata::Address(*ip), Some(*ip))).collect()
        }
        Some(Serves::Cname(wire)) => vec![(Facet::Alias, AnswerRdata::Cname(wire.clone()), None)],
    }
}
