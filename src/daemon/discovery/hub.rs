//! Follows all sources: runs their drivers, applies what they send to their sets, and publishes what they state. It
//! decides nothing: the pure parts of [`crate::discovery`] do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::daemon::clocks::Now;
use crate::daemon::discovery::file::{DiscoveryFile, FILE, SourceRow};
use crate::daemon::discovery::followed::{Driver, Followed};
use crate::daemon::discovery::following::WantedSources;
use crate::daemon::discovery::keeper::{OverrideKeeper, OverrideLinks, OverrideProblem, states_overrides};
use crate::daemon::discovery::listing::SourceNotices;
use crate::daemon::discovery::{HubParts, drivers};
use crate::discovery::endpoints::InstanceRules;
use crate::discovery::etcd::{StatedOverrides, run_overrides};
use crate::discovery::{SourceKey, SourceSet, SourceState, Stating, TrackedSource, Update, updates};
use crate::model::{DiscoveredPool, Moment, SourceSpec, renamed_sources};
use crate::timer;

/// The least time between two publications: changes within it are one. Judgment: a client notices no 20 ms, and 500
/// changes a second become 50 views.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);
/// The least time between two writes of the file (judgment: what is lost is listed again).
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Updates that wait for the hub. Those of one source are joined before they come here, so this is about its sources.
const WAITING: usize = 64;

/// See the module.
pub(super) struct Hub {
    parts: HubParts,
    restored: BTreeMap<SourceKey, SourceRow>,
    wanted: watch::Receiver<WantedSources>,
    confirmed: mpsc::Receiver<()>,
    stating: watch::Sender<Arc<Stating>>,
    sources: BTreeMap<SourceKey, Followed>,
    updates: (mpsc::Sender<Sent>, mpsc::Receiver<Sent>),
    drivers: u64,
    published_at: Moment,
    is_unpublished: bool,
    saved_at: Moment,
    is_unsaved: bool,
}

/// What a driver has sent.
struct Sent {
    source: SourceKey,
    driver: u64,
    updates: Vec<Update>,
}

