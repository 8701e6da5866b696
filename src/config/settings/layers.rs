//! Joins `portolan.toml`, the environment and the flags by the `config` crate; the later one replaces the earlier one.
//! The result is a tree in which each value has the place that it comes from.

use std::collections::HashMap;
use std::path::Path;

use config::{Config, Environment, FileFormat, Value, ValueKind};

use crate::config::node::{self, Entry, Kind, Node};
use crate::source::{At, Place, Problems, files, reason, text_without_mark};

/// Settings from the command line. They replace those of the environment and the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Dotted keys, and their values as typed. Items of a list are separated by commas. A relative path is relative to
    /// the current directory.
    pub overrides: Vec<(String, String)>,
}

impl Flags {
    /// Sets one: `Flags::default().with("listen.http", "127.0.0.1:0")`.
    pub fn with(mut self, key: &str, value: &str) -> Flags {
        self.overrides.retain(|(known, _)| known != key);
        self.overrides.push((key.to_string(), value.to_string()));
        self
    }
}

/// Largest settings file, in octets (judgment).
const MAX_SETTINGS: u64 = 16 << 20;

/// The environment as it is now, without variables that are not Unicode.
pub(in crate::config) fn environment() -> HashMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// The tree of all settings; `None` if the file can't be read or parsed. Problems call the file `shown`.
pub(super) fn read(
    file: Option<&Path>,
    shown: &Path,
    environment: HashMap<String, String>,
    flags: &Flags,
    problems: &mut Problems,
) -> Option<Node> {
    let text = match file.map_or(Ok(Vec::new()), |file| files::read_or_wait(file, MAX_SETTINGS)) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("can't read the settings: {}", reason(&error));
            problems.error(&Place::start_of(shown), message).hint("name the file with --config FILE");
            return None;
        }
    };
    let written = node::parse(shown, &text, problems)?;
    match merged(&String::from_utf8_lossy(&text), environment, flags) {
        Ok(merged) => Some(Layered { file: shown, flags }.node(&merged, Some(&written), "")),
        Err(error) => {
            let mut large = Vec::new();
            too_large(&written, "", &mut large);
            for (path, place) in &large {
                let problem = problems.error(place, format!("`{path}` is a number of more than 63 bits"));
                problem.hint("no key takes such a number");
            }
            if large.is_empty() {
                problems.error(&Place::start_of(shown), format!("can't put the settings together: {error}"));
            }
            None
        }
    }
}

/// The dotted path of `key` in the table at `path`. The path of the whole tree is empty.
pub(super) fn dotted(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Finds the numbers that no type of the `config` crate holds.
fn too_large<'n>(node: &'n Node, path: &str, found: &mut Vec<(String, &'n Place)>) {
    match &node.kind {
        Kind::Integer(i64::MIN | i64::MAX) => found.push((path.to_owned(), &node.place)),
        Kind::List(items) => items.iter().for_each(|item| too_large(item, path, found)),
        Kind::Table(entries) => {
            entries.iter().for_each(|Entry { key, value }| too_large(value, &dotted(path, &key.value), found));
        }
        Kind::Text(_) | Kind::Loose(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Bool(_) | Kind::Date => {}
    }
}

/// The values of file, environment and flags.
fn merged(text: &str, environment: HashMap<String, String>, flags: &Flags) -> Result<Value, config::ConfigError> {
    let variables =
        Environment::with_prefix("PORTOLAN").prefix_separator("__").separator("__").source(Some(environment));
    let mut builder = Config::builder()
        .add_source(config::File::from_str(text_without_mark(text), FileFormat::Toml))
        .add_source(variables);
    for (key, value) in &flags.overrides {
        builder = builder.set_override(key, value.as_str())?;
    }
    Ok(Value::new(None, ValueKind::Table(builder.build()?.try_deserialize()?)))
}

/// Adds to merged values the places that they come from.
struct Layered<'a> {
    file: &'a Path,
    flags: &'a Flags,
}

impl Layered<'_> {
    fn node(&self, value: &Value, written: Option<&Node>, path: &str) -> Node {
        match &value.kind {
            ValueKind::Table(table) => {
                let known: &[Entry] = match written.map(|node| &node.kind) {
                    Some(Kind::Table(entries)) => entries,
                    _ => &[],
                };
                let entries = self.entries(table, known, path);
                // A table that is not in the file is where its first value comes from: a variable or a flag.
                let first = || entries.first().map(|entry| entry.value.place.clone());
                let place = written.map(|node| node.place.clone()).or_else(first);
                let place = place.unwrap_or_else(|| Place::start_of(self.file));
                Node { place, kind: Kind::Table(entries) }
            }
            other => self.leaf(other, written, path),
        }
    }

    /// The keys of the file in its order, then the others sorted by name.
    fn entries(&self, table: &config::Map<String, Value>, known: &[Entry], path: &str) -> Vec<Entry> {
        let mut names: Vec<&String> = table.keys().collect();
        names.sort_by_key(|name| (known.iter().position(|e| e.key.value == **name).unwrap_or(usize::MAX), *name));
        let entry = |name: &String| {
            let written = known.iter().find(|entry| entry.key.value == *name);
            let value = self.node(&table[name], written.map(|entry| &entry.value), &dotted(path, name));
            let place = written.map_or_else(|| value.place.clone(), |entry| entry.key.place.clone());
            Entry { key: At { value: name.clone(), place }, value }
        };
        names.into_iter().map(entry).collect()
    }

    fn leaf(&self, kind: &ValueKind, written: Option<&Node>, path: &str) -> Node {
        let flag = self.flags.overrides.iter().find(|(key, _)| key == path);
        match (flag, written, kind) {
            (Some((key, value)), ..) => loose(&format!("flag {key}"), value),
            (None, Some(node), kind) if same(&node.kind, kind) => node.clone(),
            (None, _, ValueKind::String(value)) => {
                loose(&format!("$PORTOLAN__{}", path.replace('.', "__").to_uppercase()), value)
            }
            (None, Some(node), _) => node.clone(),
            (None, None, other) => loose("environment", &format!("{other:?}")),
        }
    }
}

/// Whether the merged value is that of the file. Values of the environment are always strings.
fn same(written: &Kind, merged: &ValueKind) -> bool {
    match (written, merged) {
        (Kind::Text(text), ValueKind::String(merged)) => text == merged,
        (Kind::Date, _) => true,
        (_, merged) => !matches!(merged, ValueKind::String(_)),
    }
}

fn loose(from: &str, value: &str) -> Node {
    Node { place: Place::start_of(Path::new(from)), kind: Kind::Loose(value.to_string()) }
}
