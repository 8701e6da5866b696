//! Calls that cost much processor time. They run on threads of low priority, so that they delay neither answers nor
//! steering nor `/healthz`, and few run at a time, so that many clients cost no more than a few.
//!
//! - [`Costly::run`] is for calls that differ from client to client: a few run, some wait, further ones are refused.
//! - [`SharedWork`] is for calls that give every client the same: while one runs, all further ones wait for the next.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinError, JoinHandle};

use crate::admission::{SiteShare, SiteShares};
use crate::control::problem::{problem, retry_after};
use crate::control::request::ErrorResponse;

/// Most calls that run at a time: with more, each of them takes longer and none ends sooner (judgment, for two cores).
const MOST_RUNNING: usize = 2;

/// Most calls that wait. Each takes some milliseconds, so the last one waits for about half a second (judgment).
const MOST_WAITING: usize = 64;

/// Most calls of one site that run or wait, so that others have a turn too (judgment: some people behind one address).
const MOST_OF_A_SITE: usize = 16;

/// The threads for such calls, and who may use them.
#[derive(Debug, Clone)]
pub(crate) struct Costly {
    /// `None`: those of the caller's runtime.
    threads: Option<Handle>,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
    shares: SiteShares,
}

impl Default for Costly {
    fn default() -> Costly {
        let seats = |seats| Arc::new(Semaphore::new(seats));
        Costly {
            threads: None,
            running: seats(MOST_RUNNING),
            admitted: seats(MOST_RUNNING + MOST_WAITING),
            pieces: seats(MOST_RUNNING),
            shares: SiteShares::new(MOST_OF_A_SITE),
        }
    }
}

impl Costly {
    /// On these threads.
    pub(crate) fn on(threads: Handle) -> Costly {
        Costly { threads: Some(threads), ..Costly::default() }
    }

    /// Runs `work` without waiting for a turn, for callers that limit themselves.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.threads {
            Some(threads) => threads.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }

    /// Runs `work`, which makes a piece of a long response, when it is its turn among such pieces. The error is a
    /// panic.
    pub(crate) async fn run_piece<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let seat = self.pieces.clone().acquire_owned().await;
        let work = self.spawn(move || {
            let _seat = seat;
            work()
        });
        work.await
    }

    /// A share of what the site of `client` may have at a time, for [`Costly::run`] and for a response in pieces. The
    /// error is a response: 503 when the site has as many as it may.
    pub(crate) fn share(&self, client: IpAddr) -> Result<SiteShare, ErrorResponse> {
        self.shares.take(client).ok_or_else(|| Box::new(busy(MOST_OF_A_SITE, "of your net run or wait")))
    }

    /// Runs `work` when it is its turn. The error is a response: 503 when too many wait already, 500 after a panic.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ErrorResponse> {
        let Ok(admitted) = self.admitted.clone().try_acquire_owned() else {
            return Err(Box::new(busy(MOST_RUNNING + MOST_WAITING, "run or wait")));
        };
        // The semaphore is never closed.
        let running = self.running.clone().acquire_owned().await.map_err(|_| broke_off())?;
        let work = self.spawn(move || {
            // A client that goes away gives its turn back only when the work has ended.
            let _seats = (admitted, running);
            work()
        });
        work.await.map_err(|_| broke_off())
    }
}

/// Work with one result for all who wait for it. A caller gets a result whose work began after its call.
#[derive(Debug)]
pub(crate) struct SharedWork<T> {
    waiting: Arc<Mutex<WaitingCalls<T>>>,
}

#[derive(Debug)]
struct WaitingCalls<T> {
    is_running: bool,
    /// Those who get the next result. Bounded by the number of connections.
    calls: Vec<oneshot::Sender<T>>,
}

impl<T> Default for SharedWork<T> {
    fn default() -> SharedWork<T> {
        SharedWork { waiting: Arc::new(Mutex::new(WaitingCalls { is_running: false, calls: Vec::new() })) }
    }
}

impl<T: Clone + Send + 'static> SharedWork<T> {
    /// The result of `work`, or of the equal work of another caller. The error is a response: 500 after a panic.
    pub(crate) async fn result(
        &self,
        costly: &Costly,
        work: impl Fn() -> T + Send + 'static,
    ) -> Result<T, ErrorResponse> {
        self.join(costly, work).await.map_err(|_| broke_off())
    }

    fn join(&self, costly: &Costly, work: impl Fn() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (sender, result) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.calls.push(sender);
        if !std::mem::replace(&mut waiting.is_running, true) {
            let turn = Turn { waiting: self.waiting.clone(), has_ended: false };
            costly.spawn(move || turn.work_for_all(work));
        }
        result
    }
}

/// The right to work. When it is dropped too early, because the threads end, those who wait get an error.
struct Turn<T> {
    waiting: Arc<Mutex<WaitingCalls<T>>>,
    has_ended: bool,
}

impl<T: Clone> Turn<T> {
    /// Works until nobody waits.
    fn work_for_all(mut self, work: impl Fn() -> T) {
        while let Some(calls) = self.next() {
            // A panic is printed; those who wait for this result get an error.
            let Ok(result) = catch_unwind(AssertUnwindSafe(&work)) else { continue };
            for call in calls {
                // The client may have gone.
                let _ = call.send(result.clone());
            }
        }
    }

