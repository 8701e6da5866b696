//! Name compression (RFC 1035, 4.1.4): which names a reply already has, so that later ones can point at them.
//!
//! The work for a name grows with its octets. Each label of the reply is stored with the length and a hash of the name
//! that begins there, and a table finds it by that hash. For a new name, each of its labels is looked up once, from the
//! left, so the longest name that matches is found first. Only names of equal length and hash are compared octet by
//! octet, and at most [`MAX_COMPARISONS`] of them.

use crate::wire::{MAX_NAME, namebuf::MAX_LABELS};

/// How many places are remembered: enough for a referral to 13 name servers with their glue; beyond, names are written
/// whole.
const MAX_PLACES: usize = 48;
/// How many of the question's labels are remembered, from the right: the ones that other names share.
const MAX_QUESTION_LABELS: usize = 16;
/// Most pointers one after the other in a name of ours: some readers give up at a few, as a guard against loops.
const MAX_HOPS: u8 = 3;
/// Most names that are compared octet by octet for one name. Judgment: two different names with one hash are rare
/// unless somebody searches for them, and then the name is written whole.
const MAX_COMPARISONS: usize = 4;
/// Slots of the table that finds a place by its hash: a power of two, and over twice [`MAX_PLACES`], so that a search
/// ends after about one slot.
const SLOTS: usize = 128;
/// A pointer has 14 bits.
const POINTER_END: usize = 0x4000;
/// The octet of the question's name: after the header.
const QUESTION_AT: usize = 12;

/// A label of the reply at which a name begins.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    hash: u32,
    at: u16,
    /// Octets of the name that begins here, uncompressed.
    len: u8,
    /// Pointers that a reader follows to its end.
    hops: u8,
}

/// The places in a reply at which a label of a name begins, in rising order.
pub(super) struct Suffixes {
    places: [Place; MAX_PLACES],
    len: usize,
    /// Indices into `places`, plus one; 0 is an empty slot. A place is in the slot of its hash, or in the next
    /// empty one.
    slots: [u8; SLOTS],
    /// Octets of the question's name, which is added before the first name that could point at it: most replies have
    /// none.
    question: Option<u8>,
}

/// An uncompressed name with the hash of every name that ends it.
pub(super) struct Hashed<'n> {
    name: &'n [u8],
    /// Where each label begins, from the left.
    starts: [u8; MAX_LABELS],
    /// The hash of the name that begins there.
    hashes: [u32; MAX_LABELS],
    /// How many labels there are, the root left out.
    count: usize,
}

/// How a name is written.
pub(super) struct Split {
    /// How many octets are written as they are.
    pub(super) literal: usize,
    /// Where the reply has the rest; the rest is the root where there is none.
    pub(super) pointer: Option<u16>,
    hops: u8,
}

impl Default for Suffixes {
    fn default() -> Suffixes {
        Suffixes { places: [Place::default(); MAX_PLACES], len: 0, slots: [0; SLOTS], question: None }
    }
}

impl Suffixes {
    /// Notes that the question's name, of `len` octets, is after the header.
    pub(super) fn note_question(&mut self, len: usize) {
        self.question = u8::try_from(len).ok();
    }

    /// Adds the question's name, once.
    pub(super) fn add_question(&mut self, reply: &[u8]) {
        let Some(len) = self.question.take() else { return };
        let Some(name) = reply.get(QUESTION_AT..QUESTION_AT + usize::from(len)) else { return };
        let hashed = Hashed::new(name);
        for (label, hash) in hashed.labels().skip(hashed.count.saturating_sub(MAX_QUESTION_LABELS)) {
            self.push(hash, name.len() - label, QUESTION_AT + label, 0);
        }
    }

    /// Adds the labels of a name that was written at `start` as `split` says.
    pub(super) fn add(&mut self, name: &Hashed<'_>, split: &Split, start: usize) {
        for (label, hash) in name.labels().take_while(|(label, _)| *label < split.literal) {
            self.push(hash, name.name.len() - label, start + label, split.hops);
        }
    }

    /// Adds the labels of a name that was written whole at `start`.
    pub(super) fn add_whole(&mut self, name: &Hashed<'_>, start: usize) {
        self.add(name, &Split { literal: name.name.len(), pointer: None, hops: 0 }, start);
    }

    fn push(&mut self, hash: u32, len: usize, at: usize, hops: u8) {
        if let Some(place) = self.places.get_mut(self.len)
            && at < POINTER_END
        {
            *place = Place { hash, at: at as u16, len: len as u8, hops };
            self.len += 1;
            self.fill_slot(self.len);
        }
    }

