//! Counter ids: the (zone, name, endpoint), or the zone, that an id in an answer's outcome means. Ids have the same
//! meaning in all generations, so that counters never jump; labels that come back get their old ids.

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

/// The labels of every counter id that this process has assigned.
#[derive(Debug, Clone, Default)]
pub struct TallyTable {
    /// Each run with its first id, in rising order.
    runs: Vec<(u32, Arc<TallyRun>)>,
    /// First id of a run. The keys come from files and not from the network, so a fixed seed is enough.
    firsts: HashMap<Arc<TallyRun>, u32, FixedState>,
    len: u32,
}

impl TallyTable {
    /// The first id of a run of counters with these labels, in this order; adds the run when it is new.
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

    /// The first id of a run that was added.
    pub fn find(&self, run: &TallyRun) -> Option<u32> {
        self.firsts.get(run).copied()
    }

    /// What `id` counts. Several ids can have equal labels (a policy that changed and changed back): add their counts.
    pub fn labels(&self, id: u32) -> Option<TallyLabels<'_>> {
        // A run without endpoints has the same first id as the next run: the last run with this id has the endpoints.
        let at = self.runs.partition_point(|(first, _)| *first <= id).checked_sub(1)?;
        let (first, run) = &self.runs[at];
        let endpoint = run.endpoints.get((id - first) as usize)?;
        Some(TallyLabels { zone: &run.zone, name: &run.name, endpoint })
    }

    /// Every run, with its first id.
    pub fn runs(&self) -> impl Iterator<Item = (u32, &TallyRun)> {
        self.runs.iter().map(|(first, run)| (*first, &**run))
    }

    /// How often each endpoint was in a reply since the start, by zone and endpoint, over all names. `picks` are the
    /// counts by id; ids after its end have 0.
    pub fn by_endpoint(&self, picks: &[u64]) -> HashMap<(&str, &str), u64> {
        let mut counts: HashMap<(&str, &str), u64> = HashMap::new();
        for (first, run) in self.runs() {
            for (at, endpoint) in run.endpoints.iter().enumerate() {
                let count = picks.get(first as usize + at).copied().unwrap_or(0);
                *counts.entry((&run.zone, endpoint)).or_default() += count;
            }
        }
        counts
    }

    /// How many ids are assigned; all are below this number.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none is assigned.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
