//! The lookup algorithm (RFC 1034, 4.3.2 as clarified by RFC 2308, 4592, 6604 and 6672): from a question to the
//! records of its reply, step by step along CNAMEs and DNAMEs inside one zone.

use super::additional::Pending;
use super::answering::{Answering, ChainStep, NodeQuestion, PREPARED_HEAD};
use super::edns::{CookieReply, CookieStatus, ExtendedError};
use super::subject::subject;
use crate::model::ZoneId;
use crate::snapshot::names::{LookupResult, NodeRef, RrsetRef, hash_of};
use crate::wire::code::{class, flag, rcode, rtype};
use crate::wire::question::Question;
use crate::wire::reply::{Full, Owner, QUESTION_AT, Section};
use crate::wire::{MAX_NAME, NameBuf};

/// Most CNAMEs and DNAMEs that one reply follows: resolvers give up at 8 to 16, so more would not help.
const MAX_CHAIN: usize = 16;

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
        let mut found = zones.find(&question.name, for_ds);
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
        let first = found;
        let rcode = self.walk(zone, question, &mut found, for_ds).unwrap_or_else(|Full| {
            self.flags |= flag::TC;
            rcode::NOERROR
        });
        let is_negative = !self.reply.has(Section::Answer) && self.flags & flag::TC == 0;
        self.subject = subject(first, question.qtype, is_negative, self.name.is_some());
        rcode
    }

    /// Follows the chain from `found`. An error means that a record that the reply needs did not fit.
    fn walk(
        &mut self,
        zone: ZoneId,
        question: &Question<'q>,
        found: &mut LookupResult<'q>,
        for_ds: bool,
    ) -> Result<u16, Full> {
        let zones = &*self.snapshot.zones;
        let mut visited = Visited::default();
        let mut redirected = Visited::default();
        let mut wanted = NodeQuestion { qtype: question.qtype, owner: QUESTION_AT };
        loop {
            // A loop: the reply has all of its records already (RFC 1034, 3.6.2).
            if !visited.add(self.name.as_ref().unwrap_or(&question.name).as_wire()) {
                return Ok(rcode::NOERROR);
            }
            let step = match *found {
                LookupResult::Outside => ChainStep::Done(rcode::NOERROR),
                // The reply has this DNAME already, because the chain went through it.
                LookupResult::Exact(node)
                    if matches!(wanted.qtype, rtype::DNAME | rtype::ANY) && redirected.has(node.name()) =>
                {
                    ChainStep::Done(rcode::NOERROR)
                }
                LookupResult::Exact(node) | LookupResult::Wildcard(node) => self.node(node, wanted)?,
                LookupResult::Referral(cut) => self.refer(cut)?,
                LookupResult::Redirected(node) => {
                    let again = !redirected.add(node.name());
                    self.redirect(node, &question.name, wanted, again)?
                }
                LookupResult::Missing(_) => self.negative(zone, rcode::NXDOMAIN, None)?,
            };
            match step {
                ChainStep::Done(rcode) => return Ok(rcode),
                ChainStep::Follow(at) => wanted.owner = at,
            }
            *found = zones.find_within(zone, self.name.as_ref().unwrap_or(&question.name), for_ds);
        }
    }

    /// Answers from the name's own node, or from a wildcard's.
    fn node(&mut self, node: NodeRef<'q>, wanted: NodeQuestion) -> Result<ChainStep, Full> {
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
    ) -> Result<ChainStep, Full> {
        // For ANY one RRset is enough (RFC 8482, 4.1).
        let rrset = if wanted.qtype == rtype::ANY { node.rrsets().next() } else { node.rrset(wanted.qtype) };
        if let Some(rrset) = rrset {
            self.reply.rrset(Section::Answer, Owner::At(wanted.owner), rrset.records(), ttl_cap)?;
            self.add_extras(Pending::Answer(rrset, wanted.owner))?;
            return Ok(ChainStep::Done(rcode::NOERROR));
        }
        // RRSIG and NSEC exist next to a CNAME and belong to its name: it is not followed (RFC 2181, 10.1; RFC 4034).
        let is_about_alias = matches!(wanted.qtype, rtype::RRSIG | rtype::NSEC);
        match node.rrset(rtype::CNAME).filter(|_| !is_about_alias) {
            Some(cname) => self.alias(wanted.owner, cname.records()),
            None => self.negative(node.zone(), rcode::NOERROR, ttl_cap),
        }
    }

    /// Answers with a prepared CNAME record, and goes on to its target.
    pub(super) fn alias(&mut self, owner: u16, record: &[u8]) -> Result<ChainStep, Full> {
        let at = self.reply.rrset(Section::Answer, Owner::At(owner), record, None)?;
        let target = record.get(PREPARED_HEAD..).and_then(NameBuf::parse);
        Ok(self.follow(target, at))
    }

    /// A referral (RFC 1034, 4.3.2 step 3b).
    fn refer(&mut self, cut: NodeRef<'q>) -> Result<ChainStep, Full> {
        if let Some(ns) = cut.rrset(rtype::NS) {
            self.reply.rrset(Section::Authority, Owner::Name(cut.name()), ns.records(), None)?;
            self.add_extras(Pending::Referral(ns))?;
        }
        Ok(ChainStep::Done(rcode::NOERROR))
    }

    /// A DNAME above the name: the CNAME that follows from it (RFC 6672, 3.1), and on to its target. `again`: the
    /// reply has this DNAME already. `first` is the question's name.
    fn redirect(
        &mut self,
        node: NodeRef<'q>,
        first: &NameBuf,
        wanted: NodeQuestion,
        again: bool,
    ) -> Result<ChainStep, Full> {
        let Some(dname) = node.rrset(rtype::DNAME) else { return Ok(ChainStep::Done(rcode::NOERROR)) };
        if !again {
            self.reply.rrset(Section::Answer, Owner::Name(node.name()), dname.records(), None)?;
        }
        let records = dname.records();
        let target = records.get(PREPARED_HEAD..).unwrap_or_default();
        let Some(next) = self.name.as_ref().unwrap_or(first).substitute(node.name().len(), target) else {
            return Ok(ChainStep::Done(rcode::YXDOMAIN));
        };
        let mut cname = [0; PREPARED_HEAD + MAX_NAME];
        let made = synthesize(&mut cname, dname, next.as_wire());
        let at = self.reply.rrset(Section::Answer, Owner::At(wanted.owner), made, None)?;
        // The CNAME itself answers the question (RFC 6672, 3.2 step 3c).
        if wanted.qtype == rtype::CNAME {
            return Ok(ChainStep::Done(rcode::NOERROR));
        }
        Ok(self.follow(Some(next), at))
    }

    /// A negative answer: the zone's SOA with the TTL of RFC 2308, 5, at most `ttl_cap`.
    pub(super) fn negative(&mut self, zone: ZoneId, rcode: u16, ttl_cap: Option<u32>) -> Result<ChainStep, Full> {
        let zones = &*self.snapshot.zones;
        let apex = zones.apex(zone);
        if let Some((apex, soa)) = apex.and_then(|apex| Some((apex, apex.rrset(rtype::SOA)?))) {
            let ttl = zones.negative_ttl(zone).min(ttl_cap.unwrap_or(u32::MAX));
            match self.reply.rrset(Section::Authority, Owner::Name(apex.name()), soa.records(), Some(ttl)) {
                Ok(_) => {}
                // The response code is true even when the SOA does not fit.
                Err(Full) => self.flags |= flag::TC,
            }
        }
        Ok(ChainStep::Done(rcode))
    }

    /// Goes on to `target`, unless it cannot be read or is where no pointer reaches.
    fn follow(&mut self, target: Option<NameBuf>, at: usize) -> ChainStep {
        match target {
            Some(_) if at < 0x4000 => {
                self.name = target;
                ChainStep::Follow(at as u16)
            }
            _ => ChainStep::Done(rcode::NOERROR),
        }
    }
}

