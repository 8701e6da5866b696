//! What must hold of every view of every server, and of every promotion.

use std::collections::BTreeSet;

use portolan::fleet::lease::LeaseWrite;
use portolan::model::quorum::STALE_AFTER;
use portolan::model::{Basis, CheckId, Evidence, Health};

use crate::bug::Bug;
use crate::world::{CHECKS, REGIONS, SERVERS, STEP, World, steps};

/// How old what a server knows may be when a message arrives, in steps: a change may be lost, is asked for then, and
/// comes with the next slice in any case. Also the time of two report periods.
const PERIODS: u64 = steps(10);
/// A vantage that starts has observed everything after this time.
const FIRST_ROUND: u64 = steps(3);
const STALE: u64 = STALE_AFTER.as_millis() as u64 / STEP.as_millis() as u64;
/// Clocks differ, and views are made twice a second.
const ABOUT: u64 = steps(2);

impl World {
    /// The messages of a vantage that a server has: when the last one arrived and was sent. Its own come at once.
    fn last_message(&self, server: usize, vantage: usize) -> Option<(u64, u64)> {
        if server == vantage {
            return self.nodes[vantage].probed_at.map(|at| (at, at));
        }
        self.nodes[server].server.as_ref()?.accepted[vantage]
    }

    /// Whether a vantage believed this in the time before `sent_at`, or may have before it started.
    fn did_believe(&self, vantage: usize, check: usize, health: Health, sent_at: u64) -> bool {
        let node = &self.nodes[vantage];
        let last = node.believed[check][usize::from(health == Health::Down)];
        sent_at < node.started_at + FIRST_ROUND || last.is_some_and(|last| last + PERIODS >= sent_at)
    }

    /// Whether a server knows that a vantage has stopped in order.
    fn has_ended(&self, server: usize, vantage: usize) -> bool {
        self.nodes[server].server.as_ref().is_some_and(|server| server.ended[vantage])
    }

    /// A server counts a vantage as known while it reports, and from its goodbye on not any more.
    fn check_known(&self, at: usize) {
        let Some(server) = &self.nodes[at].server else { return };
        for (vantage, node) in self.nodes.iter().enumerate().filter(|(vantage, _)| *vantage != at) {
            let is_known = server.view.vantages.iter().any(|known| known.name == node.vantage.name);
            let reports = server.accepted[vantage].is_some_and(|(arrived, _)| self.now + ABOUT <= arrived + STALE);
            if server.ended[vantage] {
                assert!(!is_known, "at {}: server {at} knows vantage {vantage}, which has stopped", self.now);
            } else if reports {
                assert!(is_known, "at {}: server {at} does not know vantage {vantage}, which reports", self.now);
            }
        }
    }

    fn was_blind(&self, vantage: usize, sent_at: u64) -> bool {
        self.nodes[vantage].blind_at.is_some_and(|at| at + PERIODS >= sent_at)
    }

    /// The regions whose vantages call for Down, as far as this server can know.
    fn down_regions(&self, server: usize, check: usize) -> BTreeSet<usize> {
        let calls = |vantage: &usize| {
            self.last_message(server, *vantage).is_some_and(|(arrived, sent)| {
                self.now <= arrived + STALE + ABOUT && self.did_believe(*vantage, check, Health::Down, sent)
            })
        };
        (0..self.nodes.len()).filter(calls).map(|vantage| self.nodes[vantage].region).collect()
    }

    /// What each vantage reported of a check, as the last view of a server has it.
    fn evidence(&self, server: usize, check: usize) -> Vec<Evidence> {
        let Some(server) = &self.nodes[server].server else { return Vec::new() };
        server.view.evidence.of(&self.model, CheckId(check as u32), server.view.at)
    }

