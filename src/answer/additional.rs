//! The additional section (RFC 1034, 4.3.2 step 6): addresses of the names that NS, MX, SRV and their like point at,
//! steered ones too. Addresses that do not fit are left out, and TC is not set. Exception: without its glue a
//! delegation cannot be followed, so that a reply without room for it is truncated (RFC 9471).

use super::answering::Answering;
use crate::model::{Facet, MAX_ANSWERS};
use crate::snapshot::names::{Extra, LookupResult, NO_TARGETS, NodeRef, RrsetRef, SteeredNode};
use crate::snapshot::{Cell, CellContent, PreparedRecord};
use crate::wire::code::{rtype, target_offset};
use crate::wire::reply::{Full, Owner, ReplyWriter, Section};
use crate::wire::{PREPARED_HEAD, name_len};

/// Most steered names whose addresses are added to one reply where nothing needs them: each is a draw, and resolvers
/// ask for the addresses of the name that they choose.
const MAX_STEERED: usize = 8;

/// An RRset whose records point at names, by its section.
#[derive(Clone, Copy)]
pub(super) enum Pending<'t> {
    /// In the answer, with its owner at this octet of the reply: addresses are optional.
    Answer(RrsetRef<'t>, u16),
    /// NS of a referral: addresses below the cut are required.
    Referral(RrsetRef<'t>),
}

impl<'q> Answering<'q> {
    /// Adds the addresses of names in the RRset whose first record is at octet `first`; an error when required ones do
    /// not fit.
    pub(super) fn add_extras(&mut self, pending: Pending<'q>, first: usize) -> Result<(), Full> {
        match pending {
            Pending::Answer(rrset, owner_at) => {
                let mut names = Names::of(rrset.rtype(), first);
                let mut left = MAX_STEERED;
                for extra in rrset.extras() {
                    if !may_add(extra.node, &mut left) {
                        continue;
                    }
                    let owner = match extra.name {
                        Some(name) => names.owner(&self.reply, extra.record, || name),
                        None => Owner::At(owner_at),
                    };
                    if self.add_extra(extra.node, owner).is_err() {
                        break;
                    }
                }
                Ok(())
            }
            Pending::Referral(ns) => {
                let mut names = Names::of(rtype::NS, first);
                for (extra, name) in ns.extras().filter(|extra| extra.is_in_domain).filter_map(named) {
                    let owner = names.owner(&self.reply, extra.record, || name);
                    self.add_extra(extra.node, owner)?;
                }
                let mut names = Names::of(rtype::NS, first);
                for (extra, name) in ns.extras().filter(|extra| !extra.is_in_domain).filter_map(named) {
                    let owner = names.owner(&self.reply, extra.record, || name);
                    if self.add_extra(extra.node, owner).is_err() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// Adds the addresses of the names that steered records point at (RFC 2782; RFC 9460, 4.1), each name once. A
    /// record that points at its own owner has the addresses of its endpoint as hints already. The first record is at
    /// octet `first`.
    pub(super) fn add_targets(&mut self, steered: &'q SteeredNode, cell: &'q Cell, picks: &[u16], first: usize) {
        if steered.services == NO_TARGETS {
            return;
        }
        // Hashes, and for each the bit of its last six bits.
        let (mut seen, mut len, mut bits) = ([0; MAX_ANSWERS], 0, 0);
        let mut left = MAX_STEERED;
        let mut names: Option<Names> = None;
        for (at, &pick) in picks.iter().enumerate() {
            let record = cell.record(pick);
            let Some(target) = self.snapshot.zones.steered_target(steered.services, record.slot) else { continue };
            // If two names ever had one hash, the resolver would ask for the addresses of one of them.
            let bit = 1_u64 << (target.hash % u64::from(u64::BITS));
            if (bits & bit != 0 && seen[..len].contains(&target.hash)) || len == MAX_ANSWERS {
                continue;
            }
            (seen[len], len, bits) = (target.hash, len + 1, bits | bit);
            let (LookupResult::Exact(node) | LookupResult::Wildcard(node)) =
                self.snapshot.zones.at(target.position, false)
            else {
                continue;
            };
            if !may_add(node, &mut left) {
                continue;
            }
            let Some(from_name) = target_of(record) else { continue };
            let names = names.get_or_insert_with(|| Names::of(record.rtype, first));
            let name = || from_name.get(..name_len(from_name)).unwrap_or_default();
            let owner = names.owner(&self.reply, at, name);
            if self.add_extra(node, owner).is_err() {
                break;
            }
        }
    }

    /// Adds the addresses of one name, IPv4 before IPv6.
    fn add_extra(&mut self, node: NodeRef<'q>, owner: Owner<'q>) -> Result<(), Full> {
        let v4 = self.add_family(node, owner, Facet::V4, rtype::A);
        let v6 = self.add_family(node, owner, Facet::V6, rtype::AAAA);
        v4.and(v6)
    }

    fn add_family(&mut self, node: NodeRef<'q>, owner: Owner<'q>, facet: Facet, rtype: u16) -> Result<(), Full> {
        let steered = node.steered().filter(|steered| match facet {
            Facet::V4 => steered.has_v4 || steered.has_alias,
            Facet::V6 => steered.has_v6 || steered.has_alias,
            Facet::Alias | Facet::Srv | Facet::Https | Facet::Svcb => false,
        });
        match steered {
            Some(steered) => self.add_steered(node, owner, steered, facet, rtype),
            None => self.add_static(node, owner, rtype, None),
        }
    }

    fn add_static(
        &mut self,
        node: NodeRef<'q>,
        owner: Owner<'q>,
        rtype: u16,
        ttl_cap: Option<u32>,
    ) -> Result<(), Full> {
        let Some(rrset) = node.rrset(rtype) else { return Ok(()) };
        self.reply.rrset(Section::Additional, owner, rrset.records(), ttl_cap).map(|_| ())
    }

    /// The addresses of a steered name; a CNAME or an empty answer is not added.
    fn add_steered(
        &mut self,
        node: NodeRef<'q>,
        owner: Owner<'q>,
        steered: &SteeredNode,
        facet: Facet,
        rtype: u16,
    ) -> Result<(), Full> {
        let Some(cell) = self.cell(node.zone(), steered, facet) else { return Ok(()) };
        match cell.content() {
            CellContent::Static => self.add_static(node, owner, rtype, Some(cell.ttl())),
            CellContent::Nodata => Ok(()),
            CellContent::Records => {
                if let Some(only) = cell.only().filter(|_| cell.affinity().is_none()) {
                    if only.rtype == rtype {
                        self.reply.rrset(Section::Additional, owner, only.bytes, None)?;
                        self.tallies.add(steered.tally_base + u32::from(only.slot));
                    }
                    return Ok(());
                }
                let picks = self.draw(node.zone(), cell);
                let are_addresses = picks.iter().all(|&pick| cell.record(pick).rtype == rtype);
                if picks.is_empty() || !are_addresses {
                    return Ok(());
                }
                self.records(Section::Additional, owner, steered, cell, &picks).map(|_| ())
            }
        }
    }
}

/// The names in the RDATA of an RRset of the reply.
struct Names {
    /// The octet of a record, and the record's place.
    at: usize,
    record: usize,
    /// Octets before the name in RDATA.
    before: usize,
}

impl Names {
    /// Of the RRset whose first record is at this octet.
    fn of(rtype: u16, first: usize) -> Names {
        Names { at: first, record: 0, before: target_offset(rtype).unwrap_or(0) }
    }

    /// The name in a record, as an owner: what `name` gives where no pointer reaches it. The records are in rising
    /// order.
    fn owner<'n>(&mut self, reply: &ReplyWriter<'_>, record: usize, name: impl FnOnce() -> &'n [u8]) -> Owner<'n> {
        while self.record < record {
            self.at = reply.next_record(self.at);
            self.record += 1;
        }
        reply.owner_at(self.at + PREPARED_HEAD + self.before).unwrap_or_else(|| Owner::Name(name()))
    }
}

/// Whether the addresses of a name may be added; a steered name takes one of the `left`.
fn may_add(node: NodeRef<'_>, left: &mut usize) -> bool {
    if node.steered().is_none() {
        return true;
    }
    let fewer = left.checked_sub(1);
    *left = fewer.unwrap_or(0);
    fewer.is_some()
}

/// With the name, where it has one.
fn named(extra: Extra<'_>) -> Option<(Extra<'_>, &[u8])> {
    Some((extra, extra.name?))
}

/// What a steered record's RDATA has from its target name on; `None` where the target is the record's owner.
fn target_of(record: PreparedRecord<'_>) -> Option<&[u8]> {
    record.rdata().get(target_offset(record.rtype)?..).filter(|name| name.first().is_some_and(|len| *len > 0))
}
