//! The lookup algorithm (RFC 1034, 4.3.2 as clarified by RFC 2308, 4592, 6604 and 6672): from a question to the
//! records of its reply, step by step along CNAMEs and DNAMEs inside one zone.

use super::additional::Pending;
use super::answering::{Answering, ChainStep, Next, NodeQuestion, Reached};
use super::edns::{CookieReply, CookieStatus, ExtendedError};
use super::subject::subject;
use crate::model::ZoneId;
use crate::snapshot::names::{LookupResult, NodeRef, RecordTarget, RrsetRef, hash_of};
use crate::wire::code::{class, flag, rcode, rtype};
use crate::wire::question::Question;
use crate::wire::reply::{Full, Owner, QUESTION_AT, Section};
use crate::wire::{MAX_NAME, MadeName, PREPARED_HEAD, Pieces, SharedEnd, common_end_of};

/// Most CNAMEs and DNAMEs that one reply follows. BIND and Unbound follow 11 in all (`max-query-restarts`), so more
/// would not help them; another resolver asks for the rest.
const MAX_CHAIN: usize = 11;
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
        let found = zones.find(&question.name, for_ds);
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
        let rcode = self.walk(zone, question, found, for_ds).unwrap_or_else(|Full| {
            self.flags |= flag::TC;
            rcode::NOERROR
        });
        let is_negative = !self.reply.has(Section::Answer) && self.flags & flag::TC == 0;
        self.subject = subject(found, question.qtype, is_negative, !matches!(self.name, Reached::Question));
        rcode
    }

    /// Answers with what was found, and with the chain that begins there. An error means that a record that the reply
    /// needs did not fit.
    fn walk(
        &mut self,
        zone: ZoneId,
        question: &'q Question<'q>,
        found: LookupResult<'q>,
        for_ds: bool,
    ) -> Result<u16, Full> {
        let owner = Pieces::whole(QUESTION_AT, question.name.as_wire().len());
        let wanted = NodeQuestion { qtype: question.qtype, owner };
        let mut redirects = None;
        match self.step(zone, found, wanted, &mut redirects)? {
            ChainStep::Done(rcode) => Ok(rcode),
            ChainStep::Follow(next) => self.chain(zone, wanted, next, redirects, for_ds),
        }
    }

    /// Follows a chain from its second name on. Not inlined, so that its stack is used and cleared only where it is
    /// needed.
    #[inline(never)]
    fn chain(
        &mut self,
        zone: ZoneId,
        mut wanted: NodeQuestion,
        mut next: Next,
        mut redirect: Option<Redirect>,
        for_ds: bool,
    ) -> Result<u16, Full> {
        let zones = &*self.snapshot.zones;
        let mut visited = Visited::default();
        let mut redirects = [const { None }; MAX_CHAIN + 1];
        visited.add(self.query.question.as_ref().map_or(0, |question| hash_of(question.name.as_wire())));
        let (mut used, mut left) = (0, MAX_CHAIN + 1);
        loop {
            // A loop: the reply has all of its records already (RFC 1034, 3.6.2).
            left = left.saturating_sub(next.steps);
            if !visited.add(next.target.hash) || left == 0 {
                return Ok(rcode::NOERROR);
            }
            if let Some(entry) = redirects.get_mut(used).filter(|_| redirect.is_some()) {
                *entry = redirect.take();
                used += 1;
            }
            wanted.owner = next.owner;
            let found = zones.at(next.target.position, for_ds);
            redirect = match found {
                LookupResult::Exact(node) | LookupResult::Redirected(node) => {
                    redirects[..used].iter().flatten().find(|before| before.node == node.id()).copied()
                }
                LookupResult::Outside
                | LookupResult::Wildcard(_)
                | LookupResult::Referral(_)
                | LookupResult::Missing(_) => None,
            };
            // The reply has this DNAME already, because the chain went through it.
            let is_exact = matches!(found, LookupResult::Exact(_));
            if is_exact && redirect.is_some() && matches!(wanted.qtype, rtype::DNAME | rtype::ANY) {
                return Ok(rcode::NOERROR);
            }
            match self.step(zone, found, wanted, &mut redirect)? {
                ChainStep::Done(rcode) => return Ok(rcode),
                ChainStep::Follow(following) => next = following,
            }
        }
    }

    /// Answers with what was found of one name of a chain. `redirect`: the DNAME that was found, where the reply has it
    /// already; afterwards the DNAME that was used.
    fn step(
        &mut self,
        zone: ZoneId,
        found: LookupResult<'q>,
        wanted: NodeQuestion,
        redirect: &mut Option<Redirect>,
    ) -> Result<ChainStep, Full> {
        match found {
            LookupResult::Outside => Ok(ChainStep::Done(rcode::NOERROR)),
            LookupResult::Exact(node) | LookupResult::Wildcard(node) => self.node(node, wanted),
            LookupResult::Referral(cut) => self.refer(cut, wanted),
            LookupResult::Redirected(node) => self.redirect(zone, node, wanted, redirect),
            LookupResult::Missing(_) => self.negative(zone, rcode::NXDOMAIN, wanted, None),
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
    fn alias(
        &mut self,
        owner: Pieces,
        record: &'q [u8],
        end: Option<&SharedEnd>,
        target: Option<RecordTarget>,
        steps: usize,
    ) -> Result<ChainStep, Full> {
        let name = record.get(PREPARED_HEAD..).unwrap_or_default();
        let end = end.copied().unwrap_or(SharedEnd::with_owner(name.len(), 1));
        let written = self.reply.cname(&owner, record, end)?;
        Ok(match target.filter(|_| written.is_reachable()) {
            Some(target) => {
                self.name = Reached::Target(name);
                ChainStep::Follow(Next { owner: written, target, steps })
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
    ) -> Result<ChainStep, Full> {
        let name = record.get(PREPARED_HEAD..).unwrap_or_default();
        let shared = end.unwrap_or_else(|| {
            let is_inside = target.is_some_and(|target| !target.position.is_outside());
            let apex = self.snapshot.zones.apex(zone).filter(|_| is_inside);
            common_end_of(self.reached(), name, apex.map_or(1, |apex| apex.name().len()))
        });
        let end = SharedEnd::with_owner(name.len(), shared);
        self.alias(owner, record, Some(&end), target, STEERED_STEP)
    }

    /// The name that the chain has reached.
    fn reached(&self) -> &[u8] {
        match &self.name {
            Reached::Question => self.query.question.as_ref().map_or(&[0], |question| question.name.as_wire()),
            Reached::Target(name) => name,
            Reached::Made(name) => name.as_wire(),
        }
    }

    /// A referral (RFC 1034, 4.3.2 step 3b).
    fn refer(&mut self, cut: NodeRef<'q>, wanted: NodeQuestion) -> Result<ChainStep, Full> {
        if let Some(ns) = cut.rrset(rtype::NS) {
            let owner = wanted.owner.end(cut.name().len());
            let at = self.add_rrset(Section::Authority, &owner, ns, None)?;
            self.add_extras(Pending::Referral(ns), at)?;
        }
        Ok(ChainStep::Done(rcode::NOERROR))
    }

    /// A DNAME above the name: the CNAME that follows from it (RFC 6672, 3.1), and on to its target. `redirect`: the
    /// reply has this DNAME already; afterwards this DNAME.
    fn redirect(
        &mut self,
        zone: ZoneId,
        node: NodeRef<'q>,
        wanted: NodeQuestion,
        redirect: &mut Option<Redirect>,
    ) -> Result<ChainStep, Full> {
        let Some(dname) = node.rrset(rtype::DNAME) else { return Ok(ChainStep::Done(rcode::NOERROR)) };
        let records = dname.records();
        let target = records.get(PREPARED_HEAD..).unwrap_or_default();
        let used = match *redirect {
            Some(before) => before,
            None => {
                let owner = Owner::At(wanted.owner.end(node.name().len()).at());
                let at = self.reply.rrset(Section::Answer, owner, records, None)?;
                // Not compressed itself (RFC 6672, 2.5), but the CNAMEs that it makes point at it.
                Redirect { node: node.id(), target: Pieces::whole((at + PREPARED_HEAD) as u16, target.len()) }
            }
        };
        *redirect = Some(used);
        let prefix = wanted.owner.name_len().saturating_sub(node.name().len());
        if prefix + target.len() > MAX_NAME {
            return Ok(ChainStep::Done(rcode::YXDOMAIN));
        }
        if !used.target.is_reachable() {
            return Ok(ChainStep::Done(rcode::NOERROR));
        }
        self.make_name(prefix, target);
        let Reached::Made(name) = &mut self.name else { return Ok(ChainStep::Done(rcode::NOERROR)) };
        let labels = (&name.octets()[..], prefix);
        let owner = self.reply.cname_of_dname(wanted.owner.at(), dname.ttl(), labels, used.target)?;
        // The CNAME itself answers the question (RFC 6672, 3.2 step 3c).
        if wanted.qtype == rtype::CNAME {
            return Ok(ChainStep::Done(rcode::NOERROR));
        }
        let above = dname.target().map(|target| target.position);
        let target = self.snapshot.zones.target_below(zone, above, name, prefix);
        Ok(ChainStep::Follow(Next { owner, target, steps: 1 }))
    }

    /// Makes the name that the chain has reached its first `prefix` octets before `target`.
    fn make_name(&mut self, prefix: usize, target: &[u8]) {
        if !matches!(self.name, Reached::Made(_)) {
            self.name = Reached::Made(match (&self.name, &self.query.question) {
                (Reached::Question, Some(question)) => MadeName::of_question(&question.name),
                _ => MadeName::of(self.reached()),
            });
        }
        if let Reached::Made(name) = &mut self.name {
            name.replace_end(prefix, target);
        }
    }

    /// A negative answer: the zone's SOA with the TTL of RFC 2308, 5, at most `ttl_cap`.
    pub(super) fn negative(
        &mut self,
        zone: ZoneId,
        rcode: u16,
        wanted: NodeQuestion,
        ttl_cap: Option<u32>,
    ) -> Result<ChainStep, Full> {
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

/// A DNAME that the reply has.
#[derive(Clone, Copy)]
struct Redirect {
    /// The number of its node.
    node: u32,
    /// Its target in the reply.
    target: Pieces,
}

/// Hashes of the names that a chain went through.
#[derive(Default)]
struct Visited {
    hashes: [u64; MAX_CHAIN + 1],
    len: usize,
}

impl Visited {
    /// Adds a name; false when it is there already or the chain is too long. If two names ever had one hash, the chain
    /// would end early, and the resolver would ask for the rest.
    fn add(&mut self, hash: u64) -> bool {
        let is_new = self.len < self.hashes.len() && !self.hashes[..self.len].contains(&hash);
        if is_new {
            self.hashes[self.len] = hash;
            self.len += 1;
        }
        is_new
    }
}
