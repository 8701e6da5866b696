//! Name compression (RFC 1035, 4.1.4): which names a reply already has, so that later ones point at them.

/// How many places are remembered: enough for a referral to 13 name servers with their glue; beyond, names are written whole.
const MAX_SUFFIXES: usize = 48;
/// How many of the question's labels are remembered, from the right: the ones that other names share.
const MAX_QUESTION_LABELS: usize = 16;
/// Most pointers one after the other in a name of ours: some readers give up at a few, as a guard against loops.
const MAX_HOPS: usize = 3;
/// A pointer has 14 bits.
const POINTER_END: usize = 0x4000;

/// The places in a reply where a label of a name stands, in rising order.
pub(super) struct Suffixes {
    at: [u16; MAX_SUFFIXES],
    len: usize,
}

impl Default for Suffixes {
    fn default() -> Suffixes {
        Suffixes { at: [0; MAX_SUFFIXES], len: 0 }
    }
}

impl Suffixes {
    /// Remembers the question's name, which stands at octet 12.
    pub(super) fn add_question(&mut self, name: &[u8]) {
        let count = labels(name).count();
        for at in labels(name).skip(count.saturating_sub(MAX_QUESTION_LABELS)) {
            self.push(12 + at);
        }
    }

    /// Remembers the labels of a name that was written at `start`, up to where it was cut off or ends.
    pub(super) fn add(&mut self, literal: &[u8], start: usize) {
        for at in labels(literal) {
            self.push(start + at);
        }
    }

    fn push(&mut self, at: usize) {
        if self.len < MAX_SUFFIXES && at < POINTER_END {
            self.at[self.len] = at as u16;
            self.len += 1;
        }
    }

    /// Forgets what stands at or after `at`.
    pub(super) fn forget_from(&mut self, at: usize) {
        while self.len > 0 && usize::from(self.at[self.len - 1]) >= at {
            self.len -= 1;
        }
    }

    /// How many octets of `name` are to be written, and where `reply` has the rest; without a place for it the rest is the root.
    pub(super) fn split(&self, reply: &[u8], name: &[u8]) -> (usize, Option<u16>) {
        for at in labels(name) {
            let rest = &name[at..];
            if let Some(&place) = self.at[..self.len].iter().find(|place| stands_at(reply, usize::from(**place), rest))
            {
                return (at, Some(place));
            }
        }
        (name.len().saturating_sub(1), None)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply of twelve octets and the question `www.example.`.
    fn with_question() -> (Vec<u8>, Suffixes) {
        let question = b"\x03wWw\x07eXample\x00";
        let mut suffixes = Suffixes::default();
        suffixes.add_question(question);
        ([&[0; 12][..], question].concat(), suffixes)
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
            assert_eq!(suffixes.split(&reply, name), (literal, pointer), "{name:?}");
        }
    }

    #[test]
    fn what_was_taken_back_is_forgotten() {
        let (mut reply, mut suffixes) = with_question();
        let start = reply.len();
        reply.extend_from_slice(b"\x03ns1\xc0\x10");
        suffixes.add(b"\x03ns1", start);
        assert_eq!(suffixes.split(&reply, b"\x03ns1\x07example\x00"), (0, Some(start as u16)));
        suffixes.forget_from(start);
        assert_eq!(suffixes.split(&reply, b"\x03ns1\x07example\x00"), (4, Some(16)));
    }
}