    /// Enters the place with index `number - 1` into the table. There are fewer places than slots, so one is empty.
    fn fill_slot(&mut self, number: usize) {
        let mut slot = self.places[number - 1].hash as usize % SLOTS;
        while self.slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        self.slots[slot] = number as u8;
    }

    /// Forgets the places at or after `at`.
    pub(super) fn forget_from(&mut self, at: usize) {
        let before = self.len;
        while self.len > 0 && usize::from(self.places[self.len - 1].at) >= at {
            self.len -= 1;
        }
        if self.len < before {
            self.slots = [0; SLOTS];
            (1..=self.len).for_each(|number| self.fill_slot(number));
        }
    }

    /// The places where a name with this hash and length begins, those written first before the others.
    fn candidates(&self, hash: u32, len: usize) -> impl Iterator<Item = &Place> {
        let mut slot = hash as usize % SLOTS;
        std::iter::from_fn(move || {
            let number = usize::from(self.slots[slot]);
            slot = (slot + 1) % SLOTS;
            self.places.get(number.checked_sub(1)?)
        })
        .filter(move |place| place.hash == hash && usize::from(place.len) == len && place.hops < MAX_HOPS)
    }

    /// How `name` is written: the reply has the rest of it at the first place with the longest rest.
    pub(super) fn split(&self, reply: &[u8], name: &Hashed<'_>) -> Split {
        let total = name.name.len();
        let mut left = MAX_COMPARISONS;
        for (literal, hash) in name.labels() {
            for place in self.candidates(hash, total - literal).take(left) {
                if stands_at(reply, usize::from(place.at), &name.name[literal..]) {
                    return Split { literal, pointer: Some(place.at), hops: place.hops + 1 };
                }
                left -= 1;
            }
        }
        Split { literal: total.saturating_sub(1), pointer: None, hops: 0 }
    }
}

impl<'n> Hashed<'n> {
    /// Hashes the ends of an uncompressed name; case does not count. A name longer than a name may be has none.
    pub(super) fn new(name: &'n [u8]) -> Hashed<'n> {
        let mut hashed = Hashed { name, starts: [0; MAX_LABELS], hashes: [0; MAX_LABELS], count: 0 };
        if name.len() > MAX_NAME {
            return hashed;
        }
        for (start, label) in hashed.starts.iter_mut().zip(labels(name)) {
            *start = label as u8;
            hashed.count += 1;
        }
        let (mut hash, mut end) = (SEED, name.len().saturating_sub(1));
        for label in (0..hashed.count).rev() {
            let start = usize::from(hashed.starts[label]);
            hash = hash_label(hash, &name[start..end.max(start)]);
            hashed.hashes[label] = hash;
            end = start;
        }
        hashed
    }

    /// Where each label begins, from the left, with the hash of the name that begins there.
    fn labels(&self) -> impl Iterator<Item = (usize, u32)> {
        self.starts.iter().zip(&self.hashes).take(self.count).map(|(start, hash)| (usize::from(*start), *hash))
    }
}

/// Where hashing begins: the root. Basis and factor are those of FNV-1a with 32 bits.
const SEED: u32 = 0x811C_9DC5;
const FACTOR: u32 = 0x0100_0193;
/// Makes an ASCII letter lower case. Other octets change too: that costs a few equal hashes.
const LOWER: u8 = 0x20;

/// The hash of a name that begins with `label`, its length octet included, before a name with `hash`. An octet at a
/// time: labels are short, so wider steps cost more than they save.
fn hash_label(hash: u32, label: &[u8]) -> u32 {
    label.iter().fold(hash, |hash, octet| (hash ^ u32::from(octet | LOWER)).wrapping_mul(FACTOR))
}

/// Where the labels of an uncompressed name begin, the root's left out; a name that is cut off ends where it is cut.
fn labels(name: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = usize::from(*name.get(at).filter(|len| **len != 0)?);
        let start = at;
        at += len + 1;
        Some(start)
    })
}