impl Hub {
    pub(super) fn new(
        mut parts: HubParts,
        wanted: watch::Receiver<WantedSources>,
        confirmed: mpsc::Receiver<()>,
        stating: watch::Sender<Arc<Stating>>,
    ) -> Hub {
        let restored = std::mem::take(&mut parts.restored).by_source();
        let mut hub = Hub {
            parts,
            restored,
            wanted,
            confirmed,
            stating,
            sources: BTreeMap::new(),
            updates: mpsc::channel(WAITING),
            drivers: 0,
            published_at: Moment::START,
            is_unpublished: false,
            saved_at: Moment::START,
            is_unsaved: false,
        };
        hub.follow();
        hub.publish();
        hub
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut served = self.parts.links.published.clone();
        loop {
            let now = clock::now();
            let next = |of: &Followed| [of.tracked.leaving.next(now), of.notices.next()].into_iter().flatten().min();
            let settle = self.sources.values().filter_map(next).min().map(|at| at.since(now));
            let is_leaving = self.sources.values().any(|of| !of.tracked.leaving.is_empty());
            let publish = self.is_unpublished.then(|| (self.published_at + PUBLISH_EVERY).since(now));
            let save = self.is_unsaved.then(|| (self.saved_at + SAVE_EVERY).since(now));
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = self.wanted.changed() => self.follow(),
                Some(()) = self.confirmed.recv() => self.confirm(),
                Some(sent) = self.updates.1.recv() => self.apply(sent),
                // Health has changed, or a model has other endpoints.
                Ok(()) = served.changed(), if is_leaving => self.is_unpublished = true,
                () = timer::after(settle) => self.is_unpublished = true,
                () = timer::after(publish) => self.publish(),
                () = timer::after(save) => self.save(),
            }
        }
        self.save();
    }

    /// Follows the sources of the model, and no others. One that was renamed has the set from before.
    fn follow(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let before: Vec<Arc<DiscoveredPool>> =
            self.sources.values().map(|followed| followed.tracked.spec.clone()).collect();
        for (old, new) in renamed_sources(&before, &wanted.sources) {
            let (old, new) = (&before[old], &wanted.sources[new]);
            if let Some(followed) = self.sources.remove(&old.key()) {
                let (source, zone, was) = (new.shown(), new.zone.to_string(), old.shown());
                tracing::info!(source, zone, was, "a source has another name, and the endpoints from before");
                self.sources.insert(new.key(), followed);
                self.is_unsaved = true;
            }
        }
        let keys: Vec<SourceKey> = wanted.sources.iter().map(|spec| spec.key()).collect();
        let links = &self.parts.links;
        self.sources.retain(|key, followed| {
            let is_wanted = keys.contains(key);
            if !is_wanted {
                links.end(&followed.tracked.spec);
            }
            is_wanted
        });
        for spec in &wanted.sources {
            let (key, rules) = (spec.key(), wanted.rules(spec));
            match self.sources.remove(&key) {
                Some(followed) => self.change(key, followed, rules),
                None => self.begin(key, rules),
            }
        }
        self.is_unpublished = true;
    }

    fn begin(&mut self, key: SourceKey, rules: InstanceRules) {
        let spec = rules.spec.clone();
        let mut set = SourceSet::judged_by(rules);
        let mut restored_at = None;
        if let Some(row) = self.restored.remove(&key) {
            let now = Now::read();
            let age = Duration::try_from_secs_f64(now.unix - row.at).unwrap_or_default();
            restored_at = Some(row.at);
            set.restore(row.instances, now.moment - age, now.moment);
        }
        let driver = self.drive(&key, &spec);
        let followed = Followed {
            tracked: TrackedSource::new(spec, set, restored_at),
            read_at: None,
            notices: SourceNotices::default(),
            last_state: SourceState::Away,
            changed_at: None,
            driver,
        };
        self.sources.insert(key, followed);
    }

    /// Another table of the same name, or another name. A driver goes on unless that is so, or what it reads is another
    /// thing.
    fn change(&mut self, key: SourceKey, mut followed: Followed, rules: InstanceRules) {
        let (old, spec) = (followed.tracked.spec.clone(), rules.spec.clone());
        followed.tracked.change(rules, clock::now());
        if states_overrides(&old) && (!states_overrides(&spec) || old.name != spec.name) {
            self.parts.links.end(&old);
        }
        let reads = |spec: &DiscoveredPool| (spec.name.clone(), spec.source.clone(), spec.mappings.clone(), spec.max);
        if reads(&old) != reads(&spec) {
            followed.driver = self.drive(&key, &spec);
        }
        self.sources.insert(key, followed);
    }

    fn drive(&mut self, key: &SourceKey, spec: &Arc<DiscoveredPool>) -> Driver {
        self.drivers += 1;
        let (number, stop) = (self.drivers, CancellationToken::new());
        let (sender, receiver) = updates(spec.max);
        let (want_list, mut wants) = mpsc::channel::<()>(1);
        let (hub, source) = (self.updates.0.clone(), key.clone());
        let links = self.parts.links.clone();
        let overrides = start_keeper(spec, links, (hub.clone(), key, number), stop.clone());
        let passing = async move {
            loop {
                let updates = tokio::select! {
                    updates = receiver.receive() => updates,
                    Some(()) = wants.recv() => {
                        receiver.want_list();
                        continue;
                    }
                };
                if hub.send(Sent { source: source.clone(), driver: number, updates }).await.is_err() {
                    return;
                }
            }
        };
        let mut tasks = vec![drivers::start(spec, sender, stop.clone()), tokio::spawn(passing)];
        let overrides = overrides.map(|(of_overrides, problem)| {
            tasks.extend(of_overrides);
            problem
        });
        Driver { number, stop, tasks, want_list, overrides }
    }

    fn apply(&mut self, Sent { source, driver, updates }: Sent) {
        let Some(followed) = self.sources.get_mut(&source).filter(|followed| followed.driver.number == driver) else {
            return;
        };
        let now = clock::now();
        for update in updates {
            match &update {
                Update::Whole(_) | Update::Changes(_) | Update::Back => followed.read_at = Some(now),
                Update::Away(_) => {}
            }
            let applied = followed.tracked.apply(update, now);
            if applied.wants_list {
                // One that waits is enough.
                let _ = followed.driver.want_list.try_send(());
            }
        }
        self.is_unpublished = true;
    }

    fn confirm(&mut self) {
        let now = clock::now();
        for followed in self.sources.values_mut() {
            followed.tracked.confirm(now);
        }
        self.is_unpublished = true;
    }

    /// Publishes what the sources state, and logs what has changed.
    fn publish(&mut self) {
        (self.is_unpublished, self.published_at) = (false, clock::now());
        let mut is_other = false;
        for followed in self.sources.values_mut() {
            is_other |= followed.restate(&self.parts);
            followed.log(&self.parts);
        }
        let now = clock::now();
        let wanted = self.wanted.borrow().clone();
        let entry = |spec: &Arc<DiscoveredPool>| Some(self.sources.get(&spec.key())?.entry(now));
        self.parts.board.entries.store(Arc::new(wanted.sources.iter().filter_map(entry).collect()));
        self.is_unsaved |= is_other;
        let known = |(key, followed): (&SourceKey, &Followed)| {
            followed.tracked.set.is_known().then(|| (key.clone(), followed.tracked.stating.clone()))
        };
        let by_source: BTreeMap<_, _> = self.sources.iter().filter_map(known).collect();
        let before = self.stating.borrow().clone();
        let is_same = before.by_source.len() == by_source.len()
            && before.by_source.iter().zip(&by_source).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1));
        if !is_same {
            let stating = Arc::new(Stating { by_source });
            self.parts.board.stating.store(stating.clone());
            self.stating.send_replace(stating);
        }
    }

    fn save(&mut self) {
        if !std::mem::take(&mut self.is_unsaved) {
            return;
        }
        self.saved_at = clock::now();
        let now = Now::read();
        let row = |(key, followed): (&SourceKey, &Followed)| {
            let TrackedSource { set, stating, .. } = &followed.tracked;
            let age = set.age(now.moment)?;
            let instances = set.instances().cloned().collect();
            let endpoints = stating.stated.endpoints.iter().map(|of| (**of).clone()).collect();
            Some(SourceRow::new(key, now.unix - age.as_secs_f64(), instances, endpoints))
        };
        let file = DiscoveryFile::new(self.sources.iter().filter_map(row).collect());
        // A failure is in the log.
        drop(self.parts.state_dir.put(&FILE, &file));
    }
}

/// Starts to follow the overrides that a source states, if it has some: the tasks, and what is wrong with them. The hub
/// is woken when that is another problem.
fn start_keeper(
    spec: &Arc<DiscoveredPool>,
    links: OverrideLinks,
    (hub, source, driver): (mpsc::Sender<Sent>, &SourceKey, u64),
    stop: CancellationToken,
) -> Option<(Vec<JoinHandle<()>>, watch::Receiver<OverrideProblem>)> {
    let SourceSpec::Etcd(etcd) = &spec.source else { return None };
    etcd.overrides.as_ref()?;
    let (state, stated) = watch::channel(StatedOverrides::default());
    let (problem, problems) = watch::channel(None);
    let (mut changes, source) = (problems.clone(), source.clone());
    let waking = async move {
        while changes.changed().await.is_ok() {
            if hub.send(Sent { source: source.clone(), driver, updates: Vec::new() }).await.is_err() {
                return;
            }
        }
    };
    let keeper = OverrideKeeper { spec: spec.clone(), stated, links, problem };
    let following = tokio::spawn(run_overrides(etcd.clone(), state, stop.clone()));
    Some((vec![following, tokio::spawn(keeper.run(stop)), tokio::spawn(waking)], problems))
}
