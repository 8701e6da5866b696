//! Where a reader is in the partitions of a topic, and what it has missed. Pure.

use std::collections::BTreeMap;

use crate::config::FollowStart;
use crate::daemon::follow::effects::ReadProgress;
use crate::daemon::follow::place::WHAT_TO_DO;
use crate::daemon::follow::positions::SavedFollow;
use crate::kafka::PartitionRange;

/// Where a reader is.
#[derive(Debug, Default)]
pub(super) struct KafkaPlace {
    /// What is saved: the offset of the next record of each partition.
    pub(super) saved: SavedFollow,
    /// Whether the topic was followed before, or is followed now.
    is_known: bool,
    /// The offset of the next record that will be written into each partition, as far as it is known.
    ends: BTreeMap<i32, i64>,
    missed: u64,
    gap: Option<String>,
}

impl KafkaPlace {
    /// Goes on after what was saved, if that is of this topic.
    pub(super) fn after(saved: Option<SavedFollow>, topic: &str) -> KafkaPlace {
        let ledger = saved.as_ref().map(|saved| saved.ledger.clone()).unwrap_or_default();
        match saved.filter(|saved| saved.stream == topic && !saved.offsets.is_empty()) {
            Some(saved) => KafkaPlace { saved, is_known: true, ..KafkaPlace::default() },
            None => {
                let saved = SavedFollow { stream: topic.to_owned(), ledger, ..SavedFollow::default() };
                KafkaPlace { saved, ..KafkaPlace::default() }
            }
        }
    }

    /// Takes in what the partitions have now. Partitions that are new in a topic that was followed before are read from
    /// their beginning. Returns whether something was missed.
    pub(super) fn adopt(&mut self, ranges: &[PartitionRange], start: FollowStart) -> bool {
        let before = self.missed;
        for PartitionRange { partition, first, end } in ranges {
            let at_start = match (self.is_known, start) {
                (true, _) | (false, FollowStart::Oldest) => *first,
                (false, FollowStart::New) => *end,
            };
            let next = self.saved.offsets.entry(*partition).or_insert(at_start);
            if *next < *first {
                self.missed = self.missed.saturating_add(first.abs_diff(*next));
                *next = *first;
                let (topic, count) = (&self.saved.stream, self.missed);
                let why = format!("the topic {topic} discarded {count} records before they were read");
                self.gap = Some(format!("{why}: {WHAT_TO_DO}"));
            }
            self.note_end(*partition, *end);
        }
        self.is_known = true;
        self.missed > before
    }

    /// A partition does not have the next record, and has these. If it begins later, [`KafkaPlace::adopt`] knows what
    /// was missed. If it ends before, it was made anew, and is read from its beginning. Returns whether that is so.
    pub(super) fn note_out_of_range(&mut self, range: PartitionRange) -> bool {
        let PartitionRange { partition, first, end } = range;
        let Some(next) = self.saved.offsets.get_mut(&partition).filter(|next| **next > end) else { return false };
        *next = first;
        let topic = &self.saved.stream;
        let why = format!("the topic {topic} was made anew, and what was not read of the old one is lost");
        self.gap = Some(format!("{why}: {WHAT_TO_DO}"));
        self.ends.insert(partition, end);
        true
    }

    /// The partition will have its next record at this offset.
    pub(super) fn note_end(&mut self, partition: i32, end: i64) {
        let known = self.ends.entry(partition).or_default();
        *known = end.max(*known);
    }

    /// The offset of the next record to read of each partition.
    pub(super) fn next(&self) -> &BTreeMap<i32, i64> {
        &self.saved.offsets
    }

    /// What was missed, and what to do.
    pub(super) fn gap(&self) -> &str {
        self.gap.as_deref().unwrap_or_default()
    }

