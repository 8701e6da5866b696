//! Slots of exec programs: how many run at a time, over all probers, and who is next.
//!
//! Programs of one monitor that hang must not keep other monitors from probing. So there are two parts. The common
//! part is for everyone: one monitor may take all of it. Half of the reserve is for monitors with few programs: the
//! less of it is free, the fewer a monitor may have. The other half is for monitors that have none running. A slot that
//! becomes free goes to the waiting monitor with the fewest programs. Within a monitor the first to wait is the first
//! to run.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::model::{ExecSpec, Monitor};

/// The most programs of the common part. Judgment: scripts start interpreters, and a hundred of them would slow down
/// the threads that answer queries.
pub(super) const COMMON: usize = 64;
/// The most programs in addition. Judgment: forty monitors can hang at the same time, with all programs that they may
/// have, and others still probe.
const RESERVE: usize = 64;
/// The part of the reserve for monitors that have no program running.
const FOR_FIRST: usize = RESERVE / 2;
/// A monitor may have one in so many of the free slots of the other half (judgment: several monitors that hang leave
/// enough for others).
const PART: usize = 4;
/// The most programs that run at a time.
const MOST_PROGRAMS: usize = COMMON + RESERVE;

/// Which monitor a program belongs to: monitors with the same keys count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MonitorKey(u64);

impl MonitorKey {
    /// The key of a monitor that runs `spec`, whichever endpoint the program judges.
    pub(super) fn of(monitor: &Monitor, spec: &ExecSpec) -> MonitorKey {
        let ExecSpec { command, endpoint: _ } = spec;
        let Monitor { kind: _, interval, timeout, adaptive, fall, rise, hold_down, damping, hold, quorum } = monitor;
        let mut hasher = DefaultHasher::new();
        (command, interval, timeout, adaptive, fall, rise, hold_down, damping, hold, quorum).hash(&mut hasher);
        MonitorKey(hasher.finish())
    }
}

/// The slots. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct ProgramSlots(Arc<Mutex<Use>>);

#[derive(Debug, Default)]
struct Use {
    total: usize,
    /// Programs that run; monitors without any have no entry.
    running: HashMap<MonitorKey, usize>,
    /// Who waits, by the number that each got when it came. Monitors without anyone have no entry.
    waiting: BTreeMap<MonitorKey, BTreeMap<u64, oneshot::Sender<ProgramSlot>>>,
    came: u64,
}

/// The right to run one program, until it is dropped.
#[derive(Debug)]
pub(super) struct ProgramSlot {
    slots: ProgramSlots,
    of: MonitorKey,
}

impl Drop for ProgramSlot {
    fn drop(&mut self) {
        self.slots.release(self.of);
    }
}

/// Somebody who waits. When it is dropped it waits no more.
struct Place<'s> {
    slots: &'s ProgramSlots,
    of: MonitorKey,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut used = self.slots.lock();
        if let Some(queue) = used.waiting.get_mut(&self.of) {
            queue.remove(&self.number);
            if queue.is_empty() {
                used.waiting.remove(&self.of);
            }
        }
    }
}

