//! Decides when each check is probed. A value: it gets the time, returns the checks that are due, and counts the probes
//! that are under way, but sends nothing. The prober owns one.
//!
//! Each check has its own position in its interval (its *phase*), so that probes are spread evenly for any number of
//! checks. The phase depends only on how many checks with that interval were added before. So a plan that adds or
//! removes checks does not move the turns of the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::model::Moment;
use crate::model::timing::MAX_OVERLAP;

/// Identifies a check in a schedule. No id is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(u64);

/// The first probes of new checks begin this far apart: 20,000 a second. So a thousand checks have begun within 50 ms,
/// and the first round of ten thousand ends within two default time-outs.
const FIRST_ROUND_STEP: Duration = Duration::from_micros(50);
/// The least interval. Shorter ones are lengthened: validation allows no less than 50 ms, and zero would never end.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The turns of all checks.
#[derive(Debug)]
pub struct Schedule {
    /// The ids do not come from outside, so a fast hash is enough.
    slots: HashMap<SlotId, Slot, FixedState>,
    /// The heap of turns. For each slot, the entry that equals [`Slot::due`] is valid. Other entries are left from
    /// turns that were moved, and are skipped.
    turns: BinaryHeap<Reverse<(Moment, SlotId)>>,
    /// How many checks were added, for each interval.
    arrivals: BTreeMap<Duration, u64>,
    next_id: u64,
    under_way: usize,
    max_under_way: usize,
}

#[derive(Debug)]
struct Slot {
    interval: Duration,
    /// One of this many regular turns is used.
    backoff: u32,
    /// The next regular turn.
    regular: Moment,
    /// An extra turn before that: the first probe, or one that verifies.
    extra: Option<Moment>,
    under_way: u32,
}

impl Schedule {
    /// An empty schedule that allows at most `max_under_way` probes at a time (at least 1).
    pub fn new(max_under_way: usize) -> Schedule {
        Schedule {
            slots: HashMap::default(),
            turns: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            next_id: 0,
            under_way: 0,
            max_under_way: max_under_way.max(1),
        }
    }

    /// Adds a check for each of these intervals. The first probes are due from `now` on, one shortly after the other
    /// and each within its interval. After that each check has its own phase.
    pub fn add(&mut self, intervals: &[Duration], now: Moment) -> Vec<SlotId> {
        self.add_after(0, intervals, now)
    }

    /// As [`Schedule::add`], for checks that follow on `before` others which were added at the same time: the first
    /// probes of all are as far apart as if they were added at once.
    pub fn add_after(&mut self, before: u32, intervals: &[Duration], now: Moment) -> Vec<SlotId> {
        (before..).zip(intervals).map(|(nth, interval)| self.add_one(nth, (*interval).max(MIN_INTERVAL), now)).collect()
    }

    /// Removes a check. Its probes that are under way may still be passed to [`Schedule::ended`].
    pub fn remove(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.remove(&id) {
            // `ended` will not find the slot, so its probes are subtracted here.
            self.under_way -= slot.under_way as usize;
        }
    }

