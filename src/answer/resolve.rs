//! The lookup algorithm (RFC 1034, 4.3.2 as clarified by RFC 2308, 4592, 6604 and 6672): from a question to the
//! records of its reply, step by step along CNAMEs and DNAMEs inside one zone.

use super::additional::Pending;
use super::edns::{CookieReply, CookieSeen, ExtendedError, OptReply};
use super::steered::ClientSeen;
use super::subject::{NO_ZONE, subject};
use super::{Ask, Reply, Tallies, reply_limit};
use crate::model::ZoneId;
use crate::snapshot::Snapshot;
use crate::snapshot::names::{Found, NodeRef, RrsetRef, hash_of};
use crate::wire::code::{class, flag, rcode, rtype};
use crate::wire::query::{Query, Question};
use crate::wire::reply::{Full, Owner, QUESTION_AT, ReplyWriter, Section};
use crate::wire::{MAX_NAME, NameBuf, tsig};

/// Most CNAMEs and DNAMEs that one reply follows: resolvers give up at 8 to 16 themselves, so more would be of no use.
const MAX_CHAIN: usize = 16;

/// A reply to one query, under way.
pub(super) struct Answering<'q> {
    pub(super) snapshot: &'q Snapshot,
    pub(super) ask: &'q Ask<'q>,
    pub(super) query: &'q Query<'q>,
    pub(super) reply: ReplyWriter<'q>,
    pub(super) tallies: Tallies,
    pub(super) client: Option<ClientSeen>,
    pub(super) opt: Option<OptReply<'q>>,
    /// Where the chain has led, once it has led anywhere.
    name: Option<NameBuf>,
    /// Steered cells that were drawn from, so that each draw has chance of its own.
    pub(super) draws: u64,
    limit: usize,
    pub(super) flags: u16,
    subject: u64,
    /// The counter of the zone that answers.
    zone_counter: Option<u32>,
}

/// Where a node's records lead.
pub(super) enum Step {
    /// The reply's answer section is complete, with this response code.
    Done(u16),
    /// On to [`Answering::name`], which stands at this octet of the reply.
    Follow(u16),
}

/// What is asked of a node, and under which name.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// QTYPE.
    pub(super) qtype: u16,
    /// Where the name stands in the reply.
    pub(super) owner: u16,
}

