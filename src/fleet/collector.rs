//! The reports of remote vantages from their messages. A value: it gets octets and the time of their arrival, and
//! returns [`Report`]s of parts. It bounds what each vantage may send, notices gaps, and counts what it refuses.
//!
//! Times are those of this process: an observation is as old as its age at the arrival of the message.
//!
//! # Use
//!
//! The owner calls [`Collector::adopt`] with each new set of checks, and [`Collector::receive`] with each message. It
//! takes region and name from the subject. Some times a second it sends [`Collector::asks`], writes
//! [`Collector::refusals`] to the log, and calls [`Collector::forget`]. The agreement forgets silent vantages too, by
//! itself.

mod allowance;
mod known;
mod path_time;
mod refusal;
mod remote;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::fleet::collector::known::KnownChecks;
use crate::fleet::collector::refusal::RefusalLog;
use crate::fleet::message::{Ask, CheckHash, ReportMessage};
use crate::fleet::{Report, Vantage};
use crate::model::quorum::{MAX_STALE_AFTER, STALE_AFTER};
use crate::model::{CheckKey, MAX_NODE_NAME, Moment};

pub use refusal::{RefusedBurst, RefusedMessages, Unaccepted};
pub use remote::RemoteVantage;

/// Most remote vantages. Judgment: ten times as many as the quorum of a monitor can count in a region.
pub const MAX_VANTAGES: usize = 1000;
/// A vantage that is silent for so long is forgotten: no monitor counts a report that is older.
const FORGET_AFTER: Duration = MAX_STALE_AFTER;

/// The remote vantages as this server knows them.
#[derive(Debug, Default)]
pub struct Collector {
    /// The vantages of this process, with the boot ids of their reporters.
    own: Vec<(Vantage, u64)>,
    known: KnownChecks,
    /// By name. The hash needs no secret, as there are at most [`MAX_VANTAGES`].
    vantages: HashMap<Arc<str>, RemoteVantage, FixedState>,
    forgotten: Vec<Vantage>,
    /// Refused messages with names that are not in `vantages`.
    strangers: RefusedMessages,
    stranger_log: RefusalLog,
}

impl Collector {
    /// A collector without checks. `own` are the vantages of this process with the boot ids of their reporters; their
    /// messages are ignored.
    pub fn new(own: Vec<(Vantage, u64)>) -> Collector {
        Collector { own, ..Collector::default() }
    }

    /// Replaces the checks that reports are wanted for. Keys that differ in their quorum alone have the same hash.
    pub fn adopt(&mut self, checks: Vec<(CheckHash, Arc<CheckKey>)>, now: Moment) {
        let checks = KnownChecks::new(checks);
        let before = std::mem::replace(&mut self.known, checks);
        let news = self.known.news_since(&before);
        let positions = self.known.positions_from(&before);
        for remote in self.vantages.values_mut() {
            remote.remap(&self.known, &positions, news, now);
        }
    }

    /// Takes in a message of `vantage` that arrived at `now`. Returns what it reports; `None` for a message of this
    /// process, and for the goodbye of a vantage that is not known. An error is counted and logged.
    pub fn receive(&mut self, vantage: &Vantage, octets: &[u8], now: Moment) -> Result<Option<Report>, Unaccepted> {
        let received = self.accept(vantage, octets, now);
        if let Err(why) = &received {
            let (counts, log) = match self.vantages.get_mut(&vantage.name) {
                Some(remote) if remote.region() == &*vantage.region => (&mut remote.refused, &mut remote.log),
                Some(_) | None => (&mut self.strangers, &mut self.stranger_log),
            };
            counts.count(*why);
            log.add(vantage, *why);
        }
        received
    }

