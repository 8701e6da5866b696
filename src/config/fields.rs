//! Reads a table key by key. A wrong type, a wrong range or an unknown key is a problem with its place and an example;
//! reading goes on without the key. Knows nothing of DNS.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::config::manual::ManualSection;
use crate::config::node::{Entry, Kind, Node};
use crate::config::problem::{Problems, did_you_mean};
use crate::config::source::{At, Place};

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
                    known: Vec::new(),
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

    /// Begins to read the tables that are the values of `entry`: `[endpoint.a]`, `[endpoint.b]`.
    pub(super) fn all_named(entry: Entry, problems: &mut Problems) -> Vec<Fields> {
        let key = entry.key.value;
        let Kind::Table(tables) = entry.value.kind else {
            let found = entry.value.kind.described();
            let wrong = wrong_type(&entry.value.place, &format!("[{key}]"), "a table", found, problems);
            wrong.hint(format!("write `[{key}.NAME]` on a line of its own, and its keys below it"));
            return Vec::new();
        };
        let fields = |entry: Entry| {
            let what = format!("[{key}.{}]", entry.key.value);
            Fields::of(entry, what, problems)
        };
        tables.into_iter().filter_map(fields).collect()
    }

    /// The entry of `key`.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry> {
        #[cfg(test)]
        record::note(&self.head.what, key, None);
        self.known.push(key);
        let at = self.left.iter().position(|entry| entry.key.value == key)?;
        Some(self.left.remove(at))
    }

    /// Whether every entry was taken.
    pub(super) fn is_read(&self) -> bool {
        self.left.is_empty()
    }

    /// A table under `key`.
    pub(super) fn table(&mut self, key: &'static str, problems: &mut Problems) -> Option<Fields> {
        let entry = self.take(key)?;
        Fields::of(entry, format!("[{key}]"), problems)
    }

    /// The named tables below `key`: `[endpoint.a]`, `[endpoint.b]`, each with its name.
    pub(super) fn named(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(At<String>, Fields)> {
        let all = self.take(key).map_or_else(Vec::new, |entry| Fields::all_named(entry, problems));
        all.into_iter().map(|fields| (fields.head.name.clone(), fields)).collect()
    }

    /// See [`Head::has`].
    pub(super) fn has(&self, key: &str) -> bool {
        self.head.has(key)
    }

    /// See [`Head::lacks`].
    pub(super) fn lacks(&self, key: &str) -> bool {
        self.head.lacks(key)
    }

    /// A string.
    pub(super) fn text(&mut self, key: &'static str, example: &str, problems: &mut Problems) -> Option<At<String>> {
        let entry = self.take(key)?;
        text(entry.value, key, example, problems)
    }

    /// A whole number within `range`.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
        problems: &mut Problems,
    ) -> Option<At<i64>> {
        let entry = self.take(key)?;
        integer(entry.value, key, range, problems)
    }

    /// A length of time such as `"500ms"`, within `range`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        example: &str,
        problems: &mut Problems,
    ) -> Option<At<Duration>> {
        let Node { place, kind } = self.take(key)?.value;
        let (Kind::Text(value) | Kind::Loose(value)) = kind else {
            let wrong = wrong_type(&place, &format!("`{key}`"), "a length of time", kind.described(), problems);
            wrong.hint(format!("write `{key} = {example}`"));
            return None;
        };
        duration(At { value, place }, key, range, example, problems)
    }

    /// A list; a text from the environment or a flag is split at its commas.
    pub(super) fn list(&mut self, key: &'static str, example: &str, problems: &mut Problems) -> Option<At<Vec<Node>>> {
        let Node { place, kind } = self.take(key)?.value;
        match kind {
            Kind::List(items) => Some(At { value: items, place }),
            Kind::Loose(text) => {
                let item = |part: &str| Node { place: place.clone(), kind: Kind::Loose(part.trim().to_string()) };
                Some(At { value: text.split(',').map(item).collect(), place })
            }
            other => {
                let wrong = wrong_type(&place, &format!("`{key}`"), "a list", other.described(), problems);
                wrong.hint(format!("write `{key} = {example}`"));
                None
            }
        }
    }

    /// A list of strings.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<At<Vec<At<String>>>> {
        let list = self.list(key, example, problems)?;
        Some(list.map(|items| items.into_iter().filter_map(|each| item(each, key, example, problems)).collect()))
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

