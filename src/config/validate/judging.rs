//! Names with a `monitor` of their own. It checks the endpoints of the name's pool for this name. Endpoints that only
//! `on_empty` refers to are another service; their own monitors check them.

use std::collections::{HashMap, HashSet};

use crate::config::monitor::MonitorSpec;
use crate::config::spec::{EndpointSpec, NameSpec, PolicySpec, PoolSpec};
use crate::config::validate::composite::leaves;
use crate::model::{EndpointId, Model, OwnMonitor};
use crate::source::{At, ManualSection, Problems};

/// A name whose monitor checks an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    /// The monitor, as the name refers to it.
    pub(super) monitor: &'a At<String>,
    /// The name.
    pub(super) label: &'a At<String>,
}

/// For each endpoint the names that check it, one for each monitor that is not the endpoint's own.
#[derive(Debug, Default)]
pub(super) struct Judging<'a> {
    by_endpoint: HashMap<&'a str, Vec<Judge<'a>>>,
}

impl<'a> Judging<'a> {
    pub(super) fn of(spec: &'a PolicySpec) -> Judging<'a> {
        let mut judging = Judging::default();
        if spec.names.iter().all(|name| name.monitor.is_none()) {
            return judging;
        }
        let pools: HashMap<&str, &PoolSpec> = spec.pools.iter().map(|pool| (pool.name.value.as_str(), pool)).collect();
        let own: HashMap<&str, Option<&str>> = spec
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.name.value.as_str(), endpoint.monitor.as_ref().map(|at| at.value.as_str())))
            .collect();
        for name in &spec.names {
            let (label, Some((monitor, pool))) = (&name.name, name.monitor.as_ref().zip(name.pool.as_ref())) else {
                continue;
            };
            for endpoint in below(&pool.value, &pools) {
                let judges = judging.by_endpoint.entry(endpoint).or_default();
                let is_own = own.get(endpoint).is_some_and(|own| *own == Some(monitor.value.as_str()));
                if !is_own && judges.iter().all(|judge| judge.monitor.value != monitor.value) {
                    judges.push(Judge { monitor, label });
                }
            }
        }
        judging
    }

    /// The names that check this endpoint, one for each monitor.
    pub(super) fn of_endpoint(&self, endpoint: &str) -> &[Judge<'a>] {
        self.by_endpoint.get(endpoint).map_or(&[], Vec::as_slice)
    }
}

/// The names of all endpoints below a pool. Each pool is visited once, because loops are not found yet.
fn below<'a>(root: &'a str, pools: &HashMap<&'a str, &'a PoolSpec>) -> Vec<&'a str> {
    let (mut found, mut known, mut left) = (Vec::new(), HashSet::new(), vec![root]);
    while let Some(next) = left.pop() {
        if !known.insert(next) {
            continue;
        }
        match pools.get(next) {
            Some(pool) => left.extend(pool.members().iter().map(|member| member.value.to.value.as_str())),
            None => found.push(next),
        }
    }
    found
}

/// Finds endpoints that the monitor of a name can't probe, or probes on another port than its own.
pub(super) fn check_probe(
    spec: &EndpointSpec,
    judge: &Judge<'_>,
    monitor: &MonitorSpec,
    all: &PolicySpec,
    problems: &mut Problems,
) {
    let (endpoint, name, label) = (&spec.name.value, &judge.monitor.value, &judge.label.value);
    let leaves = leaves(monitor, all);
    let is_probed = leaves.iter().any(|leaf| leaf.monitor.body.is_some() && leaf.monitor.heartbeat().is_none());
    match (&spec.probe, &spec.cname) {
        (None, Some(_)) if is_probed => {
            let message = format!(
                "`{label}` checks the cname `{endpoint}` by monitor `{name}`, but no address to probe is known"
            );
            let problem = problems.error(&judge.monitor.place, message).see(ManualSection::Name);
            problem.label(&spec.name.place, format!("endpoint `{endpoint}`"));
            problem.hint(format!(
                "write `probe = \"ADDRESS:PORT\"` in the endpoint, or take it out of the pool of `{label}`"
            ));
        }
        (Some(probe), _) => {
            let (Some(port), Some(own)) = (probe.value.1, monitor.port()) else { return };
            if port != own {
                let message =
                    format!("`{label}` checks `{endpoint}` on port {port}, not on port {own} of monitor `{name}`");
                let problem = problems.warning(&judge.monitor.place, message).see(ManualSection::Name);
                problem.label(&probe.place, "this port replaces that of every monitor");
                problem.hint("leave the port out of `probe`, so that each monitor probes its own");
            }
        }
        (None, Some(_) | None) => {}
    }
}

/// The monitor of a name with its checks of `endpoints`, which are those of its pool. `None`: the name has no monitor,
/// or it makes no difference.
pub(super) fn own_monitor(name: &NameSpec, endpoints: &[EndpointId], model: &Model) -> Option<OwnMonitor> {
    let written = name.monitor.as_ref()?;
    let mut checks = Vec::new();
    for id in endpoints {
        for side in &model.endpoint(*id).answerables {
            let judged = side.judged.iter().find(|judged| *judged.monitor == *written.value);
            checks.extend(judged.map(|judged| ((*id, side.facet), judged.check)));
        }
    }
    checks.sort_unstable_by_key(|(side, _)| *side);
    (!checks.is_empty()).then(|| OwnMonitor { name: written.value.clone(), checks })
}