/// Whether the name at `place` of `reply` is `name`, read over few enough pointers that one more may point at it; case
/// doesn't count. Pointers in a reply of ours lead backwards.
fn stands_at(reply: &[u8], mut place: usize, mut name: &[u8]) -> bool {
    let mut hops = 0;
    loop {
        let Some(&len) = reply.get(place) else { return false };
        if len >= 0xC0 {
            let Some(&low) = reply.get(place + 1) else { return false };
            let to = usize::from(len & 0x3F) << 8 | usize::from(low);
            hops += 1;
            if to >= place || hops >= MAX_HOPS {
                return false;
            }
            place = to;
            continue;
        }
        let width = 1 + usize::from(len);
        let (Some(ours), Some(theirs)) = (reply.get(place..place + width), name.get(..width)) else { return false };
        // Nearly always the same octets, which are compared several at a time.
        if ours != theirs && !ours.eq_ignore_ascii_case(theirs) {
            return false;
        }
        if len == 0 {
            return name.len() == 1;
        }
        place += width;
        name = &name[width..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply of twelve octets and the question `www.example.`.
    fn with_question() -> (Vec<u8>, Suffixes) {
        let question = b"\x03wWw\x07eXample\x00";
        let reply = [&[0; 12][..], question].concat();
        let mut suffixes = Suffixes::default();
        suffixes.note_question(question.len());
        suffixes.add_question(&reply);
        (reply, suffixes)
    }

    fn split(suffixes: &Suffixes, reply: &[u8], name: &[u8]) -> (usize, Option<u16>) {
        let split = suffixes.split(reply, &Hashed::new(name));
        (split.literal, split.pointer)
    }

    /// Writes a name and adds it, as a reply does.
    fn write(suffixes: &mut Suffixes, reply: &mut Vec<u8>, name: &[u8]) -> Split {
        let (hashed, start) = (Hashed::new(name), reply.len());
        let split = suffixes.split(reply, &hashed);
        reply.extend_from_slice(&name[..split.literal]);
        match split.pointer {
            Some(at) => reply.extend_from_slice(&(0xC000 | at).to_be_bytes()),
            None => reply.push(0),
        }
        suffixes.add(&hashed, &split, start);
        split
    }

    #[test]
    fn the_longest_known_ending_is_pointed_at() {
        let (reply, suffixes) = with_question();
        let cases: [(&[u8], usize, Option<u16>); 6] = [
            (b"\x03www\x07example\x00", 0, Some(12)),
            (b"\x03ns1\x07example\x00", 4, Some(16)),
            (b"\x01a\x03www\x07example\x00", 2, Some(12)),
            (b"\x07example\x00", 0, Some(16)),
            (b"\x03www\x03net\x00", 8, None),
            (b"\x00", 0, None),
        ];
        for (name, literal, pointer) in cases {
            assert_eq!(split(&suffixes, &reply, name), (literal, pointer), "{name:?}");
        }
    }

    #[test]
    fn what_was_taken_back_is_forgotten() {
        let (mut reply, mut suffixes) = with_question();
        let start = reply.len();
        write(&mut suffixes, &mut reply, b"\x03ns1\x07example\x00");
        assert_eq!(split(&suffixes, &reply, b"\x03ns1\x07example\x00"), (0, Some(start as u16)));
        suffixes.forget_from(start);
        assert_eq!(split(&suffixes, &reply, b"\x03ns1\x07example\x00"), (4, Some(16)));
    }

    #[test]
    fn no_name_is_read_over_more_pointers_than_the_limit() {
        let (mut reply, mut suffixes) = with_question();
        let mut name = b"\x07example\x00".to_vec();
        let mut hops = Vec::new();
        for label in [b"\x01a", b"\x01b", b"\x01c", b"\x01d", b"\x01e"] {
            name.splice(0..0, *label);
            hops.push(write(&mut suffixes, &mut reply, &name).hops);
        }
        assert_eq!(hops, [1, 2, 3, 3, 3]);
    }

    /// What the places, lengths and hashes stand for: compare the name with everything.
    fn by_comparison(suffixes: &Suffixes, reply: &[u8], name: &[u8]) -> (usize, Option<u16>) {
        for at in labels(name) {
            let places = suffixes.places[..suffixes.len].iter().filter(|place| place.hops < MAX_HOPS);
            if let Some(place) = places.into_iter().find(|place| stands_at(reply, place.at.into(), &name[at..])) {
                return (at, Some(place.at));
            }
        }
        (name.len() - 1, None)
    }

    proptest::proptest! {
        /// Few labels in few names, so that most of them share an end.
        #[test]
        fn hashes_find_what_comparing_finds(
            names in proptest::collection::vec(proptest::collection::vec("[aAbB]{1,2}", 0..9), 1..30)
        ) {
            let (mut reply, mut suffixes) = with_question();
            for labels in names {
                let mut name: Vec<u8> = labels
                    .iter()
                    .flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()))
                    .collect();
                name.push(0);
                let expected = by_comparison(&suffixes, &reply, &name);
                let split = write(&mut suffixes, &mut reply, &name);
                proptest::prop_assert_eq!((split.literal, split.pointer), expected);
            }
        }
    }
}
