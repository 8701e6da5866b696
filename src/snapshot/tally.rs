//! Counter ids: which (zone, name, endpoint), or which zone, a number in an answer's outcome stands for. Ids keep their meaning from one
//! generation to the next, so that counters never jump; a label that comes back gets its old id.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

/// What one counter counts: how often an endpoint was in a reply for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TallyLabels<'t> {
    /// The zone, with its final dot.
    pub zone: &'t str,
    /// The name as the policy file writes it.
    pub name: &'t str,
    /// The endpoint.
    pub endpoint: &'t str,
}

/// The labels of counters with consecutive ids: a name's endpoints, in the order of its policy.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TallyRun {
    /// The zone, with its final dot.
    pub zone: Arc<str>,
    /// The name as the policy file writes it.
    pub name: Arc<str>,
    /// The endpoints.
    pub endpoints: Vec<Arc<str>>,
}

impl TallyRun {
    /// The one counter of a zone's replies.
    pub fn of_zone(zone: Arc<str>) -> TallyRun {
        TallyRun { zone, name: "".into(), endpoints: vec!["".into()] }
    }
}

/// The labels of every counter id that was ever given out by this process.
#[derive(Debug, Clone, Default)]
pub struct TallyTable {
    /// With the first id of each, rising.
    runs: Vec<(u32, Arc<TallyRun>)>,
    /// First id of a run. The keys come from files and not from the network, so a fixed seed is enough.
    firsts: HashMap<Arc<TallyRun>, u32, FixedState>,
    len: u32,
}

impl TallyTable {
    /// The first id of a run of counters with these labels, in this order; makes the run when it is new.
    pub fn run(&mut self, run: TallyRun) -> u32 {
        if let Some(&first) = self.firsts.get(&run) {
            return first;
        }
        let (first, run) = (self.len, Arc::new(run));
        self.len += run.endpoints.len() as u32;
        self.runs.push((first, run.clone()));
        self.firsts.insert(run, first);
        first
    }

    /// What `id` counts. Several ids can have equal labels (a policy that changed and changed back): add them up.
    pub fn labels(&self, id: u32) -> Option<TallyLabels<'_>> {
        // Of runs without endpoints, which begin where the next one does, the last is the one that has any.
        let at = self.runs.partition_point(|(first, _)| *first <= id).checked_sub(1)?;
        let (first, run) = &self.runs[at];
        let endpoint = run.endpoints.get((id - first) as usize)?;
        Some(TallyLabels { zone: &run.zone, name: &run.name, endpoint })
    }

    /// How many ids were given out; all are below.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none was given out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
