//! Writes the lines of the log. While the server runs, a thread of its own writes them to standard error: who reads
//! standard error may stop reading (a full disk behind a pipe, a stopped terminal), and then every other thread must go
//! on. Lines for which there is no room are dropped and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most octets that wait. Judgment: ten thousand usual lines, which is more than a reload of many zones logs.
const MOST_OCTETS: usize = 1 << 20;

/// The queue of the whole process, which has one standard error.
static QUEUE: LineQueue = LineQueue {
    lines: Mutex::new(WaitingLines { lines: VecDeque::new(), octets: 0, is_writing: false }),
    changed: Condvar::new(),
    is_in_use: AtomicBool::new(false),
    dropped: AtomicU64::new(0),
};

struct LineQueue {
    lines: Mutex<WaitingLines>,
    changed: Condvar,
    /// Whether a thread writes the lines. Until then the caller writes.
    is_in_use: AtomicBool,
    dropped: AtomicU64,
}

struct WaitingLines {
    lines: VecDeque<Vec<u8>>,
    octets: usize,
    /// Whether the thread writes a line that is not in the queue any more.
    is_writing: bool,
}

impl LineQueue {
    fn lock(&self) -> MutexGuard<'_, WaitingLines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, or drops it when there is no room.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.octets + line.len() > MOST_OCTETS {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.octets += line.len();
        waiting.lines.push_back(line.to_vec());
        self.changed.notify_all();
    }

    /// The next line, waited for.
    fn next(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.octets -= line.len();
                waiting.is_writing = true;
                return line;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all lines are written, at most for `bound`.
    fn flush(&self, bound: Duration) {
        let is_busy = |waiting: &mut WaitingLines| waiting.is_writing || !waiting.lines.is_empty();
        drop(self.changed.wait_timeout_while(self.lock(), bound, is_busy));
    }

    /// Writes lines to `out` for ever.
    fn write_to(&self, mut out: impl Write) {
        let mut reported = 0;
        loop {
            // An error, such as a closed pipe, loses the line: there is nowhere to report it.
            let _ = out.write_all(&self.next());
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > reported {
                let lines = dropped - reported;
                reported = dropped;
                tracing::warn!(lines, "lines of the log were lost: standard error was not read");
            }
        }
    }
}

/// From now on a thread of its own writes the log. Call it when threads may be made. A second call does nothing.
pub fn write_apart() -> io::Result<()> {
    if !QUEUE.is_in_use.swap(true, Ordering::Relaxed) {
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(|| QUEUE.write_to(io::stderr()))
            .inspect_err(|_| QUEUE.is_in_use.store(false, Ordering::Relaxed))?;
    }
    Ok(())
}

/// Waits until the log is written, at most for `bound`.
pub fn flush(bound: Duration) {
    if QUEUE.is_in_use.load(Ordering::Relaxed) {
        QUEUE.flush(bound);
    }
}

/// How many lines were dropped since the start.
pub(crate) fn dropped_lines() -> u64 {
    QUEUE.dropped.load(Ordering::Relaxed)
}

/// Takes one line at a time, as the subscriber writes them.
pub(super) struct LineWriter;

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match QUEUE.is_in_use.load(Ordering::Relaxed) {
            true => QUEUE.push(line),
            false => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    fn queue() -> Arc<LineQueue> {
        Arc::new(LineQueue {
            lines: Mutex::new(WaitingLines { lines: VecDeque::new(), octets: 0, is_writing: false }),
            changed: Condvar::new(),
            is_in_use: AtomicBool::new(true),
            dropped: AtomicU64::new(0),
        })
    }

    /// A standard error that takes a line when the test lets it.
    struct Reader {
        turns: mpsc::Receiver<()>,
        read: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.turns.recv();
            let _ = self.read.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_reading_blocks_no_caller_and_loses_only_what_has_no_room() {
        let (queue, (turn, turns), (sender, read)) = (queue(), mpsc::channel(), mpsc::channel());
        let line = vec![b'x'; MOST_OCTETS / 4];
        let writing = queue.clone();
        thread::spawn(move || writing.write_to(Reader { turns, read: sender }));
        queue.push(b"first");
        turn.send(()).unwrap();
        assert_eq!(read.recv().unwrap(), b"first");
        queue.flush(Duration::from_secs(60));
        // One line is taken out to be written; four more have room.
        for _ in 0..5 {
            queue.push(&line);
            while !queue.lock().is_writing {
                thread::yield_now();
            }
        }
        queue.push(b"no room");
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1);
        queue.flush(Duration::ZERO);
        for _ in 0..5 {
            turn.send(()).unwrap();
            assert_eq!(read.recv().unwrap(), line);
        }
        queue.flush(Duration::from_secs(60));
        assert_eq!(queue.lock().octets, 0);
    }
}