/// A string.
pub(super) fn text(node: Node, key: &str, example: &str, problems: &mut Problems) -> Option<At<String>> {
    string(node, &format!("`{key}`"), key, example, problems)
}

/// A string in the list under `key`.
pub(super) fn item(node: Node, key: &str, example: &str, problems: &mut Problems) -> Option<At<String>> {
    string(node, &format!("each of `{key}`"), key, example, problems)
}

fn string(node: Node, what: &str, key: &str, example: &str, problems: &mut Problems) -> Option<At<String>> {
    let Node { place, kind } = node;
    match kind {
        Kind::Text(value) | Kind::Loose(value) => Some(At { value, place }),
        other => {
            let wrong = wrong_type(&place, what, "a string", other.described(), problems);
            wrong.hint(format!("write `{key} = {example}`"));
            None
        }
    }
}

/// A whole number within `range`.
pub(super) fn integer(node: Node, key: &str, range: RangeInclusive<i64>, problems: &mut Problems) -> Option<At<i64>> {
    let Node { place, kind } = node;
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let value = match kind {
        Kind::Integer(value) => value,
        Kind::Loose(text) => match text.parse() {
            Ok(value) => value,
            Err(_) => {
                problems.error(&place, format!("`{key}` must be {expected}, not `{text}`"));
                return None;
            }
        },
        other => {
            wrong_type(&place, &format!("`{key}`"), &expected, other.described(), problems);
            return None;
        }
    };
    if !range.contains(&value) {
        problems.error(&place, format!("`{key}` must be {expected}, not {value}"));
        return None;
    }
    Some(At { value, place })
}

/// A length of time within `range`.
pub(super) fn duration(
    written: At<String>,
    key: &str,
    range: RangeInclusive<Duration>,
    example: &str,
    problems: &mut Problems,
) -> Option<At<Duration>> {
    let At { value, place } = written;
    let Ok(parsed) = humantime::parse_duration(&value) else {
        let problem = problems.error(&place, format!("`{key}` must be a length of time, and \"{value}\" is none"));
        problem.hint(format!("write a number and a unit, such as `{key} = {example}`"));
        return None;
    };
    if !range.contains(&parsed) {
        let shown = |d: &Duration| match d.as_secs() {
            86_400 => "1day".to_string(),
            days @ 86_400.. if days % 86_400 == 0 => format!("{}days", days / 86_400),
            long @ 86_400.. => format!("{long}s"),
            _ => humantime::format_duration(*d).to_string(),
        };
        let [least, most] = [range.start(), range.end()].map(shown);
        problems.error(&place, format!("`{key}` must be from {least} to {most}, not {value}"));
        return None;
    }
    Some(At { value: parsed, place })
}

/// The problem of a value of another type.
pub(super) fn wrong_type<'p>(
    place: &Place,
    what: &str,
    expected: &str,
    found: &str,
    problems: &'p mut Problems,
) -> &'p mut crate::config::problem::Problem {
    problems.error(place, format!("{what} must be {expected}, not {found}"))
}

/// What readers ask for, so that tests can compare it with the schema of the settings.
#[cfg(test)]
pub(super) mod record {
    use std::cell::RefCell;
    use std::ops::RangeInclusive;

    /// One question: what the table is called in messages, the key, and the range where it is a whole number.
    pub(in crate::config) type Asked = (String, &'static str, Option<RangeInclusive<i64>>);

    thread_local! {
        static ASKED: RefCell<Vec<Asked>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(what: &str, key: &'static str, range: Option<RangeInclusive<i64>>) {
        ASKED.with_borrow_mut(|asked| asked.push((what.to_string(), key, range)));
    }

    /// What was asked for on this thread since this was called last.
    pub(in crate::config) fn asked() -> Vec<Asked> {
        ASKED.take()
    }
}
