//! The instances of one source: what it lists, and what is held back because too much disappeared at once. Pure.
//!
//! ```text
//!            a list, changes                          endpoints
//!  driver ───────────────────> listed ──> usable ─┬─────────────────────> model
//!                                │        held ───┘   (held: no longer usable, and too many of them at once)
//!                                └──────> left out: no endpoint, such as one with an unknown region
//! ```
//!
//! - A list of more than `max` instances is refused: the set of before stays. Of changes, what exceeds `max` is
//!   refused.
//! - When a source lists less than the share `min_keep` of what it had within the last minute, what disappeared is
//!   *held*: it stays until it is listed again, until enough is listed, or until an operator confirms the removal. Only
//!   what can be used counts: a wrong label on all instances is as an empty list. What is held is as it was before. An
//!   instance that is listed with the name of one that is held takes its place.
//! - A source that does not answer changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::discovery::endpoints::{InstanceRules, endpoints_of, same_name};
use crate::discovery::instance::{Instance, InstanceList, RefusedInstances};
use crate::discovery::update::{InstanceChanges, Trouble, TroubleState, Update};
use crate::model::Moment;

/// What "suddenly" means for `min_keep`: within this time. Judgment: a deployment that replaces or removes instances
/// one after the other takes longer, and a wiped store or a wrong query shows at once.
pub const SUDDEN: Duration = Duration::from_secs(60);

/// The instances of one source.
#[derive(Debug, Clone)]
pub struct SourceSet {
    max: usize,
    min_keep: f64,
    /// What an instance needs to be used; `None`: nothing.
    rules: Option<InstanceRules>,
    /// What the source lists, by key.
    listed: BTreeMap<String, Listed>,
    /// What of it can be used.
    usable: BTreeMap<String, Arc<Instance>>,
    /// What it listed before and could be used, and is held back.
    held: BTreeMap<String, Arc<Instance>>,
    /// The greatest sizes of the last [`SUDDEN`]: each is greater than those after it.
    peaks: VecDeque<(Moment, usize)>,
    trouble: Option<Trouble>,
    /// What the source lists and has no room here.
    over: OverMax,
    /// What the driver could not read.
    refused: RefusedInstances,
    /// What is listed and can't be used.
    left_out: RefusedInstances,
    /// When the source last answered with a set, also one that was refused because of `max`; `None`: never.
    known_at: Option<Moment>,
}

/// An instance that is listed.
#[derive(Debug, Clone)]
struct Listed {
    instance: Arc<Instance>,
    /// The name that its endpoint has, or why it has none.
    judged: Result<String, String>,
}

/// Instances that are refused because of `max`. At most `max` keys are stored.
#[derive(Debug, Clone, Default)]
struct OverMax {
    /// The keys that changes had and for which there was no room.
    keys: HashSet<String>,
    /// At least so many instances are listed, where `keys` are not all that are refused; `None`: they are all.
    least: Option<usize>,
}

impl OverMax {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.least.is_none()
    }

    /// A change has this key, for which there is no room.
    fn refuse(&mut self, key: String, max: usize) {
        if self.keys.len() < max || self.keys.contains(&key) {
            self.keys.insert(key);
        } else {
            self.least = self.least.max(Some(2 * max + 1));
        }
    }

    /// A change removes this key.
    fn remove(&mut self, key: &str) {
        self.keys.remove(key);
        self.least = self.least.map(|least| least.saturating_sub(1));
    }

    /// Whether instances may be missing here for which there is room now, with so many that are listed.
    fn wants_list(&self, listed: usize, max: usize) -> bool {
        !self.is_empty() && (listed < max || self.least.is_some_and(|least| least <= max))
    }

    /// How many instances the source lists, at least; `None`: not more than `max`.
    fn total(&self, max: usize) -> Option<usize> {
        let total = || self.least.unwrap_or_default().max(max + self.keys.len().max(1));
        (!self.is_empty()).then(total)
    }
}

