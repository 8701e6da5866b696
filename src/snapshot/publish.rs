//! The single writer: replaces the snapshot in the one pointer that every reader reads. Never waits for a reader.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{Model, PolicyId, WorldView};
use crate::snapshot::compile::{fail_back, refresh_in_turns, restore};
use crate::snapshot::{ComingSnapshot, Identity, Snapshot, SteeringState, Transition, recovery, transition};

/// Publishes snapshots. There is one in a process, and nothing else writes its pointer.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    /// Snapshots that some reader may still hold. The last to let go of one frees it, which takes long for a large
    /// zone: that must not be a thread with queries waiting.
    retired: Vec<Arc<Snapshot>>,
    discard: Discard,
}

/// Gets what nobody holds any more, to free it. The default frees it at once.
struct Discard(Box<dyn Fn(Box<dyn Send>) + Send>);

impl std::fmt::Debug for Discard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Discard")
    }
}

impl Publisher {
    /// Begins with a first snapshot.
    pub fn new(first: Snapshot) -> Publisher {
        let current = Arc::new(ArcSwap::from_pointee(first));
        Publisher { current, retired: Vec::new(), discard: Discard(Box::new(drop)) }
    }

    /// From now on `discard` frees what nobody holds any more. It can pass it to another thread.
    pub fn discard_with(&mut self, discard: impl Fn(Box<dyn Send>) + Send + 'static) {
        self.discard = Discard(Box::new(discard));
    }

    /// The pointer that readers read.
    pub fn snapshots(&self) -> Arc<ArcSwap<Snapshot>> {
        self.current.clone()
    }

    /// Publishes the first measured view, and restores what was `retained` from before the start. Nothing else is taken
    /// from the first snapshot: its decisions are not last good answers, because nothing was measured then.
    pub fn begin(&mut self, mut view: WorldView, retained: &SteeringState) {
        let old = self.current.load_full();
        recovery::restore(&old.model, &mut view, &retained.recoveries);
        let (model, identity) = (old.model.clone(), old.identity.clone());
        let first = restore(model, Arc::new(view), identity, old.generation, retained);
        self.current.store(Arc::new(first));
    }

    /// Publishes a new view of the same model; returns whose health changed. `at` in Unix seconds. Policies for which
    /// only round-trip times changed are decided again at their turn, within a second or two.
    pub fn observe(&mut self, view: WorldView, at: f64) -> Vec<Transition> {
        let new = self.preview(view);
        self.publish_preview(new, at)
    }

    /// What [`Publisher::observe`] would publish; nothing is published.
    pub fn preview(&self, mut view: WorldView) -> Snapshot {
        let old = self.current.load_full();
        recovery::follow(&old, &mut view);
        refresh_in_turns(&old, Arc::new(view))
    }

    /// What a failback of a policy would publish; nothing is published.
    pub fn preview_failback(&self, view: WorldView, policy: PolicyId) -> Snapshot {
        fail_back(&self.preview(view), policy)
    }

    /// Publishes the result of [`Publisher::preview`] or [`Publisher::preview_failback`]. Nothing may have been
    /// published since.
    pub fn publish_preview(&mut self, new: Snapshot, at: f64) -> Vec<Transition> {
        let old = self.current.load_full();
        self.publish(old, new, at)
    }

    /// Compiles and publishes the next generation: another model, the view in that model's ids, and the new settings of
    /// the node. With a large model this takes seconds; a server calls [`Publisher::publish_coming`].
    pub fn adopt(&mut self, model: Arc<Model>, view: WorldView, identity: Arc<Identity>, at: f64) -> Vec<Transition> {
        let old = self.current.load_full();
        let coming = ComingSnapshot::compile(old.clone(), model, view, identity);
        self.publish_compiled(old, coming, at)
    }

    /// Publishes the next generation, which was compiled after a snapshot of the present one. `view` is the newest view
    /// in the ids of its model.
    pub fn publish_coming(&mut self, mut coming: ComingSnapshot, view: WorldView, at: f64) -> Vec<Transition> {
        let old = self.current.load_full();
        coming.catch_up(&old, view);
        self.publish_compiled(old, coming, at)
    }

    fn publish_compiled(&mut self, old: Arc<Snapshot>, coming: ComingSnapshot, at: f64) -> Vec<Transition> {
        let (next, rest) = coming.into_snapshot();
        let transitions = self.publish(old, next, at);
        (self.discard.0)(Box::new(rest));
        transitions
    }

    fn publish(&mut self, old: Arc<Snapshot>, new: Snapshot, at: f64) -> Vec<Transition> {
        // Served first: reports of it and freeing of memory can wait.
        let new = Arc::new(new);
        self.current.store(new.clone());
        let transitions = transition::between(&old, &new, at);
        self.retired.push(old);
        let free: Vec<_> = self.retired.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1).collect();
        if !free.is_empty() {
            (self.discard.0)(Box::new(free));
        }
        transitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::compile::compile;

    #[test]
    fn a_reader_that_lets_go_last_leaves_the_freeing_to_the_publisher() {
        let model = Arc::new(Model::default());
        let first = compile(model, Arc::new(WorldView::default()), Arc::new(Identity::default()), 1, None);
        let mut publisher = Publisher::new(first);
        let held = publisher.snapshots().load_full();
        let first = Arc::downgrade(&held);
        publisher.observe(WorldView::default(), 0.0);
        drop(held);
        assert!(first.upgrade().is_some(), "freed in the reader's thread");
        publisher.observe(WorldView::default(), 1.0);
        assert!(first.upgrade().is_none(), "never freed");
        assert!(publisher.retired.len() <= 1);
    }
}
