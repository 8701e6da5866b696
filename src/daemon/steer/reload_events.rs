//! Which loads of the files have an event. A load may be asked for without a token, so the events of loads may not push
//! all others out of the log.

use std::time::Duration;

use crate::model::Moment;
use crate::rate::Rate;

/// Loads that have an event each. At once: more than a person or a program needs in a minute (judgment). Then one in a
/// minute: the log of a server that is asked without end reaches back over days.
const WITH_EVENT: Rate = Rate::new(Duration::from_secs(60), 32);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ReloadEvents {
    /// The state of [`WITH_EVENT`].
    free_at: Moment,
    /// Loads since the last event that have none.
    without: u64,
}

impl ReloadEvents {
    /// A load has ended. If it has an event: how many before it had none since the last one.
    pub(super) fn note(&mut self, now: Moment) -> Option<u64> {
        if WITH_EVENT.take(&mut self.free_at, now).is_err() {
            self.without += 1;
            return None;
        }
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