/// What an update has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Whether an instance is new, has gone, or is another one.
    pub is_change: bool,
    /// Whether the driver has to send a whole list, because changes are missing here.
    pub wants_list: bool,
}

/// The state of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// The endpoints are those that the source lists.
    Ok,
    /// It does not answer.
    Away,
    /// Too much disappeared at once: it is held.
    Held,
    /// What it sends can't be used.
    Bad,
}

impl SourceState {
    /// All of them.
    pub const ALL: [SourceState; 4] = [SourceState::Ok, SourceState::Away, SourceState::Held, SourceState::Bad];

    /// Its name in the API and on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceState::Ok => "ok",
            SourceState::Away => "away",
            SourceState::Held => "kept",
            SourceState::Bad => "bad",
        }
    }
}

impl SourceSet {
    /// Nothing is known yet. `max` and `min_keep` as [`crate::model::DiscoveredPool`] has them.
    pub fn new(max: usize, min_keep: f64) -> SourceSet {
        SourceSet {
            max,
            min_keep,
            rules: None,
            listed: BTreeMap::new(),
            usable: BTreeMap::new(),
            held: BTreeMap::new(),
            peaks: VecDeque::new(),
            trouble: None,
            over: OverMax::default(),
            refused: RefusedInstances::default(),
            left_out: RefusedInstances::default(),
            known_at: None,
        }
    }

    /// The same for instances that these rules judge, with the bounds of their source.
    pub fn judged_by(rules: InstanceRules) -> SourceSet {
        let (max, min_keep) = (rules.spec.max, rules.spec.min_keep);
        SourceSet { rules: Some(rules), ..SourceSet::new(max, min_keep) }
    }

    /// The instances of before a restart, which were known at `at`. More than `max` are left out.
    pub fn restore(&mut self, instances: impl IntoIterator<Item = Instance>, at: Moment, now: Moment) {
        let listed = instances.into_iter().map(|instance| (instance.key.clone(), self.judge(instance)));
        self.listed = listed.collect();
        while self.listed.len() > self.max {
            self.listed.pop_last();
        }
        self.known_at = Some(at);
        self.settle(now);
    }

    /// Other rules and bounds, from files that were loaded again. The bounds count from the next update on. Returns
    /// whether other instances can be used.
    pub fn change_rules(&mut self, rules: InstanceRules, now: Moment) -> bool {
        (self.max, self.min_keep) = (rules.spec.max, rules.spec.min_keep);
        if self.rules.as_ref() == Some(&rules) {
            return false;
        }
        self.rules = Some(rules);
        for (key, Listed { instance, .. }) in std::mem::take(&mut self.listed) {
            let judged = self.judge_one(&instance);
            self.listed.insert(key, Listed { instance, judged });
        }
        self.settle(now)
    }

    fn judge(&self, instance: Instance) -> Listed {
        let judged = self.judge_one(&instance);
        Listed { instance: Arc::new(instance), judged }
    }

    fn judge_one(&self, instance: &Instance) -> Result<String, String> {
        self.rules.as_ref().map_or_else(|| Ok(instance.key.clone()), |rules| rules.judge(instance))
    }

    /// Takes in an update.
    pub fn apply(&mut self, update: Update, now: Moment) -> Applied {
        let applied = match update {
            Update::Whole(list) => Applied { is_change: self.replace(list, now), wants_list: false },
            Update::Changes(changes) => self.change(changes, now),
            Update::Away(trouble) => {
                if self.trouble.is_none() && self.known_at.is_some() {
                    self.known_at = Some(now);
                }
                self.trouble = Some(trouble);
                return Applied::default();
            }
            Update::Back => Applied::default(),
        };
        (self.trouble, self.known_at) = (None, Some(now));
        applied
    }

