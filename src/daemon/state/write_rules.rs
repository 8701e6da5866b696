//! Why the state can't be written where the kernel restricts what this process writes: these file rules are for the
//! directories that were there at the start, not for their paths.

use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether the kernel restricts this process. Nothing takes that back.
static ARE_IN_FORCE: AtomicBool = AtomicBool::new(false);

/// From now on the kernel restricts what this process writes.
pub(crate) fn are_in_force() {
    ARE_IN_FORCE.store(true, Relaxed);
}

/// Why a file of the state directory could not be written, and what to do if the file rules may be the reason.
pub(crate) fn why_unwritten(error: &Error) -> String {
    explained(error, ARE_IN_FORCE.load(Relaxed))
}

fn explained(error: &Error, has_rules: bool) -> String {
    match has_rules && error.kind() == ErrorKind::PermissionDenied {
        true => format!(
            "{error}: the file rules of this process are for the directory that was there at the start. If it was \
             moved or replaced, move it back, or restart the server; with `[run] file_rules = false` and a restart \
             there are no such rules"
        ),
        false => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_kernel_is_explained_by_the_rules_where_there_are_any() {
        for errno in [rustix::io::Errno::ACCESS, rustix::io::Errno::PERM] {
            let error = Error::from(errno);
            assert_eq!(explained(&error, false), error.to_string());
            let shown = explained(&error, true);
            assert!(shown.starts_with(&error.to_string()), "{shown}");
            assert!(shown.contains("there at the start") && shown.contains("`[run] file_rules = false`"), "{shown}");
        }
        let full = Error::from(rustix::io::Errno::NOSPC);
        assert_eq!(explained(&full, true), full.to_string());
    }
}
