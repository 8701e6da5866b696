//! Work that may wait for a moment, and is done once in a period. The items have their turns one after the other, so
//! that no moment has the work of all of them. Time is an argument.

use std::time::Duration;

use crate::model::Moment;

/// Turns in a period. Judgment: a fleet makes up to fifty views a second, so each has a small part of the work of a
/// second; and an item waits for at most a sixteenth of the period longer than it has to.
const TURNS: u64 = 16;

/// How far the work of a period has come. It begins with the first moment that there is: all turns are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    turn: Duration,
    /// The turns that have passed since the first moment.
    passed: u64,
}

/// The turns that have passed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedTurns {
    first: u64,
    count: u64,
}

impl Cycle {
    /// Each item has a turn once in `period`, which is at least a microsecond.
    pub const fn of(period: Duration) -> Cycle {
        Cycle { turn: Duration::from_nanos(period.as_nanos() as u64 / TURNS), passed: 0 }
    }

    /// Lets the turns up to `now` pass.
    pub fn advance(&mut self, now: Moment) -> PassedTurns {
        self.advance_by(now, u64::MAX)
    }

    /// Lets one turn pass, because there is more urgent work at this moment. All that are due pass if they are those of
    /// a whole period: an item waits for two periods at most.
    pub fn advance_little(&mut self, now: Moment) -> PassedTurns {
        let is_late = self.due(now) >= TURNS;
        self.advance_by(now, if is_late { u64::MAX } else { 1 })
    }

    /// The turns that are due at `now`; none while that is earlier than before.
    fn due(&self, now: Moment) -> u64 {
        let turns = now.from_first().as_nanos() / self.turn.as_nanos().max(1);
        u64::try_from(turns).unwrap_or(u64::MAX).saturating_sub(self.passed)
    }

    fn advance_by(&mut self, now: Moment, most: u64) -> PassedTurns {
        let passed = PassedTurns { first: self.passed, count: self.due(now).min(most) };
        self.passed += passed.count;
        passed
    }
}

impl PassedTurns {
    /// Whether the turn of this item is among them.
    pub fn has(&self, item: usize) -> bool {
        // The number of turns divides 2^64, so the difference may wrap.
        (item as u64).wrapping_sub(self.first) % TURNS < self.count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    fn items(passed: PassedTurns) -> Vec<usize> {
        (0..TURNS as usize).filter(|item| passed.has(*item)).collect()
    }

    #[test]
    fn each_item_has_one_turn_in_a_period() {
        let mut cycle = Cycle::of(PERIOD);
        assert_eq!(items(cycle.advance(at(86_400_000))).len(), 16, "all are due at first");
        let mut had = vec![0; 40];
        for millis in 1..=1000 {
            let passed = cycle.advance(at(86_400_000 + millis));
            had.iter_mut().enumerate().for_each(|(item, had)| *had += usize::from(passed.has(item)));
            assert!(items(passed).len() <= 1);
        }
        assert_eq!(had, [1; 40]);
    }

    #[test]
    fn urgent_work_leaves_one_turn_until_a_whole_period_is_due() {
        let mut cycle = Cycle::of(PERIOD);
        cycle.advance(at(10_000));
        assert_eq!(items(cycle.advance_little(at(10_500))), [0]);
        assert_eq!(items(cycle.advance_little(at(10_500))), [1]);
        assert_eq!(items(cycle.advance_little(at(10_000))), [0; 0], "an earlier time");
        assert_eq!(items(cycle.advance(at(10_500))), [2, 3, 4, 5, 6, 7]);
        assert_eq!(items(cycle.advance_little(at(11_500))).len(), 16);
        assert_eq!(items(cycle.advance(at(11_500))), [0; 0]);
    }

    proptest! {
        #[test]
        fn no_item_waits_for_more_than_two_periods(steps in prop::collection::vec((1u64..400, any::<bool>()), 1..200)) {
            let (mut cycle, mut now) = (Cycle::of(PERIOD), 50_000);
            let mut had = [now; TURNS as usize];
            cycle.advance(at(now));
            for (step, is_urgent) in steps {
                now += step;
                let passed = if is_urgent { cycle.advance_little(at(now)) } else { cycle.advance(at(now)) };
                for (item, had) in had.iter_mut().enumerate() {
                    // The time of the last moment before the turn counts too.
                    prop_assert!(now - *had < 2000 + step, "item {} waited since {}", item, *had);
                    *had = if passed.has(item) { now } else { *had };
                }
            }
        }
    }
}
