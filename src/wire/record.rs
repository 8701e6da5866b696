//! The records in a query, read one after the other without allocating, with work proportional to the length of the
//! message. Their content does not matter to the reply, only whether it is well-formed: BIND and Knot refuse a query
//! with a malformed record.

use crate::wire::code::class;
use crate::wire::{HEADER_LEN, MAX_NAME};

/// Labels, pointers and texts that are passed in one message; a message with more is malformed. A TSIG record has 256
/// if both of its names are as long as names may be. Judgment: names have a few labels, so that a message with over
/// fifty records can be read.
const MAX_STEPS: u32 = 320;

/// A record as a message has it.
pub(super) struct RawRecord<'a> {
    /// The owner as it is written: it may end in a pointer.
    pub(super) owner: &'a [u8],
    /// Type code.
    pub(super) rtype: u16,
    /// Class, or what OPT has in its place.
    pub(super) class: u16,
    /// Seconds, or what OPT has in their place.
    pub(super) ttl: u32,
    /// Content.
    pub(super) rdata: &'a [u8],
    /// Whether it is well-formed: its type may be in a message, and its content has the form of its type.
    pub(super) is_sound: bool,
}

/// The records from some octet of a message on.
pub(super) struct Records<'a> {
    packet: &'a [u8],
    at: usize,
    steps: u32,
}

/// Octets before the names in the content of a type, number of names, octets after them.
type Form = (u8, u8, u8);

/// Forms by type.
const FORMS: [Option<Form>; 40] = {
    let mut forms = [None; 40];
    let mut at = 0;
    while at < KNOWN.len() {
        let (rtype, form) = KNOWN[at];
        forms[rtype] = Some(form);
        at += 1;
    }
    forms
};

/// Content of the types that queries may have (RFC 1035, 3.3; 1183; 2163; 2230; 2782; 3596; 6672).
const KNOWN: [(usize, Form); 20] = [
    (1, (4, 0, 0)),
    (2, (0, 1, 0)),
    (3, (0, 1, 0)),
    (4, (0, 1, 0)),
    (5, (0, 1, 0)),
    (6, (0, 2, 20)),
    (7, (0, 1, 0)),
    (8, (0, 1, 0)),
    (9, (0, 1, 0)),
    (12, (0, 1, 0)),
    (14, (0, 2, 0)),
    (15, (2, 1, 0)),
    (17, (0, 2, 0)),
    (18, (2, 1, 0)),
    (21, (2, 1, 0)),
    (26, (2, 2, 0)),
    (28, (16, 0, 0)),
    (33, (6, 1, 0)),
    (36, (2, 1, 0)),
    (39, (0, 1, 0)),
];

/// One or more texts, each behind its length (RFC 1035, 3.3.14).
const TXT: u16 = 16;
/// Octets before the signer's name and behind it: the signature has one at least (RFC 4034, 3.1).
const RRSIG: (u16, usize) = (46, 18);

/// Types of questions only (RFC 6895, 3.1): IXFR, AXFR, MAILB, MAILA and ANY.
const QUESTIONS_ONLY: std::ops::RangeInclusive<u16> = 251..=255;

impl<'a> Records<'a> {
    /// Begins at octet `at` of `packet`.
    pub(super) fn new(packet: &'a [u8], at: usize) -> Records<'a> {
        Records { packet, at, steps: MAX_STEPS }
    }

    /// Passes over a question; `None` where it does not end.
    pub(super) fn skip_question(&mut self) -> Option<()> {
        /// Octets of type and class.
        const FIXED: usize = 4;
        self.at = self.name_end(self.at)? + FIXED;
        (self.at <= self.packet.len()).then_some(())
    }

    /// The next record; `None` where there is none, or where its end is unknown.
    pub(super) fn next(&mut self) -> Option<RawRecord<'a>> {
        let owner_end = self.name_end(self.at)?;
        let owner = self.packet.get(self.at..owner_end)?;
        let (fixed, after) = self.packet.get(owner_end..)?.split_first_chunk::<10>()?;
        let field = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (rtype, class) = (field(0), field(2));
        let ttl = u32::from(field(4)) << 16 | u32::from(field(6));
        let rdata = after.get(..usize::from(field(8)))?;
        let start = owner_end + fixed.len();
        self.at = start + rdata.len();
        // Of other classes the content is anything: UPDATE has them with none (RFC 2136, 2.4).
        let is_sound = class != class::IN || (!QUESTIONS_ONLY.contains(&rtype) && self.has_form(rtype, start));
        Some(RawRecord { owner, rtype, class, ttl, rdata, is_sound })
    }

    /// Whether the content from `start` up to the next record has the form of its type.
    fn has_form(&mut self, rtype: u16, start: usize) -> bool {
        if rtype == TXT {
            return self.are_texts(start).is_some();
        }
        if rtype == RRSIG.0 {
            return self.name_end(start + RRSIG.1).is_some_and(|end| end < self.at);
        }
        let Some(&Some((before, names, behind))) = FORMS.get(usize::from(rtype)) else { return true };
        let (before, behind) = (usize::from(before), usize::from(behind));
        let mut at = start + before;
        for _ in 0..names {
            match self.name_end(at) {
                Some(end) => at = end,
                None => return false,
            }
        }
        at + behind == self.at
    }