    fn accept(&mut self, vantage: &Vantage, octets: &[u8], now: Moment) -> Result<Option<Report>, Unaccepted> {
        if let Some((own, boot)) = self.own.iter().find(|(own, _)| own.name == vantage.name) {
            let message = ReportMessage::decode(octets)?;
            let is_echo = own == vantage && message.boot == *boot;
            return if is_echo { Ok(None) } else { Err(Unaccepted::OwnName) };
        }
        if vantage.name.len() > MAX_NODE_NAME || vantage.region.len() > MAX_NODE_NAME {
            return Err(Unaccepted::Malformed);
        }
        if let Some(remote) = self.vantages.get_mut(&vantage.name) {
            if remote.region() == &*vantage.region {
                remote.allow(octets.len(), now)?;
                let message = ReportMessage::decode(octets)?;
                if message.is_goodbye {
                    remote.leave(&message, octets.len(), now)?;
                    return Ok(Some(Report::end(vantage.clone(), now)));
                }
                remote.number(&message, octets.len(), now)?;
                return Ok(Some(remote.report(message, vantage, &self.known, now)));
            }
            if !remote.has_left() && now.since(remote.received_at()) <= STALE_AFTER {
                return Err(Unaccepted::SecondProcess);
            }
        } else if self.vantages.len() >= MAX_VANTAGES && !self.make_room() {
            return Err(Unaccepted::TooManyVantages);
        }
        let message = ReportMessage::decode(octets)?;
        let is_goodbye = message.is_goodbye;
        if is_goodbye && self.vantages.contains_key(&vantage.name) {
            // Of a process in another region.
            return Err(Unaccepted::Ended);
        }
        let mut remote = RemoteVantage::new(vantage, &message, &self.known, octets.len(), now);
        if is_goodbye {
            // Late messages of it must not look like those of a new vantage.
            self.vantages.insert(Arc::clone(&vantage.name), remote);
            return Ok(None);
        }
        let report = remote.report(message, vantage, &self.known, now);
        if let Some(moved) = self.vantages.insert(Arc::clone(&vantage.name), remote) {
            let region = moved.region().into();
            self.forgotten.push(Vantage { name: Arc::clone(&vantage.name), region });
        }
        Ok(Some(report))
    }

    /// Forgets the vantage that left first; returns whether one has left.
    fn make_room(&mut self) -> bool {
        let left = self.vantages.iter().filter(|(_, remote)| remote.has_left());
        let first = left.min_by_key(|(_, remote)| remote.received_at()).map(|(name, _)| Arc::clone(name));
        first.is_some_and(|name| self.vantages.remove(&name).is_some())
    }

    /// The requests to send now, each with the vantage that it is for. Bounded: one a second for each vantage at first,
    /// then fewer.
    pub fn asks(&mut self, now: Moment) -> Vec<(Vantage, Ask)> {
        let ask = |(name, remote): (&Arc<str>, &mut RemoteVantage)| {
            let ask = remote.take_ask(now)?;
            Some((Vantage { name: Arc::clone(name), region: remote.region().into() }, ask))
        };
        self.vantages.iter_mut().filter_map(ask).collect()
    }

    /// What to write to the log about refused messages: at most once a minute for each vantage.
    pub fn refusals(&mut self, now: Moment) -> Vec<RefusedBurst> {
        let logs = self.vantages.values_mut().map(|remote| &mut remote.log).chain([&mut self.stranger_log]);
        logs.filter_map(|log| log.take(now)).collect()
    }

    /// The vantages that were silent for an hour, or that have moved to another region. They are removed here.
    pub fn forget(&mut self, now: Moment) -> Vec<Vantage> {
        let forgotten = &mut self.forgotten;
        self.vantages.retain(|name, remote| {
            let is_known = now.since(remote.received_at()) <= FORGET_AFTER;
            if !is_known {
                forgotten.push(Vantage { name: Arc::clone(name), region: remote.region().into() });
            }
            is_known
        });
        std::mem::take(forgotten)
    }

    /// The remote vantages by name, in no order, without those that have stopped in order.
    pub fn vantages(&self) -> impl Iterator<Item = (&Arc<str>, &RemoteVantage)> {
        self.vantages.iter().filter(|(_, remote)| !remote.has_left())
    }

    /// When the last message of a remote vantage was received: also of one that has stopped in order.
    pub fn received_at(&self, name: &str) -> Option<Moment> {
        self.vantages.get(name).map(RemoteVantage::received_at)
    }

    /// Refused messages with names that no known vantage has.
    pub fn strangers(&self) -> &RefusedMessages {
        &self.strangers
    }
}
