//! The task of the leases. It passes what happens to the machine of each exclusive name, and does what the machine
//! says: writes to the store, runs the hook, and reports. It decides nothing itself. A round takes in everything that
//! has come, and then looks at the names that this concerns.

mod revisions;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::Journal;
use crate::control::command::LeaseOrder;
use crate::daemon::exclusive::agenda::Agenda;
use crate::daemon::exclusive::held_name::HeldName;
use crate::daemon::exclusive::hook::{HookTask, RunningHook};
use crate::daemon::exclusive::{Leases, file, verdicts};
use crate::daemon::state::StateDir;
use crate::fleet::lease::{
    HookResult, LEASE_DURATION, LeaseAction, LeaseMachine, LeaseSettings, LeaseWrite, MAX_VALUE_OCTETS, StoredLease,
    WriteResult, key_of,
};
use crate::fleet::nats::{BucketEntry, BucketEvent, BucketWatch, LeaseStore, stored_lease};
use crate::model::{ActiveEndpoint, LeaseView, Moment, PolicyId};
use crate::snapshot::Snapshot;
use crate::steering::promotion_block;
use crate::wire::Name;
use revisions::StoreRevisions;

/// The watch counts as live for this time after it read everything. It reads twice a second.
const LIVE_FOR: Duration = Duration::from_secs(2);
/// The least time that a round waits for a deadline, so that one that has passed does not make the task busy (judgment:
/// a promotion is not delayed by it).
const LEAST_ROUND: Duration = Duration::from_millis(2);
/// A round is made at least this often, for what no deadline announces.
const LONGEST_ROUND: Duration = Duration::from_secs(1);
/// Most results that wait to be read; their senders wait (judgment).
const MAX_RESULTS: usize = 1024;
/// Most events, results and orders that one round takes in, so that a stream of them does not hold up the machines.
/// Judgment: one of each kind for every name.
const MAX_OF_ROUND: usize = 3000;

/// What the task needs.
pub(crate) struct KeeperSettings {
    /// This node.
    pub(crate) node: Arc<str>,
    /// `on_promote` with its arguments; empty: none.
    pub(crate) program: Arc<[String]>,
    /// How long it may run.
    pub(crate) hook_timeout: Duration,
    pub(crate) store: LeaseStore,
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    /// Changes whenever a snapshot is published.
    pub(crate) published: watch::Receiver<()>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) state_dir: StateDir,
    pub(crate) orders: mpsc::Receiver<LeaseOrder>,
    /// What the state directory has.
    pub(crate) restored: HashMap<Name, ActiveEndpoint>,
    /// Where the leases go.
    pub(crate) leases: watch::Sender<Leases>,
}

/// The task.
pub(crate) struct Keeper {
    settings: KeeperSettings,
    lease_settings: LeaseSettings,
    /// By the key of the store.
    pub(super) names: BTreeMap<String, HeldName>,
    /// The generation whose names these are, and their policies.
    generation: Option<u64>,
    policies: Vec<(String, PolicyId)>,
    /// The names to look at.
    agenda: Agenda,
    /// The leases, as they were when their names were looked at last.
    views: HashMap<Name, LeaseView>,
    /// Whether they differ from those that were passed on.
    is_changed: bool,
    /// The time of the newest view whose verdicts are known to the machines.
    learned_at: Option<Moment>,
    /// What the watch has read.
    revisions: StoreRevisions,
    /// When the watch last had read everything; `None`: the store is away.
    read_at: Option<Moment>,
    is_live: bool,
    /// The names whose lease nobody renews, although the store can be read.
    stalled: HashSet<String>,
    pub(super) results: mpsc::Receiver<Happening>,
    sender: mpsc::Sender<Happening>,
    /// What the state directory was last given.
    saved: HashMap<Name, ActiveEndpoint>,
    orders: u64,
}

/// What something that the task began led to.
#[derive(Debug)]
pub(super) enum Happening {
    Written(String, u64, WriteResult, Option<String>),
    Read(String, u64, StoredLease),
    HookEnded(String, u64, HookResult),
}

