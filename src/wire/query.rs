//! Parses a received message, without allocating and without trust. The readable part of a malformed message is
//! available, so that its FORMERR repeats the question.

use crate::wire::code::{flag, opcode, rtype};
use crate::wire::edns::Edns;
use crate::wire::question::Question;
use crate::wire::record::{RawRecord, Records};
use crate::wire::tsig::Tsig;
use crate::wire::{HEADER_LEN, NameBuf};

/// Most records of a message that is no update; one with more is malformed. Judgment: a query has OPT and TSIG, and
/// IXFR a SOA.
const MAX_RECORDS: u32 = 16;
/// Most records of an update that are read. It is refused in any case: they are read only to find a TSIG record.
const MAX_UPDATES: u32 = 64;
/// Most questions that are passed over to find OPT. More than one are malformed.
const MAX_QUESTIONS: u16 = 4;

/// Why a message gets no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reject {
    /// Shorter than a header (12 octets): there is no id to answer to.
    Short,
    /// QR is set: a response. Answering it could make two servers talk to each other for ever.
    Response,
    /// From source port 0, where no program receives.
    PortZero,
}

impl Reject {
    /// All of them, in the order of their numbers.
    pub const ALL: [Reject; 3] = [Reject::Short, Reject::Response, Reject::PortZero];

    /// Its name on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reject::Short => "short",
            Reject::Response => "response",
            Reject::PortZero => "port_zero",
        }
    }
}

/// A message that is a query, by its header.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The message id, repeated in the reply.
    pub id: u16,
    /// The second 16 bits of the header.
    pub flags: u16,
    /// The first question, where there is exactly one and it can be read.
    pub question: Option<Question<'a>>,
    /// The first OPT record, where the message can be read up to it.
    pub edns: Option<Edns<'a>>,
    /// The TSIG record, where it is well-formed and the last record.
    pub tsig: Option<Tsig<'a>>,
    /// Whether the message is malformed: FORMERR. A message without a question needs a cookie option (RFC 7873, 5.4).
    pub is_malformed: bool,
}

