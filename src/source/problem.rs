//! Problems of the files: what is wrong, where, and what to write instead. Every reader of `config` adds to one
//! [`Problems`]. `check`, `serve` and reload print or serialise them. Only this module renders problems.

mod bounds;
mod suggestion;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::printable::{escaped, is_unprintable};
use crate::source::{ManualSection, Place};

#[cfg(test)]
pub(crate) use suggestion::no_more_comparisons;
pub(crate) use suggestion::{did_you_mean, limit_comparisons, similar};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file, or the zone, is not accepted.
    Error,
    /// It is accepted, but probably a mistake.
    Warning,
    /// It is correct and could be better.
    Note,
}

impl Severity {
    /// Its name in messages and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as the user would type it, `$VARIABLE` for a variable of the environment, `flag KEY` for a flag.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The line on which the wrong text ends, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    /// The column after the last character of the wrong text, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Other places that belong to the problem.
    pub labels: Vec<Label>,
    /// The section of the manual that describes this part: a path within the project, and an anchor.
    pub section: Option<&'static str>,
    /// Whether the line must not be shown because it contains secrets.
    #[serde(skip)]
    pub is_secret: bool,
    /// The side file that has it; `None`: it is in another file.
    #[serde(skip)]
    pub(crate) side_file: Option<SideFile>,
    /// Whether there are so many that this one will not be listed.
    #[serde(skip)]
    pub(crate) is_only_counted: bool,
}

/// Another place that belongs to a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The file as the user would type it.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is there.
    pub message: String,
}

impl Problem {
    /// A problem of a file as a whole.
    pub fn of_file(file: PathBuf, severity: Severity, message: String) -> Problem {
        let place = Place::start_of(&file);
        Problem::at(&place, severity, message)
    }

    fn at(place: &Place, severity: Severity, message: String) -> Problem {
        Problem {
            file: place.file.shown.clone(),
            line: place.line,
            column: place.column,
            end_line: place.end.map(|(line, _)| line.get()),
            end_column: place.end.map(|(_, column)| column),
            severity,
            message: bounds::shortened(message),
            hint: None,
            labels: Vec::new(),
            section: None,
            is_secret: place.file.is_secret,
            side_file: None,
            is_only_counted: false,
        }
    }

