//! Running the attempts of one probe as [`Pace`] says: the first that is answered, well or badly, ends it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;

use crate::clock;
use crate::health::probe::failure::{Failure, Granted};
use crate::health::{Move, Pace};
use crate::model::Moment;

/// Stages of an attempt: it connects; it stands and waits for its turn; it has its turn; the answer has begun.
const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
const ASKING: u8 = 2;
const ANSWERING: u8 = 3;
/// Another attempt was answered before this one had its turn.
const NOT_NEEDED: u8 = 4;

/// What is left of the attempts of a probe that has its result.
pub(super) type Rest<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What came of a race.
pub(super) struct Raced<'a> {
    pub(super) result: Result<Duration, Failure>,
    /// What was granted, where the race ended with its time.
    pub(super) granted: Option<Granted>,
    /// Attempts that were not the first to be answered. They end their connections in order, where they get the time
    /// for it.
    pub(super) rest: Option<Rest<'a>>,
}

/// An attempt's turn to ask, which it waits for on its connection. Only [`race`] gives it.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    stage: Arc<AtomicU8>,
}

impl Turn {
    /// To be waited for once the connection stands that was begun at `began`. Gives the moment that the round trip
    /// counts from: that, put off by what was waited, which is none of the other side's time. `None`: another attempt
    /// was answered meanwhile.
    pub(super) async fn wait(&self, began: Moment) -> Option<Moment> {
        let connected = clock::now();
        // Whoever gives the turn also polls this, so there is nobody to be woken by.
        let is_needed = poll_fn(|_| match self.stage.load(Ordering::Relaxed) {
            ASKING | ANSWERING => Poll::Ready(true),
            NOT_NEEDED => Poll::Ready(false),
            _ => {
                self.stage.store(CONNECTED, Ordering::Relaxed);
                Poll::Pending
            }
        });
        is_needed.await.then(|| began + clock::now().since(connected))
    }

    /// The answer has begun, and the result waits for more of it: nothing needs to be asked again.
    pub(super) fn answered(&self) {
        self.stage.store(ANSWERING, Ordering::Relaxed);
    }
}

/// An attempt that was begun; without a future when it had no means to.
struct Running<A> {
    attempt: Option<Pin<Box<A>>>,
    turn: Turn,
    is_connected: bool,
    is_answered: bool,
}

/// What came of waiting for attempts.
enum News<T> {
    Answered(usize, T),
    Connected(usize),
    /// The answer to one of them has begun.
    Begun,
}

/// The same as [`race`], for attempts that are one packet and its answer.
pub(super) async fn repeat<A>(pace: Pace, timeout: Duration, mut begin: impl FnMut() -> A) -> Result<Duration, Failure>
where
    A: Future<Output = Result<Duration, Failure>> + Send,
{
    race(pace, timeout, |_| begin()).await.result
}

/// Begins attempts at `pace` and gives them their turns until one of them ends or `timeout` has passed since the first
/// began. An attempt that was answered, be it with a refusal, is an answer: only silence is asked again.
pub(super) async fn race<'a, A>(mut pace: Pace, timeout: Duration, mut begin: impl FnMut(Turn) -> A) -> Raced<'a>
where
    A: Future<Output = Result<Duration, Failure>> + Send + 'a,
{
    let began = clock::now();
    let mut running: Vec<Running<A>> = Vec::with_capacity(1);
    loop {
        let elapsed = clock::now().since(began);
        if elapsed >= timeout {
            let is_late = pace.is_granted_late();
            let granted = pace.last_connected().map(|at| Granted { last: began + at, is_late });
            let lossy = |(lost, of)| Failure::Lossy { after: timeout, lost, of };
            let result = Err(pace.losses().map_or(Failure::TimedOut { after: timeout }, lossy));
            return Raced { result, granted, rest: None };
        }
        // One at a time, so that what came in while this process stood still is read before more is asked.
        let until = match pace.next(elapsed) {
            Move::Begin => {
                pace.begun(elapsed);
                let turn = Turn { stage: Arc::new(AtomicU8::new(CONNECTING)) };
                let attempt = Some(Box::pin(begin(turn.clone())));
                running.push(Running { attempt, turn, is_connected: false, is_answered: false });
                elapsed
            }
            Move::Ask(nth) => {
                pace.asked(nth, elapsed);
                if let Some(running) = running.get(nth) {
                    running.turn.stage.store(ASKING, Ordering::Relaxed);
                }
                elapsed
            }
            Move::Wait(until) => until.map_or(timeout, |until| until.min(timeout)),
        };
        tokio::select! {
            biased;
            news = news(&mut running) => match news {
                News::Connected(nth) => pace.connected(nth, clock::now().since(began)),
                // A repeat that this host had no means for takes nothing from the attempts that are on their way.
                News::Answered(nth, Err(failure)) if !failure.is_evidence() && are_others(&running, nth) => {
                    if let Some(running) = running.get_mut(nth) {
                        running.attempt = None;
                    }
                    pace.exhausted();
                }
                News::Answered(nth, result) => return Raced { result, granted: None, rest: rest_of(running, nth) },
                News::Begun => pace.answered(),
            },
            // Unconstrained: an attempt that always has something to read uses up what tokio lets a task do in one go,
            // and the end of its time would never be looked at.
            () = unconstrained(tokio::time::sleep(until.saturating_sub(elapsed))) => {}
        }
    }
}

