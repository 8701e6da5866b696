//! Endpoints and their checks. There is one check for each distinct (monitor, address) of all zones.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::monitor::{CompositeSpec, MonitorSpec};
use crate::config::regions;
use crate::config::spec::{EndpointSpec, PolicySpec};
use crate::config::validate::Builder;
use crate::config::validate::composite::{self, Leaf, leaves};
use crate::config::validate::declared::Declared;
use crate::config::validate::judging::{self, Judge, Judging};
use crate::model::monitor::composite::{MAX_COMPOSITE_DEPTH, PartKey};
use crate::model::{
    AdminState, AnswerRdata, Answerable, Check, CheckId, CheckKey, Composite, Endpoint, Facet, Judged, Monitor,
    ProbeKind, ProbeTarget, ZoneId,
};
use crate::source::{At, ManualSection, Place, Problems};

/// Makes the endpoints of one policy file.
pub(super) struct Checker<'a, 's> {
    pub(super) monitors: &'a mut Declared<'s, &'s MonitorSpec>,
    all: &'s PolicySpec,
    /// The zone's name, with the final dot.
    zone: String,
    /// The monitors that names have of their own.
    judging: &'a Judging<'s>,
    /// Monitors whose missing port is reported already.
    portless: HashSet<&'s str>,
    /// Whether each composite is bounded: see [`composite::is_bounded`].
    bounded: HashMap<&'s str, bool>,
    /// The names of monitors that checks refer to. All share one text.
    names: HashMap<String, Arc<str>>,
    /// Whether a check of the last endpoint has the port that a source states.
    pub(super) has_stated_port: bool,
}

impl<'a, 's> Checker<'a, 's> {
    pub(super) fn new(
        spec: &'s PolicySpec,
        judging: &'a Judging<'s>,
        monitors: &'a mut Declared<'s, &'s MonitorSpec>,
    ) -> Checker<'a, 's> {
        let (zone, portless, names) = (spec.zone.value.to_string(), HashSet::new(), HashMap::new());
        Checker { monitors, all: spec, zone, judging, portless, bounded: HashMap::new(), names, has_stated_port: false }
    }

    /// The endpoint as the model has it. Its checks are added to the builder.
    pub(super) fn endpoint(
        &mut self,
        spec: &EndpointSpec,
        zone: ZoneId,
        builder: &mut Builder,
        problems: &mut Problems,
    ) -> Endpoint {
        let region = spec.region.as_ref().and_then(|name| regions::find(&builder.model.regions, name, problems));
        let monitor = spec.monitor.as_ref().and_then(|name| self.monitors.find(name, problems).copied());
        let judges = self.judging.of_endpoint(&spec.name.value);
        if let (None, [], Some(probe)) = (&spec.monitor, judges, &spec.probe) {
            let problem = problems.warning(&probe.place, "`probe` does nothing without a `monitor`");
            problem.hint("write `monitor = \"NAME\"`, or leave it out");
        }
        if let (Some(written), Some(monitor)) = (&spec.monitor, monitor) {
            check_probe(spec, written, &leaves(monitor, self.all), problems);
        }
        self.has_stated_port = false;
        let mut answerables = Vec::new();
        let judges: Vec<(&At<String>, &MonitorSpec)> =
            judges.iter().filter_map(|judge| Some((judge.monitor, self.judge(spec, judge, problems)?))).collect();
        for (facet, rdata, own) in answers(spec) {
            let ip = spec.probe.as_ref().map(|probe| probe.value.0).or(own);
            let mut side = Answerable::new(facet, rdata, None);
            if *spec.state != AdminState::Disabled {
                let place = spec.monitor.as_ref().map(|at| &at.place);
                side.check =
                    monitor.and_then(|monitor| self.check((spec, place), monitor, ip, None, builder, problems));
                for (written, monitor) in &judges {
                    let check = self.check((spec, Some(&written.place)), monitor, ip, None, builder, problems);
                    let monitor = self.name_of(&written.value);
                    side.judged.extend(check.map(|check| Judged { monitor, check }));
                }
            }
            answerables.push(side);
        }
        Endpoint {
            region,
            weight: *spec.weight,
            state: *spec.state,
            country: spec.country.as_ref().map(|at| at.value),
            capacity: spec.capacity.as_ref().map(|at| at.value),
            ramp: *spec.ramp,
            ..Endpoint::new(spec.name.value.clone(), zone, answerables)
        }
    }

    /// The name of a monitor, shared.
    fn name_of(&mut self, monitor: &str) -> Arc<str> {
        match self.names.get(monitor) {
            Some(name) => Arc::clone(name),
            None => Arc::clone(self.names.entry(monitor.to_owned()).or_insert_with(|| monitor.into())),
        }
    }