    /// Sets the hint.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(bounds::shortened(hint.into()));
    }

    /// Sets the hint for an unknown name: that of [`did_you_mean`]. A problem that is only counted gets none, and no
    /// name is taken from `known`. Returns the problem, with or without a hint.
    pub(crate) fn suggest<'a>(&mut self, written: &str, known: impl IntoIterator<Item = &'a str>) -> &mut Problem {
        let hint = if self.is_only_counted { None } else { did_you_mean(written, known) };
        hint.into_iter().for_each(|hint| self.hint(hint));
        self
    }

    /// Sets this hint where there is none.
    pub(crate) fn or_hint(&mut self, hint: impl FnOnce() -> String) {
        if self.hint.is_none() && !self.is_only_counted {
            self.hint(hint());
        }
    }

    /// Adds another place, with what is there.
    pub(crate) fn label(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        let Place { file, line, column, .. } = place;
        let (file, message) = (file.shown.clone(), bounds::shortened(message.into()));
        self.labels.push(Label { file, line: *line, column: *column, message });
        self
    }

    /// Sets another section of the manual than that of the reader.
    pub(crate) fn see(&mut self, section: ManualSection) -> &mut Problem {
        self.section = Some(section.link());
        self
    }

    /// The line of the problem in `text`, which is its file, and a second line with carets under the wrong text. Both
    /// are indented; the carets have the colour of the severity. `None` if there is no such line or it contains
    /// secrets.
    pub fn excerpt(&self, text: &str) -> Option<String> {
        /// Characters that are shown of a long line (judgment: two rows of a terminal).
        const SHOWN: usize = 160;
        /// Most characters that are shown before the place.
        const BEFORE: usize = 60;
        let line = text.lines().nth(self.line.checked_sub(1)? as usize).filter(|_| !self.is_secret)?;
        let column = self.column.checked_sub(1)? as usize;
        let end = match (self.end_line, self.end_column) {
            (Some(line), Some(end)) if line == self.line => end as usize - 1,
            (Some(_), _) => usize::MAX,
            (None, _) => column + 1,
        };
        let start = column.saturating_sub(BEFORE);
        let shown = |c: char| match c {
            '\t' => ' ',
            _ if is_unprintable(c) => '\u{fffd}',
            _ => c,
        };
        let part: String = line.chars().skip(start).take(SHOWN).map(shown).collect();
        let width = end.min(start + part.chars().count()).saturating_sub(column).max(1);
        let colour = match self.severity {
            Severity::Error => "31",
            Severity::Warning => "33",
            Severity::Note => "36",
        };
        let (blank, carets) = (" ".repeat(column - start), "^".repeat(width));
        Some(format!("    {}\n    {blank}\x1b[{colour}m{carets}\x1b[0m\n", part.trim_end()))
    }
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COL: error: MESSAGE (hint: HINT) [see FILE:LINE:COL: LABEL; SECTION]`: one line, so that problems can
    /// be searched and counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, line, column, severity, message, .. } = self;
        let hint = self.hint.iter().map(|hint| format!(" (hint: {hint})")).collect::<String>();
        let labels = self.labels.iter().map(ToString::to_string);
        let see: Vec<String> = labels.chain(self.section.map(str::to_owned)).collect();
        let see = if see.is_empty() { String::new() } else { format!(" [see {}]", see.join("; ")) };
        let severity = severity.as_str();
        f.write_str(&escaped(&format!("{}:{line}:{column}: {severity}: {message}{hint}{see}", file.display())))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Label { file, line, column, message } = self;
        write!(f, "{}:{line}:{column}: {message}", file.display())
    }
}

/// All problems as text, one line each.
pub fn to_human(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// All problems as `{"ok":bool,"problems":[...]}`; `ok` is true if none is an error.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    let ok = problems.iter().all(|problem| problem.severity != Severity::Error);
    serde_json::json!({ "ok": ok, "problems": problems })
}

/// The problems that readers have found.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    /// How many problems of each file there are, by severity.
    counts: HashMap<PathBuf, bounds::Counts>,
    /// The last problem that was not added to `found`, for the caller that sets its hint.
    left_out: Option<Problem>,
    section: ManualSection,
    errors: usize,
    bad_side_files: Vec<SideFile>,
    /// How many errors the side files have.
    side_file_errors: usize,
}

/// A file that the settings name and whose errors are not errors of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SideFile {
    /// The certificate and its key.
    Certificate,
    /// The tokens of the API.
    Tokens,
    /// The secrets of DNS cookies.
    CookieSecrets,
    /// The secrets and the authorities of sinks.
    Sinks,
}

impl SideFile {
    /// All of them.
    pub(crate) const ALL: [SideFile; 4] =
        [SideFile::Certificate, SideFile::Tokens, SideFile::CookieSecrets, SideFile::Sinks];
}

impl Problems {
    /// Adds an error at `place`, and returns it so that a hint can be set.
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(place, Severity::Error, message.into())
    }

    /// Adds a note at `place`.
    pub(crate) fn note(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(place, Severity::Note, message.into())
    }

    /// Adds a warning at `place`.
    pub(crate) fn warning(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(place, Severity::Warning, message.into())
    }

    fn add(&mut self, place: &Place, severity: Severity, message: String) -> &mut Problem {
        self.errors += usize::from(severity == Severity::Error);
        self.push(Problem { section: Some(self.section.link()), ..Problem::at(place, severity, message) })
    }

    /// Adds a problem, or only counts it where there are too many.
    fn push(&mut self, problem: Problem) -> &mut Problem {
        let is_room = self.found.len() < bounds::MOST_HELD;
        if self.counts.entry(problem.file.clone()).or_default().count(&problem, is_room) {
            let at = self.found.len();
            self.found.push(problem);
            return &mut self.found[at];
        }
        self.left_out.insert(Problem { is_only_counted: true, ..problem })
    }

    /// Calls `read`, whose problems are about this section of the manual.
    pub(crate) fn about<T>(&mut self, section: ManualSection, read: impl FnOnce(&mut Problems) -> T) -> T {
        let outer = std::mem::replace(&mut self.section, section);
        let read = read(self);
        self.section = outer;
        read
    }

    /// Calls `read`, which reads a side file: its errors are not errors of the settings.
    pub(crate) fn in_side_file<T>(&mut self, file: SideFile, read: impl FnOnce(&mut Problems) -> T) -> T {
        let (before, from) = (self.errors(), self.found.len());
        let done = read(self);
        self.found.iter_mut().skip(from).for_each(|problem| problem.side_file = Some(file));
        let found = self.errors() - before;
        if found > 0 {
            self.bad_side_files.push(file);
            self.side_file_errors += found;
        }
        done
    }

    /// Whether a side file has errors.
    pub(crate) fn is_bad(&self, file: SideFile) -> bool {
        self.bad_side_files.contains(&file)
    }

    /// How many errors there are so far that are not in side files.
    pub(crate) fn errors_outside_side_files(&self) -> usize {
        self.errors() - self.side_file_errors
    }

    /// An empty list about the same section, for problems that may be dropped again.
    pub(crate) fn separate(&self) -> Problems {
        Problems { section: self.section, ..Problems::default() }
    }

    /// Adds the problems of another list.
    pub(crate) fn extend(&mut self, other: Problems) {
        self.errors += other.errors;
        self.side_file_errors += other.side_file_errors;
        self.bad_side_files.extend(other.bad_side_files);
        for (file, counts) in other.counts {
            self.counts.entry(file).or_default().add_left_out(&counts);
        }
        for problem in other.found {
            self.push(problem);
        }
    }

    /// The same without the problems for which `is_dropped` is true. Errors must stay.
    pub(crate) fn without(mut self, is_dropped: impl Fn(&Problem) -> bool) -> Problems {
        self.found.retain(|problem| problem.severity == Severity::Error || !is_dropped(problem));
        self
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// The problems, sorted by file, line and column, without duplicates. Of each file there are at most
    /// [`bounds::MOST_OF_A_FILE`] errors and as many warnings; one more problem has the number of the others. In all
    /// there are at most [`bounds::MOST_LISTED`], and one that counts the rest.
    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found;
        found.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.severity, &a.message)
                .cmp(&(&b.file, b.line, b.column, b.severity, &b.message))
        });
        found.dedup();
        bounds::listed(&found, self.counts)
    }
}

/// The message of an error of the file system, without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text).to_string();
    match error.kind() == std::io::ErrorKind::PermissionDenied {
        // The server may have become another user than the one who starts `check`.
        true => format!("{plain} (this process has uid {})", rustix::process::geteuid().as_raw()),
        false => plain,
    }
}

/// `a`, `b` and `c`.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests;
