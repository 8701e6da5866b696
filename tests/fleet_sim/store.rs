//! The store of leases: revisions of one key with compare-and-set, and what must hold of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portolan::fleet::lease::{Lease, LeaseWrite, StoredLease, WriteResult};
use portolan::model::ActiveEndpoint;

#[derive(Default)]
pub(crate) struct Store {
    history: Vec<Lease>,
    /// It has no quorum until this step.
    pub(crate) stops_until: u64,
    /// Every endpoint that an epoch ever had, in the store or in the answers of a server.
    epochs: BTreeMap<u64, Arc<str>>,
    hooks_run: BTreeSet<u64>,
    hooks_done: BTreeSet<u64>,
    pub(crate) promotions: usize,
}

impl Store {
    pub(crate) fn newest(&self) -> (u64, StoredLease) {
        let content = self.history.last().map_or(StoredLease::Nothing, |lease| StoredLease::Lease(lease.clone()));
        (self.history.len() as u64, content)
    }

    /// Compare-and-set. A stored revision keeps the rules of leases.
    pub(crate) fn write(&mut self, write: LeaseWrite) -> WriteResult {
        let newest = self.history.len() as u64;
        if write.expected != newest {
            return WriteResult::Conflict;
        }
        let lease = write.lease;
        if let Some(before) = self.history.last() {
            let (old, new) = (&before.active, &lease.active);
            assert!(new.epoch >= old.epoch, "the epoch fell: {before:?} -> {lease:?}");
            assert!(new.highest >= old.highest, "an epoch may be used twice: {before:?} -> {lease:?}");
            let is_moved = old.endpoint != new.endpoint;
            assert_eq!(is_moved, new.epoch > old.epoch, "an epoch for each promotion: {before:?} -> {lease:?}");
            if is_moved {
                let holders = [before, &lease].map(|lease| (&lease.holder, lease.instance));
                assert_eq!(holders[0], holders[1], "promoted without the lease: {before:?} -> {lease:?}");
                assert!(self.hooks_done.contains(&new.epoch), "promoted without its hook: {lease:?}");
                self.promotions += 1;
            }
        }
        self.note(&lease.active);
        self.history.push(lease);
        WriteResult::Stored(newest + 1)
    }

    /// An epoch has one endpoint, everywhere.
    pub(crate) fn note(&mut self, active: &ActiveEndpoint) {
        let first = self.epochs.entry(active.epoch).or_insert_with(|| active.endpoint.clone());
        assert_eq!(*first, active.endpoint, "epoch {} has two endpoints", active.epoch);
    }

    /// A hook begins: a resource that was fenced with an epoch never sees it again.
    pub(crate) fn begin_hook(&mut self, epoch: u64) {
        assert!(self.hooks_run.insert(epoch), "two hooks with epoch {epoch}");
        let served = self.history.last().map_or(0, |lease| lease.active.epoch);
        assert!(epoch > served, "a hook with epoch {epoch}, and {served} is served already");
    }

    pub(crate) fn end_hook(&mut self, epoch: u64) {
        self.hooks_done.insert(epoch);
    }
}