    /// The monitor that a name has for this endpoint. A probe that is not possible is a problem.
    fn judge(&self, spec: &EndpointSpec, judge: &Judge<'s>, problems: &mut Problems) -> Option<&'s MonitorSpec> {
        let monitor = self.monitors.get(&judge.monitor.value).copied()?;
        judging::check_probe(spec, judge, monitor, self.all, problems);
        Some(monitor)
    }

    /// The check of an endpoint by a monitor. `within`: how many composites are above the monitor.
    fn check(
        &mut self,
        (spec, named_at): (&EndpointSpec, Option<&Place>),
        monitor: &'s MonitorSpec,
        ip: Option<IpAddr>,
        within: Option<usize>,
        builder: &mut Builder,
        problems: &mut Problems,
    ) -> Option<CheckId> {
        let probe_port = spec.probe.as_ref().and_then(|probe| probe.value.1);
        if let Some(keys) = monitor.composite() {
            let all = self.all;
            let of_all = || composite::is_bounded(monitor, all);
            if within.is_none() && !*self.bounded.entry(&monitor.name.value).or_insert_with(of_all) {
                // `composite` reports it.
                return None;
            }
            return self.composite((spec, named_at), keys, ip, within.unwrap_or(0), builder, problems);
        }
        let model = monitor.monitor_of(&self.zone, &spec.name.value)?;
        let usual = monitor.port_rule.usual();
        // The monitors of a composite have different ports. So there the port of the endpoint is only for those
        // without one.
        let stated = || self.all.injected(&spec.name.value).and_then(|(_, stated)| stated.port);
        let port = match within {
            None => probe_port.or(monitor.port()).or_else(stated).or(usual),
            Some(_) => monitor.port().or(probe_port).or_else(stated).or(usual),
        };
        let is_by_port = !matches!(model.kind, ProbeKind::Icmp | ProbeKind::Heartbeat(_));
        self.has_stated_port |= is_by_port && probe_port.or(monitor.port()).is_none();
        let target = match (&model.kind, ip, port) {
            (ProbeKind::Heartbeat(_), _, _) => ProbeTarget::Nowhere,
            // A problem of the endpoint.
            (_, None, _) => return None,
            (ProbeKind::Icmp, Some(ip), _) | (ProbeKind::Exec(_), Some(ip), None) => ProbeTarget::Host(ip),
            (_, Some(ip), Some(port)) => ProbeTarget::Socket(SocketAddr::new(ip, port)),
            (_, Some(_), None) => {
                if self.portless.insert(&monitor.name.value) {
                    let message =
                        format!("monitor `{}` is of type {} and has no port", monitor.name.value, model.kind.as_str());
                    let problem = problems.error(&monitor.name.place, message).see(ManualSection::Monitor);
                    if let Some(place) = named_at {
                        problem.label(place, format!("what probes `{}`", spec.name.value));
                    }
                    problem.hint("write `port = 5432`");
                }
                return None;
            }
        };
        builder.check(CheckKey { monitor: model, target }, Vec::new())
    }

    /// The check of a composite. The checks that it combines are added before it. `depth` composites are above it.
    fn composite(
        &mut self,
        of: (&EndpointSpec, Option<&Place>),
        keys: &'s CompositeSpec,
        ip: Option<IpAddr>,
        depth: usize,
        builder: &mut Builder,
        problems: &mut Problems,
    ) -> Option<CheckId> {
        // A composite that contains itself: `composite` reports it.
        if depth >= MAX_COMPOSITE_DEPTH {
            return None;
        }
        let (mut ids, mut parts) = (Vec::new(), Vec::new());
        for member in &keys.members {
            let monitor = self.monitors.get(&member.value).copied()?;
            let id = self.check(of, monitor, ip, Some(depth + 1), builder, problems)?;
            ids.push(id);
            let key = Arc::clone(&builder.model.checks[id.0 as usize].key);
            parts.push(PartKey { name: self.name_of(&member.value), key });
        }
        let kind = ProbeKind::Composite(Composite { rule: keys.rule, parts });
        // Nothing is sent, so there are no times.
        let (interval, timeout, hold_down) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let monitor = Monitor { interval, timeout, fall: 1, rise: 1, hold_down, damping: false, ..Monitor::new(kind) };
        builder.check(CheckKey { monitor: monitor.into(), target: ProbeTarget::Nowhere }, ids)
    }
}

/// A cname that is probed needs `probe`; an endpoint that is not probed must not have it.
fn check_probe(spec: &EndpointSpec, written: &At<String>, leaves: &[Leaf<'_>], problems: &mut Problems) {
    let is_heartbeat = leaves.iter().all(|leaf| leaf.monitor.body.is_none() || leaf.monitor.heartbeat().is_some());
    match (&spec.probe, &spec.cname) {
        (Some(probe), _) if is_heartbeat => {
            let problem = problems.warning(&probe.place, "`probe` does nothing with a heartbeat: nothing is sent");
            problem.hint("leave it out");
        }
        (None, Some(_)) if !is_heartbeat => {
            let name = &spec.name.value;
            let message = format!("`{name}` is a cname with a monitor, but no address to probe is known");
            problems.error(&written.place, message).hint("write `probe = \"ADDRESS:PORT\"`, or leave out `monitor`");
        }
        (Some(_) | None, Some(_) | None) => {}
    }
}

impl Builder {
    /// The check with this key. A new one if there is none, or `None` if the zone has too many.
    fn check(&mut self, key: CheckKey, parts: Vec<CheckId>) -> Option<CheckId> {
        if let Some(id) = self.checks.get(&key) {
            return Some(*id);
        }
        if !self.costs.add(&key.monitor) {
            return None;
        }
        let (key, id) = (Arc::new(key), CheckId(self.model.checks.len() as u32));
        self.model.checks.push(Check { key: Arc::clone(&key), parts });
        self.checks.insert(key, id);
        Some(id)
    }
}

/// The answers of an endpoint: facet, content, and the address to probe.
fn answers(spec: &EndpointSpec) -> Vec<(Facet, AnswerRdata, Option<IpAddr>)> {
    let facet = |ip: &IpAddr| if ip.is_ipv4() { Facet::V4 } else { Facet::V6 };
    let addresses = spec.addresses.iter().flat_map(|at| &at.value);
    let addresses = addresses.map(|ip| (facet(ip), AnswerRdata::Address(*ip), Some(*ip)));
    let cname = spec.cname.iter().map(|at| (Facet::Alias, AnswerRdata::Cname(at.value.clone()), None));
    addresses.chain(cname).collect()
}
