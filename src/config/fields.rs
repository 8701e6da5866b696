//! Reads a table key by key. A wrong type, a wrong range or an unknown key is a problem with its place and an example;
//! reading goes on without the key. Knows nothing of DNS.

use std::sync::Arc;

use crate::config::node::{Entry, Kind, Node};
use crate::source::{At, ManualSection, Place, Problem, Problems, did_you_mean};

/// Room for the keys of most tables. A file has as many tables as names.
const USUAL_KEYS: usize = 16;

/// A table as its keys are written.
#[derive(Debug)]
pub(super) struct Head {
    /// Its own name, where it is written.
    pub(super) name: At<String>,
    /// What it is, for messages: `[endpoint.fra1]`.
    pub(super) what: String,
    keys: Vec<At<String>>,
}

impl Head {
    /// Whether `key` is written, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.place_of(key).is_some()
    }

    /// Whether `key` is missing, and no other key looks like a misspelling of it, which is a problem of its own.
    pub(super) fn lacks(&self, key: &str) -> bool {
        let is_near = |hint: String| hint.starts_with("did");
        !self.has(key) && !self.keys.iter().any(|written| did_you_mean(&written.value, [key]).is_some_and(is_near))
    }

    /// Where `key` is written, if it is.
    pub(super) fn place_of(&self, key: &str) -> Option<&Place> {
        self.keys.iter().find(|written| written.value == key).map(|written| &written.place)
    }
}

/// A table that is being read. Readers take its entries.
#[derive(Debug)]
pub(super) struct Fields {
    /// The table as a whole.
    pub(super) head: Arc<Head>,
    left: Vec<Entry>,
    /// Whether required keys may be missing.
    pub(super) is_partial: bool,
    /// The keys that were looked up while entries were left.
    known: Vec<&'static str>,
}

impl Fields {
    /// Begins to read `entry`'s value, which must be a table.
    pub(super) fn of(entry: Entry, what: String, problems: &mut Problems) -> Option<Fields> {
        let Entry { key, value } = entry;
        match value.kind {
            Kind::Table(left) => {
                let keys = left.iter().map(|entry| entry.key.clone()).collect();
                Some(Fields {
                    head: Arc::new(Head { name: key, what, keys }),
                    left,
                    is_partial: false,
                    known: Vec::with_capacity(USUAL_KEYS),
                })
            }
            other => {
                let wrong = wrong_type(&value.place, &what, "a table", other.described(), problems);
                if what.starts_with('[') {
                    wrong.hint(format!("write `{what}` on a line of its own, and its keys below it"));
                }
                None
            }
        }
    }

    /// Begins to read a tree or an inline table.
    pub(super) fn of_node(node: Node, what: &str, problems: &mut Problems) -> Option<Fields> {
        let key = At { value: String::new(), place: node.place.clone() };
        Fields::of(Entry { key, value: node }, what.to_string(), problems)
    }

    /// The tables of `[key.NAME]`, as they are written: `[endpoint.a]`, `[endpoint.b]`. Empty, with a
    /// problem, when `node` is not a table.
    pub(super) fn named_tables(key: &str, node: Node, problems: &mut Problems) -> Vec<Entry> {
        match node.kind {
            Kind::Table(tables) => tables,
            other => {
                let wrong = wrong_type(&node.place, &format!("[{key}]"), "a table", other.described(), problems);
                wrong.hint(format!("write `[{key}.NAME]` on a line of its own, and its keys below it"));
                Vec::new()
            }
        }
    }

    /// The entry of `key`.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry> {
        if self.left.is_empty() {
            return None; // Nothing is left that could be a misspelling of this key.
        }
        self.known.push(key);
        let at = self.left.iter().position(|entry| entry.key.value == key)?;
        Some(self.left.remove(at))
    }

    /// Whether every entry was taken.
    pub(super) fn is_read(&self) -> bool {
        self.left.is_empty()
    }

    /// The entries that are left are problems: a key of `later` is not supported yet, any other is unknown.
    pub(super) fn finish(self, later: &[&str], problems: &mut Problems) {
        for entry in self.left {
            let key = &entry.key.value;
            if later.contains(&key.as_str()) {
                not_yet(&entry.key.place, key, problems);
                continue;
            }
            let message = match self.head.what.as_str() {
                "" => format!("unknown key `{key}`"),
                what => format!("unknown key `{key}` in {what}"),
            };
            let problem = problems.error(&entry.key.place, message);
            problem.hint = did_you_mean(key, self.known.iter().copied());
        }
    }
}

/// The problem of a key that is planned and not supported yet.
pub(super) fn not_yet(place: &Place, what: &str, problems: &mut Problems) {
    let problem = problems.error(place, format!("`{what}` is not supported yet")).see(ManualSection::NotYet);
    problem.hint("leave it out until it is");
}

/// The problem of a value of another type.
pub(super) fn wrong_type<'p>(
    place: &Place,
    what: &str,
    expected: &str,
    found: &str,
    problems: &'p mut Problems,
) -> &'p mut Problem {
    problems.error(place, format!("{what} must be {expected}, not {found}"))
}
