//! What changed from one snapshot to the next, for logs, events and counters; pure.

use std::collections::HashMap;

use crate::model::{Endpoint, Health, Model, WorldView};
use crate::snapshot::Snapshot;
use crate::wire::Name;

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
    /// What speaks for it, in words.
    pub why: String,
    /// The generation that was being served.
    pub generation: u64,
}

/// Every endpoint that both snapshots know and whose health differs.
pub(crate) fn between(old: &Snapshot, new: &Snapshot, at: f64) -> Vec<Transition> {
    let same_model = std::sync::Arc::ptr_eq(&old.model, &new.model);
    let before: HashMap<(&Name, &str), &Endpoint> =
        if same_model { HashMap::new() } else { old.model.endpoints.iter().map(|e| (key(&old.model, e), e)).collect() };
    let earlier = |index: usize, endpoint: &Endpoint| {
        if same_model { old.model.endpoints.get(index) } else { before.get(&key(&new.model, endpoint)).copied() }
    };
    let changed = new.model.endpoints.iter().enumerate().filter_map(|(index, endpoint)| {
        let from = old.view.endpoint(earlier(index, endpoint)?);
        let to = new.view.endpoint(endpoint);
        (from != to).then(|| Transition {
            at,
            zone: new.model.zone(endpoint.zone).apex.to_string(),
            endpoint: endpoint.name.clone(),
            region: endpoint.region.map(|id| new.model.region(id).name.clone()),
            from,
            to,
            why: why(&new.view, endpoint, to),
            generation: new.generation,
        })
    });
    changed.collect()
}

fn key<'m>(model: &'m Model, endpoint: &'m Endpoint) -> (&'m Name, &'m str) {
    (&model.zone(endpoint.zone).apex, &endpoint.name)
}

/// The first reason that a vantage gives for a verdict of `health`, or who says so when none has words for it.
fn why(view: &WorldView, endpoint: &Endpoint, health: Health) -> String {
    let checks = endpoint.answerables.iter().filter_map(|a| a.check).map(|id| view.check(id));
    let said: Vec<_> = checks.flat_map(|check| &check.evidence).filter(|e| e.health == health).collect();
    let words = said.iter().find_map(|e| Some(format!("{} (seen by {})", e.why.as_deref()?, e.vantage)));
    let vantages = || said.iter().map(|e| &*e.vantage).collect::<std::collections::BTreeSet<_>>();
    words.unwrap_or_else(|| match said.is_empty() {
        true => "no vantage has a fresh verdict".to_string(),
        false => format!("seen {} by {}", health.as_str(), vantages().into_iter().collect::<Vec<_>>().join(", ")),
    })
}
