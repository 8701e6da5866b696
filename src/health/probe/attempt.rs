//! Running the attempts of one probe: the first that is answered, well or badly, ends it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::clock;
use crate::health::Pace;
use crate::health::probe::Failure;

/// Begins attempts at `pace` until one of them ends or `timeout` has passed since the first began. An attempt that
/// was answered, be it with a refusal, is an answer: only silence is asked again. Attempts left over are dropped.
pub(super) async fn repeat<A>(pace: Pace, timeout: Duration, begin: impl Fn() -> A) -> Result<Duration, Failure>
where
    A: Future<Output = Result<Duration, Failure>>,
{
    let began = clock::now();
    let mut attempts: Vec<Pin<Box<A>>> = Vec::with_capacity(1);
    let mut next = 0;
    loop {
        let elapsed = clock::now().since(began);
        if elapsed >= timeout {
            return Err(Failure::TimedOut { after: timeout });
        }
        let until = match pace.start_of(next) {
            Some(start) if start <= elapsed => {
                attempts.push(Box::pin(begin()));
                next += 1;
                continue;
            }
            Some(start) => start.min(timeout),
            None => timeout,
        };
        tokio::select! {
            biased;
            answer = first_answer(&mut attempts) => return answer,
            () = tokio::time::sleep(until - elapsed) => {}
        }
    }
}

/// The first of `attempts` that ends. Waits for ever when there is none.
async fn first_answer<A>(attempts: &mut [Pin<Box<A>>]) -> A::Output
where
    A: Future,
{
    poll_fn(|cx| {
        attempts
            .iter_mut()
            .find_map(|attempt| match attempt.as_mut().poll(cx) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            })
            .map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