fn are_others<A>(running: &[Running<A>], nth: usize) -> bool {
    running.iter().enumerate().any(|(other, running)| other != nth && running.attempt.is_some())
}

/// The first of them that ends or gets its connection, and which one it is. Waits for ever when there is none.
async fn news<A: Future>(running: &mut [Running<A>]) -> News<A::Output> {
    poll_fn(|cx| {
        for (nth, running) in running.iter_mut().enumerate() {
            let Some(attempt) = &mut running.attempt else { continue };
            if let Poll::Ready(answer) = attempt.as_mut().poll(cx) {
                return Poll::Ready(News::Answered(nth, answer));
            }
            let stage = running.turn.stage.load(Ordering::Relaxed);
            if !running.is_connected && stage == CONNECTED {
                running.is_connected = true;
                return Poll::Ready(News::Connected(nth));
            }
            if !running.is_answered && stage == ANSWERING {
                running.is_answered = true;
                return Poll::Ready(News::Begun);
            }
        }
        Poll::Pending
    })
    .await
}

/// What is left when attempt `answered` has ended: those that asked read their responses, the others close as soon as
/// they have their connection. A server takes a reset for an error.
fn rest_of<'a, A: Future + Send + 'a>(running: Vec<Running<A>>, answered: usize) -> Option<Rest<'a>> {
    let mut left: Vec<Pin<Box<A>>> = running
        .into_iter()
        .enumerate()
        .filter(|(nth, _)| *nth != answered)
        .filter_map(|(_, Running { attempt, turn, .. })| {
            let stage = turn.stage.load(Ordering::Relaxed);
            if matches!(stage, CONNECTING | CONNECTED) {
                turn.stage.store(NOT_NEEDED, Ordering::Relaxed);
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
    async fn a_refusal_is_an_answer_and_is_not_asked_again() {
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
    async fn silence_is_asked_again_until_the_time_out() {
        let mut begun = 0;
        let timeout = 80 * MS;
        let answer = repeat(pace(timeout), timeout, || {
            begun += 1;
            pending()
        });
        assert_eq!(answer.await, Err(Failure::TimedOut { after: timeout }));
        // A busy machine may leave some of them out, and the last may begin late; the first always begins.
        assert!((1..=6).contains(&begun), "{begun}");
    }

    #[tokio::test]
    async fn an_attempt_that_never_rests_is_ended_too() {
        let timeout = 80 * MS;
        let answer = repeat(pace(timeout), timeout, || async {
            loop {
                tokio::task::consume_budget().await;
            }
        });
        // The other clock is looked at in any case.
        let answer = tokio::time::timeout(20_000 * MS, answer).await.expect("it ends");
        assert_eq!(answer, Err(Failure::TimedOut { after: timeout }));
    }

    #[tokio::test]
    async fn a_repeat_that_can_not_begin_leaves_the_first_attempt_its_chance() {
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
    async fn the_wait_for_a_turn_is_not_in_the_round_trip() {
        let both_begun = Arc::new(Notify::new());
        let asked = Arc::new(AtomicU8::new(0));
        let mut begun = 0;
        // The first two connect at once; only one may ask, and its question gets lost.
        let answer = race(Pace::staged(800 * MS, &Rtt::default(), 2), 20_000 * MS, |turn| {
            begun += 1;
            let (nth, both_begun, asked) = (begun, Arc::clone(&both_begun), Arc::clone(&asked));
            async move {
                let began = clock::now();
                match nth {
                    1 => both_begun.notified().await,
                    2 => both_begun.notify_one(),
                    _ => pending().await,
                }
                let counted_from = turn.wait(began).await.expect("it has its turn before the race ends");
                if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                    return pending().await;
                }
                Ok(counted_from.since(began))
            }
        });
        let waited = answer.await.result.expect("the other is answered");
        assert!(waited >= 40 * MS, "a sixteenth of 800 ms at least lies between two questions: {waited:?}");
    }
}
