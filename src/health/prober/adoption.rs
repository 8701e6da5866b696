//! How a prober takes over a new plan. A plan may have 100,000 checks, so it is taken over in parts; between two parts
//! the probes that are due begin, and other tasks of the thread go on.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::clock;
use crate::health::prober::probed_check::ProbedCheck;
use crate::health::prober::{NewPlan, Plan, Prober};
use crate::health::{Blindness, RetainedCheck, SlotId};
use crate::model::{CheckKey, Moment};

/// The checks of one part: less than a millisecond of work (judgment: no probe notices it).
const PART: usize = 500;

/// What of a plan is taken over already.
struct Adoption {
    /// When it began: the first probes of new checks follow from here.
    at: Moment,
    /// How many checks were new.
    added: u32,
    wanted: HashSet<SlotId, FixedState>,
    /// The last observations of an earlier prober.
    retained: HashMap<Arc<CheckKey>, RetainedCheck, FixedState>,
    /// Hosts that are assumed to be up.
    were_up: HashSet<IpAddr>,
}

impl Prober {
    /// Begins to probe the checks of the plan, and ends the others. Checks that are probed already continue
    /// undisturbed.
    pub(super) async fn adopt(&mut self, NewPlan { plan, round }: NewPlan) {
        let now = clock::now();
        let Plan { checks, regions, region_names: _, retained } = plan;
        self.heartbeats.adopt(&checks, now);
        self.heartbeats.restore(&retained, now);
        self.pause().await;
        let mut adoption = Adoption {
            at: now,
            added: 0,
            wanted: HashSet::default(),
            retained: retained.into_iter().map(|check| (Arc::clone(&check.observation.key), check)).collect(),
            were_up: self.hosts_up_while_blind(),
        };
        let mut plan = Vec::with_capacity(checks.len());
        let regions = regions.into_iter().chain(std::iter::repeat(0));
        let mut checks = checks.iter().zip(regions).filter(|(key, _)| key.monitor.kind.is_probed());
        loop {
            let part: Vec<(&Arc<CheckKey>, usize)> = checks.by_ref().take(PART).collect();
            if part.is_empty() {
                break;
            }
            self.add_part(&part, &mut adoption, &mut plan);
            self.pause().await;
        }
        let control = self.settings.control.clone();
        let control: Vec<(&Arc<CheckKey>, usize)> = control.iter().map(|key| (key, 0)).collect();
        self.controls = self.slots_of(&control, &mut adoption);
        adoption.wanted.extend(&self.controls);
        self.plan = plan;
        self.remove_others(&adoption.wanted).await;
        // The regions may have other numbers now. The next report finds the silent ones again.
        self.blindness = Blindness::default();
        self.rounds.push(round);
    }

    /// Adds some checks of a plan. One that is listed twice is in `plan` once.
    fn add_part(&mut self, part: &[(&Arc<CheckKey>, usize)], adoption: &mut Adoption, plan: &mut Vec<SlotId>) {
        for (slot, (_, region)) in self.slots_of(part, adoption).into_iter().zip(part) {
            if let Some(check) = self.checks.get_mut(&slot) {
                check.region = *region;
            }
            if adoption.wanted.insert(slot) {
                plan.push(slot);
            }
        }
    }

    /// The slots of these checks. A check that has none gets one; it continues from its retained state.
    fn slots_of(&mut self, keys: &[(&Arc<CheckKey>, usize)], adoption: &mut Adoption) -> Vec<SlotId> {
        let mut seen: HashSet<&Arc<CheckKey>, FixedState> = HashSet::default();
        let new = keys.iter().map(|(key, _)| *key);
        let new: Vec<_> = new.filter(|key| !self.slots.contains_key(*key) && seen.insert(*key)).collect();
        let intervals: Vec<Duration> = new.iter().map(|key| key.monitor.interval).collect();
        let added = self.schedule.add_after(adoption.added, &intervals, adoption.at);
        adoption.added = adoption.added.saturating_add(u32::try_from(new.len()).unwrap_or(u32::MAX));
        for (slot, key) in added.into_iter().zip(new) {
            self.held.add(slot, key);
            let check = match adoption.retained.remove(key) {
                None if key.target.ip().is_some_and(|ip| adoption.were_up.contains(&ip)) => {
                    ProbedCheck::assumed_up(Arc::clone(key), adoption.at)
                }
                saved => ProbedCheck::new(Arc::clone(key), saved),
            };
            self.checks.insert(slot, check);
            self.slots.insert(Arc::clone(key), slot);
        }
        keys.iter().filter_map(|(key, _)| self.slots.get(*key).copied()).collect()
    }

    /// Ends the checks that are not wanted any more.
    async fn remove_others(&mut self, wanted: &HashSet<SlotId, FixedState>) {
        let others = self.slots.iter().filter(|(_, slot)| !wanted.contains(*slot));
        let others: Vec<(Arc<CheckKey>, SlotId)> = others.map(|(key, slot)| (Arc::clone(key), *slot)).collect();
        for part in others.chunks(PART) {
            for (key, slot) in part {
                self.schedule.remove(*slot);
                self.held.remove(*slot);
                self.checks.remove(slot);
                self.slots.remove(key);
            }
            self.pause().await;
        }
    }

    /// Begins the probes that are due, and lets other tasks of the thread go on.
    async fn pause(&mut self) {
        self.launch(clock::now());
        tokio::task::yield_now().await;
    }
}