    fn replace(&mut self, list: InstanceList, now: Moment) -> bool {
        self.refused = list.refusals.clone();
        if list.total() > self.max {
            self.over = OverMax { keys: HashSet::new(), least: Some(list.total()) };
            return false;
        }
        self.over = OverMax::default();
        let mut listed = BTreeMap::new();
        for instance in list.into_instances() {
            if listed.contains_key(&instance.key) {
                self.refused.add(&instance.key, "it is listed twice: the first one counts; give each its own name");
                continue;
            }
            // What has not changed is not judged again.
            let known = self.listed.remove(&instance.key).filter(|known| *known.instance == instance);
            listed.insert(instance.key.clone(), known.unwrap_or_else(|| self.judge(instance)));
        }
        self.listed = listed;
        self.settle(now)
    }

    fn change(&mut self, changes: InstanceChanges, now: Moment) -> Applied {
        let InstanceChanges { by_key, refusals } = changes;
        // These are all that are refused now: what was corrected is not among them.
        self.refused = refusals;
        let mut set = Vec::new();
        for (key, instance) in by_key {
            match instance {
                Some(instance) => set.push((key, instance)),
                None => {
                    self.listed.remove(&key);
                    self.over.remove(&key);
                }
            }
        }
        // In order, so that it does not depend on chance which ones exceed the bound.
        set.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (key, instance) in set {
            if !self.listed.contains_key(&key) && self.listed.len() >= self.max {
                self.over.refuse(key, self.max);
                continue;
            }
            self.over.keys.remove(&key);
            let listed = self.judge(instance);
            self.listed.insert(key, listed);
        }
        let wants_list = self.over.wants_list(self.listed.len(), self.max);
        Applied { is_change: self.settle(now), wants_list }
    }

    /// Finds what of the list can be used, and holds what has gone. Returns whether that is another set. Of equal names
    /// the first by key counts.
    fn settle(&mut self, now: Moment) -> bool {
        let (mut usable, mut names) = (BTreeMap::new(), HashMap::<&str, &str>::new());
        let mut left_out = RefusedInstances::default();
        for (key, Listed { instance, judged }) in &self.listed {
            match judged {
                Err(why) => left_out.add(key, why),
                Ok(name) => match names.get(&**name) {
                    Some(other) => left_out.add(key, &same_name(name, other)),
                    None => {
                        names.insert(name, key);
                        usable.insert(key.clone(), instance.clone());
                    }
                },
            }
        }
        self.left_out = left_out;
        let before = std::mem::replace(&mut self.usable, usable);
        let held_before = std::mem::take(&mut self.held);
        let gone = before.iter().chain(&held_before).filter(|(key, instance)| {
            let is_replaced = || self.name_of(instance).is_some_and(|name| names.contains_key(&*name));
            !self.usable.contains_key(*key) && !is_replaced()
        });
        let gone: Vec<_> = gone.map(|(key, instance)| (key.clone(), instance.clone())).collect();
        self.hold(gone, now);
        self.note_size(now);
        self.usable != before || self.held != held_before
    }

    /// The name that the endpoint of an instance has now, also where the rules do not let it be used; `None`: no
    /// endpoint can be made of it, or there are no rules and names are keys.
    fn name_of(&self, instance: &Instance) -> Option<String> {
        let rules = self.rules.as_ref()?;
        let stated = endpoints_of(&rules.spec, std::iter::once(instance));
        stated.endpoints.first().map(|endpoint| endpoint.name.clone())
    }

    /// Holds what has gone, if it is too much. All instances together never exceed `max`.
    fn hold(&mut self, gone: Vec<(String, Arc<Instance>)>, now: Moment) {
        self.forget_peaks(now);
        let peak = self.peaks.front().map_or(0, |(_, size)| *size);
        let is_too_few = (self.usable.len() as f64) < self.min_keep * peak as f64;
        if is_too_few {
            let room = self.max.saturating_sub(self.usable.len());
            self.held = gone.into_iter().collect();
            while self.held.len() > room {
                self.held.pop_last();
            }
        }
    }

