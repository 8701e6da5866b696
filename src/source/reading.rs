//! Reads files on a thread of its own, so that whoever waits can give up. A thread that reads a file on a dead mount
//! can't be ended: it stays until the mount is back or the process ends. Decides when a reading is overdue.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock;
use crate::model::Moment;
use crate::source::{Problem, Severity, calls, limit_comparisons};

/// The longest time of one call of the file system, such as opening a file or reading a part of it. Judgment: a disk
/// that wakes up takes 10 s, and a person who waits for `portolan reload` wants to know what it waits for.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// The longest time of a whole load, calls and computing. 100,000 names take 2 s, and 30 s in a debug build; the
/// clients of the API wait for 300 s.
const LOAD_LIMIT: Duration = Duration::from_secs(240);

/// What to do where the system refuses threads.
pub(crate) const MORE_THREADS: &str =
    "raise the limit of processes (pids.max of a container, TasksMax of systemd, `ulimit -u`)";

/// How often somebody who waits looks whether the reading is overdue.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs `read` on a new thread, and `done` with its result on the same thread.
fn start<T: 'static>(
    read: impl FnOnce() -> T + Send + 'static,
    done: impl FnOnce(T) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("files".to_owned()).spawn(move || {
        limit_comparisons();
        done(read());
    })
}

/// Why a reading that began at `begun` is overdue; `None` if it isn't. The file is one that does not answer, or
/// `settings` if the files are only many.
pub(crate) fn overdue(begun: Moment, now: Moment, settings: PathBuf) -> Option<Problem> {
    let error = |file, message| Some(Problem::of_file(file, Severity::Error, message));
    if let Some((file, since)) = calls::longest(begun).filter(|(_, since)| now.since(*since) > CALL_LIMIT) {
        let message = "this file does not answer: a call of the file system has lasted for over";
        let (secs, since) = (CALL_LIMIT.as_secs(), now.since(since).as_secs());
        let hint = "is the server of its mount reachable? A running server loads the files when the call has ended";
        let problem = Problem::of_file(file, Severity::Error, format!("{message} {secs} s ({since} s)"));
        return Some(Problem { hint: Some(hint.to_owned()), ..problem });
    }
    let took = now.since(begun);
    match took > LOAD_LIMIT {
        true => error(settings, format!("loading the files has lasted for over {} s", LOAD_LIMIT.as_secs())),
        false => None,
    }
}

/// Runs `read` on a new thread, and waits until it ends or is overdue. `settings` is the file to name if no single
/// file holds it up.
pub(crate) fn within<T: Send + 'static>(
    settings: PathBuf,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<Problem>> {
    let begun = clock::now();
    let (sender, result) = mpsc::channel();
    // The receiver is gone if the reading is overdue.
    let started = start(read, move |read| drop(sender.send(read)));
    let thread = match started {
        Ok(thread) => thread,
        Err(error) => {
            let why = format!("no thread can be started: {error}");
            let problem = Problem::of_file(settings, Severity::Error, why);
            return Err(Box::new(Problem { hint: Some(MORE_THREADS.to_owned()), ..problem }));
        }
    };
    loop {
        match result.recv_timeout(LOOK_EVERY) {
            Ok(read) => {
                // What follows may need a process without other threads. An error would be a panic after the result.
                let _ = thread.join();
                return Ok(read);
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(problem) = overdue(begun, clock::now(), settings.clone()) {
                    return Err(Box::new(problem));
                }
            }
            // A panic, which has been printed.
            Err(RecvTimeoutError::Disconnected) => {
                let why = "loading the files broke off".to_owned();
                return Err(Box::new(Problem::of_file(settings, Severity::Error, why)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_call_that_lasts_is_reported_before_the_whole_load_is() {
        let begun = clock::now();
        let at = |secs| begun + Duration::from_secs(secs);
        let settings = || PathBuf::from("portolan.toml");
        calls::listed(Path::new("/mnt/dead/a.zone"), || {
            // Another test may have a call in progress too, which is as old.
            let problem = overdue(begun, at(22), settings()).unwrap();
            assert!(problem.message.contains("does not answer"), "{problem}");
        });
        let later = begun + Duration::from_secs(1_000_000);
        assert!(overdue(later, later + Duration::from_secs(239), settings()).is_none());
        let problem = overdue(later, later + Duration::from_secs(241), settings()).unwrap();
        assert_eq!(problem.message, "loading the files has lasted for over 240 s");
        assert_eq!(problem.file, settings());
    }

    #[test]
    fn what_was_read_or_why_not_is_returned() {
        assert_eq!(within(PathBuf::new(), || 7).unwrap(), 7);
        let broken = within(PathBuf::new(), || -> u8 { panic!("a test of a panic") }).unwrap_err();
        assert_eq!(broken.message, "loading the files broke off");
    }
}