    /// Whether the content from `start` up to the next record is one or more texts and nothing else.
    fn are_texts(&mut self, start: usize) -> Option<()> {
        let mut at = start;
        loop {
            self.steps = self.steps.checked_sub(1)?;
            at += 1 + usize::from(*self.packet.get(at)?);
            if at >= self.at {
                return (at == self.at && start < self.at).then_some(());
            }
        }
    }

    /// Where the name at `start` ends. Its pointers are followed; each must point further back than the one before.
    fn name_end(&mut self, start: usize) -> Option<usize> {
        let (mut at, mut lowest, mut end, mut len) = (start, start, None, 1);
        loop {
            self.steps = self.steps.checked_sub(1)?;
            match *self.packet.get(at)? {
                0 => return Some(end.unwrap_or(at + 1)),
                label @ 1..=63 => {
                    at += 1 + usize::from(label);
                    len += 1 + usize::from(label);
                    if len > MAX_NAME {
                        return None;
                    }
                }
                high @ 0xC0..=0xFF => {
                    let target = usize::from(u16::from_be_bytes([high & 0x3F, *self.packet.get(at + 1)?]));
                    if target < HEADER_LEN || target >= lowest {
                        return None;
                    }
                    end = end.or(Some(at + 2));
                    (at, lowest) = (target, target);
                }
                // RFC 6891, 5: the other label types are not in use.
                64..=0xBF => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message whose question is `www.example.`, and then `rest`.
    fn message(rest: &[u8]) -> (Vec<u8>, usize) {
        let head = [&[0; HEADER_LEN][..], b"\x03www\x07example\x00\x00\x01\x00\x01"].concat();
        ([&head, rest].concat(), head.len())
    }

    fn record(owner: &[u8], rtype: u8, class: u8, rdata: &[u8]) -> Vec<u8> {
        [owner, &[0, rtype, 0, class, 0, 0, 0, 0, 0, rdata.len() as u8], rdata].concat()
    }

    #[test]
    fn owners_are_followed_to_their_end() {
        for (owner, can_be) in [
            (&b"\x00"[..], true),
            (b"\xC0\x0C", true),
            (b"\xC0\x10", true),
            (b"\x01a\xC0\x0C", true),
            (b"\xC0\x0D", false),
            (b"\xC0\x00", false),
            (b"\xC0\x1D", false),
            (b"\x01a\xC0\x1D", false),
            (b"\xC0\x7F", false),
            (b"\x41a\x00", false),
        ] {
            let (packet, at) = message(&record(owner, 1, 1, &[192, 0, 2, 1]));
            let read = Records::new(&packet, at).next();
            assert_eq!(read.is_some_and(|record| record.is_sound), can_be, "{}", owner.escape_ascii());
        }
    }

    #[test]
    fn content_has_the_form_of_its_type() {
        for (rtype, class, rdata, can_be) in [
            (1, 1, &b"\xC0\x00\x02\x01"[..], true),
            (1, 1, b"\xC0\x00\x02", false),
            (1, 1, b"", false),
            (1, 3, b"", true),
            (28, 1, b"\xC0\x00\x02\x01", false),
            (2, 1, b"\xC0\x0C", true),
            (2, 1, b"\x02ns\xC0\x10", true),
            (2, 1, b"\x02ns", false),
            (5, 1, b"\x01a\x00x", false),
            (15, 1, b"\x00\x0A\xC0\x0C", true),
            (15, 1, b"\x00\x0A\xC0\xFF", false),
            (16, 1, b"", false),
            (16, 1, b"\x00", true),
            (16, 1, b"\x01a\x02bc", true),
            (16, 1, b"\x01a\x02b", false),
            (16, 1, &[0; 200], true),
            (46, 1, b"\x00\x01\x08\x00", false),
            (46, 1, b"012345678901234567\x00", false),
            (46, 1, b"012345678901234567\x00s", true),
            (14, 1, b"\x00", false),
            (18, 1, b"\x00\x0A\xC0\x0C", true),
            (255, 1, b"", false),
            (99, 1, b"anything", true),
        ] {
            let (packet, at) = message(&record(b"\x00", rtype, class, rdata));
            let read = Records::new(&packet, at).next();
            assert_eq!(read.is_some_and(|record| record.is_sound), can_be, "{rtype} {}", rdata.escape_ascii());
        }
    }

    #[test]
    fn no_message_makes_much_work() {
        let long = [&[b"\x01a".as_slice(); 120].concat()[..], &[0]].concat();
        let first = record(&long, 1, 1, &[0; 4]);
        let (head, at) = message(&first);
        let pointers = record(&[0xC0, at as u8], 1, 1, &[0; 4]);
        let packet = [head, pointers.repeat(4000)].concat();
        let mut records = Records::new(&packet, at);
        let read = std::iter::from_fn(|| records.next()).count();
        assert!((2..4).contains(&read), "{read}");
        let questions = [&[0; HEADER_LEN][..], &[0, 0, 1, 0, 1].repeat(4000)].concat();
        let mut records = Records::new(&questions, HEADER_LEN);
        let passed = std::iter::from_fn(|| records.skip_question()).count();
        assert_eq!(passed, MAX_STEPS as usize);
    }
}
