//! The next generation while it is not served yet. Compiling a large model takes seconds. So another thread does it,
//! and the publisher goes on with the generation that is served; [`ComingSnapshot::catch_up`] then decides again what
//! changed meanwhile. The result is that of a compilation at the moment of the last catching up, except that a
//! challenger that only the new generation has may be one since the compilation already. Pure.

use std::sync::Arc;

use crate::model::{Model, PolicyId, WorldView};
use crate::snapshot::classes::PolicyClasses;
use crate::snapshot::compile::{compile_next, decide_again};
use crate::snapshot::remap::{Map, PolicySet, Remap, policies};
use crate::snapshot::restore::ModelMemory;
use crate::snapshot::touched::touched;
use crate::snapshot::{Identity, Snapshot, recovery};

/// Policies of one model by a policy of the other.
type PolicyLinks = Map<PolicyId, Vec<PolicyId>>;

/// A snapshot of the next generation.
#[derive(Debug)]
pub struct ComingSnapshot {
    next: Snapshot,
    /// What was served at the last compilation or catching up.
    after: Arc<Snapshot>,
    remap: Remap,
    /// By policy of the served model: the policies of the new model that have one of its names.
    successors: PolicyLinks,
    /// The same the other way round.
    predecessors: PolicyLinks,
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
        let (mut successors, mut predecessors): (PolicyLinks, PolicyLinks) = Default::default();
        for (new, old) in policies(&served.model, &model) {
            successors.entry(old).or_default().push(new);
            predecessors.entry(new).or_default().push(old);
        }
        // Names that share a policy repeat a link.
        for links in successors.values_mut().chain(predecessors.values_mut()) {
            links.sort_unstable();
            links.dedup();
        }
        ComingSnapshot { next, after: served, remap, successors, predecessors }
    }

    /// Catches up with `served`, a later snapshot of the generation that it was compiled after, and with a newer `view`
    /// in the ids of its own model. Takes as long as the policies that changed need.
    pub fn catch_up(&mut self, served: &Arc<Snapshot>, mut view: WorldView) {
        debug_assert!(Arc::ptr_eq(&served.model, &self.after.model), "a snapshot of another generation");
        recovery::remap(served, &self.next.model, &mut view);
        let mut again = touched(&self.next, &view);
        for old in served.policies.changed_since(&self.after.policies) {
            again.extend(self.successors.get(&old).into_iter().flatten().copied());
        }
        self.next.view = Arc::new(view);
        self.after = served.clone();
        if again.is_empty() {
            return;
        }
        let old = again.iter().flat_map(|new| self.predecessors.get(new).into_iter().flatten()).copied();
        let sets = [PolicySet::Some(old.collect()), PolicySet::Some(again)];
        let model = self.next.model.clone();
        let restored = ModelMemory::of_some(served, &model, &self.remap, [&sets[0], &sets[1]]);
        decide_again(&mut self.next, &restored, &sets[1]);
    }

    /// The model of the new generation.
    pub fn model(&self) -> Arc<Model> {
        self.next.model.clone()
    }

    /// The snapshot, to be published after the one that it caught up with last.
    pub(super) fn into_snapshot(self) -> Snapshot {
        self.next
    }
}
