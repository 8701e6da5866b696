//! The calls of the file system that are in progress. A call does not return while the server of a mount is gone, and
//! nothing can end it. So every call on a path of the user is listed here while it lasts, and the thread that waits
//! for a load can see which file holds it up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::model::Moment;

/// It is a static because a call holds up the whole process, whoever made it. The keys count the calls.
static CALLS: Mutex<Calls> = Mutex::new(Calls { made: 0, in_progress: BTreeMap::new() });

#[derive(Debug)]
struct Calls {
    made: u64,
    in_progress: BTreeMap<u64, (PathBuf, Moment)>,
}

fn calls() -> MutexGuard<'static, Calls> {
    // A panic leaves at worst an entry too many.
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call in progress, until it is dropped.
#[derive(Debug)]
pub(super) struct FileCall(u64);

impl FileCall {
    /// A call on this path begins.
    pub(super) fn begin(path: &Path) -> FileCall {
        let begun = clock::now();
        let mut calls = calls();
        calls.made += 1;
        let number = calls.made;
        calls.in_progress.insert(number, (path.to_path_buf(), begun));
        FileCall(number)
    }

    /// The next call on the same path begins: a long file is read by many.
    pub(super) fn next(&self) {
        let begun = clock::now();
        if let Some((_, since)) = calls().in_progress.get_mut(&self.0) {
            *since = begun;
        }
    }
}

impl Drop for FileCall {
    fn drop(&mut self) {
        calls().in_progress.remove(&self.0);
    }
}

/// Makes a call on a path of the user.
pub(crate) fn listed<T>(path: &Path, call: impl FnOnce() -> T) -> T {
    let _call = FileCall::begin(path);
    call()
}

/// The call that has been in progress for longest, of those that began at `since` or later.
pub(super) fn longest(since: Moment) -> Option<(PathBuf, Moment)> {
    let calls = calls();
    let ours = calls.in_progress.values().filter(|(_, begun)| *begun >= since);
    ours.min_by_key(|(_, begun)| *begun).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_listed_while_it_lasts() {
        let path = Path::new("/a/file/of/the/test/of/calls");
        let is_listed = || calls().in_progress.values().any(|(listed, _)| listed == path);
        let begun = clock::now();
        listed(path, || {
            assert!(is_listed());
            assert!(longest(begun).is_some());
            assert!(longest(clock::now() + std::time::Duration::from_secs(60)).is_none());
        });
        assert!(!is_listed());
    }
}
