//! What a policy file declares under names, and the references to it.

use std::collections::{HashMap, HashSet};

use crate::source::{At, Problems, did_you_mean};

/// Everything of one kind by name. Remembers which of it something refers to.
#[derive(Debug)]
pub(super) struct Declared<'a, T> {
    /// What it is, and the table that declares it: `monitor`, `group`, `fence`.
    kind: &'static str,
    by_name: HashMap<&'a str, T>,
    used: HashSet<&'a str>,
}

impl<'a, T> Declared<'a, T> {
    /// With the names as they are written.
    pub(super) fn new(kind: &'static str, entries: impl Iterator<Item = (&'a At<String>, T)>) -> Declared<'a, T> {
        let by_name = entries.map(|(name, entry)| (name.value.as_str(), entry)).collect();
        Declared { kind, by_name, used: HashSet::new() }
    }

    /// Looks up a reference, which counts as use. An unknown name is a problem.
    pub(super) fn find(&mut self, written: &At<String>, problems: &mut Problems) -> Option<&T> {
        let found = self.by_name.get_key_value(written.value.as_str());
        match &found {
            Some((name, _)) => _ = self.used.insert(name),
            None => {
                let At { value: name, place } = written;
                let mut known: Vec<&str> = self.by_name.keys().copied().collect();
                known.sort_unstable();
                let problem = problems.error(place, format!("there is no {} `{name}`", self.kind));
                let declare = format!("declare it: [{}.{name}]", self.kind);
                problem.hint = did_you_mean(name, known).or(Some(declare));
            }
        }
        found.map(|(_, entry)| entry)
    }

    /// Looks up a name. That does not count as use.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.by_name.get(name)
    }

    /// Whether something refers to it.
    pub(super) fn is_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }
}
