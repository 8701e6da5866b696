//! The state directory passes to the user of the running server, before root's rights are gone. Whoever owns it may
//! exchange its entries for links at any moment. So everything is opened without following links, and what is checked
//! and what changes its owner is one opened file.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, fstat, openat, statat,
};
use rustix::io::Errno;

use crate::config::LAST_GOOD_DIR;
use crate::daemon::state::{LOCK, OWN_FILES};

/// The most entries of one directory that are looked at (judgment: some milliseconds; 10,000 zones have 30,000).
pub(super) const MOST_ENTRIES: usize = 100_000;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Who uses the directory from now on.
#[derive(Debug, Clone, Copy)]
pub(super) enum NewUser {
    /// This user and group: they become the owner of what is root's.
    Account(u32, u32),
    /// Root without capabilities: what another user has stays that user's, and root's group may write it too.
    Root,
}

/// Whether root may give this state directory away: it is root's, and it is new or has nothing but what a server put
/// there. A directory that is also for other things, such as `/var/lib`, stays root's.
pub(super) fn may_give(state: &Path, is_new: bool) -> bool {
    open_state(state).is_ok_and(|dir| may_give_opened(&dir, is_new))
}

/// The same for an opened directory: the one that was looked at is the one that is given.
fn may_give_opened(dir: &OwnedFd, is_new: bool) -> bool {
    fstat(dir).is_ok_and(|found| found.st_uid == 0) && (is_new || has_only_own(dir).unwrap_or(false))
}

/// Prepares the directory for its new user. One that isn't there, is a link of another user, or can't be given is left
/// as it is.
pub(super) fn take_over(state: &Path, is_new: bool, to: NewUser) -> io::Result<()> {
    let dir = match open_state(state) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Only what nobody else could have put there is given with all its files.
    let is_given = may_give_opened(&dir, is_new) && pass_dir(&dir, to)?;
    if let NewUser::Account(uid, _) = to
        && fstat(&dir)?.st_uid != uid
    {
        return Ok(());
    }
    for name in entries(&dir)? {
        match &*name {
            LAST_GOOD_DIR => take_over_versions(&dir, is_given, to)?,
            LOCK => pass_file(&dir, &name, to)?,
            _ if is_given && is_own_file(&name) => pass_file(&dir, &name, to)?,
            _ => {}
        }
    }
    // Another user's directory that root writes to.
    if matches!(to, NewUser::Root) {
        pass_dir(&dir, to)?;
    }
    Ok(())
}

/// The directory of versions, with a folder for each version.
fn take_over_versions(state: &OwnedFd, is_given: bool, to: NewUser) -> io::Result<()> {
    let Some(versions) = open_dir(state, LAST_GOOD_DIR)? else { return Ok(()) };
    let names = entries(&versions)?;
    if !names.iter().all(|name| name.ends_with(".json") || name.contains('@') || name.starts_with('.')) {
        // It is for something else.
        return Ok(());
    }
    let is_given = pass_dir(&versions, to)? && is_given;
    for name in names {
        match name.contains('@') {
            true => {
                let Some(folder) = open_dir(&versions, &name)? else { continue };
                let files = if is_given { entries(&folder)? } else { Vec::new() };
                if pass_dir(&folder, to)? {
                    files.iter().try_for_each(|file| pass_file(&folder, file, to))?;
                }
            }
            false if is_given => pass_file(&versions, &name, to)?,
            false => {}
        }
    }
    Ok(())
}

/// Opens the state directory. A link counts only if it is root's own.
fn open_state(state: &Path) -> Result<OwnedFd, Errno> {
    let is_link_of_root = fs::symlink_metadata(state).is_ok_and(|found| found.is_symlink() && found.uid() == 0);
    let real = match is_link_of_root {
        true => fs::canonicalize(state).unwrap_or_else(|_| state.to_path_buf()),
        false => PathBuf::from(state),
    };
    openat(CWD, real.as_path(), DIRECTORY, Mode::empty())
}

/// A directory in `dir`; `None` if the entry is something else, such as a link, or has gone.
fn open_dir(dir: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    match openat(dir, name, DIRECTORY, Mode::empty()) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives an opened directory to its new user; whether it was root's before, and nobody else could write to it.
fn pass_dir(dir: &OwnedFd, to: NewUser) -> io::Result<bool> {
    let found = fstat(dir)?;
    let (is_of_root, mode) = (found.st_uid == 0, Mode::from_raw_mode(found.st_mode));
    match to {
        NewUser::Account(uid, gid) if is_of_root => {
            fchown(dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            fchmod(dir, mode | Mode::RWXU)?;
        }
        NewUser::Root if !is_of_root => {
            fchown(dir, None, Some(Gid::ROOT))?;
            fchmod(dir, mode | Mode::RWXG)?;
        }
        NewUser::Account(..) | NewUser::Root => {}
    }
    Ok(is_of_root && !mode.intersects(Mode::WGRP | Mode::WOTH))
}

/// Gives a regular file of root to its new user. One that has another name elsewhere stays root's.
fn pass_file(dir: &OwnedFd, name: &str, to: NewUser) -> io::Result<()> {
    let NewUser::Account(uid, gid) = to else { return Ok(()) };
    let file = match openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let found = fstat(&file)?;
    if is_regular(&found) && found.st_uid == 0 && found.st_nlink == 1 {
        chownat(&file, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

/// The names in a directory; those that are no text are nobody's of ours.
fn entries(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let names = Dir::read_from(dir)?.take(MOST_ENTRIES).filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().to_str().ok()?;
        (name != "." && name != "..").then(|| name.to_owned())
    });
    Ok(names.collect())
}

/// Whether a state directory has nothing but what a server put there.
fn has_only_own(dir: &OwnedFd) -> io::Result<bool> {
    let mut count = 0;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_str().unwrap_or("?");
        count += 1;
        let is_own = match name {
            "." | ".." => true,
            LAST_GOOD_DIR => {
                statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| kind(&found) == FileType::Directory)
            }
            _ => {
                is_own_file(name)
                    && statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                        .is_ok_and(|it| is_regular(&it) || kind(&it) == FileType::Socket)
            }
        };
        if !is_own || count > MOST_ENTRIES {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether it is the name of a state file, of its next content, or of one that could not be read.
fn is_own_file(name: &str) -> bool {
    let of_next = |name: &str| name.strip_prefix('.').and_then(|name| name.strip_suffix(".new")).map(str::to_owned);
    let name = of_next(name).unwrap_or_else(|| name.trim_end_matches(".unreadable").to_owned());
    name == LOCK || OWN_FILES.contains(&&*name)
}

fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

fn is_regular(found: &Stat) -> bool {
    kind(found) == FileType::RegularFile
}