impl<'q> Answering<'q> {
    /// Begins the reply: question repeated, room for OPT kept.
    pub(super) fn begin(
        snapshot: &'q Snapshot,
        ask: &'q Ask<'q>,
        query: &'q Query<'q>,
        out: &'q mut [u8],
    ) -> Answering<'q> {
        let limit = reply_limit(ask, query);
        let opt = query.edns.as_ref().map(|edns| OptReply::new(edns, ask, &snapshot.identity));
        let reserved = opt.as_ref().map_or(0, OptReply::room);
        let reply = ReplyWriter::begin(out, limit, reserved, query.question.as_ref().map(|question| question.wire));
        Answering {
            snapshot,
            ask,
            query,
            reply,
            tallies: Tallies::default(),
            client: None,
            opt,
            name: None,
            draws: 0,
            limit,
            flags: flag::QR,
            subject: NO_ZONE,
            zone_counter: None,
        }
    }

    /// Ends the reply.
    pub(super) fn finish(mut self, rcode: u16) -> Reply {
        if let Some(opt) = &mut self.opt {
            opt.scope = self.client.as_ref().map_or(0, ClientSeen::scope);
            opt.write(&mut self.reply, self.limit, rcode);
        }
        let unknown = self.query.tsig.as_ref().filter(|_| rcode == rcode::NOTAUTH);
        if unknown.is_some_and(|tsig| self.reply.tsig(self.limit, tsig, tsig::BADKEY).is_err()) {
            self.flags |= flag::TC;
        }
        // Opcode and RD are repeated; everything else of the query's flags isn't ours to set (RFC 6895, 2.1).
        let flags = self.flags | self.query.flags & (0x7800 | flag::RD);
        let has_valid_cookie = self.opt.is_some_and(|opt| opt.has_valid_cookie());
        let is_truncated = flags & flag::TC != 0;
        let len = self.reply.finish(self.query.id, flags, rcode);
        Reply {
            len,
            rcode,
            picks: self.tallies,
            zone: self.zone_counter,
            is_truncated,
            has_valid_cookie,
            subject: self.subject,
        }
    }

    /// Makes it a reply that says nothing but "ask over TCP", and gives the response code.
    pub(super) fn truncate(&mut self) -> u16 {
        if let Some(opt) = &mut self.opt {
            opt.shorten();
        }
        self.flags |= flag::TC;
        rcode::NOERROR
    }

    /// Answers a query for nothing but a cookie (RFC 7873, 5.4): it goes out with the OPT record. One that knows no
    /// cookies asked nothing.
    fn cookie_alone(&self) -> u16 {
        match self.opt.and_then(|opt| opt.cookie) {
            None => rcode::FORMERR,
            Some(CookieReply { seen: CookieSeen::Invalid, .. }) => rcode::BADCOOKIE,
            Some(CookieReply { seen: CookieSeen::ClientOnly | CookieSeen::Valid, .. }) => rcode::NOERROR,
        }
    }

    /// Answers the question from the zones and gives the response code.
    pub(super) fn resolve(&mut self) -> u16 {
        let Some(question) = &self.query.question else { return self.cookie_alone() };
        if question.qclass == class::CH {
            return self.chaos(question);
        }
        let for_ds = question.qtype == rtype::DS;
        let zones = &self.snapshot.zones;
        let mut found = zones.find(&question.name, for_ds);
        let zone = match found {
            Found::Outside => {
                self.note(ExtendedError::NotAuthoritative);
                return rcode::REFUSED;
            }
            Found::Missing(zone) => zone,
            Found::Exact(node) | Found::Wildcard(node) | Found::Referral(node) | Found::Redirected(node) => node.zone(),
        };
        self.zone_counter = zones.counter(zone);
        if !self.snapshot.zones.is_served(zone) {
            self.note(ExtendedError::InvalidData);
            return rcode::SERVFAIL;
        }
        if !matches!(found, Found::Referral(_)) && question.qclass != class::ANY {
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

    /// Follows the chain from `found`; an error means that something essential didn't fit.
    fn walk(
        &mut self,
        zone: ZoneId,
        question: &Question<'q>,
        found: &mut Found<'q>,
        for_ds: bool,
    ) -> Result<u16, Full> {
        let zones = &*self.snapshot.zones;
        let mut visited = Visited::default();
        let mut redirected = Visited::default();
        let mut asked = Asked { qtype: question.qtype, owner: QUESTION_AT };
        loop {
            // A name that the chain was at before: a loop, all of which is in the reply (RFC 1034, 3.6.2).
            if !visited.add(self.name.as_ref().unwrap_or(&question.name).as_wire()) {
                return Ok(rcode::NOERROR);
            }
            let step = match *found {
                Found::Outside => Step::Done(rcode::NOERROR),
                // The DNAME that is asked for, or is good enough, is in the reply already: it led here.
                Found::Exact(node)
                    if matches!(asked.qtype, rtype::DNAME | rtype::ANY) && redirected.has(node.name()) =>
                {
                    Step::Done(rcode::NOERROR)
                }
                Found::Exact(node) | Found::Wildcard(node) => self.node(node, asked)?,
                Found::Referral(cut) => self.refer(cut)?,
                Found::Redirected(node) => {
                    let again = !redirected.add(node.name());
                    self.redirect(node, &question.name, asked, again)?
                }
                Found::Missing(_) => self.negative(zone, rcode::NXDOMAIN, None)?,
            };
            match step {
                Step::Done(rcode) => return Ok(rcode),
                Step::Follow(at) => asked.owner = at,
            }
            *found = zones.find_within(zone, self.name.as_ref().unwrap_or(&question.name), for_ds);
        }
    }

    /// Answers from a node that is the name's own, or a wildcard's.
    fn node(&mut self, node: NodeRef<'q>, asked: Asked) -> Result<Step, Full> {
        if let Some(steered) = node.steered() {
            return self.steered_node(node, steered, asked);
        }
        self.static_node(node, asked, None)
    }

    /// Answers with the zone file's records; `ttl_cap` where a steered name falls back on them.
    pub(super) fn static_node(&mut self, node: NodeRef<'q>, asked: Asked, ttl_cap: Option<u32>) -> Result<Step, Full> {
        // RFC 8482, 4.1: to ANY one RRset is enough.
        let rrset = if asked.qtype == rtype::ANY { node.rrsets().next() } else { node.rrset(asked.qtype) };
        if let Some(rrset) = rrset {
            self.reply.rrset(Section::Answer, Owner::At(asked.owner), rrset.records(), ttl_cap)?;
            self.add_extras(Pending::Answer(rrset, asked.owner))?;
            return Ok(Step::Done(rcode::NOERROR));
        }
        // RRSIG and NSEC stand beside a CNAME and are about it (RFC 2181, 10.1; RFC 4034, 3 and 4): it isn't followed.
        let is_about_alias = matches!(asked.qtype, rtype::RRSIG | rtype::NSEC);
        match node.rrset(rtype::CNAME).filter(|_| !is_about_alias) {
            Some(cname) => self.alias(asked.owner, cname.records()),
            None => self.negative(node.zone(), rcode::NOERROR, ttl_cap),
        }
    }

    /// Answers with a CNAME record, prepared, and goes on to its target.
    pub(super) fn alias(&mut self, owner: u16, record: &[u8]) -> Result<Step, Full> {
        let at = self.reply.rrset(Section::Answer, Owner::At(owner), record, None)?;
        let target = record.get(PREPARED_HEAD..).and_then(NameBuf::parse);
        Ok(self.follow(target, at))
    }

    /// A referral (RFC 1034, 4.3.2 step 3b).
    fn refer(&mut self, cut: NodeRef<'q>) -> Result<Step, Full> {
        if let Some(ns) = cut.rrset(rtype::NS) {
            self.reply.rrset(Section::Authority, Owner::Name(cut.name()), ns.records(), None)?;
            self.add_extras(Pending::Referral(ns))?;
        }
        Ok(Step::Done(rcode::NOERROR))
    }

    /// A DNAME above the name: the CNAME that follows from it (RFC 6672, 3.1), and on to its target. `again`: the
    /// reply has this DNAME already. `first` is the question's name.
    fn redirect(&mut self, node: NodeRef<'q>, first: &NameBuf, asked: Asked, again: bool) -> Result<Step, Full> {
        let Some(dname) = node.rrset(rtype::DNAME) else { return Ok(Step::Done(rcode::NOERROR)) };
        if !again {
            self.reply.rrset(Section::Answer, Owner::Name(node.name()), dname.records(), None)?;
        }
        let records = dname.records();
        let target = records.get(PREPARED_HEAD..).unwrap_or_default();
        let Some(next) = self.name.as_ref().unwrap_or(first).substitute(node.name().len(), target) else {
            return Ok(Step::Done(rcode::YXDOMAIN));
        };
        let mut cname = [0; PREPARED_HEAD + MAX_NAME];
        let made = synthesize(&mut cname, dname, next.as_wire());
        let at = self.reply.rrset(Section::Answer, Owner::At(asked.owner), made, None)?;
        // What was asked for is here (RFC 6672, 3.2 step 3c).
        if asked.qtype == rtype::CNAME {
            return Ok(Step::Done(rcode::NOERROR));
        }
        Ok(self.follow(Some(next), at))
    }

    /// A negative answer: the zone's SOA, good for as long as RFC 2308, 5 says and not longer than `ttl_cap`.
    pub(super) fn negative(&mut self, zone: ZoneId, rcode: u16, ttl_cap: Option<u32>) -> Result<Step, Full> {
        let zones = &*self.snapshot.zones;
        let apex = zones.apex(zone);
        if let Some((apex, soa)) = apex.and_then(|apex| Some((apex, apex.rrset(rtype::SOA)?))) {
            let ttl = zones.negative_ttl(zone).min(ttl_cap.unwrap_or(u32::MAX));
            match self.reply.rrset(Section::Authority, Owner::Name(apex.name()), soa.records(), Some(ttl)) {
                Ok(_) => {}
                // The response code stands although its proof doesn't fit.
                Err(Full) => self.flags |= flag::TC,
            }
        }
        Ok(Step::Done(rcode))
    }

    /// On to `target`, unless it can't be read or stands where no pointer reaches.
    fn follow(&mut self, target: Option<NameBuf>, at: usize) -> Step {
        match target {
            Some(_) if at < 0x4000 => {
                self.name = target;
                Step::Follow(at as u16)
            }
            _ => Step::Done(rcode::NOERROR),
        }
    }

    /// Adds an extended error to the reply's OPT; the first one stays.
    pub(super) fn note(&mut self, error: ExtendedError) {
        if let Some(opt) = &mut self.opt {
            opt.extended_error.get_or_insert(error);
        }
    }
}

/// Octets of a prepared record before its RDATA: owner pointer, type, class, TTL, RDLENGTH.
pub(super) const PREPARED_HEAD: usize = 12;

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

/// The names that a chain has been at.
#[derive(Default)]
struct Visited {
    hashes: [u64; MAX_CHAIN + 1],
    len: usize,
}

impl Visited {
    /// Notes a name; false when it was there before or the chain is too long. Goes by a 64-bit hash: were two names ever to
    /// share one, their chain would end early and the resolver would ask on.
    fn add(&mut self, name: &[u8]) -> bool {
        let is_new = self.len < self.hashes.len() && !self.has(name);
        if is_new {
            self.hashes[self.len] = hash_of(name);
            self.len += 1;
        }
        is_new
    }

    /// Whether a name was noted.
    fn has(&self, name: &[u8]) -> bool {
        self.hashes[..self.len].contains(&hash_of(name))
    }
}
