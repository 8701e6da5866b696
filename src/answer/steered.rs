//! Answers from steered names: finds the cell of the client's class, draws from it, and notes the scope of the answer.

use std::net::IpAddr;

use super::answering::{Answering, ChainStep, LocatedClient, NodeQuestion};
use super::edns::ExtendedError;

use crate::model::{Facet, ZoneId};
use crate::placing::ClientNet;
use crate::snapshot::names::{NodeRef, SteeredNode};
use crate::snapshot::{Cell, CellContent, ClassTables, KnownBy, Picks, PreparedRecord};
use crate::wire::PREPARED_HEAD;
use crate::wire::code::{rcode, rtype};
use crate::wire::reply::{Full, Owner, Section};

/// Octets of a prepared record with an IPv4 or IPv6 address.
const A_LEN: usize = PREPARED_HEAD + 4;
const AAAA_LEN: usize = PREPARED_HEAD + 16;

/// Up to this many records are counted one by one.
const FEW: usize = 8;

impl<'q> Answering<'q> {
    /// Answers from a steered node. Types that the policy does not answer come from the zone file.
    pub(super) fn steered_node(
        &mut self,
        node: NodeRef<'q>,
        steered: &'q SteeredNode,
        wanted: NodeQuestion,
    ) -> Result<ChainStep<'q>, Full> {
        let facet = match wanted.qtype {
            rtype::ANY => self.facet_for_any(node.zone(), steered),
            qtype => facet_for(steered, qtype),
        };
        let Some(facet) = facet else { return self.static_node(node, wanted, None) };
        let Some(cell) = self.cell(node.zone(), steered, facet) else { return self.static_node(node, wanted, None) };
        if cell.is_stale() {
            self.note(ExtendedError::StaleAnswer);
        }
        match cell.content() {
            CellContent::Static => self.static_node(node, wanted, Some(cell.ttl())),
            CellContent::Nodata => self.negative(node.zone(), rcode::NOERROR, wanted, Some(cell.ttl())),
            CellContent::Records => self.drawn(node, steered, cell, wanted),
        }
    }

    fn drawn(
        &mut self,
        node: NodeRef<'q>,
        steered: &'q SteeredNode,
        cell: &'q Cell,
        wanted: NodeQuestion,
    ) -> Result<ChainStep<'q>, Full> {
        if let Some(only) = cell.only().filter(|only| only.rtype == rtype::CNAME) {
            return self.drawn_alias(node, steered, only, wanted);
        }
        if self.reply.room() < cell.least_octets() {
            // The scope is that of a reply that was drawn.
            self.net_of(node.zone(), cell);
            return Err(Full);
        }
        let picks = self.draw(node.zone(), cell);
        let Some(&first) = picks.first() else {
            return self.negative(node.zone(), rcode::NOERROR, wanted, Some(cell.ttl()));
        };
        if cell.record(first).rtype == rtype::CNAME {
            return self.drawn_alias(node, steered, cell.record(first), wanted);
        }
        let at = self.records(Section::Answer, Owner::At(wanted.owner.at()), steered, cell, &picks)?;
        self.add_targets(steered, cell, &picks, at);
        Ok(ChainStep::Done(rcode::NOERROR))
    }

    /// Answers with a CNAME that was drawn.
    fn drawn_alias(
        &mut self,
        node: NodeRef<'q>,
        steered: &'q SteeredNode,
        record: PreparedRecord<'q>,
        wanted: NodeQuestion,
    ) -> Result<ChainStep<'q>, Full> {
        let target = self.snapshot.zones.steered_target(steered.aliases, record.slot);
        let end = self.snapshot.zones.alias_end(steered.alias_ends, record.slot);
        let step = self.steered_alias(node.zone(), wanted.owner, record.bytes, target, end)?;
        self.tallies.add(steered.tally_base + u32::from(record.slot));
        let is_answer = matches!(wanted.qtype, rtype::CNAME | rtype::ANY);
        Ok(if is_answer { ChainStep::Done(rcode::NOERROR) } else { step })
    }

    /// Adds drawn records as one RRset, whole or not at all, and counts them. Returns the octet of the first.
    pub(super) fn records(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        steered: &SteeredNode,
        cell: &Cell,
        picks: &[u16],
    ) -> Result<usize, Full> {
        let at = match (owner, cell.equal_records()) {
            (Owner::At(owner), Some((A_LEN, records))) => self.reply.rrset_at::<A_LEN>(section, owner, records, picks),
            (Owner::At(owner), Some((AAAA_LEN, records))) => {
                self.reply.rrset_at::<AAAA_LEN>(section, owner, records, picks)
            }
            (owner, _) => self.reply.rrset_of(section, owner, picks.iter().map(|&pick| cell.record(pick).bytes)),
        }?;
        let ids = picks.iter().map(|&pick| steered.tally_base + u32::from(cell.slot(pick)));
        match picks.len() > FEW && cell.has_distinct_slots() {
            true => self.tallies.add_distinct(ids),
            false => ids.for_each(|id| self.tallies.add(id)),
        }
        Ok(at)
    }

    /// The cell of a steered name for this client. The scope of the reply gets longer where the cell
    /// depends on the client.
    pub(super) fn cell(&mut self, zone: ZoneId, steered: &SteeredNode, facet: Facet) -> Option<&'q Cell> {
        let of_facet = self.snapshot.facet(steered.policy, facet)?;
        let Some(tables) = of_facet.tables.as_deref() else { return of_facet.cells.first().map(|cell| &**cell) };
        let located = match self.client {
            Some(located) if std::ptr::eq(located.tables, tables) => located,
            Some(_) | None => self.locate_client(zone, tables),
        };
        self.client = Some(located);
        self.scope = self.scope.max(located.prefix_len);
        of_facet.cell(located.class).map(|cell| &**cell)
    }

    /// Draws from a cell of [`Answering::cell`]. The scope of the reply gets longer where affinity uses the
    /// client's net.
    pub(super) fn draw(&mut self, zone: ZoneId, cell: &Cell) -> Picks {
        let chance = self.chance();
        match self.net_of(zone, cell) {
            None => cell.pick(chance),
            Some(net) => cell.pick_for(chance, net),
        }
    }

    /// The client's net, where it decides in this cell. The scope of the reply gets longer where the net is of a client
    /// subnet.
    fn net_of(&mut self, zone: ZoneId, cell: &Cell) -> Option<ClientNet> {
        let affinity = cell.affinity()?;
        let (ip, by) = self.client_address(zone);
        Some(match by {
            KnownBy::Address => ClientNet::of(affinity, ip, None),
            KnownBy::Ecs => {
                let ecs = self.snapshot.zones.ecs(zone);
                let net = ClientNet::of(affinity, ip, Some((ecs.v4, ecs.v6)));
                self.scope = self.scope.max(net.len);
                net
            }
        })
    }

    /// The facet that answers ANY: one RRset is enough (RFC 8482, 4.1), so the first with records now, or else the
    /// first.
    fn facet_for_any(&mut self, zone: ZoneId, steered: &SteeredNode) -> Option<Facet> {
        let facets = [
            (steered.has_v4, Facet::V4),
            (steered.has_v6, Facet::V6),
            (steered.has_srv, Facet::Srv),
            (steered.has_https, Facet::Https),
            (steered.has_svcb, Facet::Svcb),
            (steered.has_alias, Facet::Alias),
        ];
        let facets = || facets.iter().filter(|(has, _)| *has).map(|(_, facet)| *facet);
        let gives = |cell: &Cell| {
            cell.content() != CellContent::Nodata
                && (cell.content() == CellContent::Static || cell.records().next().is_some())
        };
        let first = facets().next();
        for facet in facets() {
            if self.cell(zone, steered, facet).is_some_and(gives) {
                return Some(facet);
            }
        }
        first
    }

    /// Finds the class of the client.
    fn locate_client(&self, zone: ZoneId, tables: &'q ClassTables) -> LocatedClient<'q> {
        let (ip, by) = self.client_address(zone);
        let (class, prefix_len) = tables.place(ip, by);
        let prefix_len = match by {
            KnownBy::Ecs => prefix_len,
            KnownBy::Address => 0,
        };
        LocatedClient { tables, class, prefix_len }
    }

    /// The client's address: its subnet where the query has one and the zone uses ECS, otherwise the query's source.
    fn client_address(&self, zone: ZoneId) -> (IpAddr, KnownBy) {
        let subnet = self.query.edns.and_then(|edns| edns.client_subnet).and_then(|subnet| subnet.client());
        match subnet.filter(|_| self.snapshot.zones.ecs(zone).enabled) {
            Some(ip) => (ip, KnownBy::Ecs),
            None => (self.raw.source.ip(), KnownBy::Address),
        }
    }
}

/// Which facet of a steered name answers a type; `None`: the zone file does. A policy that can answer with a CNAME
/// answers every type, except RRSIG and NSEC, which may exist next to a CNAME (RFC 2181, 10.1).
fn facet_for(steered: &SteeredNode, qtype: u16) -> Option<Facet> {
    match qtype {
        rtype::A if steered.has_v4 => Some(Facet::V4),
        rtype::AAAA if steered.has_v6 => Some(Facet::V6),
        rtype::SRV if steered.has_srv => Some(Facet::Srv),
        rtype::HTTPS if steered.has_https => Some(Facet::Https),
        rtype::SVCB if steered.has_svcb => Some(Facet::Svcb),
        rtype::RRSIG | rtype::NSEC => None,
        _ if steered.has_alias => Some(Facet::Alias),
        _ => None,
    }
}
