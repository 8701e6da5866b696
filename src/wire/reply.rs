//! Writes a reply into the caller's buffer: question, RRsets in their sections, OPT. The only truncation rule is here:
//! an RRset is added whole or not at all, and room for OPT is reserved from the start.

use crate::wire::HEADER_LEN;
use crate::wire::code::{class, rtype};
use crate::wire::compress::{Hashed, Suffixes};
use crate::wire::edns::option;
use crate::wire::tsig::Tsig;

/// Octets of a record's fixed part after its owner: type, class, TTL, RDLENGTH.
const FIXED_LEN: usize = 10;
/// An owner pointer and the fixed part: where RDATA begins in a prepared record.
const PREPARED_HEAD: usize = 2 + FIXED_LEN;
/// The octet of the question's name.
pub const QUESTION_AT: u16 = HEADER_LEN as u16;
/// Octets of an OPT record without options (RFC 6891, 6.1.2).
const OPT_LEN: usize = 11;
/// Octets of an option before its data.
const OPTION_HEAD: usize = 4;

/// The sections that have records, by the index of their count in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Records of the question's name and type, and the CNAMEs and DNAMEs on the way.
    Answer = 1,
    /// NS of a referral, SOA of a negative answer.
    Authority = 2,
    /// Addresses of names in the other sections, OPT and TSIG.
    Additional = 3,
}

/// The owner of records to be written.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    /// The name that the reply has at this octet, below 16,384.
    At(u16),
    /// This name, uncompressed wire form.
    Name(&'a [u8]),
}

/// Something did not fit. The reply is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A reply that is being written.
pub struct ReplyWriter<'o> {
    out: &'o mut [u8],
    at: usize,
    /// Octets for everything but OPT and TSIG.
    limit: usize,
    counts: [u16; 4],
    suffixes: Suffixes,
}

/// A state of the reply to return to.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: usize,
    count: u16,
}

/// The OPT record of a reply.
#[derive(Debug, Clone, Copy)]
pub struct OptHead {
    /// Our UDP payload size.
    pub udp_size: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// DNSSEC OK, as the query had it.
    pub dnssec_ok: bool,
    /// The reply is padded to a multiple of this many octets, where there is room (RFC 7830).
    pub padded_to: Option<usize>,
}

impl<'o> ReplyWriter<'o> {
    /// Begins a reply of at most `limit` octets, `reserved` of them for [`ReplyWriter::opt`]. `question` is repeated
    /// unchanged, unless it is longer than the reply may be. `out` has 512 octets or more.
    pub fn begin(out: &'o mut [u8], limit: usize, reserved: usize, question: Option<&[u8]>) -> ReplyWriter<'o> {
        let limit = limit.min(out.len()).saturating_sub(reserved);
        let mut reply = ReplyWriter { out, at: HEADER_LEN, limit, counts: [0; 4], suffixes: Suffixes::default() };
        if let Some(question) = question.filter(|question| reply.put(question).is_ok()) {
            reply.counts[0] = 1;
            reply.suffixes.note_question(question.len().saturating_sub(4));
        }
        reply
    }

    /// Adds an RRset whole. `records` are prepared: owner pointer `C0 0C`, nothing else compressed. `ttl_cap` lowers
    /// their TTL. Returns the octet where the first record's RDATA begins.
    pub fn rrset(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        records: &[u8],
        ttl_cap: Option<u32>,
    ) -> Result<usize, Full> {
        let mark = self.mark(section);
        let result = self.records(section, owner, each_record(records), ttl_cap);
        if result.is_err() {
            self.rewind(section, mark);
        }
        result
    }

    /// As [`ReplyWriter::rrset`], from prepared records one by one.
    pub fn rrset_of<'r>(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        records: impl Iterator<Item = &'r [u8]>,
    ) -> Result<usize, Full> {
        let mark = self.mark(section);
        let result = self.records(section, owner, records, None);
        if result.is_err() {
            self.rewind(section, mark);
        }
        result
    }

