//! The query log by dnstap: each query and each reply, as they were on the wire, for a reader on this machine or in a
//! file. The threads that answer put messages into a bounded [`queue`], and one thread ([`writer`]) writes them to an
//! [`output`]. A reader that is slow, stopped or away costs messages of the log, which are counted, and nothing else.
//! Without `[dnstap]` none of this exists.

mod frames;
mod message;
mod output;
mod queue;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use super::counters::ThreadCounters;
use crate::config::Dnstap;
use message::LogIdentity;
use writer::LogWriter;

pub(crate) use queue::{LogBatch, QueryLog};

/// What is known of a query log.
#[derive(Debug, Default)]
pub struct QueryLogState {
    is_open: AtomicBool,
    written: AtomicU64,
}

/// A query log that begins when the server starts.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLog {
    /// Where it is written.
    pub(crate) dnstap: Dnstap,
    /// The name of this server in each message.
    pub(crate) node: String,
    pub(crate) state: Arc<QueryLogState>,
}

/// A query log that is being written.
#[derive(Debug)]
pub(crate) struct RunningLog {
    pub(crate) log: QueryLog,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl QueryLogState {
    /// Whether the output is open.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Messages that were written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    fn add_written(&self, messages: u64) {
        self.written.fetch_add(messages, Ordering::Relaxed);
    }
}

impl RunningLog {
    /// Starts the thread that writes. Lost messages are counted in `counters`. An error means that the system has no
    /// more threads.
    pub(crate) fn start(planned: PlannedLog, counters: Arc<ThreadCounters>) -> io::Result<RunningLog> {
        let PlannedLog { dnstap, node, state } = planned;
        let version = concat!("portolan ", env!("CARGO_PKG_VERSION")).to_owned();
        let (log, queue) = queue::queue(LogIdentity { node, version }, counters);
        let stop = Arc::new(AtomicBool::new(false));
        let writer = LogWriter { dnstap, queue, state, stop: stop.clone(), held: None };
        let thread = thread::Builder::new().name("dnstap".into()).spawn(move || writer.run())?;
        Ok(RunningLog { log, stop, thread: Some(thread) })
    }

    /// Ends the log after what waits is written. Blocks for about a second where the reader takes nothing.
    pub(crate) fn stop(mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // An error is a panic, which is printed already.
            let _ = thread.join();
        }
    }

    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for RunningLog {
    fn drop(&mut self) {
        self.end();
    }
}
