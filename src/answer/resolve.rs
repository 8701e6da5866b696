//! The lookup algorithm (RFC 1034, 4.3.2 as clarified by RFC 2308, 4592, 6604 and 6672): from a question to the
//! records of its reply. [`chain`](super::chain) goes on along CNAMEs and DNAMEs inside one zone.

use super::additional::Pending;
use super::answering::{Answering, ChainStep, Next, NodeQuestion};
use super::edns::{CookieReply, CookieStatus, ExtendedError};
use super::subject::subject;
use crate::model::ZoneId;
use crate::snapshot::names::{LookupResult, NodeRef, RecordTarget, RrsetRef};
use crate::wire::code::{class, flag, rcode, rtype};
use crate::wire::question::Question;
use crate::wire::reply::{Full, Owner, QUESTION_AT, Section};
use crate::wire::{MAX_NAME, PREPARED_HEAD, Pieces, SharedEnd, common_end_of};

/// A steered CNAME counts as this many, because a draw is more work than a copy.
const STEERED_STEP: usize = 2;

impl<'q> Answering<'q> {
    /// Answers a query without a question (RFC 7873, 5.4): the cookie goes out in the OPT record. Without a cookie
    /// option the query is malformed.
    fn cookie_alone(&self) -> u16 {
        match self.opt.and_then(|opt| opt.cookie) {
            None => rcode::FORMERR,
            Some(CookieReply { seen: CookieStatus::Invalid, .. }) => rcode::BADCOOKIE,
            Some(CookieReply { seen: CookieStatus::ClientOnly | CookieStatus::Valid, .. }) => rcode::NOERROR,
        }
    }

    /// Answers the question from the zones and returns the response code.
    pub(super) fn resolve(&mut self) -> u16 {
        let Some(question) = &self.query.question else { return self.cookie_alone() };
        if question.qclass == class::CH {
            return self.chaos(question);
        }
        let for_ds = question.qtype == rtype::DS;
        let zones = &self.snapshot.zones;
        let found = zones.find(question.name, for_ds);
        let zone = match found {
            LookupResult::Outside => {
                self.note(ExtendedError::NotAuthoritative);
                return rcode::REFUSED;
            }
            LookupResult::Missing(zone) => zone,
            LookupResult::Exact(node)
            | LookupResult::Wildcard(node)
            | LookupResult::Referral(node)
            | LookupResult::Redirected(node) => node.zone(),
        };
        self.zone_counter = zones.counter(zone);
        if !self.snapshot.zones.is_served(zone) {
            self.note(ExtendedError::InvalidData);
            return rcode::SERVFAIL;
        }
        if !matches!(found, LookupResult::Referral(_)) && question.qclass != class::ANY {
            self.flags |= flag::AA;
        }
        let rcode = self.walk(zone, question, found).unwrap_or_else(|Full| {
            self.flags |= flag::TC;
            rcode::NOERROR
        });
        let is_negative = !self.reply.has(Section::Answer) && self.flags & flag::TC == 0;
        self.subject = subject(found, question.qtype, is_negative, self.is_alias);
        rcode
    }

    /// Answers with what was found, and with the chain that begins there. An error means that a record that the reply
    /// needs did not fit.
    fn walk(&mut self, zone: ZoneId, question: &'q Question<'q>, found: LookupResult<'q>) -> Result<u16, Full> {
        let owner = Pieces::whole(QUESTION_AT, question.name.as_wire().len());
        let wanted = NodeQuestion { qtype: question.qtype, owner };
        let step = match found {
            LookupResult::Redirected(node) => return self.chain(zone, wanted, node, None),
            found => self.step(zone, found, wanted)?,
        };
        match (step, found) {
            (ChainStep::Follow(next), LookupResult::Exact(node) | LookupResult::Wildcard(node)) => {
                self.chain(zone, wanted, node, Some(next))
            }
            (ChainStep::Follow(_), _) => Ok(rcode::NOERROR),
            (ChainStep::Done(rcode), _) => Ok(rcode),
        }
    }