    /// The regions that have a vote on a check at this server without doubt.
    fn voting_regions(&self, server: usize, check: usize) -> BTreeSet<usize> {
        let evidence = self.evidence(server, check);
        let has_ballot = |vantage: usize| {
            let name = &self.nodes[vantage].vantage.name;
            evidence.iter().any(|one| one.vantage == *name)
        };
        let votes = |vantage: &usize| {
            has_ballot(*vantage)
                && !self.has_ended(server, *vantage)
                && self.last_message(server, *vantage).is_some_and(|(arrived, sent)| {
                    self.now + ABOUT <= arrived + STALE
                        && !self.was_blind(*vantage, sent)
                        && sent >= self.nodes[*vantage].started_at + FIRST_ROUND
                })
        };
        (0..self.nodes.len()).filter(votes).map(|vantage| self.nodes[vantage].region).collect()
    }

    /// A verdict Down has a majority of the regions that vote, and what a server knows of each vantage is what that
    /// vantage believed a moment ago.
    pub(crate) fn check_view(&self, at: usize) {
        let Some(server) = &self.nodes[at].server else { return };
        // What waited while a server stood still looks new to it, until the next messages come.
        if self.now < self.nodes[at].paused_until + FIRST_ROUND {
            return;
        }
        if self.bug != Some(Bug::TrustOneVantage) {
            self.check_known(at);
        }
        for (check, view) in server.view.checks.iter().enumerate() {
            if view.health == Health::Down && view.basis == Basis::Votes {
                self.check_down(at, check, "is withdrawn");
            }
            let evidence = self.evidence(at, check);
            for evidence in evidence.iter().filter(|evidence| evidence.health != Health::Unknown) {
                let from = self.nodes.iter().position(|node| node.vantage.name == evidence.vantage);
                let from = from.expect("a vantage that exists");
                let (_, sent) = self.last_message(at, from).expect("a vantage that reported");
                assert!(
                    self.was_blind(from, sent) || self.did_believe(from, check, evidence.health, sent),
                    "at {}: server {at} has {:?} of vantage {from} on check {check}, which believed {:?}, sent at {sent}",
                    self.now,
                    evidence.health,
                    self.nodes[from].believed[check]
                );
            }
        }
        assert!(server.collector.vantages().count() < self.nodes.len(), "vantages that do not exist");
    }

    fn check_down(&self, at: usize, check: usize, what: &str) {
        let (down, voting) = (self.down_regions(at, check), self.voting_regions(at, check));
        let needed = (voting.len() / 2 + 1).min(REGIONS.len());
        assert!(
            down.len() >= needed && !down.is_empty(),
            "at {}: check {check} {what} by server {at}: {down:?} call for it, {voting:?} vote",
            self.now
        );
    }

    /// A promotion begins with a verdict of the quorum, and at the holder of the lease.
    pub(crate) fn check_promotion(&self, at: usize, write: &LeaseWrite) {
        let node = &self.nodes[at];
        let Some(before) = node.server.as_ref().and_then(|server| server.lease.lease()) else { return };
        if before.promoting.is_some() || write.lease.promoting.is_none() {
            return;
        }
        assert_eq!(before.instance, node.instance, "without the lease: {write:?}");
        let from = self.members.iter().position(|member| *member == before.active.endpoint).expect("a member");
        let view = node.server.as_ref().map(|server| &server.view.checks[from]);
        let verdict = view.map(|view| (view.health, view.basis));
        assert_eq!(verdict, Some((Health::Down, Basis::Votes)), "a promotion without a quorum: {write:?}");
    }

    /// The epoch that each server serves; 0: none.
    pub(crate) fn epochs(&self) -> Vec<u64> {
        let epoch = |at: usize| Some(self.nodes[at].server.as_ref()?.served.as_ref()?.epoch);
        (0..SERVERS).map(|at| epoch(at).unwrap_or(0)).collect()
    }

    /// All servers agree with what is true.
    pub(crate) fn check_agreement(&self) {
        for at in 0..SERVERS {
            let Some(server) = &self.nodes[at].server else { continue };
            for check in 0..CHECKS {
                let expected = if self.truth[check] { Health::Up } else { Health::Down };
                let (view, evidence) = (&server.view.checks[check], self.evidence(at, check));
                assert_eq!(
                    (view.health, view.basis),
                    (expected, Basis::Votes),
                    "server {at}, check {check}: {evidence:?}"
                );
                assert_eq!(evidence.len(), self.nodes.len(), "server {at} knows every vantage");
            }
        }
    }
}
