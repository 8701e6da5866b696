//! The files of the provider in the zones directory: the records in `external-dns.json`, and a policy file for each
//! zone, which begins with [`HEADER`]. Each file is replaced in one step. Policy files that begin with something else
//! belong to somebody else and are not touched.

use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::external_dns::adjust::shown;
use crate::external_dns::book::RecordBook;
use crate::external_dns::policy::HEADER;
use crate::source::files;
use crate::wire::Name;

/// The file with the records.
pub(super) const RECORDS: &str = "external-dns.json";
/// The file that is locked, so that two processes don't overwrite each other's files. Its name is not one of a zone.
const LOCK: &str = ".external-dns.lock";
/// Largest file that is read, in octets (judgment: all records with labels of usual length, several times).
const MAX_FILE: u64 = 256 << 20;
/// Rights of the files: the server may run as another user.
const FILE_MODE: u32 = 0o644;

/// The zones directory, locked until this is dropped.
#[derive(Debug)]
pub(super) struct ProviderDir {
    dir: PathBuf,
    _lock: File,
}

impl ProviderDir {
    /// Locks the directory. An error says what to do.
    pub(super) fn open(dir: &Path) -> Result<ProviderDir, String> {
        let path = dir.join(LOCK);
        let failed = |error: io::Error| format!("{}: {error}; the user must be able to write there", path.display());
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(FILE_MODE).custom_flags(libc::O_NOFOLLOW);
        let lock = options.open(&path).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(ProviderDir { dir: dir.to_path_buf(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
                "another `portolan external-dns` writes to {}: let it have these zones too, or end it",
                dir.display()
            )),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The records that were stored last; none before the first ones.
    pub(super) fn read(&self) -> Result<RecordBook, String> {
        let path = self.dir.join(RECORDS);
        let content = match files::read(&path, MAX_FILE) {
            Ok(text) => RecordBook::from_json(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RecordBook::default()),
            Err(error) => Err(error.to_string()),
        };
        content.map_err(|why| {
            let path = path.display();
            format!("{path}: {why}. This file has the records of external-dns: correct it, or move it away")
        })
    }

    /// The content of a zone's policy file; `None` where there is none. An error says that the file is not ours.
    pub(super) fn policy(&self, zone: &Name) -> Result<Option<Vec<u8>>, String> {
        let path = self.dir.join(policy_file(zone));
        match files::read(&path, MAX_FILE) {
            Ok(text) if text.starts_with(HEADER.as_bytes()) => Ok(Some(text)),
            Ok(_) => Err(format!(
                "{} was not written by `portolan external-dns`, and is not overwritten: move it away, or give this \
                 command another zone",
                path.display()
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Replaces a file in one step. `is_durable`: it must outlive a power cut.
    pub(super) fn replace(&self, name: &str, text: &[u8], is_durable: bool) -> Result<(), String> {
        let temporary = self.dir.join(format!(".{name}.new"));
        let write = || -> io::Result<()> {
            // A process that was killed may have left one.
            match remove_file(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(FILE_MODE).custom_flags(libc::O_NOFOLLOW);
            let mut file = options.open(&temporary)?;
            file.write_all(text)?;
            if is_durable {
                file.sync_all()?;
            }
            rename(&temporary, self.dir.join(name))?;
            if is_durable {
                File::open(&self.dir)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|error| {
            // Others may need the room.
            let _ = remove_file(&temporary);
            format!("{}: {error}", self.dir.join(name).display())
        })
    }
}

/// The name of a zone's policy file.
pub(super) fn policy_file(zone: &Name) -> String {
    format!("{}.policy.toml", shown(zone))
}
