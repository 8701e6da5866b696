//! Overrides that keys state: `overrides = "/services/{target}/status"`. Finds the target of a key, reads its word, and
//! has the statements of all keys. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::discovery::RefusedInstances;
use crate::discovery::etcd::message::{KeyRange, KeyValue};
use crate::discovery::instance::{MAX_INSTANCE_TEXT, bounded};

/// Most keys that state overrides (judgment: what takes more out of service is a change of the files, or a region).
pub const MAX_STATEMENTS: usize = 1000;

/// Where `{target}` is in the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetPattern {
    before: String,
    after: String,
}

/// What keys state about targets at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statements {
    /// By the name of the target. A target that is in service is absent.
    pub by_target: BTreeMap<String, TargetStatement>,
    /// Keys that can't be used.
    pub refusals: RefusedInstances,
}

/// What a key states about its target, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetStatement {
    /// What it states.
    pub statement: Statement,
    /// The revision of the last change of the key. The same value written again has another one.
    pub revision: u64,
}

/// What a key states about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// `unhealthy` or `down`: it is not answered with.
    Down,
    /// `drain`: no new answers have it.
    Drain,
    /// Nothing that can be read: what was stated before goes on.
    Unreadable,
}

impl TargetPattern {
    /// Parses a pattern, which has `{target}` once.
    pub(super) fn parse(text: &str) -> Option<TargetPattern> {
        let (before, after) = text.split_once("{target}")?;
        let is_once = !after.contains("{target}");
        is_once.then(|| TargetPattern { before: before.to_owned(), after: after.to_owned() })
    }

    /// All keys that may have a target.
    pub(super) fn range(&self) -> KeyRange {
        KeyRange::of_prefix(&self.before)
    }

    /// What all keys that may have a target begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.before
    }

    /// The target of a key: one part of its path. Other keys of the range are of other programs.
    pub(super) fn target<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        let key = std::str::from_utf8(key).ok()?;
        let target = key.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        let is_target = !target.is_empty() && target.len() <= MAX_INSTANCE_TEXT && !target.contains('/');
        is_target.then_some(target)
    }
}

/// The word of a value: `Ok(None)` for a target that is in service.
fn statement(value: &[u8]) -> Result<Option<Statement>, String> {
    let text = std::str::from_utf8(value).map_err(|_| "its value is no text".to_owned())?.trim();
    // A JSON text is as good as a plain one.
    let word = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    match &*word.to_ascii_lowercase() {
        "unhealthy" | "down" => Ok(Some(Statement::Down)),
        "drain" => Ok(Some(Statement::Drain)),
        "healthy" | "up" | "" => Ok(None),
        _ => Err(format!("found `{}`; expected unhealthy, down, drain or healthy", bounded(word))),
    }
}

/// The statements of all keys of a pattern.
#[derive(Debug, Clone)]
pub(super) struct StatementBook {
    pattern: TargetPattern,
    /// By target, with the revision of the key. An error says why the value can't be read.
    stated: BTreeMap<String, (Result<Statement, String>, u64)>,
    /// Keys of the pattern without a target in it: the first ones.
    without_target: BTreeSet<String>,
}

/// Most keys without a target that are stored (judgment: more than are named).
const MOST_WITHOUT: usize = 16;

impl StatementBook {
    pub(super) fn new(pattern: TargetPattern) -> StatementBook {
        StatementBook { pattern, stated: BTreeMap::new(), without_target: BTreeSet::new() }
    }

    /// A list begins.
    pub(super) fn clear(&mut self) {
        self.stated.clear();
        self.without_target.clear();
    }

