//! The world of `simulation`: three servers, a store and their hooks in simulated time. Messages are delayed, lost,
//! duplicated and reordered; servers are cut off, paused for longer than the lease, and restarted; their clocks run at
//! different speeds; the store stops for a while. After every step it is checked that no epoch has two endpoints.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{SECOND, situation};
use crate::fleet::lease::{
    HookResult, LEASE_DURATION, Lease, LeaseAction, LeaseEvent, LeaseMachine, LeaseSettings, LeaseWrite, MemberVerdict,
    StoredLease, WriteResult,
};
use crate::model::{ActiveEndpoint, Failback, Moment};
use crate::placing::SplitMix;

pub(super) const NODES: usize = 3;
const ENDPOINTS: [&str; 3] = ["a", "b", "c"];
pub(super) const STEP: Duration = Duration::from_millis(20);
const HOOK_TIMEOUT: Duration = Duration::from_secs(8);

/// The same numbers for the same seed, everywhere.
pub(super) struct Chance(SplitMix);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0.number()
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// One time in `n`.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub(super) struct SimNode {
    pub(super) machine: LeaseMachine,
    /// What its disk has: `active` of the last poll.
    pub(super) disk: Option<ActiveEndpoint>,
    /// Its clock: an offset, and its speed in parts of a thousand.
    offset: Duration,
    speed: u32,
    /// Paused or cut off until then, in steps.
    pub(super) paused_until: u64,
    pub(super) cut_until: u64,
    is_live: bool,
    /// Its last verdicts.
    verdicts: [MemberVerdict; 3],
    orders: u64,
    pub(super) instance: u64,
    inbox: Vec<Message>,
}

#[derive(Clone)]
pub(super) enum Message {
    Watched(u64, StoredLease),
    ReadDone(u64, StoredLease),
    Written(u64, WriteResult),
    HookEnded(u64, HookResult),
}

enum Parcel {
    ToStore(LeaseWrite),
    Question,
    ToNode(Message),
}

pub(super) struct Hook {
    node: usize,
    instance: u64,
    epoch: u64,
    /// By the clock of its node: it has a watchdog that is not paused with the server.
    until: Moment,
    ends_at: u64,
    result: HookResult,
}

