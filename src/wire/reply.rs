//! Writes a reply into the caller's buffer: question, RRsets in their sections, OPT. The only truncation rule is here:
//! an RRset is added whole or not at all, and room for OPT is reserved from the start.

use crate::wire::code::{class, rtype};
use crate::wire::compress::{Pieces, SharedEnd};
use crate::wire::{HEADER_LEN, MAX_NAME, PREPARED_HEAD, each_prepared};

mod naming;
#[cfg(test)]
mod tests;
mod trailer;

use naming::copied;
pub use naming::least_len;
pub use trailer::OptHead;

/// The octet of the question's name.
pub const QUESTION_AT: u16 = HEADER_LEN as u16;

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
    /// This name, uncompressed wire form. It is written whole.
    Name(&'a [u8]),
}

/// An RRset whose RDATA has names that are compressed.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// The records, prepared as for [`ReplyWriter::rrset`].
    pub records: &'a [u8],
    /// The ends of the names in them, in their order.
    pub ends: &'a [SharedEnd],
    /// [`least_len`] of both.
    pub least_len: usize,
}

/// Something did not fit. The reply is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A reply that is being written.
pub struct ReplyWriter<'o> {
    out: &'o mut [u8],
    /// The octet where the next record begins.
    at: usize,
    /// Octets for everything but OPT and TSIG.
    limit: usize,
    counts: [u16; 4],
}

/// A state of the reply to return to.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: usize,
    count: u16,
}

impl<'o> ReplyWriter<'o> {
    /// Begins a reply of at most `limit` octets, `reserved` of them for [`ReplyWriter::opt`]. `question` is repeated
    /// unchanged, unless it is longer than the reply may be. `out` has 512 octets or more.
    pub fn begin(out: &'o mut [u8], limit: usize, reserved: usize, question: Option<&[u8]>) -> ReplyWriter<'o> {
        let limit = limit.min(out.len()).saturating_sub(reserved);
        let mut reply = ReplyWriter { out, at: HEADER_LEN, limit, counts: [0; 4] };
        let has_question = question.is_some_and(|question| reply.put(question).is_ok());
        reply.counts[0] = has_question.into();
        reply
    }

    /// Adds an RRset whole, without compressed names in its RDATA. `records` are prepared. `ttl_cap` lowers their TTL.
    /// Returns the octet where the first record begins.
    pub fn rrset(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        records: &[u8],
        ttl_cap: Option<u32>,
    ) -> Result<usize, Full> {
        let mark = self.mark(section);
        let added = match owner {
            Owner::At(at) => self.copy(at, records, ttl_cap),
            Owner::Name(name) => self.copy_below(name, records, ttl_cap),
        };
        self.count(section, mark, added)
    }

    /// As [`ReplyWriter::rrset`], from prepared records one by one.
    pub fn rrset_of<'r>(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        records: impl Iterator<Item = &'r [u8]>,
    ) -> Result<usize, Full> {
        let mark = self.mark(section);
        let mut count = 0;
        for record in records {
            let added = match owner {
                Owner::At(at) => self.copy_one(at, record).map(|()| 1),
                Owner::Name(name) => self.copy_below(name, record, None),
            };
            match added {
                Ok(added) => count += added,
                Err(Full) => return self.count(section, mark, Err(Full)),
            }
        }
        self.count(section, mark, Ok(count))
    }

    /// As [`ReplyWriter::rrset`], of records of `N` octets each: those at the places `picks` of `records`.
    pub fn rrset_at<const N: usize>(
        &mut self,
        section: Section,
        owner: u16,
        records: &[u8],
        picks: &[u16],
    ) -> Result<usize, Full> {
        let start = self.at;
        let end = start + picks.len() * N;
        let count = self.counts[section as usize].checked_add(picks.len() as u16).filter(|_| !picks.is_empty());
        let (Some(count), true) = (count, end <= self.limit) else { return Err(Full) };
        let (records, _) = records.as_chunks::<N>();
        let (to, _) = self.out[start..end].as_chunks_mut::<N>();
        let [pointer_hi, pointer_lo] = pointer(owner);
        for (to, pick) in to.iter_mut().zip(picks) {
            *to = *records.get(usize::from(*pick)).ok_or(Full)?;
            (to[0], to[1]) = (pointer_hi, pointer_lo);
        }
        self.at = end;
        self.counts[section as usize] = count;
        Ok(start)
    }

