//! The additional section (RFC 1034, 4.3.2 step 6): addresses of the names that NS, MX, SRV and their like point at,
//! steered ones too. Addresses that do not fit are left out, and TC is not set. Exception: without its glue a
//! delegation cannot be followed, so that a reply without room for it is truncated (RFC 9471).

use super::answering::Answering;
use crate::model::{Facet, ZoneId};
use crate::snapshot::names::{Extra, LookupResult, RrsetRef, SteeredNode};
use crate::snapshot::{Cell, CellContent, PreparedRecord};
use crate::wire::NameBuf;
use crate::wire::code::rtype;
use crate::wire::reply::{Full, Owner, Section};

/// An RRset whose records point at names, by its section.
#[derive(Clone, Copy)]
pub(super) enum Pending<'t> {
    /// In the answer, with its owner at this octet of the reply: addresses are optional.
    Answer(RrsetRef<'t>, u16),
    /// NS of a referral: addresses below the cut are required.
    Referral(RrsetRef<'t>),
}

impl<'q> Answering<'q> {
    /// Adds the addresses; an error when required ones do not fit.
    pub(super) fn add_extras(&mut self, pending: Pending<'q>) -> Result<(), Full> {
        match pending {
            Pending::Answer(rrset, owner_at) => {
                for extra in rrset.extras() {
                    let owner = extra.name.map_or(Owner::At(owner_at), Owner::Name);
                    if self.add_extra(&extra, owner).is_err() {
                        break;
                    }
                }
                Ok(())
            }
            Pending::Referral(ns) => {
                let mut glue = Ok(());
                let named = |extra: Extra<'q>| extra.name.map(|name| (extra, Owner::Name(name)));
                for (extra, owner) in ns.extras().filter(|extra| extra.is_in_domain).filter_map(named) {
                    glue = glue.and(self.add_extra(&extra, owner));
                }
                glue?;
                for (extra, owner) in ns.extras().filter(|extra| !extra.is_in_domain).filter_map(named) {
                    if self.add_extra(&extra, owner).is_err() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// Adds the addresses of the names that steered records point at (RFC 2782; RFC 9460, 4.1), each name once. A
    /// record that points at its own owner has the addresses of its endpoint as hints already.
    pub(super) fn add_targets(&mut self, zone: ZoneId, cell: &'q Cell, picks: &[u16]) {
        for (at, &pick) in picks.iter().enumerate() {
            let Some(target) = target_of(cell.record(pick)) else { continue };
            if picks[..at].iter().any(|&before| target_of(cell.record(before)) == Some(target)) {
                continue;
            }
            let Some(name) = NameBuf::parse(target) else { continue };
            let (LookupResult::Exact(node) | LookupResult::Wildcard(node)) =
                self.snapshot.zones.find_within(zone, &name, false)
            else {
                continue;
            };
            let extra = Extra { name: Some(target), node, is_in_domain: false };
            if self.add_extra(&extra, Owner::Name(target)).is_err() {
                break;
            }
        }
    }

    /// Adds the addresses of one name, IPv4 before IPv6.
    fn add_extra(&mut self, extra: &Extra<'q>, owner: Owner<'q>) -> Result<(), Full> {
        let v4 = self.add_family(extra, owner, Facet::V4, rtype::A);
        let v6 = self.add_family(extra, owner, Facet::V6, rtype::AAAA);
        v4.and(v6)
    }

    fn add_family(&mut self, extra: &Extra<'q>, owner: Owner<'q>, facet: Facet, rtype: u16) -> Result<(), Full> {
        let steered = extra.node.steered().filter(|steered| match facet {
            Facet::V4 => steered.has_v4 || steered.has_alias,
            Facet::V6 => steered.has_v6 || steered.has_alias,
            Facet::Alias | Facet::Srv | Facet::Https | Facet::Svcb => false,
        });
        match steered {
            Some(steered) => self.add_steered(extra, owner, steered, facet, rtype),
            None => self.add_static(extra, owner, rtype, None),
        }
    }

    fn add_static(
        &mut self,
        extra: &Extra<'q>,
        owner: Owner<'q>,
        rtype: u16,
        ttl_cap: Option<u32>,
    ) -> Result<(), Full> {
        let Some(rrset) = extra.node.rrset(rtype) else { return Ok(()) };
        self.reply.rrset(Section::Additional, owner, rrset.records(), ttl_cap).map(|_| ())
    }

    /// The addresses of a steered name; a CNAME or an empty answer is not added.
    fn add_steered(
        &mut self,
        extra: &Extra<'q>,
        owner: Owner<'q>,
        steered: &SteeredNode,
        facet: Facet,
        rtype: u16,
    ) -> Result<(), Full> {
        let Some(cell) = self.cell(extra.node.zone(), steered, facet) else { return Ok(()) };
        match cell.content() {
            CellContent::Static => self.add_static(extra, owner, rtype, Some(cell.ttl())),
            CellContent::Nodata => Ok(()),
            CellContent::Records => {
                let picks = self.draw(extra.node.zone(), cell);
                let are_addresses = picks.iter().all(|&pick| cell.record(pick).rtype == rtype);
                if picks.is_empty() || !are_addresses {
                    return Ok(());
                }
                self.records(Section::Additional, owner, steered, cell, &picks)
            }
        }
    }
}

/// The name that a steered record points at; `None` where that is its owner.
fn target_of(record: PreparedRecord<'_>) -> Option<&[u8]> {
    let before = match record.rtype {
        rtype::SRV => 6,
        rtype::SVCB | rtype::HTTPS => 2,
        _ => return None,
    };
    let rest = record.rdata().get(before..)?;
    let mut end = 0;
    while let Some(&len) = rest.get(end).filter(|len| **len != 0) {
        end += 1 + usize::from(len);
    }
    rest.get(..=end).filter(|target| target.len() > 1)
}
