//! Name compression (RFC 1035, 4.1.4): which names a reply already has, so that later ones can point at them.
//!
//! The work for a name grows with the octets that are written of it. The name, then the name without its first label,
//! and so on, are looked up by a hash until one is found, [`MAX_TRIES`] of them at most. A place knows how many octets
//! are written there as they are and which place the pointer behind them leads to. So a name is compared with a place
//! in as many steps as there are pointers.

/// How many places are remembered: enough for a referral to 13 name servers with their glue; beyond, names are written
/// whole.
const MAX_PLACES: usize = 48;
/// How many of the question's labels are remembered, from the right: the ones that other names share.
const MAX_QUESTION_LABELS: usize = 16;
/// How many ends of a name are looked up, from the longest on; then it is written whole. Judgment: names share all but
/// one or two labels with others of their zone.
const MAX_TRIES: usize = 10;
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
/// No place.
const NONE: u8 = u8::MAX;

/// A label of the reply at which a name begins.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    hash: u32,
    at: u16,
    /// Octets of the name that begins here, uncompressed.
    len: u8,
    /// How many of them are here; the rest is where the pointer behind them leads.
    run: u8,
    /// The place that the pointer leads to, [`NONE`] where the root follows instead.
    next: u8,
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

/// How a name is written.
pub(super) struct Split {
    /// How many octets are written as they are.
    pub(super) literal: usize,
    /// Where the reply has the rest; the rest is the root where there is none.
    pub(super) pointer: Option<u16>,
    /// The place of the rest.
    next: u8,
    hops: u8,
    /// The ends of the name that were looked up and not found: where each begins, and its hash.
    missed: [(u8, u32); MAX_TRIES],
    misses: usize,
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
        let left = labels_of(name).count().saturating_sub(MAX_QUESTION_LABELS);
        for label in labels_of(name).skip(left) {
            let run = name.len() - 1 - label;
            self.push(Place {
                hash: hash_of(&name[label..]),
                at: (QUESTION_AT + label) as u16,
                len: (run + 1) as u8,
                run: run as u8,
                next: NONE,
                hops: 0,
            });
        }
    }

    /// Adds the ends of a name that was written at `start` as `split` says.
    pub(super) fn add(&mut self, name: &[u8], split: &Split, start: usize) {
        for &(label, hash) in &split.missed[..split.misses] {
            let label = usize::from(label);
            if start + label >= POINTER_END {
                return;
            }
            self.push(Place {
                hash,
                at: (start + label) as u16,
                len: (name.len() - label) as u8,
                run: (split.literal - label) as u8,
                next: split.next,
                hops: split.hops,
            });
        }
    }

    fn push(&mut self, place: Place) {
        if let Some(free) = self.places.get_mut(self.len) {
            *free = place;
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
    fn candidates(&self, hash: u32, len: usize) -> impl Iterator<Item = u8> {
        let mut slot = hash as usize % SLOTS;
        std::iter::from_fn(move || {
            let number = self.slots[slot];
            slot = (slot + 1) % SLOTS;
            number.checked_sub(1)
        })
        .filter(move |place| {
            let place = &self.places[usize::from(*place)];
            place.hash == hash && usize::from(place.len) == len && place.hops < MAX_HOPS
        })
    }

    /// How `name` is written: the reply has the rest of it at the first place with the longest rest.
    pub(super) fn split(&self, reply: &[u8], name: &[u8]) -> Split {
        let mut split = Split::whole(name);
        let mut left = MAX_COMPARISONS;
        for (literal, missed) in labels_of(name).zip(&mut split.missed) {
            let hash = hash_of(&name[literal..]);
            for place in self.candidates(hash, name.len() - literal).take(left) {
                let found = &self.places[usize::from(place)];
                if self.is_at(reply, found, &name[literal..]) {
                    (split.literal, split.pointer) = (literal, Some(found.at));
                    (split.next, split.hops) = (place, found.hops + 1);
                    return split;
                }
                left -= 1;
            }
            *missed = (literal as u8, hash);
            split.misses += 1;
        }
        split
    }

    /// As [`Suffixes::split`] for a name that is written whole, whatever the reply has.
    pub(super) fn split_whole(name: &[u8]) -> Split {
        let mut split = Split::whole(name);
        for (label, missed) in labels_of(name).zip(&mut split.missed) {
            *missed = (label as u8, hash_of(&name[label..]));
            split.misses += 1;
        }
        split
    }

    /// Whether the name at `place` of `reply` is `name`; case does not count. Equal octets have equal labels, because
    /// both begin with the length of a label.
    fn is_at<'s>(&'s self, reply: &[u8], mut place: &'s Place, mut name: &[u8]) -> bool {
        loop {
            let (at, run) = (usize::from(place.at), usize::from(place.run));
            let (Some(ours), Some(theirs)) = (reply.get(at..at + run), name.get(..run)) else { return false };
            // Nearly always the same octets, which are compared several at a time.
            if ours != theirs && !ours.eq_ignore_ascii_case(theirs) {
                return false;
            }
            name = &name[run..];
            match self.places.get(usize::from(place.next)) {
                // Pointers lead to places before them, so that this ends.
                Some(next) if next.at < place.at => place = next,
                Some(_) => return false,
                None => return name == [0],
            }
        }
    }
}

