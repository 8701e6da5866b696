//! How many problems are kept while files are read, and how many are listed. What is not listed is counted.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::printable::cut;
use crate::source::{Problem, Severity};

/// Most errors, and most warnings, of one file that are listed. A file of another kind may have an error in each of a
/// million lines (judgment).
pub(super) const MOST_OF_A_FILE: usize = 100;

/// Most problems of one file and severity that are kept until all are sorted: they are not always found in the order
/// of the lines (judgment).
pub(super) const MOST_HELD_OF_A_FILE: usize = 1000;

/// Most problems that are kept in all: about 100 MiB (judgment: a hundred files with very many problems).
pub(super) const MOST_HELD: usize = 100_000;

/// Most problems that are listed in all: the log, the status and the API have each of them (judgment).
pub(super) const MOST_LISTED: usize = 2000;

/// Longest message, in octets: names and values in it may be as long as a file (judgment: half a screen).
const LONGEST: usize = 1000;

/// The beginning of a text that is too long for a message.
pub(super) fn shortened(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(cut(&text, LONGEST).len());
        text.push_str("...");
    }
    text
}

/// How many problems of a file there are.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Kept, by severity: errors, warnings, notes.
    held: [usize; 3],
    /// Not kept.
    left_out: [usize; 3],
    /// The last line with a problem that was not kept, and its column.
    last_line: u32,
}

impl Counts {
    /// Counts a problem; whether it is kept.
    pub(super) fn count(&mut self, problem: &Problem, is_room: bool) -> bool {
        let of = problem.severity as usize;
        let is_held = is_room && self.held[of] < MOST_HELD_OF_A_FILE;
        match is_held {
            true => self.held[of] += 1,
            false => {
                self.left_out[of] += 1;
                self.last_line = self.last_line.max(problem.line);
            }
        }
        is_held
    }

    pub(super) fn add_left_out(&mut self, other: &Counts) {
        self.left_out.iter_mut().zip(other.left_out).for_each(|(all, more)| *all += more);
        self.last_line = self.last_line.max(other.last_line);
    }
}

const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

/// The problems to list, of those that were kept, sorted by file.
pub(super) fn listed(sorted: &[Problem], mut counts: HashMap<PathBuf, Counts>) -> Vec<Problem> {
    let mut listed: Vec<Problem> = Vec::new();
    for of_file in sorted.chunk_by(|a, b| a.file == b.file) {
        if listed.len() >= MOST_LISTED {
            break;
        }
        let of_counts = counts.remove(&of_file[0].file).unwrap_or_default();
        of_one_file(of_file, &of_counts, &mut listed);
    }
    let cut = listed.split_off(listed.len().min(MOST_LISTED));
    let more = |severity: Severity| {
        let of = severity as usize;
        let of_rest: usize = counts.values().map(|counts| counts.held[of] + counts.left_out[of]).sum();
        of_rest + cut.iter().filter(|problem| problem.severity == severity).count()
    };
    let worst = SEVERITIES.into_iter().find(|severity| more(*severity) > 0);
    if let (Some(worst), Some(last)) = (worst, listed.last()) {
        let total: usize = SEVERITIES.into_iter().map(more).sum();
        let message = format!("and {total} more problems, in this file and {} others", counts.len());
        listed.push(Problem::of_file(last.file.clone(), worst, message));
    }
    listed
}

fn of_one_file(sorted: &[Problem], counts: &Counts, listed: &mut Vec<Problem>) {
    let mut found = [0; 3];
    for problem in sorted {
        let count = &mut found[problem.severity as usize];
        *count += 1;
        if *count <= MOST_OF_A_FILE {
            listed.push(problem.clone());
        }
    }
    let Some(last) = sorted.last() else { return };
    for severity in SEVERITIES {
        let more = found[severity as usize].saturating_sub(MOST_OF_A_FILE) + counts.left_out[severity as usize];
        if more > 0 {
            let (s, name) = (if more == 1 { "" } else { "s" }, severity.as_str());
            let message = format!("and {more} more {name}{s} before this line");
            let line = last.line.max(counts.last_line);
            listed.push(Problem { line, ..Problem::of_file(last.file.clone(), severity, message) });
        }
    }
}
