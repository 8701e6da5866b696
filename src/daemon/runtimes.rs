//! The threads of a running server. Each kind of work has a runtime of its own, so that no kind waits for another:
//!
//! | threads | how many | nice | work |
//! |---|---|---|---|
//! | `udp-N` | as `listen.workers` says | 0 | answer over UDP; [`crate::server`] starts them without a runtime |
//! | `answer` | one for each core, at most 64, + 1 | 0 | answer over TCP, TLS, HTTPS and QUIC |
//! | `steer` | 2 + 2 | 0 | views, overrides, snapshots; state files that an operator waits for |
//! | `probe` | one for each core, at most 4, + 2 | 2 | probes and heartbeats |
//! | `fleet` | 1 + 4, in a node of a fleet | 2 | messages of the fleet |
//! | `sink` | 1 + 1 for each sink, where there are any | 10 | send events to other systems |
//! | `control` | 2 + 2 | 2 | connections of the API, event streams |
//! | `report` | 0 + 8 | 10 | responses that cost much: metrics, status, explain, simulate, names |
//! | `low` | 1 + 11 | 10 | compile the next generation, free old ones, housekeeping files |
//!
//! `2 + 2`: two threads for tasks, and two for calls that block.
//!
//! Two cores have to do for all of them, so the kernel decides who runs: the nice values say who yields. They are
//! relative to the nice value that the process was started with. A system that refuses them runs all with the same
//! priority, which works too.
//!
//! The system may refuse a thread at any moment (`pids.max` of a container, programs that exec monitors left running).
//! So every runtime starts all its threads at once, also those for calls that block, and no thread ends before its
//! runtime. If the system refuses them at the start, that is an error of the start. An idle thread costs some 20 KiB.

use std::io::{self, ErrorKind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// The runtimes but that of probes, which [`super::vantages`] owns, and that of [`super::fleet`].
pub(super) struct Runtimes {
    pub(super) answer: OwnRuntime,
    pub(super) steer: OwnRuntime,
    pub(super) control: OwnRuntime,
    pub(super) report: OwnRuntime,
    pub(super) low: OwnRuntime,
}

/// A kind of threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadKind {
    /// The name of each, at most 15 octets: the kernel shows no more.
    name: &'static str,
    tasks: TaskThreads,
    /// Threads for calls that block.
    blocking: usize,
    /// How much they yield to the threads that answer, from 0. Where both want a core, a thread with 2 gets about two
    /// thirds of what a thread with 0 gets, one with 10 a tenth (`sched_prio_to_weight` of Linux).
    nice: i32,
}

/// How many threads run tasks.
#[derive(Debug, Clone, Copy)]
enum TaskThreads {
    /// One for each core, at most this many.
    Cores(usize),
    /// This many.
    Fixed(usize),
    /// None: there are only calls that block.
    None,
}

/// Judgment: more cores than this are not needed for connections.
const MOST_ANSWER_THREADS: usize = 64;
/// Judgment: each carries some 20,000 TCP handshakes a second, which is more than one node should send.
const MOST_PROBE_THREADS: usize = 4;

const ANSWER: ThreadKind =
    ThreadKind { name: "answer", tasks: TaskThreads::Cores(MOST_ANSWER_THREADS), blocking: 1, nice: 0 };
/// One for the steering task, one for the tasks that write state files: an operator waits for these.
const STEER: ThreadKind = ThreadKind { name: "steer", tasks: TaskThreads::Fixed(2), blocking: 2, nice: 0 };
/// With much less priority a flood of queries would delay probes, and a late reply looks like a dead endpoint: an
/// attack on the answers must not become an outage of the endpoints. Its threads that block read certificate stores.
pub(super) const PROBE: ThreadKind =
    ThreadKind { name: "probe", tasks: TaskThreads::Cores(MOST_PROBE_THREADS), blocking: 2, nice: 2 };