impl Split {
    /// Nothing is pointed at, and nothing looked up.
    fn whole(name: &[u8]) -> Split {
        let literal = name.len().saturating_sub(1);
        Split { literal, pointer: None, next: NONE, hops: 0, missed: [(0, 0); MAX_TRIES], misses: 0 }
    }
}

/// Makes ASCII letters lower case, eight octets at a time. Other octets change too: that costs a few equal hashes.
const LOWER: u64 = 0x2020_2020_2020_2020;
/// The odd number nearest to 2^64 divided by the golden ratio: its multiples spread over all of 64 bits.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The hash of an uncompressed name; case does not count.
fn hash_of(name: &[u8]) -> u32 {
    let mix = |hash: u64, word: u64| {
        let product = (hash ^ (word | LOWER)).wrapping_mul(FACTOR);
        product ^ product >> 32
    };
    let (mut hash, mut rest) = (0, name);
    while let Some((word, next)) = rest.split_first_chunk::<8>() {
        (hash, rest) = (mix(hash, u64::from_le_bytes(*word)), next);
    }
    // What is left is the end of the last eight octets, or the whole of a short name.
    let last = match name.last_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest.iter().fold(0, |word, octet| word << 8 | u64::from(*octet)),
    };
    mix(hash, last) as u32
}

/// Where the labels of an uncompressed name begin, the root's left out; a name that is cut off ends where it is cut.
fn labels_of(name: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = usize::from(*name.get(at).filter(|len| **len != 0)?);
        let start = at;
        at += len + 1;
        Some(start)
    })
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
        let split = suffixes.split(reply, name);
        (split.literal, split.pointer)
    }

    /// Writes a name and adds it, as a reply does.
    fn write(suffixes: &mut Suffixes, reply: &mut Vec<u8>, name: &[u8]) -> Split {
        let start = reply.len();
        let split = suffixes.split(reply, name);
        reply.extend_from_slice(&name[..split.literal]);
        match split.pointer {
            Some(at) => reply.extend_from_slice(&(0xC000 | at).to_be_bytes()),
            None => reply.push(0),
        }
        suffixes.add(name, &split, start);
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

    /// Whether the name at `place` of `reply` is `name`, read label by label, over few enough pointers that one more
    /// may point at it.
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
            if !ours.eq_ignore_ascii_case(theirs) {
                return false;
            }
            if len == 0 {
                return name.len() == 1;
            }
            place += width;
            name = &name[width..];
        }
    }

    /// What the places, lengths and hashes stand for: compare the name with everything.
    fn by_comparison(suffixes: &Suffixes, reply: &[u8], name: &[u8]) -> (usize, Option<u16>) {
        for at in labels_of(name) {
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
