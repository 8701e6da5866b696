//! Collisions: two files that declare one zone, or two policies with one master file. The candidate that had the zone
//! or the master file in its last good version is accepted, so that an error in one file does not affect the other.
//! Without an earlier version none is accepted.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;

use crate::config::zones::candidate::{Candidate, Directory};
use crate::config::zones::version::ZoneHistory;
use crate::source::{Problems, files};

/// Whether a candidate is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CollisionResult {
    /// It collides with nothing, or had the zone and the master file before.
    Accepted,
    /// Its files count as bad: the last good version of its zone is served.
    Bad,
    /// Its zone belongs to another file.
    Ignored,
}

/// Decides for each candidate whether it is accepted, and reports every collision.
pub(super) fn resolve(
    candidates: &[Candidate],
    dir: Directory<'_>,
    before: &ZoneHistory,
    problems: &mut Problems,
) -> Vec<CollisionResult> {
    let mut results = vec![CollisionResult::Accepted; candidates.len()];
    for same in groups(candidates, |candidate| candidate.apex.as_ref()) {
        let version = candidates[same[0]].apex.as_ref().and_then(|apex| before.version(apex));
        let had = |at: usize| version.is_some_and(|version| version.main == candidates[at].main);
        settle(&same, had, CollisionResult::Ignored, &mut results);
        for &at in &same[1..] {
            zone_twice(&candidates[same[0]], &candidates[at], problems);
        }
    }
    for same in groups(candidates, |candidate| candidate.master.as_ref().map(|(file, _)| file)) {
        let had = |at: usize| had_master(&candidates[at], dir, before);
        settle(&same, had, CollisionResult::Bad, &mut results);
        for pair in same.windows(2) {
            master_twice(&candidates[pair[0]], &candidates[pair[1]], dir, problems);
        }
    }
    results
}

/// The groups of two or more candidates that have the same key, in the order of their files.
fn groups<'a, K: Hash + Eq>(candidates: &'a [Candidate], key: impl Fn(&'a Candidate) -> Option<K>) -> Vec<Vec<usize>> {
    let mut by_key: HashMap<K, Vec<usize>> = HashMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        if let Some(key) = key(candidate) {
            by_key.entry(key).or_default().push(at);
        }
    }
    let mut groups: Vec<Vec<usize>> = by_key.into_values().filter(|same| same.len() > 1).collect();
    groups.sort();
    groups
}

/// Sets the results of a group that collides. The candidate for which `had` is true stays; the others get `otherwise`.
/// If `had` is true for none, all are bad.
fn settle(same: &[usize], had: impl Fn(usize) -> bool, otherwise: CollisionResult, results: &mut [CollisionResult]) {
    let owner = same.iter().copied().find(|at| had(*at));
    for &at in same.iter().filter(|at| Some(**at) != owner) {
        let result = if owner.is_some() { otherwise } else { CollisionResult::Bad };
        results[at] = results[at].max(result);
    }
}

/// Whether the last good version of this policy file had this master file.
fn had_master(candidate: &Candidate, dir: Directory<'_>, before: &ZoneHistory) -> bool {
    let version = candidate.apex.as_ref().and_then(|apex| before.version(apex));
    let Some((master, _)) = &candidate.master else { return false };
    version.is_some_and(|version| {
        let is_it = |path: &Path| files::canonical(&dir.real.join(path)).is_ok_and(|path| path == *master);
        version.main == candidate.main && version.texts.keys().any(|path| is_it(path))
    })
}

fn zone_twice(first: &Candidate, second: &Candidate, problems: &mut Problems) {
    let Some(apex) = &second.apex else { return };
    let message = format!("the zone {apex} is declared twice, also in {}", first.place.file.shown.display());
    let problem = problems.error(&second.place, message).label(&first.place, "declared here too");
    problem.hint("remove one of the files, or move it out of the zones directory");
}

fn master_twice(first: &Candidate, second: &Candidate, dir: Directory<'_>, problems: &mut Problems) {
    let (Some((_, first)), Some((_, place)), Some(name)) = (&first.master, &second.master, &second.master_name) else {
        return;
    };
    let message = format!("{} is the master file of two policies", dir.shown.join(name).display());
    let problem = problems.error(place, message).label(first, "the other policy");
    problem.hint("each zone has a file of its own: write `file = \"NAME.zone\"`");
}