    /// Who gets the next result; `None` ends the turn.
    fn next(&mut self) -> Option<Vec<oneshot::Sender<T>>> {
        let mut waiting = lock(&self.waiting);
        waiting.calls.retain(|call| !call.is_closed());
        waiting.is_running = !waiting.calls.is_empty();
        self.has_ended = !waiting.is_running;
        waiting.is_running.then(|| std::mem::take(&mut waiting.calls))
    }
}

impl<T> Drop for Turn<T> {
    fn drop(&mut self) {
        if !self.has_ended {
            *lock(&self.waiting) = WaitingCalls { is_running: false, calls: Vec::new() };
        }
    }
}

fn lock<T>(waiting: &Mutex<WaitingCalls<T>>) -> MutexGuard<'_, WaitingCalls<T>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn busy(calls: usize, what: &str) -> Response {
    let detail = format!("{calls} calls of this kind {what} already: call again in a second");
    retry_after(problem(StatusCode::SERVICE_UNAVAILABLE, detail), Duration::from_secs(1))
}

fn broke_off() -> ErrorResponse {
    Box::new(problem(StatusCode::INTERNAL_SERVER_ERROR, "the call broke off; the log has the reason".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use axum::http::header;
    use futures_util::future::join_all;

    use super::*;

    /// Work that begins, and ends when the test lets it.
    #[derive(Clone)]
    struct Gate {
        begun: tokio::sync::mpsc::UnboundedSender<()>,
        end: Arc<Mutex<mpsc::Receiver<()>>>,
    }

    fn gate() -> (Gate, tokio::sync::mpsc::UnboundedReceiver<()>, mpsc::Sender<()>) {
        let ((begun, beginnings), (end, ends)) = (tokio::sync::mpsc::unbounded_channel(), mpsc::channel());
        (Gate { begun, end: Arc::new(Mutex::new(ends)) }, beginnings, end)
    }

    impl Gate {
        fn pass(&self) {
            self.begun.send(()).unwrap();
            self.end.lock().unwrap().recv().unwrap();
        }
    }

    #[tokio::test]
    async fn calls_during_the_work_share_the_next_one() {
        const CALLS: usize = 100;
        let (gate, mut beginnings, end) = gate();
        let (costly, shared) = (Costly::default(), Arc::new(SharedWork::default()));
        let works = Arc::new(AtomicUsize::new(0));
        let call = || {
            let (costly, shared, works, gate) = (costly.clone(), shared.clone(), works.clone(), gate.clone());
            async move {
                let work = move || {
                    gate.pass();
                    works.fetch_add(1, Ordering::SeqCst) + 1
                };
                shared.result(&costly, work).await.map_err(|error| error.status())
            }
        };
        let first = tokio::spawn(call());
        beginnings.recv().await.unwrap();
        let others: Vec<_> = (0..CALLS).map(|_| tokio::spawn(call())).collect();
        while lock(&shared.waiting).calls.len() < CALLS {
            tokio::task::yield_now().await;
        }
        end.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(1));
        end.send(()).unwrap();
        for other in join_all(others).await {
            assert_eq!(other.unwrap(), Ok(2), "the work that had begun was not theirs, and they share one");
        }
        end.send(()).unwrap();
        assert_eq!(call().await, Ok(3), "nothing is stored for later");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_for_those_who_wait_and_not_for_the_next() {
        let (costly, shared) = (Costly::default(), SharedWork::<u8>::default());
        let calls = Arc::new(AtomicUsize::new(0));
        let work = move || if calls.fetch_add(1, Ordering::SeqCst) == 0 { panic!("a bug") } else { 7 };
        let broken = shared.result(&costly, work.clone()).await.map_err(|error| error.status());
        assert_eq!(broken, Err(StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!(shared.result(&costly, work).await.map_err(|error| error.status()), Ok(7));
        let broken = costly.run(|| -> u8 { panic!("a bug") }).await.map_err(|error| error.status());
        assert_eq!(broken, Err(StatusCode::INTERNAL_SERVER_ERROR));
    }

    #[tokio::test]
    async fn few_calls_run_some_wait_and_further_ones_are_refused() {
        let (gate, mut beginnings, end) = gate();
        let costly = Costly::default();
        let call = || {
            let (costly, gate) = (costly.clone(), gate.clone());
            tokio::spawn(async move { costly.run(move || gate.pass()).await.map_err(|error| error.status()) })
        };
        let calls: Vec<_> = (0..MOST_RUNNING + MOST_WAITING).map(|_| call()).collect();
        for _ in 0..MOST_RUNNING {
            beginnings.recv().await.unwrap();
        }
        while costly.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(beginnings.try_recv().is_err(), "more than a few run");
        let refused = costly.run(|| ()).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        calls.iter().for_each(|_| end.send(()).unwrap());
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(()));
        }
        assert!(costly.run(|| ()).await.is_ok());
    }

    #[tokio::test]
    async fn a_site_has_a_part_of_the_calls() {
        let costly = Costly::default();
        let [flood, other] = ["192.0.2.1", "192.0.2.2"].map(|client| client.parse().unwrap());
        let taken: Vec<_> = (0..MOST_OF_A_SITE).map(|_| costly.share(flood).unwrap()).collect();
        let refused = costly.share(flood).unwrap_err();
        assert_eq!(
            (refused.status(), refused.headers()[header::RETRY_AFTER].as_bytes()),
            (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..])
        );
        assert!(costly.share(other).is_ok());
        drop(taken);
        assert!(costly.share(flood).is_ok());
    }
}
