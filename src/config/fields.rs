//! Reads a table key by key. A wrong type, a wrong range or an unknown key is a problem with its place and an example;
//! reading goes on without the key. Knows nothing of DNS.

use std::sync::Arc;

use crate::config::node::{Entry, Kind, Node};
use crate::source::{At, ManualSection, Place, Problem, Problems, did_you_mean, similar};

/// Room for the keys of most tables. A file has as many tables as names.
const USUAL_KEYS: usize = 16;

/// A table as its keys are written. It is small, because a file has as many as names: what it is called in messages is
/// made when there is one.
#[derive(Debug)]
pub(super) struct Head {
    /// Its own name, where it is written.
    pub(super) name: At<String>,
    form: TableForm,
    keys: Vec<At<String>>,
}

/// How a table is called in messages.
#[derive(Debug, Clone)]
pub(super) enum TableForm {
    /// `[endpoint.fra1]`, where this is `endpoint`.
    Named(Arc<str>),
    /// `[ecs]`.
    Block,
    /// `band`, a table in one line.
    Inline,
    /// In these words. None: the file as a whole.
    Words(&'static str),
}

impl TableForm {
    fn of(&self, name: &str) -> String {
        match self {
            TableForm::Named(table) => format!("[{table}.{name}]"),
            TableForm::Block => format!("[{name}]"),
            TableForm::Inline => format!("`{name}`"),
            TableForm::Words(words) => (*words).to_owned(),
        }
    }

    fn has_lines_of_its_own(&self) -> bool {
        match self {
            TableForm::Named(_) | TableForm::Block => true,
            TableForm::Inline | TableForm::Words(_) => false,
        }
    }
}

impl Head {
    /// What it is, for messages: `[endpoint.fra1]`.
    pub(super) fn what(&self) -> String {
        self.form.of(&self.name.value)
    }

    /// Whether it is written with its name in brackets, and its keys below.
    pub(super) fn has_lines_of_its_own(&self) -> bool {
        self.form.has_lines_of_its_own()
    }

    /// Whether `key` is written, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.place_of(key).is_some()
    }

    /// Whether `key` is missing, and no other key looks like a misspelling of it, which is a problem of its own.
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.lacks_apart_from(key, key)
    }

    /// As [`Head::lacks`]; `other` is a key of its own, although it looks like `key`.
    pub(super) fn lacks_apart_from(&self, key: &str, other: &str) -> bool {
        let is_like = |written: &At<String>| written.value != other && similar(&written.value, [key]).is_some();
        !self.has(key) && !self.keys.iter().any(is_like)
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
    /// The values that no reader has taken yet, in the order of the keys.
    values: Vec<Option<Node>>,
    /// How many these are.
    left: usize,
    /// Whether required keys may be missing.
    pub(super) is_partial: bool,
    /// The keys that were looked up while entries were left.
    known: Vec<&'static str>,
}

impl Fields {
    /// Begins to read `entry`'s value, which must be a table.
    pub(super) fn of(entry: Entry, form: TableForm, problems: &mut Problems) -> Option<Fields> {
        let Entry { key, value } = entry;
        match value.kind {
            Kind::Table(entries) => {
                let left = entries.len();
                let (keys, values) = entries.into_iter().map(|entry| (entry.key, Some(entry.value))).unzip();
                let head = Arc::new(Head { name: key, form, keys });
                Some(Fields { head, values, left, is_partial: false, known: Vec::with_capacity(USUAL_KEYS) })
            }
            other => {
                let what = form.of(&key.value);
                let wrong = wrong_type(&value.place, &what, "a table", other.described(), problems);
                if form.has_lines_of_its_own() {
                    wrong.hint(format!("write `{what}` on a line of its own, and its keys below it"));
                }
                None
            }
        }
    }

    /// Begins to read a tree or an inline table.
    pub(super) fn of_node(node: Node, what: &'static str, problems: &mut Problems) -> Option<Fields> {
        let key = At { value: String::new(), place: node.place.clone() };
        Fields::of(Entry { key, value: node }, TableForm::Words(what), problems)
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

    /// `key` as it is written, and its value.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(&At<String>, Node)> {
        if self.left == 0 {
            return None; // Nothing is left that could be a misspelling of this key.
        }
        self.known.push(key);
        let at = self.head.keys.iter().position(|written| written.value == key)?;
        let value = self.values[at].take()?;
        self.left -= 1;
        Some((&self.head.keys[at], value))
    }

    /// Whether every entry was taken.
    pub(super) fn is_read(&self) -> bool {
        self.left == 0
    }

    /// The entries that are left are problems: a key of `later` is not supported yet, any other is unknown.
    pub(super) fn finish(self, later: &[&str], problems: &mut Problems) {
        let left = self.head.keys.iter().zip(&self.values).filter(|(_, value)| value.is_some());
        for (At { value: key, place }, _) in left {
            if later.contains(&key.as_str()) {
                not_yet(place, key, problems);
                continue;
            }
            let message = match self.head.what().as_str() {
                "" => format!("unknown key `{key}`"),
                what => format!("unknown key `{key}` in {what}"),
            };
            let problem = problems.error(place, message);
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

/// The problem of a value of `key` that is of another type, with an example. Gives `None`, for readers.
pub(super) fn mismatch<T>(
    key: &str,
    expected: &str,
    example: &str,
    (place, found): (&Place, &Kind),
    problems: &mut Problems,
) -> Option<T> {
    let wrong = wrong_type(place, &format!("`{key}`"), expected, found.described(), problems);
    wrong.hint(format!("write `{key} = {example}`"));
    None
}