    /// The check that is due for the longest time at `now`. The caller must probe it. `None` if no check is due, or if
    /// `max_under_way` probes are under way. Missed turns are not repeated.
    pub fn take_due(&mut self, now: Moment) -> Option<SlotId> {
        if self.under_way >= self.max_under_way {
            return None;
        }
        while let Some(&Reverse((due, id))) = self.turns.peek() {
            if due > now {
                return None;
            }
            self.turns.pop();
            let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.due() == due) else { continue };
            slot.use_turn(now);
            self.turns.push(Reverse((slot.due(), id)));
            if slot.under_way < MAX_OVERLAP {
                slot.under_way += 1;
                self.under_way += 1;
                return Some(id);
            }
        }
        None
    }

    /// A probe of this check has ended.
    pub fn ended(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.under_way = slot.under_way.saturating_sub(1);
            self.under_way -= 1;
        }
    }

    /// Sets the extra turn of this check; `None` removes it. Has no effect while another probe of the check is under
    /// way: that one gives the result sooner.
    pub fn set_extra_turn(&mut self, id: SlotId, at: Option<Moment>) {
        if at.is_none() || self.under_way_of(id) == 0 {
            self.put_extra_turn(id, at);
        }
    }

    /// Sets the extra turn of this check although probes of it are under way: their answers are overdue.
    /// [`Schedule::set_extra_turn`] removes it, when an answer comes after all.
    pub fn overlap(&mut self, id: SlotId, at: Moment) {
        self.put_extra_turn(id, Some(at));
    }

    fn put_extra_turn(&mut self, id: SlotId, at: Option<Moment>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            let before = slot.due();
            slot.extra = at;
            // Usually no extra turn is wanted after a probe, and nothing changes.
            if slot.due() != before {
                self.turns.push(Reverse((slot.due(), id)));
            }
        }
    }

    /// How many probes of this check have not ended.
    pub fn under_way_of(&self, id: SlotId) -> u32 {
        self.slots.get(&id).map_or(0, |slot| slot.under_way)
    }

    /// From `now` on, only one of `backoff` regular turns of this check is used; 1 means every turn. Its phase stays,
    /// so that rare probes are spread as evenly as the others.
    pub fn back_off(&mut self, id: SlotId, backoff: u32, now: Moment) {
        if let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.backoff != backoff) {
            slot.backoff = backoff;
            slot.regular = slot.next_regular(now);
            self.turns.push(Reverse((slot.due(), id)));
        }
    }

    /// When [`Schedule::take_due`] will next return a check. `None` if first a probe must end or a check must be added.
    pub fn next_due(&mut self) -> Option<Moment> {
        if self.under_way >= self.max_under_way {
            return None;
        }
        while let Some(&Reverse((due, id))) = self.turns.peek() {
            if self.slots.get(&id).is_some_and(|slot| slot.due() == due) {
                return Some(due);
            }
            self.turns.pop();
        }
        None
    }

    /// How many probes have not ended.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    fn add_one(&mut self, nth: u32, interval: Duration, now: Moment) -> SlotId {
        let id = SlotId(self.next_id);
        self.next_id += 1;
        let arrival = self.arrivals.entry(interval).or_default();
        let first = now + (FIRST_ROUND_STEP.saturating_mul(nth)).min(interval);
        let regular = next_turn(phase(*arrival, interval), interval, first);
        *arrival += 1;
        let slot = Slot { interval, backoff: 1, regular, extra: Some(first), under_way: 0 };
        self.turns.push(Reverse((slot.due(), id)));
        self.slots.insert(id, slot);
        id
    }
}

impl Slot {
    fn due(&self) -> Moment {
        self.extra.map_or(self.regular, |extra| extra.min(self.regular))
    }

    /// Uses the turn that is due at `now`, regular or extra. A regular turn also uses the extra one.
    fn use_turn(&mut self, now: Moment) {
        if self.regular <= now {
            self.regular = self.next_regular(now);
        }
        self.extra = None;
    }

    fn next_regular(&self, now: Moment) -> Moment {
        let phase = modulo(self.regular.from_first(), self.interval);
        next_turn(phase, self.interval, now + self.interval * self.backoff.saturating_sub(1))
    }
}

/// The phase of the check that was added as number `arrival`: a multiple of the golden ratio. Any number of multiples
/// is spread almost evenly (Knuth, The Art of Computer Programming 3, 6.4, on Fibonacci hashing).
fn phase(arrival: u64, interval: Duration) -> Duration {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 / 1.618...
    let fraction = u128::from(arrival.wrapping_mul(GOLDEN));
    let nanos = (fraction * (interval.as_nanos() & u128::from(u64::MAX))) >> 64;
    Duration::from_nanos(nanos as u64)
}

/// The first moment after `after` that is at `phase` in an interval. Intervals are counted from the first moment of
/// all.
fn next_turn(phase: Duration, interval: Duration, after: Moment) -> Moment {
    let into = modulo(after.from_first(), interval);
    let wait = if phase > into { phase - into } else { phase + interval - into };
    after + wait
}

