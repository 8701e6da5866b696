//! Which loads of the files have an event. A load may be asked for without a token, so the events of loads may not push
//! all others out of the log.

use std::time::Duration;

use crate::model::Moment;

/// Loads at once that have an event each (judgment: more than a person or a program needs in a minute).
const AT_ONCE: u32 = 32;
/// Then one load has an event in this time: the log of a server that is asked without end reaches back over days.
const EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ReloadEvents {
    /// When [`AT_ONCE`] loads may have an event again (the theoretical arrival time of ITU-T I.371, GCRA).
    free_at: Moment,
    /// Loads since the last event that have none.
    without: u64,
}

impl ReloadEvents {
    /// A load has ended. If it has an event: how many before it had none since the last one.
    pub(super) fn note(&mut self, now: Moment) -> Option<u64> {
        let free_at = self.free_at.max(now);
        if free_at.since(now) > EVERY * (AT_ONCE - 1) {
            self.without += 1;
            return None;
        }
        self.free_at = free_at + EVERY;
        Some(std::mem::take(&mut self.without))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_loads_has_few_events_and_the_next_one_has_their_number() {
        let mut events = ReloadEvents::default();
        let at = |millis: u64| Moment::from_start(Duration::from_millis(millis));
        let noted: Vec<Option<u64>> = (0..50).map(|nth| events.note(at(nth))).collect();
        assert!(noted[..32].iter().all(|of| *of == Some(0)) && noted[32..].iter().all(Option::is_none));
        assert_eq!(events.note(at(60_000)), Some(18));
        // An hour with ten loads a second, and one load a day later.
        let listed: Vec<u64> = (0..36_000).filter_map(|nth| events.note(at(60_001 + nth * 100))).collect();
        assert_eq!((listed.len(), listed.iter().sum::<u64>() + events.without + 59), (59, 36_000));
        assert!(events.note(at(90_000_000)).is_some());
        assert_eq!((0..40).filter_map(|nth| events.note(at(90_000_001 + nth))).count(), 31, "all are returned");
    }
}
