//! Where a reader is in a stream, and what it has missed. Pure.

use std::collections::BTreeMap;

use crate::config::FollowStart;
use crate::daemon::follow::effects::ReadProgress;
use crate::daemon::follow::positions::SavedFollow;
use crate::fleet::nats::StreamInfo;

/// What is to be done about events that were missed.
pub(super) const WHAT_TO_DO: &str =
    "compare `portolan overrides` with the server that is followed, and set or clear what differs";

/// Where a reader is.
#[derive(Debug, Default)]
pub(super) struct FollowPlace {
    /// What is saved; `None`: the stream was never read.
    pub(super) saved: Option<SavedFollow>,
    /// The sequence of the last message that the stream is known to have.
    pub(super) last: u64,
    /// How many messages were missed at most, since the start.
    pub(super) missed: u64,
    /// What was missed, and what to do.
    pub(super) gap: Option<String>,
}

impl FollowPlace {
    /// Takes in what the stream of this name is now. Returns whether something was missed.
    pub(super) fn adopt(&mut self, stream: &str, info: &StreamInfo, start: FollowStart) -> bool {
        let StreamInfo { created, first, last } = info;
        self.last = *last;
        let anew = |next: u64, saved: SavedFollow| SavedFollow {
            stream: stream.to_owned(),
            created: created.clone(),
            next,
            offsets: BTreeMap::new(),
            ledger: saved.ledger,
        };
        let Some(saved) = self.saved.take() else {
            let next = match start {
                FollowStart::Oldest => *first,
                FollowStart::New => last.saturating_add(1),
            };
            self.saved = Some(anew(next.max(1), SavedFollow::default()));
            return false;
        };
        let (is_other, next) = (saved.stream != stream, saved.next);
        if is_other || saved.created != *created || next > last.saturating_add(1) {
            self.saved = Some(anew((*first).max(1), saved));
            if !is_other {
                let why = format!("the stream {stream} was made anew, and what was not read of the old one is lost");
                self.gap = Some(format!("{why}: {WHAT_TO_DO}"));
            }
            return !is_other;
        }
        let has_missed = *first > next;
        self.saved = Some(SavedFollow { next: next.max(*first), ..saved });
        if has_missed {
            self.missed = self.missed.saturating_add(*first - next);
            let count = self.missed;
            let why = format!("the stream {stream} discarded up to {count} messages before they were read");
            self.gap = Some(format!("{why}: {WHAT_TO_DO}"));
        }
        has_missed
    }

    /// The sequence of the next message.
    pub(super) fn next(&self) -> u64 {
        self.saved.as_ref().map_or(1, |saved| saved.next)
    }

    /// How far the reader is.
    pub(super) fn progress(&self) -> ReadProgress<'_> {
        ReadProgress {
            position: self.saved.as_ref().map(|saved| saved.next.saturating_sub(1)),
            behind: self.behind(),
            missed: self.missed,
            gap: self.gap.as_deref(),
        }
    }

    /// How many messages the stream is known to have from the next one on.
    pub(super) fn behind(&self) -> u64 {
        self.last.saturating_add(1).saturating_sub(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(created: &str, first: u64, last: u64) -> StreamInfo {
        StreamInfo { created: created.to_owned(), first, last }
    }

    fn at(next: u64) -> FollowPlace {
        let saved = SavedFollow { stream: "S".into(), created: "a".into(), next, ..SavedFollow::default() };
        FollowPlace { saved: Some(saved), ..FollowPlace::default() }
    }

    #[test]
    fn a_new_reader_begins_with_the_oldest_message_or_the_next_one() {
        for (start, expected) in [(FollowStart::Oldest, 5), (FollowStart::New, 10)] {
            let mut place = FollowPlace::default();
            assert!(!place.adopt("S", &info("a", 5, 9), start));
            assert_eq!((place.next(), place.gap), (expected, None));
        }
        let mut empty = FollowPlace::default();
        assert!(!empty.adopt("S", &info("a", 0, 0), FollowStart::Oldest));
        assert_eq!(empty.next(), 1);
    }

    #[test]
    fn what_the_stream_discarded_before_it_was_read_is_a_gap() {
        let mut place = at(5);
        assert!(!place.adopt("S", &info("a", 5, 9), FollowStart::New));
        assert!(!place.adopt("S", &info("a", 1, 4), FollowStart::New), "all was read");
        assert!(place.adopt("S", &info("a", 8, 20), FollowStart::New));
        assert_eq!((place.next(), place.missed), (8, 3));
        assert!(place.gap.as_ref().is_some_and(|gap| gap.contains("up to 3 messages")), "{:?}", place.gap);
        assert!(!place.adopt("S", &info("a", 8, 20), FollowStart::New), "once");
        assert!(place.gap.is_some(), "it stays until a restart");
    }

    #[test]
    fn a_stream_that_was_made_anew_or_goes_back_is_read_from_its_beginning() {
        for other in [info("b", 1, 9), info("a", 1, 3)] {
            let mut place = at(5);
            assert!(place.adopt("S", &other, FollowStart::New));
            assert_eq!((place.next(), place.missed), (1, 0));
            assert!(place.gap.is_some_and(|gap| gap.contains("made anew")));
        }
        let mut place = at(5);
        assert!(!place.adopt("T", &info("b", 1, 9), FollowStart::New), "the settings name another stream");
        assert_eq!((place.next(), place.gap), (1, None));
    }
}
