//! A chain of CNAMEs and DNAMEs inside one zone (RFC 1034, 3.6.2 and RFC 6672, 3): followed step by step to its end.

use super::answering::{Answering, ChainStart, ChainStep, Next, NodeQuestion};
use crate::model::ZoneId;
use crate::snapshot::names::{LookupResult, NodeRef};
use crate::wire::code::{rcode, rtype};
use crate::wire::reply::{Full, Owner, Section};
use crate::wire::{MAX_NAME, MadeName, PREPARED_HEAD, Pieces};

/// Most CNAMEs and DNAMEs that one reply follows. BIND and Unbound follow 11 in all (`max-query-restarts`), so more
/// would not help them; another resolver asks for the rest.
const MAX_CHAIN: usize = 11;

/// The chain so far.
struct Chain<'q> {
    /// The name that was reached, as a record has it; `None`: a DNAME has made it, or it is the question's.
    name: Option<&'q [u8]>,
    /// The last name that a DNAME has made.
    made: Option<MadeName>,
    /// The DNAMEs that the reply has, and how many there are.
    redirects: [Option<Redirect>; MAX_CHAIN + 1],
    used: usize,
    visited: Visited,
}

/// A DNAME that the reply has.
#[derive(Clone, Copy)]
struct Redirect {
    /// The number of its node.
    node: u32,
    /// Its target in the reply.
    target: Pieces,
}

impl Chain<'_> {
    /// The DNAME of a node, if the reply has it.
    fn redirect(&self, node: NodeRef<'_>) -> Option<Redirect> {
        self.redirects[..self.used].iter().flatten().find(|before| before.node == node.id()).copied()
    }
}

impl<'q> Answering<'q> {
    /// Follows a chain from its first name on, whose hash is `hash`. Not inlined, so that its stack is used and cleared
    /// only where it is needed.
    #[inline(never)]
    pub(super) fn chain(
        &mut self,
        zone: ZoneId,
        mut wanted: NodeQuestion,
        hash: u64,
        start: ChainStart<'q>,
    ) -> Result<u16, Full> {
        let zones = &*self.snapshot.zones;
        let for_ds = wanted.qtype == rtype::DS;
        // The CNAME of a name answers all types but these (RFC 2181, 10.1; RFC 4034).
        let is_passing = !matches!(wanted.qtype, rtype::CNAME | rtype::ANY | rtype::RRSIG | rtype::NSEC | rtype::DS);
        let mut chain = Chain {
            name: None,
            made: None,
            redirects: [const { None }; MAX_CHAIN + 1],
            used: 0,
            visited: Visited::default(),
        };
        chain.visited.add(hash);
        let mut left = MAX_CHAIN + 1;
        let mut step = match start {
            ChainStart::Next(next) => ChainStep::Follow(next),
            ChainStart::Redirected(node) => self.redirect(zone, node, wanted, &mut chain)?,
        };
        loop {
            let next = match step {
                ChainStep::Done(rcode) => return Ok(rcode),
                ChainStep::Follow(next) => next,
            };
            // A loop: the reply has all of its records already (RFC 1034, 3.6.2).
            left = left.saturating_sub(next.steps);
            if !chain.visited.add(next.target.hash) || left == 0 {
                return Ok(rcode::NOERROR);
            }
            if let Some(alias) = zones.alias_of(&next.target).filter(|_| is_passing) {
                step = self.alias(next.owner, alias.records(), alias.ends().first(), alias.target(), 1)?;
                continue;
            }
            (wanted.owner, chain.name) = (next.owner, next.name);
            step = match zones.at(next.target.position, for_ds) {
                LookupResult::Redirected(node) => self.redirect(zone, node, wanted, &mut chain)?,
                // The reply has this DNAME already, because the chain went through it.
                LookupResult::Exact(node)
                    if matches!(wanted.qtype, rtype::DNAME | rtype::ANY) && chain.redirect(node).is_some() =>
                {
                    ChainStep::Done(rcode::NOERROR)
                }
                found => self.step(zone, found, wanted)?,
            };
        }
    }

    /// A DNAME above the name: the CNAME that follows from it (RFC 6672, 3.1), and on to its target.
    fn redirect(
        &mut self,
        zone: ZoneId,
        node: NodeRef<'q>,
        wanted: NodeQuestion,
        chain: &mut Chain<'q>,
    ) -> Result<ChainStep<'q>, Full> {
        let Some(dname) = node.rrset(rtype::DNAME) else { return Ok(ChainStep::Done(rcode::NOERROR)) };
        let records = dname.records();
        let target = records.get(PREPARED_HEAD..).unwrap_or_default();
        let used = match chain.redirect(node) {
            Some(before) => before,
            None => {
                let owner = Owner::At(wanted.owner.end(node.name().len()).at());
                let at = self.reply.rrset(Section::Answer, owner, records, None)?;
                // Not compressed itself (RFC 6672, 2.5), but the CNAMEs that it makes point at it.
                let target = Pieces::whole((at + PREPARED_HEAD) as u16, target.len());
                let used = Redirect { node: node.id(), target };
                if let Some(entry) = chain.redirects.get_mut(chain.used) {
                    *entry = Some(used);
                    chain.used += 1;
                }
                used
            }
        };
        let prefix = wanted.owner.name_len().saturating_sub(node.name().len());
        if prefix + target.len() > MAX_NAME {
            return Ok(ChainStep::Done(rcode::YXDOMAIN));
        }
        if !used.target.is_reachable() {
            return Ok(ChainStep::Done(rcode::NOERROR));
        }
        let name = self.made_name(chain, prefix, target);
        let owner = self.reply.cname_of_dname(wanted.owner.at(), dname.ttl(), (name.octets(), prefix), used.target)?;
        // The CNAME itself answers the question (RFC 6672, 3.2 step 3c).
        if wanted.qtype == rtype::CNAME {
            return Ok(ChainStep::Done(rcode::NOERROR));
        }
        let above = dname.target().map(|target| target.position);
        let target = self.snapshot.zones.target_below(zone, above, name, prefix);
        Ok(ChainStep::Follow(Next { owner, target, name: None, steps: 1 }))
    }

    /// The first `prefix` octets of the name that the chain has reached, before `target`.
    fn made_name<'c>(&self, chain: &'c mut Chain<'q>, prefix: usize, target: &[u8]) -> &'c mut MadeName {
        let question = self.query.question.as_ref().map(|question| question.name.as_wire());
        let reached = chain.name.or(question.filter(|_| chain.made.is_none()));
        let made = match (&mut chain.made, reached) {
            (Some(made), None) => made,
            (made, reached) => made.insert(MadeName::of(reached.unwrap_or(&[0]))),
        };
        made.replace_end(prefix, target);
        made
    }
}

/// Hashes of the names that a chain went through.
#[derive(Default)]
struct Visited {
    hashes: [u64; MAX_CHAIN + 1],
    len: usize,
    /// For each hash the bit of its last six bits.
    bits: u64,
}

impl Visited {
    /// Adds a name; false when it is there already or the chain is too long. If two names ever had one hash, the chain
    /// would end early, and the resolver would ask for the rest.
    fn add(&mut self, hash: u64) -> bool {
        let bit = 1 << (hash % u64::from(u64::BITS));
        if self.bits & bit != 0 && self.hashes.iter().take(self.len).any(|before| *before == hash) {
            return false;
        }
        let Some(free) = self.hashes.get_mut(self.len) else { return false };
        (*free, self.len, self.bits) = (hash, self.len + 1, self.bits | bit);
        true
    }
}
