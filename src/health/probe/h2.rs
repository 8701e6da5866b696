//! One request over HTTP/2 (RFC 9113), for https probes of servers that speak it and for grpc. What the other side
//! may send ahead of what is read is no more than a probe reads of a body.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http2;
use hyper::rt::{Executor, Read, Write};
use hyper::{Request, Response};
use tokio::task::JoinSet;

use crate::health::probe::Failure;
use crate::health::probe::bounded::{BODY_LIMIT, HEAD_LIMIT, REST_LIMIT};
use crate::health::probe::polite::end_in_background;
use crate::model::Moment;

/// Of a stream and of the connection, in octets. The protocol's own is one less, and the least that a connection may
/// have.
const WINDOW: u32 = BODY_LIMIT as u32;

/// Sends `request` on a connection of its own and reads its response by `read`, which gives back the body as far as
/// it is not read. That is done in the background until `until`, and the connection closed in order. `stream` had
/// better gather what is written until it is flushed: preface, settings and request are then one packet, of which
/// none can get lost alone.
pub(super) async fn ask<B, T, F>(
    stream: impl Read + Write + Unpin + Send + 'static,
    request: Request<B>,
    until: Moment,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = (Result<T, Failure>, Option<Incoming>)>,
{
    let tasks = Tasks::default();
    let mut builder = http2::Builder::new(tasks.0.clone());
    builder.max_header_list_size(HEAD_LIMIT as u32);
    builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut sender, connection) = builder.handshake(stream).await.map_err(|error| explain(&error))?;
    let mut connection = Box::pin(connection);
    let talk = async move {
        let (found, body) = match sender.send_request(request).await {
            Ok(response) => read(response).await,
            Err(error) => (Err(explain(&error)), None),
        };
        (found, body, sender)
    };
    let mut talk = pin!(talk);
    let (found, body, sender) = tokio::select! {
        biased;
        ended = &mut talk => ended,
        // The connection has ended: what it brought is still to be read.
        _ = &mut connection => return talk.await.0,
    };
    end_in_background(until, async move {
        if let Some(body) = body {
            tokio::select! {
                () = read_out(body) => {}
                _ = &mut connection => return,
            }
        }
        // Nobody has a use for it any more, so that it says goodbye.
        drop(sender);
        let _ = (&mut connection).await;
        drop(connection);
        tasks.ended().await;
    });
    found
}

/// Reads to the end, but no more than [`REST_LIMIT`].
async fn read_out(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > REST_LIMIT {
            return;
        }
    }
}

/// What hyper runs beside the connection. Ends with the probe, even when the other side never lets go.
#[derive(Default)]
struct Tasks(Spawner);

#[derive(Clone, Default)]
struct Spawner(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}

impl Tasks {
    /// Waits until all have ended.
    async fn ended(&self) {
        poll_fn(|cx| {
            let mut tasks = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(_ended) = ready!(tasks.poll_join_next(cx)) {}
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// What went wrong on a connection that stood: never this host's trouble.
pub(super) fn explain(error: &hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        return Failure::Garbage(format!("response head over {} KiB", HEAD_LIMIT / 1024));
    }
    if error.is_parse() {
        return Failure::Garbage(format!("not HTTP: {error}"));
    }
    if error.is_incomplete_message() {
        return Failure::Closed;
    }
    // The connection ended before the request was on its way: what ended it is within, if anything did but its end.
    if error.is_canceled() {
        return error
            .source()
            .and_then(|source| source.downcast_ref::<hyper::Error>())
            .map_or(Failure::Closed, explain);
    }
    match error.source().and_then(cause).map(Failure::from_io) {
        Some(known) if known.is_evidence() => known,
        Some(_) | None => Failure::Garbage(format!("HTTP failed: {}", deepest(error))),
    }
}

/// The error of the socket below it, if it is one.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref().or_else(|| cause(error.source()?))
}

fn deepest(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => deepest(source),
        None => error.to_string(),
    }
}
