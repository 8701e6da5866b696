//! Counter ids: which (zone, name, endpoint) a number in an answer's outcome stands for. Ids keep their meaning from one
//! generation to the next, so that counters never jump; a label that comes back gets its old id.

use std::collections::HashMap;
use std::sync::Arc;

/// What one counter counts: how often an endpoint was in a reply for a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TallyLabels {
    /// The zone, with its final dot.
    pub zone: Arc<str>,
    /// The name as the policy file writes it.
    pub name: Arc<str>,
    /// The endpoint.
    pub endpoint: Arc<str>,
}

/// The labels of every counter id that was ever given out by this process.
#[derive(Debug, Clone, Default)]
pub struct TallyTable {
    labels: Vec<TallyLabels>,
    /// First id of a run by its labels: a name's endpoints have consecutive ids, in the order of its policy.
    runs: HashMap<Vec<TallyLabels>, u32>,
}

impl TallyTable {
    /// The first id of a run of counters with these labels, in this order; makes the run when it is new.
    pub fn run(&mut self, labels: Vec<TallyLabels>) -> u32 {
        if let Some(&first) = self.runs.get(&labels) {
            return first;
        }
        let first = self.labels.len() as u32;
        self.labels.extend(labels.iter().cloned());
        self.runs.insert(labels, first);
        first
    }

    /// What `id` counts. Several ids can have equal labels (a policy that changed and changed back): add them up.
    pub fn labels(&self, id: u32) -> Option<&TallyLabels> {
        self.labels.get(id as usize)
    }

    /// How many ids were given out; all are below.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether none was given out.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}
