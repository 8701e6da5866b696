//! Whose health changed from one snapshot to the next, for logs, events and counters. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{Answerable, CheckId, Endpoint, EndpointId, Health, WorldView};
use crate::snapshot::Snapshot;
use crate::snapshot::remap::{Map, endpoints_by_name};

/// An endpoint's health changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// When, in Unix seconds.
    pub at: f64,
    /// The endpoint's zone, with its final dot.
    pub zone: String,
    /// Its name.
    pub endpoint: String,
    /// Its region.
    pub region: Option<String>,
    /// Health before.
    pub from: Health,
    /// Health after.
    pub to: Health,
    /// The reason, for people.
    pub why: String,
    /// The generation that is served.
    pub generation: u64,
    /// The monitor, where it is the monitor of a name; `None`: the endpoint's own health changed.
    pub monitor: Option<String>,
}

/// Every endpoint that both snapshots know and whose health differs: by its own monitor, and by those of names. Within
/// one model it costs what changed.
pub(crate) fn between(old: &Snapshot, new: &Snapshot, at: f64) -> Vec<Transition> {
    let same_model = Arc::ptr_eq(&old.model, &new.model);
    let by_name = if same_model { Map::default() } else { endpoints_by_name(&old.model) };
    let earlier = |id: EndpointId, endpoint: &Endpoint| match same_model {
        true => old.model.endpoints.get(id.0 as usize),
        false => by_name.get(&(&new.model.zone(endpoint.zone).apex, &*endpoint.name)).map(|id| old.model.endpoint(*id)),
    };
    let mut changed = Vec::new();
    for id in candidates(old, new, same_model) {
        let endpoint = new.model.endpoint(id);
        let Some(earlier) = earlier(id, endpoint) else { continue };
        for monitor in monitors(endpoint) {
            let (from, to) = (health(&old.view, earlier, monitor), health(&new.view, endpoint, monitor));
            let Some((from, to)) = from.zip(to).filter(|(from, to)| from != to) else { continue };
            changed.push(Transition {
                at,
                zone: new.model.zone(endpoint.zone).apex.to_string(),
                endpoint: endpoint.name.clone(),
                region: endpoint.region.map(|id| new.model.region(id).name.clone()),
                from,
                to,
                why: why(new, endpoint, monitor, to),
                generation: new.generation,
                monitor: monitor.map(str::to_owned),
            });
        }
    }
    changed
}

/// The endpoints of `new` whose health may differ, in the order of the files.
fn candidates(old: &Snapshot, new: &Snapshot, same_model: bool) -> BTreeSet<EndpointId> {
    if !same_model {
        return (0..new.model.endpoints.len() as u32).map(EndpointId).collect();
    }
    let changed = new.view.checks.changed_since(&old.view.checks);
    let others = changed.filter(|(_, old, new)| old.health != new.health).map(|(check, ..)| check);
    new.dependencies.endpoints_of(others)
}

/// The monitors that judge an endpoint: `None` for its own, then those of names.
fn monitors(endpoint: &Endpoint) -> impl Iterator<Item = Option<&str>> {
    let judged = || endpoint.answerables.iter().flat_map(|side| &side.judged);
    let is_first = move |at: usize, monitor: &str| judged().take(at).all(|other| *other.monitor != *monitor);
    let named = judged().enumerate().filter(move |(at, judged)| is_first(*at, &judged.monitor));
    std::iter::once(None).chain(named.map(|(_, judged)| Some(&*judged.monitor)))
}

/// Health of an endpoint by a monitor: Up if any of its sides is Up, else Down if any is Down. `None` where the monitor
/// doesn't judge it.
fn health(view: &WorldView, endpoint: &Endpoint, monitor: Option<&str>) -> Option<Health> {
    if monitor.is_none() {
        return Some(view.endpoint(endpoint));
    }
    let by_side: Vec<Health> = checks(endpoint, monitor).map(|id| view.check(id).health).collect();
    let first = [Health::Up, Health::Down, Health::Unknown];
    first.into_iter().find(|health| by_side.contains(health))
}

/// The checks of an endpoint by a monitor.
fn checks<'e>(endpoint: &'e Endpoint, monitor: Option<&'e str>) -> impl Iterator<Item = CheckId> {
    let all = endpoint.answerables.iter().flat_map(Answerable::named_checks);
    all.filter(move |(name, _)| *name == monitor).map(|(_, check)| check)
}

/// The first reason that a vantage reports for `health`, or else the vantages that report it; only of those that are
/// counted.
fn why(snapshot: &Snapshot, endpoint: &Endpoint, monitor: Option<&str>, health: Health) -> String {
    let (model, view) = (&snapshot.model, &snapshot.view);
    let evidence = checks(endpoint, monitor).flat_map(|id| view.evidence.of(model, id, view.at));
    let evidence: Vec<_> = evidence.filter(|e| e.health == health && e.is_counted).collect();
    let reason = evidence.iter().find_map(|e| Some(format!("{} (seen by {})", e.why.as_deref()?, e.vantage)));
    let vantages = || evidence.iter().map(|e| &*e.vantage).collect::<BTreeSet<_>>();
    reason.unwrap_or_else(|| match evidence.is_empty() {
        true => "no vantage has a fresh verdict".to_string(),
        false => format!("seen {} by {}", health.as_str(), vantages().into_iter().collect::<Vec<_>>().join(", ")),
    })
}
