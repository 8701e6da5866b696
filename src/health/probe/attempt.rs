//! Runs the attempts of one probe at the times that [`Pace`] gives. The first attempt that gets an answer, good or bad,
//! ends the probe.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;

use crate::clock;
use crate::health::probe::failure::{Failure, GrantedConnections};
use crate::health::{NextStep, Pace};
use crate::model::Moment;

// The stages of an attempt.

/// It connects.
const CONNECTING: u8 = 0;
/// It has its connection and waits for the permit to send its request.
const CONNECTED: u8 = 1;
/// It may send its request.
const PERMITTED: u8 = 2;
/// The answer has begun to arrive.
const ANSWERING: u8 = 3;
/// Another attempt was answered before this one got its permit.
const NOT_NEEDED: u8 = 4;

/// Closes the connections of a probe that already has its result.
pub(super) type Cleanup<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The result of a race of attempts.
pub(super) struct RaceResult<'a> {
    pub(super) result: Result<Duration, Failure>,
    /// The connections that were granted, if the probe timed out.
    pub(super) granted: Option<GrantedConnections>,
    /// The attempts that were not answered first. They close their connections in order if they get the time for it.
    pub(super) cleanup: Option<Cleanup<'a>>,
}

/// The permit to send a request. An attempt waits for it on its open connection. Only [`race`] grants it.
#[derive(Debug, Clone)]
pub(super) struct RequestPermit {
    stage: Arc<AtomicU8>,
}

impl RequestPermit {
    /// Waits for the permit. To be called when the connection that was begun at `began` is open.
    ///
    /// Returns the moment from which the round trip is counted: `began`, moved forward by the time that was waited
    /// here, because the other side had no part in it. `None` means that another attempt was answered meanwhile.
    pub(super) async fn wait(&self, began: Moment) -> Option<Moment> {
        let connected = clock::now();
        // No waker is needed: `race`, which sets the stage, also polls this future.
        let is_needed = poll_fn(|_| match self.stage.load(Ordering::Relaxed) {
            PERMITTED | ANSWERING => Poll::Ready(true),
            NOT_NEEDED => Poll::Ready(false),
            _ => {
                self.stage.store(CONNECTED, Ordering::Relaxed);
                Poll::Pending
            }
        });
        is_needed.await.then(|| began + clock::now().since(connected))
    }

    /// Reports that the answer has begun to arrive and more of it is needed: no request needs to be repeated.
    pub(super) fn answer_began(&self) {
        self.stage.store(ANSWERING, Ordering::Relaxed);
    }
}

/// An attempt that was begun. The future is gone if this host lacked the means for it.
struct RunningAttempt<A> {
    attempt: Option<Pin<Box<A>>>,
    permit: RequestPermit,
    is_connected: bool,
    is_answered: bool,
}

/// What happened to one of the attempts.
enum AttemptEvent<T> {
    Ended(usize, T),
    Connected(usize),
    /// The answer to one of them has begun to arrive.
    AnswerBegan,
}

/// As [`race`], for attempts that are one packet and its answer.
pub(super) async fn repeat<A>(pace: Pace, timeout: Duration, mut begin: impl FnMut() -> A) -> Result<Duration, Failure>
where
    A: Future<Output = Result<Duration, Failure>> + Send,
{
    race(pace, timeout, |_| begin()).await.result
}

