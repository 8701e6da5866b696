//! The files that a running server uses, and whether the present user may.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, accessat, chownat, fstat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgid, getuid};

use crate::config::LAST_GOOD_DIR;
use crate::daemon::state::LOCK;

/// How a file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// It is read, or its entries are listed.
    Read,
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
    /// The state directory.
    pub(crate) state: Option<PathBuf>,
    /// Whether this start has created the state directory, or found it without content: then it may change its owner.
    pub(crate) is_state_new: bool,
}

/// The first file that can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    need: FileNeed,
    /// The directory above it that can't be entered, if that is the reason.
    closed: Option<PathBuf>,
}

/// The most entries of the directory of versions that are looked at (judgment: some milliseconds; 10,000 zones have
/// 30,000).
const MOST_ENTRIES: usize = 100_000;

impl Needs {
    /// The first file that the real user of this process can't use. While the effective user is another one, root's
    /// rights don't count.
    pub(super) fn first_denied(&self) -> Option<Denied> {
        let outside = self.files.iter().find_map(denied);
        outside.or_else(|| {
            let state = self.state.as_deref()?;
            match self.is_state_new && is_switching() {
                // It becomes the user's own, which only has to reach it.
                true => denied(&FileNeed { path: state.into(), want: Want::Write }).filter(|by| by.closed.is_some()),
                false => denied_below(state),
            }
        })
    }

    /// The user and the group of the state directory.
    pub(super) fn state_owner(&self) -> Option<(u32, u32)> {
        let found = fs::metadata(self.state.as_deref()?).ok()?;
        Some((found.uid(), found.gid()))
    }

    /// Gives the state directory to the user if it is new, and in any case the files of root that this start has made.
    pub(super) fn hand_over(&self, uid: u32, gid: u32) -> std::io::Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let lock = state.join(LOCK);
        for path in [self.is_state_new.then_some(state), Some(&lock)].into_iter().flatten() {
            hand_over_own(path, uid, gid)?;
        }
        Ok(())
    }
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

/// The first directory of the server's own in a state directory that can't be written. Its files are no reason: they
/// are read at the start, and replaced by new ones later. Neither are links and what others have put there.
fn denied_below(state: &Path) -> Option<Denied> {
    let can_write = |path: &Path| denied(&FileNeed { path: path.to_path_buf(), want: Want::Write });
    can_write(state).or_else(|| {
        let zones = Some(state.join(LAST_GOOD_DIR)).filter(|zones| is_dir_of_another(zones))?;
        can_write(&zones).or_else(|| {
            let entries = fs::read_dir(&zones).ok()?.take(MOST_ENTRIES).flatten();
            let folders = entries.filter(|entry| entry.file_name().as_encoded_bytes().contains(&b'@'));
            folders.map(|entry| entry.path()).filter(|path| is_dir_of_another(path)).find_map(|path| can_write(&path))
        })
    })
}

/// Gives root's file or directory to this user. The owner of the directory around it may exchange it for a link at any
/// moment, so what is checked and what changes its owner is one opened file, and never what a link leads to.
fn hand_over_own(path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    let opened = match rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let found = fstat(&opened)?;
    let is_alone = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => true,
        // Another name of it may be anywhere.
        FileType::RegularFile => found.st_nlink == 1,
        _ => false,
    };
    if found.st_uid == 0 && is_alone {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(&opened, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

/// Whether it is a directory, no link, of another user than the real one: what is the user's own it can open again.
fn is_dir_of_another(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() != getuid().as_raw())
}

fn denied(need: &FileNeed) -> Option<Denied> {
    let is_dir = need.path.is_dir();
    let access = match need.want {
        Want::Read if is_dir => Access::READ_OK | Access::EXEC_OK,
        Want::Read => Access::READ_OK,
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

impl Denied {
    /// What `user` can't do, and what to do about it, without a full stop.
    pub(super) fn text(&self, user: String) -> String {
        let Denied { need: FileNeed { path, want }, closed } = self;
        let path = path.display();
        let what = match want {
            Want::Read => "read",
            Want::Run => "run",
            Want::Write => "write",
        };
        match (closed, want) {
            (Some(dir), _) => {
                let dir = dir.display();
                format!("the user {user} can't {what} {path}, because it can't enter {dir}: `chmod a+x {dir}`")
            }
            (None, Want::Read) => format!("the user {user} can't read {path}: `chown -R {user} {path}`"),
            (None, Want::Run) => format!("the user {user} can't run {path}: `chmod a+rx {path}`"),
            (None, Want::Write) => format!("the user {user} can't write {path}: `chown -R {user} {path}`"),
        }
    }
}
