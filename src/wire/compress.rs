//! Name compression (RFC 1035, 4.1.4). A name is written as some of its labels and a pointer to the rest of it, which
//! the reply has already as the end of another name. With which name it shares an end, and how much of it, is known
//! before there is a query: [`share_ends`] compares the names of an RRset with its owner and with each other when the
//! zones are compiled. So a name of a reply costs what is written of it, however long it is and whatever else the reply
//! has.

use crate::wire::code::rtype;

/// Most pieces of a name in a reply. A reader follows a pointer from each piece to the next, and some readers give up
/// at a few pointers, as a guard against loops.
const MAX_PIECES: u8 = 4;
/// A pointer has 14 bits.
const POINTER_END: usize = 0x4000;
/// Names of one RRset that later names of it can share their ends with. Judgment: hosts of one provider share one end,
/// and few RRsets have names of more providers than this.
pub(super) const MAX_BASES: usize = 8;
/// No base.
const NONE: u8 = u8::MAX;
/// One in each place of [`Pieces::starts`] but the first, which is always 0.
const BEHIND_FIRST: u32 = 0x0101_0100;
/// Most labels that [`common_end_of`] passes over: more than two usual names have together.
const MAX_STEPS: usize = 24;

/// A name that a reply has, in pieces: labels, then a pointer to the next piece, where there is one. Each step of a
/// chain copies it and changes all of its pieces at once: the places of the pieces are in one number, and their octets
/// in another.
#[derive(Debug, Clone, Copy)]
pub struct Pieces {
    /// The octet of the reply that has each piece: 16 bits each, the first one the lowest.
    ats: u64,
    /// The octet of the name with which each piece begins, rising from 0: 8 bits each. Those behind the last piece are
    /// anything.
    starts: u32,
    /// Octets of the name, uncompressed.
    len: u8,
    count: u8,
}

impl Pieces {
    /// A name of `len` octets that is written whole at octet `at`.
    pub fn whole(at: u16, len: usize) -> Pieces {
        Pieces { ats: at.into(), starts: 0, len: len as u8, count: 1 }
    }

    /// The octet of the reply where it begins.
    pub fn at(&self) -> u16 {
        self.ats as u16
    }

    /// Whether a pointer can lead to it.
    pub fn is_reachable(&self) -> bool {
        usize::from(self.at()) < POINTER_END
    }

    /// Octets of the name, uncompressed.
    pub fn name_len(&self) -> usize {
        self.len.into()
    }

    /// Where a piece begins, as an octet of the name.
    fn start(&self, piece: u8) -> usize {
        (self.starts >> (8 * u32::from(piece % MAX_PIECES)) & 0xFF) as usize
    }

    /// Its octets in `reply`, piece by piece, each with its place in the name.
    pub(super) fn octets<'o>(&self, reply: &'o [u8]) -> impl Iterator<Item = (usize, &'o [u8])> {
        let name = *self;
        (0..name.count.min(MAX_PIECES)).filter_map(move |piece| {
            let start = name.start(piece);
            let end = if piece + 1 < name.count { name.start(piece + 1) } else { name.name_len() };
            let at = (name.ats >> (16 * u32::from(piece)) & 0xFFFF) as usize;
            Some((start, reply.get(at..at + end.checked_sub(start)?)?))
        })
    }

    /// Its ancestor of `len` octets.
    pub fn end(&self, len: usize) -> Pieces {
        let Some(skipped) = self.name_len().checked_sub(len) else { return *self };
        let mut passed = 0;
        while passed + 1 < self.count && self.start(passed + 1) <= skipped {
            passed += 1;
        }
        let within = (skipped - self.start(passed)) as u64;
        let starts = self.starts >> (8 * u32::from(passed % MAX_PIECES));
        Pieces {
            ats: (self.ats >> (16 * u32::from(passed % MAX_PIECES))) + within,
            // The pieces that are left, but the first, begin behind `skipped`, so that no place borrows from the next.
            starts: starts.wrapping_sub(skipped as u32 * BEHIND_FIRST) & !0xFF,
            len: len as u8,
            count: self.count - passed,
        }
    }

    /// Its longest end of at most `len` octets that another name may point at; `None` if that is at most the root,
    /// which is shorter than a pointer.
    pub(super) fn shared_end(&self, mut len: usize) -> Option<Pieces> {
        while len > 1 {
            let end = self.end(len);
            if end.is_reachable() && end.count < MAX_PIECES {
                return Some(end);
            }
            if end.count == 1 {
                return None;
            }
            len = end.name_len() - end.start(1);
        }
        None
    }

    /// The name that is written at octet `at` as `literal` octets and, if there is an end, a pointer to that.
    pub(super) fn joined(at: usize, literal: usize, end: Option<Pieces>) -> Pieces {
        let Some(end) = end else { return Pieces::whole(at as u16, literal + 1) };
        if literal == 0 {
            return end;
        }
        Pieces {
            ats: end.ats << 16 | at as u64,
            starts: (end.starts << 8).wrapping_add(literal as u32 * BEHIND_FIRST),
            len: (literal + end.name_len()) as u8,
            count: end.count + 1,
        }
    }
}

