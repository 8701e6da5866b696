//! What a policy file declares under names, and the references to it.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use crate::source::{At, Problems};

/// The names of a map in their order, for the hints of unknown names. They are sorted when they are first needed: once
/// for a file, however many unknown names it has.
#[derive(Debug, Default)]
pub(super) struct Sorted(OnceCell<Vec<Box<str>>>);

impl Sorted {
    /// The keys of `by_name`, which must be the same map each time and may not have changed.
    pub(super) fn of<T, S>(&self, by_name: &HashMap<&str, T, S>) -> impl Iterator<Item = &str> {
        let sorted = self.0.get_or_init(|| {
            let mut names: Vec<Box<str>> = by_name.keys().map(|name| Box::from(*name)).collect();
            names.sort_unstable();
            names
        });
        sorted.iter().map(|name| &**name)
    }
}

/// Everything of one kind by name. Remembers which of it something refers to.
#[derive(Debug)]
pub(super) struct Declared<'a, T> {
    /// What it is, and the table that declares it: `monitor`, `group`, `fence`.
    kind: &'static str,
    by_name: HashMap<&'a str, T>,
    sorted: Sorted,
    used: HashSet<&'a str>,
}

impl<'a, T> Declared<'a, T> {
    /// With the names as they are written.
    pub(super) fn new(kind: &'static str, entries: impl Iterator<Item = (&'a At<String>, T)>) -> Declared<'a, T> {
        let by_name = entries.map(|(name, entry)| (name.value.as_str(), entry)).collect();
        Declared { kind, by_name, sorted: Sorted::default(), used: HashSet::new() }
    }

    /// Looks up a reference, which counts as use. An unknown name is a problem.
    pub(super) fn find(&mut self, written: &At<String>, problems: &mut Problems) -> Option<&T> {
        let found = self.by_name.get_key_value(written.value.as_str());
        match &found {
            Some((name, _)) => _ = self.used.insert(name),
            None => {
                let At { value: name, place } = written;
                let problem = problems.error(place, format!("there is no {} `{name}`", self.kind));
                let declare = || format!("declare it: [{}.{name}]", self.kind);
                problem.suggest(name, self.sorted.of(&self.by_name)).or_hint(declare);
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