    /// As [`ReplyWriter::rrset`], with names in RDATA that are compressed. Every owner is a pointer of two octets.
    pub fn rrset_naming(
        &mut self,
        section: Section,
        owner: &Pieces,
        rrset: Naming<'_>,
        ttl_cap: Option<u32>,
    ) -> Result<usize, Full> {
        let mark = self.mark(section);
        let added = self.naming(section, owner, rrset, ttl_cap);
        if added.is_err() || self.at == mark.at {
            self.rewind(section, mark);
            return Err(Full);
        }
        Ok(mark.at)
    }

    /// Adds a prepared CNAME record, whose target shares `end` with its owner. Returns the target.
    pub fn cname(&mut self, owner: &Pieces, record: &[u8], end: SharedEnd) -> Result<Pieces, Full> {
        let end = owner.shared_end(end.shared.into());
        // The root takes one octet, which the record has, a pointer two.
        let (end_len, pointer_len) = end.map_or((0, 0), |end| (end.name_len(), 2));
        let literal = record.len().checked_sub(end_len).ok_or(Full)?;
        let len = literal + pointer_len;
        let free = self.out.get_mut(self.at..self.limit).ok_or(Full)?;
        let to = copied(free, record, literal, len).ok_or(Full)?;
        if let Some(end) = end {
            *to.last_chunk_mut::<2>().ok_or(Full)? = pointer(end.at());
        }
        let head = to.first_chunk_mut::<PREPARED_HEAD>().ok_or(Full)?;
        head[..2].copy_from_slice(&pointer(owner.at()));
        head[10..].copy_from_slice(&((len - PREPARED_HEAD) as u16).to_be_bytes());
        let at = self.at + PREPARED_HEAD;
        self.at += len;
        let count = &mut self.counts[Section::Answer as usize];
        *count = count.checked_add(1).ok_or(Full)?;
        let labels = literal.saturating_sub(PREPARED_HEAD + usize::from(end.is_none()));
        Ok(Pieces::joined(at, labels, end))
    }

    /// Whether two names of the reply are one; case does not count.
    pub fn is_same_name(&self, one: &Pieces, other: &Pieces) -> bool {
        let (mut of_one, mut of_other) = ([0; MAX_NAME], [0; MAX_NAME]);
        self.name_of(one, &mut of_one).eq_ignore_ascii_case(self.name_of(other, &mut of_other))
    }

