//! The world of the simulation: nodes in three regions, endpoints, a network, a store of leases, and what breaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan::fleet::lease::{HookResult, LeaseAction, LeaseWrite, WriteResult};
use portolan::fleet::{Ask, Vantage, VantageReporter};
use portolan::model::{Check, CheckKey, Health, Model, Moment, Monitor, ProbeKind, ProbeTarget, Region};

use crate::bug::Bug;
use crate::chance::Chance;
use crate::node::{Arrival, Clock, Node, Server, plan_of};
use crate::shared::SharedOverrides;
use crate::store::Store;

pub(crate) const STEP: Duration = Duration::from_millis(50);
pub(crate) const REGIONS: [&str; 3] = ["eu", "us", "ap"];
pub(crate) const CHECKS: usize = 6;
/// The first nodes are servers too, one in each region.
pub(crate) const SERVERS: usize = 3;
/// The endpoints of the exclusive name have the first checks.
const MEMBERS: [&str; 3] = ["a", "b", "c"];
/// Steps of a message from one region to another; a region's own messages need one.
pub(crate) const DELAYS: [[u64; 3]; 3] = [[1, 2, 3], [2, 1, 3], [3, 3, 1]];

/// How many steps these seconds have.
pub(crate) const fn steps(secs: u64) -> u64 {
    secs * 1000 / STEP.as_millis() as u64
}

/// What one vantage reports whatever it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    AllDown,
    AllUp,
    AbsurdRtt,
    Garbage,
}

/// What is under way.
pub(crate) enum Parcel {
    /// To this process of a node; a request goes to any.
    ToNode(usize, Option<u64>, Arrival),
    /// From this process of a node.
    ToStore(usize, u64, LeaseWrite),
    Question(usize, u64),
}

