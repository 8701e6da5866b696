//! A chain of CNAMEs and DNAMEs inside one zone (RFC 1034, 3.6.2 and RFC 6672, 3): followed step by step to its end.

use super::answering::{Answering, ChainStep, Next, NodeQuestion};
use crate::model::ZoneId;
use crate::snapshot::names::{AliasPlace, LookupResult, NodeRef};
use crate::wire::code::{rcode, rtype};
use crate::wire::reply::{Full, Owner, ReplyWriter, Section};
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
    redirect_count: usize,
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
        self.redirects[..self.redirect_count].iter().flatten().find(|before| before.node == node.id()).copied()
    }
}

impl<'q> Answering<'q> {
    /// Follows a chain from its first name on, which was found at `node`. `next`: where its CNAME leads, or `None`
    /// where the node has a DNAME. Not inlined, so that its stack is used and cleared only where it is needed.
    #[inline(never)]
    pub(super) fn chain(
        &mut self,
        zone: ZoneId,
        mut wanted: NodeQuestion,
        node: NodeRef<'q>,
        next: Option<Next<'q>>,
    ) -> Result<u16, Full> {
        let zones = &*self.snapshot.zones;
        let for_ds = wanted.qtype == rtype::DS;
        // The CNAME of a name answers all types but these (RFC 2181, 10.1; RFC 4034).
        let is_answered_by_alias =
            !matches!(wanted.qtype, rtype::CNAME | rtype::ANY | rtype::RRSIG | rtype::NSEC | rtype::DS);
        let mut chain = Chain {
            name: None,
            made: None,
            redirects: [const { None }; MAX_CHAIN + 1],
            redirect_count: 0,
            visited: Visited::from(node.id(), wanted.owner),
        };
        let mut left = MAX_CHAIN + 1;
        let mut step = match next {
            Some(next) => ChainStep::Follow(next),
            None => self.redirect(zone, node, wanted, &mut chain)?,
        };
        loop {
            let next = match step {
                ChainStep::Done(rcode) => return Ok(rcode),
                ChainStep::Follow(next) => next,
            };
            left = left.saturating_sub(next.steps);
            if left == 0 {
                return Ok(rcode::NOERROR);
            }
            if let Some(alias) = zones.alias(next.alias).filter(|_| is_answered_by_alias) {
                if !chain.visited.add(&self.reply, next.alias.node_id(), next.owner) {
                    return Ok(rcode::NOERROR);
                }
                step = self.alias(next.owner, alias.records(), alias.ends().first(), alias.target(), 1)?;
                continue;
            }
            let found = zones.at(next.position, for_ds);
            if let LookupResult::Exact(node) | LookupResult::Wildcard(node) | LookupResult::Redirected(node) = found
                && !chain.visited.add(&self.reply, node.id(), next.owner)
            {
                return Ok(rcode::NOERROR);
            }
            (wanted.owner, chain.name) = (next.owner, next.name);
            step = match found {
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
                if let Some(entry) = chain.redirects.get_mut(chain.redirect_count) {
                    *entry = Some(used);
                    chain.redirect_count += 1;
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
        let led_to = dname.target();
        let is_lower = led_to.is_some_and(|led_to| led_to.is_lower);
        let name = self.made_name(chain, prefix, target, is_lower);
        let owner = self.reply.cname_of_dname(wanted.owner.at(), dname.ttl(), (name.octets(), prefix), used.target)?;
        // The CNAME itself answers the question (RFC 6672, 3.2 step 3c).
        if wanted.qtype == rtype::CNAME {
            return Ok(ChainStep::Done(rcode::NOERROR));
        }
        let above = led_to.map(|led_to| led_to.position);
        let position = self.snapshot.zones.position_of_made(zone, above, name, prefix);
        Ok(ChainStep::Follow(Next { owner, position, alias: AliasPlace::NONE, name: None, steps: 1 }))
    }

    /// Makes a name of the first `prefix` octets of the name that the chain has reached, and `target`. `is_lower`:
    /// `target` has no upper-case letters.
    fn made_name<'c>(&self, chain: &'c mut Chain<'q>, prefix: usize, target: &[u8], is_lower: bool) -> &'c MadeName {
        let question = self.query.question.as_ref().map(|question| question.name.as_wire());
        let reached = chain.name.or(question.filter(|_| chain.made.is_none()));
        let made = match (&mut chain.made, reached) {
            (Some(made), None) => made,
            (made, reached) => made.insert(MadeName::of(reached.unwrap_or(&[0]))),
        };
        made.replace_end(prefix, target, is_lower);
        made
    }
}

/// The names that a chain went through.
struct Visited {
    /// For each the number of the node that answers at it, and how long it is: names that differ in these are not
    /// compared.
    keys: [u64; MAX_CHAIN + 1],
    names: [Pieces; MAX_CHAIN + 1],
    len: usize,
}

impl Visited {
    /// Only the first name.
    fn from(node: u32, name: Pieces) -> Visited {
        let mut keys = [0; MAX_CHAIN + 1];
        keys[0] = key(node, &name);
        Visited { keys, names: [name; MAX_CHAIN + 1], len: 1 }
    }

    /// Adds a name; false when it is there already, or the chain is too long. Then it is a loop: the reply has all of
    /// its records (RFC 1034, 3.6.2).
    fn add(&mut self, reply: &ReplyWriter<'_>, node: u32, name: Pieces) -> bool {
        let key = key(node, &name);
        let mut before = self.keys.iter().zip(&self.names).take(self.len);
        if before.any(|(before, other)| *before == key && reply.is_same_name(&name, other)) {
            return false;
        }
        let (Some(to_key), Some(to_name)) = (self.keys.get_mut(self.len), self.names.get_mut(self.len)) else {
            return false;
        };
        (*to_key, *to_name, self.len) = (key, name, self.len + 1);
        true
    }
}

fn key(node: u32, name: &Pieces) -> u64 {
    u64::from(node) << 8 | name.name_len() as u64
}
