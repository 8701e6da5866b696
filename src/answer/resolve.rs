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

/// Most CNAMEs and DNAMEs that one reply follows: resolvers give up at 8 to 16, so more would not help. The work that
/// names take ends chains of long names earlier over UDP; a resolver asks for the rest.
const MAX_CHAIN: usize = 16;
/// What a step of a chain costs in addition to its name, in the unit of [`ReplyWriter::spend`]. Measured.
///
/// [`ReplyWriter::spend`]: crate::wire::reply::ReplyWriter::spend
const WORK_PER_STEP: usize = 60;

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
        // The DNAMEs that the reply has, and where it has their targets.
        let (mut redirected, mut targets) = (Visited::default(), [0; MAX_CHAIN + 1]);
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
                    if matches!(wanted.qtype, rtype::DNAME | rtype::ANY) && redirected.find(node.name()).is_some() =>
                {
                    ChainStep::Done(rcode::NOERROR)
                }
                LookupResult::Exact(node) | LookupResult::Wildcard(node) => self.node(node, wanted)?,
                LookupResult::Referral(cut) => self.refer(cut)?,
                LookupResult::Redirected(node) => {
                    let before = redirected.find(node.name()).map(|at| targets[at]);
                    let (step, target_at) = self.redirect(node, &question.name, wanted, before)?;
                    if before.is_none() && redirected.add(node.name()) {
                        targets[redirected.len - 1] = target_at;
                    }
                    step
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
            self.reply.rrset(Section::Answer, &mut Owner::At(wanted.owner), rrset.records(), ttl_cap)?;
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
        let at = self.reply.rrset(Section::Answer, &mut Owner::At(owner), record, None)?;
        Ok(self.follow(record.get(PREPARED_HEAD..).unwrap_or_default(), at))
    }

    /// A referral (RFC 1034, 4.3.2 step 3b).
    fn refer(&mut self, cut: NodeRef<'q>) -> Result<ChainStep, Full> {
        if let Some(ns) = cut.rrset(rtype::NS) {
            self.reply.rrset(Section::Authority, &mut Owner::Name(cut.name()), ns.records(), None)?;
            self.add_extras(Pending::Referral(ns))?;
        }
        Ok(ChainStep::Done(rcode::NOERROR))
    }

    /// A DNAME above the name: the CNAME that follows from it (RFC 6672, 3.1), and on to its target. `before` is where
    /// the reply has this DNAME's target already. `first` is the question's name. Returns also where the reply has the
    /// target.
    fn redirect(
        &mut self,
        node: NodeRef<'q>,
        first: &NameBuf,
        wanted: NodeQuestion,
        before: Option<usize>,
    ) -> Result<(ChainStep, usize), Full> {
        let Some(dname) = node.rrset(rtype::DNAME) else { return Ok((ChainStep::Done(rcode::NOERROR), 0)) };
        let records = dname.records();
        let target_at = match before {
            Some(at) => at,
            None => self.reply.rrset(Section::Answer, &mut Owner::Name(node.name()), records, None)?,
        };
        let target = records.get(PREPARED_HEAD..).unwrap_or_default();
        let name = self.name.get_or_insert(*first);
        let mut prefix = [0; MAX_NAME];
        let prefix = prefix.get_mut(..name.as_wire().len() - node.name().len()).unwrap_or_default();
        prefix.copy_from_slice(&name.as_wire()[..prefix.len()]);
        if !name.replace_end(node.name().len(), target) {
            return Ok((ChainStep::Done(rcode::YXDOMAIN), target_at));
        }
        let at = match u16::try_from(target_at).ok().filter(|at| *at < 0x4000) {
            Some(target_at) => self.reply.cname_of_dname(wanted.owner, dname.ttl(), prefix, target_at)?,
            // No pointer reaches the target.
            None => {
                let mut cname = [0; PREPARED_HEAD + MAX_NAME];
                let made = synthesize(&mut cname, dname, name.as_wire());
                self.reply.rrset(Section::Answer, &mut Owner::At(wanted.owner), made, None)?
            }
        };
        // The CNAME itself answers the question (RFC 6672, 3.2 step 3c).
        let goes_on = wanted.qtype != rtype::CNAME && self.may_follow(at);
        Ok((if goes_on { ChainStep::Follow(at as u16) } else { ChainStep::Done(rcode::NOERROR) }, target_at))
    }

    /// A negative answer: the zone's SOA with the TTL of RFC 2308, 5, at most `ttl_cap`.
    pub(super) fn negative(&mut self, zone: ZoneId, rcode: u16, ttl_cap: Option<u32>) -> Result<ChainStep, Full> {
        let zones = &*self.snapshot.zones;
        let apex = zones.apex(zone);
        if let Some((apex, soa)) = apex.and_then(|apex| Some((apex, apex.rrset(rtype::SOA)?))) {
            let ttl = zones.negative_ttl(zone).min(ttl_cap.unwrap_or(u32::MAX));
            match self.reply.rrset(Section::Authority, &mut Owner::Name(apex.name()), soa.records(), Some(ttl)) {
                Ok(_) => {}
                // The response code is true even when the SOA does not fit.
                Err(Full) => self.flags |= flag::TC,
            }
        }
        Ok(ChainStep::Done(rcode))
    }

    /// Goes on to `target`, unless it cannot be read; see [`Answering::may_follow`].
    fn follow(&mut self, target: &[u8], at: usize) -> ChainStep {
        let is_name = self.name.get_or_insert_with(NameBuf::root).set(target);
        if is_name && self.may_follow(at) { ChainStep::Follow(at as u16) } else { ChainStep::Done(rcode::NOERROR) }
    }

    /// Whether the chain goes on with [`Answering::name`], which the reply has at octet `at`: not where no pointer
    /// reaches it, and not when the names of the reply have cost enough. Then the resolver asks for the rest.
    fn may_follow(&mut self, at: usize) -> bool {
        let len = self.name.as_ref().map_or(0, |name| name.as_wire().len());
        at < 0x4000 && self.reply.spend(len + WORK_PER_STEP)
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

    /// The number of a name that was added.
    fn find(&self, name: &[u8]) -> Option<usize> {
        let hash = hash_of(name);
        self.hashes[..self.len].iter().position(|added| *added == hash)
    }
}
