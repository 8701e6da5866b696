//! The message of one stream of DoQ, from parts in any order. The parts are copied as they arrive. QUIC's library would
//! have them until those before them have arrived, each with the whole packet that it came in: a client that sends one
//! octet of each stream at a time could have megabytes waiting on one connection.

use std::ops::Range;

use super::{LONGEST, SHORTEST};

/// Most ranges of a message with gaps between them. Judgment: what may be on the way ahead of our reading are seven
/// packets, so that lost packets leave fewer gaps. The library remembers ranges too, about 40 octets for each.
const MAX_RANGES: usize = 8;

/// Octets before the message: its length.
const PREFIX: usize = 2;

/// Why a message is not read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disorder {
    /// It is none (RFC 9250, 4.2 and 4.3.3).
    Violation,
    /// It has more gaps than lost packets leave.
    Fragmented,
}

/// What has arrived of a message.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Up to the last octet that has arrived, with zeroes in the gaps.
    octets: Vec<u8>,
    /// What has arrived: ranges in order, with gaps between them.
    arrived: Vec<Range<usize>>,
}

impl Gathered {
    /// Adds a part that begins at `offset` of the stream. Returns by how many octets this has grown.
    pub(super) fn add(&mut self, offset: u64, part: &[u8]) -> Result<usize, Disorder> {
        let begin = usize::try_from(offset).map_err(|_| Disorder::Violation)?;
        let end = begin.checked_add(part.len()).filter(|end| *end <= PREFIX + LONGEST).ok_or(Disorder::Violation)?;
        if part.is_empty() {
            return Ok(0);
        }
        let grown = end.saturating_sub(self.octets.len());
        self.octets.reserve_exact(grown);
        self.octets.resize(self.octets.len() + grown, 0);
        self.octets[begin..end].copy_from_slice(part);
        self.record(begin..end);
        if self.arrived.len() > MAX_RANGES { Err(Disorder::Fragmented) } else { Ok(grown) }
    }

    /// Joins a range with those that it touches.
    fn record(&mut self, new: Range<usize>) {
        let first = self.arrived.partition_point(|range| range.end < new.start);
        let after = self.arrived.partition_point(|range| range.start <= new.end);
        let touched = &self.arrived[first..after];
        let joined = touched.iter().fold(new, |all, range| all.start.min(range.start)..all.end.max(range.end));
        self.arrived.splice(first..after, [joined]);
    }

    /// Octets that it has in memory.
    pub(super) fn octets(&self) -> usize {
        self.octets.len()
    }

    /// The message without its length, when it is whole. The stream must have nothing behind it, and the message id
    /// must be 0: the stream identifies the query (RFC 9250, 4.2.1).
    pub(super) fn message(&self) -> Result<Option<&[u8]>, Disorder> {
        let has_prefix = self.arrived.first().is_some_and(|range| range.start == 0 && range.end >= PREFIX);
        let ([high, low, rest @ ..], true) = (&self.octets[..], has_prefix) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length < SHORTEST || rest.len() > length {
            return Err(Disorder::Violation);
        }
        let is_whole = self.arrived.len() == 1 && rest.len() == length;
        match rest {
            [0, 0, ..] if is_whole => Ok(Some(rest)),
            _ if is_whole => Err(Disorder::Violation),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message of this length behind its length, with octets that differ.
    fn framed(length: usize) -> Vec<u8> {
        let body = (0..length).map(|at| if at < 2 { 0 } else { at as u8 });
        (length as u16).to_be_bytes().into_iter().chain(body).collect()
    }

    #[test]
    fn what_is_no_message_ends_the_exchange() {
        let message = |octets: &[u8]| {
            let mut gathered = Gathered::default();
            gathered.add(0, octets).unwrap();
            gathered.message().map(|message| message.map(<[u8]>::to_vec))
        };
        assert_eq!(message(&framed(12)), Ok(Some(framed(12)[2..].to_vec())));
        assert_eq!(message(&framed(12)[..13]), Ok(None));
        assert_eq!(message(&[0]), Ok(None));
        assert_eq!(message(&framed(11)), Err(Disorder::Violation), "shorter than a header");
        assert_eq!(message(&[&framed(12)[..], &[0]].concat()), Err(Disorder::Violation), "something behind it");
        assert_eq!(message(&[&[0, 12, 0, 1][..], &[0; 10]].concat()), Err(Disorder::Violation), "a message id");
        let mut gathered = Gathered::default();
        assert_eq!(gathered.add(65_537, &[1]), Err(Disorder::Violation));
        assert_eq!(gathered.add(u64::MAX, &[1]), Err(Disorder::Violation));
        assert_eq!((gathered.add(65_536, &[1]), gathered.octets()), (Ok(65_537), 65_537));
        assert_eq!(gathered.add(0, &[0, 12]), Ok(0));
        assert_eq!(gathered.message(), Err(Disorder::Violation), "it is not so long");
    }

    #[test]
    fn more_gaps_than_lost_packets_leave_are_refused() {
        let mut gathered = Gathered::default();
        for at in 0..MAX_RANGES as u64 {
            assert!(gathered.add(2 * at + 1, &[0]).is_ok(), "{at}");
        }
        assert!(gathered.add(2, &[0]).is_ok(), "it closes a gap");
        assert!(gathered.add(100, &[0]).is_ok());
        assert_eq!(gathered.add(200, &[0]), Err(Disorder::Fragmented));
    }

    proptest! {
        /// A message is the same in whatever parts it arrives, also if some arrive twice.
        #[test]
        fn a_message_is_whole_when_its_last_part_has_arrived(
            length in 12..3000_usize, part in 500..1200_usize, order in any::<u64>(), again in any::<bool>(),
        ) {
            let whole = framed(length);
            let mut parts: Vec<(usize, &[u8])> =
                whole.chunks(part).enumerate().map(|(at, octets)| (at * part, octets)).collect();
            let count = parts.len();
            parts.rotate_left(order as usize % count);
            if order & 1 << 40 != 0 {
                parts.reverse();
            }
            let mut gathered = Gathered::default();
            let mut octets = 0;
            for (nth, (offset, of_part)) in parts.iter().enumerate() {
                prop_assert_eq!(gathered.message(), Ok(None), "{} of {}", nth, count);
                for _ in 0..=usize::from(again) {
                    octets += gathered.add(*offset as u64, of_part).unwrap();
                }
            }
            prop_assert_eq!(gathered.message(), Ok(Some(&whole[2..])));
            prop_assert_eq!((octets, gathered.octets()), (whole.len(), whole.len()));
        }

        /// The ranges are those that a plain set of octets has.
        #[test]
        fn ranges_are_in_order_with_gaps_between_them(
            parts in prop::collection::vec((0..60_usize, 1..8_usize), 1..20),
        ) {
            let mut gathered = Gathered::default();
            let mut octets = [false; 80];
            for (begin, length) in parts {
                octets[begin..begin + length].fill(true);
                let done = gathered.add(begin as u64, &vec![1; length]);
                let mut expected: Vec<Range<usize>> = Vec::new();
                for at in (0..octets.len()).filter(|at| octets[*at]) {
                    match expected.last_mut() {
                        Some(last) if last.end == at => last.end = at + 1,
                        _ => expected.push(at..at + 1),
                    }
                }
                prop_assert_eq!(done.is_err(), expected.len() > MAX_RANGES);
                prop_assert_eq!(&gathered.arrived, &expected);
                if done.is_err() {
                    break;
                }
            }
        }
    }
}