    fn records<'r>(
        &mut self,
        section: Section,
        mut owner: Owner<'_>,
        records: impl Iterator<Item = &'r [u8]>,
        ttl_cap: Option<u32>,
    ) -> Result<usize, Full> {
        let mut first = None;
        for record in records {
            match owner {
                Owner::At(at) => self.put(&(0xC000 | at).to_be_bytes())?,
                Owner::Name(name) => {
                    let at = self.name(name)?;
                    // Later records point at the owner of the first, unless that is beyond the reach of a pointer.
                    owner = u16::try_from(at).ok().filter(|at| *at < 0x4000).map_or(owner, Owner::At);
                }
            }
            let rdata_at = self.record(record, ttl_cap)?;
            first.get_or_insert(rdata_at);
            let count = &mut self.counts[section as usize];
            *count = count.checked_add(1).ok_or(Full)?;
        }
        first.ok_or(Full)
    }

    /// Writes a prepared record without its owner.
    fn record(&mut self, record: &[u8], ttl_cap: Option<u32>) -> Result<usize, Full> {
        let (Some(fixed), Some(rdata)) = (record.get(2..PREPARED_HEAD), record.get(PREPARED_HEAD..)) else {
            return Err(Full);
        };
        let fixed_at = self.at;
        self.put(fixed)?;
        if let Some(cap) = ttl_cap {
            let ttl = u32::from_be_bytes([record[6], record[7], record[8], record[9]]);
            self.out[fixed_at + 4..fixed_at + 8].copy_from_slice(&ttl.min(cap).to_be_bytes());
        }
        let rdata_at = self.at;
        self.rdata(u16::from_be_bytes([record[2], record[3]]), rdata)?;
        let len = (self.at - rdata_at) as u16;
        self.out[rdata_at - 2..rdata_at].copy_from_slice(&len.to_be_bytes());
        Ok(rdata_at)
    }

    /// Writes RDATA. Names are compressed only in the types of RFC 1035 (RFC 3597, 4).
    fn rdata(&mut self, rtype: u16, rdata: &[u8]) -> Result<(), Full> {
        let (before, names) = match rtype {
            rtype::NS | rtype::CNAME | rtype::PTR | rtype::MD | rtype::MF | rtype::MB | rtype::MG | rtype::MR => (0, 1),
            rtype::SOA | rtype::MINFO => (0, 2),
            rtype::MX => (2, 1),
            rtype::DNAME => return self.dname(rdata),
            _ => return self.put(rdata),
        };
        let (fixed, mut rest) = rdata.split_at_checked(before).ok_or(Full)?;
        self.put(fixed)?;
        for _ in 0..names {
            let (name, next) = rest.split_at_checked(name_len(rest)).ok_or(Full)?;
            self.name(name)?;
            rest = next;
        }
        self.put(rest)
    }

    /// Writes a DNAME's target: not compressed itself (RFC 6672, 2.5), but the CNAMEs made from it may point at it.
    fn dname(&mut self, target: &[u8]) -> Result<(), Full> {
        let start = self.at;
        self.put(target)?;
        self.suffixes.add_question(&self.out[..start]);
        self.suffixes.add_whole(&Hashed::new(target), start);
        Ok(())
    }

    /// Writes a name, with a pointer for the end that the reply already has, and returns the octet of the name.
    fn name(&mut self, name: &[u8]) -> Result<usize, Full> {
        let start = self.at;
        let hashed = Hashed::new(name);
        self.suffixes.add_question(&self.out[..start]);
        let split = self.suffixes.split(&self.out[..start], &hashed);
        self.put(&name[..split.literal])?;
        match split.pointer {
            Some(at) => self.put(&(0xC000 | at).to_be_bytes())?,
            None => self.put(&[0])?,
        }
        self.suffixes.add(&hashed, &split, start);
        Ok(split.pointer.filter(|_| split.literal == 0).map_or(start, usize::from))
    }

    fn put(&mut self, data: &[u8]) -> Result<(), Full> {
        let end = self.at + data.len();
        if end > self.limit {
            return Err(Full);
        }
        self.out[self.at..end].copy_from_slice(data);
        self.at = end;
        Ok(())
    }

    fn mark(&self, section: Section) -> Mark {
        Mark { at: self.at, count: self.counts[section as usize] }
    }

    fn rewind(&mut self, section: Section, mark: Mark) {
        self.at = mark.at;
        self.counts[section as usize] = mark.count;
        self.suffixes.forget_from(mark.at);
    }

    /// Adds the OPT record into the reserved room, with as many of `options` (each code and data) as fit, in their
    /// order. `total` is the most octets of the whole reply.
    pub fn opt<'d>(&mut self, total: usize, head: OptHead, options: impl Iterator<Item = (u16, &'d [u8])>) {
        self.limit = total.min(self.out.len());
        let start = self.at;
        let flags = u16::from(head.dnssec_ok) << 15;
        let [size_hi, size_lo] = head.udp_size.to_be_bytes();
        let [flags_hi, flags_lo] = flags.to_be_bytes();
        let fixed: [u8; OPT_LEN] =
            [0, 0, rtype::OPT as u8, size_hi, size_lo, head.extended_rcode, 0, flags_hi, flags_lo, 0, 0];
        if self.put(&fixed).is_err() {
            return;
        }
        for (code, data) in options {
            let before = self.at;
            let [code_hi, code_lo] = code.to_be_bytes();
            let [len_hi, len_lo] = (data.len() as u16).to_be_bytes();
            if self.put(&[code_hi, code_lo, len_hi, len_lo]).and_then(|()| self.put(data)).is_err() {
                self.at = before;
            }
        }
        if let Some(block) = head.padded_to {
            self.pad(block);
        }
        let len = (self.at - start - OPT_LEN) as u16;
        self.out[start + OPT_LEN - 2..start + OPT_LEN].copy_from_slice(&len.to_be_bytes());
        self.counts[Section::Additional as usize] += 1;
    }

    /// Adds the padding option as the last: the length becomes a multiple of `block` octets, or all of the room.
    fn pad(&mut self, block: usize) {
        let head = self.at + OPTION_HEAD;
        let end = head.next_multiple_of(block).min(self.limit);
        let Some(len) = end.checked_sub(head) else { return };
        let [code_hi, code_lo] = option::PADDING.to_be_bytes();
        let [len_hi, len_lo] = (len as u16).to_be_bytes();
        if self.put(&[code_hi, code_lo, len_hi, len_lo]).is_ok() {
            self.out[head..end].fill(0);
            self.at = end;
        }
    }

    /// Adds, as the last record, the TSIG record of a reply that is not signed because of `error` (RFC 8945, 5.3.2).
    /// `total` is the most octets of the whole reply.
    pub fn tsig(&mut self, total: usize, tsig: &Tsig<'_>, error: u16) -> Result<(), Full> {
        /// Octets of RDATA after the fudge: no MAC, original id, error, no other data.
        const TAIL_LEN: usize = 8;
        self.limit = total.min(self.out.len());
        let mark = self.mark(Section::Additional);
        let [len_hi, len_lo] = ((tsig.signer.len() + TAIL_LEN) as u16).to_be_bytes();
        let fixed = [0, rtype::TSIG as u8, 0, class::ANY as u8, 0, 0, 0, 0, len_hi, len_lo];
        let ([id_hi, id_lo], [error_hi, error_lo]) = (tsig.original_id, error.to_be_bytes());
        let tail: [u8; TAIL_LEN] = [0, 0, id_hi, id_lo, error_hi, error_lo, 0, 0];
        let parts = [tsig.owner, &fixed, tsig.signer, &tail];
        let added = parts.into_iter().try_for_each(|part| self.put(part));
        match added {
            Ok(()) => self.counts[Section::Additional as usize] += 1,
            Err(Full) => self.rewind(Section::Additional, mark),
        }
        added
    }

    /// Whether a section has records.
    pub fn has(&self, section: Section) -> bool {
        self.counts[section as usize] > 0
    }

    /// Writes the header and returns the reply's length. `flags` have no response code; the lower four bits of `rcode`
    /// are added.
    pub fn finish(self, id: u16, flags: u16, rcode: u16) -> usize {
        let flags = flags & !0xF | rcode & 0xF;
        let fields = [id, flags, self.counts[0], self.counts[1], self.counts[2], self.counts[3]];
        for (to, field) in self.out.chunks_exact_mut(2).zip(fields) {
            to.copy_from_slice(&field.to_be_bytes());
        }
        self.at
    }
}

/// Prepared records, one after the other.
fn each_record(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<PREPARED_HEAD>()?;
        let len = PREPARED_HEAD + usize::from(u16::from_be_bytes([head[10], head[11]]));
        let (record, next) = rest.split_at_checked(len)?;
        rest = next;
        Some(record)
    })
}

/// The length of the uncompressed name at the start of `wire`, its root label included.
fn name_len(wire: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&len) = wire.get(at).filter(|len| **len != 0) {
        at += 1 + usize::from(len);
    }
    at + 1
}