    /// Answers with what was found of one name, which no DNAME redirects.
    pub(super) fn step(
        &mut self,
        zone: ZoneId,
        found: LookupResult<'q>,
        wanted: NodeQuestion,
    ) -> Result<ChainStep<'q>, Full> {
        match found {
            LookupResult::Outside | LookupResult::Redirected(_) => Ok(ChainStep::Done(rcode::NOERROR)),
            LookupResult::Exact(node) | LookupResult::Wildcard(node) => self.node(node, wanted),
            LookupResult::Referral(cut) => self.refer(cut, wanted),
            LookupResult::Missing(_) => self.negative(zone, rcode::NXDOMAIN, wanted, None),
        }
    }

    /// Answers from the name's own node, or from a wildcard's.
    fn node(&mut self, node: NodeRef<'q>, wanted: NodeQuestion) -> Result<ChainStep<'q>, Full> {
        if let Some(steered) = node.steered() {
            return self.steered_node(node, steered, wanted);
        }
        self.static_node(node, wanted, None)
    }

    /// Answers with the zone file's records; `ttl_cap` where a steered name falls back on them.
    pub(super) fn static_node(
        &mut self,
        node: NodeRef<'q>,
        wanted: NodeQuestion,
        ttl_cap: Option<u32>,
    ) -> Result<ChainStep<'q>, Full> {
        // RRSIG and NSEC exist next to a CNAME and belong to its name: it is not followed (RFC 2181, 10.1; RFC 4034).
        let rrset = match wanted.qtype {
            // One RRset is enough (RFC 8482, 4.1).
            rtype::ANY => node.rrsets().next(),
            rtype::RRSIG | rtype::NSEC => node.rrset(wanted.qtype),
            qtype => node.rrset_or_cname(qtype),
        };
        let Some(rrset) = rrset else { return self.negative(node.zone(), rcode::NOERROR, wanted, ttl_cap) };
        if rrset.rtype() == rtype::CNAME && !matches!(wanted.qtype, rtype::CNAME | rtype::ANY) {
            return self.alias(wanted.owner, rrset.records(), rrset.ends().first(), rrset.target(), 1);
        }
        let at = self.add_rrset(Section::Answer, &wanted.owner, rrset, ttl_cap)?;
        self.add_extras(Pending::Answer(rrset, wanted.owner.at()), at)?;
        Ok(ChainStep::Done(rcode::NOERROR))
    }

    /// Adds a static RRset; returns the octet of its first record.
    fn add_rrset(
        &mut self,
        section: Section,
        owner: &Pieces,
        rrset: RrsetRef<'q>,
        ttl_cap: Option<u32>,
    ) -> Result<usize, Full> {
        match rrset.naming() {
            None => self.reply.rrset(section, Owner::At(owner.at()), rrset.records(), ttl_cap),
            Some(naming) => self.reply.rrset_naming(section, owner, naming, ttl_cap),
        }
    }

    /// Answers with a CNAME record, and goes on to its target. `end`: how much of its end the target shares with the
    /// owner. `steps`: for how many the step counts.
    pub(super) fn alias(
        &mut self,
        owner: Pieces,
        record: &'q [u8],
        end: Option<&SharedEnd>,
        target: Option<RecordTarget>,
        steps: usize,
    ) -> Result<ChainStep<'q>, Full> {
        let name = record.get(PREPARED_HEAD..).unwrap_or_default();
        let end = end.copied().unwrap_or(SharedEnd::with_owner(name.len(), 1));
        let written = self.reply.cname(&owner, record, end)?;
        self.is_alias = true;
        Ok(match target.filter(|_| written.is_reachable()) {
            Some(RecordTarget { position, alias, .. }) => {
                ChainStep::Follow(Next { owner: written, position, alias, name: Some(name), steps })
            }
            // No pointer reaches the next owner.
            None => ChainStep::Done(rcode::NOERROR),
        })
    }

    /// Answers with a prepared CNAME record whose target is `target`, at a name of `zone`. `end`: how many octets at
    /// its end the target shares with the name, where that is known.
    pub(super) fn steered_alias(
        &mut self,
        zone: ZoneId,
        owner: Pieces,
        record: &'q [u8],
        target: Option<RecordTarget>,
        end: Option<usize>,
    ) -> Result<ChainStep<'q>, Full> {
        let name = record.get(PREPARED_HEAD..).unwrap_or_default();
        let shared = end.unwrap_or_else(|| {
            let is_inside = target.is_some_and(|target| !target.position.is_outside());
            let apex = self.snapshot.zones.apex(zone).filter(|_| is_inside);
            let mut reached = [0; MAX_NAME];
            let reached = self.reply.name_of(&owner, &mut reached);
            common_end_of(reached, name, apex.map_or(1, |apex| apex.name().len()))
        });
        let end = SharedEnd::with_owner(name.len(), shared);
        self.alias(owner, record, Some(&end), target, STEERED_STEP)
    }

    /// A referral (RFC 1034, 4.3.2 step 3b).
    fn refer(&mut self, cut: NodeRef<'q>, wanted: NodeQuestion) -> Result<ChainStep<'q>, Full> {
        if let Some(ns) = cut.rrset(rtype::NS) {
            let owner = wanted.owner.end(cut.name().len());
            let at = self.add_rrset(Section::Authority, &owner, ns, None)?;
            self.add_extras(Pending::Referral(ns), at)?;
        }
        Ok(ChainStep::Done(rcode::NOERROR))
    }

    /// A negative answer: the zone's SOA with the TTL of RFC 2308, 5, at most `ttl_cap`.
    pub(super) fn negative(
        &mut self,
        zone: ZoneId,
        rcode: u16,
        wanted: NodeQuestion,
        ttl_cap: Option<u32>,
    ) -> Result<ChainStep<'q>, Full> {
        let zones = &*self.snapshot.zones;
        let apex = zones.apex(zone);
        if let Some((apex, soa)) = apex.and_then(|apex| Some((apex, apex.rrset(rtype::SOA)?))) {
            let ttl = zones.negative_ttl(zone).min(ttl_cap.unwrap_or(u32::MAX));
            let owner = wanted.owner.end(apex.name().len());
            match self.add_rrset(Section::Authority, &owner, soa, Some(ttl)) {
                Ok(_) => {}
                // The response code is true even when the SOA does not fit.
                Err(Full) => self.flags |= flag::TC,
            }
        }
        Ok(ChainStep::Done(rcode))
    }
}