pub(super) struct World {
    chance: Chance,
    /// In steps.
    pub(super) now: u64,
    pub(super) nodes: Vec<SimNode>,
    /// What is under way: the step of its arrival, the node, its process.
    under_way: Vec<(u64, usize, u64, Parcel)>,
    history: Vec<Lease>,
    pub(super) store_stops_until: u64,
    pub(super) hooks: Vec<Hook>,
    pub(super) healthy: [bool; 3],
    /// Every endpoint that an epoch ever had, in the store or in the answers of a server.
    pub(super) epochs: BTreeMap<u64, Arc<str>>,
    hooks_run: HashMap<u64, usize>,
    pub(super) promotions: usize,
    pub(super) has_hook: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut chance = Chance(SplitMix(seed));
        let has_hook = chance.one_in(2);
        let nodes = (0..NODES).map(|at| {
            let instance = chance.next();
            SimNode {
                machine: LeaseMachine::new(settings(at, instance, has_hook), None),
                disk: None,
                offset: SECOND * (chance.below(100_000) as u32),
                speed: 998 + chance.below(5) as u32,
                paused_until: 0,
                cut_until: 0,
                is_live: false,
                verdicts: [MemberVerdict::Unsure; 3],
                orders: 0,
                instance,
                inbox: Vec::new(),
            }
        });
        World {
            nodes: nodes.collect(),
            chance,
            now: 0,
            under_way: Vec::new(),
            history: Vec::new(),
            store_stops_until: 0,
            hooks: Vec::new(),
            healthy: [true; 3],
            epochs: BTreeMap::new(),
            hooks_run: HashMap::new(),
            promotions: 0,
            has_hook,
        }
    }

    pub(super) fn clock(&self, node: usize) -> Moment {
        let SimNode { offset, speed, .. } = self.nodes[node];
        Moment::from_start(offset + STEP * (self.now as u32) * speed / 1000)
    }

    fn newest(&self) -> (u64, StoredLease) {
        let content = self.history.last().map_or(StoredLease::Nothing, |lease| StoredLease::Lease(lease.clone()));
        (self.history.len() as u64, content)
    }

    fn is_cut(&self, node: usize) -> bool {
        self.now < self.nodes[node].cut_until || self.now < self.store_stops_until
    }

    fn send(&mut self, node: usize, parcel: Parcel) {
        let arrival = self.now + 1 + self.chance.below(10);
        self.under_way.push((arrival, node, self.nodes[node].instance, parcel));
    }

    /// One message to a node; some arrive twice.
    fn notify(&mut self, node: usize, message: Message) {
        if self.chance.one_in(10) {
            self.send(node, Parcel::ToNode(message.clone()));
        }
        self.send(node, Parcel::ToNode(message));
    }

    pub(super) fn step(&mut self, with_faults: bool) {
        self.now += 1;
        if with_faults {
            self.break_something();
        }
        self.watches();
        self.deliver();
        self.end_hooks();
        for node in 0..NODES {
            if self.now >= self.nodes[node].paused_until {
                self.run(node);
            }
        }
        self.check();
    }

    fn break_something(&mut self) {
        let node = self.chance.below(NODES as u64) as usize;
        let time = self.now + 5 + self.chance.below(400);
        match self.chance.below(400) {
            0 => self.nodes[node].cut_until = time,
            1 => self.nodes[node].paused_until = time,
            2 => self.restart(node),
            3 => self.store_stops_until = self.now + 5 + self.chance.below(200),
            4..=7 => {
                let endpoint = self.chance.below(3) as usize;
                self.healthy[endpoint] = !self.healthy[endpoint];
            }
            8 => {
                let now = self.clock(node);
                self.nodes[node].orders += 1;
                let order = self.nodes[node].orders;
                self.nodes[node].machine.hand_back(order, "somebody".into(), now);
            }
            _ => {}
        }
    }

    /// The process dies, its hook with it, and what was under way to it. Its disk may be lost too.
    pub(super) fn restart(&mut self, node: usize) {
        let instance = self.chance.next();
        let keeps_disk = !self.chance.one_in(4);
        let has_hook = self.has_hook;
        let of = &mut self.nodes[node];
        of.instance = instance;
        of.disk = of.disk.take().filter(|_| keeps_disk);
        of.machine = LeaseMachine::new(settings(node, instance, has_hook), of.disk.clone());
        (of.is_live, of.orders, of.paused_until) = (false, 0, 0);
        of.inbox.clear();
        self.hooks.retain(|hook| hook.node != node);
    }

    /// The watches of servers that are not cut off are live.
    fn watches(&mut self) {
        for node in 0..NODES {
            let is_cut = self.is_cut(node);
            let (number, content) = self.newest();
            let now = self.clock(node);
            let of = &mut self.nodes[node];
            if is_cut && of.is_live {
                of.is_live = false;
                of.machine.store_lost();
            } else if !is_cut && !of.is_live && self.now >= of.paused_until {
                of.is_live = true;
                of.machine.store_live(number, content, now);
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(arrival, ..)| *arrival <= now);
        self.under_way = later;
        for (_, node, instance, parcel) in due {
            let is_lost = self.is_cut(node) || self.chance.one_in(20);
            match parcel {
                _ if is_lost => {}
                Parcel::ToStore(write) => self.store(node, write),
                Parcel::Question => {
                    let (number, content) = self.newest();
                    self.notify(node, Message::ReadDone(number, content));
                }
                Parcel::ToNode(message) if instance == self.nodes[node].instance => {
                    self.nodes[node].inbox.push(message);
                }
                Parcel::ToNode(_) => {}
            }
        }
    }

    fn store(&mut self, node: usize, write: LeaseWrite) {
        let newest = self.history.len() as u64;
        let result = match write.expected == newest {
            true => WriteResult::Stored(newest + 1),
            false => WriteResult::Conflict,
        };
        self.notify(node, Message::Written(write.id, result));
        if result == WriteResult::Conflict {
            return;
        }
        let lease = write.lease;
        if let Some(before) = self.history.last() {
            let (old, new) = (&before.active, &lease.active);
            assert!(new.epoch >= old.epoch, "epochs fell: {before:?} -> {lease:?}");
            assert!(new.highest >= old.highest, "an epoch may be used twice: {before:?} -> {lease:?}");
            let moved = old.endpoint != new.endpoint;
            assert_eq!(moved, new.epoch > old.epoch, "{before:?} -> {lease:?}");
            self.promotions += usize::from(moved);
        }
        note_epoch(&mut self.epochs, &lease.active);
        self.history.push(lease.clone());
        for other in 0..NODES {
            self.notify(other, Message::Watched(newest + 1, StoredLease::Lease(lease.clone())));
        }
    }

    fn end_hooks(&mut self) {
        for at in (0..self.hooks.len()).rev() {
            let (node, until) = (self.hooks[at].node, self.hooks[at].until);
            if self.clock(node) >= until {
                self.hooks.remove(at);
            } else if self.hooks[at].ends_at <= self.now {
                let Hook { node, epoch, result, .. } = self.hooks.remove(at);
                self.nodes[node].inbox.push(Message::HookEnded(epoch, result));
            }
        }
    }

    fn run(&mut self, node: usize) {
        let now = self.clock(node);
        for at in 0..3 {
            let measured = if self.healthy[at] { MemberVerdict::Up } else { MemberVerdict::Down };
            self.nodes[node].verdicts[at] = if self.chance.one_in(8) { MemberVerdict::Unsure } else { measured };
        }
        let of = &mut self.nodes[node];
        for message in std::mem::take(&mut of.inbox) {
            match message {
                Message::Watched(number, content) if of.is_live => of.machine.seen(number, content, now),
                Message::Watched(..) => {}
                Message::ReadDone(number, content) => of.machine.read(number, content, now),
                Message::Written(id, result) => of.machine.written(id, result, now),
                Message::HookEnded(epoch, result) => of.machine.hook_ended(epoch, result, now),
            }
        }
        let members: Vec<(&str, MemberVerdict)> = ENDPOINTS.into_iter().zip(of.verdicts).collect();
        of.machine.learn(situation(now, Failback::Manual, &members));
        let actions = of.machine.poll(now);
        of.disk = of.machine.active().cloned();
        for action in actions {
            self.obey(node, action, now);
        }
    }

    fn obey(&mut self, node: usize, action: LeaseAction, now: Moment) {
        match action {
            LeaseAction::Write(write) => {
                self.check_verdict(node, &write);
                self.send(node, Parcel::ToStore(write));
            }
            LeaseAction::Read => self.send(node, Parcel::Question),
            LeaseAction::RunHook { run, until } => {
                assert!(until > now && until <= now + HOOK_TIMEOUT);
                let before = self.hooks_run.insert(run.epoch, node);
                assert_eq!(before, None, "two hooks with the epoch {}", run.epoch);
                let ends_at = self.now + self.chance.below(500);
                let result = match self.chance.one_in(3) {
                    true => HookResult::Failed("exit code 1".into()),
                    false => HookResult::Done,
                };
                let instance = self.nodes[node].instance;
                self.hooks.push(Hook { node, instance, epoch: run.epoch, until, ends_at, result });
            }
            LeaseAction::Extend { epoch, until } => {
                let own = self.hooks.iter_mut().filter(|hook| hook.node == node && hook.epoch == epoch);
                own.for_each(|hook| hook.until = until);
            }
            LeaseAction::KillHook { epoch } => self.hooks.retain(|hook| hook.node != node || hook.epoch != epoch),
            LeaseAction::Report(LeaseEvent::Moved { to, .. }) => note_epoch(&mut self.epochs, &to),
            LeaseAction::Report(_) => {}
        }
    }

    /// A write that begins a promotion needs a verdict, or an order.
    fn check_verdict(&self, node: usize, write: &LeaseWrite) {
        let Some(before) = self.nodes[node].machine.lease() else { return };
        let of = &self.nodes[node];
        let to = match (&write.lease.promoting, &before.promoting) {
            (Some(new), None) => &new.endpoint,
            (None, None) if write.lease.active.endpoint != before.active.endpoint => &write.lease.active.endpoint,
            (Some(_) | None, Some(_)) | (None, None) => return,
        };
        let verdict = |name: &str| of.verdicts[ENDPOINTS.iter().position(|of| *of == name).expect("a member")];
        assert_eq!(verdict(to), MemberVerdict::Up, "{write:?}");
        let is_down = verdict(&before.active.endpoint) == MemberVerdict::Down;
        assert!(is_down || of.orders > 0, "nothing calls for {write:?}");
        assert!(before.instance == of.instance, "without the lease: {write:?}");
    }

    fn check(&mut self) {
        for node in 0..NODES {
            if let Some(active) = self.nodes[node].machine.active() {
                note_epoch(&mut self.epochs, active);
            }
        }
        assert!(self.hooks.len() <= 1, "two hooks at once");
        assert!(self.hooks.iter().all(|hook| self.nodes[hook.node].instance == hook.instance));
    }
}

fn note_epoch(epochs: &mut BTreeMap<u64, Arc<str>>, active: &ActiveEndpoint) {
    let first = epochs.entry(active.epoch).or_insert_with(|| active.endpoint.clone());
    assert_eq!(*first, active.endpoint, "epoch {} has two endpoints", active.epoch);
}

pub(super) fn settings(node: usize, instance: u64, has_hook: bool) -> LeaseSettings {
    LeaseSettings {
        node: format!("ns{node}").into(),
        instance,
        duration: LEASE_DURATION,
        hook_timeout: has_hook.then_some(HOOK_TIMEOUT),
    }
}