/// Two threads, so that one long write does not hold up every other connection. What costs much runs elsewhere, and a
/// supervisor waits for `/healthz` on a busy machine: so they yield no more than probes do.
const CONTROL: ThreadKind = ThreadKind { name: "control", tasks: TaskThreads::Fixed(2), blocking: 2, nice: 2 };
/// It yields no more than probes do, whose reports it sends. One thread: it must never take more than a core. Threads
/// that block look up names of servers.
pub(super) const FLEET: ThreadKind = ThreadKind { name: "fleet", tasks: TaskThreads::Fixed(1), blocking: 4, nice: 2 };
/// One thread, with low priority: a burst of events must not slow down answers. Of the calls that block, each sink
/// makes one at a time: it looks up a name, or reads a file.
const SINK: ThreadKind = ThreadKind { name: "sink", tasks: TaskThreads::Fixed(1), blocking: 1, nice: 10 };
/// As many as calls run at a time: two of each kind, and one for each text that clients share.
const REPORT: ThreadKind = ThreadKind { name: "report", tasks: TaskThreads::None, blocking: 8, nice: 10 };
/// Eleven threads that block, because a file of a mount that hangs can hold some of them for ever: a load, the look at
/// a certificate, the log of events, and each kind of state file.
const LOW: ThreadKind = ThreadKind { name: "low", tasks: TaskThreads::Fixed(1), blocking: 11, nice: 10 };

/// How long an idle thread stays: until its runtime ends.
const KEEP_ALIVE: Duration = Duration::from_secs(u32::MAX as u64);

/// How long threads have to begin that the system has granted (judgment: a machine that is as busy as that can't
/// serve).
const BEGIN_LIMIT: Duration = Duration::from_secs(20);

/// How long the tasks of a runtime have to end (judgment: they kill programs and close sockets).
pub(super) const LAST_GRACE: Duration = Duration::from_secs(1);

/// One thread, with the priority of control: a standby must follow soon. Of the calls that block, each stream makes one
/// at a time: it looks up a name, or reads a file.
const FOLLOW: ThreadKind = ThreadKind { name: "follow", tasks: TaskThreads::Fixed(1), blocking: 1, nice: 2 };

/// The threads of so many streams that are followed.
pub(super) fn follow_threads(follows: usize) -> ThreadKind {
    ThreadKind { blocking: follows, ..FOLLOW }
}

/// The threads of so many sinks of events.
pub(super) fn sink_threads(sinks: usize) -> ThreadKind {
    ThreadKind { blocking: sinks, ..SINK }
}

impl Runtimes {
    /// Starts all. An error is the system's: out of threads or descriptors.
    pub(super) fn start() -> io::Result<Runtimes> {
        Ok(Runtimes {
            answer: OwnRuntime::start(ANSWER)?,
            steer: OwnRuntime::start(STEER)?,
            control: OwnRuntime::start(CONTROL)?,
            report: OwnRuntime::start(REPORT)?,
            low: OwnRuntime::start(LOW)?,
        })
    }

    /// Ends all, when their tasks have ended or soon after.
    pub(super) async fn stop(self) {
        let Runtimes { answer, steer, control, report, low } = self;
        for runtime in [answer, control, report, low, steer] {
            runtime.stop().await;
        }
    }
}

/// A runtime for a command that runs on the calling thread. It has one more thread, for the stop of a server. An error
/// is the system's: out of threads or descriptors.
pub(crate) fn command_runtime() -> io::Result<Runtime> {
    check_threads(1)?;
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(1).thread_keep_alive(KEEP_ALIVE).build()?;
    begin_blocking(runtime.handle(), 1)?;
    Ok(runtime)
}

/// Whether the system lets this process have so many more threads; the error is its reason.
fn check_threads(count: usize) -> io::Result<()> {
    let mut threads = Vec::new();
    let (gate, waits) = channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let started = (0..count).try_for_each(|_| {
        let waits = waits.clone();
        // Ends when the sender is dropped: all of them are there at the same time.
        let wait = move || _ = waits.lock().unwrap_or_else(PoisonError::into_inner).recv();
        threads.push(thread::Builder::new().spawn(wait)?);
        Ok(())
    });
    drop(gate);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    started
}

