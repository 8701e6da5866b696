//! What all sources state at one moment, and what it means for the endpoints of a model. Pure.
//!
//! A model is made of the sets of a moment, and takes a while to make. What sources state after that counts at once: an
//! endpoint that is not listed any more is withdrawn in the next view, before the next model is without it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::discovery::endpoints::StatedEndpoints;
use crate::discovery::leaving::{ReachedAt, is_it, joined, lists, reached};
use crate::model::{
    CheckTable, CheckView, DiscoveredEndpoint, DiscoveredSets, Endpoint, EndpointId, Health, HealthRule, Model, Stated,
    StatedByEndpoint,
};
use crate::wire::Name;

/// Identifies a source: its zone, and its name in it.
pub type SourceKey = (Name, String);

/// What all sources state. A source that is not in it is not known yet.
#[derive(Debug, Clone, Default)]
pub struct Stating {
    /// By source.
    pub by_source: BTreeMap<SourceKey, Arc<SourceStating>>,
}

/// What one source states.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceStating {
    /// Its endpoints.
    pub stated: StatedEndpoints,
    /// Since when each is listed, by its name, Unix seconds.
    pub since: HashMap<String, f64>,
    /// What it does not list any more, and stays: see [`leaving`](crate::discovery::leaving).
    pub leaving: Vec<Arc<DiscoveredEndpoint>>,
}

impl Stating {
    /// The endpoints for the next model.
    pub fn sets(&self) -> DiscoveredSets {
        let set = |(key, source): (&SourceKey, &Arc<SourceStating>)| {
            (key.clone(), joined(&source.stated.endpoints, &source.leaving))
        };
        self.by_source.iter().map(set).collect()
    }

    /// What is stated of the endpoints of `model`. `checks` has what is measured of them.
    pub fn over(&self, model: &Model, checks: &CheckTable) -> StatedByEndpoint {
        let shown: Vec<Arc<str>> = model.sources.iter().map(|source| source.shown().into()).collect();
        let of_source: Vec<Option<&Arc<SourceStating>>> =
            model.sources.iter().map(|source| self.by_source.get(&source.key())).collect();
        let left: Vec<HashMap<ReachedAt<'_>, Vec<&DiscoveredEndpoint>>> = of_source
            .iter()
            .map(|source| source.map_or_else(HashMap::new, |source| by_reached(&source.leaving)))
            .collect();
        let mut all = StatedByEndpoint::new();
        for (id, endpoint) in (0..).map(EndpointId).zip(&model.endpoints) {
            let Some(discovered) = &endpoint.discovered else { continue };
            let at = discovered.source as usize;
            let (Some(source), Some(Some(stating)), Some(shown)) =
                (model.sources.get(at), of_source.get(at), shown.get(at))
            else {
                continue;
            };
            let of = &*discovered.endpoint;
            if !lists(&stating.stated, of, discovered.is_probed_there) {
                let same = left.get(at).and_then(|left| left.get(&reached(of)));
                let stated = if same.is_some_and(|same| same.iter().any(|left| is_it(left, of))) {
                    judged(source.health, endpoint, None, (shown, checks))
                        .map_or_else(|| Stated::Leaving { source: shown.clone() }, |view| Stated::Judged(view.into()))
                } else {
                    Stated::Withdrawn { source: shown.clone() }
                };
                all.insert(id, stated);
                continue;
            }
            let down = stating.stated.down.get(&endpoint.name);
            let view = judged(source.health, endpoint, down, (shown, checks));
            all.extend(view.map(|view| (id, Stated::Judged(Arc::new(view)))));
        }
        all
    }
}

fn by_reached(leaving: &[Arc<DiscoveredEndpoint>]) -> HashMap<ReachedAt<'_>, Vec<&DiscoveredEndpoint>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for left in leaving {
        all.entry(reached(left)).or_default().push(&**left);
    }
    all
}

/// The verdict of the source on an endpoint that it lists, where that counts before the measured one. `down`: the
/// source states that it is down, with its reason.
fn judged(
    rule: HealthRule,
    endpoint: &Endpoint,
    down: Option<&Option<String>>,
    (shown, checks): (&Arc<str>, &CheckTable),
) -> Option<CheckView> {
    let measured = endpoint.answerables.iter().flat_map(|side| side.checks()).next();
    let rtts = || measured.and_then(|check| checks.get(check.0 as usize)).map(|view| view.rtts.clone());
    match (rule, measured, down) {
        (HealthRule::Advice, Some(_), _) | (HealthRule::And, Some(_), None) | (_, None, None) => None,
        (HealthRule::Only, Some(_), None) => Some(CheckView {
            health: Health::Up,
            tried: true,
            rtts: rtts().unwrap_or_default(),
            ..CheckView::default()
        }),
        (HealthRule::And | HealthRule::Only, Some(_), Some(why)) | (_, None, Some(why)) => {
            let why = why.as_deref().unwrap_or("it is stated to be down");
            Some(CheckView {
                health: Health::Down,
                tried: true,
                rtts: rtts().unwrap_or_default(),
                cause: Some((why.into(), shown.clone())),
                ..CheckView::default()
            })
        }
    }
}
