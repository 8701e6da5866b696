//! One request over HTTP/2 (RFC 9113): for https probes of servers that speak it, and for grpc probes. The flow-control
//! windows are no larger than the part of a body that a probe searches.

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
use crate::health::probe::body::{ResponseBody, read_rest};
use crate::health::probe::bounded::{BODY_LIMIT, HEAD_LIMIT};
use crate::health::probe::closing::close_in_background;
use crate::model::Moment;

/// The flow-control window of a stream and of the connection, in octets. The default of the protocol, which is also the
/// least for a connection, is one octet less.
const WINDOW: u32 = BODY_LIMIT as u32;

impl ResponseBody for Incoming {
    async fn next_part(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.frame().await {
            // Frames without data are trailers.
            if let Ok(data) = frame.map_err(|error| failure_of(&error))?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Sends `request` on the connection `stream` and reads the response by `read`.
///
/// `read` returns the body if its rest is still to be read. That happens in the background, until `until`; then the
/// connection is closed in order. `stream` should buffer what is written until it is flushed: then the preface, the
/// settings and the request are one packet, and none of them can be lost alone.
pub(super) async fn exchange<B, T, F>(
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
    let (mut sender, connection) = builder.handshake(stream).await.map_err(|error| failure_of(&error))?;
    let mut connection = Box::pin(connection);
    let exchange = async move {
        let (result, body) = match sender.send_request(request).await {
            Ok(response) => read(response).await,
            Err(error) => (Err(failure_of(&error)), None),
        };
        (result, body, sender)
    };
    let mut exchange = pin!(exchange);
    let (result, body, sender) = tokio::select! {
        biased;
        ended = &mut exchange => ended,
        // The connection has ended. What it received before can still be read.
        _ = &mut connection => return exchange.await.0,
    };
    close_in_background(until, async move {
        if let Some(mut body) = body {
            tokio::select! {
                _ = read_rest(&mut body, 0) => {}
                _ = &mut connection => return,
            }
        }
        // The connection sends GOAWAY when its last user is dropped.
        drop(sender);
        let _ = (&mut connection).await;
        drop(connection);
        tasks.ended().await;
    });
    result
}

/// The tasks that hyper runs for the connection. They are aborted with the probe, even if the other side never closes.
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
    /// Waits until all tasks have ended.
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

/// The failure that an error on an open connection means. It is never a failure of this vantage.
pub(super) fn failure_of(error: &hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        return Failure::Garbage(format!("response head over {} KiB", HEAD_LIMIT / 1024));
    }
    if error.is_parse() {
        return Failure::Garbage(format!("not HTTP: {error}"));
    }
    if error.is_incomplete_message() {
        return Failure::Closed;
    }
    // The connection ended before the request was sent. The source is the reason; without one, the server closed it.
    if error.is_canceled() {
        return error
            .source()
            .and_then(|source| source.downcast_ref::<hyper::Error>())
            .map_or(Failure::Closed, failure_of);
    }
    match error.source().and_then(socket_error).map(Failure::from_io) {
        Some(known) if known.is_evidence() => known,
        Some(_) | None => Failure::Garbage(format!("HTTP failed: {}", deepest(error))),
    }
}

/// The error of a socket among the causes of `error`.
fn socket_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref().or_else(|| socket_error(error.source()?))
}

fn deepest(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => deepest(source),
        None => error.to_string(),
    }
}