/// The CNAME that a DNAME makes, with the DNAME's TTL (RFC 6672, 3.1).
fn synthesize<'b>(buffer: &'b mut [u8; PREPARED_HEAD + MAX_NAME], dname: RrsetRef<'_>, target: &[u8]) -> &'b [u8] {
    buffer[..2].copy_from_slice(&[0xC0, 0x0C]);
    buffer[2..4].copy_from_slice(&rtype::CNAME.to_be_bytes());
    buffer[4..6].copy_from_slice(&class::IN.to_be_bytes());
    buffer[6..10].copy_from_slice(&dname.ttl().to_be_bytes());
    buffer[10..12].copy_from_slice(&(target.len() as u16).to_be_bytes());
    let end = PREPARED_HEAD + target.len();
    buffer[PREPARED_HEAD..end].copy_from_slice(target);
    &buffer[..end]
}

/// The names that a chain went through.
#[derive(Default)]
struct Visited {
    hashes: [u64; MAX_CHAIN + 1],
    len: usize,
}

impl Visited {
    /// Adds a name; false when it is there already or the chain is too long. Compares 64-bit hashes: if two names ever
    /// had one hash, the chain would end early, and the resolver would ask for the rest.
    fn add(&mut self, name: &[u8]) -> bool {
        let hash = hash_of(name);
        let is_new = self.len < self.hashes.len() && !self.hashes[..self.len].contains(&hash);
        if is_new {
            self.hashes[self.len] = hash;
            self.len += 1;
        }
        is_new
    }

    /// Whether a name was added.
    fn has(&self, name: &[u8]) -> bool {
        self.hashes[..self.len].contains(&hash_of(name))
    }
}
