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
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinError, JoinHandle};

use crate::admission::{SiteShare, SiteShares};
use crate::control::problem::{problem, retry_after};
use crate::control::request::ErrorResponse;

/// How many calls may run and wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallLimits {
    /// Most calls that run at a time.
    running: usize,
    /// Most calls that wait. They are served in the order in which they came, so that no client keeps others out.
    waiting: usize,
    /// Most calls of one site that run or wait, so that others have a turn too.
    of_a_site: usize,
    /// The status of the response to a further call.
    refusal: StatusCode,
}

impl CallLimits {
    /// Of calls that take milliseconds. Judgment: with more running on two cores, each takes longer and none ends
    /// sooner; the last one that waits does so for about half a second; some people are behind one address.
    const SHORT: CallLimits =
        CallLimits { running: 2, waiting: 64, of_a_site: 16, refusal: StatusCode::SERVICE_UNAVAILABLE };

    /// Of simulations, each of which occupies a core for a few seconds at most. Judgment: one for a person and one for
    /// a script, of one site as well; the last one that waits does so for some 20 seconds.
    pub(super) const SIMULATIONS: CallLimits =
        CallLimits { running: 2, waiting: 8, of_a_site: 2, refusal: StatusCode::TOO_MANY_REQUESTS };
}

/// The threads for such calls, and who may use them.
#[derive(Debug, Clone)]
pub(crate) struct Costly {
    /// `None`: those of the caller's runtime.
    threads: Option<Handle>,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
    shares: SiteShares,
    limits: CallLimits,
}

impl Default for Costly {
    fn default() -> Costly {
        Costly::with(CallLimits::SHORT)
    }
}

impl Costly {
    /// With these limits, on the caller's runtime.
    pub(super) fn with(limits: CallLimits) -> Costly {
        let seats = |seats| Arc::new(Semaphore::new(seats));
        Costly {
            threads: None,
            running: seats(limits.running),
            admitted: seats(limits.running + limits.waiting),
            pieces: seats(limits.running),
            shares: SiteShares::new(limits.of_a_site),
            limits,
        }
    }

    /// The same on these threads.
    pub(crate) fn on(self, threads: Handle) -> Costly {
        Costly { threads: Some(threads), ..self }
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
    /// error is a response: 503 or 429 when the site has as many as it may.
    pub(crate) fn share(&self, client: IpAddr) -> Result<SiteShare, ErrorResponse> {
        self.shares.take(client).ok_or_else(|| self.busy(self.limits.of_a_site, "of your net run or wait"))
    }

    /// Runs `work` when it is its turn. The error is a response: 503 or 429 when too many wait already, 500 after a
    /// panic.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ErrorResponse> {
        let Ok(admitted) = self.admitted.clone().try_acquire_owned() else {
            return Err(self.busy(self.limits.running + self.limits.waiting, "run or wait"));
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

    fn busy(&self, calls: usize, what: &str) -> ErrorResponse {
        let detail = format!("{calls} calls of this kind {what} already: call again in a second");
        Box::new(retry_after(problem(self.limits.refusal, detail), Duration::from_secs(1)))
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
        let CallLimits { running, waiting, .. } = costly.limits;
        let call = || {
            let (costly, gate) = (costly.clone(), gate.clone());
            tokio::spawn(async move { costly.run(move || gate.pass()).await.map_err(|error| error.status()) })
        };
        let calls: Vec<_> = (0..running + waiting).map(|_| call()).collect();
        for _ in 0..running {
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
    async fn a_client_that_simulates_in_a_loop_waits_behind_those_who_came_meanwhile() {
        let (gate, mut beginnings, end) = gate();
        let costly = Costly::with(CallLimits::SIMULATIONS);
        let order = Arc::new(Mutex::new(Vec::new()));
        let simulate = |name: &'static str, times: usize| {
            let (costly, gate, order) = (costly.clone(), gate.clone(), order.clone());
            tokio::spawn(async move {
                for _ in 0..times {
                    let (gate, order) = (gate.clone(), order.clone());
                    let work = move || {
                        order.lock().unwrap().push(name);
                        gate.pass();
                    };
                    costly.run(work).await.map_err(|error| error.status())?;
                }
                Ok(())
            })
        };
        let loops = [simulate("loop", 2), simulate("loop", 2)];
        for _ in &loops {
            beginnings.recv().await.unwrap();
        }
        let person = simulate("person", 1);
        while costly.admitted.available_permits() > CallLimits::SIMULATIONS.waiting - 1 {
            tokio::task::yield_now().await;
        }
        // One turn is free now, and the person has waited longest.
        end.send(()).unwrap();
        beginnings.recv().await.unwrap();
        assert_eq!(order.lock().unwrap()[2..], ["person"]);
        (0..4).for_each(|_| end.send(()).unwrap());
        for simulated in loops.into_iter().chain([person]) {
            assert_eq!(simulated.await.unwrap(), Ok::<(), StatusCode>(()));
        }
    }

    #[tokio::test]
    async fn a_site_has_a_part_of_the_calls() {
        let costly = Costly::default();
        let [flood, other] = ["192.0.2.1", "192.0.2.2"].map(|client| client.parse().unwrap());
        let taken: Vec<_> = (0..CallLimits::SHORT.of_a_site).map(|_| costly.share(flood).unwrap()).collect();
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
