//! What the steering task does with the sources: it adds what they state to each view, and loads the next generation
//! when their sets have changed. A load takes a while, so there is a pause between two of them; what is withdrawn
//! counts at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::discovery::Stating;
use crate::discovery::endpoints::InstanceRules;
use crate::model::{CheckTable, DiscoveredPool, DiscoveredSets, HealthRule, Model, Moment, StatedByEndpoint};
use crate::wire::Name;

/// The least pause between two loads because of sources (judgment: a deployment changes many instances within it).
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// The longest (judgment: a new instance waits no longer, however large the model is).
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the hub follows, and what it needs to judge instances.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct WantedSources {
    pub(super) sources: Vec<Arc<DiscoveredPool>>,
    /// The declared regions.
    regions: Arc<BTreeSet<String>>,
    /// The names of endpoints and pools that files have, by the zone.
    names: BTreeMap<Name, Arc<BTreeSet<String>>>,
}

impl WantedSources {
    /// The sources of a model.
    pub(super) fn of(model: &Model) -> WantedSources {
        if model.sources.is_empty() {
            return WantedSources::default();
        }
        let regions = model.regions.iter().map(|region| region.name.clone()).collect();
        WantedSources { sources: model.sources.clone(), regions: Arc::new(regions), names: model.own_names.clone() }
    }

    /// The rules for the instances of one of them.
    pub(super) fn rules(&self, spec: &Arc<DiscoveredPool>) -> InstanceRules {
        let names = self.names.get(&spec.zone).cloned().unwrap_or_default();
        InstanceRules { spec: spec.clone(), regions: self.regions.clone(), names }
    }
}

/// The side of the steering task.
pub(crate) struct Following {
    stating: watch::Receiver<Arc<Stating>>,
    want: watch::Sender<WantedSources>,
    confirm: mpsc::Sender<()>,
    /// The sets of the last load.
    loaded: Arc<DiscoveredSets>,
    /// Whether the sets are other ones.
    is_due: bool,
    /// When the last load began.
    begun: Moment,
    /// No load before this.
    not_before: Moment,
    /// What was resolved last, and of what.
    resolved: Option<Resolved>,
}

/// What is stated of the endpoints of a model.
struct Resolved {
    model: Arc<Model>,
    stating: Arc<Stating>,
    stated: Arc<StatedByEndpoint>,
}

impl Following {
    /// `model` is that of the start.
    pub(super) fn new(
        stating: watch::Receiver<Arc<Stating>>,
        want: watch::Sender<WantedSources>,
        confirm: mpsc::Sender<()>,
        model: &Model,
    ) -> Following {
        let (begun, not_before) = (Moment::START, Moment::START);
        let loaded = Arc::new(sets_of(model));
        Following { stating, want, confirm, loaded, is_due: false, begun, not_before, resolved: None }
    }

    /// Waits until sources state something else. Nothing is lost when this is dropped and called again.
    pub(crate) async fn changed(&mut self) {
        if self.stating.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let stating = self.stating.borrow_and_update().clone();
        self.is_due = !is_same(&stating.sets(), &self.loaded);
    }

    /// When to load because of sources; `None`: there is no reason to.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.is_due.then_some(self.not_before)
    }

    /// A load begins: the sets that it has to take in.
    pub(crate) fn begin(&mut self, now: Moment) -> Arc<DiscoveredSets> {
        self.loaded = Arc::new(self.stating.borrow().sets());
        (self.is_due, self.begun) = (false, now);
        self.loaded.clone()
    }

    /// A load ended, and this model is served.
    pub(crate) fn ended(&mut self, model: &Model, now: Moment) {
        self.not_before = now + now.since(self.begun).clamp(LEAST_PAUSE, LONGEST_PAUSE);
        let wanted = WantedSources::of(model);
        self.want.send_if_modified(|before| {
            let is_other = *before != wanted;
            *before = wanted;
            is_other
        });
    }

    /// An operator confirms what disappeared from sources.
    pub(crate) fn confirm(&self) {
        // One that waits is enough.
        let _ = self.confirm.try_send(());
    }

    /// What they state, for another thread.
    pub(crate) fn stating(&self) -> Arc<Stating> {
        self.stating.borrow().clone()
    }

    /// What they state of the endpoints of `model`; `checks` has what is measured of them.
    pub(crate) fn stated(&mut self, model: &Arc<Model>, checks: &CheckTable) -> Arc<StatedByEndpoint> {
        let stating = self.stating();
        let is_measured = model.sources.iter().any(|source| source.health == HealthRule::Only);
        if let Some(known) = &self.resolved
            && !is_measured
            && Arc::ptr_eq(&known.model, model)
            && Arc::ptr_eq(&known.stating, &stating)
        {
            return known.stated.clone();
        }
        let stated = Arc::new(stating.over(model, checks));
        self.resolved = Some(Resolved { model: model.clone(), stating, stated: stated.clone() });
        stated
    }
}

/// Whether a load would have the same endpoints. A source that is not known yet is as one without endpoints.
fn is_same(now: &DiscoveredSets, loaded: &DiscoveredSets) -> bool {
    let set = |sets: &DiscoveredSets| {
        let known = sets.iter().filter(|(_, endpoints)| !endpoints.is_empty());
        known.map(|(key, endpoints)| (key.clone(), endpoints.clone())).collect::<Vec<_>>()
    };
    set(now) == set(loaded)
}

/// The sets that a model has.
fn sets_of(model: &Model) -> DiscoveredSets {
    let mut sets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for discovered in model.endpoints.iter().filter_map(|endpoint| endpoint.discovered.as_ref()) {
        let Some(source) = model.sources.get(discovered.source as usize) else { continue };
        sets.entry(source.key()).or_default().push(discovered.endpoint.clone());
    }
    sets.into_iter().map(|(key, endpoints)| (key, endpoints.into())).collect()
}
