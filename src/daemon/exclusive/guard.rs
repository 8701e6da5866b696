//! The process between a server and its `on_promote` program. The server starts it as the leader of a process group, in
//! which the program runs too. It kills the whole group when the server has ended, and when the server has not moved
//! the program's end in time: so also a server that is paused (SIGSTOP) while another one takes its lease over.

use std::io::BufRead;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process, kill_process_group};

use crate::clock;

/// The exit code where the program can't be started, as shells have it.
const NOT_STARTED: u8 = 127;
/// The exit code where the program was not started, because its time was over.
const TOO_LATE: u8 = 124;
/// Added to the number of the signal that ended the program, as shells do.
const BY_SIGNAL: i32 = 128;

/// What the guard waits for.
enum GuardEvent {
    /// The program may run until then, in nanoseconds of the monotonic clock.
    Until(u64),
    /// The server has ended.
    Orphaned,
    /// The program has ended.
    Ended(ExitStatus),
}

/// Runs `program` until it ends, at most until `until`, in nanoseconds of the monotonic clock. Each line of standard
/// input is another such time. At the end of standard input the program is killed.
pub(crate) fn guard(program: &[String], mut until: u64) -> ExitCode {
    let Some((path, arguments)) = program.split_first() else { return ExitCode::from(NOT_STARTED) };
    if left(until).is_zero() {
        return ExitCode::from(TOO_LATE);
    }
    let mut child = match Command::new(path).args(arguments).stdin(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cannot run {path}: {error}");
            return ExitCode::from(NOT_STARTED);
        }
    };
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (sender, events) = channel();
    let of_input = sender.clone();
    std::thread::spawn(move || read_input(&of_input));
    std::thread::spawn(move || {
        if let Ok(status) = child.wait() {
            // The guard may have killed the program and be about to end.
            let _ = sender.send(GuardEvent::Ended(status));
        }
    });
    loop {
        match events.recv_timeout(left(until)) {
            Ok(GuardEvent::Until(later)) => until = later,
            Ok(GuardEvent::Ended(status)) => return exit_code(status),
            Ok(GuardEvent::Orphaned) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                kill(id);
                return ExitCode::from(TOO_LATE);
            }
        }
    }
}

/// Each line is a time; what is no number ends the program.
fn read_input(events: &Sender<GuardEvent>) {
    for line in std::io::stdin().lock().lines() {
        let until = line.ok().and_then(|line| line.trim().parse().ok());
        let Some(until) = until else { break };
        if events.send(GuardEvent::Until(until)).is_err() {
            return;
        }
    }
    // The receiver is the main thread; without it the process has ended.
    let _ = events.send(GuardEvent::Orphaned);
}

fn left(until: u64) -> Duration {
    Duration::from_nanos(until.saturating_sub(clock::monotonic_nanos()))
}

/// Kills the group, this process too; only the program, if this process does not lead its group.
fn kill(program: Option<Pid>) {
    let group = getpgrp();
    // An error means that it has ended.
    let _ = match (group == getpid(), program) {
        (true, _) => kill_process_group(group, Signal::KILL),
        (false, Some(program)) => kill_process(program, Signal::KILL),
        (false, None) => Ok(()),
    };
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| BY_SIGNAL + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