fn modulo(time: Duration, interval: Duration) -> Duration {
    let nanos = time.as_nanos() % interval.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// All turns until `end`, if each probe ends at once.
    fn drain(schedule: &mut Schedule, end: Moment) -> Vec<(Moment, SlotId)> {
        let mut taken = Vec::new();
        while let Some(due) = schedule.next_due().filter(|due| *due <= end) {
            while let Some(id) = schedule.take_due(due) {
                schedule.ended(id);
                taken.push((due, id));
            }
        }
        taken
    }

    fn after(ms: u32) -> Moment {
        Moment::START + ms * MS
    }

    #[test]
    fn few_checks_are_probed_at_once_and_many_within_half_a_second() {
        let mut schedule = Schedule::new(100_000);
        let now = after(777);
        schedule.add(&[1000 * MS; 20], now);
        assert_eq!(drain(&mut schedule, now + MS).len(), 20);

        let mut schedule = Schedule::new(100_000);
        let mut first: Vec<SlotId> = schedule.add(&vec![1000 * MS; 10_000], now);
        let taken: std::collections::HashSet<_> =
            drain(&mut schedule, now + 500 * MS).into_iter().map(|t| t.1).collect();
        first.retain(|id| !taken.contains(id));
        assert_eq!(first, [], "without a first probe");
    }

    #[test]
    fn ten_thousand_checks_come_evenly() {
        let mut schedule = Schedule::new(100_000);
        let interval = 1000 * MS;
        // In two plans, at odd moments: the later checks must fill the gaps.
        schedule.add(&vec![interval; 6_000], after(123));
        schedule.add(&vec![interval; 4_000], after(456));
        drain(&mut schedule, after(2000));
        let mut slots = [0f64; 100];
        for (at, _) in drain(&mut schedule, after(3000)) {
            slots[(at.since(after(2000)).as_micros() as usize).min(999_999) / 10_000] += 1.0;
        }
        let mean = slots.iter().sum::<f64>() / slots.len() as f64;
        let variance = slots.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / slots.len() as f64;
        assert_eq!(mean, 100.0, "each once");
        assert!(variance.sqrt() / mean < 0.05, "coefficient of variation {}", variance.sqrt() / mean);
    }

    #[test]
    fn no_more_are_under_way_than_allowed_and_after_an_end_the_longest_due_is_next() {
        let mut schedule = Schedule::new(2);
        let ids = schedule.add(&[1000 * MS; 3], after(0));
        let now = after(10);
        assert_eq!(
            [schedule.take_due(now), schedule.take_due(now), schedule.take_due(now)],
            [Some(ids[0]), Some(ids[1]), None]
        );
        assert_eq!(schedule.next_due(), None, "only an end changes that");
        schedule.ended(ids[1]);
        assert_eq!(schedule.take_due(now), Some(ids[2]));
        assert_eq!(schedule.under_way(), 2);
    }

    #[test]
    fn an_extra_turn_comes_before_the_regular_one_and_can_be_removed() {
        let mut schedule = Schedule::new(10);
        let id = schedule.add(&[1000 * MS], after(0))[0];
        drain(&mut schedule, after(1500));
        let regular = schedule.next_due();
        schedule.set_extra_turn(id, Some(after(1510)));
        assert_eq!(drain(&mut schedule, after(1520)), [(after(1510), id)]);
        assert_eq!(schedule.next_due(), regular, "the regular turn is not moved");
        schedule.set_extra_turn(id, Some(after(1530)));
        schedule.set_extra_turn(id, None);
        assert_eq!(schedule.next_due(), regular);
    }

    #[test]
    fn with_backoff_the_phase_stays_and_without_it_the_next_turn_is_within_an_interval() {
        let mut schedule = Schedule::new(10);
        let ids = schedule.add(&[1000 * MS; 2], after(0));
        let id = ids[1];
        drain(&mut schedule, after(3000));
        let turns = |taken: Vec<(Moment, SlotId)>| -> Vec<Moment> {
            taken.into_iter().filter(|(_, taken)| *taken == id).map(|(at, _)| at).collect()
        };
        schedule.back_off(id, 8, after(3000));
        let rare = turns(drain(&mut schedule, after(43_000)));
        assert_eq!(rare.len(), 5);
        assert!(rare.windows(2).all(|pair| pair[1].since(pair[0]) == 8000 * MS), "{rare:?}");
        schedule.back_off(id, 1, after(43_000));
        let again = turns(drain(&mut schedule, after(46_000)));
        assert_eq!(again.len(), 3, "each interval, the first within one");
        assert_eq!(again[0].since(rare[0]).as_nanos() % 1_000_000_000, 0, "at its phase");
    }

    #[test]
    fn while_a_probe_is_under_way_there_are_only_regular_turns() {
        let mut schedule = Schedule::new(100);
        let id = schedule.add(&[100 * MS], after(0))[0];
        assert_eq!(schedule.take_due(after(0)), Some(id));
        schedule.set_extra_turn(id, Some(after(1)));
        assert_ne!(schedule.next_due(), Some(after(1)));
        let mut under_way = 1;
        for _ in 0..50 {
            let Some(due) = schedule.next_due() else { break };
            under_way += usize::from(schedule.take_due(due).is_some());
        }
        assert_eq!(under_way, MAX_OVERLAP as usize, "the probes of one check are bounded");
        schedule.remove(id);
        assert_eq!(schedule.under_way(), 0, "the probes of a removed check do not count");
        schedule.ended(id);
        assert_eq!((schedule.under_way(), schedule.next_due()), (0, None));
    }

    #[test]
    fn many_checks_cost_no_more_each_than_few() {
        let monitor_like_use = |schedule: &mut Schedule, end: Moment| {
            let (mut probes, mut most) = (0, 0);
            while let Some(due) = schedule.next_due().filter(|due| *due <= end) {
                while let Some(id) = schedule.take_due(due) {
                    schedule.ended(id);
                    // As the prober does after each success.
                    schedule.set_extra_turn(id, None);
                    schedule.back_off(id, 1, due);
                    probes += 1;
                    most = most.max(schedule.turns.len());
                }
            }
            (probes, most)
        };
        for checks in [100, 50_000] {
            let mut schedule = Schedule::new(checks);
            schedule.add(&vec![1000 * MS; checks], after(0));
            monitor_like_use(&mut schedule, after(2000));
            let (probes, most) = monitor_like_use(&mut schedule, after(5000));
            assert_eq!(probes, 3 * checks, "each once a second");
            assert!(most <= checks, "{most} turns are stored for {checks} checks: one each");
        }
    }

    #[test]
    fn missed_turns_are_not_repeated() {
        let mut schedule = Schedule::new(100);
        schedule.add(&[100 * MS], after(0));
        drain(&mut schedule, after(1000));
        let now = after(60_000);
        let mut burst = 0;
        while let Some(id) = schedule.take_due(now) {
            schedule.ended(id);
            burst += 1;
        }
        assert_eq!(burst, 1);
        assert!(schedule.next_due().is_some_and(|due| due > now && due <= now + 100 * MS));
    }

    proptest! {
        #[test]
        fn each_comes_once_an_interval_whatever_plans_come_and_go(
            intervals in prop::collection::vec(50u32..3000, 1..40),
            others in prop::collection::vec(50u32..3000, 0..40),
            at_ms in 0u32..10_000, change_ms in 1u32..5_000,
        ) {
            let intervals: Vec<Duration> = intervals.into_iter().map(|ms| ms * MS).collect();
            let others: Vec<Duration> = others.into_iter().map(|ms| ms * MS).collect();
            let (start, change) = (after(at_ms), after(at_ms + change_ms));
            let end = after(at_ms + 20_000);

            let mut alone = Schedule::new(1000);
            let ids = alone.add(&intervals, start);
            let undisturbed = drain(&mut alone, end);
            for (id, interval) in ids.iter().zip(&intervals) {
                let turns: Vec<Moment> = undisturbed.iter().filter(|(_, t)| t == id).map(|(at, _)| *at).collect();
                prop_assert!(turns[1].since(turns[0]) <= *interval, "the second within an interval of the first");
                for pair in turns[1..].windows(2) {
                    prop_assert_eq!(pair[1].since(pair[0]), *interval);
                }
            }

            let mut disturbed = Schedule::new(1000);
            let same = disturbed.add(&intervals, start);
            prop_assert_eq!(&same, &ids);
            let mut turns = drain(&mut disturbed, change);
            let guests = disturbed.add(&others, change);
            turns.extend(drain(&mut disturbed, change + 1000 * MS));
            for guest in guests {
                disturbed.remove(guest);
            }
            turns.extend(drain(&mut disturbed, end));
            turns.retain(|(_, id)| ids.contains(id));
            prop_assert_eq!(turns, undisturbed);
        }
    }
}
