//! Reads MMDB files into memory; [`placing`](crate::placing::mmdb) decodes them. They are not mapped into memory,
//! because a mapped file can change while it is read.

#[cfg(test)]
mod tests;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Database, FileStamp};
use crate::placing::mmdb::{MmdbError, decode};
use crate::source::{calls, files, reason};

/// Largest file. Judgment: eight times the largest city database.
const MAX_OCTETS: u64 = 1 << 30;

/// Why a database cannot be used, and what to do.
#[derive(Debug)]
pub(super) struct UnusableDatabase {
    pub(super) why: String,
    pub(super) hint: &'static str,
}

const HINT: &str = "[clients] mmdb lists MMDB files, relative to the settings file";

/// The database in the file at `path`, which messages call `shown`. If the file has not changed, it is one of `known`.
pub(super) fn database(shown: &Path, path: &Path, known: &[Arc<Database>]) -> Result<Arc<Database>, UnusableDatabase> {
    let failed = |error: std::io::Error| UnusableDatabase { why: reason(&error), hint: HINT };
    let unusable = |why: String, hint| UnusableDatabase { why, hint };
    let (file, metadata) = files::open(path).map_err(failed)?;
    let stamp = stamp(path, &metadata);
    if let Some(known) = known.iter().find(|known| known.stamp == stamp) {
        return Ok(known.clone());
    }
    let octets = files::read_open(path, &file, &metadata, MAX_OCTETS).map_err(failed)?;
    if self::stamp(path, &calls::listed(path, || file.metadata()).map_err(failed)?) != stamp {
        let hint = "write the new file next to it and rename it over the old one";
        return Err(unusable("it was changed while it was read".into(), hint));
    }
    let database = decode(shown.display().to_string(), stamp, octets);
    database.map(Arc::new).map_err(|error| unusable(error.to_string(), hint(&error)))
}

fn hint(error: &MmdbError) -> &'static str {
    match error {
        MmdbError::Broken(_) | MmdbError::Overlap | MmdbError::TooManyNetworks => HINT,
        MmdbError::NoFields(_) => "use a database of countries, cities or autonomous systems",
    }
}

fn stamp(path: &Path, of: &Metadata) -> FileStamp {
    FileStamp {
        path: path.to_path_buf(),
        len: of.len(),
        modified: (of.mtime(), of.mtime_nsec()),
        inode: (of.dev(), of.ino()),
    }
}