/// Begins attempts and permits their requests at `pace`, until one attempt ends or `timeout` has passed since the first
/// began. A refusal is an answer as well: only silence causes a repeat.
pub(super) async fn race<'a, A>(
    mut pace: Pace,
    timeout: Duration,
    mut begin: impl FnMut(RequestPermit) -> A,
) -> RaceResult<'a>
where
    A: Future<Output = Result<Duration, Failure>> + Send + 'a,
{
    let began = clock::now();
    let mut running: Vec<RunningAttempt<A>> = Vec::with_capacity(1);
    loop {
        let elapsed = clock::now().since(began);
        if elapsed >= timeout {
            return timed_out(&pace, began, timeout);
        }
        // One step at a time, so that what arrived while this process was stopped is read before more is sent.
        let until = match pace.next(elapsed) {
            NextStep::Begin => {
                pace.begun(elapsed);
                let permit = RequestPermit { stage: Arc::new(AtomicU8::new(CONNECTING)) };
                let attempt = Some(Box::pin(begin(permit.clone())));
                running.push(RunningAttempt { attempt, permit, is_connected: false, is_answered: false });
                elapsed
            }
            NextStep::Request(nth) => {
                pace.requested(nth, elapsed);
                if let Some(running) = running.get(nth) {
                    running.permit.stage.store(PERMITTED, Ordering::Relaxed);
                }
                elapsed
            }
            NextStep::Wait(until) => until.map_or(timeout, |until| until.min(timeout)),
        };
        tokio::select! {
            biased;
            event = next_event(&mut running) => match event {
                AttemptEvent::Connected(nth) => pace.connected(nth, clock::now().since(began)),
                // This host lacked the means for a repeat. The attempts that are under way go on.
                AttemptEvent::Ended(nth, Err(failure)) if !failure.is_evidence() && are_others(&running, nth) => {
                    if let Some(running) = running.get_mut(nth) {
                        running.attempt = None;
                    }
                    pace.exhausted();
                }
                AttemptEvent::Ended(nth, result) => {
                    return RaceResult { result, granted: None, cleanup: cleanup_after(running, nth) };
                }
                AttemptEvent::AnswerBegan => pace.answered(),
            },
            // Unconstrained: an attempt that always has something to read uses up tokio's budget for a task, and then
            // the timer would never be polled.
            () = unconstrained(tokio::time::sleep(until.saturating_sub(elapsed))) => {}
        }
    }
}

/// The result of a probe whose attempts got no answer in time.
fn timed_out<'a>(pace: &Pace, began: Moment, timeout: Duration) -> RaceResult<'a> {
    let after_overdue_answer = pace.is_granted_late();
    let granted = pace.last_connected().map(|at| GrantedConnections { last: began + at, after_overdue_answer });
    let lossy = |(lost, of)| Failure::Lossy { after: timeout, lost, of };
    let result = Err(pace.losses().map_or(Failure::TimedOut { after: timeout }, lossy));
    RaceResult { result, granted, cleanup: None }
}

fn are_others<A>(running: &[RunningAttempt<A>], nth: usize) -> bool {
    running.iter().enumerate().any(|(other, running)| other != nth && running.attempt.is_some())
}

/// Waits for the next event of any attempt. Waits for ever if there are none.
async fn next_event<A: Future>(running: &mut [RunningAttempt<A>]) -> AttemptEvent<A::Output> {
    poll_fn(|cx| {
        for (nth, running) in running.iter_mut().enumerate() {
            let Some(attempt) = &mut running.attempt else { continue };
            if let Poll::Ready(answer) = attempt.as_mut().poll(cx) {
                return Poll::Ready(AttemptEvent::Ended(nth, answer));
            }
            let stage = running.permit.stage.load(Ordering::Relaxed);
            if !running.is_connected && stage == CONNECTED {
                running.is_connected = true;
                return Poll::Ready(AttemptEvent::Connected(nth));
            }
            if !running.is_answered && stage == ANSWERING {
                running.is_answered = true;
                return Poll::Ready(AttemptEvent::AnswerBegan);
            }
        }
        Poll::Pending
    })
    .await
}

