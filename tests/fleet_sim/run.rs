//! What a node does in a step: it probes, receives, reports, agrees, and keeps its part in the lease.

use std::sync::Arc;
use std::time::Duration;

use portolan::fleet::Report;
use portolan::fleet::lease::{Lease, LeaseWrite, StoredLease};
use portolan::health::Observation;
use portolan::model::{ActiveEndpoint, Health, Moment};

use crate::bug::Bug;
use crate::node::{Arrival, Taken, observation, own_report};
use crate::world::{CHECKS, DELAYS, Lie, Parcel, SERVERS, World, steps};

/// Steps between two views of a server.
const VIEW_EVERY: u64 = 10;

impl World {
    /// One step of a node that runs.
    pub(crate) fn run(&mut self, at: usize) {
        let now = self.clock(at);
        if (self.now + at as u64).is_multiple_of(steps(1)) {
            self.probe(at, now);
        }
        for arrival in std::mem::take(&mut self.nodes[at].inbox) {
            self.receive(at, arrival, now);
        }
        for octets in self.nodes[at].reporter.advance(now) {
            self.publish(at, &octets);
            if self.liar == Some((at, Lie::Garbage)) {
                let garbage: Vec<u8> = octets.iter().map(|octet| octet ^ self.chance.below(256) as u8).collect();
                self.publish(at, &garbage);
            }
        }
        if self.nodes[at].server.is_some() {
            self.serve(at, now);
        }
    }

    fn probe(&mut self, at: usize, now: Moment) {
        let is_blind = self.now < self.nodes[at].blind_until;
        let rtt = if self.liar == Some((at, Lie::AbsurdRtt)) { 3_000_000 } else { 20_000 };
        let seen: Vec<Health> = (0..CHECKS).map(|check| self.seen(at, check)).collect();
        let step = self.now;
        let node = &mut self.nodes[at];
        node.probed_at = Some(step);
        if is_blind {
            node.blind_at = Some(step);
        } else {
            node.seen.clone_from(&seen);
        }
        let checks = self.model.checks.iter().zip(&seen);
        let observations: Vec<Observation> =
            checks.map(|(check, health)| observation(&check.key, *health, Duration::from_micros(rtt), now)).collect();
        for (believed, health) in node.believed.iter_mut().zip(&seen).filter(|_| !is_blind) {
            believed[usize::from(*health == Health::Down)] = Some(step);
        }
        let blind: Option<Arc<str>> = is_blind.then(|| "nothing answers".into());
        node.reporter.observe(&observations, blind.as_ref(), now);
        if let Some(server) = &mut node.server {
            let blind = blind.filter(|_| self.bug != Some(Bug::CountBlindVotes));
            server.agreement.receive(&own_report(&node.vantage, now, observations, blind), now);
        }
    }

    fn receive(&mut self, at: usize, arrival: Arrival, now: Moment) {
        let bug = self.bug;
        if let Arrival::Ask(ask) = arrival {
            return self.nodes[at].reporter.receive(ask);
        }
        let sender = match &arrival {
            Arrival::Report { from, .. } => Some(self.nodes[*from].vantage.clone()),
            _ => None,
        };
        let step = self.now;
        let Some(server) = &mut self.nodes[at].server else { return };
        match arrival {
            Arrival::Report { from, process: _, clock, step: sent_at, octets } => {
                let now = if bug == Some(Bug::TrustForeignClock) { clock } else { now };
                match sender.map_or(Taken::Nothing, |sender| server.receive(bug, &sender, &octets, now)) {
                    Taken::Nothing => {}
                    Taken::Behind => server.ended[from] = false,
                    Taken::Vote => {
                        let newest = server.accepted[from].map_or(0, |(_, sent)| sent).max(sent_at);
                        server.accepted[from] = Some((step, newest));
                        server.ended[from] = false;
                    }
                    Taken::End => server.ended[from] = true,
                }
            }
            Arrival::Ask(_) => {}
            Arrival::Watched(number, content) => {
                if let (Some(Bug::ServeOldRevision), StoredLease::Lease(lease)) = (bug, &content) {
                    server.served = Some(lease.active.clone());
                }
                if server.is_live {
                    server.lease.seen(number, content, now);
                }
            }
            Arrival::ReadDone(number, content) => server.lease.read(number, content, now),
            Arrival::Written(id, result) => server.lease.written(id, result, now),
            Arrival::HookEnded(epoch, result) => server.lease.hook_ended(epoch, result, now),
        }
    }

