//! Ended processes that are this process's children without being its own. As process 1 of a container it is given
//! every process whose parent is gone, such as what the program of an exec monitor left behind: somebody must wait
//! for those, or each stays a zombie and takes a process number for ever. The exit codes of our own programs must not
//! be taken away by that, so that everything that is started is entered in a list first.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// From one search to the next at least: each reads a file of every process there is.
const SPACING: Duration = Duration::from_millis(100);
/// And at most, as signals that come together are one. Judgment.
const AT_LEAST_EVERY: Duration = Duration::from_secs(10);

/// Our own, from before they are started until they are waited for.
static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A program of ours.
pub(super) struct Program {
    // Dropped before its entry.
    child: Child,
    _entry: Entry,
}

struct Entry(Option<u32>);

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            own().remove(&id);
        }
    }
}

impl Program {
    /// Starts it. An error is the system's.
    pub(super) fn start(command: &mut Command) -> io::Result<Program> {
        // Nobody looks for orphans until it is entered.
        let mut own = own();
        let child = command.spawn()?;
        let id = child.id();
        own.extend(id);
        Ok(Program { child, _entry: Entry(id) })
    }

    /// The process.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

fn own() -> MutexGuard<'static, BTreeSet<u32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for orphans for as long as this runs; where this is not process 1 there are none, and it returns at once.
pub async fn reap_orphans() {
    if !getpid().is_init() {
        return;
    }
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => {
            tracing::warn!(%error, "orphans of exec monitors will stay zombies: run the container with an init process");
            return;
        }
    };
    loop {
        reap();
        tokio::time::sleep(SPACING).await;
        // Out of time or not: it is looked again.
        let _ = tokio::time::timeout(AT_LEAST_EVERY, ended.recv()).await;
    }
}

fn reap() {
    let own = own();
    let mut reaped = 0;
    for orphan in zombies_of(getpid()).into_iter().filter(|id| !is_in(&own, *id)) {
        reaped += usize::from(matches!(waitpid(Some(orphan), WaitOptions::NOHANG), Ok(Some(_))));
    }
    if reaped > 0 {
        tracing::debug!(reaped, "orphans that ended");
    }
}

fn is_in(own: &BTreeSet<u32>, id: Pid) -> bool {
    u32::try_from(id.as_raw_nonzero().get()).is_ok_and(|id| own.contains(&id))
}

/// Ended children of `parent` that nobody has waited for.
fn zombies_of(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let ids = names.filter_map(|name| name.parse().ok().and_then(Pid::from_raw));
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()));
        stat.is_ok_and(|stat| is_zombie_of(&stat, parent))
    })
    .collect()
}

/// Whether `stat` (proc(5), `/proc/pid/stat`) is of an ended child of `parent`. The command's name is in brackets,
/// and may itself hold spaces and brackets.
fn is_zombie_of(stat: &str, parent: Pid) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next();
    let of = fields.next().and_then(|of| of.parse().ok()).and_then(Pid::from_raw);
    state == Some("Z") && of == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_known_by_its_state_and_its_parent() {
        let parent = Pid::from_raw(1).expect("a process");
        for (stat, is_one) in [
            ("7 (sh) Z 1 7 7 0 -1", true),
            ("7 (sh) S 1 7 7 0 -1", false),
            ("7 (sh) Z 2 7 7 0 -1", false),
            ("7 (a) Z 1 (b) S 1 7 7 0 -1", false),
            ("7 (a b) c) Z 1 7 7 0 -1", true),
            ("", false),
            ("7 (sh)", false),
        ] {
            assert_eq!(is_zombie_of(stat, parent), is_one, "{stat:?}");
        }
    }

    #[tokio::test]
    async fn our_own_are_found_and_left_alone() {
        let mut program = Program::start(Command::new("/bin/sh").args(["-c", "exit 7"])).expect("it starts");
        let id = program.child().id().expect("it was not waited for");
        // Ended, and not waited for: other tests may have some at the same time.
        let found = || zombies_of(getpid()).into_iter().find(|zombie| zombie.as_raw_nonzero().get() as u32 == id);
        let zombie = loop {
            match found() {
                Some(zombie) => break zombie,
                None => std::thread::yield_now(),
            }
        };
        assert!(is_in(&own(), zombie));
        assert_eq!(program.child().wait().await.expect("its exit code is there").code(), Some(7));
        drop(program);
        assert!(!own().contains(&id));
    }
}
