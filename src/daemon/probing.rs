//! The threads that probe. They are a runtime of their own, so that thousands of probes a second hold up neither a query
//! over TCP nor a change of what is served, and neither of these a probe. UDP is answered by other threads still.

use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// Threads at most; judgment: each carries some 20,000 TCP handshakes a second, which is more than one node should send.
const MOST_THREADS: usize = 4;
/// For reading certificate stores, and starting programs.
const BLOCKING_THREADS: usize = 4;
/// How much later than a thread that answers one of these gets a core that both want, as a nice value. Judgment: it
/// gets two thirds of what the other does. With much less a flood of queries would make probes late, and what is late
/// looks dead: an attack on the answers must not become an outage of the endpoints.
const NICE: i32 = 2;

/// What runs on them when they end gets this long to be put away (judgment: it is killing programs and closing sockets).
const LAST_GRACE: Duration = Duration::from_secs(1);

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

    /// Ends them, when all that runs on them is put away: the programs of exec probes are killed by that, which must have
    /// happened before this process ends.
    pub(crate) async fn stop(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // An error is a panic, which has been printed.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LAST_GRACE)).await;
        }
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
    async fn what_runs_is_put_away_before_the_end() {
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
