//! Composite monitors: one verdict from the verdicts on several checks.

use std::sync::Arc;

use crate::model::CheckKey;

/// How deep composites may be nested. Judgment: a person does not follow more.
pub const MAX_COMPOSITE_DEPTH: usize = 8;
/// Most checks below one composite, each counted as often as it is named. Judgment: one verdict of more has no meaning.
pub const MAX_COMPOSITE_CHECKS: usize = 64;

/// Several checks taken as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Composite {
    /// How their verdicts become one.
    pub rule: Rule,
    /// The checks, one at least.
    pub parts: Vec<PartKey>,
}

/// One check of a composite.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartKey {
    /// The monitor's name, for people.
    pub name: Arc<str>,
    /// The check.
    pub key: Arc<CheckKey>,
}

/// How several verdicts become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Down if any is Down, else Unknown if any is Unknown, else Up.
    All,
    /// Up if any is Up, else Unknown if any is Unknown, else Down.
    Any,
    /// One check: Up when it is Down, Down when it is Up.
    Not,
}

impl Rule {
    /// Its name in policy files.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::All => "all",
            Rule::Any => "any",
            Rule::Not => "not",
        }
    }
}
