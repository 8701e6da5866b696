//! Reaps orphans. Process 1 of a container becomes the parent of every process whose own parent has ended, such as what
//! the program of an exec monitor left running. It must wait for them: otherwise each stays a zombie and occupies a
//! process number. It must not take the exit codes of the programs that this process started itself, so those are in a
//! list.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The least time from one search to the next: each search reads a file of every process.
const SPACING: Duration = Duration::from_millis(100);
/// The most time from one search to the next, because the kernel merges signals. Judgment.
const AT_LEAST_EVERY: Duration = Duration::from_secs(10);

/// The processes that this process started itself and has not waited for yet.
static OWN_PROCESSES: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Shared by all starts of programs, exclusive for [`reap`]: a process that is being started is not in the list yet.
static STARTS: RwLock<()> = RwLock::new(());

/// A running program that this process started.
pub(crate) struct Program {
    // Declared first, so that it is dropped before its entry.
    child: Child,
    _entry: ListEntry,
}

struct ListEntry(Option<u32>);

impl Drop for ListEntry {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            own_processes().remove(&id);
        }
    }
}

impl Program {
    /// Starts the program. Blocks until the kernel has loaded it, which takes long on a slow disk and for ever on a
    /// dead mount, so call it on a thread that may block. Other starts do not wait for it.
    pub(crate) fn start(command: &mut Command) -> io::Result<Program> {
        let _starting = STARTS.read().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let id = child.id();
        own_processes().extend(id);
        Ok(Program { child, _entry: ListEntry(id) })
    }

    /// The process.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

fn own_processes() -> MutexGuard<'static, BTreeSet<u32>> {
    OWN_PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps orphans for ever. Returns at once if this is not process 1, which has none.
pub async fn reap_orphans() {
    if !getpid().is_init() {
        return;
    }
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => {
            let what = "orphans of exec monitors will stay zombies: run the container with an init process";
            tracing::warn!(%error, "{what}");
            return;
        }
    };
    loop {
        reap();
        tokio::time::sleep(SPACING).await;
        // The next search begins at the signal, or at the time-out.
        let _ = tokio::time::timeout(AT_LEAST_EVERY, ended.recv()).await;
    }
}

/// Waits for orphans. Does nothing while a program is being started, so a start from a dead mount stops the search
/// until the mount answers.
fn reap() {
    let Ok(_nothing_starts) = STARTS.try_write() else { return };
    let own = own_processes();
    let mut reaped = 0;
    for orphan in zombies_of(getpid()).into_iter().filter(|id| !is_in(&own, *id)) {
        reaped += usize::from(matches!(waitpid(Some(orphan), WaitOptions::NOHANG), Ok(Some(_))));
    }
    if reaped > 0 {
        tracing::debug!(reaped, "orphans were reaped");
    }
}

fn is_in(own: &BTreeSet<u32>, id: Pid) -> bool {
    u32::try_from(id.as_raw_nonzero().get()).is_ok_and(|id| own.contains(&id))
}

/// The ended children of `parent` that were not waited for yet.
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

/// Whether `stat` (proc(5), `/proc/pid/stat`) describes an ended child of `parent`. The name of the command is in
/// brackets and may contain spaces and brackets itself.
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
    async fn own_processes_are_found_and_not_reaped() {
        let mut program = Program::start(Command::new("/bin/sh").args(["-c", "exit 7"])).expect("it starts");
        let id = program.child().id().expect("it was not waited for");
        // Other tests may have zombies at the same time.
        let found = || zombies_of(getpid()).into_iter().find(|zombie| zombie.as_raw_nonzero().get() as u32 == id);
        let zombie = loop {
            match found() {
                Some(zombie) => break zombie,
                None => std::thread::yield_now(),
            }
        };
        assert!(is_in(&own_processes(), zombie));
        assert_eq!(program.child().wait().await.expect("its exit code is there").code(), Some(7));
        drop(program);
        assert!(!own_processes().contains(&id));
    }
}