impl<'a> Query<'a> {
    /// Reads a message; an error means that it gets no reply at all. The question's name is put into `name`, which is
    /// anything before.
    #[inline]
    pub fn parse(packet: &'a [u8], name: &'a mut NameBuf) -> Result<Query<'a>, Reject> {
        let Some((header, body)) = packet.split_first_chunk::<HEADER_LEN>() else { return Err(Reject::Short) };
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let mut query =
            Query { id: field(0), flags: field(2), question: None, edns: None, tsig: None, is_malformed: false };
        if query.flags & flag::QR != 0 {
            return Err(Reject::Response);
        }
        query.is_malformed = query.read_body(packet, body, name, [field(4), field(6), field(8), field(10)]).is_none();
        Ok(query)
    }

    /// What is to be done (RFC 1035, 4.1.1).
    pub fn opcode(&self) -> u8 {
        (self.flags >> 11) as u8 & 0xF
    }

    /// Reads `body`, which follows the header; `None` if the message is malformed.
    fn read_body(&mut self, packet: &'a [u8], body: &'a [u8], name: &'a mut NameBuf, counts: [u16; 4]) -> Option<()> {
        let [questions, answers, authorities, additionals] = counts;
        let mut records = Records::new(packet, HEADER_LEN);
        if questions == 1 {
            let question = Question::parse(body, name)?;
            records = Records::new(packet, HEADER_LEN + question.wire.len());
            self.question = Some(question);
        } else {
            (0..questions).try_for_each(|at| records.skip_question().filter(|()| at < MAX_QUESTIONS))?;
        }
        let most = if self.opcode() == opcode::UPDATE { MAX_UPDATES } else { MAX_RECORDS };
        if u32::from(answers) + u32::from(authorities) + u32::from(additionals) > most {
            return None;
        }
        let mut is_sound = questions <= 1;
        // Only IXFR has a record here, its SOA (RFC 1995, 3). All records are ignored, as other servers do.
        for _ in 0..u32::from(answers) + u32::from(authorities) {
            let record = records.next()?;
            is_sound &= record.is_sound && !matches!(record.rtype, rtype::OPT | rtype::TSIG);
        }
        self.read_additional(&mut records, additionals)?;
        let asks_for_cookie = self.edns.is_some_and(|edns| edns.cookie.is_some());
        (is_sound && (self.question.is_some() || asks_for_cookie)).then_some(())
    }

    fn read_additional(&mut self, records: &mut Records<'a>, count: u16) -> Option<()> {
        let mut is_sound = true;
        for at in 0..count {
            let record = records.next()?;
            is_sound &= record.is_sound;
            if record.rtype == rtype::TSIG {
                // RFC 8945, 5.1: one at most, and the last of all records.
                let RawRecord { owner, class, ttl, rdata, .. } = record;
                self.tsig = Tsig::parse(owner, class, ttl, rdata, self.question.as_ref()).filter(|_| at + 1 == count);
                is_sound &= self.tsig.is_some();
                continue;
            }
            if record.rtype != rtype::OPT {
                continue;
            }
            // RFC 6891, 6.1.1: one OPT at most, and its owner is the root.
            if self.edns.is_some() || record.owner != [0] {
                is_sound = false;
                continue;
            }
            let edns = Edns::parse(record.class, record.ttl, record.rdata);
            is_sound &= !edns.is_malformed;
            self.edns = Some(edns);
        }
        is_sound.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x03wWw\x07example\x00\x00\x01\x00\x01";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

    /// A message of `counts`, with `parts` after the header.
    fn message(flags: u16, counts: [u16; 4], parts: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0xAB, 0xCD];
        out.extend(flags.to_be_bytes());
        out.extend(counts.iter().flat_map(|c| c.to_be_bytes()));
        out.extend(parts.concat());
        out
    }

    #[test]
    fn what_must_not_be_answered_is_rejected() {
        for len in 0..HEADER_LEN {
            assert_eq!(Query::parse(&vec![0; len], &mut NameBuf::default()).err(), Some(Reject::Short));
        }
        let response = message(0x8000, [1, 0, 0, 0], &[QUESTION]);
        assert_eq!(Query::parse(&response, &mut NameBuf::default()).err(), Some(Reject::Response));
    }

    #[test]
    fn a_question_is_available_as_it_was_received() {
        let packet = message(0x0100, [1, 0, 0, 1], &[QUESTION, OPT]);
        let mut name = NameBuf::default();
        let query = Query::parse(&packet, &mut name).unwrap();
        let question = query.question.unwrap();
        assert_eq!((query.id, query.opcode(), query.is_malformed), (0xABCD, 0, false));
        assert_eq!((question.wire, question.qtype, question.qclass), (QUESTION, 1, 1));
        assert_eq!(question.name.as_wire(), b"\x03www\x07example\x00");
        assert_eq!(query.edns.map(|e| e.udp_size), Some(1232));
    }

    #[test]
    fn opt_is_found_behind_what_is_wrong() {
        for (counts, parts) in [
            ([0, 0, 0, 1], vec![OPT]),
            ([2, 0, 0, 1], vec![QUESTION, QUESTION, OPT]),
            ([1, 1, 0, 1], vec![QUESTION, b"\x00\x00\x06\x00\x01\x00\x00\x00\x00\x00\x00", OPT]),
        ] {
            let packet = message(0, counts, &parts);
            let mut name = NameBuf::default();
            let query = Query::parse(&packet, &mut name).unwrap();
            assert!(query.is_malformed && query.edns.is_some(), "{counts:?}");
        }
    }

    #[test]
    fn malformed_messages_are_known() {
        let opt_elsewhere = b"\x01a\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00".as_slice();
        let soa = [b"\x00\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16".as_slice(), &[0; 22]].concat();
        let soa = soa.as_slice();
        let ixfr = b"\x03wWw\x07example\x00\x00\xfb\x00\x01".as_slice();
        let ones = |count: usize| vec![&b"\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00"[..]; count];
        let many = |count: u32| [vec![QUESTION], ones(count as usize)].concat();
        let cases: [(Vec<u8>, bool, &str); 16] = [
            (message(0, [1, 0, 0, 0], &[QUESTION]), false, "plain"),
            (message(0, [1, 0, 0, 0], &[QUESTION, b"more"]), false, "octets after the message"),
            (message(0, [1, 0, 1, 0], &[ixfr, soa]), false, "IXFR with its SOA"),
            (message(0, [0, 0, 0, 0], &[]), true, "no question"),
            (message(0, [2, 0, 0, 0], &[QUESTION, QUESTION]), true, "two questions"),
            (message(0, [1, 0, 0, 0], &[b"\xc0\x0c\x00\x01\x00\x01"]), true, "a compressed question"),
            (message(0, [1, 0, 0, 0], &[&QUESTION[..QUESTION.len() - 1]]), true, "half a question"),
            (message(0, [1, 1, 0, 0], &[QUESTION, soa]), false, "an answer in a query"),
            (message(0, [1, 0, 1, 0], &[QUESTION, soa]), false, "an authority in a query"),
            (message(0, [1, 0, 0, 2], &[QUESTION, OPT, OPT]), true, "two OPTs"),
            (message(0, [1, 0, 0, 1], &[QUESTION, opt_elsewhere]), true, "an OPT with an owner"),
            (message(0, [1, 0, 0, 1], &[QUESTION]), true, "a record that isn't there"),
            (message(0x0200, [1, 0, 0, 0], &[QUESTION]), false, "TC, which means nothing here"),
            (message(0, [1, 8, 8, 0], &many(MAX_RECORDS)), false, "as many records as there may be"),
            (message(0, [1, 8, 8, 1], &many(MAX_RECORDS + 1)), true, "more records"),
            (message(0x2800, [1, 0, 0, MAX_UPDATES as u16], &many(MAX_UPDATES)), false, "an update"),
        ];
        for (packet, malformed, what) in cases {
            assert_eq!(Query::parse(&packet, &mut NameBuf::default()).unwrap().is_malformed, malformed, "{what}");
        }
    }
}
