//! The single writer: holds the one pointer that every reader reads, and moves it on. Never waits for a reader.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::{Model, WorldView};
use crate::snapshot::compile::{compile, refresh};
use crate::snapshot::{Snapshot, Transition, transition};

/// Publishes snapshots. There is one in a process, and nobody else stores into its pointer.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
}

impl Publisher {
    /// Begins with a first snapshot.
    pub fn new(first: Snapshot) -> Publisher {
        Publisher { current: Arc::new(ArcSwap::from_pointee(first)) }
    }

    /// The pointer that readers read.
    pub fn snapshots(&self) -> Arc<ArcSwap<Snapshot>> {
        self.current.clone()
    }

    /// Publishes a changed world of the same model; says whose health changed. `at` in Unix seconds.
    pub fn observe(&mut self, view: WorldView, at: f64) -> Vec<Transition> {
        let old = self.current.load_full();
        self.publish(&old, refresh(&old, Arc::new(view)), at)
    }

    /// Publishes the next generation: another model, and the world as it is believed in that model's ids.
    pub fn adopt(&mut self, model: Arc<Model>, view: WorldView, at: f64) -> Vec<Transition> {
        let old = self.current.load_full();
        let next = compile(model, Arc::new(view), old.identity.clone(), old.generation + 1, Some(&old));
        self.publish(&old, next, at)
    }

    fn publish(&mut self, old: &Snapshot, new: Snapshot, at: f64) -> Vec<Transition> {
        let transitions = transition::between(old, &new, at);
        self.current.store(Arc::new(new));
        transitions
    }
}