/// What the other attempts still do after attempt `answered` has ended. Those that sent a request read its response.
/// The others close as soon as they are connected. The reason: a server takes a reset for an error.
fn cleanup_after<'a, A: Future + Send + 'a>(running: Vec<RunningAttempt<A>>, answered: usize) -> Option<Cleanup<'a>> {
    let mut left: Vec<Pin<Box<A>>> = running
        .into_iter()
        .enumerate()
        .filter(|(nth, _)| *nth != answered)
        .filter_map(|(_, RunningAttempt { attempt, permit, .. })| {
            let stage = permit.stage.load(Ordering::Relaxed);
            if matches!(stage, CONNECTING | CONNECTED) {
                permit.stage.store(NOT_NEEDED, Ordering::Relaxed);
            }
            attempt
        })
        .collect();
    if left.is_empty() {
        return None;
    }
    Some(Box::pin(poll_fn(move |cx| {
        left.retain_mut(|attempt| attempt.as_mut().poll(cx).is_pending());
        if left.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::Notify;

    use super::*;
    use crate::health::Rtt;

    const MS: Duration = Duration::from_millis(1);

    fn pace(timeout: Duration) -> Pace {
        Pace::light(timeout, &Rtt::default())
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_and_causes_no_repeat() {
        let mut begun = 0;
        let timeout = 60_000 * MS;
        let answer = repeat(pace(timeout), timeout, || {
            begun += 1;
            async { Err(Failure::Refused) }
        });
        assert_eq!(answer.await, Err(Failure::Refused));
        assert_eq!(begun, 1);
    }

    #[tokio::test]
    async fn silence_causes_repeats_until_the_time_out() {
        let mut begun = 0;
        let timeout = 80 * MS;
        let answer = repeat(pace(timeout), timeout, || {
            begun += 1;
            pending()
        });
        assert_eq!(answer.await, Err(Failure::TimedOut { after: timeout }));
        // On a busy machine some repeats may be missed, and the last may begin late. The first always begins.
        assert!((1..=6).contains(&begun), "{begun}");
    }

    #[tokio::test]
    async fn an_attempt_that_is_always_ready_ends_at_the_time_out_too() {
        let timeout = 80 * MS;
        let answer = repeat(pace(timeout), timeout, || async {
            loop {
                tokio::task::consume_budget().await;
            }
        });
        // This timer is polled in any case.
        let answer = tokio::time::timeout(20_000 * MS, answer).await.expect("it ends");
        assert_eq!(answer, Err(Failure::TimedOut { after: timeout }));
    }

    #[tokio::test]
    async fn a_repeat_that_can_not_begin_does_not_end_the_first_attempt() {
        let second_failed = Arc::new(Notify::new());
        let mut begun = 0;
        let timeout = 20_000 * MS;
        let answer = repeat(pace(400 * MS), timeout, || {
            begun += 1;
            let (nth, second_failed) = (begun, Arc::clone(&second_failed));
            async move {
                if nth > 1 {
                    second_failed.notify_one();
                    return Err(Failure::Vantage("no descriptors left".to_owned()));
                }
                second_failed.notified().await;
                Ok(7 * MS)
            }
        });
        assert_eq!(answer.await, Ok(7 * MS));
        assert_eq!(begun, 2, "no more repeats after that");
    }

    #[tokio::test]
    async fn the_wait_for_the_permit_is_not_in_the_round_trip() {
        let both_begun = Arc::new(Notify::new());
        let requests = Arc::new(AtomicU8::new(0));
        let mut begun = 0;
        // The first two connect at the same time. Only one gets its permit, and its request is lost.
        let answer = race(Pace::staged(800 * MS, &Rtt::default(), 2), 20_000 * MS, |permit| {
            begun += 1;
            let (nth, both_begun, requests) = (begun, Arc::clone(&both_begun), Arc::clone(&requests));
            async move {
                let began = clock::now();
                match nth {
                    1 => both_begun.notified().await,
                    2 => both_begun.notify_one(),
                    _ => pending().await,
                }
                let counted_from = permit.wait(began).await.expect("it gets its permit before the race ends");
                if requests.fetch_add(1, Ordering::Relaxed) == 0 {
                    return pending().await;
                }
                Ok(counted_from.since(began))
            }
        });
        let waited = answer.await.result.expect("the other is answered");
        assert!(waited >= 40 * MS, "two requests are at least a sixteenth of 800 ms apart: {waited:?}");
    }
}
