//! The state of answering one query, from the first octet of the reply to its last. The other files of this folder add
//! the steps: [`resolve`](super::resolve) looks names up, [`chain`](super::chain) follows aliases,
//! [`steered`](super::steered) draws from cells, [`additional`](super::additional) adds addresses,
//! [`chaos`](super::chaos) answers class CHAOS.

use super::edns::{ExtendedError, OptReply};
use super::subject::NO_ZONE;
use super::{RawQuery, Reply, Tallies, reply_limit};
use crate::snapshot::names::{AliasPlace, Position};
use crate::snapshot::{ClassTables, LocalClass, Snapshot};
use crate::wire::code::{flag, rcode};
use crate::wire::query::Query;
use crate::wire::reply::ReplyWriter;
use crate::wire::{Pieces, tsig};

/// The state of answering one query.
pub(super) struct Answering<'q> {
    pub(super) snapshot: &'q Snapshot,
    pub(super) raw: &'q RawQuery<'q>,
    pub(super) query: &'q Query<'q>,
    pub(super) reply: ReplyWriter<'q>,
    pub(super) tallies: Tallies,
    pub(super) client: Option<LocatedClient<'q>>,
    /// The scope of the reply's client subnet option: the longest prefix that a cell of this reply depended on; 0 for a
    /// client known by its own address, and where nothing depended on the client (RFC 7871, 7.2.1).
    pub(super) scope: u8,
    pub(super) opt: Option<OptReply<'q>>,
    /// Whether the answer has a CNAME of a zone or policy; those that DNAMEs make do not count.
    pub(super) is_alias: bool,
    /// How many steered cells were drawn from, so that each draw has random bits of its own.
    draws: u64,
    /// Most octets of the reply.
    limit: usize,
    pub(super) flags: u16,
    pub(super) subject: u64,
    /// The counter of the zone that answers.
    pub(super) zone_counter: Option<u32>,
}

/// What follows after a node.
pub(super) enum ChainStep<'q> {
    /// The reply's answer section is complete, with this response code.
    Done(u16),
    /// Go on with the next name.
    Follow(Next<'q>),
}

/// Where a chain goes on.
pub(super) struct Next<'q> {
    /// The name in the reply.
    pub(super) owner: Pieces,
    /// Where the name is in the zone.
    pub(super) position: Position,
    /// Its CNAME, where that is known.
    pub(super) alias: AliasPlace,
    /// The name in uncompressed wire form, as the CNAME record has it; `None` of a name that a DNAME has made.
    pub(super) name: Option<&'q [u8]>,
    /// For how many steps this one counts.
    pub(super) steps: usize,
}

/// The question to one node of a chain.
#[derive(Clone, Copy)]
pub(super) struct NodeQuestion {
    /// QTYPE.
    pub(super) qtype: u16,
    /// The node's name in the reply, which a pointer can lead to.
    pub(super) owner: Pieces,
}

/// The class of the client by one pair of tables. Reused within a reply: a chain stays in its zone, and its names often
/// have the same tables.
#[derive(Clone, Copy)]
pub(super) struct LocatedClient<'q> {
    pub(super) tables: &'q ClassTables,
    pub(super) class: LocalClass,
    /// The shortest prefix around the client whose addresses all have its class by these tables; 0 for a client known
    /// by its own address.
    pub(super) prefix_len: u8,
}

impl<'q> Answering<'q> {
    /// Begins the reply with the question, and reserves room for OPT.
    #[inline]
    pub(super) fn begin(
        snapshot: &'q Snapshot,
        raw: &'q RawQuery<'q>,
        query: &'q Query<'q>,
        out: &'q mut [u8],
    ) -> Answering<'q> {
        let limit = reply_limit(raw, query);
        let opt = query.edns.as_ref().map(|edns| OptReply::new(edns, raw, &snapshot.identity));
        let reserved = opt.as_ref().map_or(0, OptReply::room);
        let reply = ReplyWriter::begin(out, limit, reserved, query.question.as_ref().map(|question| question.wire));
        Answering {
            snapshot,
            raw,
            query,
            reply,
            tallies: Tallies::default(),
            client: None,
            scope: 0,
            opt,
            is_alias: false,
            draws: 0,
            limit,
            flags: flag::QR,
            subject: NO_ZONE,
            zone_counter: None,
        }
    }

    /// Ends the reply. Inlined, as [`Answering::begin`] is, so that nothing of this is moved.
    #[inline]
    pub(super) fn finish(&mut self, rcode: u16) -> Reply {
        if let Some(opt) = &mut self.opt {
            opt.scope = self.scope;
            opt.write(&mut self.reply, self.limit, rcode);
        }
        let unknown = self.query.tsig.as_ref().filter(|_| rcode == rcode::NOTAUTH);
        if unknown.is_some_and(|tsig| self.reply.tsig(self.limit, tsig, tsig::BADKEY).is_err()) {
            self.flags |= flag::TC;
        }
        // Opcode and RD are copied; no other flag of the query (RFC 6895, 2.1).
        let flags = self.flags | self.query.flags & (0x7800 | flag::RD);
        let has_valid_cookie = self.opt.is_some_and(|opt| opt.has_valid_cookie());
        let is_truncated = flags & flag::TC != 0;
        let len = self.reply.finish(self.query.id, flags, rcode);
        Reply {
            len,
            rcode,
            tallies: self.tallies,
            zone: self.zone_counter,
            is_truncated,
            has_valid_cookie,
            subject: self.subject,
        }
    }

    /// Makes it an empty reply with TC set, and returns the response code.
    pub(super) fn truncate(&mut self) -> u16 {
        if let Some(opt) = &mut self.opt {
            opt.shorten();
        }
        self.flags |= flag::TC;
        rcode::NOERROR
    }

    /// Adds an extended error to the reply's OPT. Of several the first counts.
    pub(super) fn note(&mut self, error: ExtendedError) {
        if let Some(opt) = &mut self.opt {
            opt.extended_error.get_or_insert(error);
        }
    }

    /// Random bits for one draw: the query's entropy, changed so that the draws of one reply are independent.
    pub(super) fn chance(&mut self) -> u64 {
        /// The odd number nearest to 2^64 divided by the golden ratio: its multiples spread over all of 64 bits.
        const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
        let chance = self.raw.entropy.rotate_left(self.draws as u32 * 23) ^ self.draws.wrapping_mul(STRIDE);
        self.draws += 1;
        chance
    }
}