/// Starts `count` threads for calls that block.
fn begin_blocking(handle: &Handle, count: usize) -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let (begun, beginnings) = channel();
    for _ in 0..count {
        let (gate, begun) = (gate.clone(), begun.clone());
        handle.spawn_blocking(move || {
            let _ = begun.send(());
            // Each waits until all have begun, so each has a thread of its own.
            drop(gate.lock());
        });
    }
    for _ in 0..count {
        beginnings.recv_timeout(BEGIN_LIMIT).map_err(|_| io::Error::from(ErrorKind::WouldBlock))?;
    }
    drop(closed);
    Ok(())
}

/// Threads of one kind, until it is dropped.
#[derive(Debug)]
pub(super) struct OwnRuntime {
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl OwnRuntime {
    /// Starts the threads. An error is the system's: out of threads or descriptors.
    pub(super) fn start(kind: ThreadKind) -> io::Result<OwnRuntime> {
        let ThreadKind { name, tasks, blocking, nice } = kind;
        let cores = available_parallelism().map_or(1, usize::from);
        let (mut builder, workers) = match tasks {
            TaskThreads::None => (Builder::new_current_thread(), 0),
            TaskThreads::Cores(most) => (Builder::new_multi_thread(), cores.min(most)),
            TaskThreads::Fixed(threads) => (Builder::new_multi_thread(), threads),
        };
        if workers > 0 {
            builder.worker_threads(workers).enable_all();
        }
        // Without this the runtime would panic.
        check_threads(workers + blocking)?;
        let nice = getpriority_process(None).map(|own| own + nice);
        let runtime = builder
            .max_blocking_threads(blocking)
            .thread_keep_alive(KEEP_ALIVE)
            .thread_name(name)
            .on_thread_start(move || {
                // In Linux this is the priority of the calling thread alone.
                let _ = nice.and_then(|nice| setpriority_process(None, nice));
            })
            .build()?;
        let handle = runtime.handle().clone();
        let started = OwnRuntime { runtime: Some(runtime), handle };
        begin_blocking(&started.handle, blocking)?;
        Ok(started)
    }

    /// To spawn tasks on these threads.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a task on these threads.
    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(task)
    }

    /// Calls `make`. The tasks that it spawns and the sockets that it makes belong to these threads.
    pub(super) fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        let _entered = self.handle.enter();
        make()
    }

    /// Ends the threads after their tasks have ended.
    pub(super) async fn stop(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // An error is a panic, which has been printed.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LAST_GRACE)).await;
        }
    }
}

impl Drop for OwnRuntime {
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
        let probing = OwnRuntime::start(PROBE).expect("threads");
        let (begun, mut beginnings) = mpsc::channel(MANY);
        for _ in 0..MANY {
            let (program, begun) = (Program(Arc::clone(&killed)), begun.clone());
            probing.handle().spawn(async move {
                begun.send(()).await.expect("somebody waits");
                pending::<()>().await;
                drop(program);
            });
        }
        for _ in 0..MANY {
            beginnings.recv().await;
        }
        probing.stop().await;
        assert_eq!(killed.load(Ordering::SeqCst), MANY);
    }

    /// The nice value that a thread of a runtime has, and its name.
    async fn thread_of(handle: &Handle) -> (i32, String) {
        let look = || {
            let own = std::thread::current();
            (getpriority_process(None).expect("Linux has it"), own.name().unwrap_or_default().to_owned())
        };
        handle.spawn_blocking(look).await.expect("no panic")
    }

    #[tokio::test]
    async fn control_and_compiling_yield_to_steering_and_steering_to_nobody() {
        let runtimes = Runtimes::start().expect("threads");
        let own = getpriority_process(None).expect("Linux has it");
        let mut found = Vec::new();
        for runtime in [&runtimes.answer, &runtimes.steer, &runtimes.control, &runtimes.report, &runtimes.low] {
            let (nice, name) = thread_of(runtime.handle()).await;
            found.push((nice - own, name));
        }
        let expected = [(0, "answer"), (0, "steer"), (2, "control"), (10, "report"), (10, "low")];
        assert_eq!(found, expected.map(|(nice, name)| (nice, name.to_owned())));
        let of_task = runtimes.low.handle().spawn(async { getpriority_process(None).expect("Linux has it") });
        assert_eq!(of_task.await.expect("no panic") - own, 10);
        assert_eq!(getpriority_process(None).expect("Linux has it"), own, "other threads are as they were");
        runtimes.stop().await;
    }
}
