//! One source, with everything that is decided of it: the instances that it lists, what stays although it no longer
//! lists it, and what it states of both. Pure: the daemon passes on what drivers send, tests what they want.

use std::collections::HashMap;
use std::sync::Arc;

use crate::discovery::endpoints::{InstanceRules, StatedEndpoints, endpoints_of};
use crate::discovery::{Applied, Leaving, Served, SourceSet, SourceState, SourceStating, Update};
use crate::model::{DiscoveredPool, Model, Moment, WorldView};

/// See the module.
#[derive(Debug, Clone)]
pub struct TrackedSource {
    /// Its table.
    pub spec: Arc<DiscoveredPool>,
    /// What it lists.
    pub set: SourceSet,
    /// What is not listed any more, and stays until another instance is up.
    pub leaving: Leaving,
    /// What it states.
    pub stating: Arc<SourceStating>,
    /// Whether the set has changed since `stating` was made of it.
    is_changed: bool,
    /// Whether an operator has confirmed that change.
    is_confirmed: bool,
}

/// What changed in what a source states: the names of endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restated {
    /// They are listed now.
    pub came: Vec<String>,
    /// They are not listed any more.
    pub went: Vec<String>,
    /// They are stated to be down now.
    pub fell: Vec<String>,
    /// They are not stated to be down any more.
    pub rose: Vec<String>,
}

impl TrackedSource {
    /// A source that was never read, or the set of before a restart. `since`: when that was known, in Unix seconds.
    pub fn new(spec: Arc<DiscoveredPool>, set: SourceSet, since: Option<f64>) -> TrackedSource {
        let stated = endpoints_of(&spec, set.instances());
        let since = stated.endpoints.iter().filter_map(|of| Some((of.name.clone(), since?))).collect();
        let stating = Arc::new(SourceStating { stated, since, leaving: Vec::new() });
        TrackedSource { spec, set, leaving: Leaving::default(), stating, is_changed: false, is_confirmed: false }
    }

    /// Another table, with the rules for its instances.
    pub fn change(&mut self, rules: InstanceRules, now: Moment) {
        self.spec = rules.spec.clone();
        self.set.change_rules(rules, now);
        (self.is_changed, self.is_confirmed) = (true, false);
    }

    /// Takes in an update.
    pub fn apply(&mut self, update: Update, now: Moment) -> Applied {
        let applied = self.set.apply(update, now);
        self.is_changed |= applied.is_change;
        applied
    }

    /// An operator confirms what disappeared.
    pub fn confirm(&mut self, now: Moment) {
        self.is_changed |= self.set.confirm(now) | !self.leaving.is_empty();
        self.leaving.clear();
        self.is_confirmed = true;
    }

    /// Makes what the source states of its set. `model` and `view` are what is served, `now` and `unix_now` the same
    /// time. `None`: it states the same as before.
    pub fn restate(&mut self, (model, view): (&Model, &WorldView), now: Moment, unix_now: f64) -> Option<Restated> {
        let is_changed = std::mem::take(&mut self.is_changed);
        let is_confirmed = std::mem::take(&mut self.is_confirmed);
        if !is_changed && self.leaving.is_empty() {
            return None;
        }
        let stated =
            if is_changed { endpoints_of(&self.spec, self.set.instances()) } else { self.stating.stated.clone() };
        let is_other = stated != self.stating.stated;
        let known = Served { model, view, spec: &self.spec };
        if is_other && !is_confirmed && !self.set.is_empty() {
            self.leaving.replace([&self.stating.stated, &stated], &known, now);
        }
        self.leaving.settle(&stated, &known, now);
        if self.set.is_empty() {
            self.leaving.clear();
        }
        let leaving = self.leaving.endpoints();
        if !is_other && leaving == self.stating.leaving {
            return None;
        }
        let before = &self.stating;
        let since = |name: &String| (name.clone(), before.since.get(name).copied().unwrap_or(unix_now));
        let since: HashMap<String, f64> = stated.endpoints.iter().map(|of| since(&of.name)).collect();
        let was_listed = |name: &&String| before.since.contains_key(*name);
        let down = |of: &StatedEndpoints, name: &String| of.down.contains_key(name);
        let stays = || since.keys().filter(was_listed);
        let restated = Restated {
            came: since.keys().filter(|name| !was_listed(name)).cloned().collect(),
            went: before.since.keys().filter(|name| !since.contains_key(*name)).cloned().collect(),
            fell: stays().filter(|name| down(&stated, name) && !down(&before.stated, name)).cloned().collect(),
            rose: stays().filter(|name| !down(&stated, name) && down(&before.stated, name)).cloned().collect(),
        };
        self.stating = Arc::new(SourceStating { stated, since, leaving });
        Some(restated)
    }

    /// Its state at `now`.
    pub fn state(&self, now: Moment) -> SourceState {
        match self.set.state() {
            SourceState::Ok if self.leaving.overdue(now) > 0 => SourceState::Held,
            state => state,
        }
    }

    /// What is wrong with its instances, and what to do: problems of its own, then what stays.
    pub fn problems(&self, now: Moment) -> Vec<String> {
        let left = match self.leaving.overdue(now) {
            0 => None,
            left => Some(format!(
                "{left} instances that it no longer lists stay: less than `min_keep` of what it listed is left, and \
                 nothing new is up; correct the source, or confirm with `portolan reload --confirm-removal`"
            )),
        };
        [self.set.problem(), left].into_iter().flatten().collect()
    }

    /// The endpoints that stay although it does not list them.
    pub fn withdrawn(&self) -> Vec<String> {
        let held = endpoints_of(&self.spec, self.set.held()).endpoints;
        held.iter().chain(&self.stating.leaving).map(|of| of.name.clone()).collect()
    }
}