impl ProgramSlots {
    /// Waits for a slot.
    pub(super) async fn acquire(&self, of: MonitorKey) -> ProgramSlot {
        let (sender, granted) = oneshot::channel();
        let _place = {
            let mut used = self.lock();
            if !used.waiting.contains_key(&of) && used.admits(of) {
                return self.grant(&mut used, of);
            }
            used.came += 1;
            let number = used.came;
            used.waiting.entry(of).or_default().insert(number, sender);
            Place { slots: self, of, number }
        };
        match granted.await {
            Ok(slot) => slot,
            // A sender is only dropped with the place, which is here.
            Err(_) => std::future::pending().await,
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().total
    }

    fn grant(&self, used: &mut Use, of: MonitorKey) -> ProgramSlot {
        used.total += 1;
        *used.running.entry(of).or_default() += 1;
        ProgramSlot { slots: self.clone(), of }
    }

    fn release(&self, of: MonitorKey) {
        // Dropped without the lock: a slot that nobody took comes here again.
        let mut refused = Vec::new();
        let mut used = self.lock();
        used.total -= 1;
        if let Some(own) = used.running.get_mut(&of) {
            *own -= 1;
            if *own == 0 {
                used.running.remove(&of);
            }
        }
        while let Some((next, waiter)) = used.next() {
            let slot = self.grant(&mut used, next);
            refused.extend(waiter.send(slot).err());
        }
        drop(used);
    }

    fn lock(&self) -> MutexGuard<'_, Use> {
        // A panic leaves the numbers whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Use {
    fn own(&self, of: MonitorKey) -> usize {
        self.running.get(&of).copied().unwrap_or(0)
    }

    /// Whether a program of this monitor may start now.
    fn admits(&self, of: MonitorKey) -> bool {
        let (own, free) = (self.own(of), MOST_PROGRAMS.saturating_sub(self.total));
        self.total < COMMON || (free > 0 && own == 0) || own < free.saturating_sub(FOR_FIRST) / PART
    }

    /// Takes out who is next, if anyone may start now: of the monitors with the fewest programs the one that has waited
    /// for longest.
    fn next(&mut self) -> Option<(MonitorKey, oneshot::Sender<ProgramSlot>)> {
        let first = |queue: &BTreeMap<u64, _>| queue.first_key_value().map(|(number, _)| *number);
        let waiting = self.waiting.iter().filter(|(of, _)| self.admits(**of));
        let (of, _) = waiting.min_by_key(|(of, queue)| (self.own(**of), first(*queue)))?;
        let of = *of;
        let queue = self.waiting.get_mut(&of)?;
        let (_, waiter) = queue.pop_first()?;
        if queue.is_empty() {
            self.waiting.remove(&of);
        }
        Some((of, waiter))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<T>(waiting: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match waiting.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// All slots that the monitor gets at once.
    fn all(slots: &ProgramSlots, of: MonitorKey) -> Vec<ProgramSlot> {
        std::iter::from_fn(|| now(pin!(slots.acquire(of)))).collect()
    }

    #[test]
    fn one_monitor_may_take_all_of_the_common_part_and_leaves_the_reserve() {
        let slots = ProgramSlots::default();
        let hanging = all(&slots, MonitorKey(0));
        assert_eq!(hanging.len(), COMMON);
        let other = all(&slots, MonitorKey(1));
        assert!(other.len() >= 6, "{}", other.len());
        drop(other);
        assert_eq!(slots.taken(), COMMON, "they are free again");
        drop(hanging);
        assert_eq!((slots.taken(), slots.lock().running.len()), (0, 0));
    }

    #[test]
    fn however_many_programs_of_some_monitors_hang_another_monitor_probes() {
        for monitors in 1..=40 {
            let slots = ProgramSlots::default();
            let hanging: Vec<Vec<ProgramSlot>> = (0..monitors).map(|nth| all(&slots, MonitorKey(nth))).collect();
            let mut other = pin!(slots.acquire(MonitorKey(99)));
            assert!(now(other.as_mut()).is_some(), "{monitors} monitors hang");
            assert!(hanging.iter().map(Vec::len).sum::<usize>() < MOST_PROGRAMS);
        }
    }

    #[test]
    fn a_free_slot_goes_to_the_monitor_with_the_fewest_programs() {
        let slots = ProgramSlots::default();
        let mut many: Vec<Vec<ProgramSlot>> = (0..200).map(|nth| all(&slots, MonitorKey(nth))).collect();
        assert_eq!(slots.taken(), MOST_PROGRAMS);
        let (large, none) = (MonitorKey(0), MonitorKey(999));
        let mut early = Box::pin(slots.acquire(large));
        let mut late = Box::pin(slots.acquire(none));
        let mut gone = Box::pin(slots.acquire(none));
        assert!(now(early.as_mut()).is_none() && now(late.as_mut()).is_none() && now(gone.as_mut()).is_none());
        many[0].pop();
        assert!(now(early.as_mut()).is_none());
        let slot = now(late.as_mut()).expect("it has none running");
        drop((early, gone));
        assert!(slots.lock().waiting.is_empty(), "who has gone does not wait");
        drop((slot, many));
        assert_eq!((slots.taken(), slots.lock().running.len()), (0, 0));
    }

    #[test]
    fn a_slot_that_was_granted_to_who_has_gone_is_free() {
        let slots = ProgramSlots::default();
        let mut hanging = all(&slots, MonitorKey(0));
        let mut waits = Box::pin(slots.acquire(MonitorKey(0)));
        assert!(now(waits.as_mut()).is_none());
        hanging.pop();
        assert_eq!(slots.taken(), COMMON, "it is granted");
        drop(waits);
        assert_eq!(slots.taken(), COMMON - 1);
    }
}
