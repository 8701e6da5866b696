//! TSIG (RFC 8945) as far as a server without keys needs it: enough of the record to answer that its key is unknown.

use crate::wire::code::class;
use crate::wire::question::Question;
use crate::wire::{HEADER_LEN, NameBuf};

/// The key is unknown (RFC 8945, 3).
pub const BADKEY: u16 = 17;

/// Octets of the time and the fudge that follow the algorithm's name.
const TIME_LEN: usize = 8;

/// A well-formed TSIG record of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tsig<'a> {
    /// The key's name as it was written; when compressed it points into the question, so that it means the same in a
    /// reply that repeats the question.
    pub owner: &'a [u8],
    /// The algorithm's name, the time and the fudge, as they were written.
    pub signer: &'a [u8],
    /// The message's id when it was signed.
    pub original_id: [u8; 2],
}

impl<'a> Tsig<'a> {
    /// From a record's owner, CLASS, TTL and RDATA; `None` where it is malformed (RFC 8945, 4.2).
    pub fn parse(
        owner: &'a [u8],
        class: u16,
        ttl: u32,
        rdata: &'a [u8],
        question: Option<&Question<'_>>,
    ) -> Option<Tsig<'a>> {
        let signer_len = NameBuf::parse(rdata)?.as_wire().len() + TIME_LEN;
        let (signer, rest) = rdata.split_at_checked(signer_len)?;
        let (_mac, rest) = sized(rest)?;
        let (fixed, rest) = rest.split_first_chunk::<4>()?;
        let (_other, rest) = sized(rest)?;
        let is_sound = class == class::ANY && ttl == 0 && rest.is_empty() && is_name(owner, question);
        is_sound.then_some(Tsig { owner, signer, original_id: [fixed[0], fixed[1]] })
    }
}

/// The octets after a length of two octets, and the rest.
fn sized(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = wire.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// Whether it is a name by itself, or one that ends in a pointer to a label of the question's name.
fn is_name(owner: &[u8], question: Option<&Question<'_>>) -> bool {
    let Some((labels, &[high @ 0xC0..=0xFF, low])) = owner.split_last_chunk::<2>() else {
        return NameBuf::parse(owner).is_some();
    };
    let target = usize::from(u16::from_be_bytes([high & 0x3F, low]));
    let Some(name) = question.map(|question| question.name.as_wire()) else { return false };
    let Some(at) = target.checked_sub(HEADER_LEN).filter(|at| *at < name.len()) else { return false };
    let mut whole = [0; crate::wire::MAX_NAME];
    let suffix = &name[at..];
    let Some(room) = whole.get_mut(..labels.len() + suffix.len()) else { return false };
    room[..labels.len()].copy_from_slice(labels);
    room[labels.len()..].copy_from_slice(suffix);
    let is_label = NameBuf::parse(name).is_some_and(|name| name.is_within(suffix));
    is_label && NameBuf::parse(room).is_some_and(|parsed| parsed.as_wire().len() == room.len())
}

#[cfg(test)]
mod tests {
    use crate::wire::NameBuf;
    use crate::wire::query::Query;

    const QUESTION: &[u8] = b"\x03www\x07example\x00\x00\x01\x00\x01";

    /// A query for `www.example.` with these additional records after its question.
    fn query(additional: &[&[u8]]) -> Vec<u8> {
        let head = [0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, additional.len() as u8];
        [&head[..], QUESTION, &additional.concat()].concat()
    }

    fn record(owner: &[u8], class: u8, rdata: &[u8]) -> Vec<u8> {
        [owner, &[0, 250, 0, class, 0, 0, 0, 0, 0, rdata.len() as u8], rdata].concat()
    }

    const RDATA: &[u8] = b"\x03alg\x00\x00\x00\x68\x00\x00\x00\x01\x2C\x00\x02mm\x00\x09\x00\x00\x00\x00";

    #[test]
    fn a_key_has_a_name_of_its_own_or_one_that_points_into_the_question() {
        for (owner, sound) in [
            (&b"\x03key\x00"[..], true),
            (b"\x03key\xC0\x10", true),
            (b"\xC0\x0C", true),
            (b"\x03key\xC0\x18", true),
            (b"\x03key\xC0\x0E", false),
            (b"\x03key\xC0\x19", false),
            (b"\x03key\xC0\x00", false),
            (b"\x03key\xFF\xFF", false),
        ] {
            let packet = query(&[&record(owner, 255, RDATA)]);
            let mut name = NameBuf::default();
            let parsed = Query::parse(&packet, &mut name).unwrap();
            assert_eq!((parsed.tsig.is_some(), parsed.is_malformed), (sound, !sound), "{}", owner.escape_ascii());
        }
    }

    #[test]
    fn it_stands_once_and_last_and_whole() {
        let good = record(b"\x03key\x00", 255, RDATA);
        let opt = b"\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x00".as_slice();
        for (additional, sound, what) in [
            (vec![&good[..]], true, "alone"),
            (vec![opt, &good], true, "after OPT"),
            (vec![&good, opt], false, "before OPT"),
            (vec![&good, &good], false, "twice"),
            (vec![&record(b"\x03key\x00", 1, RDATA)], false, "of class IN"),
            (vec![&record(b"\x03key\x00", 255, &RDATA[..RDATA.len() - 1])], false, "cut short"),
            (vec![&record(b"\x03key\x00", 255, &[RDATA, b"x"].concat())], false, "too long"),
        ] {
            let packet = query(&additional);
            assert_eq!(Query::parse(&packet, &mut NameBuf::default()).unwrap().is_malformed, !sound, "{what}");
        }
        let (packet, mut name) = (query(&[&good]), NameBuf::default());
        let tsig = Query::parse(&packet, &mut name).unwrap().tsig.unwrap();
        assert_eq!((tsig.owner, tsig.original_id), (&b"\x03key\x00"[..], [0, 9]));
        assert_eq!(tsig.signer, &RDATA[..13]);
    }
}
