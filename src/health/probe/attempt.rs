//! Running the attempts of one probe: the first that is answered, well or badly, ends it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;

use crate::clock;
use crate::health::Pace;
use crate::health::probe::Failure;

/// Begins attempts at `pace` until one of them ends or `timeout` has passed since the first began. An attempt that
/// was answered, be it with a refusal, is an answer: only silence is asked again. Attempts left over are dropped.
pub(super) async fn repeat<A>(pace: Pace, timeout: Duration, mut begin: impl FnMut() -> A) -> Result<Duration, Failure>
where
    A: Future<Output = Result<Duration, Failure>>,
{
    let began = clock::now();
    let mut attempts: Vec<Pin<Box<A>>> = Vec::with_capacity(1);
    let mut next = Some(0);
    loop {
        let elapsed = clock::now().since(began);
        if elapsed >= timeout {
            return Err(Failure::TimedOut { after: timeout });
        }
        // One at a time, so that what came in while this process stood still is read before more is asked.
        if next.and_then(|nth| pace.start_of(nth)).is_some_and(|start| start <= elapsed) {
            attempts.push(Box::pin(begin()));
            next = next.map(|nth| nth + 1);
        }
        let until = next.and_then(|nth| pace.start_of(nth)).map_or(timeout, |start| start.min(timeout));
        tokio::select! {
            biased;
            (nth, answer) = first_answer(&mut attempts) => match answer {
                // A repeat that this host had no means for takes nothing from the attempts that are on their way.
                Err(failure) if !failure.is_evidence() && attempts.len() > 1 => {
                    drop(attempts.swap_remove(nth));
                    next = None;
                }
                answer => return answer,
            },
            // Unconstrained: an attempt that always has something to read uses up what tokio lets a task do in one go,
            // and the end of its time would never be looked at.
            () = unconstrained(tokio::time::sleep(until.saturating_sub(elapsed))) => {}
        }
    }
}

/// The first of `attempts` that ends, and which one it is. Waits for ever when there is none.
async fn first_answer<A>(attempts: &mut [Pin<Box<A>>]) -> (usize, A::Output)
where
    A: Future,
{
    poll_fn(|cx| {
        for (nth, attempt) in attempts.iter_mut().enumerate() {
            if let Poll::Ready(answer) = attempt.as_mut().poll(cx) {
                return Poll::Ready((nth, answer));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

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
}
