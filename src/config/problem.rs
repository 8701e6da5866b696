//! What is wrong with the files, where, and what to write instead. Every reader of `config` adds to one [`Problems`];
//! `check`, `serve` and reload print or serialise what is in it. Rendering is here and nowhere else.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::source::Place;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is served before it is put right.
    Error,
    /// Served, but hardly meant.
    Warning,
}

impl Severity {
    /// The word for it in messages and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as the user would type it; `$VARIABLE` for the environment, `--KEY` for a flag.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COL: error: MESSAGE (HINT)`, one line, so that it can be searched and counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, line, column, severity, message, hint } = self;
        write!(f, "{}:{line}:{column}: {}: {message}", file.display(), severity.as_str())?;
        match hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

/// All problems for a person, one after the other, each ending with a line feed.
pub fn to_human(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// All problems as `{"ok":bool,"problems":[...]}`; `ok` when none is an error.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    let ok = problems.iter().all(|problem| problem.severity != Severity::Error);
    serde_json::json!({ "ok": ok, "problems": problems })
}

/// Where readers put what they find.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// An error at `place`; the problem comes back so that a hint can be hung on it.
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(place, Severity::Error, message.into())
    }

    /// A warning at `place`.
    pub(super) fn warning(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(place, Severity::Warning, message.into())
    }

    fn add(&mut self, place: &Place, severity: Severity, message: String) -> &mut Problem {
        let at = self.found.len();
        let file = place.file.to_path_buf();
        self.found.push(Problem { file, line: place.line, column: place.column, severity, message, hint: None });
        &mut self.found[at]
    }

    /// Takes over what another reader found.
    pub(super) fn extend(&mut self, other: Problems) {
        self.found.extend(other.found);
    }

    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.found.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Everything found, by file, line and column, none twice.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found;
        found.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.severity, &a.message)
                .cmp(&(&b.file, b.line, b.column, b.severity, &b.message))
        });
        found.dedup();
        found
    }
}

impl Problem {
    /// Hangs a hint on it.
    pub(super) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

/// `did you mean "x"?` where one of `known` is near to `written`, else the list of all where it is short enough to read.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Names that are further apart are another word, not a slip of the fingers (Jaro-Winkler; judgment).
    const NEAR: f64 = 0.85;
    /// More names than these aren't a hint but a wall.
    const LISTED: usize = 12;
    let known: Vec<&str> = known.into_iter().collect();
    let near = |name: &&str| {
        let (a, b) = (written.to_lowercase(), name.to_lowercase());
        if strsim::damerau_levenshtein(&a, &b) <= 1 { 1.0 } else { strsim::jaro_winkler(&a, &b) }
    };
    let best = known.iter().map(|name| (near(name), *name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    if best.0 >= NEAR {
        return Some(format!("did you mean `{}`?", best.1));
    }
    (known.len() <= LISTED).then(|| format!("there is {}", listed(&known)))
}

/// Why the file system refused, without the number that means nothing to people.
pub(super) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

/// `a`, `b` and `c`.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_found_and_another_word_is_not() {
        for (written, known, expected) in [
            ("wieght", &["weight", "state"][..], Some("did you mean `weight`?")),
            ("fra11", &["fra1", "ams"], Some("did you mean `fra1`?")),
            ("zebra", &["weight", "state"], Some("there is `weight` and `state`")),
            ("x", &[], None),
        ] {
            assert_eq!(did_you_mean(written, known.iter().copied()).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn problems_are_sorted_and_shown_with_their_place() {
        let start = Place::start_of(Path::new("a.toml"));
        let mut problems = Problems::default();
        problems.warning(&Place { line: 9, column: 2, ..start.clone() }, "late");
        problems.error(&Place { line: 2, ..start }, "early").hint("write y");
        let sorted = problems.into_sorted();
        assert_eq!(to_human(&sorted), "a.toml:2:1: error: early (hint: write y)\na.toml:9:2: warning: late\n");
        let json = to_json(&sorted);
        assert_eq!((&json["ok"], &json["problems"][1]["severity"]), (&false.into(), &"warning".into()));
    }
}