pub(crate) struct Hook {
    pub(crate) node: usize,
    pub(crate) epoch: u64,
    /// By the clock of its node: a watchdog ends it then, also while the server stands still.
    pub(crate) until: Moment,
    pub(crate) ends_at: u64,
    pub(crate) result: HookResult,
}

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) bug: Option<Bug>,
    /// In steps.
    pub(crate) now: u64,
    pub(crate) model: Model,
    pub(crate) members: Vec<Arc<str>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) liar: Option<(usize, Lie)>,
    pub(crate) store: Store,
    pub(crate) shared: SharedOverrides,
    pub(crate) hooks: Vec<Hook>,
    /// Whether each endpoint answers, and whether each region reaches it.
    pub(crate) truth: [bool; CHECKS],
    pub(crate) paths: [[bool; CHECKS]; 3],
    /// Whether processes stop in order too: in every second world, so that the others have processes that live longer.
    has_stops: bool,
    /// Whether the network loses, repeats and reorders.
    pub(crate) has_faults: bool,
    under_way: BTreeMap<(u64, u64), Parcel>,
    parcels: u64,
    /// When the last report of a node to a server arrives: a connection keeps the order.
    arrivals: BTreeMap<(usize, usize), u64>,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> World {
        let mut chance = Chance::of(seed);
        let nodes = SERVERS + chance.below(4) as usize;
        let lies = [Lie::AllDown, Lie::AllUp, Lie::AbsurdRtt, Lie::Garbage];
        let liar = chance.one_in(2).then(|| (chance.below(nodes as u64) as usize, lies[chance.below(4) as usize]));
        let mut world = World {
            bug,
            now: 0,
            model: model(),
            members: MEMBERS.map(Arc::from).to_vec(),
            nodes: Vec::new(),
            liar,
            store: Store::default(),
            shared: SharedOverrides::new(seed),
            hooks: Vec::new(),
            truth: [true; CHECKS],
            paths: [[true; CHECKS]; 3],
            has_stops: seed % 2 == 1,
            has_faults: true,
            under_way: BTreeMap::new(),
            parcels: 0,
            arrivals: BTreeMap::new(),
            chance,
        };
        for at in 0..nodes {
            let node = world.new_node(at, nodes);
            world.nodes.push(node);
        }
        world
    }

    fn new_node(&mut self, at: usize, nodes: usize) -> Node {
        let region = at % REGIONS.len();
        let offset = Duration::from_secs(self.chance.below(100_000));
        let clock = Clock { offset, speed: 998_000 + self.chance.below(4000) as u32 };
        let instance = self.chance.number();
        let now = clock.at(Duration::ZERO);
        let mut reporter = VantageReporter::new(instance, now);
        reporter.adopt(&plan_of(&self.model));
        let mut node = Node {
            vantage: Vantage { name: format!("ns{at}").into(), region: REGIONS[region].into() },
            region,
            clock,
            instance,
            reporter,
            server: None,
            cut_until: 0,
            paused_until: 0,
            dead_until: 0,
            blind_until: 0,
            seen: vec![Health::Unknown; CHECKS],
            probed_at: None,
            blind_at: None,
            started_at: 0,
            inbox: Vec::new(),
            believed: vec![[None; 2]; CHECKS],
        };
        if at < SERVERS {
            node.server = Some(Server::new(&self.model, &node, nodes, None, now));
        }
        node
    }

    pub(crate) fn clock(&self, node: usize) -> Moment {
        self.nodes[node].clock.at(STEP * self.now as u32)
    }

    pub(crate) fn is_cut(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        self.now < node.cut_until || self.now < node.dead_until
    }

    pub(crate) fn is_store_away(&self, node: usize) -> bool {
        self.is_cut(node) || self.now < self.store.stops_until
    }

    pub(crate) fn step(&mut self) {
        self.now += 1;
        if self.has_faults {
            self.break_something();
        }
        self.watch_store();
        self.deliver();
        self.end_hooks();
        for node in 0..self.nodes.len() {
            if self.now >= self.nodes[node].paused_until && self.now >= self.nodes[node].dead_until {
                self.run(node);
            }
        }
        self.share_overrides();
    }

    fn break_something(&mut self) {
        let node = self.chance.below(self.nodes.len() as u64) as usize;
        let until = self.now + 4 + self.chance.below(steps(20));
        let check = self.chance.below(CHECKS as u64) as usize;
        match self.chance.below(250) {
            0 | 1 => self.nodes[node].cut_until = until,
            2 => self.nodes[node].paused_until = until,
            3 => self.restart(node, until),
            4 => self.restart(node, self.now),
            18 if self.has_stops => self.stop(node, 0, until),
            19 if self.has_stops => {
                let after = self.chance.below(steps(3));
                self.stop(node, after, self.now);
            }
            5 => self.store.stops_until = self.now + self.chance.below(steps(8)),
            6..=11 => self.truth[check] = !self.truth[check],
            12 | 13 => {
                let region = self.chance.below(3) as usize;
                self.paths[region][check] = !self.paths[region][check];
            }
            14 => self.nodes[node].blind_until = until,
            15 if self.chance.one_in(3) => self.nodes.iter_mut().for_each(|node| node.blind_until = until),
            16 if self.chance.one_in(3) => self.nodes.iter_mut().for_each(|node| node.cut_until = until),
            17 if self.chance.one_in(3) => (0..self.nodes.len()).for_each(|node| self.restart(node, until)),
            _ => {}
        }
    }

    /// Everything works from now on. No network holds a message back for minutes, so late copies are lost.
    pub(crate) fn heal(&mut self) {
        self.has_faults = false;
        let _ = self.under_way.split_off(&(self.now + steps(1), 0));
        self.store.stops_until = 0;
        self.paths = [[true; CHECKS]; 3];
        for node in &mut self.nodes {
            (node.cut_until, node.dead_until, node.blind_until) = (0, 0, 0);
            node.paused_until = node.paused_until.min(self.now);
        }
    }

    /// The process dies, and its hook with it. It starts again at a step, with what its disk has.
    pub(crate) fn restart(&mut self, at: usize, starts_at: u64) {
        let instance = self.chance.number();
        let (now, nodes) = (self.clock(at), self.nodes.len());
        let node = &mut self.nodes[at];
        (node.instance, node.dead_until, node.paused_until, node.started_at) = (instance, starts_at, 0, starts_at);
        node.inbox.clear();
        node.reporter = VantageReporter::new(instance, now);
        node.reporter.adopt(&plan_of(&self.model));
        if let Some(server) = node.server.take() {
            node.server = Some(Server::new(&self.model, node, nodes, server.disk, now));
        }
        self.hooks.retain(|hook| hook.node != at);
    }

    /// The watches of servers that reach the store are live.
    fn watch_store(&mut self) {
        let (number, content) = self.store.newest();
        for at in 0..SERVERS {
            let (is_away, now) = (self.is_store_away(at), self.clock(at));
            let is_running = self.now >= self.nodes[at].paused_until;
            let Some(server) = &mut self.nodes[at].server else { continue };
            if is_away && server.is_live {
                server.is_live = false;
                server.lease.store_lost();
            } else if !is_away && !server.is_live && is_running {
                server.is_live = true;
                server.lease.store_live(number, content.clone(), now);
            }
        }
    }

    pub(crate) fn put(&mut self, arrival: u64, parcel: Parcel) {
        self.parcels += 1;
        self.under_way.insert((arrival, self.parcels), parcel);
    }

    /// Between a node and the store, in 50 to 500 ms.
    pub(crate) fn send(&mut self, parcel: Parcel) {
        let arrival = self.now + 1 + self.chance.below(5) + if self.chance.one_in(10) { 4 } else { 0 };
        self.put(arrival, parcel);
    }

    /// Some arrive twice, the second time up to two seconds later.
    fn notify(&mut self, node: usize, arrival: Arrival) {
        let instance = Some(self.nodes[node].instance);
        if self.has_faults && self.chance.one_in(10) {
            let late = self.now + 1 + self.chance.below(steps(2));
            self.put(late, Parcel::ToNode(node, instance, arrival.clone()));
        }
        self.send(Parcel::ToNode(node, instance, arrival));
    }

    /// A report goes to all servers. With faults some copies are lost, some overtake others, and some arrive again
    /// much later, as long as the process lives that sent them: a connection ends with its process.
    pub(crate) fn publish(&mut self, from: usize, octets: &[u8]) {
        if self.is_cut(from) {
            return;
        }
        let (process, clock, step) = (self.nodes[from].instance, self.clock(from), self.now);
        let sent = Arrival::Report { from, process, clock, step, octets: octets.into() };
        for to in (0..SERVERS).filter(|to| *to != from) {
            if self.has_faults && self.chance.one_in(40) {
                continue;
            }
            // A process that has not started yet has no subscription.
            if self.now < self.nodes[to].dead_until {
                continue;
            }
            let delay = DELAYS[self.nodes[from].region][self.nodes[to].region];
            // A subscription ends with its process.
            let process = Some(self.nodes[to].instance);
            let mut arrival = self.now + delay;
            if self.has_faults {
                arrival += self.chance.below(2);
                if self.chance.one_in(8) {
                    let late = arrival + self.chance.below(steps(60));
                    self.put(late, Parcel::ToNode(to, process, sent.clone()));
                }
            }
            let before = self.arrivals.entry((from, to)).or_default();
            let is_overtaking = self.has_faults && self.chance.one_in(20);
            if !is_overtaking {
                arrival = arrival.max(*before);
                *before = arrival;
            }
            self.put(arrival, Parcel::ToNode(to, process, sent.clone()));
        }
    }

    pub(crate) fn ask(&mut self, from: usize, to: &Vantage, ask: Ask) {
        let node = self.nodes.iter().position(|node| node.vantage == *to).expect("a vantage that exists");
        if !self.is_cut(from) {
            let delay = DELAYS[self.nodes[from].region][self.nodes[node].region];
            self.put(self.now + delay, Parcel::ToNode(node, None, Arrival::Ask(ask)));
        }
    }

    fn deliver(&mut self) {
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > self.now {
                return;
            }
            match first.remove() {
                Parcel::ToNode(node, instance, arrival) => {
                    let is_after_end = match &arrival {
                        Arrival::Report { from, process, step, .. } => {
                            *process != self.nodes[*from].instance && self.now > step + steps(1)
                        }
                        _ => false,
                    };
                    let is_here = instance.is_none_or(|instance| instance == self.nodes[node].instance);
                    if is_here && !is_after_end && !self.is_cut(node) {
                        self.nodes[node].inbox.push(arrival);
                    }
                }
                Parcel::ToStore(node, _, _) | Parcel::Question(node, _) if self.is_store_away(node) => {}
                Parcel::ToStore(node, instance, write) => self.write(node, instance, write),
                Parcel::Question(node, instance) if instance == self.nodes[node].instance => {
                    let (number, content) = self.store.newest();
                    self.notify(node, Arrival::ReadDone(number, content));
                }
                Parcel::Question(..) => {}
            }
        }
    }

    fn write(&mut self, node: usize, instance: u64, write: LeaseWrite) {
        let id = write.id;
        let result = self.store.write(write);
        if instance == self.nodes[node].instance {
            self.notify(node, Arrival::Written(id, result));
        }
        if result != WriteResult::Conflict {
            let (number, content) = self.store.newest();
            for server in 0..SERVERS {
                self.notify(server, Arrival::Watched(number, content.clone()));
            }
        }
    }

    fn end_hooks(&mut self) {
        for at in (0..self.hooks.len()).rev() {
            let Hook { node, until, ends_at, .. } = self.hooks[at];
            if self.clock(node) >= until {
                self.hooks.remove(at);
            } else if ends_at <= self.now {
                let Hook { epoch, result, .. } = self.hooks.remove(at);
                if result == HookResult::Done {
                    self.store.end_hook(epoch);
                }
                let result = Bug::in_hook(self.bug, result);
                self.nodes[node].inbox.push(Arrival::HookEnded(epoch, result));
            }
        }
    }

    /// Does what a lease machine wants.
    pub(crate) fn obey(&mut self, node: usize, action: LeaseAction, now: Moment) {
        let instance = self.nodes[node].instance;
        match action {
            LeaseAction::Write(write) => {
                self.check_promotion(node, &write);
                let known = self.nodes[node].server.as_ref().and_then(|of| Some(of.lease.lease()?.active.epoch));
                let write = Bug::in_write(self.bug, write, known);
                self.send(Parcel::ToStore(node, instance, write));
            }
            LeaseAction::Read => self.send(Parcel::Question(node, instance)),
            LeaseAction::RunHook { run, until } => {
                assert!(until > now, "a hook without time");
                self.store.begin_hook(run.epoch);
                let ends_at = self.now + self.chance.below(steps(10));
                let is_bad = self.chance.one_in(3);
                let result = if is_bad { HookResult::Failed("exit code 1".into()) } else { HookResult::Done };
                self.hooks.push(Hook { node, epoch: run.epoch, until, ends_at, result });
                assert!(self.hooks.len() == 1, "two hooks at once");
            }
            LeaseAction::Extend { epoch, until } => {
                let own = self.hooks.iter_mut().filter(|hook| (hook.node, hook.epoch) == (node, epoch));
                own.for_each(|hook| hook.until = until);
            }
            LeaseAction::KillHook { epoch } => self.hooks.retain(|hook| (hook.node, hook.epoch) != (node, epoch)),
            LeaseAction::Report(_) => {}
        }
    }

    /// What a vantage sees of an endpoint.
    pub(crate) fn seen(&self, node: usize, check: usize) -> Health {
        let of = &self.nodes[node];
        if self.now < of.blind_until {
            // A blind vantage does not change its verdicts.
            return of.seen[check];
        }
        let is_seen = self.truth[check] && self.paths[of.region][check];
        match self.liar {
            Some((liar, Lie::AllDown)) if liar == node => Health::Down,
            Some((liar, Lie::AllUp)) if liar == node => Health::Up,
            _ => {
                if is_seen {
                    Health::Up
                } else {
                    Health::Down
                }
            }
        }
    }
}

/// Six endpoints, two in each region.
fn model() -> Model {
    let regions = REGIONS.map(|name| Region { name: name.to_owned(), location: None }).to_vec();
    let check = |nth: usize| {
        let target = ProbeTarget::Socket(([192, 0, 2, 1 + nth as u8], 80).into());
        Check::new(Arc::new(CheckKey { monitor: Monitor::new(ProbeKind::Tcp).into(), target }))
    };
    Model { regions, checks: (0..CHECKS).map(check).collect(), regional_view: true, ..Model::default() }
}
