//! Which check is to be probed when. A value: it is told the time, hands out what is due and counts what is under way,
//! but sends nothing. The prober owns one.
//!
//! Every check has a place of its own in its interval (a *phase*), so that any number of checks comes evenly. Phases
//! hang on nothing but the order of arrival: a plan that adds or removes checks leaves the turns of the others alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

use crate::model::Moment;

/// A check's place in a schedule; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(u64);

/// New checks get their first probe this far apart, out of turn: 20,000 a second, so that a thousand checks have begun
/// within 50 ms and the first round of ten thousand ends within two default time-outs.
const FIRST_ROUND_STEP: Duration = Duration::from_micros(50);
/// Most probes of one check under way at once. With a time-out longer than the interval the next probe doesn't wait
/// for the last, else detection would take `fall` time-outs; judgment: eight intervals of silence tell enough.
const MAX_OVERLAP: u32 = 8;
/// Shorter intervals are taken as this; validation allows 50 ms at least, and zero would never end.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The turns of all checks.
#[derive(Debug)]
pub struct Schedule {
    slots: HashMap<SlotId, Slot>,
    /// One entry a slot is true to it; others are left over from a turn that was moved, and are skipped.
    turns: BinaryHeap<Reverse<(Moment, SlotId)>>,
    arrivals: BTreeMap<Duration, u64>,
    next_id: u64,
    under_way: usize,
    max_under_way: usize,
}

#[derive(Debug)]
struct Slot {
    interval: Duration,
    /// Its next turn in the interval.
    regular: Moment,
    /// A turn out of order, before that: the first probe, or one that verifies.
    extra: Option<Moment>,
    under_way: u32,
}

impl Schedule {
    /// An empty schedule that hands out at most `max_under_way` (at least 1) probes that have not ended.
    pub fn new(max_under_way: usize) -> Schedule {
        Schedule {
            slots: HashMap::new(),
            turns: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            next_id: 0,
            under_way: 0,
            max_under_way: max_under_way.max(1),
        }
    }

    /// Adds a check for each of these intervals. Their first probes are due from `now` on in quick succession, within
    /// the interval at most; then each keeps its own phase.
    pub fn add(&mut self, intervals: &[Duration], now: Moment) -> Vec<SlotId> {
        (0u32..).zip(intervals).map(|(nth, interval)| self.add_one(nth, (*interval).max(MIN_INTERVAL), now)).collect()
    }

    /// Forgets a check; what is under way of it may still be [`Schedule::ended`].
    pub fn remove(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.remove(&id) {
            // What it has under way ends unheard, so its share of the bound is given back here.
            self.under_way -= slot.under_way as usize;
        }
    }

    /// Hands out a check whose turn has come by `now`, the longest due first; `None` when there is none, or when
    /// `max_under_way` are. Turns that were missed altogether are left out, not made up for.
    pub fn take(&mut self, now: Moment) -> Option<SlotId> {
        if self.under_way >= self.max_under_way {
            return None;
        }
        while let Some(&Reverse((due, id))) = self.turns.peek() {
            if due > now {
                return None;
            }
            self.turns.pop();
            let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.due() == due) else { continue };
            slot.turn_over(now);
            self.turns.push(Reverse((slot.due(), id)));
            if slot.under_way < MAX_OVERLAP {
                slot.under_way += 1;
                self.under_way += 1;
                return Some(id);
            }
        }
        None
    }

    /// A probe that was handed out has ended.
    pub fn ended(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.under_way = slot.under_way.saturating_sub(1);
            self.under_way -= 1;
        }
    }

    /// Sets when this check's next probe out of turn is wanted; `None` takes the wish back. Without effect while
    /// another probe of the check is under way: that one tells as much, and sooner.
    pub fn want(&mut self, id: SlotId, at: Option<Moment>) {
        if let Some(slot) = self.slots.get_mut(&id)
            && (slot.under_way == 0 || at.is_none())
        {
            slot.extra = at;
            self.turns.push(Reverse((slot.due(), id)));
        }
    }

    /// When [`Schedule::take`] will next hand something out; `None` when only an end or a new check changes that.
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

    /// How many probes were handed out and have not ended.
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
        let slot = Slot { interval, regular, extra: Some(first), under_way: 0 };
        self.turns.push(Reverse((slot.due(), id)));
        self.slots.insert(id, slot);
        id
    }
}

impl Slot {
    fn due(&self) -> Moment {
        self.extra.map_or(self.regular, |extra| extra.min(self.regular))
    }

    /// The turn that is due by `now` is used up, whichever it was. A regular turn serves a wish as well.
    fn turn_over(&mut self, now: Moment) {
        if self.regular <= now {
            let phase = modulo(self.regular.from_first(), self.interval);
            self.regular = next_turn(phase, self.interval, now);
        }
        self.extra = None;
    }
}

/// Where in its interval the check that came `arrival`th stands: multiples of the golden ratio, of which any number
/// lies nearly evenly, whatever is added later (Knuth, The Art of Computer Programming 3, 6.4, on Fibonacci hashing).
fn phase(arrival: u64, interval: Duration) -> Duration {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 / 1.618...
    let fraction = u128::from(arrival.wrapping_mul(GOLDEN));
    let nanos = (fraction * (interval.as_nanos() & u128::from(u64::MAX))) >> 64;
    Duration::from_nanos(nanos as u64)
}

/// The first moment after `after` that stands at `phase` in an interval, counted from the first moment of all.
fn next_turn(phase: Duration, interval: Duration, after: Moment) -> Moment {
    let into = modulo(after.from_first(), interval);
    let wait = if phase > into { phase - into } else { phase + interval - into };
    after + wait
}

fn modulo(time: Duration, interval: Duration) -> Duration {
    let nanos = time.as_nanos() % interval.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