    /// How far the reader is: as position, how many records of all partitions it has read.
    pub(super) fn progress(&self) -> ReadProgress<'_> {
        let behind = |(partition, next): (&i32, &i64)| {
            let end = self.ends.get(partition).copied().unwrap_or_default();
            u64::try_from(end.saturating_sub(*next)).unwrap_or_default()
        };
        ReadProgress {
            position: Some(sum(self.saved.offsets.values().map(|next| u64::try_from(*next).unwrap_or_default()))),
            behind: sum(self.saved.offsets.iter().map(behind)),
            missed: self.missed,
            gap: self.gap.as_deref(),
        }
    }
}

/// What brokers and files say may be more in all than 64 bits hold.
fn sum(of_partitions: impl Iterator<Item = u64>) -> u64 {
    of_partitions.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(partition: i32, first: i64, end: i64) -> PartitionRange {
        PartitionRange { partition, first, end }
    }

    fn saved(offsets: &[(i32, i64)]) -> Option<SavedFollow> {
        let offsets = offsets.iter().copied().collect();
        Some(SavedFollow { stream: "t".to_owned(), offsets, ..SavedFollow::default() })
    }

    fn next(place: &KafkaPlace) -> Vec<(i32, i64)> {
        place.next().iter().map(|(partition, next)| (*partition, *next)).collect()
    }

    #[test]
    fn a_new_reader_begins_with_the_oldest_record_or_the_next_one() {
        for (start, expected) in [(FollowStart::Oldest, [(0, 5), (1, 0)]), (FollowStart::New, [(0, 9), (1, 3)])] {
            let mut place = KafkaPlace::after(None, "t");
            assert!(!place.adopt(&[range(0, 5, 9), range(1, 0, 3)], start));
            assert_eq!(next(&place), expected);
        }
        let mut other = KafkaPlace::after(saved(&[(0, 7)]), "other");
        assert!(!other.adopt(&[range(0, 2, 9)], FollowStart::Oldest));
        assert_eq!(next(&other), [(0, 2)], "the settings name another topic");
    }

    #[test]
    fn numbers_of_a_broker_or_a_file_that_make_no_sense_overflow_nothing() {
        let mut place = KafkaPlace::after(saved(&[(0, i64::MIN), (1, i64::MAX), (2, i64::MAX), (3, i64::MAX)]), "t");
        assert!(place.adopt(&[range(0, i64::MAX, i64::MAX), range(1, 0, i64::MIN)], FollowStart::Oldest));
        assert_eq!(place.progress().position, Some(u64::MAX));
        assert_eq!((place.progress().behind, place.progress().missed), (0, u64::MAX));
    }

    #[test]
    fn a_partition_that_is_added_is_read_from_its_beginning() {
        let mut place = KafkaPlace::after(saved(&[(0, 7)]), "t");
        assert!(!place.adopt(&[range(0, 5, 9), range(1, 0, 3)], FollowStart::New));
        assert_eq!(next(&place), [(0, 7), (1, 0)]);
        assert_eq!((place.progress().position, place.progress().behind), (Some(7), 5));
    }

    #[test]
    fn what_was_discarded_or_made_anew_is_a_gap() {
        let mut place = KafkaPlace::after(saved(&[(0, 7)]), "t");
        assert!(place.adopt(&[range(0, 10, 12)], FollowStart::Oldest));
        assert_eq!((next(&place), place.progress().missed), (vec![(0, 10)], 3));
        assert!(place.gap().contains("discarded 3 records"), "{}", place.gap());
        assert!(!place.adopt(&[range(0, 10, 12)], FollowStart::Oldest), "once");
        // What brokers say of the end may be old, so only a refused read counts.
        let mut place = KafkaPlace::after(saved(&[(0, 7)]), "t");
        assert!(!place.adopt(&[range(0, 0, 2)], FollowStart::Oldest));
        assert!(!place.note_out_of_range(range(0, 0, 7)) && place.note_out_of_range(range(0, 0, 2)));
        assert_eq!(next(&place), [(0, 0)]);
        assert!(place.gap().contains("made anew"), "{}", place.gap());
    }
}
