//! The files that a running server uses, and which of them the present user can't use.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{getegid, geteuid, getgid, getuid};

use crate::config::LAST_GOOD_DIR;
use crate::daemon::privileges::takeover::{self, MOST_ENTRIES, NewUser};
use crate::daemon::state::LOCK;

/// How a file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// It is read, or its entries are listed.
    Read,
    /// The same for the system's certificate authorities, which are not the server's.
    ReadAuthorities,
    /// It is a program.
    Run,
    /// It is the state directory or something in it: the server replaces and removes its files.
    Write,
}

/// A file and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileNeed {
    pub(crate) path: PathBuf,
    pub(crate) want: Want,
}

/// All files that are used while the server runs.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Files outside the state directory. One that is missing is no problem: it may appear.
    pub(crate) files: Vec<FileNeed>,
    /// The zones directory: its owner may change the answers.
    pub(crate) zones: PathBuf,
    /// The state directory.
    pub(crate) state: Option<PathBuf>,
    /// Whether this start has created the state directory, or found it without content: then it may change its owner.
    pub(crate) is_state_new: bool,
    /// The file of the query log, if it has one.
    pub(crate) query_log: Option<PathBuf>,
    /// Whether the settings want file rules.
    pub(crate) has_file_rules: bool,
}

/// A file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(super) need: FileNeed,
    /// The directory above it that can't be entered, if that is the reason.
    pub(super) closed: Option<PathBuf>,
}

impl Needs {
    /// All files that the real user of this process can't use, each once. While the effective user is another one,
    /// root's rights don't count. What [`Needs::hand_over`] will give to the user is no problem.
    pub(super) fn denied(&self) -> Vec<Denied> {
        let outside = self.files.iter().filter_map(denied);
        let state = self.state.as_deref().and_then(|state| self.denied_in(state));
        let mut all: Vec<Denied> = Vec::new();
        for one in outside.chain(state) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all
    }

    /// The first directory of the server's own in a state directory that can't be written. Its files are no reason:
    /// they are read at the start, and replaced by new ones later. Neither are links and what others have put there.
    fn denied_in(&self, state: &Path) -> Option<Denied> {
        let is_root = getuid().is_root();
        let can_write = |path: &Path| denied(&FileNeed { path: path.to_path_buf(), want: Want::Write });
        if let Some(refused) = can_write(state) {
            let is_given = match is_root {
                // Root's group gets the right to write it.
                true => true,
                false => takeover::may_give(state, self.is_state_new),
            };
            return Some(refused).filter(|refused| !is_given || refused.closed.is_some());
        }
        // Directories of root become the user's, and root gets the right to write those of others.
        let is_of_third = |path: &Path| {
            fs::symlink_metadata(path)
                .is_ok_and(|found| found.is_dir() && found.uid() != getuid().as_raw() && found.uid() != 0)
        };
        let zones = Some(state.join(LAST_GOOD_DIR)).filter(|zones| !is_root && is_of_third(zones))?;
        can_write(&zones).or_else(|| {
            let entries = fs::read_dir(&zones).ok()?.take(MOST_ENTRIES).flatten();
            let folders = entries.filter(|entry| entry.file_name().as_encoded_bytes().contains(&b'@'));
            folders.map(|entry| entry.path()).filter(|path| is_of_third(path)).find_map(|path| can_write(&path))
        })
    }

    /// The user and the group of the state directory.
    pub(super) fn state_owner(&self) -> Option<(u32, u32)> {
        owner(self.state.as_deref()?)
    }

    /// The user and the group of the zones directory.
    pub(super) fn zones_owner(&self) -> Option<(u32, u32)> {
        owner(&self.zones)
    }

    /// Gives what is root's of the state directory to the user, or the right to write it to root.
    pub(super) fn hand_over(&self, to: NewUser) -> std::io::Result<()> {
        self.state.as_deref().map_or(Ok(()), |state| takeover::take_over(state, self.is_state_new, to))
    }
}

fn owner(path: &Path) -> Option<(u32, u32)> {
    let found = fs::metadata(path).ok()?;
    Some((found.uid(), found.gid()))
}

/// Whether the state directory doesn't exist or has nothing but the lock of a start that failed.
pub(crate) fn is_unused(state: &Path) -> bool {
    match fs::read_dir(state) {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK)),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Whether the effective user is not the real one.
fn is_switching() -> bool {
    getuid() != geteuid() || getgid() != getegid()
}

fn denied(need: &FileNeed) -> Option<Denied> {
    let is_dir = need.path.is_dir();
    let access = match need.want {
        Want::Read | Want::ReadAuthorities if is_dir => Access::READ_OK | Access::EXEC_OK,
        Want::Read | Want::ReadAuthorities => Access::READ_OK,
        Want::Run => Access::EXEC_OK,
        Want::Write if is_dir => Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
        Want::Write => Access::READ_OK | Access::WRITE_OK,
    };
    if is_allowed(&need.path, access) {
        return None;
    }
    let above = need.path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
    let closed = above.filter(|dir| !is_allowed(dir, Access::EXEC_OK)).last();
    Some(Denied { need: need.clone(), closed: closed.map(Path::to_path_buf) })
}

/// Whether the system allows this. A file that isn't there, or a system that doesn't say, is no refusal.
fn is_allowed(path: &Path, access: Access) -> bool {
    // `access(2)` is for the real user with all its capabilities; the other form is for the effective user with those
    // that are effective.
    let flags = if is_switching() { AtFlags::empty() } else { AtFlags::EACCESS };
    match accessat(CWD, path, access, flags) {
        Ok(()) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::PermissionDenied),
    }
}