/// How long a name in RDATA is, and with which name before it in the reply it shares its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedEnd {
    /// Octets of the name, uncompressed.
    pub(super) len: u8,
    /// Octets of the end that both names have.
    pub(super) shared: u8,
    /// The base that it shares its end with: 0 is the owner of the RRset.
    pub(super) with: u8,
    /// The base that it is for later names.
    base: u8,
}

impl SharedEnd {
    /// A single name of `len` octets, the last `shared` of which are those of its owner too.
    pub fn with_owner(len: usize, shared: usize) -> SharedEnd {
        SharedEnd { len: len as u8, shared: shared as u8, with: 0, base: NONE }
    }

    /// Whether later names can share their ends with it.
    pub(super) fn is_base(&self) -> bool {
        self.base != NONE
    }

    /// How many octets a pointer can save.
    pub(super) fn saved(&self) -> usize {
        // The root is shorter than a pointer.
        usize::from(self.shared.saturating_sub(2))
    }
}

/// The names of one RRset in the reply that others can point at.
pub(super) struct Bases {
    names: [Pieces; MAX_BASES + 1],
    /// The last end that was found, with its base and its length there: the names of an RRset mostly share one.
    last: (u8, u8, Option<Pieces>),
}

impl Bases {
    /// Only the owner.
    pub(super) fn of(owner: Pieces) -> Bases {
        Bases { names: [owner; MAX_BASES + 1], last: (0, 0, None) }
    }

    /// The longest end that `name` can point at.
    pub(super) fn end_for(&mut self, name: SharedEnd) -> Option<Pieces> {
        let (with, shared, last) = self.last;
        if (with, shared) == (name.with, name.shared) {
            return last;
        }
        let found = self.names.get(usize::from(name.with))?.shared_end(name.shared.into());
        self.last = (name.with, name.shared, found);
        found
    }

    /// Enters `name`, which was written so. No name before it has pointed at it.
    pub(super) fn enter(&mut self, name: SharedEnd, written: Pieces) {
        if let Some(base) = self.names.get_mut(usize::from(name.base)) {
            *base = written;
        }
    }
}

/// The names in RDATA that are compressed: octets before them, and how many there are. Only those of RFC 1035's types
/// are (RFC 3597, 4).
pub fn compressed_names(rtype: u16) -> (usize, usize) {
    match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::MD | rtype::MF | rtype::MB | rtype::MG | rtype::MR => (0, 1),
        rtype::SOA | rtype::MINFO => (0, 2),
        rtype::MX => (2, 1),
        _ => (0, 0),
    }
}

/// Finds with which names the names of an RRset share their ends, in the order of the names. `owner` is the RRset's
/// owner, or its longest end that all owners have for which the records can be written: for a wildcard the name above
/// it.
pub fn share_ends<'r>(owner: &[u8], rtype: u16, rdatas: impl ExactSizeIterator<Item = &'r [u8]>) -> Vec<SharedEnd> {
    let (before, count) = compressed_names(rtype);
    let are_few = rdatas.len() * count <= MAX_BASES;
    let mut bases = vec![owner];
    let mut ends = Vec::with_capacity(rdatas.len() * count);
    for rdata in rdatas {
        let mut rest = rdata.get(before..).unwrap_or_default();
        for _ in 0..count {
            let Some((name, next)) = rest.split_at_checked(name_len(rest)) else { break };
            let shared = bases.iter().map(|base| common_end(base, name));
            let (with, shared) = shared.enumerate().rev().max_by_key(|(_, shared)| *shared).unwrap_or_default();
            // Only names that begin with two labels of their own have an end that others do not find elsewhere.
            let is_base = bases.len() <= MAX_BASES && (are_few || labels_before(name, shared) > 1);
            let base = if is_base { bases.len() as u8 } else { NONE };
            if is_base {
                bases.push(name);
            }
            ends.push(SharedEnd { len: name.len() as u8, shared: shared as u8, with: with as u8, base });
            rest = next;
        }
    }
    ends
}

