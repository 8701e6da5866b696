//! Distinguishes two contents of a file without reading them. Links are followed, so that a link that is replaced
//! somewhere above a file is noticed too.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::source::calls;

/// The state of a file: two that are equal are very likely the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    octets: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file as it is now; `None` where there is no such file.
    pub(crate) fn of(file: &Path) -> Option<Stamp> {
        let found = calls::listed(file, || std::fs::metadata(file)).ok()?;
        Some(Stamp {
            device: found.dev(),
            inode: found.ino(),
            octets: found.len(),
            changed: (found.mtime(), found.mtime_nsec()),
        })
    }

    /// Whether the file was emptied at most `secs` before `now` (Unix seconds): it is probably about to be written.
    pub(crate) fn was_just_emptied(&self, now: f64, secs: f64) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let age = now - (seconds as f64 + nanoseconds as f64 / 1e9);
        self.octets == 0 && (0.0..secs).contains(&age)
    }
}
