//! Composite monitors: the verdict on several checks as one, from what is agreed on each of them.

use std::sync::Arc;

use crate::model::CheckKey;

/// How deep composites may be in one another. Judgment: nobody follows more.
pub const MAX_COMPOSITE_DEPTH: usize = 8;
/// Most checks below one composite, each counted as often as it is named (judgment: beyond that, one verdict says nothing).
pub const MAX_COMPOSITE_CHECKS: usize = 64;

/// Several checks taken as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Composite {
    /// How.
    pub rule: Rule,
    /// Which: as many as the check has parts, one at least.
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

/// What several verdicts come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Down if any is Down, else Unknown if any is Unknown, else Up.
    All,
    /// Up if any is Up, else Unknown if any is Unknown, else Down.
    Any,
    /// Of one: Up when it is Down, Down when it is Up.
    Not,
}

impl Rule {
    /// The word for it in policy files.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::All => "all",
            Rule::Any => "any",
            Rule::Not => "not",
        }
    }
}