/// Octets of the longest name that ends both names, uncompressed; case does not count.
pub fn common_end(one: &[u8], other: &[u8]) -> usize {
    common_end_within(one, other, usize::MAX).unwrap_or(1)
}

/// As `common_end`, for two names in `zone_len` octets of which both end: these, if the names have many labels.
pub fn common_end_of(one: &[u8], other: &[u8], zone_len: usize) -> usize {
    common_end_within(one, other, MAX_STEPS).unwrap_or(zone_len)
}

/// `None` after more than `steps` labels.
fn common_end_within<'n>(mut one: &'n [u8], mut other: &'n [u8], steps: usize) -> Option<usize> {
    let equal = equal_end(one, other);
    let mut left = steps;
    // A common end begins with a label of both.
    while one.len() > equal || one.len() != other.len() {
        let longer = if one.len() >= other.len() { &mut one } else { &mut other };
        *longer = longer.get(1 + usize::from(*longer.first()?)..)?;
        left = left.checked_sub(1)?;
    }
    Some(one.len())
}

/// How many octets at the end of both are equal; case does not count.
fn equal_end(mut one: &[u8], mut other: &[u8]) -> usize {
    let mut equal = 0;
    // Nearly always the same octets, which are compared eight at a time.
    while let (Some((one_rest, one_end)), Some((other_rest, other_end))) =
        (one.split_last_chunk::<8>(), other.split_last_chunk::<8>())
        && (one_end == other_end || one_end.eq_ignore_ascii_case(other_end))
    {
        (one, other) = (one_rest, other_rest);
        equal += 8;
    }
    let ends = one.iter().rev().zip(other.iter().rev());
    equal + ends.take_while(|(one, other)| one.eq_ignore_ascii_case(other)).count()
}

/// How many labels of `name` are before its last `shared` octets.
fn labels_before(name: &[u8], shared: usize) -> usize {
    let (mut at, mut labels) = (0, 0);
    while let Some(&len) = name.get(at).filter(|_| at + shared < name.len()) {
        at += 1 + usize::from(len);
        labels += 1;
    }
    labels
}

