//! The TXT records with the epochs of exclusive names. Their text changes with a promotion, while the rest of a table
//! changes with a reload only, so each has room for the longest text. A new text is written into a copy of the table.

use std::collections::HashMap;

use super::{NONE, Node, Span, StoredRrset, ZoneTable};
use crate::model::{ActiveEndpoint, LeaseView, Model, PolicyId};
use crate::wire::code::rtype;
use crate::wire::{Name, PREPARED_HEAD, put_prepared};

/// Where the record of an exclusive name is.
#[derive(Debug, Clone)]
pub(super) struct EpochSlot {
    /// The exclusive name.
    owner: Name,
    node: u32,
    /// Its RRset, which has the whole of the node's octets while there is a text.
    rrset: u32,
    start: usize,
}

/// Longest character-string (RFC 1035, 3.3).
const MAX_STRING: usize = 255;
/// Longest text: a name of an endpoint has at most 255 octets, and the rest less than 60.
const MAX_TEXT: usize = 2 * MAX_STRING;
/// Octets of a record with the longest text, which takes two strings.
const ROOM: usize = PREPARED_HEAD + MAX_TEXT + 2;

impl ZoneTable {
    /// Makes room for the epoch of a policy at `node`, the last one so far, which has no other records.
    pub(super) fn add_epoch(&mut self, node: u32, model: &Model, policy: PolicyId) {
        let policy = model.policy(policy);
        let Some(exclusive) = &policy.exclusive else { return };
        let (start, rrset) = (self.bytes.len(), self.rrsets.len() as u32);
        self.bytes.resize(start + ROOM, 0);
        // As short as its answers may live: who fences by it wants to know soon.
        let ttl = u32::try_from(policy.ttl.min.as_secs()).unwrap_or(u32::MAX);
        let records = Span { start, len: 0 };
        let (first_extra, first_end, least_len, extras) = (0, NONE, 0, 0);
        self.rrsets.push(StoredRrset { rtype: rtype::TXT, ttl, records, first_extra, first_end, least_len, extras });
        let Node { first_rrset, rrsets, .. } = &mut self.nodes[node as usize];
        debug_assert_eq!(*rrsets, 0, "config refuses other records there");
        (*first_rrset, *rrsets) = (rrset, 0);
        self.epochs.push(EpochSlot { owner: exclusive.owner.clone(), node, rrset, start });
    }

    /// Whether a record of the table is another with the leases `new` than with `old`.
    pub(in crate::snapshot) fn has_other_epochs(
        &self,
        old: &HashMap<Name, LeaseView>,
        new: &HashMap<Name, LeaseView>,
    ) -> bool {
        self.epochs.iter().any(|EpochSlot { owner, .. }| {
            let text_of = |leases| active(leases, owner).map(|active| (active.epoch, &active.endpoint));
            text_of(old) != text_of(new)
        })
    }

    /// Writes the epochs. A name without a known lease has no record.
    pub(in crate::snapshot) fn write_epochs(&mut self, leases: &HashMap<Name, LeaseView>) {
        let ZoneTable { epochs, nodes, rrsets, bytes, .. } = self;
        for EpochSlot { owner, node, rrset, start } in epochs.iter() {
            let active = active(leases, owner);
            let stored = &mut rrsets[*rrset as usize];
            let record = active.map(|active| record(active, stored.ttl)).unwrap_or_default();
            nodes[*node as usize].rrsets = u16::from(!record.is_empty());
            bytes[*start..*start + record.len()].copy_from_slice(&record);
            stored.records = Span { start: *start, len: record.len() as u32 };
        }
    }
}

/// The active endpoint of an exclusive name, where it is known.
fn active<'l>(leases: &'l HashMap<Name, LeaseView>, owner: &Name) -> Option<&'l ActiveEndpoint> {
    leases.get(owner)?.active.as_ref()
}

/// The record with `epoch=7 endpoint=fra1`.
fn record(active: &ActiveEndpoint, ttl: u32) -> Vec<u8> {
    let text = format!("epoch={} endpoint={}", active.epoch, active.endpoint);
    let text = &text.as_bytes()[..text.len().min(MAX_TEXT)];
    let rdata: Vec<u8> = text
        .chunks(MAX_STRING)
        .flat_map(|part| std::iter::once(part.len() as u8).chain(part.iter().copied()))
        .collect();
    let mut record = Vec::with_capacity(ROOM);
    put_prepared(&mut record, rtype::TXT, ttl, &rdata);
    record
}
