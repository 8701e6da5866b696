//! One request over HTTP/2 (RFC 9113), for https probes of servers that speak it and for grpc. What the other side may send
//! ahead of what is read is no more than a probe reads of a body.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http2;
use hyper::rt::{Executor, Read, Write};
use hyper::{Request, Response};
use tokio::task::JoinSet;

use crate::health::probe::Failure;
use crate::health::probe::http::{BODY_LIMIT, HEAD_LIMIT, explain};

/// Of a stream and of the connection, in octets. The protocol's own is one less, and the least that a connection may have.
const WINDOW: u32 = BODY_LIMIT as u32;

/// Sends `request` on a connection of its own and reads its response by `read`. `stream` had better gather what is written
/// until it is flushed: preface, settings and request are then one packet, of which none can get lost alone.
pub(super) async fn ask<B, T, F>(
    stream: impl Read + Write + Unpin + Send + 'static,
    request: Request<B>,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Result<T, Failure>>,
{
    let tasks = Tasks::default();
    let mut builder = http2::Builder::new(tasks.0.clone());
    builder.max_header_list_size(HEAD_LIMIT as u32);
    builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut sender, connection) = builder.handshake(stream).await.map_err(|error| explain(&error))?;
    let talk = async move { read(sender.send_request(request).await.map_err(|error| explain(&error))?).await };
    let (mut talk, mut connection) = (pin!(talk), pin!(connection));
    tokio::select! {
        biased;
        found = &mut talk => found,
        // The connection has ended: what it brought is still to be read.
        _ = &mut connection => talk.await,
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

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