    /// A name of the reply, uncompressed, with upper and lower case as they were written. `to` has room for it.
    pub fn name_of<'n>(&self, name: &Pieces, to: &'n mut [u8; MAX_NAME]) -> &'n [u8] {
        for (start, octets) in name.octets(self.out) {
            if let Some(to) = to.get_mut(start..start + octets.len()) {
                to.copy_from_slice(octets);
            }
        }
        to.get(..name.name_len()).unwrap_or_default()
    }

    /// Adds the CNAME that a DNAME makes (RFC 6672, 3.1). Its target is the first `prefix` octets of `name`, which are
    /// whole labels, before `end`, the DNAME's target, which the reply has. Returns the target.
    pub fn cname_of_dname(
        &mut self,
        owner: u16,
        ttl: u32,
        (name, prefix): (&[u8], usize),
        end: Pieces,
    ) -> Result<Pieces, Full> {
        let ([ttl_1, ttl_2, ttl_3, ttl_4], [_, type_lo]) = (ttl.to_be_bytes(), rtype::CNAME.to_be_bytes());
        let mut head = [0, 0, 0, type_lo, 0, class::IN as u8, ttl_1, ttl_2, ttl_3, ttl_4, 0, 0];
        // A pointer takes two octets.
        let len = prefix + 2;
        head[..2].copy_from_slice(&pointer(owner));
        head[10..].copy_from_slice(&(len as u16).to_be_bytes());
        let free = self.out.get_mut(self.at..self.limit).ok_or(Full)?;
        let (to, free) = free.split_first_chunk_mut::<PREPARED_HEAD>().ok_or(Full)?;
        *to = head;
        let data = copied(free, name, prefix, len).ok_or(Full)?;
        *data.last_chunk_mut::<2>().ok_or(Full)? = pointer(end.at());
        let at = self.at + PREPARED_HEAD;
        self.at = at + len;
        let count = &mut self.counts[Section::Answer as usize];
        *count = count.checked_add(1).ok_or(Full)?;
        Ok(Pieces::joined(at, prefix, Some(end)))
    }

    /// Copies prepared records and returns how many there are; below an owner pointer.
    fn copy(&mut self, owner: u16, records: &[u8], ttl_cap: Option<u32>) -> Result<usize, Full> {
        let start = self.at;
        self.put(records)?;
        let mut rest = &mut self.out[start..self.at];
        let mut count = 0;
        while let Some((head, behind)) = std::mem::take(&mut rest).split_first_chunk_mut::<PREPARED_HEAD>() {
            head[..2].copy_from_slice(&pointer(owner));
            cap_ttl(head, ttl_cap);
            count += 1;
            let len = usize::from(u16::from_be_bytes([head[10], head[11]]));
            rest = behind.get_mut(len..).unwrap_or_default();
        }
        Ok(count)
    }

    /// Copies one prepared record below an owner pointer.
    fn copy_one(&mut self, owner: u16, record: &[u8]) -> Result<(), Full> {
        let start = self.at;
        self.put(record)?;
        if let Some(to) = self.out.get_mut(start..start + 2) {
            to.copy_from_slice(&pointer(owner));
        }
        Ok(())
    }

    /// As [`ReplyWriter::copy`], each record with a whole owner.
    fn copy_below(&mut self, owner: &[u8], records: &[u8], ttl_cap: Option<u32>) -> Result<usize, Full> {
        let mut count = 0;
        for record in each_prepared(records) {
            let Some((head, rdata)) = record.split_first_chunk::<PREPARED_HEAD>() else { return Err(Full) };
            let mut head = *head;
            cap_ttl(&mut head, ttl_cap);
            self.put(owner)?;
            self.put(&head[2..])?;
            self.put(rdata)?;
            count += 1;
        }
        Ok(count)
    }

    /// Counts what was added since `mark`, or takes it back. Returns where it begins.
    fn count(&mut self, section: Section, mark: Mark, added: Result<usize, Full>) -> Result<usize, Full> {
        let total =
            added.and_then(|added| usize::from(mark.count).checked_add(added).filter(|_| added > 0).ok_or(Full));
        match total.and_then(|total| u16::try_from(total).map_err(|_| Full)) {
            Ok(total) => {
                self.counts[section as usize] = total;
                Ok(mark.at)
            }
            Err(Full) => {
                self.rewind(section, mark);
                Err(Full)
            }
        }
    }

    /// The record after the one that begins at octet `record` with an owner pointer.
    pub fn next_record(&self, record: usize) -> usize {
        let len = self
            .out
            .get(record + 10..record + PREPARED_HEAD)
            .map_or(0, |len| usize::from(len[0]) << 8 | usize::from(len[1]));
        record + PREPARED_HEAD + len
    }

    /// The name at octet `at` as an owner; `None` where no pointer can lead to it.
    pub fn owner_at(&self, at: usize) -> Option<Owner<'static>> {
        let octets = self.out.get(at..at + 2)?;
        let to = u16::from_be_bytes([octets[0], octets[1]]);
        // A pointer leads where this one does.
        let to = if to >= 0xC000 { to & 0x3FFF } else { u16::try_from(at).ok()? };
        (to < 0x4000).then_some(Owner::At(to))
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
    }

    /// Octets that are left for records.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.at)
    }

    /// Whether a section has records.
    pub fn has(&self, section: Section) -> bool {
        self.counts[section as usize] > 0
    }

    /// Writes the header and returns the reply's length. `flags` have no response code; the lower four bits of `rcode`
    /// are added.
    pub fn finish(&mut self, id: u16, flags: u16, rcode: u16) -> usize {
        let flags = flags & !0xF | rcode & 0xF;
        let fields = [id, flags, self.counts[0], self.counts[1], self.counts[2], self.counts[3]];
        for (to, field) in self.out.chunks_exact_mut(2).zip(fields) {
            to.copy_from_slice(&field.to_be_bytes());
        }
        self.at
    }
}

/// The labels of a name without its `end`, or without the root.
fn without_end(name: &[u8], end: Option<Pieces>) -> &[u8] {
    let end_len = end.map_or(1, |end| end.name_len());
    &name[..name.len().saturating_sub(end_len)]
}

/// A pointer to an octet below 16,384.
fn pointer(to: u16) -> [u8; 2] {
    (0xC000 | to).to_be_bytes()
}

fn cap_ttl(head: &mut [u8; PREPARED_HEAD], cap: Option<u32>) {
    if let Some(cap) = cap {
        let ttl = u32::from_be_bytes([head[6], head[7], head[8], head[9]]);
        head[6..10].copy_from_slice(&ttl.min(cap).to_be_bytes());
    }
}
