//! Candidates that want the same thing: two files with one zone, two policies with one master file. Whoever had it in
//! the last good version keeps it, so that a slip in one file does not stop the other; without a history nobody has it.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;

use crate::config::problem::Problems;
use crate::config::zones::candidate::{Candidate, Directory};
use crate::config::zones::version::Before;

/// What a candidate may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// It collides with nothing, or had it before.
    Own,
    /// It counts as bad: its zone goes on with its last good version.
    Bad,
    /// Its zone belongs to another file.
    Ignored,
}

/// Judges each candidate, and reports every collision.
pub(super) fn rights(
    candidates: &[Candidate],
    dir: Directory<'_>,
    before: &Before,
    problems: &mut Problems,
) -> Vec<Right> {
    let mut rights = vec![Right::Own; candidates.len()];
    for same in groups(candidates, |candidate| candidate.apex.as_ref()) {
        let version = candidates[same[0]].apex.as_ref().and_then(|apex| before.version(apex));
        let had = |at: usize| version.is_some_and(|version| version.main == candidates[at].main);
        settle(&same, had, Right::Ignored, &mut rights);
        for &at in &same[1..] {
            zone_twice(&candidates[same[0]], &candidates[at], problems);
        }
    }
    for same in groups(candidates, |candidate| candidate.master.as_ref().map(|(file, _)| file)) {
        let had = |at: usize| had_master(&candidates[at], dir, before);
        settle(&same, had, Right::Bad, &mut rights);
        for pair in same.windows(2) {
            master_twice(&candidates[pair[0]], &candidates[pair[1]], dir, problems);
        }
    }
    rights
}

/// Those that have the same key, where they are more than one; in the order of their files.
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

/// `had` says who had it before; the others get `otherwise`, and where nobody had it all are bad.
fn settle(same: &[usize], had: impl Fn(usize) -> bool, otherwise: Right, rights: &mut [Right]) {
    let owner = same.iter().copied().find(|at| had(*at));
    for &at in same.iter().filter(|at| Some(**at) != owner) {
        let right = if owner.is_some() { otherwise } else { Right::Bad };
        rights[at] = rights[at].max(right);
    }
}

/// Whether the last good version of this very policy had this master file.
fn had_master(candidate: &Candidate, dir: Directory<'_>, before: &Before) -> bool {
    let version = candidate.apex.as_ref().and_then(|apex| before.version(apex));
    let Some((master, _)) = &candidate.master else { return false };
    version.is_some_and(|version| {
        let is_it = |path: &Path| dir.real.join(path).canonicalize().is_ok_and(|path| path == *master);
        version.main == candidate.main && version.texts.keys().any(|path| is_it(path))
    })
}

fn zone_twice(first: &Candidate, second: &Candidate, problems: &mut Problems) {
    let Some(apex) = &second.apex else { return };
    let message = format!("the zone {apex} is declared twice, also in {}", first.place.file.display());
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
