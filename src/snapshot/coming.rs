//! The next generation while it is not served yet. Compiling a large model takes seconds. So another thread does it,
//! and the publisher goes on with the generation that is served; [`ComingSnapshot::catch_up`] then decides again what
//! changed meanwhile. The result is that of a compilation at the moment of the last catching up, except that a
//! challenger that only the new generation has may be one since the compilation already. Pure.

use std::sync::Arc;

use crate::model::{Model, PolicyId, WorldView};
use crate::snapshot::classes::PolicyClasses;
use crate::snapshot::compile::{compile_next, decide_again, follow_epochs};
use crate::snapshot::remap::{PolicySet, Remap, policies};
use crate::snapshot::restore::ModelMemory;
use crate::snapshot::touched::{Touched, touched};
use crate::snapshot::{Identity, Snapshot, recovery};

/// A snapshot of the next generation.
#[derive(Debug)]
pub struct ComingSnapshot {
    next: Snapshot,
    /// What was served at the last compilation or catching up.
    after: Arc<Snapshot>,
    remap: Remap,
    /// From a policy of the served model to the policies of the new model that have one of its names.
    successors: PolicyLinks,
    /// The same the other way round.
    predecessors: PolicyLinks,
}

/// From policies of one model to those of another, sorted.
#[derive(Debug)]
struct PolicyLinks(Vec<(PolicyId, PolicyId)>);

impl PolicyLinks {
    fn new(mut links: Vec<(PolicyId, PolicyId)>) -> PolicyLinks {
        links.sort_unstable();
        // Names that share a policy repeat a link.
        links.dedup();
        PolicyLinks(links)
    }

    fn from(&self, policy: PolicyId) -> impl Iterator<Item = PolicyId> {
        let first = self.0.partition_point(|(from, _)| *from < policy);
        self.0[first..].iter().take_while(move |(from, _)| *from == policy).map(|(_, to)| *to)
    }
}

impl ComingSnapshot {
    /// Compiles `model` as the generation after `served`. `view` is in the ids of `model`.
    pub fn compile(
        served: Arc<Snapshot>,
        model: Arc<Model>,
        mut view: WorldView,
        identity: Arc<Identity>,
    ) -> ComingSnapshot {
        recovery::remap(&served, &model, &mut view);
        let classes = PolicyClasses::of(&model);
        let remap = Remap::between(&served, &model, &classes);
        let next = compile_next(&served, &remap, classes, &model, Arc::new(view), identity, served.generation + 1);
        let links: Vec<_> = policies(&served.model, &model).collect();
        let successors = PolicyLinks::new(links.iter().map(|(new, old)| (*old, *new)).collect());
        ComingSnapshot { next, after: served, remap, successors, predecessors: PolicyLinks::new(links) }
    }

    /// Catches up with `served`, a later snapshot of the generation that it was compiled after, and with a newer `view`
    /// in the ids of its own model. Takes as long as the policies that changed need.
    pub fn catch_up(&mut self, served: &Arc<Snapshot>, mut view: WorldView) {
        debug_assert!(Arc::ptr_eq(&served.model, &self.after.model), "a snapshot of another generation");
        recovery::remap(served, &self.next.model, &mut view);
        let Touched { by_rtt, otherwise: mut again } = touched(&self.next, &view);
        again.extend(by_rtt.iter());
        for old in served.policies.changed_since(&self.after.policies) {
            again.extend(self.successors.from(old));
        }
        let before = std::mem::replace(&mut self.next.view, Arc::new(view));
        follow_epochs(&mut self.next, &before);
        self.after = served.clone();
        if again.is_empty() {
            return;
        }
        let old = again.iter().flat_map(|new| self.predecessors.from(*new));
        let sets = [PolicySet::Some(old.collect()), PolicySet::Some(again)];
        let model = self.next.model.clone();
        let restored = ModelMemory::of_some(served, &model, &self.remap, [&sets[0], &sets[1]]);
        decide_again(&mut self.next, &restored, &sets[1]);
    }

    /// The model of the new generation.
    pub fn model(&self) -> Arc<Model> {
        self.next.model.clone()
    }

    /// The snapshot, to be published after the one that it caught up with last; and the rest, which takes long to free.
    pub(super) fn into_snapshot(self) -> (Snapshot, impl Send + use<>) {
        let ComingSnapshot { next, after, remap, successors, predecessors } = self;
        (next, (after, remap, successors, predecessors))
    }
}