/// The length of the uncompressed name at the start of `wire`, its root label included.
pub fn name_len(wire: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&len) = wire.get(at).filter(|len| **len != 0) {
        at += 1 + usize::from(len);
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_end_begins_with_a_label_of_both() {
        let cases: [(&[u8], &[u8], usize); 7] = [
            (b"\x03www\x07example\x00", b"\x03WWW\x07exaMple\x00", 13),
            (b"\x03www\x07example\x00", b"\x03ns1\x07example\x00", 9),
            (b"\x03www\x07example\x00", b"\x07example\x00", 9),
            (b"\x04wabc\x01z\x00", b"\x03abc\x01z\x00", 3),
            // The octets of the second name end the first, inside of a label.
            (b"\x05q\x03abc\x01z\x00", b"\x03abc\x01z\x00", 3),
            (b"\x03www\x00", b"\x03net\x00", 1),
            (b"\x00", b"\x03net\x00", 1),
        ];
        for (one, other, end) in cases {
            assert_eq!((common_end(one, other), common_end(other, one)), (end, end), "{one:?} {other:?}");
            assert_eq!(common_end_of(one, other, 1), end);
        }
        let long = [&b"\x01a".repeat(60)[..], b"\x01z\x00"].concat();
        assert_eq!(common_end_of(&long, b"\x01b\x01z\x00", 1), 1);
    }

    #[test]
    fn ancestors_have_the_pieces_that_are_left() {
        // `www.example.`, then `ns1` before `example.`, then `a.ns1.example.` and so on.
        let www = Pieces::whole(12, 13);
        assert_eq!((www.end(13).at(), www.end(9).at(), www.end(1).at()), (12, 16, 24));
        let ns1 = Pieces::joined(40, 4, www.shared_end(9));
        assert_eq!((ns1.name_len(), ns1.at(), ns1.end(9).at(), ns1.end(9).count), (13, 40, 16, 1));
        let a = Pieces::joined(60, 2, ns1.shared_end(13));
        assert_eq!((a.name_len(), a.count), (15, 3));
        assert_eq!((a.end(13).at(), a.end(13).count, a.end(9).at(), a.end(9).count), (40, 2, 16, 1));
    }

    proptest::proptest! {
        /// A name whose pieces are anywhere has the octets that it was made of, and so has each of its ends.
        #[test]
        fn pieces_are_those_of_the_name(
            parts in proptest::collection::vec((1..60_usize, 0..256_usize, 0..2000_usize), 1..8), seed: u8
        ) {
            let (mut reply, mut expected, mut name) = (vec![0; 12], Vec::new(), None);
            for (turn, (literal, skipped, gap)) in (0..).zip(parts) {
                reply.resize(reply.len() + gap, 0xFF);
                let shared = name.map_or(0, |name: Pieces| name.name_len().saturating_sub(skipped));
                let end = name.and_then(|name: Pieces| name.shared_end(shared));
                let end_len = end.map_or(1, |end| end.name_len());
                if literal + end_len > 255 {
                    continue;
                }
                let labels: Vec<u8> = (0..literal).map(|at| seed.wrapping_add(at as u8) ^ turn).collect();
                let tail = expected.split_off(expected.len().saturating_sub(end_len));
                expected = [labels.clone(), if end.is_some() { tail } else { vec![0] }].concat();
                name = Some(Pieces::joined(reply.len(), literal, end));
                reply.extend(&labels);
                reply.extend(if end.is_some() { &[0xC0, 0][..] } else { &[0] });
                let name = name.unwrap();
                proptest::prop_assert!(name.count <= MAX_PIECES && name.name_len() == expected.len());
                for len in 1..=expected.len() {
                    let end = name.end(len);
                    let octets: Vec<u8> = end.octets(&reply).flat_map(|(_, octets)| octets.to_vec()).collect();
                    proptest::prop_assert_eq!(&octets[..], &expected[expected.len() - len..]);
                    proptest::prop_assert_eq!(end.octets(&reply).map(|(start, _)| start).next(), Some(0));
                }
            }
        }
    }

    #[test]
    fn no_name_is_read_over_more_pointers_than_the_limit() {
        let mut name = Pieces::whole(12, 9);
        let (mut counts, mut literals) = (Vec::new(), Vec::new());
        for step in 1..7 {
            let end = name.shared_end(name.name_len());
            let literal = name.name_len() + 2 - end.map_or(1, |end| end.name_len());
            name = Pieces::joined(12 + 30 * step, literal, end);
            counts.push(name.count);
            literals.push(literal);
            assert_eq!(name.name_len(), 9 + 2 * step);
        }
        assert_eq!(counts, [2, 3, 4, 4, 4, 4]);
        assert_eq!(literals, [2, 2, 2, 4, 6, 8]);
    }

    #[test]
    fn nothing_points_where_no_pointer_reaches() {
        let far = Pieces::whole(0x3FFE, 13);
        assert_eq!((far.is_reachable(), far.end(9).is_reachable()), (true, false));
        assert!(far.shared_end(9).is_none());
        let name = Pieces::joined(0x4000, 4, Pieces::whole(12, 13).shared_end(9));
        assert_eq!(name.shared_end(13).map(|end| (end.at(), end.name_len())), Some((16, 9)));
        assert!(Pieces::whole(12, 13).shared_end(1).is_none());
    }

    #[test]
    fn names_share_their_longest_end_with_the_owner_or_each_other() {
        let rdatas: [&[u8]; 4] = [b"\x01a\x01p\x03net\x00", b"\x01b\x01p\x03net\x00", b"\x01c\x01z\x00", b"\x01z\x00"];
        let ends = share_ends(b"\x01w\x01z\x00", rtype::NS, rdatas.into_iter());
        let found: Vec<(u8, u8, u8)> = ends.iter().map(|end| (end.len, end.shared, end.with)).collect();
        assert_eq!(found, [(9, 1, 0), (9, 7, 1), (5, 3, 0), (3, 3, 0)]);
        let soa = share_ends(b"\x01z\x00", rtype::SOA, [&b"\x01n\x01z\x00\x01h\x01z\x00serial"[..]].into_iter());
        assert_eq!(soa.iter().map(|end| (end.len, end.shared, end.with)).collect::<Vec<_>>(), [(5, 3, 0), (5, 3, 0)]);
    }
}