impl Keeper {
    /// A task that is not started yet.
    pub(crate) fn new(settings: KeeperSettings) -> Keeper {
        let lease_settings = LeaseSettings {
            node: settings.node.clone(),
            instance: clock::entropy(),
            duration: LEASE_DURATION,
            hook_timeout: (!settings.program.is_empty()).then_some(settings.hook_timeout),
        };
        let (sender, results) = mpsc::channel(MAX_RESULTS);
        Keeper {
            saved: settings.restored.clone(),
            settings,
            lease_settings,
            names: BTreeMap::new(),
            generation: None,
            policies: Vec::new(),
            agenda: Agenda::default(),
            views: HashMap::new(),
            is_changed: true,
            learned_at: None,
            revisions: StoreRevisions::default(),
            read_at: None,
            is_live: false,
            stalled: HashSet::new(),
            results,
            sender,
            orders: 0,
        }
    }

    /// Runs until `stop`, and then gives its leases up.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut watch = self.settings.store.watch();
        loop {
            let now = clock::now();
            self.follow_model(now);
            self.follow_store(now);
            self.round(now);
            let wait = self.next_due(now).since(now).clamp(LEAST_ROUND, LONGEST_ROUND);
            tokio::select! {
                () = stop.cancelled() => break,
                event = watch.next() => match event {
                    Some(event) => self.bucket_event(event),
                    // The connection has ended, which happens at a stop.
                    None => stop.cancelled().await,
                },
                Some(outcome) = self.results.recv() => self.outcome(outcome),
                Ok(()) = self.settings.published.changed() => {}
                Some(order) = self.settings.orders.recv() => self.order(order),
                () = tokio::time::sleep(wait) => {}
            }
            self.drain(&mut watch);
        }
        self.resign().await;
    }

    /// Takes in what else has come.
    fn drain(&mut self, watch: &mut BucketWatch) {
        for _ in 0..MAX_OF_ROUND {
            // The end of the connection is noticed by the next wait.
            if let Some(Some(event)) = watch.try_next() {
                self.bucket_event(event);
            } else if let Ok(outcome) = self.results.try_recv() {
                self.outcome(outcome);
            } else if let Ok(order) = self.settings.orders.try_recv() {
                self.order(order);
            } else {
                return;
            }
        }
    }

    /// Has a machine for each exclusive name of the model that is served, with the newest verdicts.
    fn follow_model(&mut self, now: Moment) {
        let snapshot = self.settings.snapshots.load_full();
        if self.generation != Some(snapshot.generation) {
            self.adopt(&snapshot, now);
            (self.generation, self.learned_at) = (Some(snapshot.generation), None);
        }
        if self.learned_at == Some(snapshot.view.at) {
            return;
        }
        self.learned_at = Some(snapshot.view.at);
        for (key, policy) in &self.policies {
            let Some(name) = self.names.get_mut(key) else { continue };
            let policy = snapshot.model.policy(*policy);
            name.follow_block(promotion_block(&snapshot.model, policy, &snapshot.view));
            if name.learn(verdicts::situation(&snapshot, policy)) {
                self.agenda.touch(key);
            }
        }
    }

    /// Takes over the exclusive names of another generation.
    fn adopt(&mut self, snapshot: &Snapshot, now: Moment) {
        let model = &snapshot.model;
        self.policies.clear();
        for zone in &model.zones {
            for steered in &zone.steered {
                let Some(exclusive) = &model.policy(steered.policy).exclusive else { continue };
                let key = key_of(&exclusive.owner);
                if !self.names.contains_key(&key) {
                    self.add(&key, &exclusive.owner, (&zone.apex, steered.label.as_str()), now);
                }
                self.policies.push((key, steered.policy));
            }
        }
        let wanted: HashSet<&String> = self.policies.iter().map(|(key, _)| key).collect();
        let gone: Vec<String> = self.names.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in gone {
            tracing::info!(key, "a name is not exclusive any more: this server gives its lease up");
            if let Some(name) = self.names.get_mut(&key) {
                name.machine.resign(now);
            }
            self.obey_machine(&key, now);
            self.agenda.forget(&key);
            self.stalled.remove(&key);
            if let Some(name) = self.names.remove(&key) {
                self.is_changed |= self.views.remove(&name.owner).is_some();
            }
        }
        self.agenda.touch_all();
    }

    fn add(&mut self, key: &str, owner: &Name, (zone, label): (&Name, &str), now: Moment) {
        let settings = LeaseSettings { instance: clock::entropy(), ..self.lease_settings.clone() };
        let mut machine = LeaseMachine::new(settings, self.saved.get(owner).cloned());
        if self.is_live {
            let (number, content) = self.revisions.newest(key);
            machine.store_live(number, content, now);
        }
        let name = HeldName {
            owner: owner.clone(),
            zone: zone.to_string(),
            label: label.to_owned(),
            machine,
            hook: None,
            orders: HashMap::new(),
            learned: None,
            is_without_votes: false,
        };
        self.names.insert(key.to_owned(), name);
    }

    /// Notices that the watch stopped or went on.
    fn follow_store(&mut self, now: Moment) {
        let is_live = self.read_at.is_some_and(|at| now.since(at) <= LIVE_FOR);
        if is_live == self.is_live {
            return;
        }
        self.is_live = is_live;
        self.agenda.touch_all();
        for (key, name) in &mut self.names {
            if is_live {
                let (number, content) = self.revisions.newest(key);
                name.machine.store_live(number, content, now);
            } else {
                name.machine.store_lost();
            }
        }
        match is_live {
            true => tracing::info!("the store of leases can be read"),
            false => tracing::warn!("the store of leases can't be read: active endpoints stay, and none is promoted"),
        }
    }

    /// Does what the machines want that something happened to, or that are due, and passes on what became of the
    /// leases.
    fn round(&mut self, now: Moment) {
        let was_writable = self.stalled.is_empty();
        for key in self.agenda.take(now, self.names.keys()) {
            self.obey_machine(&key, now);
            let Some(name) = self.names.get(&key) else { continue };
            self.agenda.set_due(&key, name.machine.deadline(now));
            let view = name.view(now);
            match name.machine.is_stalled(now) {
                true => _ = self.stalled.insert(key),
                false => _ = self.stalled.remove(&key),
            }
            if view.as_ref() == self.views.get(&name.owner) {
                continue;
            }
            self.is_changed = true;
            match view {
                Some(view) => _ = self.views.insert(name.owner.clone(), view),
                None => _ = self.views.remove(&name.owner),
            }
        }
        match (was_writable, self.stalled.is_empty()) {
            (true, false) => tracing::warn!(
                "no server can renew the leases (NATS without a quorum?): active endpoints stay, and none is promoted"
            ),
            (false, true) if self.is_live => tracing::info!("leases are renewed again"),
            _ => {}
        }
        if std::mem::take(&mut self.is_changed) {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        let actives = || self.views.iter().filter_map(|(name, lease)| Some((name, lease.active.as_ref()?)));
        let is_saved = actives().all(|(name, active)| self.saved.get(name) == Some(active));
        if !is_saved {
            // What is no exclusive name now may be one again after the next reload.
            self.saved.extend(actives().map(|(name, active)| (name.clone(), active.clone())));
            file::save(&self.settings.state_dir, &self.saved);
        }
        self.settings.leases.send_if_modified(|before| {
            let differs = **before != self.views;
            if differs {
                *before = Arc::new(self.views.clone());
            }
            differs
        });
    }

    /// When a name is due, or the store counts as away.
    fn next_due(&self, now: Moment) -> Moment {
        let silence = self.read_at.filter(|_| self.is_live).map(|at| at + LIVE_FOR);
        let due = self.agenda.next(now);
        silence.map_or(due, |silence| silence.min(due))
    }

    fn obey_machine(&mut self, key: &str, now: Moment) {
        let actions = self.names.get_mut(key).map(|name| name.machine.poll(now)).unwrap_or_default();
        actions.into_iter().for_each(|action| self.obey(key, action));
    }

    pub(super) fn obey(&mut self, key: &str, action: LeaseAction) {
        let generation = self.generation.unwrap_or_default();
        let Some(name) = self.names.get_mut(key) else { return };
        match action {
            LeaseAction::Write(write) => self.write(key.to_owned(), write),
            LeaseAction::Read => self.read(key.to_owned()),
            LeaseAction::RunHook { run, until } => {
                let program = self.settings.program.clone();
                let task = HookTask { program, zone: name.zone.clone(), name: name.label.clone(), run };
                let (sender, key, epoch) = (self.sender.clone(), key.to_owned(), task.run.epoch);
                name.hook = Some(RunningHook::start(task, until, move |result| {
                    tokio::spawn(async move { sender.send(Happening::HookEnded(key, epoch, result)).await });
                }));
            }
            LeaseAction::Extend { epoch, until } => {
                name.hook.as_ref().filter(|hook| hook.epoch == epoch).into_iter().for_each(|hook| hook.extend(until));
            }
            // It is killed when it is dropped.
            LeaseAction::KillHook { epoch } => drop(name.hook.take_if(|hook| hook.epoch == epoch)),
            LeaseAction::Report(event) => name.report(event, &self.settings.journal, generation),
        }
    }

    fn write(&self, key: String, write: LeaseWrite) {
        let (store, sender) = (self.settings.store.clone(), self.sender.clone());
        tokio::spawn(async move {
            let (result, why) = store.write(&key, &write).await;
            sender.send(Happening::Written(key, write.id, result, why)).await
        });
    }

    fn read(&self, key: String) {
        let (store, sender) = (self.settings.store.clone(), self.sender.clone());
        tokio::spawn(async move {
            // Without a result the machine wants to read again.
            if let Ok((number, content)) = store.read(&key).await {
                let _ = sender.send(Happening::Read(key, number, content)).await;
            }
        });
    }

    fn outcome(&mut self, outcome: Happening) {
        let now = clock::now();
        let (Happening::Written(key, ..) | Happening::Read(key, ..) | Happening::HookEnded(key, ..)) = &outcome;
        let Some(name) = self.names.get_mut(key) else { return };
        self.agenda.touch(key);
        match outcome {
            Happening::Written(key, id, result, why) => {
                if let Some(why) = why {
                    tracing::debug!(key, why, "a lease was not written");
                }
                name.machine.written(id, result, now);
            }
            Happening::Read(_, number, content) => name.machine.read(number, content, now),
            Happening::HookEnded(_, epoch, result) => {
                name.hook.take_if(|hook| hook.epoch == epoch);
                name.machine.hook_ended(epoch, result, now);
            }
        }
    }

    /// Takes one event of the watch.
    fn bucket_event(&mut self, event: BucketEvent) {
        let now = clock::now();
        match event {
            BucketEvent::Entry(BucketEntry { key, revision, value, stored: _ }) => {
                let value = value.as_deref().map(|value| &value[..value.len().min(MAX_VALUE_OCTETS + 1)]);
                let content = stored_lease(value);
                if let Some(name) = self.names.get_mut(&key).filter(|_| self.is_live) {
                    name.machine.seen(revision, content.clone(), now);
                    self.agenda.touch(&key);
                }
                let is_own = self.names.contains_key(&key);
                self.revisions.take(key, revision, content, is_own);
            }
            BucketEvent::Current { began, in_step: _, revisions: _ } => self.read_at = Some(began),
            BucketEvent::Lost => {
                self.revisions.clear();
                self.read_at = None;
            }
            BucketEvent::Away(why) => {
                tracing::warn!(why, "the store of leases is away");
                self.read_at = None;
            }
        }
    }

    fn order(&mut self, LeaseOrder { owner, who, reply }: LeaseOrder) {
        self.orders += 1;
        let number = self.orders;
        let key = key_of(&owner);
        match self.names.get_mut(&key) {
            Some(name) => {
                self.agenda.touch(&key);
                name.orders.insert(number, reply);
                name.machine.hand_back(number, who, clock::now());
            }
            // Whoever waited may have gone.
            None => _ = reply.send(Err("this name is not exclusive any more".to_owned())),
        }
    }
}
