//! `events.log`: the last events of this node, one a line in JSON, oldest first. The lines from before it are in
//! `events.old.log`, which the log replaces when it is full. So a client that comes back, and the stream of the fleet,
//! get the events from before a restart too.
//!
//! An event is written before anybody sees it: a number that somebody has seen is never that of another event, also
//! after a crash of the process. The files are not forced to the disk, so a power cut can lose the last events. A write
//! that fails is tried again with all that is missing; the events are visible meanwhile.

mod task;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{OpenOptions, rename, symlink_metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::control::{JournalEvent, MAX_EVENTS};
use crate::daemon::event_number::HIGHEST_START;
use crate::daemon::state::{DirGuard, StateDir};
use crate::printable;
use crate::source::{Problem, Severity, files};

pub(crate) use task::write_events;

/// The file with the newest events.
pub(crate) const LOG: &str = "events.log";
/// The file with those before them.
pub(crate) const OLD_LOG: &str = "events.old.log";
/// What the files have, for messages.
const CONTENT: &str = "the log of events";

/// A file with so many octets is full, whatever its number of lines (judgment: 1,000 octets for each event).
const MAX_OCTETS: u64 = 16 << 20;
/// Largest file that is read: a full one and the events of one more write.
const MAX_READ: u64 = 4 * MAX_OCTETS;
/// Rights of the files, as those of the other state files.
const MODE: u32 = 0o640;

/// What the files have.
#[derive(Debug, Default)]
pub(crate) struct LoadedEvents {
    /// The events of this node with their numbers, which rise.
    pub(crate) events: Vec<(u64, JournalEvent)>,
    /// The highest number of any node's name in the files: a node that was renamed goes on after it.
    pub(crate) last: u64,
    writing: Writing,
}

/// Where the writer goes on.
#[derive(Debug, Default, Clone, Copy)]
struct Writing {
    lines: usize,
    octets: u64,
    /// Whether the last line may have no end.
    is_torn: bool,
}

/// Reads the files. What can't be read is reported in `warnings`, and left out.
pub(crate) fn load(state: &StateDir, node: &str, warnings: &mut Vec<Problem>) -> LoadedEvents {
    let mut loaded = LoadedEvents::default();
    for name in [OLD_LOG, LOG] {
        let Some(path) = state.path(name) else { return loaded };
        let text = match files::read(&path, MAX_READ) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let message = format!("{error}: the events in it are not available");
                warnings.push(Problem::of_file(path, Severity::Warning, message));
                // It is not known what is in it, so a write begins a new line, and soon a new file.
                loaded.writing = Writing { lines: MAX_EVENTS, octets: 0, is_torn: true };
                continue;
            }
        };
        let unreadable = loaded.add(&text, node);
        if unreadable > 0 {
            let message = format!("{unreadable} of its lines can't be read: these events are not available");
            warnings.push(Problem::of_file(path, Severity::Warning, message));
        }
        let lines = text.iter().filter(|octet| **octet == b'\n').count();
        let is_torn = !text.is_empty() && !text.ends_with(b"\n");
        loaded.writing = Writing { lines, octets: text.len() as u64, is_torn };
    }
    let extra = loaded.events.len().saturating_sub(MAX_EVENTS);
    loaded.events.drain(..extra);
    loaded
}

impl LoadedEvents {
    /// Adds the events of a file, and returns how many lines can't be read. A last line without an end is no error: a
    /// crash has left it.
    fn add(&mut self, text: &[u8], node: &str) -> usize {
        let mut unreadable = 0;
        for line in text.split_inclusive(|octet| *octet == b'\n') {
            let is_whole = line.ends_with(b"\n");
            if line.trim_ascii().is_empty() {
                continue;
            }
            let event = serde_json::from_slice::<JournalEvent>(line).ok();
            let Some((number, event)) =
                event.map(|event| (event.number(), event)).filter(|(number, _)| (1..=HIGHEST_START).contains(number))
            else {
                unreadable += usize::from(is_whole);
                continue;
            };
            self.last = self.last.max(number);
            let is_own = event.id.rsplit_once('/').is_some_and(|(of, _)| of == node);
            if is_own && self.events.last().is_none_or(|(before, _)| *before < number) {
                self.events.push((number, event));
            }
        }
        unreadable
    }
}

/// Writes lines to the files.
#[derive(Debug)]
struct LogFiles {
    dir: PathBuf,
    guard: Arc<DirGuard>,
    writing: Writing,
}

impl LogFiles {
    /// Appends these events. It blocks. After an error some of them may be in the file.
    fn append(&mut self, events: &[Arc<JournalEvent>]) -> io::Result<()> {
        self.guard.check()?;
        let path = self.dir.join(LOG);
        if symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("it is no regular file"));
        }
        if self.writing.lines >= MAX_EVENTS || self.writing.octets >= MAX_OCTETS {
            match rename(&path, self.dir.join(OLD_LOG)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => self.writing = Writing::default(),
            }
        }
        let mut text = Vec::new();
        if self.writing.is_torn {
            text.push(b'\n');
        }
        for event in events {
            printable::add_json(&mut text, event);
            text.push(b'\n');
        }
        self.writing.is_torn = true;
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut file = options.open(&path)?;
        file.write_all(&text)?;
        self.writing.is_torn = false;
        self.writing.lines += events.len();
        self.writing.octets += text.len() as u64;
        Ok(())
    }
}

/// The events that are not in the file.
type Missing = VecDeque<(u64, Arc<JournalEvent>)>;

fn log_path(dir: &Path) -> PathBuf {
    dir.join(LOG)
}
