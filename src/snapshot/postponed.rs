//! Policies that are decided again at their turn, because nothing but round-trip times changed for them. Pure.
//!
//! Round-trip times move all the time, each a little, and nearly every one makes another decision, if only for the
//! figures in its reasons. A verdict, an override, a lease or a challenger that is due has a policy decided at once, by
//! the newest round-trip times.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Cycle, Moment, PolicyId};
use crate::snapshot::policies::CHUNK;

/// A policy is decided again once in so long while only round-trip times change; within twice that time while there are
/// verdicts in each view. Judgment: ranking has 10 s to follow a path, and needs about 7 of them to be sure (three
/// measurements, and the hold-down of a band). With a thousand names that rank by latency, and fifty views a second,
/// deciding at each change took more than a core.
pub(crate) const RANK_EVERY: Duration = Duration::from_secs(1);

/// A set of policies, a bit for each.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyBits {
    /// By chunk of the table of policies.
    chunks: Vec<u16>,
}

const _: () = assert!(CHUNK == u16::BITS as usize, "a word has the bits of a chunk");

impl PolicyBits {
    pub(crate) fn insert(&mut self, policy: PolicyId) {
        let (chunk, bit) = place(policy);
        if self.chunks.len() <= chunk {
            self.chunks.resize(chunk + 1, 0);
        }
        self.chunks[chunk] |= bit;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.iter().all(|chunk| *chunk == 0)
    }

    /// All, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PolicyId> {
        let chunks = self.chunks.iter().enumerate().filter(|(_, bits)| **bits != 0);
        chunks.flat_map(|(chunk, bits)| {
            let set = (0..CHUNK).filter(move |at| bits & (1 << at) != 0);
            set.map(move |at| PolicyId((chunk * CHUNK + at) as u32))
        })
    }

    fn insert_all(&mut self, others: &PolicyBits) {
        if self.chunks.len() < others.chunks.len() {
            self.chunks.resize(others.chunks.len(), 0);
        }
        self.chunks.iter_mut().zip(&others.chunks).for_each(|(own, other)| *own |= other);
    }

    fn remove(&mut self, policy: PolicyId) {
        let (chunk, bit) = place(policy);
        if let Some(bits) = self.chunks.get_mut(chunk) {
            *bits &= !bit;
        }
    }

    /// Takes those of some chunks.
    fn take(&mut self, is_wanted: impl Fn(usize) -> bool) -> PolicyBits {
        let take = |(chunk, bits): (usize, &mut u16)| if is_wanted(chunk) { std::mem::take(bits) } else { 0 };
        PolicyBits { chunks: self.chunks.iter_mut().enumerate().map(take).collect() }
    }
}

fn place(policy: PolicyId) -> (usize, u16) {
    let at = policy.0 as usize;
    (at / CHUNK, 1 << (at % CHUNK))
}

/// The policies that wait for their turn.
#[derive(Debug, Clone)]
pub(crate) struct Postponed {
    waiting: Arc<PolicyBits>,
    cycle: Cycle,
}

impl Postponed {
    /// None waits.
    pub(crate) fn none() -> Postponed {
        Postponed { waiting: Arc::default(), cycle: Cycle::of(RANK_EVERY) }
    }

    /// Adds those that changed `by_rtt`. Returns those to decide again at `now`: `at_once`, and those whose turn has
    /// come.
    pub(crate) fn follow(&mut self, at_once: HashSet<PolicyId>, by_rtt: &PolicyBits, now: Moment) -> HashSet<PolicyId> {
        // A verdict does not wait for the work of a second.
        let passed = if at_once.is_empty() { self.cycle.advance(now) } else { self.cycle.advance_little(now) };
        if self.waiting.is_empty() && by_rtt.is_empty() {
            return at_once;
        }
        let waiting = Arc::make_mut(&mut self.waiting);
        waiting.insert_all(by_rtt);
        at_once.iter().for_each(|policy| waiting.remove(*policy));
        let mut again = at_once;
        again.extend(waiting.take(|chunk| passed.has(chunk)).iter());
        again
    }

    /// These are decided again now.
    pub(crate) fn remove(&mut self, again: &HashSet<PolicyId>) {
        if !self.waiting.is_empty() && !again.is_empty() {
            let waiting = Arc::make_mut(&mut self.waiting);
            again.iter().for_each(|policy| waiting.remove(*policy));
        }
    }
}
