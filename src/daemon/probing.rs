//! The threads that probe. They are a runtime of their own, so that thousands of probes a second hold up neither a query
//! over TCP nor a change of what is served, and neither of these a probe. UDP is answered by other threads still.

use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// Threads at most; judgment: each carries some 20,000 TCP handshakes a second, which is more than one node should send.
const MOST_THREADS: usize = 4;
/// For reading certificate stores, and starting programs.
const BLOCKING_THREADS: usize = 4;
/// How much later than a thread that answers one of these gets a core that both want, as a nice value. Judgment: it
/// gets two thirds of what the other does. With much less a flood of queries would make probes late, and what is late
/// looks dead: an attack on the answers must not become an outage of the endpoints.
const NICE: i32 = 2;

/// The threads that probe, until it is dropped.
#[derive(Debug)]
pub(crate) struct Probing {
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Probing {
    /// Starts them. An error is the system's, out of threads or descriptors.
    pub(crate) fn start() -> io::Result<Probing> {
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("probe")
            .on_thread_start(|| {
                // Where it is refused they are as important as the others, which does as well.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .enable_all()
            .build()?;
        Ok(Probing { runtime: Some(runtime) })
    }

    /// What is spawned while this lives runs on them.
    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.runtime.as_ref().map(Runtime::enter)
    }
}

impl Drop for Probing {
    /// Without waiting: this may be dropped by a task, which must not.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