    /// Takes a key as it is now, with the revision of its last change; `None`: it was deleted. Whether that is one of
    /// this pattern.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>, revision: u64) -> bool {
        let Some(target) = self.pattern.target(key) else { return self.set_without_target(key, value.is_some()) };
        let stated = match value.map(statement) {
            Some(Err(why)) => Err(why),
            Some(Ok(Some(statement))) => Ok(statement),
            Some(Ok(None)) | None => {
                self.stated.remove(target);
                return true;
            }
        };
        self.stated.insert(target.to_owned(), (stated, revision));
        true
    }

    /// Takes a key that has no target where the pattern has one: it is reported. Whether it begins and ends as the
    /// pattern does; others are of other programs.
    fn set_without_target(&mut self, key: &[u8], is_there: bool) -> bool {
        let text = std::str::from_utf8(key).ok().filter(|key| {
            let rest = key.strip_prefix(&*self.pattern.before);
            rest.is_some_and(|rest| rest.ends_with(&*self.pattern.after) && !self.pattern.after.is_empty())
        });
        let Some(text) = text.map(bounded) else { return false };
        match is_there {
            true if self.without_target.len() < MOST_WITHOUT => self.without_target.insert(text),
            true => false,
            false => self.without_target.remove(&text),
        }
    }

    /// Takes keys of a list.
    pub(super) fn add(&mut self, page: &[KeyValue]) {
        for KeyValue { key, value, mod_revision } in page {
            self.set(key, Some(value), *mod_revision);
        }
    }

    /// What the keys state now: at most [`MAX_STATEMENTS`], the first by name.
    pub(super) fn statements(&self) -> Statements {
        let mut statements = Statements::default();
        for key in &self.without_target {
            statements.refusals.add(key, "`{target}` is one part of the key, and not empty");
        }
        for (target, (stated, revision)) in &self.stated {
            if statements.by_target.len() >= MAX_STATEMENTS {
                statements.refusals.add(target, &format!("more than {MAX_STATEMENTS} targets are out of service"));
                continue;
            }
            let statement = match stated {
                Ok(statement) => *statement,
                Err(why) => {
                    statements.refusals.add(target, why);
                    Statement::Unreadable
                }
            };
            let revision = *revision;
            statements.by_target.insert(target.clone(), TargetStatement { statement, revision });
        }
        statements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> StatementBook {
        StatementBook::new(TargetPattern::parse("/services/{target}/status").unwrap())
    }

    /// The statements after these keys were set.
    fn after(keys: &[(&str, Option<&str>)]) -> (Vec<(String, Statement)>, Option<String>) {
        let mut book = book();
        for (at, (key, value)) in keys.iter().enumerate() {
            book.set(key.as_bytes(), value.map(str::as_bytes), at as u64);
        }
        let Statements { by_target, refusals } = book.statements();
        (by_target.into_iter().map(|(target, of)| (target, of.statement)).collect(), refusals.shown())
    }

    #[test]
    fn a_pattern_has_its_target_once_and_a_target_is_one_part_of_a_path() {
        for wrong in ["", "/services/status", "/{target}/{target}"] {
            assert_eq!(TargetPattern::parse(wrong), None, "{wrong}");
        }
        let pattern = TargetPattern::parse("/services/{target}/status").unwrap();
        assert_eq!(pattern.range(), KeyRange::of_prefix("/services/"));
        for (key, target) in [
            ("/services/primary/status", Some("primary")),
            ("/services/region:eu/status", Some("region:eu")),
            ("/services//status", None),
            ("/services/a/b/status", None),
            ("/services/primary/owner", None),
            ("/services/status", None),
            ("/other/primary/status", None),
        ] {
            assert_eq!(pattern.target(key.as_bytes()), target, "{key}");
        }
        assert_eq!(pattern.target(b"/services/\xff/status"), None);
        let at_the_end = TargetPattern::parse("/out/{target}").unwrap();
        assert_eq!(at_the_end.target(b"/out/fra1"), Some("fra1"));
    }

    #[test]
    fn words_set_and_clear_and_a_key_that_goes_clears() {
        let key = "/services/primary/status";
        for (value, expected) in [
            ("unhealthy", Some(Statement::Down)),
            ("down\n", Some(Statement::Down)),
            ("\"Drain\"", Some(Statement::Drain)),
            ("healthy", None),
            ("", None),
            (" ", None),
        ] {
            let (stated, problem) = after(&[(key, Some("drain")), (key, Some(value))]);
            assert_eq!(
                stated,
                expected.map(|of| ("primary".to_owned(), of)).into_iter().collect::<Vec<_>>(),
                "{value}"
            );
            assert_eq!(problem, None);
        }
        assert_eq!(after(&[(key, Some("down")), (key, None)]), (Vec::new(), None));
        assert_eq!(after(&[("/services/primary/owner", Some("down"))]), (Vec::new(), None));
        let (stated, problem) = after(&[(key, Some("down")), (key, Some("dwon"))]);
        assert_eq!(stated, [("primary".to_owned(), Statement::Unreadable)]);
        assert_eq!(problem.unwrap(), "`primary`: found `dwon`; expected unhealthy, down, drain or healthy");
    }

    #[test]
    fn keys_without_a_target_are_named_until_they_go() {
        let (long, empty) = ("/services/a/b/status", "/services//status");
        let (stated, problem) = after(&[(long, Some("down")), (empty, Some("down"))]);
        let why = "`{target}` is one part of the key, and not empty";
        assert_eq!((stated, problem.unwrap()), (Vec::new(), format!("`{empty}`: {why}; `{long}`: {why}")));
        assert_eq!(after(&[(long, Some("down")), (long, None)]), (Vec::new(), None));
        assert_eq!(after(&[("/services/a/b/owner", Some("x")), ("/other/a/b/status", Some("x"))]), (Vec::new(), None));
    }

    #[test]
    fn more_targets_than_the_limit_are_refused_by_name() {
        let mut book = book();
        for at in 0..MAX_STATEMENTS + 7 {
            book.set(format!("/services/e{at:05}/status").as_bytes(), Some(b"down"), 1);
        }
        let Statements { by_target, refusals } = book.statements();
        assert_eq!((by_target.len(), refusals.total()), (MAX_STATEMENTS, 7));
    }
}
