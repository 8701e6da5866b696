//! What is not yet on the disk: files of the state directory that could not be written, and overrides that a restart
//! would lose. The daemon's writer keeps [`DiskState`]; the API, the status and the metrics read it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::overrides::{Book, OverrideReport};
use crate::model::{Moment, Override};

/// A write that takes longer counts as not on the disk, and an operator's call does not wait for it longer. Judgment:
/// a disk that works takes milliseconds, and a person waits for some seconds.
pub const SLOW: Duration = Duration::from_secs(5);

/// A file of the state directory whose newest content is not on the disk, in the JSON of `/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnsavedFile {
    /// Its name in the state directory.
    pub file: String,
    /// What it has: `the operators' overrides`.
    pub content: String,
    /// Since when the file on the disk is behind, in Unix seconds.
    pub since: f64,
    /// Why it could not be written; absent while the first write has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl UnsavedFile {
    /// Why it is not on the disk.
    pub fn why(&self) -> &str {
        self.error.as_deref().unwrap_or("the disk does not answer")
    }
}

/// What the writer of the state directory has not yet written.
#[derive(Debug, Default)]
pub struct DiskState {
    due: Mutex<BTreeMap<&'static str, DueFile>>,
    /// The overrides as the file on the disk has them.
    book: ArcSwap<Book>,
}

#[derive(Debug)]
struct DueFile {
    content: &'static str,
    since: (Moment, f64),
    error: Option<String>,
}

impl DiskState {
    /// A file has a content that is not written, since `since` (on the monotonic clock, and in Unix seconds).
    pub(crate) fn due(&self, file: &'static str, content: &'static str, since: (Moment, f64)) {
        self.files().entry(file).or_insert(DueFile { content, since, error: None });
    }

    /// A file could not be written. It stays due.
    pub(crate) fn failed(&self, file: &'static str, why: &str) {
        if let Some(due) = self.files().get_mut(file) {
            due.error = Some(why.to_owned());
        }
    }

    /// A file was written. `newer` is since when it has a newer content that waits.
    pub(crate) fn written(&self, file: &'static str, newer: Option<(Moment, f64)>) {
        let mut files = self.files();
        match (newer, files.get_mut(file)) {
            (Some(since), Some(due)) => (due.since, due.error) = (since, None),
            (Some(_), None) => {}
            (None, _) => {
                files.remove(file);
            }
        }
    }

    /// The overrides as the file on the disk has them now.
    pub(crate) fn book_written(&self, book: Arc<Book>) {
        self.book.store(book);
    }

    /// Whether this file has a content that is not written.
    pub(crate) fn is_due(&self, file: &str) -> bool {
        self.files().contains_key(file)
    }

    /// The files that failed, or that the disk takes long to write.
    pub fn unsaved(&self, now: Moment) -> Vec<UnsavedFile> {
        let files = self.files();
        files.iter().filter(|(_, due)| due.error.is_some() || now.since(due.since.0) >= SLOW).map(report).collect()
    }

    /// All files with a content that is not written.
    pub fn all_due(&self) -> Vec<UnsavedFile> {
        self.files().iter().map(report).collect()
    }

    /// Adds to reports of overrides whether each is on the disk.
    pub(crate) fn complete<'r>(&self, reports: impl Iterator<Item = &'r mut OverrideReport>) {
        let book = self.book.load();
        let written = by_target(&book);
        let is_written =
            |report: &OverrideReport| written.get(&*report.target).is_some_and(|of_target| of_target.contains(report));
        reports.for_each(|report| report.on_disk = Some(is_written(report)));
    }

    /// The reports of overrides, with whether each is on the disk.
    pub(crate) fn reports(&self, overrides: &[Arc<Override>]) -> Vec<OverrideReport> {
        let mut reports: Vec<OverrideReport> = overrides.iter().map(|entry| OverrideReport::from(&**entry)).collect();
        self.complete(reports.iter_mut());
        reports
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<&'static str, DueFile>> {
        // A panic leaves the map whole.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report((file, due): (&&'static str, &DueFile)) -> UnsavedFile {
    let DueFile { content, since, error } = due;
    UnsavedFile { file: (*file).to_owned(), content: (*content).to_owned(), since: since.1, error: error.clone() }
}

fn by_target(book: &Book) -> HashMap<&str, Vec<OverrideReport>> {
    let mut all: HashMap<&str, Vec<OverrideReport>> = HashMap::new();
    for entry in book.entries() {
        all.entry(&*entry.target).or_default().push(OverrideReport::from(&**entry));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "overrides.json";

    fn at(seconds: u64) -> (Moment, f64) {
        (Moment::from_start(Duration::from_secs(seconds)), 1000.0 + seconds as f64)
    }

    fn shown(state: &DiskState, seconds: u64) -> Vec<(f64, Option<String>)> {
        state.unsaved(at(seconds).0).into_iter().map(|file| (file.since, file.error)).collect()
    }

    #[test]
    fn a_file_is_unsaved_from_its_failure_or_after_a_slow_write_until_it_is_written() {
        let state = DiskState::default();
        state.due(FILE, "the overrides", at(10));
        assert_eq!(shown(&state, 11), [], "a write takes a moment");
        assert_eq!(shown(&state, 15), [(1010.0, None)], "the disk does not answer");
        state.failed(FILE, "no space");
        state.due(FILE, "the overrides", at(20));
        assert_eq!(shown(&state, 21), [(1010.0, Some("no space".into()))], "since the first change that is missing");
        state.written(FILE, Some(at(20)));
        assert_eq!(shown(&state, 21), [], "the newer content is being written");
        assert_eq!(shown(&state, 25), [(1020.0, None)]);
        state.written(FILE, None);
        assert_eq!(shown(&state, 99), []);
    }
}
