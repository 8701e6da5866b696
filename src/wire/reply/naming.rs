//! RRsets whose RDATA has names that are compressed.

use super::{Full, Naming, ReplyWriter, Section, cap_ttl, pointer, without_end};
use crate::wire::compress::{Bases, Pieces, SharedEnd, compressed_names};
use crate::wire::{PREPARED_HEAD, each_prepared};

impl ReplyWriter<'_> {
    /// Writes an RRset. After an error its first records may be there.
    pub(super) fn naming(
        &mut self,
        section: Section,
        owner: &Pieces,
        rrset: Naming<'_>,
        ttl_cap: Option<u32>,
    ) -> Result<(), Full> {
        if rrset.least_len > self.room() {
            return Err(Full);
        }
        let (before, names) = compressed_names(rtype_of(rrset.records));
        if names == 1 {
            return self.naming_one(section, owner, rrset, before, ttl_cap);
        }
        let mut bases = Bases::of(*owner);
        let mut ends = rrset.ends.iter();
        for record in each_prepared(rrset.records) {
            let Some((head, rdata)) = record.split_first_chunk::<PREPARED_HEAD>() else { return Err(Full) };
            let mut head = *head;
            cap_ttl(&mut head, ttl_cap);
            let (fixed, mut rest) = rdata.split_at_checked(before).ok_or(Full)?;
            head[..2].copy_from_slice(&pointer(owner.at()));
            self.put(&head)?;
            let rdata_at = self.at;
            self.put(fixed)?;
            for _ in 0..names {
                let end = *ends.next().ok_or(Full)?;
                let (name, next) = rest.split_at_checked(end.len.into()).ok_or(Full)?;
                let written = self.name(name, bases.end_for(end))?;
                bases.enter(end, written);
                rest = next;
            }
            self.put(rest)?;
            let len = (self.at - rdata_at) as u16;
            self.out[rdata_at - 2..rdata_at].copy_from_slice(&len.to_be_bytes());
            let count = &mut self.counts[section as usize];
            *count = count.checked_add(1).ok_or(Full)?;
        }
        Ok(())
    }

    /// As [`ReplyWriter::naming`], of records that end with their only name, which begins `before` octets into RDATA.
    /// All of them have the same owner, type and TTL, and most have the same end.
    fn naming_one(
        &mut self,
        section: Section,
        owner: &Pieces,
        rrset: Naming<'_>,
        before: usize,
        ttl_cap: Option<u32>,
    ) -> Result<(), Full> {
        let mut head = *rrset.records.first_chunk::<PREPARED_HEAD>().ok_or(Full)?;
        cap_ttl(&mut head, ttl_cap);
        head[..2].copy_from_slice(&pointer(owner.at()));
        let [common @ .., _, _] = head;
        let mut bases = Bases::of(*owner);
        // What the name before had: its base, and the octets that it shares; its end in the reply, the octets of that,
        // and those of a pointer. The root is in the record.
        let (mut last, mut end, mut end_len, mut pointer_len) = ((0, 0), None::<Pieces>, 0, 0);
        let mut end_at = [0; 2];
        let (mut rest, mut at) = (rrset.records, self.at);
        let to = self.out.get_mut(..self.limit).ok_or(Full)?;
        let mut names = rrset.ends.iter();
        let mut added: u16 = 0;
        while let Some(head) = rest.first_chunk::<PREPARED_HEAD>() {
            let name = names.next().ok_or(Full)?;
            let len = PREPARED_HEAD + usize::from(u16::from_be_bytes([head[10], head[11]]));
            if (name.with, name.shared) != last {
                last = (name.with, name.shared);
                end = bases.end_for(*name);
                (end_len, pointer_len) = end.map_or((0, 0), |end| (end.name_len(), 2));
                end_at = end.map_or([0; 2], |end| pointer(end.at()));
            }
            let literal = len.checked_sub(end_len).ok_or(Full)?;
            let stop = literal + pointer_len;
            let free = to.get_mut(at..).ok_or(Full)?;
            let record = copied(free, rest, literal, stop).ok_or(Full)?;
            if pointer_len > 0 {
                *record.last_chunk_mut::<2>().ok_or(Full)? = end_at;
            }
            let (own, _) = record.split_first_chunk_mut::<PREPARED_HEAD>().ok_or(Full)?;
            own[..common.len()].copy_from_slice(&common);
            own[common.len()..].copy_from_slice(&((stop - PREPARED_HEAD) as u16).to_be_bytes());
            if name.is_base() {
                let name_at = PREPARED_HEAD + before;
                let labels = (literal - usize::from(end.is_none())).checked_sub(name_at).ok_or(Full)?;
                bases.enter(*name, Pieces::joined(at + name_at, labels, end));
            }
            at += stop;
            added = added.checked_add(1).ok_or(Full)?;
            rest = rest.get(len..).ok_or(Full)?;
        }
        let count = &mut self.counts[section as usize];
        (*count, self.at) = (count.checked_add(added).ok_or(Full)?, at);
        Ok(())
    }

    /// Writes a name, with a pointer to its end where the reply has that.
    fn name(&mut self, name: &[u8], end: Option<Pieces>) -> Result<Pieces, Full> {
        let at = self.at;
        let labels = without_end(name, end);
        match end {
            Some(end) => {
                self.put(labels)?;
                self.put(&pointer(end.at()))?;
            }
            None => self.put(name)?,
        }
        Ok(Pieces::joined(at, labels.len(), end))
    }
}

/// The fewest octets that an RRset of these prepared records takes, whose names share these ends: a pointer in place of
/// each.
pub fn least_len(records: &[u8], ends: &[SharedEnd]) -> usize {
    let mut ends = ends.iter();
    let of_record = |record: &[u8]| {
        let (_, names) = compressed_names(rtype_of(record));
        record.len() - ends.by_ref().take(names).map(SharedEnd::saved).sum::<usize>().min(record.len())
    };
    each_prepared(records).map(of_record).sum()
}

/// The type of the first of these prepared records; 0 if there is none.
fn rtype_of(records: &[u8]) -> u16 {
    records.get(2..4).map_or(0, |rtype| u16::from_be_bytes([rtype[0], rtype[1]]))
}

/// The first `len` octets of `to`, after the first `literal` octets of `from` have been copied there; `None` if either
/// is shorter. Octets behind these may be overwritten too.
pub(super) fn copied<'t>(to: &'t mut [u8], from: &[u8], literal: usize, len: usize) -> Option<&'t mut [u8]> {
    /// Copied at once: records are short, and a function that copies any number of octets takes longer.
    const STEP: usize = 16;
    let room = literal.next_multiple_of(STEP);
    if let (Some(to), Some(from)) = (to.get_mut(..room), from.get(..room)) {
        for (to, from) in to.as_chunks_mut::<STEP>().0.iter_mut().zip(from.as_chunks::<STEP>().0) {
            *to = *from;
        }
    } else {
        let (to, from) = (to.get_mut(..literal)?, from.get(..literal)?);
        match (to.split_last_chunk_mut::<STEP>(), from.split_last_chunk::<STEP>()) {
            (Some((first, last)), Some((from_first, from_last))) => {
                *last = *from_last;
                // The last ones may be among these, and are written twice.
                for (to, from) in first.chunks_mut(STEP).zip(from_first.chunks(STEP)) {
                    to.copy_from_slice(from);
                }
            }
            _ => to.copy_from_slice(from),
        }
    }
    to.get_mut(..len)
}
