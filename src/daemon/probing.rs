//! The threads that probe. They are a runtime of their own, so that thousands of probes a second delay neither a
//! query over TCP nor a new snapshot, and neither of these delays a probe. UDP is answered by other threads.

use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// Threads at most; judgment: each carries some 20,000 TCP handshakes a second, which is more than one node should
/// send.
const MOST_THREADS: usize = 4;
/// For reading certificate stores, and starting programs.
const BLOCKING_THREADS: usize = 4;
/// Their nice value: how much they yield to the threads that answer. Judgment: where both want a core, a probing
/// thread gets two thirds of what the other gets. With much less a flood of queries would delay probes, and a late
/// reply looks like a dead endpoint: an attack on the answers must not become an outage of the endpoints.
const NICE: i32 = 2;

/// How long their tasks have to end (judgment: they kill programs and close sockets).
const LAST_GRACE: Duration = Duration::from_secs(1);

/// The threads that probe, until it is dropped.
#[derive(Debug)]
pub(crate) struct Probing {
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Probing {
    /// Starts the threads. An error is the system's: out of threads or descriptors.
    pub(crate) fn start() -> io::Result<Probing> {
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("probe")
            .on_thread_start(|| {
                // If the system refuses, they have the priority of the others, which works too.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .enable_all()
            .build()?;
        Ok(Probing { runtime: Some(runtime) })
    }

    /// Tasks that are spawned while the guard lives run on these threads.
    pub(crate) fn enter(&self) -> Option<EnterGuard<'_>> {
        self.runtime.as_ref().map(Runtime::enter)
    }

    /// Ends the threads after their tasks have ended. That kills the programs of exec probes, which must happen
    /// before this process ends.
    pub(crate) async fn stop(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // An error is a panic, which has been printed.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LAST_GRACE)).await;
        }
    }
}

impl Drop for Probing {
    /// Does not wait: a task, which must not block, may drop this.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    /// Stands for a program that is killed when its probe is dropped.
    struct Program(Arc<AtomicUsize>);

    impl Drop for Program {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn all_tasks_end_before_the_threads_do() {
        const MANY: usize = 1000;
        let killed = Arc::new(AtomicUsize::new(0));
        let probing = Probing::start().expect("threads");
        let (begun, mut beginnings) = mpsc::channel(MANY);
        let on_its_threads = probing.enter();
        for _ in 0..MANY {
            let (program, begun) = (Program(Arc::clone(&killed)), begun.clone());
            tokio::spawn(async move {
                begun.send(()).await.expect("somebody waits");
                pending::<()>().await;
                drop(program);
            });
        }
        drop(on_its_threads);
        for _ in 0..MANY {
            beginnings.recv().await;
        }
        probing.stop().await;
        assert_eq!(killed.load(Ordering::SeqCst), MANY);
    }
}
