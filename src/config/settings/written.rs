//! Where the keys of the settings are written, and what differs between two versions of them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::node::{Entry, Kind, Node};
use crate::config::settings::layers::dotted;
use crate::source::Place;

/// Keys and tables of the settings as they are written, by their dotted path: `listen`, `listen.http`.
#[derive(Debug, Clone)]
pub(crate) struct WrittenSettings {
    of: BTreeMap<String, Written>,
    start: Place,
}

#[derive(Debug, Clone)]
struct Written {
    /// Where the key is.
    place: Place,
    /// Its value; `None` for a table.
    value: Option<String>,
}

/// A key or a table that differs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrittenDifference {
    /// Its dotted path.
    pub(in crate::config) path: String,
    /// Where it is written. Of what is no longer written, where the table around it is.
    pub(in crate::config) place: Place,
    /// Whether it is no longer written.
    pub(in crate::config) is_gone: bool,
}

/// Whole tables that a running server uses as a reload finds them. They may be large: their keys are left out.
const RELOADED: [&str; 7] = ["zones", "cookies", "rrl", "chaos", "api", "clients", "regions"];

impl WrittenSettings {
    /// The keys of `tree`, which is the settings file `shown` with the environment and the flags.
    pub(super) fn of(tree: &Node, shown: &Path) -> WrittenSettings {
        let mut written = WrittenSettings { of: BTreeMap::new(), start: Place::start_of(shown) };
        if let Kind::Table(entries) = &tree.kind {
            written.add_all(entries, "");
        }
        written
    }

    fn add_all(&mut self, entries: &[Entry], of: &str) {
        for Entry { key, value } in entries {
            let path = dotted(of, &key.value);
            let is_left_out = RELOADED.contains(&path.as_str());
            match &value.kind {
                Kind::Table(entries) if !is_left_out => self.add_all(entries, &path),
                _ => {}
            }
            let text = if is_left_out { None } else { text_of(&value.kind) };
            self.of.insert(path, Written { place: key.place.clone(), value: text });
        }
    }

    /// Where this key or table is written, if it is.
    pub(in crate::config) fn place_of(&self, path: &str) -> Option<&Place> {
        self.of.get(path).map(|written| &written.place)
    }

    /// Where this key is written, or else the table around it, or else the first character of the file.
    pub(in crate::config) fn place_near(&self, path: &str) -> &Place {
        prefixes(path).rev().find_map(|prefix| self.place_of(prefix)).unwrap_or(&self.start)
    }

    /// What of the key or table `path` is written in another way than in `before`, in the order of the paths. Of a
    /// table that is new or gone only the table. `path` itself if nothing is: then a default differs.
    pub(in crate::config) fn differences(&self, before: &WrittenSettings, path: &str) -> Vec<WrittenDifference> {
        let is_below = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let mut found: BTreeMap<&str, bool> = BTreeMap::new();
        for (new, old, is_gone) in [(self, before, false), (before, self, true)] {
            for (key, written) in new.of.iter().filter(|(key, written)| is_below(key) && written.value.is_some()) {
                if let Some(whole) = prefixes(key).find(|prefix| !old.of.contains_key(*prefix)) {
                    found.insert(whole, is_gone);
                } else if !is_gone && old.of.get(key).is_some_and(|old| old.value != written.value) {
                    found.insert(key, false);
                }
            }
        }
        if found.is_empty() {
            found.insert(path, false);
        }
        let difference = |(path, is_gone): (&str, bool)| WrittenDifference {
            path: path.to_owned(),
            place: self.place_near(path).clone(),
            is_gone,
        };
        found.into_iter().map(difference).collect()
    }
}

/// `a`, `a.b` and `a.b.c`.
fn prefixes(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.match_indices('.').map(|(at, _)| &path[..at]).chain(std::iter::once(path))
}

/// A value as a text that differs where the value does; `None` for a table.
fn text_of(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Text(text) | Kind::Loose(text) => Some(text.clone()),
        Kind::Integer(value) => Some(value.to_string()),
        Kind::Float(value) => Some(value.to_string()),
        Kind::Bool(is) => Some(is.to_string()),
        Kind::Date => Some(String::new()),
        Kind::List(items) => Some(items.iter().map(|item| format!("{:?},", text_of(&item.kind))).collect()),
        Kind::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node;
    use crate::source::Problems;

    fn written(text: &str) -> WrittenSettings {
        let tree = node::parse(Path::new("f"), text.as_bytes(), &mut Problems::default()).unwrap();
        WrittenSettings::of(&tree, Path::new("f"))
    }

    #[test]
    fn a_difference_has_the_place_of_what_is_written_now() {
        let before =
            "[listen]\nhttp = \"a\"\nworkers = 1\ndns = [\"x\"]\n[sink.a]\nurl = \"u\"\n[zones]\ndir = \"z\"\n";
        let all = ["listen.http", "listen.dns", "listen.workers", "sink.a", "sink.b", "limits"];
        for (now, expected) in [
            (before, vec![]),
            ("[listen]\nhttp = \"b\"\nworkers = 1\ndns = [\"x\"]\n[sink.a]\nurl = \"u\"\n", vec!["2:1 listen.http"]),
            (
                "[sink.a]\nurl = \"u\"\n[listen]\ndns = [\"x\", \"y\"]\nhttp = \"a\"\n",
                vec!["4:1 listen.dns", "3:2 listen.workers gone"],
            ),
            (
                "[listen]\nhttp = \"a\"\nworkers = 1\ndns = [\"x\"]\n[sink.b]\nurl = \"u\"\ntype = \"t\"\n",
                vec!["5:2 sink.a gone", "5:7 sink.b"],
            ),
            (
                "[sink.a]\nurl = \"v\"\n",
                vec!["1:1 listen gone", "1:1 listen gone", "1:1 listen gone", "2:1 sink.a.url"],
            ),
            (&format!("{before}[limits]\nconnections = 1\n"), vec!["9:2 limits"]),
        ] {
            let (new, old) = (written(now), written(before));
            let changed = all.iter().flat_map(|path| {
                let of: Vec<_> = new.differences(&old, path);
                let is_default = |found: &WrittenDifference| {
                    found.path == *path
                        && new.of.get(*path).map(|new| &new.value) == old.of.get(*path).map(|o| &o.value)
                };
                of.into_iter().filter(|found| !is_default(found)).collect::<Vec<_>>()
            });
            let shown = |WrittenDifference { path, place, is_gone }| {
                let gone = if is_gone { " gone" } else { "" };
                format!("{}:{} {path}{gone}", place.line, place.column)
            };
            assert_eq!(changed.map(shown).collect::<Vec<_>>(), expected, "{now}");
        }
    }
}