    /// An operator confirms what disappeared. Returns whether anything was held.
    pub fn confirm(&mut self, now: Moment) -> bool {
        let was_held = !self.held.is_empty();
        self.held.clear();
        self.peaks.clear();
        self.note_size(now);
        was_held
    }

    fn note_size(&mut self, now: Moment) {
        self.forget_peaks(now);
        let size = self.len();
        while self.peaks.back().is_some_and(|(_, before)| *before <= size) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((now, size));
    }

    /// Forgets sizes of longer ago than [`SUDDEN`]; the size at that time is the one of the last entry before it.
    fn forget_peaks(&mut self, now: Moment) {
        while self.peaks.len() > 1 && self.peaks.get(1).is_some_and(|(at, _)| now.since(*at) >= SUDDEN) {
            self.peaks.pop_front();
        }
    }

    /// The instances to use, by key.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.usable.values().chain(self.held.values()).map(|instance| &**instance)
    }

    /// How many these are.
    pub fn len(&self) -> usize {
        self.usable.len() + self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the source, or a restart, has ever given a set, also one that was refused because of `max`.
    pub fn is_known(&self) -> bool {
        self.known_at.is_some()
    }

    /// Whether it does not answer, or what it sends can't be used.
    pub fn has_failed(&self) -> bool {
        self.trouble.is_some()
    }

    /// How many entries of the source are no endpoints: they can't be read, or can't be used.
    pub fn left_out(&self) -> usize {
        self.left_out.total() + self.refused.total()
    }

    /// What an operator would remove by [`SourceSet::confirm`], by key.
    pub fn held(&self) -> impl Iterator<Item = &Instance> {
        self.held.values().map(|instance| &**instance)
    }

    /// Its state.
    pub fn state(&self) -> SourceState {
        match &self.trouble {
            Some(Trouble { state: TroubleState::Away, .. }) => SourceState::Away,
            Some(Trouble { state: TroubleState::Bad, .. }) => SourceState::Bad,
            None if self.known_at.is_none() => SourceState::Away,
            None if !self.over.is_empty() => SourceState::Bad,
            None if !self.held.is_empty() => SourceState::Held,
            None => SourceState::Ok,
        }
    }

    /// How long ago the instances were what the source lists: 0 while it is followed. `None`: never.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        let known_at = self.known_at?;
        Some(if self.trouble.is_some() { now.since(known_at) } else { Duration::ZERO })
    }

    /// What is wrong, and what to do; `None` if nothing is.
    pub fn problem(&self) -> Option<String> {
        let never = || "it has not answered yet".to_owned();
        let trouble = self.trouble.as_ref().map(|trouble| trouble.problem.clone());
        let trouble = trouble.or_else(|| self.known_at.is_none().then(never));
        let over = self.over.total(self.max).map(|total| {
            let max = self.max;
            format!(
                "it lists {total} instances, and `max` is {max}: those above it are refused; raise `max`, or list less"
            )
        });
        let held = (!self.held.is_empty()).then(|| {
            let (listed, usable) = (self.listed.len(), self.usable.len());
            let of_them = if usable < listed { format!(", of which {usable} can be used,") } else { String::new() };
            // The size that `min_keep` is compared with: the greatest of the last minute.
            let peak = self.peaks.front().map_or(self.len(), |(_, size)| *size);
            format!(
                "it lists {listed} instances{of_them} instead of {peak}, less than `min_keep` = {}: the {} that \
                 disappeared stay; correct the source, or confirm with `portolan reload --confirm-removal`",
                self.min_keep,
                self.held.len()
            )
        });
        let left_out = self.left_out.shown().map(|why| {
            let (count, listed) = (self.left_out.total(), self.listed.len());
            format!("{count} of {listed} instances are left out: {why}")
        });
        let all: Vec<String> = [trouble, over, held, left_out, self.refused.shown()].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