    fn serve(&mut self, at: usize, now: Moment) {
        let is_view_due = (self.now + 3 * at as u64).is_multiple_of(VIEW_EVERY);
        let vantages: Vec<_> = self.nodes.iter().map(|node| node.vantage.clone()).collect();
        let Some(server) = &mut self.nodes[at].server else { return };
        if self.bug == Some(Bug::CountStaleVotes) && is_view_due {
            for vantage in vantages.iter().zip(&server.accepted).filter(|(_, at)| at.is_some()).map(|(of, _)| of) {
                server.agreement.receive(&Report::part(vantage.clone(), now, Vec::new()), now);
            }
        }
        if is_view_due {
            server.view = server.agreement.view(&self.model, now);
            server.collector.forget(now);
            let situation = server.situation(&self.members, now);
            server.lease.learn(situation);
        }
        let asks = server.collector.asks(now);
        let actions = server.lease.poll(now);
        if self.bug != Some(Bug::ServeOldRevision) || server.served.is_none() {
            server.served = server.lease.active().cloned();
        }
        server.disk = server.lease.active().cloned();
        let served = server.served.clone();
        let epoch = served.as_ref().map_or(0, |served| served.epoch);
        assert!(epoch >= server.highest, "server {at} goes back from epoch {} to {epoch}", server.highest);
        server.highest = epoch;
        for (vantage, ask) in asks {
            self.ask(at, &vantage, ask);
        }
        if is_view_due {
            self.check_view(at);
            if self.bug == Some(Bug::SkipLeaseCheck) {
                self.promote_without_lease(at);
            }
        }
        for action in actions {
            self.obey(at, action, now);
        }
        if let Some(served) = &served {
            self.store.note(served);
        }
    }

    /// See [`Bug::SkipLeaseCheck`].
    fn promote_without_lease(&mut self, at: usize) {
        let (expected, content) = self.store.newest();
        let node = &self.nodes[at];
        let (StoredLease::Lease(lease), Some(server)) = (content, &node.server) else { return };
        let health = |name: &Arc<str>| {
            let check = self.members.iter().position(|member| member == name);
            check.map(|check| server.view.checks[check].health)
        };
        let up = self.members.iter().find(|name| health(name) == Some(Health::Up));
        let is_down = health(&lease.active.endpoint) == Some(Health::Down);
        if let (Some(to), true) = (up, is_down && server.is_live && lease.instance != node.instance) {
            let epoch = lease.active.highest + 1;
            let active = ActiveEndpoint { endpoint: to.clone(), epoch, highest: epoch };
            let (holder, instance) = (node.vantage.name.clone(), node.instance);
            let lease = Lease { active, holder, instance, promoting: None, ..lease };
            self.send(Parcel::ToStore(at, instance, LeaseWrite { id: u64::MAX, expected, lease }));
        }
    }

    /// The process stops in order, and says so after a time: a new one may report before. It starts again at a step.
    pub(crate) fn stop(&mut self, at: usize, after: u64, starts_at: u64) {
        let is_running = self.now >= self.nodes[at].paused_until && self.now >= self.nodes[at].dead_until;
        let (now, process, step) = (self.clock(at), self.nodes[at].instance, self.now + after);
        let goodbye = self.nodes[at].reporter.goodbye(now);
        self.restart(at, starts_at);
        let Some(octets) = goodbye.filter(|_| is_running && !self.is_cut(at)) else { return };
        let sent = Arrival::Report { from: at, process, clock: now, step, octets: octets.into() };
        for to in (0..SERVERS).filter(|to| *to != at) {
            if self.now < self.nodes[to].dead_until || self.chance.one_in(40) {
                continue;
            }
            let arrival = step + DELAYS[self.nodes[at].region][self.nodes[to].region] + self.chance.below(2);
            let copies = if self.chance.one_in(8) { 2 } else { 1 };
            for copy in 0..copies {
                let arrival = arrival + copy * self.chance.below(steps(1));
                self.put(arrival, Parcel::ToNode(to, Some(self.nodes[to].instance), sent.clone()));
            }
        }
    }
}
